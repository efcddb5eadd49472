//! Lenslog.

pub mod config;
pub mod frame;
pub mod ingest;
pub mod logging;
pub mod motion;
pub mod picture;
pub mod policy;
pub mod recorder;
pub mod redact;
pub mod source;
