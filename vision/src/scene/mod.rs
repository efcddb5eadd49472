//! [`Scene`], a made-up place that is filmed without a camera: a house, a lawn, a tree, and a person who walks
//! by. Every picture follows from its number alone.

mod figure;

use image::RgbImage;

pub use figure::Walk;

/// The smallest and the largest picture that is drawn, in pixels a side; other sizes count as the nearest.
pub const SCENE_SIDE: std::ops::RangeInclusive<u32> = 64..=4096;

/// Brightest noise, in grey levels; louder noise counts as this.
pub const NOISE_LEVELS_MAX: u8 = 60;

/// Entries of the table that noise is taken from; a power of two.
const NOISE_ENTRIES: usize = 1 << 16;

/// Frames in which the leaves swing forth and back.
const SWAY_FRAMES: u64 = 8;

/// What there is to be filmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Width and height of a picture, in pixels.
    pub size: (u32, u32),
    /// From what the texture and the noise are made.
    pub seed: u64,
    /// Noise of the sensor, in grey levels: about two thirds of all values are off by less.
    pub noise_levels: u8,
    /// Who walks by; `None`: no one.
    pub walk: Option<Walk>,
    /// A sudden change of light.
    pub light: Option<LightStep>,
    /// How much brighter every picture is than the one before, in grey levels; the light turns round each time
    /// it is 40 levels off.
    pub drift_levels: f64,
    /// How far the leaves of the tree swing, in pixels.
    pub sway_pixels: u32,
}

/// A sudden change of light: from that frame on every value is multiplied and shifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LightStep {
    /// Number of the first frame in the new light.
    pub frame: u64,
    /// What values are multiplied by.
    pub gain: f64,
    /// What is added then, in grey levels.
    pub offset_levels: f64,
}

impl Default for Scene {
    /// 640 x 480 pixels, little noise, a walk of 8 seconds every 40 seconds at 5 frames a second, constant
    /// light, still air.
    fn default() -> Self {
        Self {
            size: (640, 480),
            seed: 1,
            noise_levels: 2,
            walk: Some(Walk::default()),
            light: None,
            drift_levels: 0.0,
            sway_pixels: 0,
        }
    }
}

/// Draws a [`Scene`].
///
/// ```
/// use lenslog_vision::scene::{Scene, SceneRenderer};
///
/// let renderer = SceneRenderer::new(Scene::default());
/// assert_eq!(renderer.render(7), SceneRenderer::new(Scene::default()).render(7));
/// assert_ne!(renderer.render(7), renderer.render(8), "noise");
/// ```
#[derive(Debug)]
pub struct SceneRenderer {
    scene: Scene,
    /// The place without walker, leaves and noise.
    place: RgbImage,
    noise: Vec<i8>,
}

impl SceneRenderer {
    /// Prepares what all pictures have in common.
    #[must_use]
    pub fn new(scene: Scene) -> Self {
        let clamp = |side: u32| side.clamp(*SCENE_SIDE.start(), *SCENE_SIDE.end());
        let scene = Scene { size: (clamp(scene.size.0), clamp(scene.size.1)), ..scene };
        let place = RgbImage::from_fn(scene.size.0, scene.size.1, |x, y| {
            image::Rgb(place_at(&scene, x, y))
        });
        let noise = noise_table(scene.seed, scene.noise_levels.min(NOISE_LEVELS_MAX));
        Self { scene, place, noise }
    }

    /// The picture of frame `number`.
    #[must_use]
    pub fn render(&self, number: u64) -> RgbImage {
        let mut picture = self.place.clone();
        self.draw_leaves(&mut picture, number);
        if let Some(stride) = self.scene.walk.and_then(|walk| walk.at(number)) {
            figure::draw(&mut picture, stride);
        }
        self.expose(&mut picture, number);
        picture
    }

    fn draw_leaves(&self, picture: &mut RgbImage, number: u64) {
        let (width, height) = self.scene.size;
        let (center_x, center_y, radius) = (width * 17 / 20, height / 4, height / 6);
        // Forth and back: 0, 1, 2, 3, 4, 3, 2, 1.
        let phase = number % SWAY_FRAMES;
        let swing = phase.min(SWAY_FRAMES - phase);
        let shift = u64::from(self.scene.sway_pixels) * swing * 2 / SWAY_FRAMES;
        let shift = u32::try_from(shift).unwrap_or_default();
        for y in center_y.saturating_sub(radius)..(center_y + radius).min(height) {
            for x in center_x.saturating_sub(radius)..(center_x + radius).min(width) {
                let (dx, dy) = (x.abs_diff(center_x), y.abs_diff(center_y));
                if dx * dx + dy * dy < radius * radius {
                    let leaf = texture(self.scene.seed ^ 0x1EAF, (x + shift) / 6, y / 5);
                    picture.put_pixel(
                        x,
                        y,
                        image::Rgb([leaf / 4 + 10, leaf / 2 + 40, leaf / 5 + 8]),
                    );
                }
            }
        }
    }

