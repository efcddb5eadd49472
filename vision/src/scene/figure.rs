//! The figure that walks through a [`Scene`](super::Scene): when it crosses, and how it is drawn.

use image::{Rgb, RgbImage};

const SKIN: Rgb<u8> = Rgb([215, 175, 150]);
const JACKET: Rgb<u8> = Rgb([245, 205, 50]);
const SLEEVE: Rgb<u8> = Rgb([220, 175, 35]);
const TROUSERS: Rgb<u8> = Rgb([35, 45, 85]);

/// Frames in which a leg swings forth and back.
const STEP_FRAMES: u64 = 4;

/// A person who walks in on one side, stops in the middle, walks out on the other side, and later comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Number of the frame in which the first walk begins.
    pub first_frame: u64,
    /// From the beginning of one walk to the next, in frames.
    pub every_frames: u64,
    /// How long the way from side to side takes, in frames, without the stop.
    pub crossing_frames: u64,
    /// How long the stop takes, in frames.
    pub pause_frames: u64,
}

impl Default for Walk {
    /// At 5 frames a second: begins after 6 seconds, which leaves 5 for learning; takes 8 seconds, with a stop
    /// of 1.6; begins again every 40 seconds, so that no one is seen for longer than the deduplication window
    /// of 30 seconds and each walk is an event of its own.
    fn default() -> Self {
        Self { first_frame: 30, every_frames: 200, crossing_frames: 32, pause_frames: 8 }
    }
}

/// Where a person is in their walk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stride {
    /// How much of the way lies behind them, from 0 to 1.
    pub(crate) progress: f64,
    /// Frames walked, for the legs; it stands still in the stop.
    pub(crate) steps: u64,
    /// Whether they walk from right to left.
    pub(crate) leftwards: bool,
}

impl Walk {
    /// Where the walker is in frame `number`; `None` between walks.
    pub(crate) fn at(&self, number: u64) -> Option<Stride> {
        let since = number.checked_sub(self.first_frame)?;
        let every = self.every_frames.max(1);
        let (walk, frame) = (since / every, since % every);
        let half = self.crossing_frames / 2;
        let steps =
            if frame < half { frame } else { half.max(frame.saturating_sub(self.pause_frames)) };
        (steps < self.crossing_frames).then(|| Stride {
            progress: (steps as f64 + 0.5) / self.crossing_frames as f64,
            steps,
            leftwards: walk % 2 == 1,
        })
    }
}

/// Draws the figure where it is in its walk, cut off at the edges of the picture.
pub(super) fn draw(picture: &mut RgbImage, stride: Stride) {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let tall = height * 0.42;
    let wide = tall * 0.42;
    // From wholly outside on one side to wholly outside on the other.
    let way = stride.progress * (width + wide) - wide / 2.0;
    let middle = if stride.leftwards { width - way } else { way };
    let top = height * 0.45;
    let phase = stride.steps % STEP_FRAMES;
    let swing = (phase.min(STEP_FRAMES - phase)) as f64 / (STEP_FRAMES as f64 / 2.0);
    let columns = pixels(middle - wide / 2.0, middle + wide / 2.0, picture.width());
    let rows = pixels(top, top + tall, picture.height());
    for y in rows {
        for x in columns.clone() {
            let across = (f64::from(x) + 0.5 - middle) / wide;
            let down = (f64::from(y) + 0.5 - top) / tall;
            if let Some(color) = color_at(across, down, swing) {
                picture.put_pixel(x, y, color);
            }
        }
    }
}

fn pixels(from: f64, to: f64, length: u32) -> std::ops::Range<u32> {
    let cut = |value: f64| value.clamp(0.0, f64::from(length)) as u32;
    cut(from.floor())..cut(to.ceil())
}

/// The figure's colour at a point; `across` from -0.5 to 0.5, `down` from 0 to 1, `swing` of the legs from 0
/// to 1.
fn color_at(across: f64, down: f64, swing: f64) -> Option<Rgb<u8>> {
    let ellipse = |x: f64, y: f64, radius_x: f64, radius_y: f64| {
        let (dx, dy) = ((across - x) / radius_x, (down - y) / radius_y);
        dx * dx + dy * dy <= 1.0
    };
    if ellipse(0.0, 0.09, 0.17, 0.085) {
        return Some(SKIN);
    }
    if (0.17..0.58).contains(&down) && across.abs() < 0.36 {
        return Some(if across.abs() < 0.25 { JACKET } else { SLEEVE });
    }
    if (0.55..1.0).contains(&down) {
        let spread = 0.1 + 0.22 * swing * (down - 0.55) / 0.45;
        let on_leg = |side: f64| (across - side * spread).abs() < 0.12;
        return (on_leg(-1.0) || on_leg(1.0)).then_some(TROUSERS);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leftmost and rightmost column that the figure touches.
    fn extent(stride: Stride) -> Option<(u32, u32)> {
        let mut picture = RgbImage::new(640, 480);
        draw(&mut picture, stride);
        let columns: Vec<_> = picture
            .enumerate_pixels()
            .filter(|(_, _, pixel)| pixel.0 != [0; 3])
            .map(|(x, _, _)| x)
            .collect();
        Some((*columns.iter().min()?, *columns.iter().max()?))
    }

    #[test]
    fn the_figure_enters_and_leaves_at_the_edges() {
        let at = |progress, leftwards| extent(Stride { progress, steps: 0, leftwards });
        assert_eq!(at(0.0, false), None);
        assert_eq!(at(1.0, false), None);
        assert_eq!(at(0.03, false).map(|(left, _)| left), Some(0));
        assert_eq!(at(0.03, true).map(|(_, right)| right), Some(639));
        let (left, right) = at(0.5, false).unwrap();
        assert!(left > 250 && right < 390, "{left} to {right}");
    }

    #[test]
    fn legs_swing_with_the_steps() {
        let width = |steps| {
            let mut picture = RgbImage::new(640, 480);
            draw(&mut picture, Stride { progress: 0.5, steps, leftwards: false });
            (0..640).filter(|x| picture[(*x, 410)].0 != [0; 3]).count()
        };
        assert_ne!(width(0), width(2));
        assert_eq!(width(0), width(STEP_FRAMES));
    }
}
