//! Decoding of JPEG and PNG bytes to an RGB picture, with limits. Bytes of any kind give a picture or a
//! [`PictureFault`], never a panic.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, Limits, RgbImage};
use jpeg_decoder::PixelFormat;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::format;
use super::huffman::with_tables;
use super::problem::PictureFault;
use super::scans::Scans;
use super::{FILE_PIXELS_MAX, PICTURE_PIXELS_MAX};

/// How many pictures at the beginning of a stream, all of them, the strict decoder refuses before the lenient
/// one takes over: that camera's way of writing JPEG must be meant.
const STRICT_REFUSALS_MAX: u32 = 10;

/// How much of a damaged picture has to be there for it to be shown: the rest is made up.
const SHOWN_SHARE_MIN: f64 = 0.875;

/// Why a picture of several scans is refused whose last one breaks off before the end marker.
const LAST_SCAN_CUT: &str = "the last scan of the picture breaks off";

/// What a JPEG picture ends with.
pub(crate) const END_OF_IMAGE: &[u8] = &[0xFF, 0xD9];
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
        if bytes.starts_with(PNG_MAGIC) {
            return decode_png(bytes);
        }
        let strictness =
            if matches!(self, Self::Lenient) { Strictness::Lenient } else { Strictness::Complete };
        let decoded = decode_jpeg(&with_tables(without_padding(bytes)), strictness)
            .map(|(picture, exif)| upright(picture, orientation(exif.as_deref())));
        if let Self::Undecided { refusals } = self {
            *self = match (&decoded, *refusals + 1) {
                (Ok(_), _) => Self::Strict,
                (Err(_), STRICT_REFUSALS_MAX..) => Self::Lenient,
                (Err(_), refusals) => Self::Undecided { refusals },
            };
        }
        decoded
    }

    /// Decodes a picture that lacked its end marker, which was added. One that is not whole breaks off there: it is
    /// refused, and says nothing about how the camera writes JPEG.
    pub(crate) fn decode_unended(&mut self, bytes: &[u8]) -> Result<RgbImage, PictureFault> {
        let decoded = decode_jpeg(&with_tables(bytes), Strictness::Unended);
        let (picture, exif) =
            decoded.map_err(|_| PictureFault::Truncated { bytes: bytes.len() as u64 })?;
        if matches!(self, Self::Undecided { .. }) {
            *self = Self::Strict;
        }
        Ok(upright(picture, orientation(exif.as_deref())))
    }
}

/// A picture as far as its end marker: cameras fill their buffers up with zeros.
fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.get(..end).filter(|picture| picture.ends_with(END_OF_IMAGE)).unwrap_or(bytes)
}

/// Decodes a whole JPEG or PNG file, turned upright as its EXIF says.
pub(crate) fn decode_file(bytes: &[u8]) -> Result<RgbImage, PictureFault> {
    if bytes.starts_with(JPEG_MAGIC) {
        // Half a picture, with an end marker put at its end, is no picture.
        let (picture, exif) =
            decode_sized(&with_tables(bytes), Strictness::Complete, FILE_PIXELS_MAX)?;
        return Ok(upright(scaled(picture), orientation(exif.as_deref())));
    }
    if bytes.starts_with(PNG_MAGIC) {
        return decode_png(bytes).map(scaled);
    }
    Err(format::of(bytes)
        .map_or(PictureFault::NotAPicture { reason: "neither JPEG nor PNG" }, |format| {
            PictureFault::OtherFormat { format }
        }))
}

/// Decodes a JPEG file that lacked its end marker, which was added. One that is not whole is refused.
pub(crate) fn decode_unended_file(bytes: &[u8]) -> Result<RgbImage, PictureFault> {
    let decoded = decode_sized(&with_tables(bytes), Strictness::Unended, FILE_PIXELS_MAX);
    let (picture, exif) = decoded.map_err(|fault| match fault {
        PictureFault::Undecodable { .. } => PictureFault::Truncated { bytes: bytes.len() as u64 },
        fault => fault,
    })?;
    Ok(upright(scaled(picture), orientation(exif.as_deref())))
}

/// A JPEG picture without what is between its segments and after its end; `None` if it has no end.
pub(crate) fn alone(jpeg: &[u8]) -> Option<Cow<'_, [u8]>> {
    let scans = Scans::of(jpeg);
    (scans.end.is_some() && scans.count > 0).then(|| scans.alone(jpeg))
}

