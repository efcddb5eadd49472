//! [`SourceSpec`], a source by its name in a configuration or on a command line: `file:recording.mjpeg`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::SourceError;
use super::words::{joined, split_words};
use crate::redact::redacted;

/// What this version reads, for messages.
pub(super) const SUPPORTED_KINDS: &str = "v4l2:/dev/video0, rtsp://HOST/PATH, http://HOST/PATH, rpicam:0, \
     exec:COMMAND, dir:PATH, file:PATH or test:";

/// Characters of an unknown name that are repeated in the message about it.
const ECHO_CHARS_MAX: usize = 60;

/// Where frames come from, as it is written in a configuration.
///
/// ```
/// use lenslog::source::SourceSpec;
///
/// let spec: SourceSpec = "v4l2:/dev/video0".parse()?;
/// assert_eq!(spec.to_string(), "v4l2:/dev/video0");
///
/// let spec: SourceSpec = "rtsp://user:secret@door/1".parse()?;
/// assert_eq!(spec.to_string(), "rtsp://***@door/1");
/// # Ok::<(), lenslog::source::SourceError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceSpec {
    /// `file:PATH`: JPEG pictures one after another in a file.
    File(PathBuf),
    /// `dir:PATH`: pictures that appear in a folder.
    Dir(PathBuf),
    /// `test:`: a synthetic scene.
    Test,
    /// `v4l2:/dev/video0`: a camera device.
    V4l2(PathBuf),
    /// `exec:COMMAND`: a program that writes JPEG pictures one after another.
    Exec(Vec<Private>),
    /// `rtsp://…`: a network camera, through ffmpeg.
    Rtsp(Private),
    /// `rpicam:0`: a camera on a Raspberry Pi's ribbon cable, through rpicam-vid.
    Rpicam(u32),
    /// `http://…`: JPEG pictures one after another, or one for each request.
    Http(Private),
}

/// Text that may hold a password, which is left out wherever it is printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Private(String);

impl Private {
    /// With the password.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&redacted(&self.0), formatter)
    }
}

impl fmt::Display for Private {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&redacted(&self.0))
    }
}

impl FromStr for SourceSpec {
    type Err = SourceError;

    /// Parses `KIND:REST`.
    ///
    /// # Errors
    ///
    /// [`SourceError::UnknownKind`], [`SourceError::MissingPath`], [`SourceError::BadArgument`]. None of them
    /// repeats what stands behind the colon: it may hold a password.
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
            "v4l2" => path("v4l2").map(Self::V4l2),
            "test" if rest.is_empty() => Ok(Self::Test),
            "test" => Err(bad("test", "nothing behind the colon; write test: alone")),
            "exec" => command(rest),
            "rpicam" => rest
                .parse()
                .map(Self::Rpicam)
                .map_err(|_| bad("rpicam", "the number of a camera, such as rpicam:0")),
            "rtsp" | "rtsps" => url(kind, rest, text).map(Self::Rtsp),
            "http" | "https" => url(kind, rest, text).map(Self::Http),
            _ => Err(unknown(kind)),
        }
    }
}

fn unknown(given: &str) -> SourceError {
    SourceError::UnknownKind { given: given.chars().take(ECHO_CHARS_MAX).collect() }
}

fn bad(kind: &str, expected: &'static str) -> SourceError {
    SourceError::BadArgument { kind: kind.to_owned(), expected }
}

fn command(rest: &str) -> Result<SourceSpec, SourceError> {
    let words =
        split_words(rest).ok_or_else(|| bad("exec", "a command whose quotes are closed"))?;
    if words.is_empty() {
        return Err(bad("exec", "a command that writes JPEG pictures to its standard output"));
    }
    Ok(SourceSpec::Exec(words.into_iter().map(Private).collect()))
}

