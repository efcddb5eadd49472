//! [`Grid`], the coarse grid of cells in which motion is looked for, and how its cells map to pixels.

use image::RgbImage;
use lenslog_events::BoundingBox;

/// Cells of a grid are made large enough that no side of it exceeds this, except by one cell that lies partly
/// outside the picture.
const SIDE_CELLS_MAX: u32 = 320;

/// From this side on, in pixels, a cell is more than one pixel: a mean has less noise.
const FINE_SIDE_MIN: u32 = 200;

/// One grey level in the fixed-point numbers of a shrunk picture.
pub(super) const GREY_LEVEL: u16 = 128;

const _: () = assert!(GREY_LEVEL == 128, "shrink() divides by 2 what has weights of 256");

/// Weights of red, green and blue in brightness; their sum is 256.
const LUMA: [u32; 3] = [77, 150, 29];

/// A picture cut into square cells. The cells of the last row and column may be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    /// Width of the picture, in pixels.
    pub(super) picture_width: u32,
    /// Height of the picture, in pixels.
    pub(super) picture_height: u32,
    /// Side of a cell, in pixels.
    pub(super) cell: u32,
    /// Columns of cells.
    pub(super) columns: usize,
    /// Rows of cells.
    pub(super) rows: usize,
}

/// Cells `left..right` by `top..bottom` of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellBox {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) right: usize,
    pub(super) bottom: usize,
}

impl Grid {
    /// The grid of pictures of this size.
    pub(super) fn of(picture_width: u32, picture_height: u32) -> Self {
        let side = picture_width.max(picture_height);
        let cell = side.div_ceil(SIDE_CELLS_MAX).max(if side >= FINE_SIDE_MIN { 2 } else { 1 });
        Self {
            picture_width,
            picture_height,
            cell,
            columns: picture_width.div_ceil(cell) as usize,
            rows: picture_height.div_ceil(cell) as usize,
        }
    }

    /// Number of cells.
    pub(super) const fn cells(&self) -> usize {
        self.columns * self.rows
    }

    /// Whether this is the grid of `picture`.
    pub(super) fn fits(&self, picture: &RgbImage) -> bool {
        picture.dimensions() == (self.picture_width, self.picture_height)
    }

    /// The pixels that the cells of `cells` cover.
    pub(super) fn pixels(&self, cells: CellBox) -> BoundingBox {
        let edge = |index: usize, end: u32| {
            let pixel = u64::from(self.cell) * index as u64;
            f64::from(u32::try_from(pixel).unwrap_or(u32::MAX).min(end))
        };
        let (left, top) =
            (edge(cells.left, self.picture_width), edge(cells.top, self.picture_height));
        BoundingBox {
            x: left,
            y: top,
            width: edge(cells.right, self.picture_width) - left,
            height: edge(cells.bottom, self.picture_height) - top,
        }
    }

    /// The cells that a box of pixels touches, `None` where it has no extent inside the picture.
    pub(super) fn cells_in(&self, pixels: &BoundingBox) -> Option<CellBox> {
        let cell = f64::from(self.cell);
        let range = |from: f64, extent: f64, length: u32| {
            let start = from.clamp(0.0, f64::from(length));
            let end = (from + extent).clamp(0.0, f64::from(length));
            // False for NaN too.
            (end > start).then(|| ((start / cell) as usize, (end / cell).ceil() as usize))
        };
        let (left, right) = range(pixels.x, pixels.width, self.picture_width)?;
        let (top, bottom) = range(pixels.y, pixels.height, self.picture_height)?;
        Some(CellBox { left, top, right: right.min(self.columns), bottom: bottom.min(self.rows) })
    }