/// How much may be wrong with a JPEG picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Damage passes where at least [`SHOWN_SHARE_MIN`] of the picture is there.
    Lenient,
    /// Damage that the decoder notices is refused.
    Strict,
    /// As strict, and there has to be data for every row of pixels.
    Complete,
    /// As complete. A picture of several scans is refused: how much of the last one there has to be is not known.
    Unended,
}

/// Decodes one JPEG picture of a stream, to pixels and its EXIF.
fn decode_jpeg(
    bytes: &[u8],
    strictness: Strictness,
) -> Result<(RgbImage, Option<Vec<u8>>), PictureFault> {
    decode_sized(bytes, strictness, PICTURE_PIXELS_MAX)
}

/// Decodes one JPEG picture of at most so many pixels.
fn decode_sized(
    bytes: &[u8],
    strictness: Strictness,
    pixels_max: u64,
) -> Result<(RgbImage, Option<Vec<u8>>), PictureFault> {
    let refused = |error: DecodeErrors| undecodable(&format!("{error:?}"));
    let scans = Scans::of(bytes);
    let bytes = &*scans.alone(bytes);
    if !scans.restarts_in_order {
        return Err(undecodable("its restart markers are out of order: data is missing"));
    }
    if !scans.is_complete() {
        return Err(undecodable("scans of the picture are missing"));
    }
    if strictness == Strictness::Unended && scans.count > 1 {
        return Err(undecodable("a picture of several scans has no end marker"));
    }
    if scans.is_sequential && scans.count > 1 {
        return decode_scans(bytes, pixels_max);
    }
    // The decoder takes an end marker that comes too early for the end of the picture and makes the rest up.
    // Without the marker it runs out of data, which it notices. It reads ahead, for which the zeros are there.
    let unended = match bytes.strip_suffix(END_OF_IMAGE) {
        Some(unended) if matches!(strictness, Strictness::Complete | Strictness::Unended) => {
            Some([unended, &[0; READ_AHEAD_BYTES]].concat())
        }
        _ => None,
    };
    let input = unended.as_deref().unwrap_or(bytes);
    let mut decoder = decoder_of(input, strictness != Strictness::Lenient);
    decoder.decode_headers().map_err(refused)?;
    let info = decoder.info().ok_or_else(|| undecodable("it has no header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(width, height, pixels_max)?;
    let is_progressive = !info.sof.is_sequential_dct();
    if unended.is_some() && is_progressive {
        // A progressive picture needs its end marker.
        let (picture, exif) = decode_sized(bytes, Strictness::Strict, pixels_max)?;
        if shown_share(&picture, bytes) < 1.0 {
            return Err(undecodable(LAST_SCAN_CUT));
        }
        return Ok((picture, exif));
    }
    let pixels = decoder.decode().map_err(refused)?;
    let picture = RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| undecodable("its colours cannot be converted to RGB"))?;
    if strictness == Strictness::Lenient && shown_share(&picture, bytes) < SHOWN_SHARE_MIN {
        return Err(PictureFault::Truncated { bytes: bytes.len() as u64 });
    }
    Ok((picture, decoder.exif().cloned()))
}

fn decoder_of(bytes: &[u8], is_strict: bool) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default()
        .set_strict_mode(is_strict)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

/// How much of a picture its data shows, from 0 to 1: as far as it does not change with what follows the data.
fn shown_share(picture: &RgbImage, bytes: &[u8]) -> f64 {
    let Ok(other) = decoder_of(&followed(bytes), false).decode() else { return 0.0 };
    let row_bytes = picture.width() as usize * 3;
    let rows = picture.chunks_exact(row_bytes).zip(other.chunks_exact(row_bytes));
    rows.take_while(|(row, other)| row == other).count() as f64 / f64::from(picture.height())
}

/// A picture with other data between its own and its end marker.
fn followed(bytes: &[u8]) -> Vec<u8> {
    let data = bytes.strip_suffix(END_OF_IMAGE).unwrap_or(bytes);
    // Not zeros, which the decoder itself adds.
    [data, &vec![0x5A; bytes.len()], END_OF_IMAGE].concat()
}

/// Decodes a sequential picture whose colours lie in scans of their own: zune-jpeg 0.5.15 reads these wrongly, and says
/// nothing, where colours have fewer rows than brightness.
fn decode_scans(
    bytes: &[u8],
    pixels_max: u64,
) -> Result<(RgbImage, Option<Vec<u8>>), PictureFault> {
    let refused = |error: jpeg_decoder::Error| undecodable(&error.to_string());
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().map_err(refused)?;
    let info = decoder.info().ok_or_else(|| undecodable("it has no header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(width, height, pixels_max)?;
    let pixels = decoder.decode().map_err(refused)?;
    // A decoder makes up what is missing.
    if jpeg_decoder::Decoder::new(&*followed(bytes)).decode().ok().as_ref() != Some(&pixels) {
        return Err(undecodable(LAST_SCAN_CUT));
    }
    let picture = match info.pixel_format {
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels),
        PixelFormat::L8 => GrayImage::from_raw(width, height, pixels)
            .map(|picture| DynamicImage::ImageLuma8(picture).into_rgb8()),
        _ => None,
    };
    let picture = picture
        .ok_or_else(|| undecodable("its colours lie in scans of their own and are not YCbCr"))?;
    Ok((picture, decoder.exif_data().map(<[u8]>::to_vec)))
}

fn decode_png(bytes: &[u8]) -> Result<RgbImage, PictureFault> {
    let refused = |error: image::ImageError| undecodable(&error.to_string());
    let mut decoder = PngDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, FILE_PIXELS_MAX)?;
    let mut limits = Limits::default();
    // 16 bits a channel with transparency, and as much again for the decoder itself.
    limits.max_alloc = Some(FILE_PIXELS_MAX * 16);
    decoder.set_limits(limits).map_err(refused)?;
    // What cannot be read of its metadata costs no picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(refused)?.into_rgb8();
    Ok(upright(picture, orientation))
}

fn check_size(width: u32, height: u32, pixels_max: u64) -> Result<(), PictureFault> {
    match u64::from(width) * u64::from(height) {
        0 => Err(undecodable("it has no pixels")),
        pixels if pixels > pixels_max => {
            Err(PictureFault::TooManyPixels { width, height, pixels_max })
        }
        _ => Ok(()),
    }
}

/// How a picture has to be turned, as its EXIF says.
fn orientation(exif: Option<&[u8]>) -> Orientation {
    exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// A picture with at most [`PICTURE_PIXELS_MAX`] pixels: one with more has half its width and height.
fn scaled(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    if u64::from(width) * u64::from(height) <= PICTURE_PIXELS_MAX {
        return picture;
    }
    image::imageops::thumbnail(&picture, (width / 2).max(1), (height / 2).max(1))
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
    use image::codecs::png::PngEncoder;
    use image::{ImageEncoder, ImageFormat, Luma};
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

    /// Pictures of 48 x 40 pixels that libjpeg wrote, with what it makes of them.
    const SCANS_420: &[u8] = include_bytes!("../../tests/pictures/scans_420.jpg");
    const RESTARTS: &[u8] = include_bytes!("../../tests/pictures/restarts.jpg");
    const PROGRESSIVE: &[u8] = include_bytes!("../../tests/pictures/progressive.jpg");
    const SHOWN: &[u8] = include_bytes!("../../tests/pictures/shown.png");

    #[test]
    fn colours_in_scans_of_their_own_decode_as_libjpeg_decodes_them() {
        let shown = decode_file(SHOWN).unwrap();
        for decoded in [decode_file(SCANS_420), StreamDecoder::default().decode(SCANS_420)] {
            assert!(distance(&decoded.unwrap(), &shown) < 4.0);
        }
        let cut = [&SCANS_420[..SCANS_420.len() / 2], END_OF_IMAGE].concat();
        assert!(decode_file(&cut).is_err());
    }

    #[test]
    fn a_picture_cut_before_its_last_scan_is_refused() {
        let shown = decode_file(SHOWN).unwrap();
        for whole in [PROGRESSIVE, SCANS_420] {
            assert!(distance(&decode_file(whole).unwrap(), &shown) < 4.0);
            let scans = whole.windows(2).enumerate().filter(|(_, pair)| *pair == [0xFF, 0xDA]);
            for (at, _) in scans.skip(1) {
                let cut = [&whole[..at - 2], END_OF_IMAGE].concat();
                for decoded in [decode_file(&cut), StreamDecoder::default().decode(&cut)] {
                    let Err(PictureFault::Undecodable { reason }) = decoded else {
                        panic!("cut at {at}");
                    };
                    assert_eq!(reason, "scans of the picture are missing");
                }
            }
        }
    }

    #[test]
    fn a_picture_cut_in_its_last_scan_is_refused() {
        for whole in [PROGRESSIVE, SCANS_420] {
            let scan = whole.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
            let last = scan + 2 + usize::from(whole[scan + 3]);
            let length = whole.len() - 2 - last;
            for percent in [20, 50, 80, 95] {
                let cut = [&whole[..last + length * percent / 100], END_OF_IMAGE].concat();
                for decoded in [decode_file(&cut), StreamDecoder::default().decode(&cut)] {
                    assert_eq!(decoded, Err(undecodable(LAST_SCAN_CUT)), "at {percent} %");
                }
            }
        }
    }

    #[test]
    fn sixteen_bits_a_channel_become_eight_as_png_says() {
        // PNG (third edition), 13.12: floor(sample * 255 / 65535 + 0.5). Pillow clips grey ones at 255 instead.
        let samples = [0, 128, 129, 255, 256, 0x7FFF, 0x8000, 0xFEFF, 0xFFFF];
        let expected = [0, 0, 1, 1, 1, 127, 128, 254, 255];
        let gray = image::ImageBuffer::from_fn(9, 1, |x, _| Luma([samples[x as usize]]));
        let color = DynamicImage::ImageLuma16(gray.clone()).into_rgb16();
        for deep in [DynamicImage::ImageLuma16(gray), DynamicImage::ImageRgb16(color)] {
            let decoded = decode_file(&png(&deep)).unwrap();
            let found: Vec<_> = decoded.pixels().map(|pixel| pixel.0).collect();
            assert_eq!(found, expected.map(|value| [value; 3]));
        }
    }

    #[test]
    fn a_file_without_its_end_marker_is_decoded_if_it_is_whole() {
        let whole = encode(&picture(160, 120, 1));
        assert_eq!(decode_unended_file(&whole).unwrap(), decode_file(&whole).unwrap());
        let cut = [&whole[..whole.len() * 9 / 10], END_OF_IMAGE].concat();
        for refused in [&cut[..], PROGRESSIVE, SCANS_420] {
            let fault = PictureFault::Truncated { bytes: refused.len() as u64 };
            assert_eq!(decode_unended_file(refused), Err(fault));
        }
    }

    #[test]
    fn a_missing_restart_marker_is_refused_with_its_reason() {
        let shown = decode_file(SHOWN).unwrap();
        assert!(distance(&decode_file(RESTARTS).unwrap(), &shown) < 4.0);
        let at = RESTARTS.windows(2).position(|marker| marker == [0xFF, 0xD0]).unwrap();
        let missing = [&RESTARTS[..at], &RESTARTS[at + 2..]].concat();
        for decoded in [decode_file(&missing), StreamDecoder::default().decode(&missing)] {
            let Err(PictureFault::Undecodable { reason }) = decoded else { panic!("{decoded:?}") };
            assert!(reason.contains("restart markers are out of order"), "{reason}");
        }
    }

    #[test]
    fn bytes_between_segments_and_after_the_end_change_nothing() {
        let whole = encode(&picture(160, 120, 1));
        let behind = 4 + usize::from(whole[5]);
        let gapped = [&whole[..behind], &[0; 608], &whole[behind..], b"--boundary"].concat();
        let expected = decode_file(&whole).unwrap();
        assert_eq!(decode_file(&gapped).unwrap(), expected);
        assert_eq!(StreamDecoder::default().decode(&gapped).unwrap(), expected);
    }

    #[test]
    fn a_file_that_is_cut_and_ended_is_refused() {
        let whole = encode(&picture(160, 120, 1));
        let scan = whole.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
        let cut = [&whole[..(scan + whole.len()) / 2], END_OF_IMAGE].concat();
        assert!(decode_file(&cut).is_err());
        assert!(decode_file(&[&cut[..], &[0; 100]].concat()).is_err());
    }

    #[test]
    fn a_picture_taken_upright_is_turned_upright() {
        let exif: &[u8] =
            b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = with_segment(&jpeg(40, 30, 1), 0xE1, exif);
        assert_eq!(decode_file(&turned).unwrap().dimensions(), (30, 40));
        assert_eq!(StreamDecoder::default().decode(&turned).unwrap().dimensions(), (30, 40));
        let mut turned = Cursor::new(Vec::new());
        let mut encoder = PngEncoder::new(&mut turned);
        encoder.set_exif_metadata(exif.strip_prefix(b"Exif\0\0").unwrap().to_vec()).unwrap();
        picture(40, 30, 1).write_with_encoder(encoder).unwrap();
        assert_eq!(decode_file(turned.get_ref()).unwrap().dimensions(), (30, 40));
    }

    #[test]
    fn a_picture_larger_than_the_limit_is_refused_before_it_is_decoded() {
        let mut huge = jpeg(16, 16, 1);
        let header = huge.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
        huge[header + 5..header + 9].fill(0xFF);
        let fault =
            |pixels_max| PictureFault::TooManyPixels { width: 65_535, height: 65_535, pixels_max };
        assert_eq!(StreamDecoder::default().decode(&huge), Err(fault(PICTURE_PIXELS_MAX)));
        assert_eq!(decode_file(&huge), Err(fault(FILE_PIXELS_MAX)));
    }

    #[test]
    fn a_trail_cameras_48_megapixels_are_taken_at_half_the_size() {
        // Of one grey, so that it is small and fast.
        let large = RgbImage::from_pixel(8000, 6000, image::Rgb([90, 90, 90]));
        let bytes = encode(&large);
        let decoded = decode_file(&bytes).unwrap();
        assert_eq!(decoded.dimensions(), (4000, 3000));
        assert!(decoded.get_pixel(3999, 2999).0.iter().all(|value| value.abs_diff(90) < 4));
    }

    #[test]
    fn a_file_cut_in_half_with_an_end_marker_is_refused() {
        let whole = encode(&picture(160, 120, 1));
        let scan = whole.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
        let cut = [&whole[..(scan + whole.len()) / 2], &[0xFF, 0xD9]].concat();
        assert!(matches!(decode_file(&cut), Err(PictureFault::Undecodable { .. })));
        assert!(decode_file(&whole).is_ok());
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
    fn a_picture_without_its_end_marker_is_whole_or_refused_for_good() {
        let whole = encode(&picture(160, 120, 1));
        let scan = whole.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
        let cut = [&whole[..(scan + whole.len()) / 2], &[0xFF, 0xD9]].concat();
        let mut decoder = StreamDecoder::default();
        let refused = PictureFault::Truncated { bytes: cut.len() as u64 };
        for _ in 0..2 * STRICT_REFUSALS_MAX {
            assert_eq!(decoder.decode_unended(&cut), Err(refused.clone()));
        }
        let expected = StreamDecoder::default().decode(&whole).unwrap();
        assert_eq!(decoder.decode_unended(&whole).unwrap(), expected);
        assert!(decoder.decode(&cut).is_err());
    }

    #[test]
    fn a_camera_whose_pictures_are_never_strictly_right_is_decoded_leniently() {
        let whole = encode(&picture(160, 120, 1));
        let odd = [&whole[..whole.len() - 200], &[0xFF, 0xD9]].concat();
        let mut decoder = StreamDecoder::default();
        let refused = (0..50).take_while(|_| decoder.decode(&odd).is_err()).count();
        assert_eq!(refused, STRICT_REFUSALS_MAX as usize);

        // Data for half of it, or in the wrong place, is made up for no camera.
        let scan = whole.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
        let half = [&whole[..(scan + whole.len()) / 2], &[0xFF, 0xD9]].concat();
        let at = RESTARTS.windows(2).position(|marker| marker == [0xFF, 0xD0]).unwrap();
        let missing = [&RESTARTS[..at], &RESTARTS[at + 2..]].concat();
        for never in [half, missing] {
            let mut decoder = StreamDecoder::default();
            assert!((0..50).all(|_| decoder.decode(&never).is_err()));
        }

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
        for bytes in [&b""[..], b"<html>", b"\x89PN", b"\xFF\xD8"] {
            assert!(matches!(decode_file(bytes), Err(PictureFault::NotAPicture { .. })));
        }
        let format = "GIF";
        assert_eq!(decode_file(b"GIF89a").unwrap_err(), PictureFault::OtherFormat { format });
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
