//! [`DetectorSettings`]: the model and the library. [`DetectorError`]: why they cannot be used.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lenslog_vision::detection::{Labels, Layout};

/// Longest file of labels.
pub const LABELS_BYTES_MAX: u64 = 1 << 20;

/// Objects below this confidence are never reported. Those above are, as the best of a minute, even where they do not count.
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
    /// Objects below it are not reported.
    pub confidence_min: f64,
    /// How long one picture may take before the worker is ended.
    pub timeout: Duration,
}

/// Reads a file with a name a line. Empty lines at its end do not count.
///
/// # Errors
///
/// [`DetectorError::Refused`], naming the file and what is wrong with it.
pub(super) fn read_labels(path: &Path) -> Result<Labels, DetectorError> {
    let refused = |problem: String| DetectorError::refused(path, problem);
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(LABELS_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| refused(error.to_string()))?;
    if bytes.len() as u64 > LABELS_BYTES_MAX {
        return Err(refused(format!("labels take at most {LABELS_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(bytes);
    let text = text
        .map_err(|_| refused("it is not text; expected the name of a class a line".to_owned()))?;
    Labels::parse(&text).map_err(refused)
}

/// Why a detector cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum DetectorError {
    /// A file that the configuration names is not what it should be: the configuration has to be changed.
    #[error("{what}: {problem}")]
    Refused {
        /// The file.
        what: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// Something that is needed is not there, or does not work: the configuration may be right.
    #[error("{0}")]
    Unavailable(String),
}

impl DetectorError {
    pub(super) fn refused(path: &Path, problem: impl Into<String>) -> Self {
        Self::Refused { what: path.display().to_string(), problem: problem.into() }
    }

    /// With the key of the configuration that names the file.
    pub(super) fn of(self, key: &str) -> Self {
        match self {
            Self::Refused { what, problem } => {
                Self::Refused { what: format!("{key} {what}"), problem }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_file_of_labels_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        let error = || read_labels(&path).unwrap_err().to_string();
        assert!(error().contains("labels.txt: No such file"), "{}", error());
        std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        assert!(error().contains("it is not text"), "{}", error());
        std::fs::write(&path, vec![b'a'; 2 << 20]).unwrap();
        assert!(error().contains("at most 1048576 bytes"), "{}", error());
    }
}
