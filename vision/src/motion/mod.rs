//! Motion detection: which part of a picture differs from what the camera usually shows. Pure: it does no I/O
//! and reads no clock; time is counted in pictures.
//!
//! A picture is shrunk to a coarse grid of brightness, each cell is compared with its background, changed cells
//! are grouped into regions, and what is masked or outside the zones is left out. Before anything counts as motion, the
//! light is fitted that explains the change without it; what it explains is no motion.

mod background;
mod color_mode;
mod edges;
mod grid;
mod light;
mod outcome;
mod regions;
mod tamper;
#[cfg(test)]
mod tests;

use image::RgbImage;

use background::{Background, SAMPLES_MAX};
use color_mode::ColorMode;
use grid::{CellBox, Grid};
pub use outcome::{Motion, MotionOutcome, MovingPixels, Quiet};
pub use regions::REGIONS_MAX;
pub use tamper::{Tamper, TamperChange, TamperConfig, TamperDetector};

use crate::geometry::{Polygon, rasterize};

/// The longest learning time, in pictures. A longer one is cut to this.
pub const LEARNING_FRAMES_MAX: u32 = 100_000;

/// The longest time that a thing stands still before it belongs to the background, in pictures. A longer one
/// is cut to this.
pub const ABSORB_FRAMES_MAX: u32 = 60_000;

/// A changed light is believed when it is there in so many pictures in a row: a single one may be damaged, or
/// show a lightning or the flank of a lorry.
const LIGHT_LASTS: u32 = 2;

/// A light that has changed by more grey levels at once is predicted roughly until it is believed: motion has to be so
/// many times the threshold.
const LEAP_LEVELS: f64 = 24.0;
const LEAP_FACTOR: f64 = 2.0;

/// So much of the picture has to change by light, in per cent, before light is thought of.
const LIGHT_PERCENT_MIN: f64 = 1.0;

/// Where more of the picture has changed, in per cent, and the light does not explain it, it shows another scene.
const SCENE_PERCENT_MIN: f64 = 80.0;

/// The smallest threshold, in per cent. A smaller one counts as this.
pub const THRESHOLD_PERCENT_MIN: f64 = 0.01;

/// How motion is detected.
#[derive(Debug, Clone, PartialEq)]
pub struct MotionConfig {
    /// Changed area that counts as motion, in per cent of the picture without its masks; from
    /// [`THRESHOLD_PERCENT_MIN`] to 100, values beyond count as the nearest.
    pub threshold_percent: f64,
    /// What is smaller does not count, in per cent of the picture without its masks: leaves, insects, rain. What is near
    /// to each other is one thing.
    pub min_area_percent: f64,
    /// Pictures from which the background is learned before anything is reported.
    pub learning_frames: u32,
    /// Pictures for which a thing has to stand still until it belongs to the background: 30 seconds at 5 frames
    /// a second.
    pub absorb_frames: u32,
    /// Parts of the picture that are ignored.
    pub masks: Vec<Polygon>,
    /// Parts of the picture where motion counts: all of what moves counts where a part of it touches one of
    /// them. None: it counts everywhere.
    pub zones: Vec<Polygon>,
}

impl Default for MotionConfig {
    /// 2 %, things of at least 0.1 %, 25 pictures, 150 pictures, no masks, no zones.
    fn default() -> Self {
        Self {
            threshold_percent: 2.0,
            min_area_percent: 0.1,
            learning_frames: 25,
            absorb_frames: 150,
            masks: Vec::new(),
            zones: Vec::new(),
        }
    }
}

impl MotionConfig {
    fn threshold_percent(&self) -> f64 {
        if self.threshold_percent.is_nan() {
            return Self::default().threshold_percent;
        }
        self.threshold_percent.clamp(THRESHOLD_PERCENT_MIN, 100.0)
    }

    fn min_area_percent(&self) -> f64 {
        // What is not a number is no limit.
        if self.min_area_percent.is_nan() { 0.0 } else { self.min_area_percent.clamp(0.0, 100.0) }
    }
}

