//! [`TamperDetector`]: whether a camera shows anything at all. A frozen, black or covered picture is no picture. Pure: time is
//! that of the pictures.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use image::RgbImage;
use lenslog_journal::Timestamp;

/// Blocks into which a picture is cut, each way: their means have hardly any noise.
const BLOCKS: u32 = 16;

/// Pixels of a block that are looked at, each way.
const BLOCK_PIXELS_MAX: u32 = 8;

/// A bright picture whose blocks deviate by no more than so many grey levels shows nothing.
const COVERED_LEVELS_MAX: f64 = 4.0;

/// The same for a dark one, in which what there is to be seen differs little.
const BLACK_DEVIATION_MAX: f64 = 1.5;

/// Where it is no brighter than this, in grey levels, it is black.
const BLACK_LEVELS_MAX: f64 = 16.0;

/// Of so many rows one is compared with that of the picture before.
const COMPARED_ROWS: usize = 8;

/// Why a camera shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tamper {
    /// Every picture is the same, to the last bit.
    Frozen,
    /// The picture is black.
    Black,
    /// The picture is of one brightness.
    Covered,
}

impl fmt::Display for Tamper {
    /// What an operator reads.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Frozen => "the picture is frozen: the camera delivers the same one again and again",
            Self::Black => "the picture is black: there is no light, or the lens is covered",
            Self::Covered => "the picture shows nothing: the lens is covered, or something stands right before it",
        })
    }
}

/// For how long a picture has to show nothing before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TamperConfig {
    /// The same picture again and again; zero: it is not looked for.
    pub frozen_after: Duration,
    /// A black or covered picture; zero: it is not looked for.
    pub blind_after: Duration,
}

impl Default for TamperConfig {
    /// 5 minutes, 10 seconds.
    fn default() -> Self {
        Self { frozen_after: Duration::from_secs(300), blind_after: Duration::from_secs(10) }
    }
}

/// What became of a camera's tampering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TamperChange {
    /// It shows nothing any more.
    Began(Tamper),
    /// It shows something again; what it did not before.
    Ended(Tamper),
}

/// Watches whether a camera shows anything.
///
/// ```
/// use image::RgbImage;
/// use lenslog_vision::motion::{Tamper, TamperDetector, TamperChange, TamperConfig};
/// use lenslog_journal::Timestamp;
///
/// let (mut tampering, config) = (TamperDetector::default(), TamperConfig::default());
/// let at = |seconds: i64| Timestamp { utc_micros: seconds * 1_000_000, offset_minutes: 0 };
/// let black = RgbImage::new(320, 240);
/// assert_eq!(tampering.look(&config, &black, at(0)), None);
/// assert_eq!(tampering.look(&config, &black, at(10)), Some(TamperChange::Began(Tamper::Black)));
/// ```
#[derive(Debug, Clone, Default)]
pub struct TamperDetector {
    /// What the picture before was made of, and since when it is the same.
    same: Option<(u64, Timestamp)>,
    /// Since when it shows nothing.
    flat: Option<(Tamper, Timestamp)>,
    lost: Option<Tamper>,
}

impl TamperDetector {
    /// Looks at the next picture. Returns what it changes.
    pub fn look(
        &mut self,
        config: &TamperConfig,
        picture: &RgbImage,
        now: Timestamp,
    ) -> Option<TamperChange> {
        let flat = self.flat_for(picture, now);
        let frozen = self.frozen_for(picture, now);
        let is_long = |lasted: Duration, after: Duration| !after.is_zero() && lasted >= after;
        let blind = match flat {
            Some((tamper, lasted)) if is_long(lasted, config.blind_after) => Some(tamper),
            _ if is_long(frozen, config.frozen_after) => Some(Tamper::Frozen),
            // What is dark still, though a little less, has not come back.
            Some(_) if self.lost.is_some_and(|lost| lost != Tamper::Frozen) => self.lost,
            _ => None,
        };
        let before = std::mem::replace(&mut self.lost, blind);
        match (before, blind) {
            (None, Some(tamper)) => Some(TamperChange::Began(tamper)),
            (Some(tamper), None) => Some(TamperChange::Ended(tamper)),
            // One kind of tamper that becomes another is no news.
            _ => None,
        }
    }

