//! Pictures for the tests of this crate: made ones, and where the recorded ones are.

use std::path::PathBuf;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};

/// A small picture whose content depends on `seed`.
pub(crate) fn picture(width: u32, height: u32, seed: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x.to_le_bytes()[0], y.to_le_bytes()[0]);
        Rgb([x.wrapping_mul(7) ^ seed, y.wrapping_mul(5).wrapping_add(seed), x ^ y])
    })
}

/// [`picture`], encoded as JPEG.
pub(crate) fn jpeg(width: u32, height: u32, seed: u8) -> Vec<u8> {
    encode(&picture(width, height, seed))
}

/// Encodes a picture as JPEG.
pub(crate) fn encode(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 80)
        .write_image(picture, picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

/// `jpeg` with a segment of that marker and payload behind its start marker.
pub(crate) fn with_segment(jpeg: &[u8], marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, marker], &length, payload, &jpeg[2..]].concat()
}

/// The recorded pictures that some tests look at: `pedestrians.mjpeg`, 200 frames of 768 x 576 at 5 frames a
/// second.
///
/// Found through `LENSLOG_MEDIA`, or in `../shared/media` beside the repository. Where there are none, says
/// why the test proves nothing and returns `None`, unless `LENSLOG_TEST_ALL=1` asks for a failure.
pub(crate) fn pedestrians() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/media");
    let folder = std::env::var_os("LENSLOG_MEDIA").map_or_else(beside, PathBuf::from);
    let path = folder.join("pedestrians.mjpeg");
    if path.is_file() {
        return Some(path);
    }
    let missing = format!("{} is missing; set LENSLOG_MEDIA to its folder", path.display());
    assert!(std::env::var_os("LENSLOG_TEST_ALL").is_none_or(|all| all != "1"), "{missing}");
    eprintln!("skipped: {missing}");
    None
}

/// An EXIF segment that says when a picture was taken; empty texts are left out.
pub(crate) fn exif_segment(original: &str, subsec: &str, offset: &str) -> Vec<u8> {
    let tags = [(0x9003u16, original), (0x9011, offset), (0x9291, subsec)];
    let entries: Vec<_> = tags.into_iter().filter(|(_, text)| !text.is_empty()).collect();
    let count = u16::try_from(entries.len()).unwrap();
    // Header; a first directory with a pointer to the second one; the second one; the texts.
    let mut tiff = b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1A\0\0\0\0".to_vec();
    let mut texts_at = tiff.len() + 2 + entries.len() * 12 + 4;
    let mut texts = Vec::new();
    tiff.extend(count.to_be_bytes());
    for (tag, text) in &entries {
        let text = [text.as_bytes(), &[0]].concat();
        tiff.extend(tag.to_be_bytes());
        tiff.extend(2u16.to_be_bytes());
        tiff.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        if text.len() <= 4 {
            tiff.extend([&text[..], &[0; 4][text.len()..]].concat());
        } else {
            tiff.extend(u32::try_from(texts_at).unwrap().to_be_bytes());
            texts_at += text.len();
            texts.extend(text);
        }
    }
    tiff.extend([0; 4]);
    tiff.extend(texts);
    [b"Exif\0\0", &tiff[..]].concat()
}

/// `jpeg` without its segments of that marker, as far as its scan.
pub(crate) fn without_segments(jpeg: &[u8], marker: u8) -> Vec<u8> {
    let (mut kept, mut rest) = jpeg.split_at(2);
    let mut bare = kept.to_vec();
    while rest[1] != 0xDA {
        let length = 2 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        (kept, rest) = rest.split_at(length);
        if kept[1] != marker {
            bare.extend(kept);
        }
    }
    bare.extend(rest);
    bare
}
