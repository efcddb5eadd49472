//! [`DetectorSettings`]: with which model objects are looked for.

use std::path::PathBuf;
use std::time::Duration;

use super::layout::Layout;

/// What a model is less sure of is not even told of; what it is surer of is, as the best of a minute, though it may not
/// count.
pub const CONFIDENCE_FLOOR: f64 = 0.1;

/// With which model objects are looked for, and by which library.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorSettings {
    /// The model, an ONNX file.
    pub model: PathBuf,
    /// The names of its classes, one a line.
    pub labels: PathBuf,
    /// Form of its input and output.
    pub layout: Layout,
    /// Path of libonnxruntime.so; `None`: the built-in tract.
    pub onnxruntime: Option<PathBuf>,
    /// What it is less sure of is not told.
    pub confidence_min: f64,
    /// How long one picture may take before the worker is ended.
    pub timeout: Duration,
}
