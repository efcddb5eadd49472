//! [`ColorMode`]: whether a picture has colours. A camera that switches to infrared light for the night, or back, gains or
//! loses them all at once, and shows leaves, walls and clothes in other tones.

use image::RgbImage;

/// Pixels that are looked at, about.
const PIXELS: usize = 4_096;

/// A picture is grey if its pixels are off grey by no more than so many levels, on average.
const GREY_LEVELS_MAX: f64 = 3.0;

/// And coloured from so many on. In between it is neither, so that dusk turns it once and not many times.
const COLORED_LEVELS_MIN: f64 = 8.0;

/// Whether a picture has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColorMode {
    /// Hardly any.
    Grey,
    /// Some.
    Colored,
}

impl ColorMode {
    /// The color_mode of a picture, if it is clear.
    pub(super) fn of(picture: &RgbImage) -> Option<Self> {
        let pixels = picture.as_raw().len() / 3;
        let step = (pixels / PIXELS).max(1);
        let (mut sum, mut count) = (0u32, 0u32);
        for pixel in picture.as_raw().chunks_exact(3).step_by(step) {
            let (low, high) = (pixel.iter().min(), pixel.iter().max());
            sum += u32::from(high.copied().unwrap_or(0)) - u32::from(low.copied().unwrap_or(0));
            count += 1;
        }
        match f64::from(sum) / f64::from(count.max(1)) {
            levels if levels <= GREY_LEVELS_MAX => Some(Self::Grey),
            levels if levels >= COLORED_LEVELS_MIN => Some(Self::Colored),
            _ => None,
        }
    }
}
