//! Small parts that several folders use and that know nothing of cameras or events.

mod backoff;
mod cancellation;
mod clock_trust;
mod queue;
pub mod redact;

pub use cancellation::CancellationToken;
pub(crate) use cancellation::{Interrupt, Notify};

#[cfg(test)]
pub(crate) use backoff::PAUSE_MAX;
pub(crate) use backoff::ReconnectBackoff;
pub use clock_trust::{SET_CLOCK_MICROS_MIN, Trust};
pub(crate) use queue::{BoundedQueue, Taken};
