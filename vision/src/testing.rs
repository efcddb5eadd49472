//! Pictures for the tests of this crate: synthetic ones, and a recorded clip.
#![expect(clippy::disallowed_methods, reason = "tests find and read the recorded clip")]

use std::path::PathBuf;

use image::{Rgb, RgbImage};

/// Frames a second of [`clip`].
pub(crate) const CLIP_FPS: u64 = 5;

/// A small picture whose content depends on `seed`.
pub(crate) fn picture(width: u32, height: u32, seed: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x.to_le_bytes()[0], y.to_le_bytes()[0]);
        Rgb([x.wrapping_mul(7) ^ seed, y.wrapping_mul(5).wrapping_add(seed), x ^ y])
    })
}

/// The frames of `pedestrians.mjpeg`, 200 of 768 x 576 pixels, in the folder that `LENSLOG_MEDIA` names, else in
/// `../shared/media` next to the repository.
///
/// Without the clip, prints why the test proves nothing and returns `None`; fails instead with `LENSLOG_TEST_ALL=1`.
pub(crate) fn clip() -> Option<Vec<RgbImage>> {
    let folder = std::env::var_os("LENSLOG_MEDIA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"),
        PathBuf::from,
    );
    let path = folder.join("pedestrians.mjpeg");
    let Ok(bytes) = std::fs::read(&path) else {
        let missing = format!("{} is missing; set LENSLOG_MEDIA to its folder", path.display());
        assert!(std::env::var_os("LENSLOG_TEST_ALL").is_none_or(|all| all != "1"), "{missing}");
        eprintln!("skipped: {missing}");
        return None;
    };
    Some(jpegs(&bytes).map(|jpeg| image::load_from_memory(jpeg).unwrap().into_rgb8()).collect())
}

/// Splits complete JPEGs that follow each other without a gap.
fn jpegs(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let seam = bytes.windows(4).position(|four| four == [0xFF, 0xD9, 0xFF, 0xD8]);
        let jpeg = bytes.split_off(..seam.map_or(bytes.len(), |at| at + 2))?;
        (!jpeg.is_empty()).then_some(jpeg)
    })
}
