//! [`Background`], what every cell of the picture usually looks like and how much it varies. It tells which
//! cells differ from that now, and learns.

use super::grid::GREY_LEVEL;

/// The least difference that counts as a change, in grey levels: compression and rounding stay below it.
const DIFFERENCE_MIN: u16 = 13;

/// A cell has changed when it differs by more than this many times its usual deviation.
const DEVIATIONS: i32 = 4;

/// How many frames of the learning time are kept, evenly spread over it.
pub(super) const SAMPLES_MAX: u32 = 25;

/// Brightness of a cell that has not changed moves its mean by 1 / 2^this of the difference: a slow drift of
/// light, up to a third of a grey level a frame, is followed.
const MEAN_SHIFT: u32 = 5;

/// The same for its usual deviation.
const DEVIATION_SHIFT: u32 = 6;

/// The whole picture may be brighter or darker by this many grey levels, by automatic exposure or a cloud,
/// before it counts as a change.
const EXPOSURE_LEVELS_MAX: i32 = 8;

/// How much a change of a cell adds to its restlessness, which falls by one a frame. A cell that changes more
/// often than once in so many frames becomes ever more restless.
const RESTLESSNESS_PER_CHANGE: u8 = 16;

/// Above this a cell is restless: leaves in the wind, water. Its changes are learned like noise.
const RESTLESS: u8 = 96;

/// Restlessness rises no higher, so a cell comes to rest within this many frames less [`RESTLESS`].
const RESTLESSNESS_MAX: u8 = 160;

/// A changed cell looks the same as before where it differs by no more than this, in grey levels, from what it
/// first looked like.
const SAME_LEVELS: u16 = 10;

/// After a change of light, what differs by more grey levels from what the light explains is no background.
const RELIT_DIFFERENCE_MAX: u16 = 20;

/// What a cell usually looks like, all brightness in units of 1 / [`GREY_LEVEL`] of a grey level.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    mean: u16,
    deviation: u16,
    /// Brightness of what has stood before the background since it changed.
    guest: u16,
    /// Frames for which the guest has looked the same; 0: the cell shows its background.
    guest_frames: u16,
    restlessness: u8,
}

/// The usual look of every cell.
#[derive(Debug)]
pub(super) struct Background {
    cells: Vec<Cell>,
    absorb_frames: u16,
    differences: Histogram,
}

impl Background {
    /// Learns from pictures of an empty or busy scene: what a cell shows most of the time is its background.
    ///
    /// `samples` are at most [`SAMPLES_MAX`] pictures of the same size; what stands before the background for
    /// `absorb_frames` without moving becomes part of it.
    pub(super) fn learn(samples: &[Vec<u16>], absorb_frames: u16) -> Self {
        let count = samples.first().map_or(0, Vec::len);
        let mut values = Vec::with_capacity(samples.len());
        let cells = (0..count).map(|index| {
            values.clear();
            values.extend(samples.iter().filter_map(|sample| sample.get(index).copied()));
            let mean = median(&mut values);
            values.iter_mut().for_each(|value| *value = value.abs_diff(mean));
            Cell { mean, deviation: median(&mut values), ..Cell::default() }
        });
        Self { cells: cells.collect(), absorb_frames, differences: Histogram::default() }
    }

    /// Brightness of every cell's background.
    pub(super) fn means(&self) -> impl Iterator<Item = u16> {
        self.cells.iter().map(|cell| cell.mean)
    }

    /// Compares a picture with the background, learns from it, and marks in `changed` the cells that differ.
    pub(super) fn compare(&mut self, grey: &[u16], changed: &mut Vec<bool>) {
        let exposure = self.exposure(grey);
        let absorb_frames = self.absorb_frames;
        let compare = |(cell, now): (&mut Cell, &u16)| cell.compare(*now, exposure, absorb_frames);
        changed.clear();
        changed.extend(self.cells.iter_mut().zip(grey).map(compare));
    }

    /// By how much the picture as a whole is brighter than the background; 0 where that is more than automatic
    /// exposure does.
    fn exposure(&mut self, grey: &[u16]) -> i32 {
        self.differences.clear();
        for (cell, now) in self.cells.iter().zip(grey) {
            self.differences.add(i32::from(*now) - i32::from(cell.mean));
        }
        let median = self.differences.median();
        let limit = EXPOSURE_LEVELS_MAX * i32::from(GREY_LEVEL);
        if (-limit..=limit).contains(&median) { median } else { 0 }
    }

