//! The figure that walks through a [`Scene`](super::Scene): a head, a jacket and two legs that swing.

use image::{Rgb, RgbImage};

use super::scene::Stride;

const SKIN: Rgb<u8> = Rgb([215, 175, 150]);
const JACKET: Rgb<u8> = Rgb([245, 205, 50]);
const SLEEVE: Rgb<u8> = Rgb([220, 175, 35]);
const TROUSERS: Rgb<u8> = Rgb([35, 45, 85]);

/// Frames in which a leg swings forth and back.
const STEP_FRAMES: u64 = 4;

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
