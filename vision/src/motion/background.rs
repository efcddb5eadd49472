//! [`Background`], what every cell of the picture usually looks like and how much it varies. It finds which
//! cells differ from that now, and learns.

use super::grid::{GREY_LEVEL, Grid};
use super::light::{Light, UNCLIPPED};

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

/// How much a change of a cell adds to its activity, which falls by one a frame. A cell that changes more
/// often than once in so many frames becomes ever more dynamic.
const ACTIVITY_PER_CHANGE: u8 = 16;

/// Above this a cell is dynamic: leaves in the wind, water. Its changes are learned like noise.
const DYNAMIC_ACTIVITY: u8 = 96;

/// Activity rises no higher, so a cell comes to rest within this many frames less [`DYNAMIC_ACTIVITY`].
const ACTIVITY_MAX: u8 = 160;

/// A changed cell looks the same as before where it differs by no more than this, in grey levels, from what it
/// first looked like.
const SAME_LEVELS: u16 = 10;

/// What a cell usually looks like, all brightness in units of 1 / [`GREY_LEVEL`] of a grey level.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    deviation: u16,
    /// Brightness of what has stood before the background since it changed.
    candidate: u16,
    /// Frames for which the candidate has looked the same; 0: the cell shows its background.
    candidate_frames: u16,
    activity: u8,
}

/// The usual look of every cell.
#[derive(Debug)]
pub(super) struct Background {
    /// Brightness of every cell; beyond black and white where the light has become such that a camera clips it.
    means: Vec<i32>,
    cells: Vec<Cell>,
    absorb_frames: u16,
    differences: Histogram,
    /// By how much the picture that was compared last is brighter.
    exposure: i32,
    light: Light,
}

impl Background {
    /// Learns from pictures of an empty or busy scene: what a cell shows most of the time is its background.
    ///
    /// `samples` are at most [`SAMPLES_MAX`] pictures of the same size; what stands before the background for
    /// `absorb_frames` without moving becomes part of it.
    pub(super) fn learn(samples: &[Vec<u16>], absorb_frames: u16) -> Self {
        let count = samples.first().map_or(0, Vec::len);
        let mut values = Vec::with_capacity(samples.len());
        let (mut means, mut cells) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for index in 0..count {
            values.clear();
            values.extend(samples.iter().filter_map(|sample| sample.get(index).copied()));
            let mean = median(&mut values);
            values.iter_mut().for_each(|value| *value = value.abs_diff(mean));
            means.push(i32::from(mean));
            cells.push(Cell { deviation: median(&mut values), ..Cell::default() });
        }
        Self {
            means,
            cells,
            absorb_frames,
            differences: Histogram::default(),
            exposure: 0,
            light: Light::default(),
        }
    }

    /// Marks in `changed` the cells that differ from the background. Learns nothing.
    pub(super) fn compare(&mut self, grey: &[u16], changed: &mut Vec<bool>) {
        let exposure = self.exposure(grey);
        self.exposure = exposure;
        let cells = self.cells.iter().zip(&self.means).zip(grey);
        changed.clear();
        changed.extend(cells.map(|((cell, mean), now)| {
            let difference = i32::from(*now) - mean - exposure;
            !cell.is_dynamic() && difference.abs() > cell.difference_min()
        }));
    }

    /// Fits the light of this picture. `changed` are the cells that differ from the background in its own light. Learns
    /// nothing.
    pub(super) fn fit_light(&mut self, grid: &Grid, grey: &[u16], changed: &[bool]) {
        self.light.fit(grid, &self.means, grey, changed);
    }

    /// Marks in `strange`, of the cells for which `near` is `is_near`, those that differ from the background in the light
    /// that was fitted. Learns nothing.
    pub(super) fn compare_in_light(
        &mut self,
        grid: &Grid,
        grey: &[u16],
        (near, is_near): (&[bool], bool),
        strange: &mut [bool],
    ) {
        self.light.predict(grid, &self.means, near, is_near);
        let (light, cells) = (&self.light, self.cells.iter().zip(&self.means).zip(grey));
        let cells = cells.zip(near.iter().zip(strange)).enumerate();
        for (index, (((cell, mean), now), (near, strange))) in cells {
            if *near == is_near {
                *strange = !cell.is_dynamic()
                    && light.is_strange(index, *mean, *now, cell.difference_min());
            }
        }
    }