    /// Takes a picture as the background in a new light, for which `predict` tells what a cell should show
    /// (of its index and what it showed before). Where the picture shows something else, something stands
    /// before the background, and the prediction is taken. Returns how many cells show something else, without those that are left out: where something moved before.
    pub(super) fn relight(
        &mut self,
        grey: &[u16],
        left_out: &[bool],
        predict: impl Fn(usize, u16) -> u16,
    ) -> usize {
        let mut strange = 0;
        let cells = self.cells.iter_mut().zip(grey).zip(left_out).enumerate();
        for (index, ((cell, now), left_out)) in cells {
            let predicted = predict(index, cell.mean);
            let limit = u32::from(RELIT_DIFFERENCE_MAX * GREY_LEVEL);
            let is_background = u32::from(predicted.abs_diff(*now)) <= limit;
            strange += usize::from(!is_background && !left_out);
            cell.mean = if is_background { *now } else { predicted };
            cell.guest_frames = 0;
            cell.deviation = cell.deviation.max(2 * GREY_LEVEL);
        }
        strange
    }
}

impl Cell {
    /// Whether the cell shows something else than its background. Learns.
    fn compare(&mut self, now: u16, exposure: i32, absorb_frames: u16) -> bool {
        let difference = i32::from(now) - i32::from(self.mean) - exposure;
        let floor = i32::from(DIFFERENCE_MIN * GREY_LEVEL);
        let differs = difference.abs() > floor.max(DEVIATIONS * i32::from(self.deviation));
        let began = differs && self.guest_frames == 0;
        self.restlessness = if began {
            self.restlessness.saturating_add(RESTLESSNESS_PER_CHANGE).min(RESTLESSNESS_MAX)
        } else {
            self.restlessness.saturating_sub(1)
        };
        let is_restless = self.restlessness > RESTLESS;
        if !differs || is_restless {
            self.learn(difference, exposure);
        }
        if !differs {
            self.guest_frames = 0;
            return false;
        }
        self.host(now, absorb_frames);
        !is_restless && self.guest_frames > 0
    }

    /// Moves the mean towards what was seen, and the usual deviation towards how far it was from the mean. What
    /// the exposure of the whole picture changes is no deviation of this cell.
    fn learn(&mut self, difference: i32, exposure: i32) {
        let mean = i32::from(self.mean) + ((difference + exposure) >> MEAN_SHIFT);
        self.mean = u16::try_from(mean).unwrap_or_default();
        let deviation = i32::from(self.deviation);
        let deviation = deviation + ((difference.abs() - deviation) >> DEVIATION_SHIFT);
        self.deviation = u16::try_from(deviation).unwrap_or_default();
    }

    /// Counts how long the guest has looked the same, and takes it for the background when that is long.
    fn host(&mut self, now: u16, absorb_frames: u16) {
        if self.guest_frames == 0 || self.guest.abs_diff(now) > SAME_LEVELS * GREY_LEVEL {
            self.guest = now;
            self.guest_frames = 1;
            return;
        }
        self.guest_frames = self.guest_frames.saturating_add(1);
        if self.guest_frames > absorb_frames {
            self.mean = now;
            self.guest_frames = 0;
        }
    }
}

/// The middle one of `values`, whose order changes; 0 where there is none.
fn median(values: &mut [u16]) -> u16 {
    if values.is_empty() {
        return 0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

/// Counts differences in brightness by whole grey levels.
#[derive(Debug)]
struct Histogram {
    counts: [u32; Self::LEVELS],
}

impl Histogram {
    const LEVELS: usize = 512;
    const ZERO: i32 = 256;

    fn clear(&mut self) {
        self.counts.fill(0);
    }

    fn add(&mut self, difference: i32) {
        let level = (difference >> GREY_LEVEL.trailing_zeros()) + Self::ZERO;
        let index = usize::try_from(level).unwrap_or_default().min(Self::LEVELS - 1);
        self.counts[index] += 1;
    }

    /// The middle difference, at the middle of its grey level.
    fn median(&self) -> i32 {
        let half = self.counts.iter().sum::<u32>() / 2;
        let mut seen = 0;
        let index = self.counts.iter().position(|count| {
            seen += count;
            seen > half
        });
        let level = i32::try_from(index.unwrap_or_default()).unwrap_or_default() - Self::ZERO;
        level * i32::from(GREY_LEVEL) + i32::from(GREY_LEVEL) / 2
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; Self::LEVELS] }
    }
}
