//! [`MotionOutcome`], what motion detection says about a picture.

use lenslog_events::BoundingBox;

use super::grid::{CellBox, Grid};

/// What was found in a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum MotionOutcome {
    /// The background is still being learned; nothing can be said.
    Learning {
        /// Pictures that are still needed.
        pictures_left: u32,
    },
    /// Nothing moves that counts.
    Quiet {
        /// Changed area that counts, in per cent of the picture without its masks.
        changed_percent: f64,
        /// Why it does not count as motion.
        reason: Quiet,
    },
    /// Something moves.
    Motion(Motion),
    /// The picture shows nothing: it is black or covered. Motion is not looked for.
    Blind,
    /// The light changed, or most of the picture shows another scene; no motion is found beside it. Where it lasts, the
    /// second such picture is taken for the background in the new light, or the new scene is learned.
    LightChanged {
        /// Changed area, in per cent of the picture without its masks.
        changed_percent: f64,
    },
}

/// Why a change is no motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quiet {
    /// There is none.
    Still,
    /// The changed area is below the threshold.
    BelowThreshold,
    /// It would be motion if no part of the picture were masked.
    Masked,
    /// It would be motion if there were no zones.
    OutsideZones,
    /// It would be motion if nothing were too small to count.
    TooSmall,
}

/// Something that moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    /// Changed area that counts, in per cent of the picture without its masks.
    pub changed_percent: f64,
    /// 0.5 at the threshold, 1 at four times it and above; in between it rises by a quarter with each doubling
    /// of the area.
    pub confidence: f64,
    /// The box around all regions, in pixels.
    pub area: BoundingBox,
    /// Boxes around what moves, in pixels, the largest first; at most [`REGIONS_MAX`](super::REGIONS_MAX).
    pub regions: Vec<BoundingBox>,
    /// Which pixels move.
    pub moving: MovingPixels,
}

/// Which pixels of a picture move, in coarse cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovingPixels {
    grid: Grid,
    cells: Vec<bool>,
}

impl MovingPixels {
    pub(super) fn new(grid: Grid, cells: Vec<bool>) -> Self {
        Self { grid, cells }
    }

    /// The pixels inside `boxes`, of a picture of this size.
    #[must_use]
    pub fn inside(width: u32, height: u32, boxes: &[BoundingBox]) -> Self {
        let grid = Grid::of(width, height);
        let mut cells = vec![false; grid.cells()];
        for rows in boxes.iter().filter_map(|pixels| grid.cells_in(pixels)) {
            for row in cells.chunks_exact_mut(grid.columns).take(rows.bottom).skip(rows.top) {
                row[rows.left..rows.right].fill(true);
            }
        }
        Self { grid, cells }
    }

    /// How much of `pixels` moves, 0 to 1, where what lies inside one of `without` counts as still. 0 for a box outside
    /// the picture, or without an extent.
    #[must_use]
    pub fn share(&self, pixels: &BoundingBox, without: &[BoundingBox]) -> f64 {
        let Some(CellBox { left, top, right, bottom }) = self.grid.cells_in(pixels) else {
            return 0.0;
        };
        let without: Vec<CellBox> =
            without.iter().filter_map(|pixels| self.grid.cells_in(pixels)).collect();
        let is_left_out = |column: usize, row: usize| {
            without.iter().any(|cells| {
                (cells.left..cells.right).contains(&column)
                    && (cells.top..cells.bottom).contains(&row)
            })
        };
        let rows = self.cells.chunks_exact(self.grid.columns).enumerate().take(bottom).skip(top);
        let moving = |(row, cells): (usize, &[bool])| {
            (left..right).filter(|column| cells[*column] && !is_left_out(*column, row)).count()
        };
        rows.map(moving).sum::<usize>() as f64 / ((right - left) * (bottom - top)) as f64
    }

    /// Whether any pixel inside `pixels` moves. False for a box outside the picture, or without an extent.
    #[must_use]
    pub fn overlaps(&self, pixels: &BoundingBox) -> bool {
        let Some(CellBox { left, top, right, bottom }) = self.grid.cells_in(pixels) else {
            return false;
        };
        let rows = self.cells.chunks_exact(self.grid.columns).take(bottom).skip(top);
        rows.into_iter().any(|row| row[left..right].iter().any(|moves| *moves))
    }
}
