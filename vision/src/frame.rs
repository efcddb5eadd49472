//! [`Frame`], one decoded picture of a camera and when it was taken. Knows no camera and draws nothing.

use std::fmt;
use std::path::PathBuf;

use image::RgbImage;
use lenslog_journal::Timestamp;

/// One picture of one camera, decoded once and then only looked at.
#[derive(Clone, PartialEq)]
pub struct Frame {
    /// Position in the stream, from 0. Pictures that could not be decoded and frames that were dropped leave
    /// a gap; images of a folder are counted without gaps.
    pub number: u64,
    /// When it was taken, with the local offset of that place and time.
    pub time: Timestamp,
    /// The picture, 8 bits a channel.
    pub picture: RgbImage,
    /// Frames that a live source dropped since the frame before, because the pipeline was slower than the
    /// camera. Always 0 for sources that wait.
    pub dropped_before: u64,
    /// The file it came from, where each picture is a file of its own.
    pub origin: Option<PathBuf>,
    /// When its sender claims that it was taken, where that is not believed.
    pub claimed: Option<Timestamp>,
}

impl fmt::Debug for Frame {
    /// Everything but the pixels.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Frame")
            .field("number", &self.number)
            .field("time", &self.time.to_string())
            .field("size", &self.picture.dimensions())
            .field("dropped_before", &self.dropped_before)
            .field("origin", &self.origin)
            .field("claimed", &self.claimed.map(|time| time.to_string()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_prints_its_size_and_not_its_pixels() {
        let frame = Frame {
            number: 7,
            time: Timestamp { utc_micros: 200_000, offset_minutes: 60 },
            picture: RgbImage::new(640, 480),
            dropped_before: 0,
            origin: None,
            claimed: None,
        };
        let text = format!("{frame:?}");
        assert!(
            text.contains("(640, 480)") && text.contains("1970-01-01T01:00:00.200+01:00"),
            "{text}"
        );
        assert!(text.len() < 200, "{text}");
    }
}