fn url(kind: &str, rest: &str, text: &str) -> Result<Private, SourceError> {
    let host = rest.strip_prefix("//").map(|rest| rest.rsplit('@').next().unwrap_or(rest));
    // Control characters and blanks would end the line of a request or of a list for ffmpeg.
    let plain = text.chars().all(|character| character.is_ascii_graphic() && character != '\'');
    match host {
        Some(host) if plain && !host.is_empty() && !host.starts_with(['/', ':', '?']) => {
            Ok(Private(text.to_owned()))
        }
        _ => Err(bad(
            kind,
            "an address such as //HOST/PATH or //USER:PASSWORD@HOST/PATH, blanks as %20",
        )),
    }
}

impl fmt::Debug for SourceSpec {
    /// As it is printed: a password may be a word of its own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SourceSpec({self})")
    }
}

impl fmt::Display for SourceSpec {
    /// The form that parses, but for passwords, which are left out: this is what gets logged.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::Dir(path) => write!(formatter, "dir:{}", path.display()),
            Self::V4l2(path) => write!(formatter, "v4l2:{}", path.display()),
            Self::Test => formatter.write_str("test:"),
            Self::Rpicam(number) => write!(formatter, "rpicam:{number}"),
            Self::Rtsp(url) | Self::Http(url) => url.fmt(formatter),
            Self::Exec(words) => {
                let words = words.iter().map(Private::reveal);
                write!(formatter, "exec:{}", redacted(&joined(words)))
            }
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
        for text in [
            "file:a.mjpeg",
            "file:/srv/a b:c.mjpeg",
            "dir:.",
            "dir:/srv/ftp",
            "test:",
            "v4l2:/dev/v4l/by-id/usb-Cam-index0",
            "rpicam:1",
            "rtsp://door/1",
            "http://10.0.0.7:8080/video?x=1",
            "https://door/",
            "exec:ffmpeg -i in.mp4 -f mjpeg -",
            "exec:sh -c 'cat a | b' ''",
        ] {
            assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
        }
        assert_eq!("dir:/a".parse::<SourceSpec>().unwrap(), SourceSpec::Dir("/a".into()));
    }

    #[test]
    fn anything_else_is_answered_with_what_is_expected() {
        check_error("clip.mjpeg", &["'clip.mjpeg'", "file:"]);
        check_error("", &["''", "file:PATH"]);
        check_error("v4l2:", &["v4l2:PATH"]);
        check_error("rpicam:front", &["rpicam:0"]);
        check_error("rtsp:door", &["//HOST/PATH"]);
        check_error("http://", &["//HOST/PATH"]);
        check_error("http://ho st/", &["%20"]);
        check_error("exec:", &["a command"]);
        check_error("exec:sh -c 'x", &["quotes"]);
        check_error("File:x", &["'File'"]);
        check_error("file:", &["file:PATH"]);
        check_error("dir:", &["dir:PATH"]);
        check_error("test:loud", &["test: alone"]);
    }

    #[test]
    fn no_message_repeats_a_password() {
        for text in
            ["rtsp:u:hunter2@c/", "ftp://u:hunter2@c/", "test:hunter2", "http://u:hunter2@/"]
        {
            let message = text.parse::<SourceSpec>().unwrap_err().to_string();
            assert!(!message.contains("hunter2"), "{message}");
        }
        for text in [
            "rtsp://u:hunter2@c/",
            "http://u:hunter2@c/",
            "exec:curl http://u:hunter2@c/",
            "exec:curl -u u:hunter2 http://x@c/",
            "exec:sh -c 'curl -u \"u:my hunter2\" http://x@c/'",
        ] {
            let spec = text.parse::<SourceSpec>().unwrap();
            let printed = format!("{spec} {spec:?}");
            assert!(!printed.contains("hunter2") && printed.contains("***@c/"), "{printed}");
        }
        let long = "x".repeat(10_000).parse::<SourceSpec>().unwrap_err().to_string();
        assert!(long.len() < 300);
    }
}