    /// Puts the picture into the light of that frame, and adds the sensor's noise.
    fn expose(&self, picture: &mut RgbImage, number: u64) {
        let (gain, offset) = self.light_at(number);
        let mut values = [0i16; 256];
        for (value, exposed) in (0..=u8::MAX).zip(&mut values) {
            *exposed = (f64::from(value) * gain + offset).round().clamp(0.0, 255.0) as i16;
        }
        let row_bytes = picture.width() as usize * 3;
        for (row, bytes) in (0u64..).zip(picture.chunks_exact_mut(row_bytes)) {
            let start = mix(self.scene.seed ^ mix(number) ^ mix(row << 32)) as usize;
            for (index, byte) in bytes.iter_mut().enumerate() {
                let noise = self.noise[(start.wrapping_add(index)) % NOISE_ENTRIES];
                let value = values[usize::from(*byte)] + i16::from(noise);
                *byte = value.clamp(0, 255) as u8;
            }
        }
    }

    /// What values are multiplied by and what is added, in that frame.
    fn light_at(&self, number: u64) -> (f64, f64) {
        /// Grey levels of drift after which it turns round.
        const DRIFT_LEVELS: f64 = 40.0;
        let way = (self.scene.drift_levels * number as f64) % (4.0 * DRIFT_LEVELS);
        let drift = match way.abs() {
            way if way <= DRIFT_LEVELS => way,
            way if way <= 3.0 * DRIFT_LEVELS => 2.0 * DRIFT_LEVELS - way,
            way => way - 4.0 * DRIFT_LEVELS,
        } * self.scene.drift_levels.signum();
        match self.scene.light.filter(|step| number >= step.frame) {
            Some(step) => (step.gain, step.offset_levels + drift),
            None => (1.0, drift),
        }
    }
}

/// The colour of the place there: a brick wall with a door, and a lawn with a path to it.
fn place_at(scene: &Scene, x: u32, y: u32) -> [u8; 3] {
    let (width, height) = scene.size;
    let horizon = height / 2;
    let fine = texture(scene.seed, x / 2, y / 2) / 8;
    let coarse = texture(scene.seed ^ 0xC0A5, x / 24, y / 16) / 10;
    let shade = fine / 2 + coarse;
    let door = (width * 9 / 20..width * 11 / 20).contains(&x) && y > height / 5;
    if y < horizon {
        let course = y / 12;
        let joint = y.is_multiple_of(12) || (x + course % 2 * 16).is_multiple_of(32);
        match (door, joint) {
            (true, _) => [60 + shade, 45 + shade, 40 + shade],
            (false, true) => [150 + shade, 145 + shade, 140 + shade],
            (false, false) => [125 + shade, 80 + shade, 65 + shade],
        }
    } else {
        let reach = (y - horizon) / 3 + width / 20;
        if x.abs_diff(width / 2) < reach {
            [120 + shade, 118 + shade, 112 + shade]
        } else {
            [60 + shade, 105 + shade, 50 + shade]
        }
    }
}

/// A value that depends on a place and on nothing else.
fn texture(seed: u64, x: u32, y: u32) -> u8 {
    mix(seed ^ u64::from(x) << 32 ^ u64::from(y)).to_le_bytes()[0]
}

/// Noise around 0, of roughly a bell's shape.
fn noise_table(seed: u64, levels: u8) -> Vec<i8> {
    let entry = |index: usize| {
        let bytes = mix(seed ^ 0x5E_4507 ^ index as u64).to_le_bytes();
        let sum: i32 = bytes.iter().map(|byte| i32::from(*byte) - 128).sum();
        // Eight of them deviate by 209 in all.
        i8::try_from((sum * i32::from(levels) + 104).div_euclid(209)).unwrap_or_default()
    };
    (0..NOISE_ENTRIES).map(entry).collect()
}

