//! Privacy masks: parts of a picture that are painted over before it is stored or sent anywhere.

use image::{Rgb, RgbImage};

use super::canvas::{Area, Canvas};
use crate::geometry::Polygon;

/// What is painted.
const PAINT: Rgb<u8> = Rgb([0, 0, 0]);

/// Paints the inside of each polygon black, and a pixel beyond its border, so that no edge shows through.
pub fn paint_over(picture: &mut RgbImage, polygons: &[Polygon]) {
    let (width, height) = picture.dimensions();
    let mut canvas = Canvas::new(picture);
    for polygon in polygons {
        for row in 0..height {
            let middle = (f64::from(row) + 0.5) / f64::from(height);
            for (from, to) in spans(polygon, middle) {
                let top = i64::from(row) - 1;
                let (left, right) = (pixel(from, width) - 1, pixel(to, width) + 2);
                canvas.fill(Area { left, top, right, bottom: top + 3 }, PAINT);
            }
        }
    }
}

/// The pixel that lies at this fraction of a length.
fn pixel(fraction: f64, length: u32) -> i64 {
    (fraction * f64::from(length)).floor() as i64
}

/// Where the horizontal line at `y` runs inside the polygon.
fn spans(polygon: &Polygon, y: f64) -> Vec<(f64, f64)> {
    let corners = polygon.corners();
    let sides = corners.iter().zip(corners.iter().cycle().skip(1));
    let crossing = sides.filter(|&(&(_, y1), &(_, y2))| (y1 > y) != (y2 > y));
    let mut crossings: Vec<f64> =
        crossing.map(|(&(x1, y1), &(x2, y2))| (x2 - x1) * (y - y1) / (y2 - y1) + x1).collect();
    crossings.sort_by(f64::total_cmp);
    crossings.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHITE: Rgb<u8> = Rgb([255; 3]);

    #[test]
    fn the_inside_is_black_and_the_rest_as_it_was() {
        let mut picture = RgbImage::from_pixel(100, 100, WHITE);
        let corner =
            Polygon::new(vec![(0.0, 0.0), (0.25, 0.0), (0.25, 0.25), (0.0, 0.25)]).unwrap();
        paint_over(&mut picture, &[corner]);
        assert_eq!((picture[(0, 0)], picture[(24, 24)]), (PAINT, PAINT));
        assert_eq!((picture[(28, 5)], picture[(5, 28)], picture[(99, 99)]), (WHITE, WHITE, WHITE));
        let mut none = RgbImage::new(0, 0);
        paint_over(&mut none, &[Polygon::new(vec![(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]).unwrap()]);
    }

    proptest! {
        #[test]
        fn no_pixel_inside_a_polygon_stays_visible(
            corners in prop::collection::vec((0.0..=1.0f64, 0.0..=1.0f64), 3..9),
            (width, height) in (1u32..60, 1u32..60),
        ) {
            let polygon = Polygon::new(corners).unwrap();
            let mut picture = RgbImage::from_pixel(width, height, WHITE);
            paint_over(&mut picture, std::slice::from_ref(&polygon));
            for (x, y, pixel) in picture.enumerate_pixels() {
                let middle = |index: u32, count: u32| (f64::from(index) + 0.5) / f64::from(count);
                if polygon.contains(middle(x, width), middle(y, height)) {
                    prop_assert_eq!(*pixel, PAINT);
                }
            }
        }
    }
}
