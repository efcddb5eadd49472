//! Lenslog, the recorder: camera pictures become events in a journal; database and files are projections of it.
//!
//! ```text
//! source ─→ motion ─→ detector ─→ policy ─→ picture on disk ─→ recorder::EventWriter ─→ journal ─→ projections
//! ```
//!
//! | folder of `src/` | what it does |
//! |---|---|
//! | `source` | frames from cameras, programs, files, folders and a test scene |
//! | `lenslog_vision` | motion, policy, drawing, and the pure half of detection; no I/O |
//! | `detector` | objects in a picture, by a model in a process of its own |
//! | `description` | a sentence about an event, by a language model |
//! | `recorder` | threads, start, supervision, control requests, end |
//! | `ingest` | events from lines of JSON |
//! | `store` | opens the journal and the projections of a data directory |
//! | `storage` | used room, retention, deletion: `StorageMonitor`, `LogRotator` |
//! | `notify` | notifications of events: webhooks, ntfy, programs |
//! | `metrics` | counters and timings, their file and HTTP server: `MetricsCollector` |
//! | `config`, `logging` | the configuration and the log |
//! | `util` | cancellation, bounded queue, backoff, log limits, redaction |
//! | `cli` | a file per command of the `lenslog` program |
//!
//! The program is the product. What is public here is what the benches and the tests of this repository use.

mod cli;
mod config;
mod description;
mod detector;
mod ingest;
mod logging;
mod metrics;
mod notify;
mod recorder;
mod source;
mod storage;
mod store;
#[cfg(test)]
mod testing;
mod util;

pub use cli::main;
pub use config::Config;
pub use detector::{Detection, Detector, DetectorSettings};
pub use metrics::MetricsCollector;
pub use source::{
    DirOptions, DirSource, FileOptions, FileSource, Source, SourceItem, WATCHED_FOLDERS_MAX,
};
pub use storage::{Gigabytes, LogRotator, RetentionPlanner, StorageMonitor};
pub use store::{Store, clock, journal_options};
pub use util::CancellationToken;

/// The examples of the README are compiled and run. The engine does the same with docs/EMBEDDING.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Examples;
