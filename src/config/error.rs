//! Errors of the configuration, with file, line and remedy.

use std::path::PathBuf;

/// Where in the configuration something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The file, or `environment variable …`, or `flag …`.
    pub(super) origin: String,
    /// Line in the file, from 1.
    pub(super) line: Option<usize>,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{} line {line}", self.origin),
            None => formatter.write_str(&self.origin),
        }
    }
}

/// An error of the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or a value has the wrong type.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A key that does not exist.
    #[error("{place}: there is no key `{key}`{}", nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?")))]
    UnknownKey {
        /// Where.
        place: String,
        /// The key.
        key: String,
        /// The one that may have been meant.
        nearest: Option<String>,
    },
    /// A value that something else refuses, in its own words.
    #[error("{place}: {key}: {problem}")]
    Refused {
        /// Where.
        place: String,
        /// The key.
        key: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// A value that does not make sense.
    #[error("{place}: {key} is {found}, expected {expected}")]
    Value {
        /// Where.
        place: String,
        /// The key.
        key: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}