/// How sure motion is that changes `changed_percent` of the picture where `threshold_percent` is the
/// threshold: 0.5 at the threshold and 1 at four times it, rising by a quarter with each doubling; in
/// proportion to the area below the threshold.
///
/// ```
/// use lenslog_vision::motion::confidence;
///
/// assert_eq!(confidence(2.0, 2.0), 0.5);
/// assert_eq!(confidence(4.0, 2.0), 0.75);
/// assert_eq!(confidence(50.0, 2.0), 1.0);
/// assert_eq!(confidence(1.0, 2.0), 0.25);
/// ```
#[must_use]
pub fn confidence(changed_percent: f64, threshold_percent: f64) -> f64 {
    let ratio = changed_percent / threshold_percent.max(THRESHOLD_PERCENT_MIN);
    if ratio >= 1.0 {
        (0.5 + 0.25 * ratio.log2()).min(1.0)
    } else {
        // Not a number counts as nothing.
        (0.5 * ratio).max(0.0)
    }
}

/// Detects motion in the pictures of one camera.
///
/// ```
/// use image::RgbImage;
/// use lenslog_vision::motion::{MotionConfig, MotionDetector, MotionOutcome};
///
/// let mut detector = MotionDetector::new(MotionConfig { learning_frames: 2, ..MotionConfig::default() });
/// let empty = RgbImage::new(320, 240);
/// assert_eq!(detector.look(&empty), MotionOutcome::Learning { pictures_left: 1 });
/// assert_eq!(detector.look(&empty), MotionOutcome::Learning { pictures_left: 0 });
///
/// let mut visited = empty.clone();
/// for (x, y) in (100..150).flat_map(|x| (80..160).map(move |y| (x, y))) {
///     visited.put_pixel(x, y, image::Rgb([200, 180, 160]));
/// }
/// let MotionOutcome::Motion(motion) = detector.look(&visited) else { panic!("something moves") };
/// assert_eq!((motion.area.x, motion.area.width), (100.0, 50.0));
/// ```
#[derive(Debug)]
pub struct MotionDetector {
    config: MotionConfig,
    scene: Option<Scene>,
    /// Kept from picture to picture so that no memory is asked for.
    grey: Vec<u16>,
    changed: Vec<bool>,
}

/// What belongs to pictures of one size.
#[derive(Debug)]
struct Scene {
    grid: Grid,
    /// Cells that are ignored.
    masked: Vec<bool>,
    /// Cells in zones; empty where there are no zones.
    zone: Vec<bool>,
    stage: Stage,
    /// Whether the pictures have colours, as far as that was ever clear, and pictures in a row that say otherwise.
    color_mode: Option<ColorMode>,
    switches: u32,
}

#[derive(Debug)]
enum Stage {
    Learning {
        pictures: u32,
        samples: Vec<Vec<u16>>,
    },
    /// `light_changes`: pictures in a row, including the last one, in another light or of another scene.
    Watching {
        background: Box<Background>,
        light_changes: u32,
    },
}

impl Stage {
    const fn learning() -> Self {
        Self::Learning { pictures: 0, samples: Vec::new() }
    }
}

impl MotionDetector {
    /// A detector that has seen nothing yet.
    #[must_use]
    pub fn new(config: MotionConfig) -> Self {
        Self { config, scene: None, grey: Vec::new(), changed: Vec::new() }
    }

    /// Forgets what the camera usually shows, and learns it again.
    pub fn forget(&mut self) {
        self.scene = None;
    }

    /// Looks at the next picture. One of another size than the last makes it learn again.
    pub fn look(&mut self, picture: &RgbImage) -> MotionOutcome {
        if picture.is_empty() {
            return MotionOutcome::Quiet { changed_percent: 0.0, reason: Quiet::Still };
        }
        let Self { config, scene, grey, changed } = self;
        if scene.as_ref().is_none_or(|scene| !scene.grid.fits(picture)) {
            *scene = None;
        }
        let scene = scene.get_or_insert_with(|| Scene::new(config, picture));
        if scene.switches_color_mode(ColorMode::of(picture)) {
            return MotionOutcome::LightChanged { changed_percent: 100.0 };
        }
        scene.grid.shrink(picture, grey);
        scene.look(config, grey, changed)
    }
}

