//! The journal.
mod seq;
mod time;
pub use seq::{Seq, SeqRange};
pub use time::{Clock, ClockReading, Day, ParseDayError, SimulatedClock, SystemClock, Timestamp};
