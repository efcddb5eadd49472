//! [`Letterbox`]: a picture of any size on the canvas that a model expects, and the way back.

use image::RgbImage;
use lenslog_events::BoundingBox;

use super::decode::Candidate;
use super::shape::{Layout, ModelShape};

/// Brightness of what the picture leaves free.
pub const PADDING_LEVEL: u8 = 114;

/// Fixed-point numbers between pixels have so many units.
const UNIT: u32 = 256;

/// How a picture lies on a model's canvas: as large as fits, its proportions kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    picture: (u32, u32),
    canvas: (u32, u32),
    /// The part of the canvas that the picture covers.
    size: (u32, u32),
    left: u32,
    top: u32,
}

impl Letterbox {
    /// How a picture of this size lies on the canvas: in its upper left corner for YOLOX, in its middle for YOLOv8.
    #[must_use]
    pub fn of((width, height): (u32, u32), shape: &ModelShape) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let scale = (f64::from(shape.width) / f64::from(width))
            .min(f64::from(shape.height) / f64::from(height));
        let side = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
        let size = (side(width, shape.width), side(height, shape.height));
        let (left, top) = match shape.layout {
            Layout::Yolox => (0, 0),
            Layout::Yolov8 => ((shape.width - size.0) / 2, (shape.height - size.1) / 2),
        };
        Self { picture: (width, height), canvas: (shape.width, shape.height), size, left, top }
    }

    /// Puts `picture` onto the canvas: rows of red, green and blue.
    #[must_use]
    pub fn draw(&self, picture: &RgbImage) -> Vec<u8> {
        let (canvas_width, canvas_height) = self.canvas;
        let row_bytes = canvas_width as usize * 3;
        let mut canvas = vec![PADDING_LEVEL; row_bytes * canvas_height as usize];
        if picture.is_empty() {
            return canvas;
        }
        // Every pixel counts where it becomes much smaller: blocks are averaged first.
        let factor = (picture.width() / self.size.0).min(picture.height() / self.size.1);
        let shrunk = (factor > 1).then(|| shrink(picture, factor));
        let picture = shrunk.as_ref().unwrap_or(picture);
        let columns: Vec<Between> =
            (0..self.size.0).map(|x| Between::of(x, self.size.0, picture.width())).collect();
        let bytes = picture.as_raw();
        let source_bytes = picture.width() as usize * 3;
        let rows = canvas.chunks_exact_mut(row_bytes).skip(self.top as usize);
        for (y, row) in (0..self.size.1).zip(rows) {
            let vertical = Between::of(y, self.size.1, picture.height());
            let upper = &bytes[vertical.first * source_bytes..][..source_bytes];
            let lower = &bytes[vertical.second * source_bytes..][..source_bytes];
            let pixels = row.chunks_exact_mut(3).skip(self.left as usize);
            for (column, pixel) in columns.iter().zip(pixels) {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    let (first, second) = (column.first * 3 + channel, column.second * 3 + channel);
                    let above = column.mix(upper[first], upper[second]);
                    let below = column.mix(lower[first], lower[second]);
                    let sum = above * (UNIT - vertical.share) + below * vertical.share;
                    *value =
                        u8::try_from((sum + UNIT * UNIT / 2) / (UNIT * UNIT)).unwrap_or(u8::MAX);
                }
            }
        }
        canvas
    }

    /// Where something on the canvas is in the picture, cut at its edges, to a hundredth of a pixel; `None` where it
    /// lies beside it.
    #[must_use]
    pub fn in_picture(&self, candidate: &Candidate) -> Option<BoundingBox> {
        let back = |from: f64, extent: f64, offset: u32, covered: u32, length: u32| {
            let scale = f64::from(length) / f64::from(covered);
            let place = |at: f64| {
                let at = ((at - f64::from(offset)) * scale).clamp(0.0, f64::from(length));
                (at * 100.0).round() / 100.0
            };
            let (start, end) = (place(from), place(from + extent));
            (end > start).then_some((start, ((end - start) * 100.0).round() / 100.0))
        };
        let (x, width) =
            back(candidate.x, candidate.width, self.left, self.size.0, self.picture.0)?;
        let (y, height) =
            back(candidate.y, candidate.height, self.top, self.size.1, self.picture.1)?;
        Some(BoundingBox { x, y, width, height })
    }
}

/// Two neighbouring pixels of a row or column, and how much the second counts.
#[derive(Debug, Clone, Copy)]
struct Between {
    first: usize,
    second: usize,
    share: u32,
}

impl Between {
    /// What lies at pixel `index` of `count` that show a row of `length` pixels.
    fn of(index: u32, count: u32, length: u32) -> Self {
        let middle = (f64::from(index) + 0.5) * f64::from(length) / f64::from(count) - 0.5;
        let middle = middle.clamp(0.0, f64::from(length - 1));
        let first = middle as u32;
        let share = ((middle - f64::from(first)) * f64::from(UNIT)).round() as u32;
        let second = (first + 1).min(length - 1);
        Self { first: first as usize, second: second as usize, share }
    }

    fn mix(self, first: u8, second: u8) -> u32 {
        u32::from(first) * (UNIT - self.share) + u32::from(second) * self.share
    }
}

/// A picture whose pixels are the means of blocks of `factor` by `factor`; what is left over at its edges goes.
fn shrink(picture: &RgbImage, factor: u32) -> RgbImage {
    let (width, height) = (picture.width() / factor, picture.height() / factor);
    let (block, row_bytes) = (factor as usize, picture.width() as usize * 3);
    let mut sums = vec![0u32; width as usize * 3];
    let mut bytes = Vec::with_capacity(sums.len() * height as usize);
    for rows in picture.as_raw().chunks_exact(row_bytes * block).take(height as usize) {
        sums.fill(0);
        for row in rows.chunks_exact(row_bytes) {
            for (pixels, sums) in row.chunks_exact(block * 3).zip(sums.chunks_exact_mut(3)) {
                for pixel in pixels.chunks_exact(3) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
                }
            }
        }
        let count = factor * factor;
        let mean = |sum: &u32| u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX);
        bytes.extend(sums.iter().map(mean));
    }
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}
