//! [`SourceSpec`], a source by its name in a configuration or on a command line: `file:recording.mjpeg`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::SourceError;
use crate::util::redact::redacted;

/// What this version reads, for messages.
pub(super) const SUPPORTED_KINDS: &str = "v4l2:/dev/video0, rtsp://HOST/PATH, http://HOST/PATH, rpicam:0, \
     exec:COMMAND, dir:PATH, file:PATH or test:";

/// Characters of an unknown name that are repeated in the message about it.
const ECHO_CHARS_MAX: usize = 60;

/// Where frames come from, as it is written in a configuration.
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
        shell_words::split(rest).map_err(|_| bad("exec", "a command whose quotes are closed"))?;
    if words.is_empty() {
        return Err(bad("exec", "a command that writes JPEG pictures to its standard output"));
    }
    Ok(SourceSpec::Exec(words.into_iter().map(Private).collect()))
}

/// A command line of these words, which splits into them again. Only what has to be is quoted: passwords in it are redacted
/// by their form.
pub(super) fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(quoted).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_special = |character: char| character.is_whitespace() || "'\"\\".contains(character);
    if !word.is_empty() && !word.starts_with('#') && !word.contains(is_special) {
        return word.to_owned();
    }
    // Between single quotes everything is what it is, but for themselves.
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn url(kind: &str, rest: &str, text: &str) -> Result<Private, SourceError> {
    let Some(rest) = rest.strip_prefix("//") else { return Err(bad_address(kind)) };
    if let Some(character) = misplaced(rest) {
        let mut bytes = [0; 4];
        let bytes = character.encode_utf8(&mut bytes).bytes();
        let encoded = bytes.map(|byte| format!("%{byte:02X}")).collect();
        return Err(SourceError::BadCharacter { kind: kind.to_owned(), character, encoded });
    }
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if host.is_empty() || host.starts_with(['/', ':', '?']) {
        return Err(bad_address(kind));
    }
    Ok(Private(text.to_owned()))
}

fn bad_address(kind: &str) -> SourceError {
    bad(kind, "an address such as //HOST/PATH or //USER:PASSWORD@HOST/PATH, blanks as %20")
}

/// The first character of an address that does not mean itself there. Most often it is part of a password.
fn misplaced(rest: &str) -> Option<char> {
    // Control characters and blanks would end the line of a request or of a list for ffmpeg; no camera is sent what
    // follows a #.
    let is_bad = |character: char| !character.is_ascii_graphic() || matches!(character, '\'' | '#');
    if let Some(character) = rest.chars().find(|character| is_bad(*character)) {
        return Some(character);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if let Some((credentials, _)) = authority.rsplit_once('@') {
        let is_encoded = |after: &str| {
            after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit())
        };
        return credentials.split('%').skip(1).any(|after| !is_encoded(after)).then_some('%');
    }
    // What looks like a port that is no number, or a path with a host after an @, was meant as a password.
    let (_, host) = path.rsplit_once('@')?;
    let host = host.split(['/', '?', ':']).next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port)?;
    let is_port = authority.starts_with('[') || port.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok();
    if is_port && !is_address { None } else { path.chars().next() }
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
            "http://door:80/a@b",
            "rtsp://[::1]:554/a@b",
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
        for (password, expected) in [
            ("a#b", ["'#'", "%23"]),
            ("a/b", ["'/'", "%2F"]),
            ("a?b", ["'?'", "%3F"]),
            ("a%b", ["'%'", "%25"]),
            ("100%", ["'%'", "%25"]),
            ("a'b", ["'\\''", "%27"]),
            ("a b", ["' '", "%20"]),
            ("a\u{e4}b", ["'\u{e4}'", "%C3%A4"]),
        ] {
            for scheme in ["http", "rtsp"] {
                let address = format!("{scheme}://joe:{password}@door/1");
                check_error(&address, &expected);
                check_error(&address, &[scheme, "write"]);
            }
        }
        check_error("http://joe:12/34@192.168.1.5:80/1", &["'/'", "%2F"]);
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

    #[test]
    fn words_are_split_as_people_expect() {
        for (text, expected) in [
            ("", &[][..]),
            ("  ffmpeg  -i\tx ", &["ffmpeg", "-i", "x"]),
            ("sh -c 'cat a | b'", &["sh", "-c", "cat a | b"]),
            (r#"a "b \" c"  d\ e '\'"#, &["a", "b \" c", "d e", r"\"]),
            ("a'b'\"c\" ''", &["abc", ""]),
            ("$HOME * a#b", &["$HOME", "*", "a#b"]),
            ("'#' x # comment", &["#", "x"]),
        ] {
            let words = shell_words::split(text).unwrap();
            assert_eq!(words, expected, "{text}");
            let again = shell_words::split(&joined(words.iter().map(String::as_str)));
            assert_eq!(again.unwrap(), expected, "{text}");
        }
        for text in ["'a", "\"a", "a 'b\" c"] {
            assert!(shell_words::split(text).is_err(), "{text}");
        }
    }
}
