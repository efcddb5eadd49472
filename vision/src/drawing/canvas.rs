//! [`Canvas`], the one place that writes pixels: nothing that is asked of it reaches outside the picture.

use image::{Rgb, RgbImage};
use lenslog_events::BoundingBox;

/// A rectangle of pixels, `left..right` by `top..bottom`, which may lie outside the picture or be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) right: i64,
    pub(super) bottom: i64,
}

impl Area {
    /// The pixels of a box, cut to a picture of this size; `None` where nothing of it is left, or its numbers
    /// are none.
    pub(super) fn of(bbox: &BoundingBox, (width, height): (u32, u32)) -> Option<Self> {
        let range = |from: f64, extent: f64, length: u32| {
            let start = from.clamp(0.0, f64::from(length));
            let end = (from + extent).clamp(0.0, f64::from(length));
            // False for NaN too.
            (extent > 0.0 && end > start).then(|| (start.floor() as i64, end.ceil() as i64))
        };
        let (left, right) = range(bbox.x, bbox.width, width)?;
        let (top, bottom) = range(bbox.y, bbox.height, height)?;
        Some(Self { left, top, right, bottom })
    }

    /// The rectangle of this size whose upper left corner is there.
    pub(super) const fn at(left: i64, top: i64, width: i64, height: i64) -> Self {
        Self { left, top, right: left + width, bottom: top + height }
    }
}

/// A picture to draw on.
pub(super) struct Canvas<'a> {
    picture: &'a mut RgbImage,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(picture: &'a mut RgbImage) -> Self {
        Self { picture }
    }

    /// Width and height, in pixels.
    pub(super) fn size(&self) -> (i64, i64) {
        (i64::from(self.picture.width()), i64::from(self.picture.height()))
    }

    /// Fills what of `area` lies inside the picture.
    pub(super) fn fill(&mut self, area: Area, color: Rgb<u8>) {
        let (width, height) = self.size();
        let cut = |value: i64, end: i64| usize::try_from(value.clamp(0, end)).unwrap_or_default();
        let (left, right) = (cut(area.left, width), cut(area.right, width));
        let (top, bottom) = (cut(area.top, height), cut(area.bottom, height));
        if left >= right {
            return;
        }
        let row_bytes = self.picture.width() as usize * 3;
        let rows = self.picture.chunks_exact_mut(row_bytes.max(1)).take(bottom).skip(top);
        for row in rows {
            for pixel in row[left * 3..right * 3].chunks_exact_mut(3) {
                pixel.copy_from_slice(&color.0);
            }
        }
    }

    /// Draws the border of `area`, `line` pixels wide, inside of it.
    pub(super) fn frame(&mut self, area: Area, line: i64, color: Rgb<u8>) {
        let Area { left, top, right, bottom } = area;
        self.fill(Area { bottom: bottom.min(top + line), ..area }, color);
        self.fill(Area { top: top.max(bottom - line), ..area }, color);
        self.fill(Area { right: right.min(left + line), ..area }, color);
        self.fill(Area { left: left.max(right - line), ..area }, color);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RED: Rgb<u8> = Rgb([255, 0, 0]);

    fn painted(picture: &RgbImage) -> usize {
        picture.pixels().filter(|pixel| **pixel == RED).count()
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut picture = RgbImage::new(10, 8);
        Canvas::new(&mut picture).fill(Area::at(-5, 6, 7, 100), RED);
        assert_eq!(painted(&picture), 4);
        assert_eq!((picture[(0, 6)], picture[(1, 7)]), (RED, RED));
        Canvas::new(&mut picture).fill(Area::at(20, -20, 100, 5), RED);
        Canvas::new(&mut picture).fill(Area { left: 5, top: 0, right: 2, bottom: 8 }, RED);
        assert_eq!(painted(&picture), 4);
    }

    #[test]
    fn a_frame_is_hollow_unless_it_is_small() {
        let mut picture = RgbImage::new(10, 10);
        Canvas::new(&mut picture).frame(Area::at(1, 1, 8, 8), 2, RED);
        assert_eq!(painted(&picture), 64 - 16);
        let mut picture = RgbImage::new(10, 10);
        Canvas::new(&mut picture).frame(Area::at(1, 1, 3, 3), 2, RED);
        assert_eq!(painted(&picture), 9);
    }

    #[test]
    fn a_box_covers_every_pixel_it_touches() {
        let bbox = BoundingBox { x: 1.5, y: -3.0, width: 2.0, height: 4.2 };
        assert_eq!(Area::of(&bbox, (10, 10)), Some(Area { left: 1, top: 0, right: 4, bottom: 2 }));
    }

    proptest! {
        #[test]
        fn no_box_reaches_outside_the_picture(
            x: f64, y: f64, width: f64, height: f64, columns in 0u32..50, rows in 0u32..50,
        ) {
            if let Some(area) = Area::of(&BoundingBox { x, y, width, height }, (columns, rows)) {
                prop_assert!(0 <= area.left && area.left < area.right);
                prop_assert!(area.right <= i64::from(columns));
                prop_assert!(0 <= area.top && area.top < area.bottom);
                prop_assert!(area.bottom <= i64::from(rows));
            }
            let mut picture = RgbImage::new(columns, rows);
            let area = Area::at(x as i64 >> 1, y as i64 >> 1, width as i64 >> 2, height as i64 >> 2);
            Canvas::new(&mut picture).frame(area, 3, RED);
        }
    }
}
