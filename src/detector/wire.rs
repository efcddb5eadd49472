//! The protocol of the recorder and its worker: a line of JSON from the worker, then pictures of a fixed length to
//! it and a line of JSON back for each.

use std::io::{self, BufRead};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DetectorError;
use lenslog_vision::detection::{Candidate, Labels};

/// Longest line from a worker.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// What a worker has loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// What runs it: `tract`, or `onnxruntime` and its version.
    pub backend: String,
    /// Name of the file, without its folder.
    pub model: String,
    /// Name of the layout.
    pub layout: String,
    /// Width of the input, in pixels.
    pub width: u32,
    /// Height of the input, in pixels.
    pub height: u32,
    /// Places at which it looks for something.
    pub anchors: usize,
    /// Classes it distinguishes.
    pub classes: usize,
    /// How long loading took, in milliseconds.
    pub load_ms: f64,
    /// How long a first picture took, in milliseconds.
    pub first_ms: f64,
}

impl ModelReport {
    /// Whether each class has a name.
    pub(super) fn fit(&self, labels: &Labels, path: &Path) -> Result<(), DetectorError> {
        let (count, Self { model, classes, .. }) = (labels.count(), self);
        if *classes == count {
            return Ok(());
        }
        let problem = format!(
            "it has {count} labels, and {model} distinguishes {classes} classes; each needs its name"
        );
        Err(DetectorError::refused(path, problem))
    }
}

/// The first line of a worker.
pub(super) type Hello = Result<ModelReport, DetectorError>;

/// A worker's answer to a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reply {
    /// What it may have seen, in pixels of the canvas; or why it could not look.
    pub(super) candidates: Result<Vec<Candidate>, String>,
    /// How long the model took, in milliseconds.
    pub(super) inference_ms: f64,
}

/// Reads a line of JSON.
pub(super) fn read_line<T: for<'a> Deserialize<'a>>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = Vec::new();
    io::Read::take(&mut *from, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&line).map_err(io::Error::from)
}
