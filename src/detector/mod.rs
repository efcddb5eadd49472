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
//! [`policy`](crate::policy).

mod boxes;
mod check;
mod decode;
mod error;
mod labels;
mod layout;
mod letterbox;
mod library;
mod model;
mod service;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod wire;
mod worker;
mod worker_process;

pub use boxes::{Candidate, NMS_OVERLAP_MAX, keep_best};
pub use check::{CheckedModel, ModelCheck, check_model};
pub use decode::decode;
pub use error::DetectorError;
pub use labels::{LABELS_BYTES_MAX, LABELS_MAX, Labels};
pub use layout::Layout;
pub use letterbox::{Letterbox, PADDING_LEVEL};
pub use model::{INPUT_SIDE_MAX, ModelShape};
pub use service::{Detection, Detector, NoDetection};
pub use session::MODEL_BYTES_MAX;
pub use settings::{CONFIDENCE_FLOOR, DetectorSettings};
pub use wire::ModelReport;
pub use worker::run as run_worker;
pub use worker_process::LOADING_MAX;