    /// Whether the picture is black or covered, but not for long enough yet to be believed.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        self.flat.is_some() && self.lost.is_none()
    }

    fn flat_for(&mut self, picture: &RgbImage, now: Timestamp) -> Option<(Tamper, Duration)> {
        let Some(tamper) = tamper_in(picture) else {
            self.flat = None;
            return None;
        };
        let (_, since) = self.flat.filter(|(before, _)| *before == tamper).unwrap_or((tamper, now));
        self.flat = Some((tamper, since));
        Some((tamper, lasted(since, now)))
    }

    fn frozen_for(&mut self, picture: &RgbImage, now: Timestamp) -> Duration {
        let mut hasher = DefaultHasher::new();
        let row_bytes = (picture.width() as usize * 3).max(1);
        let rows = picture.as_raw().chunks_exact(row_bytes).step_by(COMPARED_ROWS);
        rows.for_each(|row| hasher.write(row));
        let hash = hasher.finish();
        let (_, since) = self.same.filter(|(before, _)| *before == hash).unwrap_or((hash, now));
        self.same = Some((hash, since));
        lasted(since, now)
    }
}

fn lasted(since: Timestamp, now: Timestamp) -> Duration {
    let micros = now.utc_micros.saturating_sub(since.utc_micros);
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// Whether a picture shows nothing.
fn tamper_in(picture: &RgbImage) -> Option<Tamper> {
    let (width, height) = picture.dimensions();
    if width < BLOCKS || height < BLOCKS {
        return None;
    }
    let (mut sum, mut squares) = (0.0, 0.0);
    for block in 0..BLOCKS * BLOCKS {
        let mean = mean_of(picture, block % BLOCKS, block / BLOCKS);
        sum += mean;
        squares += mean * mean;
    }
    let count = f64::from(BLOCKS * BLOCKS);
    let mean = sum / count;
    let deviation = (squares / count - mean * mean).max(0.0).sqrt();
    match mean <= BLACK_LEVELS_MAX {
        true => (deviation <= BLACK_DEVIATION_MAX).then_some(Tamper::Black),
        false => (deviation <= COVERED_LEVELS_MAX).then_some(Tamper::Covered),
    }
}

/// Mean brightness of a block: of pixels that lie evenly in it.
fn mean_of(picture: &RgbImage, column: u32, row: u32) -> f64 {
    let (width, height) = (picture.width() / BLOCKS, picture.height() / BLOCKS);
    let (across, down) = (width.min(BLOCK_PIXELS_MAX), height.min(BLOCK_PIXELS_MAX));
    let mut sum = 0;
    for pixel in 0..across * down {
        let x = column * width + (pixel % across) * width / across;
        let y = row * height + (pixel / across) * height / down;
        sum += picture.get_pixel(x, y).0.iter().map(|value| u32::from(*value)).sum::<u32>();
    }
    f64::from(sum) / f64::from(across * down * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of black pictures, or of one and the same with something in it, at these seconds.
    fn said(is_black: bool, seconds: &[i64]) -> Vec<Option<TamperChange>> {
        let (mut tampering, config) = (TamperDetector::default(), TamperConfig::default());
        let shade = |x: u32| image::Rgb([if is_black { 0 } else { x as u8 }; 3]);
        let picture = RgbImage::from_fn(256, 64, |x, _| shade(x));
        let at = |seconds: &i64| Timestamp { utc_micros: seconds * 1_000_000, offset_minutes: 0 };
        seconds.iter().map(|seconds| tampering.look(&config, &picture, at(seconds))).collect()
    }

    #[test]
    fn a_camera_is_blind_when_it_was_for_as_long_as_is_configured_and_that_is_told_once() {
        let lost = |tamper| Some(TamperChange::Began(tamper));
        assert_eq!(said(true, &[0, 9, 10, 11]), [None, None, lost(Tamper::Black), None]);
        assert_eq!(said(false, &[0, 299, 300, 301]), [None, None, lost(Tamper::Frozen), None]);
    }
}
