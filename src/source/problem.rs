//! [`FrameProblem`], a picture that came but cannot be used. It is reported and the source goes on.

use std::fmt;
use std::path::Path;

use super::FRAME_BYTES_MAX;

/// A picture, or bytes where one was expected, that a source skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameProblem {
    /// Where it came from, as an operator would look for it: a path, or a source's name.
    pub place: String,
    /// Where it begins in a stream; `None` for a file of its own.
    pub offset: Option<u64>,
    /// What is wrong.
    pub fault: PictureFault,
}

/// What is wrong with a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PictureFault {
    /// The stream or file ends, or the next picture begins, inside it.
    #[error("the picture breaks off after {bytes} bytes")]
    Truncated {
        /// What there is of it.
        bytes: u64,
    },
    /// It begins like a JPEG and goes on like none.
    #[error("not a JPEG picture: a marker was expected {bytes} bytes behind its beginning")]
    Malformed {
        /// Distance from its beginning to where it goes wrong.
        bytes: u64,
    },
    /// It has more than [`FRAME_BYTES_MAX`] bytes.
    #[error("the picture has more than {FRAME_BYTES_MAX} bytes")]
    TooManyBytes,
    /// It has more pixels than are decoded: [`PICTURE_PIXELS_MAX`](super::PICTURE_PIXELS_MAX) in a stream,
    /// [`FILE_PIXELS_MAX`](super::FILE_PIXELS_MAX) in a file.
    #[error(
        "the picture has {width} x {height} pixels, more than {pixels_max}; set the camera to a smaller size"
    )]
    TooManyPixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// How many are taken.
        pixels_max: u64,
    },
    /// The decoder refused it.
    #[error("the picture cannot be decoded: {reason}")]
    Undecodable {
        /// What the decoder said.
        reason: String,
    },
    /// It is of a format that is not read.
    #[error("the picture is {format}; expected JPEG or PNG: choose one of them in the camera")]
    OtherFormat {
        /// The name of the format.
        format: &'static str,
    },
    /// The camera was asked for a picture and sent none.
    #[error("no picture came: {reason}")]
    NotSent {
        /// What happened instead.
        reason: String,
    },
    /// Bytes between two pictures that belong to none.
    #[error("{bytes} bytes belong to no picture")]
    Garbage {
        /// How many.
        bytes: u64,
    },
    /// The file was deleted or renamed before it could be read.
    #[error("the file was gone before it could be read")]
    Vanished,
    /// The operating system refused to read the file.
    #[error("the file cannot be read: {reason}")]
    Unreadable {
        /// What the operating system said.
        reason: String,
    },
    /// The file is no picture, and is ignored.
    #[error("ignored: {reason}")]
    NotAPicture {
        /// How that is known.
        reason: &'static str,
    },
}

impl FrameProblem {
    /// A problem with a file, or at an offset in one. Control characters in its name are escaped: a sender
    /// chooses the name, and must not write lines into a log with it.
    pub(super) fn in_file(path: &Path, offset: Option<u64>, fault: PictureFault) -> Self {
        let place = lenslog_projections::printable(&path.to_string_lossy(), usize::MAX);
        Self { place, offset, fault }
    }

    /// Whether a picture was lost: false for bytes and files that never were one.
    #[must_use]
    pub const fn is_lost_picture(&self) -> bool {
        !matches!(self.fault, PictureFault::Garbage { .. } | PictureFault::NotAPicture { .. })
    }
}

impl fmt::Display for FrameProblem {
    /// `recording.mjpeg at offset 4711: the picture breaks off after 12 bytes`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.place)?;
        if let Some(offset) = self.offset {
            write!(formatter, " at offset {offset}")?;
        }
        write!(formatter, ": {}", self.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(offset: Option<u64>, fault: PictureFault) -> FrameProblem {
        FrameProblem { place: "recording.mjpeg".into(), offset, fault }
    }

    #[test]
    fn a_problem_says_where_and_what() {
        assert_eq!(
            problem(Some(4711), PictureFault::Truncated { bytes: 12 }).to_string(),
            "recording.mjpeg at offset 4711: the picture breaks off after 12 bytes"
        );
        assert_eq!(
            problem(None, PictureFault::Vanished).to_string(),
            "recording.mjpeg: the file was gone before it could be read"
        );
    }

    #[test]
    fn a_files_name_cannot_forge_a_line() {
        let path = Path::new("a\n[2026-11-23 10:00:00] ERROR: b\u{1b}[31m ü.jpg");
        let text = FrameProblem::in_file(path, None, PictureFault::Vanished).to_string();
        assert!(!text.chars().any(char::is_control) && text.contains("ü.jpg"), "{text}");
    }

    #[test]
    fn only_pictures_count_as_lost() {
        assert!(problem(None, PictureFault::TooManyBytes).is_lost_picture());
        assert!(!problem(None, PictureFault::Garbage { bytes: 5 }).is_lost_picture());
        assert!(!problem(None, PictureFault::NotAPicture { reason: "x" }).is_lost_picture());
    }
}
