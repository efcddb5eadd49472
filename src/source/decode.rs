//! Decoding of JPEG and PNG bytes to an RGB picture, with limits. Bytes of any kind give a picture or a
//! [`PictureFault`], never a panic.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::PICTURE_PIXELS_MAX;
use super::huffman::with_tables;
use super::problem::PictureFault;

/// How many pictures at the beginning of a stream, all of them, the strict decoder refuses before the lenient
/// one takes over: that camera's way of writing JPEG must be meant.
const STRICT_REFUSALS_MAX: u32 = 10;

/// What a JPEG picture ends with.
const END_OF_IMAGE: &[u8] = &[0xFF, 0xD9];
/// More than the decoder reads ahead of the data it uses.
const READ_AHEAD_BYTES: usize = 16;

/// What a JPEG file begins with.
pub(crate) const JPEG_MAGIC: &[u8] = &[0xFF, 0xD8, 0xFF];
/// What a PNG file begins with.
pub(crate) const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Decodes the JPEG pictures of one stream.
///
/// A damaged picture decoded as far as it goes is half grey, which looks like motion everywhere; so the
/// decoder is strict. Some cameras write JPEG that no strict decoder accepts; a stream of which none of the
/// first pictures passes is decoded leniently from then on.
#[derive(Debug)]
pub(crate) enum StreamDecoder {
    /// No picture has passed yet.
    Undecided {
        /// Pictures refused so far.
        refusals: u32,
    },
    /// One has passed, so all have to.
    Strict,
    /// None of the first ones did.
    Lenient,
}

impl Default for StreamDecoder {
    fn default() -> Self {
        Self::Undecided { refusals: 0 }
    }
}

impl StreamDecoder {
    /// Decodes the next picture of the stream.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<RgbImage, PictureFault> {
        let strictness =
            if matches!(self, Self::Lenient) { Strictness::Lenient } else { Strictness::Complete };
        let decoded = decode_jpeg(&with_tables(without_padding(bytes)), strictness)
            .map(|(picture, _)| picture);
        if let Self::Undecided { refusals } = self {
            *self = match (&decoded, *refusals + 1) {
                (Ok(_), _) => Self::Strict,
                (Err(_), STRICT_REFUSALS_MAX..) => Self::Lenient,
                (Err(_), refusals) => Self::Undecided { refusals },
            };
        }
        decoded
    }
}

/// A picture as far as its end marker: cameras fill their buffers up with zeros, behind which nobody finds it.
fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.get(..end).filter(|picture| picture.ends_with(END_OF_IMAGE)).unwrap_or(bytes)
}

/// Decodes a whole JPEG or PNG file, turned upright as its EXIF says.
pub(crate) fn decode_file(bytes: &[u8]) -> Result<RgbImage, PictureFault> {
    if bytes.starts_with(JPEG_MAGIC) {
        let (picture, exif) = decode_jpeg(&with_tables(bytes), Strictness::Strict)?;
        let orientation = exif.as_deref().and_then(Orientation::from_exif_chunk);
        return Ok(upright(picture, orientation.unwrap_or(Orientation::NoTransforms)));
    }
    if bytes.starts_with(PNG_MAGIC) {
        return decode_png(bytes);
    }
    Err(PictureFault::NotAPicture { reason: "neither JPEG nor PNG" })
}

/// How much may be wrong with a JPEG picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Whatever can be shown in part passes.
    Lenient,
    /// Damage that the decoder notices is refused.
    Strict,
    /// As strict, and there has to be data for every row of pixels.
    Complete,
}

