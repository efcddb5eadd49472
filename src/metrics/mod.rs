//! Figures about the recorder: what it did, how long that took, what it takes of the machine.
//!
//! ```text
//! camera threads, writer, journal, ingest ─tell→ MetricsCollector ─collect→ MetricsSnapshot
//!                                    projections ←ask┘                          │
//!                metrics.json, terminal or log, service manager ←─ Reporter ←───┤
//!                             GET /metrics, GET /healthz ←─ http::Server ←──────┘
//! ```
//!
//! Telling is a counter or a short lock, never I/O. Nothing here can hold up recording, and every figure, file,
//! connection and label is bounded. Figures are since the start of this process; the journal has the rest.

mod camera;
mod collector;
mod file;
pub mod http;
mod labelled;
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
pub use collector::{MetricsCollector, Observed};
pub use file::{METRICS_FILE, METRICS_FILE_BYTES_MAX, METRICS_FILES_MAX, MetricsFile};
pub use labelled::{LabelCount, OTHER, SERIES_MAX};
pub use notify::Notifier;
pub use pages::{Problems, pages};
pub use reporter::{Outlets, Reporter};
pub use snapshot::{Counted, MetricsSnapshot, ProjectionFigures, StorageFigures, TimingBuckets};
pub use status::status;
pub use timing::{BUCKETS_MICROS, Buckets, Summary, Timing, WINDOW};
