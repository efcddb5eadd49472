//! [`Offer`] and which of a camera's offers is taken: the nearest size, then the nearest rate, then the layout that
//! costs the least. Pure.

use super::super::size::PictureSize;
use super::pixels::Pixels;

/// A layout and size that a camera offers, and the rates it has there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offer {
    /// How its pictures are laid out.
    pub(super) pixels: Pixels,
    /// The four-character code of that.
    pub(super) code: [u8; 4],
    /// Width and height.
    pub(super) size: PictureSize,
    /// Frames a second; empty where the camera does not say.
    pub(super) rates: Vec<f64>,
}

impl Offer {
    /// The lowest rate that is enough, else the highest there is.
    pub(super) fn rate(&self, fps: f64) -> Option<f64> {
        // 29.97 is enough for 30.
        let enough = self.rates.iter().copied().filter(|rate| *rate >= fps * 0.99);
        enough.min_by(f64::total_cmp).or_else(|| self.rates.iter().copied().max_by(f64::total_cmp))
    }

    /// What is lost by taking this one; the least is best.
    fn cost(&self, wanted: PictureSize, fps: f64) -> (u64, u64, u8) {
        let distance = u64::from(self.size.width.abs_diff(wanted.width))
            + u64::from(self.size.height.abs_diff(wanted.height));
        let missing = self.rate(fps).map_or(0.0, |rate| (fps * 0.99 - rate).max(0.0));
        (distance, (missing * 1000.0) as u64, self.pixels.rank())
    }
}

/// The best of a camera's offers.
pub(super) fn choose(offers: &[Offer], wanted: PictureSize, fps: f64) -> Option<&Offer> {
    offers.iter().min_by_key(|offer| offer.cost(wanted, fps))
}

/// The size nearest to the one that is wanted, of those from `min` to `max` in steps of `step`.
pub(super) fn nearest_step(wanted: u32, min: u32, max: u32, step: u32) -> u32 {
    let wanted = wanted.clamp(min, max.max(min));
    min + (wanted - min) / step.max(1) * step.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VGA: PictureSize = PictureSize { width: 640, height: 480 };

    fn offer(pixels: Pixels, width: u32, height: u32, rates: &[f64]) -> Offer {
        let size = PictureSize { width, height };
        Offer { pixels, code: *b"test", size, rates: rates.to_vec() }
    }

    #[test]
    fn the_nearest_size_comes_first_then_the_rate_then_the_cheapest_layout() {
        let offers = [
            offer(Pixels::Jpeg, 1920, 1080, &[30.0]),
            offer(Pixels::Grey, 640, 480, &[30.0]),
            offer(Pixels::Jpeg, 640, 480, &[30.0, 15.0]),
            offer(Pixels::Yuyv, 640, 480, &[10.0]),
            offer(Pixels::Yuyv, 1920, 1080, &[2.0]),
        ];
        for (width, height, fps, expected) in [
            (640, 480, 5.0, 3),
            (640, 480, 15.0, 2),
            (640, 480, 30.0, 2),
            (640, 480, 60.0, 2),
            (320, 240, 5.0, 3),
            (1920, 1080, 1.0, 4),
            (4000, 3000, 25.0, 0),
        ] {
            let wanted = PictureSize { width, height };
            let found = choose(&offers, wanted, fps).unwrap();
            assert_eq!(found, &offers[expected], "{width}x{height} at {fps}");
        }
        assert_eq!(choose(&[], VGA, 5.0), None);
    }

    #[test]
    fn the_lowest_rate_that_is_enough_is_asked_for() {
        let camera = offer(Pixels::Yuyv, 640, 480, &[30.0, 29.97, 15.0, 7.5]);
        for (fps, expected) in [(5.0, 7.5), (7.5, 7.5), (10.0, 15.0), (30.0, 29.97), (60.0, 30.0)] {
            assert_eq!(camera.rate(fps), Some(expected), "{fps}");
        }
        assert_eq!(offer(Pixels::Yuyv, 640, 480, &[]).rate(5.0), None);
    }

    #[test]
    fn sizes_in_steps_stay_within_their_range() {
        assert_eq!(nearest_step(640, 16, 1920, 16), 640);
        assert_eq!(nearest_step(650, 16, 1920, 16), 640);
        assert_eq!(nearest_step(1, 16, 1920, 16), 16);
        assert_eq!(nearest_step(9999, 16, 1920, 16), 1920);
        assert_eq!(nearest_step(640, 16, 8, 0), 16, "a driver that contradicts itself");
    }
}
