//! JPEG encoding.

use std::fmt;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use super::exif::{self, Taken};

/// The longest side that JPEG can express, in pixels.
pub const JPEG_SIDE_MAX: u32 = 65_535;

/// Room that is asked for at once: what a picture of moderate quality needs, in bytes a pixel.
const PIXELS_PER_BYTE: usize = 6;

/// JPEG quality, from 1 to 100.
///
/// ```
/// use lenslog_vision::drawing::Quality;
///
/// assert_eq!(Quality::default().get(), 85);
/// assert_eq!(Quality::new(0), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quality(u8);

impl Quality {
    /// That quality; `None` unless it lies between 1 and 100.
    #[must_use]
    pub fn new(quality: u8) -> Option<Self> {
        (1..=100).contains(&quality).then_some(Self(quality))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Quality {
    /// 85.
    fn default() -> Self {
        Self(85)
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Why a picture cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// A side is 0 or longer than [`JPEG_SIDE_MAX`].
    #[error(
        "a picture of {width} x {height} pixels cannot be a JPEG; each side has 1 to {JPEG_SIDE_MAX} pixels"
    )]
    Size {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The encoder refused it.
    #[error("cannot encode a picture as JPEG: {reason}")]
    Encoder {
        /// What the encoder said.
        reason: String,
    },
}

/// The picture as a JPEG file. The same picture and quality give the same bytes.
///
/// # Errors
///
/// [`PictureError::Size`] for a picture without pixels or with a side that JPEG cannot express.
pub fn encode_jpeg(picture: &RgbImage, quality: Quality) -> Result<Vec<u8>, PictureError> {
    encode(picture, quality, None)
}

/// As [`encode_jpeg`], with EXIF data that says when and by which camera it was taken.
///
/// # Errors
///
/// Those of [`encode_jpeg`].
pub fn encode_taken(
    picture: &RgbImage,
    quality: Quality,
    taken: &Taken<'_>,
) -> Result<Vec<u8>, PictureError> {
    encode(picture, quality, exif::exif(taken))
}

fn encode(
    picture: &RgbImage,
    quality: Quality,
    exif: Option<Vec<u8>>,
) -> Result<Vec<u8>, PictureError> {
    let (width, height) = picture.dimensions();
    if !(1..=JPEG_SIDE_MAX).contains(&width) || !(1..=JPEG_SIDE_MAX).contains(&height) {
        return Err(PictureError::Size { width, height });
    }
    let mut bytes = Vec::with_capacity(picture.len() / 3 / PIXELS_PER_BYTE);
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality.get());
    if let Some(exif) = exif {
        // An encoder that takes none writes the picture all the same.
        let _ = encoder.set_exif_metadata(exif);
    }
    encoder
        .write_image(picture, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| PictureError::Encoder { reason: error.to_string() })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use lenslog_journal::Timestamp;

    use super::*;

    #[test]
    fn the_bytes_are_a_jpeg_that_grows_with_its_quality() {
        let picture = crate::testing::picture(64, 48, 5);
        let sizes = [1, 50, 85, 100].map(|quality| {
            let bytes = encode_jpeg(&picture, Quality::new(quality).unwrap()).unwrap();
            let decoded = image::load_from_memory(&bytes).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (64, 48));
            bytes.len()
        });
        assert!(sizes.is_sorted(), "{sizes:?}");
        let again = || encode_jpeg(&picture, Quality::default()).unwrap();
        assert_eq!(again(), again());
    }

    #[test]
    fn what_is_taken_can_be_read_back_from_the_file() {
        let time = Timestamp { utc_micros: 0, offset_minutes: -210 };
        let taken = Taken { time, camera_name: "yard" };
        let bytes = encode_taken(&RgbImage::new(8, 8), Quality::default(), &taken).unwrap();
        let mut reader = std::io::Cursor::new(&bytes);
        let exif = ::exif::Reader::new().read_from_container(&mut reader).unwrap();
        let field = exif.get_field(::exif::Tag::DateTimeOriginal, ::exif::In::PRIMARY).unwrap();
        assert_eq!(field.display_value().to_string(), "1969-12-31 20:30:00");
        assert!(image::load_from_memory(&bytes).is_ok());
    }

    #[test]
    fn pictures_that_jpeg_cannot_express_are_refused() {
        for (width, height) in [(0, 0), (0, 5), (5, 0), (65_536, 1)] {
            let refused = encode_jpeg(&RgbImage::new(width, height), Quality::default());
            assert_eq!(refused, Err(PictureError::Size { width, height }));
        }
        assert!(encode_jpeg(&RgbImage::new(1, 1), Quality::default()).is_ok());
    }

    #[test]
    fn qualities_outside_1_to_100_do_not_exist() {
        assert_eq!([0, 101, 255].map(Quality::new), [None; 3]);
        assert_eq!(
            [1, 100].map(|quality| Quality::new(quality).map(Quality::get)),
            [Some(1), Some(100)]
        );
    }
}
