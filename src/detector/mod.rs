//! Object detection: what is in a picture, and where.
//!
//! ```text
//! camera thread: picture → letterbox ─┐                       ┌→ objects in pixels of the picture
//!                          Detector: one at a time, with a time-out, ends and restarts the worker
//! worker process:    canvas → floats → model (tract or libonnxruntime) → decode → best boxes
//! ```
//!
//! The model runs in a process of its own: a library that panics, crashes or never returns costs that process and not
//! the recording. What frames become and what boxes mean is pure; which objects count is decided by
//! [`policy`](lenslog_vision::policy).

mod check;
mod library;
mod service;
mod session;
mod settings;
mod wire;
mod worker;
mod worker_process;

pub use check::{ModelCheck, check_model};
pub use service::{Detection, Detector, NoDetection};
pub use settings::{CONFIDENCE_FLOOR, DetectorError, DetectorSettings};
pub use wire::ModelReport;
pub use worker::run as run_worker;
