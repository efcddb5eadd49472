//! Figures about the recorder: what it did, how long that took, what it takes of the machine.
//!
//! ```text
//! camera threads, writer, journal, ingest ─report→ MetricsCollector ─collect→ MetricsSnapshot
//!                                    projections ←ask┘                          │
//!                metrics.json, terminal or log, service manager ←─ Reporter ←───┤
//!                             GET /metrics, GET /healthz ←─ http::Server ←──────┘
//! ```
//!
//! Telling is a counter or a short lock, never I/O. Nothing here can hold up recording, and every figure, file,
//! connection and label is bounded. Figures are since the start of this process; the journal has the rest.

mod camera;
mod collector;
mod counter_vec;
mod file;
pub mod http;
mod notify;
mod pages;
mod process;
pub mod prometheus;
mod reporter;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;
mod timing;

pub use camera::{CameraMetrics, CameraSnapshot};
pub(crate) use collector::label_of;
use collector::rounded;
pub use collector::{GaugeSource, MetricsCollector};
pub use file::MetricsFile;
pub use notify::SdNotify;
pub use pages::{Problems, pages};
pub use reporter::{Reporter, Sinks, StatusSink};
pub use snapshot::{Counted, ProjectionFigures, StorageMetrics};