impl Scene {
    fn new(config: &MotionConfig, picture: &RgbImage) -> Self {
        let grid = Grid::of(picture.width(), picture.height());
        let zone = match config.zones.as_slice() {
            [] => Vec::new(),
            zones => rasterize(zones, grid.columns, grid.rows),
        };
        let masked = rasterize(&config.masks, grid.columns, grid.rows);
        Self { masked, zone, grid, stage: Stage::learning(), color_mode: None, switches: 0 }
    }

    /// Whether the camera has turned to its night filter, or back: then the scene is learned again.
    fn switches_color_mode(&mut self, color_mode: Option<ColorMode>) -> bool {
        let has_switched =
            color_mode.is_some() && self.color_mode.is_some() && color_mode != self.color_mode;
        if !has_switched {
            self.color_mode = color_mode.or(self.color_mode);
            self.switches = 0;
            return false;
        }
        self.switches += 1;
        if self.switches >= LIGHT_LASTS {
            self.color_mode = color_mode;
            self.switches = 0;
            self.stage = Stage::learning();
        }
        true
    }

    fn look(
        &mut self,
        config: &MotionConfig,
        grey: &[u16],
        changed: &mut Vec<bool>,
    ) -> MotionOutcome {
        let (background, light_changes) = match &mut self.stage {
            Stage::Learning { pictures, samples } => {
                let learned = learn(config, pictures, samples, grey);
                let pictures_left = learning_frames(config).saturating_sub(*pictures);
                if let Some(background) = learned {
                    let background = Box::new(background);
                    self.stage = Stage::Watching { background, light_changes: 0 };
                }
                return MotionOutcome::Learning { pictures_left };
            }
            Stage::Watching { background, light_changes } => (background, light_changes),
        };
        background.compare(grey, changed);
        regions::smooth(&self.grid, changed);
        let changed_percent = percent(changed, &self.masked);
        if changed_percent >= config.threshold_percent() {
            background.fit_light(&self.grid, grey, changed);
            // Whether it is light depends on the cells that changed and their neighbours, which are few where it is not.
            let mut near = changed.clone();
            regions::spread(&self.grid, &mut near);
            let mut strange = vec![false; changed.len()];
            background.compare_in_light(&self.grid, grey, (&near, true), &mut strange);
            let mut in_light = strange.clone();
            regions::smooth(&self.grid, &mut in_light);
            let is_scene = changed_percent >= SCENE_PERCENT_MIN;
            let is_light = is_explained(changed_percent, changed, &in_light, &self.masked);
            if is_light || is_scene {
                background.compare_in_light(&self.grid, grey, (&near, false), &mut strange);
                in_light.copy_from_slice(&strange);
                regions::smooth(&self.grid, &mut in_light);
                *light_changes = light_changes.saturating_add(1);
                let lasts = *light_changes >= LIGHT_LASTS;
                let is_leap =
                    *light_changes <= LIGHT_LASTS && background.light_levels(changed) > LEAP_LEVELS;
                if is_light && lasts {
                    background.relight(grey, &strange);
                    background.adapt(grey, &mut strange);
                } else if lasts {
                    self.stage = Stage::learning();
                }
                changed.copy_from_slice(&in_light);
                let least = config.threshold_percent() * if is_leap { LEAP_FACTOR } else { 1.0 };
                return match is_light.then(|| self.judge(config, changed)) {
                    Some(MotionOutcome::Motion(motion)) if motion.changed_percent >= least => {
                        MotionOutcome::Motion(motion)
                    }
                    _ => MotionOutcome::LightChanged { changed_percent },
                };
            }
        }
        *light_changes = 0;
        background.adapt(grey, changed);
        regions::smooth(&self.grid, changed);
        self.judge(config, changed)
    }