/// Spreads every bit of a number over all of them.
fn mix(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still() -> Scene {
        Scene { noise_levels: 0, walk: None, ..Scene::default() }
    }

    /// Pixels in which two pictures differ, in per cent.
    fn difference(one: &RgbImage, other: &RgbImage) -> f64 {
        let pairs = one.pixels().zip(other.pixels());
        100.0 * pairs.filter(|(a, b)| a != b).count() as f64 / f64::from(one.width() * one.height())
    }

    #[test]
    fn the_same_frame_is_the_same_picture_in_whatever_order_it_is_drawn() {
        let renderer = SceneRenderer::new(Scene::default());
        let later = renderer.render(45);
        assert_ne!(renderer.render(3), later);
        assert_eq!(renderer.render(45), later);
        let other = SceneRenderer::new(Scene { seed: 2, ..Scene::default() });
        assert_ne!(other.render(45), later);
    }

    #[test]
    fn nothing_changes_in_a_scene_without_noise_and_walker() {
        let renderer = SceneRenderer::new(still());
        assert_eq!(renderer.render(0), renderer.render(1_000_000));
    }

    #[test]
    fn somebody_walks_in_stops_walks_out_and_comes_back_from_the_other_side() {
        let walk = Walk::default();
        assert_eq!(walk.at(29), None);
        let position = |frame| walk.at(frame).map(|stride| (stride.steps, stride.leftwards));
        assert_eq!(position(30), Some((0, false)));
        assert_eq!(position(46), Some((16, false)));
        assert_eq!(position(54), Some((16, false)), "standing");
        assert_eq!(position(55), Some((17, false)));
        assert_eq!(position(69), Some((31, false)));
        assert_eq!(position(70), None);
        assert_eq!(position(230), Some((0, true)));
        assert_eq!(position(430), Some((0, false)));
    }

    #[test]
    fn the_first_walk_is_seen_within_ten_seconds_of_five_frames() {
        let renderer = SceneRenderer::new(Scene { noise_levels: 0, ..Scene::default() });
        let empty = renderer.render(0);
        let shares: Vec<_> =
            (25..80).map(|frame| difference(&empty, &renderer.render(frame))).collect();
        assert!(shares[50 - 25] > 2.5, "{shares:?}");
        assert!(shares[0] == 0.0 && shares[79 - 25] == 0.0);
        assert!(shares.iter().all(|share| *share < 10.0));
    }

    #[test]
    fn noise_is_as_strong_as_it_is_asked_for() {
        let clean = SceneRenderer::new(still()).render(0);
        for levels in [2, 10] {
            let noisy = SceneRenderer::new(Scene { noise_levels: levels, ..still() }).render(0);
            let squares: f64 = clean
                .iter()
                .zip(noisy.iter())
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                .sum();
            let deviation = (squares / clean.len() as f64).sqrt();
            assert!(
                (deviation - f64::from(levels)).abs() < 0.15 * f64::from(levels),
                "{deviation}"
            );
        }
    }

    #[test]
    fn light_steps_drifts_and_turns_round() {
        let step = LightStep { frame: 5, gain: 1.5, offset_levels: -10.0 };
        let lit = SceneRenderer::new(Scene { light: Some(step), ..still() });
        let (before, after) = (lit.render(4), lit.render(5));
        assert_eq!(before, lit.render(0));
        assert_eq!(after[(5, 5)].0[0], (f64::from(before[(5, 5)].0[0]) * 1.5 - 10.0).round() as u8);
        let drifting = SceneRenderer::new(Scene { drift_levels: 0.5, ..still() });
        let levels = [0, 80, 160, 240, 320].map(|number| drifting.light_at(number).1);
        assert_eq!(levels, [0.0, 40.0, 0.0, -40.0, 0.0]);
    }

    #[test]
    fn leaves_sway_and_nothing_else() {
        let renderer = SceneRenderer::new(Scene { sway_pixels: 8, ..still() });
        let share = difference(&renderer.render(0), &renderer.render(SWAY_FRAMES / 2));
        assert!(share > 2.0 && share < 8.0, "{share}");
        assert_eq!(renderer.render(0), renderer.render(SWAY_FRAMES));
    }

    #[test]
    fn sizes_and_noise_out_of_range_count_as_the_nearest() {
        let tiny =
            SceneRenderer::new(Scene { size: (0, 1), noise_levels: 255, ..Scene::default() });
        assert_eq!(tiny.render(40).dimensions(), (64, 64));
        assert_eq!(tiny.scene.size, (64, 64));
    }
}