/// Decodes one JPEG picture, to pixels and its EXIF.
fn decode_jpeg(
    bytes: &[u8],
    strictness: Strictness,
) -> Result<(RgbImage, Option<Vec<u8>>), PictureFault> {
    let refused = |error: DecodeErrors| undecodable(&format!("{error:?}"));
    // The decoder takes an end marker that comes too early for the end of the picture and makes the rest up.
    // Without the marker it runs out of data, which it notices. It reads ahead, for which the zeros are there.
    let unended = match bytes.strip_suffix(END_OF_IMAGE) {
        Some(unended) if strictness == Strictness::Complete => {
            Some([unended, &[0; READ_AHEAD_BYTES]].concat())
        }
        _ => None,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(strictness != Strictness::Lenient)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let input = unended.as_deref().unwrap_or(bytes);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(input), options);
    decoder.decode_headers().map_err(refused)?;
    let info = decoder.info().ok_or_else(|| undecodable("it has no header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(width, height)?;
    if unended.is_some() && !info.sof.is_sequential_dct() {
        // A progressive picture needs its end marker.
        return decode_jpeg(bytes, Strictness::Strict);
    }
    let pixels = decoder.decode().map_err(refused)?;
    let picture = RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| undecodable("its colours cannot be converted to RGB"))?;
    Ok((picture, decoder.exif().cloned()))
}

fn decode_png(bytes: &[u8]) -> Result<RgbImage, PictureFault> {
    let refused = |error: image::ImageError| undecodable(&error.to_string());
    let mut decoder = PngDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    let mut limits = Limits::default();
    // 16 bits a channel with transparency, and as much again for the decoder itself.
    limits.max_alloc = Some(PICTURE_PIXELS_MAX * 16);
    decoder.set_limits(limits).map_err(refused)?;
    Ok(DynamicImage::from_decoder(decoder).map_err(refused)?.into_rgb8())
}

fn check_size(width: u32, height: u32) -> Result<(), PictureFault> {
    match u64::from(width) * u64::from(height) {
        0 => Err(undecodable("it has no pixels")),
        pixels if pixels > PICTURE_PIXELS_MAX => Err(PictureFault::TooManyPixels { width, height }),
        _ => Ok(()),
    }
}

fn upright(picture: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

fn undecodable(reason: &str) -> PictureFault {
    /// Characters of what a decoder says that are kept.
    const REASON_CHARS_MAX: usize = 200;
    PictureFault::Undecodable { reason: reason.chars().take(REASON_CHARS_MAX).collect() }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageFormat, Luma};
    use proptest::prelude::*;

    use super::super::samples::{encode, jpeg, picture, with_segment, without_segments};
    use super::*;

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    /// Mean distance of two pictures in a channel.
    fn distance(one: &RgbImage, other: &RgbImage) -> f64 {
        assert_eq!(one.dimensions(), other.dimensions());
        let sum: u64 = one.iter().zip(other.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / one.len() as f64
    }

    #[test]
    fn pictures_decode_to_what_was_encoded() {
        let original = RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8, y as u8, 128]));
        let decoded = StreamDecoder::default().decode(&encode(&original)).unwrap();
        assert!(distance(&decoded, &original) < 4.0);
        let png = png(&DynamicImage::ImageRgb8(original.clone()));
        assert_eq!(decode_file(&png).unwrap(), original);
    }

    #[test]
    fn a_picture_without_huffman_tables_decodes_to_the_same_pixels() {
        for whole in [jpeg(160, 120, 3), jpeg(17, 33, 9)] {
            let bare = without_segments(&whole, 0xC4);
            assert!(
                decode_jpeg(&bare, Strictness::Lenient).is_err(),
                "the decoder has none itself"
            );
            let expected = StreamDecoder::default().decode(&whole).unwrap();
            assert_eq!(StreamDecoder::default().decode(&bare).unwrap(), expected);
            assert_eq!(decode_file(&bare).unwrap(), expected);
        }
    }

    #[test]
    fn grey_deep_and_transparent_pictures_become_rgb() {
        let grey = DynamicImage::ImageLuma8(GrayImage::from_pixel(20, 10, Luma([77])));
        let mut bytes = Cursor::new(Vec::new());
        grey.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        let decoded = decode_file(bytes.get_ref()).unwrap();
        assert_eq!(decoded.dimensions(), (20, 10));
        assert!(decoded.iter().all(|value| value.abs_diff(77) < 4));
        for deep in [DynamicImage::new_rgba8(5, 4), DynamicImage::new_luma16(5, 4)] {
            assert_eq!(decode_file(&png(&deep)).unwrap().dimensions(), (5, 4));
        }
    }

    #[test]
    fn a_picture_taken_upright_is_turned_upright() {
        let exif: &[u8] =
            b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = with_segment(&jpeg(40, 30, 1), 0xE1, exif);
        assert_eq!(decode_file(&turned).unwrap().dimensions(), (30, 40));
    }

    #[test]
    fn a_picture_larger_than_the_limit_is_refused_before_it_is_decoded() {
        let mut huge = jpeg(16, 16, 1);
        let header = huge.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
        huge[header + 5..header + 9].fill(0xFF);
        let fault = PictureFault::TooManyPixels { width: 65_535, height: 65_535 };
        assert_eq!(StreamDecoder::default().decode(&huge), Err(fault));
    }

    #[test]
    fn a_picture_with_missing_data_is_refused_and_not_filled_with_grey() {
        let whole = encode(&picture(160, 120, 1));
        let scan = whole.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
        let cut = [&whole[..(scan + whole.len()) / 2], &[0xFF, 0xD9]].concat();
        assert!(
            decode_jpeg(&cut, Strictness::Strict).is_ok(),
            "if this fails, the detour is not needed"
        );
        assert!(StreamDecoder::default().decode(&cut).is_err());
        let padded = |picture: &[u8]| [picture, &[0; 100]].concat();
        assert!(StreamDecoder::default().decode(&padded(&cut)).is_err());
        assert!(StreamDecoder::default().decode(&padded(&whole)).is_ok());
    }

    #[test]
    fn a_camera_whose_pictures_are_never_strictly_right_is_decoded_leniently() {
        let whole = encode(&picture(160, 120, 1));
        let odd = [&whole[..whole.len() - 200], &[0xFF, 0xD9]].concat();
        let mut decoder = StreamDecoder::default();
        let refused = (0..50).take_while(|_| decoder.decode(&odd).is_err()).count();
        assert_eq!(refused, STRICT_REFUSALS_MAX as usize);

        let mut decoder = StreamDecoder::default();
        assert!(decoder.decode(&whole).is_ok());
        assert!((0..50).all(|_| decoder.decode(&odd).is_err()), "this camera can do better");
    }

    #[test]
    fn whole_pictures_of_every_size_and_quality_are_complete() {
        for (width, height) in [(1, 1), (8, 200), (16, 16), (17, 33), (320, 8), (200, 120)] {
            for quality in [1, 50, 100] {
                let flat = RgbImage::from_pixel(width, height, image::Rgb([3, 3, 3]));
                for picture in [picture(width, height, quality), flat] {
                    let mut bytes = Vec::new();
                    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality)
                        .encode_image(&picture)
                        .unwrap();
                    let decoded = decode_jpeg(&bytes, Strictness::Complete);
                    assert!(decoded.is_ok(), "{width} x {height} at {quality}: {decoded:?}");
                }
            }
        }
    }

    #[test]
    fn other_files_are_not_taken_for_pictures() {
        for bytes in [&b""[..], b"GIF89a", b"\x89PN", b"\xFF\xD8"] {
            assert!(matches!(decode_file(bytes), Err(PictureFault::NotAPicture { .. })));
        }
    }

    proptest! {
        #[test]
        fn damaged_pictures_never_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
            cut in any::<prop::sample::Index>(),
            is_png in any::<bool>(),
        ) {
            let original = picture(40, 30, 9);
            let mut bytes = if is_png {
                png(&DynamicImage::ImageRgb8(original))
            } else {
                encode(&original)
            };
            for (index, byte) in damage {
                let length = bytes.len();
                // The size stays: the limit on it has a test of its own.
                let at = index.index(length);
                if !(15..30).contains(&at) && !(158..170).contains(&at) {
                    bytes[at] = byte;
                }
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = decode_file(&bytes);
            let _ = decode_jpeg(&bytes, Strictness::Lenient);
            let _ = decode_jpeg(&bytes, Strictness::Complete);
        }
    }
}