    /// Marks in `changed` the cells that differ from the background, and learns from the picture, which is the one that
    /// was compared last.
    pub(super) fn adapt(&mut self, grey: &[u16], changed: &mut Vec<bool>) {
        let (exposure, absorb_frames) = (self.exposure, self.absorb_frames);
        let cells = self.cells.iter_mut().zip(&mut self.means).zip(grey);
        changed.clear();
        changed.extend(
            cells.map(|((cell, mean), now)| cell.adapt(mean, *now, exposure, absorb_frames)),
        );
    }

    /// By how much the picture as a whole is brighter than the background; 0 where that is more than automatic
    /// exposure does.
    fn exposure(&mut self, grey: &[u16]) -> i32 {
        self.differences.clear();
        for (mean, now) in self.means.iter().zip(grey) {
            self.differences.add(i32::from(*now) - mean);
        }
        let median = self.differences.median();
        let limit = EXPOSURE_LEVELS_MAX * i32::from(GREY_LEVEL);
        if (-limit..=limit).contains(&median) { median } else { 0 }
    }

    /// By how many grey levels the light of the picture that was compared last changes the cells of `changed`, on average.
    pub(super) fn light_levels(&self, changed: &[bool]) -> f64 {
        let cells = self.means.iter().zip(self.light.predicted()).zip(changed);
        let (mut sum, mut count) = (0.0, 0);
        for ((mean, predicted), _) in cells.filter(|(_, changed)| **changed) {
            sum += f64::from((predicted - mean).abs()) / f64::from(GREY_LEVEL);
            count += 1;
        }
        sum / f64::from(count.max(1))
    }

    /// Takes the light of the picture that was compared last for that of the background. Where `strange` says that
    /// something else is before the background, the prediction is taken.
    pub(super) fn relight(&mut self, grey: &[u16], strange: &[bool]) {
        let cells = self.cells.iter_mut().zip(&mut self.means).zip(grey);
        for (((cell, mean), now), (predicted, strange)) in
            cells.zip(self.light.predicted().zip(strange))
        {
            let seen = i32::from(*now);
            *mean = match *now {
                _ if *strange => predicted,
                // What is clipped may be beyond black or white, and come back.
                now if now < UNCLIPPED.start => seen.min(predicted),
                now if now >= UNCLIPPED.end => seen.max(predicted),
                _ => seen,
            };
            if !strange {
                cell.candidate_frames = 0;
            }
            cell.deviation = cell.deviation.max(2 * GREY_LEVEL);
        }
        self.exposure = self.exposure(grey);
    }
}

impl Cell {
    /// The least difference that is more than usual.
    fn difference_min(&self) -> i32 {
        i32::from(DIFFERENCE_MIN * GREY_LEVEL).max(DEVIATIONS * i32::from(self.deviation))
    }

    /// Whether it changes so often that a change says nothing.
    const fn is_dynamic(&self) -> bool {
        self.activity > DYNAMIC_ACTIVITY
    }

    /// Whether the cell shows something else than its background. Learns.
    fn adapt(&mut self, mean: &mut i32, now: u16, exposure: i32, absorb_frames: u16) -> bool {
        let difference = i32::from(now) - *mean - exposure;
        let differs = difference.abs() > self.difference_min();
        let began = differs && self.candidate_frames == 0;
        self.activity = if began {
            self.activity.saturating_add(ACTIVITY_PER_CHANGE).min(ACTIVITY_MAX)
        } else {
            self.activity.saturating_sub(1)
        };
        if !differs || self.is_dynamic() {
            self.learn(mean, difference, exposure);
        }
        if !differs {
            self.candidate_frames = 0;
            return false;
        }
        self.absorb(mean, now, absorb_frames);
        !self.is_dynamic() && self.candidate_frames > 0
    }

    /// Moves the mean towards what was seen, and the usual deviation towards how far it was from the mean. What
    /// the exposure of the whole picture changes is no deviation of this cell.
    fn learn(&mut self, mean: &mut i32, difference: i32, exposure: i32) {
        *mean += (difference + exposure) >> MEAN_SHIFT;
        let deviation = i32::from(self.deviation);
        let deviation = deviation + ((difference.abs() - deviation) >> DEVIATION_SHIFT);
        self.deviation = u16::try_from(deviation).unwrap_or_default();
    }

    /// Counts how long the candidate has looked the same, and takes it for the background when that is long.
    fn absorb(&mut self, mean: &mut i32, now: u16, absorb_frames: u16) {
        if self.candidate_frames == 0 || self.candidate.abs_diff(now) > SAME_LEVELS * GREY_LEVEL {
            self.candidate = now;
            self.candidate_frames = 1;
            return;
        }
        self.candidate_frames = self.candidate_frames.saturating_add(1);
        if self.candidate_frames > absorb_frames {
            *mean = i32::from(now);
            self.candidate_frames = 0;
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