    /// Decides what the changed cells amount to.
    fn judge(&self, config: &MotionConfig, changed: &mut [bool]) -> MotionOutcome {
        let threshold = config.threshold_percent();
        let with_masks = 100.0 * count(changed) as f64 / self.grid.cells().max(1) as f64;
        for (cell, masked) in changed.iter_mut().zip(&self.masked) {
            *cell &= !masked;
        }
        let groups = regions::groups(&self.grid, changed, &self.zone);
        let unmasked = self.masked.len() - count(&self.masked);
        let percent_of = |groups: &mut dyn Iterator<Item = &regions::Group>| {
            let area: usize = groups.map(|group| group.area).sum();
            100.0 * area as f64 / unmasked.max(1) as f64
        };
        let of_any_size = percent_of(&mut groups.iter().filter(|group| group.in_zone));
        let area_min = unmasked as f64 * config.min_area_percent() / 100.0;
        let groups = regions::without_small(&self.grid, groups, area_min);
        let everywhere = percent_of(&mut groups.iter());
        let counting: Vec<_> = groups.into_iter().filter(|group| group.in_zone).collect();
        let changed_percent = percent_of(&mut counting.iter());
        if changed_percent >= threshold {
            return self.motion(changed_percent, threshold, counting, changed);
        }
        let reason = if everywhere >= threshold {
            Quiet::OutsideZones
        } else if of_any_size >= threshold {
            Quiet::TooSmall
        } else if with_masks >= threshold && count(&self.masked) > 0 {
            Quiet::Masked
        } else if of_any_size > 0.0 {
            Quiet::BelowThreshold
        } else {
            Quiet::Still
        };
        MotionOutcome::Quiet { changed_percent, reason }
    }

    fn motion(
        &self,
        changed_percent: f64,
        threshold: f64,
        groups: Vec<regions::Group>,
        changed: &[bool],
    ) -> MotionOutcome {
        let moving = MovingPixels::new(self.grid, changed.to_vec());
        let around = |all: Option<CellBox>, group: &regions::Group| {
            Some(all.map_or(group.cells, |all| all.union(group.cells)))
        };
        let groups = regions::without_crumbs(groups);
        let area = groups.iter().fold(None, around);
        let regions = regions::merge(&self.grid, groups);
        MotionOutcome::Motion(Motion {
            changed_percent,
            confidence: confidence(changed_percent, threshold),
            area: area.map(|cells| self.grid.pixels(cells)).unwrap_or_default(),
            regions: regions.into_iter().map(|cells| self.grid.pixels(cells)).collect(),
            moving,
        })
    }
}

fn learning_frames(config: &MotionConfig) -> u32 {
    config.learning_frames.clamp(1, LEARNING_FRAMES_MAX)
}

/// Adds a picture to what the background is learned from; the background, when there are enough.
fn learn(
    config: &MotionConfig,
    pictures: &mut u32,
    samples: &mut Vec<Vec<u16>>,
    grey: &[u16],
) -> Option<Background> {
    let every = learning_frames(config).div_ceil(SAMPLES_MAX);
    if pictures.is_multiple_of(every) {
        samples.push(grey.to_vec());
    }
    *pictures += 1;
    let absorb_frames = config.absorb_frames.clamp(1, ABSORB_FRAMES_MAX);
    let absorb_frames = u16::try_from(absorb_frames).unwrap_or(u16::MAX);
    (*pictures >= learning_frames(config)).then(|| Background::learn(samples, absorb_frames))
}

/// Whether the light explains most of what has changed: what differs from the background in its own light, and not in
/// that of the picture.
fn is_explained(
    changed_percent: f64,
    changed: &[bool],
    in_light: &[bool],
    masked: &[bool],
) -> bool {
    let cells = changed.iter().zip(in_light);
    let explained: Vec<_> = cells.map(|(changed, in_light)| *changed && !in_light).collect();
    let explained = percent(&explained, masked);
    explained >= LIGHT_PERCENT_MIN && 2.0 * explained >= changed_percent
}

/// Changed cells outside the masks, in per cent of all cells outside them.
fn percent(changed: &[bool], masked: &[bool]) -> f64 {
    let outside = masked.iter().filter(|masked| !**masked).count();
    let both = changed.iter().zip(masked).filter(|(changed, masked)| **changed && !**masked);
    100.0 * both.count() as f64 / outside.max(1) as f64
}

fn count(cells: &[bool]) -> usize {
    cells.iter().filter(|cell| **cell).count()
}