    /// The mean brightness of every cell of `picture`, row by row, in units of 1 / [`GREY_LEVEL`] of a grey
    /// level, written over `grey`.
    pub(super) fn shrink(&self, picture: &RgbImage, grey: &mut Vec<u16>) {
        debug_assert!(self.fits(picture), "the grid belongs to pictures of another size");
        grey.clear();
        grey.reserve(self.cells());
        let row_bytes = self.picture_width as usize * 3;
        let mut columns = vec![0u32; row_bytes];
        for rows in picture.as_raw().chunks((row_bytes * self.cell as usize).max(1)) {
            columns.fill(0);
            for row in rows.chunks_exact(row_bytes) {
                columns.iter_mut().zip(row).for_each(|(sum, value)| *sum += u32::from(*value));
            }
            let height = rows.len() / row_bytes;
            for cell in columns.chunks(3 * self.cell as usize) {
                let pixels = u32::try_from(cell.len() / 3 * height).unwrap_or(u32::MAX);
                // Weights of 256 in all, of which GREY_LEVEL stay.
                grey.push(
                    u16::try_from(brightness(cell) / (2 * pixels.max(1))).unwrap_or(u16::MAX),
                );
            }
        }
    }
}

/// The weighted sum of pixels, which are sums of columns themselves. They fit: of the largest picture that JPEG can
/// express, a cell has 205 x 205 pixels.
fn brightness(pixels: &[u32]) -> u32 {
    let mut sums = [0u32; 3];
    for pixel in pixels.chunks_exact(3) {
        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
    }
    sums[0] * LUMA[0] + sums[1] * LUMA[1] + sums[2] * LUMA[2]
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn cells_are_small_enough_to_be_few() {
        let sizes = [(100, 75), (320, 240), (640, 480), (768, 576), (1920, 1080), (3840, 2160)];
        let grids = sizes.map(|(width, height)| Grid::of(width, height));
        assert_eq!(grids.map(|grid| grid.cell), [1, 2, 2, 3, 6, 12]);
        assert_eq!((grids[3].columns, grids[3].rows), (256, 192));
        assert!(grids.iter().all(|grid| grid.columns.max(grid.rows) <= 320));
    }

    #[test]
    fn a_cell_has_the_mean_brightness_of_its_pixels() {
        // 321 columns: the last cell is one pixel wide.
        let mut picture = RgbImage::from_pixel(321, 2, Rgb([100; 3]));
        picture.put_pixel(0, 0, Rgb([200; 3]));
        picture.put_pixel(320, 0, Rgb([0; 3]));
        let grid = Grid::of(321, 2);
        let mut grey = Vec::new();
        grid.shrink(&picture, &mut grey);
        assert_eq!((grid.cell, grey.len()), (2, 161));
        let level = |grey: u16| f64::from(grey) / f64::from(GREY_LEVEL);
        assert_eq!([0, 1, 160].map(|index| level(grey[index])), [125.0, 100.0, 50.0]);
        grid.shrink(&RgbImage::from_pixel(321, 2, Rgb([255; 3])), &mut grey);
        assert!(grey.iter().all(|value| level(*value) == 255.0));
    }

    #[test]
    fn boxes_of_cells_and_of_pixels_agree_up_to_the_edge() {
        let grid = Grid::of(321, 241);
        let all = CellBox { left: 0, top: 0, right: grid.columns, bottom: grid.rows };
        let whole = BoundingBox { x: 0.0, y: 0.0, width: 321.0, height: 241.0 };
        assert_eq!(grid.pixels(all), whole);
        assert_eq!(grid.cells_in(&whole), Some(all));
        let some = CellBox { left: 3, top: 5, right: 9, bottom: 6 };
        assert_eq!(grid.cells_in(&grid.pixels(some)), Some(some));
    }

    #[test]
    fn boxes_without_an_extent_inside_the_picture_have_no_cells() {
        let grid = Grid::of(320, 240);
        for (x, y, width, height) in [
            (400.0, 0.0, 10.0, 10.0),
            (-20.0, 0.0, 10.0, 10.0),
            (10.0, 10.0, 0.0, 10.0),
            (10.0, 10.0, -5.0, 10.0),
            (f64::NAN, 0.0, 10.0, 10.0),
            (0.0, 0.0, f64::NAN, 10.0),
            (f64::NEG_INFINITY, 0.0, f64::INFINITY, 10.0),
        ] {
            assert_eq!(grid.cells_in(&BoundingBox { x, y, width, height }), None, "{x} {width}");
        }
        let huge = BoundingBox { x: -1e300, y: -5.0, width: f64::INFINITY, height: 1e300 };
        assert!(grid.cells_in(&huge).is_some());
    }
}
