//! [`FfmpegVersion`], which ffmpeg there is. Options have come and gone between its versions.

use std::fmt;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Running, has_something};

/// How long ffmpeg may take to say which it is.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How much of its answer is read.
const ANSWER_BYTES_MAX: usize = 4096;

/// A version of ffmpeg, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct FfmpegVersion {
    /// `4` of `4.2.2-static`; `None` where it does not begin with a number: built from its sources, so taken for new.
    major: Option<u32>,
    text: String,
}

impl FfmpegVersion {
    /// The one that is installed; `None` where there is none, or it does not say.
    pub(in super::super) fn installed() -> Option<Self> {
        let mut command = Command::new("ffmpeg");
        command.arg("-version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Running::spawn(&mut command).ok()?;
        let mut output = child.take_output()?;
        let deadline = Instant::now() + ANSWER_MAX;
        let mut answer = Vec::new();
        while Instant::now() < deadline && answer.len() < ANSWER_BYTES_MAX {
            let mut part = [0; 1024];
            if !has_something(&output).ok()? {
                continue;
            }
            let read = output.read(&mut part).ok()?;
            answer.extend_from_slice(part.get(..read).unwrap_or_default());
            if read == 0 || answer.contains(&b'\n') {
                break;
            }
        }
        Self::parse(&String::from_utf8_lossy(&answer))
    }

    /// From the first line of `ffmpeg -version`.
    fn parse(answer: &str) -> Option<Self> {
        let text = answer.strip_prefix("ffmpeg version ")?.split_whitespace().next()?;
        let number = text.trim_start_matches('n');
        let digits = number.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        Some(Self { major: digits.parse().ok(), text: text.to_owned() })
    }

    /// Whether it is older than that version.
    pub(super) fn is_before(&self, major: u32) -> bool {
        self.major.is_some_and(|found| found < major)
    }
}

impl fmt::Display for FfmpegVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
impl FfmpegVersion {
    pub(super) fn of(major: u32) -> Self {
        Self { major: Some(major), text: format!("{major}.1") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_known_as_they_are_written() {
        for (answer, expected) in [
            ("ffmpeg version 4.2.2-static https://x  Copyright (c)", Some(Some(4))),
            ("ffmpeg version 5.1.9-0+deb12u1 Copyright", Some(Some(5))),
            ("ffmpeg version n7.1 Copyright", Some(Some(7))),
            ("ffmpeg version N-112233-gabcdef Copyright", Some(None)),
            ("ffmpeg version git-2020-01-01 Copyright", Some(None)),
            ("something else", None),
            ("", None),
        ] {
            let found = FfmpegVersion::parse(answer).map(|version| version.major);
            assert_eq!(found, expected, "{answer}");
        }
        assert!(FfmpegVersion::of(4).is_before(5) && !FfmpegVersion::of(5).is_before(5));
    }
}
