//! [`SourceSpec`], a source by its name in a configuration or on a command line: `file:recording.mjpeg`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::SourceError;

/// What this version reads, for messages.
pub(super) const SUPPORTED_KINDS: &str = "file:PATH, dir:PATH or test:";

/// Kinds of sources that have a name already and are refused by it.
const LATER_KINDS: [&str; 6] = ["v4l2", "rtsp", "rpicam", "exec", "http", "https"];

/// Characters of an unknown name that are repeated in the message about it.
const ECHO_CHARS_MAX: usize = 60;

/// Where frames come from, as it is written and logged.
///
/// ```
/// use lenslog::source::SourceSpec;
///
/// let spec: SourceSpec = "file:recording.mjpeg".parse()?;
/// assert_eq!(spec.to_string(), "file:recording.mjpeg");
///
/// let refused = "rtsp://user:secret@door/1".parse::<SourceSpec>().unwrap_err().to_string();
/// assert!(refused.contains("this version") && !refused.contains("secret"));
/// # Ok::<(), lenslog::source::SourceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceSpec {
    /// `file:PATH`: JPEG pictures one after another in a file.
    File(PathBuf),
    /// `dir:PATH`: pictures that appear in a folder.
    Dir(PathBuf),
    /// `test:`: a synthetic scene.
    Test,
}

impl FromStr for SourceSpec {
    type Err = SourceError;

    /// Parses `KIND:REST`.
    ///
    /// # Errors
    ///
    /// [`SourceError::UnknownKind`], [`SourceError::UnsupportedKind`], [`SourceError::MissingPath`],
    /// [`SourceError::UnexpectedArgument`]. None of them repeats what stands behind the colon: it may hold a
    /// password.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let path = |kind| match rest {
            "" => Err(SourceError::MissingPath { kind }),
            path => Ok(PathBuf::from(path)),
        };
        match kind {
            // A bare `file` has no colon, and may be meant as the name of a file.
            _ if !text.contains(':') => Err(unknown(text)),
            "file" => path("file").map(Self::File),
            "dir" => path("dir").map(Self::Dir),
            "test" if rest.is_empty() => Ok(Self::Test),
            "test" => Err(SourceError::UnexpectedArgument { kind: "test" }),
            _ => match LATER_KINDS.into_iter().find(|later| *later == kind) {
                Some(kind) => Err(SourceError::UnsupportedKind { kind }),
                None => Err(unknown(kind)),
            },
        }
    }
}

fn unknown(given: &str) -> SourceError {
    SourceError::UnknownKind { given: given.chars().take(ECHO_CHARS_MAX).collect() }
}

impl fmt::Display for SourceSpec {
    /// The form that parses. This is what gets logged: a kind with credentials has to leave them out here.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::Dir(path) => write!(formatter, "dir:{}", path.display()),
            Self::Test => formatter.write_str("test:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(text: &str, expected: &[&str]) {
        let message = text.parse::<SourceSpec>().unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "{text:?}: {message:?} does not say {part:?}");
        }
    }

    #[test]
    fn the_kinds_of_this_version_print_as_they_parse() {
        for text in ["file:a.mjpeg", "file:/srv/a b:c.mjpeg", "dir:.", "dir:/srv/ftp", "test:"] {
            assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
        }
        assert_eq!("dir:/a".parse::<SourceSpec>().unwrap(), SourceSpec::Dir("/a".into()));
    }

    #[test]
    fn kinds_of_later_versions_are_refused_by_name() {
        for text in
            ["v4l2:/dev/video0", "rtsp://c/1", "rpicam:0", "exec:x", "http://c/", "https://c/"]
        {
            let kind = text.split_once(':').unwrap().0;
            check_error(text, &[kind, "this version", "file:PATH, dir:PATH or test:"]);
        }
    }

    #[test]
    fn anything_else_is_answered_with_what_is_expected() {
        check_error("clip.mjpeg", &["'clip.mjpeg'", "file:"]);
        check_error("", &["''", "file:PATH"]);
        check_error("File:x", &["'File'"]);
        check_error("file:", &["file:PATH"]);
        check_error("dir:", &["dir:PATH"]);
        check_error("test:loud", &["test: alone"]);
    }

    #[test]
    fn no_message_repeats_a_password() {
        for text in ["rtsp://u:hunter2@c/", "ftp://u:hunter2@c/", "test:hunter2"] {
            let message = text.parse::<SourceSpec>().unwrap_err().to_string();
            assert!(!message.contains("hunter2"), "{message}");
        }
        let long = "x".repeat(10_000).parse::<SourceSpec>().unwrap_err().to_string();
        assert!(long.len() < 200);
    }
}
