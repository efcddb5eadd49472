//! [`DetectorError`], why there is no detector.

use std::path::Path;

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
