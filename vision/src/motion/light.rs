//! [`Light`], how the light on a scene differs from that in which its background was learned.
//!
//! Light changes what a cell shows as a smooth function of its place and its brightness: a gain, an offset, a gamma, over
//! all of the picture or a part of it. It leaves edges and textures where they are. So the function is fitted only to
//! cells whose surroundings have kept their structure, and what differs from its prediction is no light.

use super::edges::{Edges, Evidence};
use super::grid::{GREY_LEVEL, Grid};

/// Cells without edges between them show their background if at least this share of them is known to.
const KNOWN_SHARE_MIN: f64 = 0.25;

/// What a cell that is only connected to known ones counts beside one with the same structure.
const CONNECTED_WEIGHT: f64 = 0.2;

/// Brightness that a camera does not clip.
pub(super) const UNCLIPPED: std::ops::Range<u16> = 2 * GREY_LEVEL..253 * GREY_LEVEL;

/// Tiles along the longer side of the picture. Light is smooth within a tile.
const TILES_MAX: usize = 32;

/// How many cells of evidence the coarser tile counts for in a finer one.
const PRIOR_CELLS: f64 = 4.0;

/// A prediction is off by this share of what the light changes.
const ERROR_SHARE: f32 = 0.2;

/// `now = curve(before)` in some part of the picture; both are in units of half the range around its middle.
type Curve = [f64; 3];

/// A scene in the light in which it was learned.
const UNCHANGED: Curve = [0.0, 1.0, 0.0];

/// Half the range of grey levels.
const HALF_RANGE: f32 = 127.5 * GREY_LEVEL as f32;

/// How the light on a picture differs from that on its background.
#[derive(Debug, Default)]
pub(super) struct Light {
    /// What each cell would show if nothing but the light had changed; beyond black and white where a camera clips it.
    predicted: Vec<i32>,
    /// What the surroundings of each cell say.
    evidence: Vec<Evidence>,
    /// The connected parts without edges in between.
    parts: Parts,
    /// Edges of the background, of the picture, and of both: squares and product, summed over the surroundings.
    edges: Edges,
    /// The light in each tile.
    curves: Curves,
}

/// The curves of all tiles, row by row.
#[derive(Debug, Default)]
struct Curves {
    side: usize,
    columns: usize,
    rows: usize,
    curves: Vec<Curve>,
}

/// Cells next to each other in a row that have no edges of their own.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
    /// The run, not behind this one, whose counts include those of this one; itself: they are its own.
    parent: usize,
    cells: usize,
    /// How many of them have not changed, and neighbours of them with the structure of the background.
    known: usize,
}

/// Parts of the picture without edges in between, as runs in the order of the cells.
#[derive(Debug, Default)]
struct Parts {
    runs: Vec<Run>,
}

/// Sums over the evidence in a tile, with which the curve of least squares is found.
#[derive(Debug, Clone, Copy, Default)]
struct Tile {
    /// Sums of the powers 0 to 4 of brightness before.
    powers: [f64; 5],
    /// Sums of brightness now times the powers 0 to 2.
    products: [f64; 3],
}

/// Tiles of one size, row by row.
#[derive(Debug, Clone)]
struct Tiles {
    columns: usize,
    rows: usize,
    tiles: Vec<Tile>,
}

impl Light {
    /// Fits the light. `before` is the background, `now` the picture. Nothing is predicted yet.
    pub(super) fn fit(&mut self, grid: &Grid, before: &[i32], now: &[u16], changed: &[bool]) {
        self.edges.compare(grid, before, now, &mut self.evidence);
        self.parts.connect(grid, changed, &mut self.evidence);
        let side = grid.columns.max(grid.rows).div_ceil(TILES_MAX).max(1);
        let finest = Tiles::of(grid, side, before, now, &self.evidence);
        let (columns, rows) = (finest.columns, finest.rows);
        self.curves = Curves { side, columns, rows, curves: finest.curves() };
        self.predicted.resize(before.len(), 0);
    }

    /// What each cell would show if nothing but the light had changed; beyond black and white where a camera clips it.
    pub(super) fn predicted(&self) -> impl Iterator<Item = i32> {
        self.predicted.iter().copied()
    }

    /// Whether a cell shows something else than its background in this light.
    pub(super) fn is_strange(&self, index: usize, before: i32, now: u16, floor: i32) -> bool {
        let white = 255 * i32::from(GREY_LEVEL);
        let predicted = self.predicted[index].clamp(0, white);
        let error = (predicted - before.clamp(0, white)).abs() as f32 * ERROR_SHARE;
        let difference = (i32::from(now) - predicted).abs();
        let is_known = match self.evidence[index] {
            Evidence::Same => true,
            Evidence::Connected => !UNCLIPPED.contains(&now),
            _ => false,
        };
        !is_known && difference > floor.max(error as i32)
    }

    /// Predicts the cells for which `near` is `is_near`: what the curves say of each, those of the nearest tiles mixed by
    /// their distance.
    pub(super) fn predict(&mut self, grid: &Grid, before: &[i32], near: &[bool], is_near: bool) {
        let Curves { side, columns, rows, curves } = &self.curves;
        let at = |cell: usize, count: usize| {
            // In tiles, from the middle of the first one; straight on beyond the middle of the outer ones.
            let place = (cell as f32 + 0.5) / *side as f32 - 0.5;
            let first = (place.max(0.0) as usize).min(count.saturating_sub(2));
            (first, (first + 1).min(count - 1), (place - first as f32).clamp(-0.5, 1.5))
        };
        let across: Vec<_> = (0..grid.columns).map(|column| at(column, *columns)).collect();
        let mut mixed = vec![[0.0f32; 3]; *columns];
        let cells = before.chunks_exact(grid.columns).zip(near.chunks_exact(grid.columns));
        let predicted = self.predicted.chunks_exact_mut(grid.columns);
        for (row, ((before, near), predicted)) in cells.zip(predicted).enumerate() {
            if !near.contains(&is_near) {
                continue;
            }
            let (above, below, share) = at(row, *rows);
            for (column, mixed) in mixed.iter_mut().enumerate() {
                let (one, other) =
                    (curves[above * columns + column], curves[below * columns + column]);
                *mixed = std::array::from_fn(|k| {
                    one[k] as f32 * (1.0 - share) + other[k] as f32 * share
                });
            }
            let cells = predicted.iter_mut().zip(before).zip(near).zip(&across);
            for (((predicted, before), _), (left, right, share)) in
                cells.filter(|((_, near), _)| **near == is_near)
            {
                let x = *before as f32 / HALF_RANGE - 1.0;
                let (one, other) = (mixed[*left], mixed[*right]);
                let curve: [f32; 3] =
                    std::array::from_fn(|k| one[k] * (1.0 - share) + other[k] * share);
                let y = curve[0] + x * (curve[1] + x * curve[2]);
                *predicted = ((y.clamp(-2.0, 3.0) + 1.0) * HALF_RANGE) as i32;
            }
        }
    }
}

impl Parts {
    /// Marks the parts of which enough is known: it has the structure of the background, or has not changed.
    fn connect(&mut self, grid: &Grid, changed: &[bool], evidence: &mut [Evidence]) {
        self.runs.clear();
        let count_same = |cells: Option<&[Evidence]>| {
            let cells = cells.unwrap_or_default().iter();
            cells.filter(|evidence| **evidence == Evidence::Same).count()
        };
        // Runs of the row above that end behind those before.
        let mut above = 0;
        for row in (0..evidence.len()).step_by(grid.columns.max(1)) {
            let (mut next, row_end, above_end) = (row, row + grid.columns, self.runs.len());
            let is_flat = |evidence: &Evidence| *evidence == Evidence::Flat;
            while let Some(start) = evidence[next..row_end].iter().position(is_flat) {
                let start = next + start;
                let cells = evidence[start..row_end].iter().position(|evidence| !is_flat(evidence));
                let end = cells.map_or(row_end, |cells| start + cells);
                // With the neighbours before and behind.
                let around = start.saturating_sub(1).max(row)..(end + 1).min(row_end);
                let upper = row.checked_sub(grid.columns).map(|_| start - grid.columns);
                let upper = upper.and_then(|upper| evidence.get(upper..upper + end - start));
                let lower = evidence.get(start + grid.columns..end + grid.columns);
                let known = changed[start..end].iter().filter(|changed| !**changed).count()
                    + count_same(evidence.get(around))
                    + count_same(upper)
                    + count_same(lower);
                let number = self.runs.len();
                self.runs.push(Run { start, end, parent: number, cells: end - start, known });
                while above < above_end && self.runs[above].end + grid.columns <= start {
                    above += 1;
                }
                let touching = (above..above_end)
                    .take_while(|above| self.runs[*above].start + grid.columns < end)
                    .count();
                (above..above + touching).for_each(|above| self.join(above, number));
                next = end;
            }
            above = above_end;
        }
        for number in 0..self.runs.len() {
            let first = self.first(number);
            let Run { cells, known, .. } = self.runs[first];
            let is_known = known as f64 >= KNOWN_SHARE_MIN * cells as f64;
            let found = if is_known { Evidence::Connected } else { Evidence::Other };
            let Run { start, end, .. } = self.runs[number];
            evidence[start..end].fill(found);
        }
    }

    /// The run with the counts of the part that a run belongs to.
    fn first(&mut self, mut number: usize) -> usize {
        while self.runs[number].parent != number {
            let parent = self.runs[number].parent;
            self.runs[number].parent = self.runs[parent].parent;
            number = parent;
        }
        number
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        if one == other {
            return;
        }
        let (first, second) = (one.min(other), one.max(other));
        let Run { cells, known, .. } = self.runs[second];
        self.runs[second].parent = first;
        self.runs[first].cells += cells;
        self.runs[first].known += known;
    }
}

impl Tiles {
    /// The evidence of every tile.
    fn of(grid: &Grid, side: usize, before: &[i32], now: &[u16], evidence: &[Evidence]) -> Self {
        let (columns, rows) = (grid.columns.div_ceil(side), grid.rows.div_ceil(side));
        let mut tiles = vec![Tile::default(); columns * rows];
        let (before, now) = (before.chunks_exact(grid.columns), now.chunks_exact(grid.columns));
        let cells = before.zip(now).zip(evidence.chunks_exact(grid.columns));
        for (row, ((before, now), evidence)) in cells.enumerate() {
            let tiles = tiles[row / side * columns..].iter_mut();
            let cells = before.chunks(side).zip(now.chunks(side)).zip(evidence.chunks(side));
            for (tile, ((before, now), evidence)) in tiles.zip(cells) {
                let mut sums = *tile;
                for ((before, now), evidence) in before.iter().zip(now).zip(evidence) {
                    let weight = match evidence {
                        // What is clipped says nothing about the light.
                        _ if !UNCLIPPED.contains(now) => continue,
                        Evidence::Same => 1.0,
                        Evidence::Connected => CONNECTED_WEIGHT,
                        _ => continue,
                    };
                    sums.add(*before, *now, weight);
                }
                *tile = sums;
            }
        }
        Self { columns, rows, tiles }
    }

    /// A curve for each tile: where a tile has little evidence of its own, that of the larger one around it.
    fn curves(&self) -> Vec<Curve> {
        let around = (self.tiles.len() > 1).then(|| self.coarser());
        let coarse = around.as_ref().map(|tiles| (tiles, tiles.curves()));
        let prior = |index: usize| match &coarse {
            Some((tiles, curves)) => {
                curves[index / self.columns / 2 * tiles.columns + index % self.columns / 2]
            }
            None => UNCHANGED,
        };
        self.tiles.iter().enumerate().map(|(index, tile)| tile.curve(prior(index))).collect()
    }

    /// Four tiles in one.
    fn coarser(&self) -> Self {
        let (columns, rows) = (self.columns.div_ceil(2), self.rows.div_ceil(2));
        let mut tiles = vec![Tile::default(); columns * rows];
        for (index, tile) in self.tiles.iter().enumerate() {
            tiles[index / self.columns / 2 * columns + index % self.columns / 2].join(tile);
        }
        Self { columns, rows, tiles }
    }
}

impl Tile {
    fn add(&mut self, before: i32, now: u16, weight: f64) {
        let x = f64::from(before as f32 / HALF_RANGE - 1.0);
        let y = f64::from(f32::from(now) / HALF_RANGE - 1.0);
        let powers = [1.0, x, x * x, x * x * x, x * x * x * x].map(|power| weight * power);
        self.powers.iter_mut().zip(powers).for_each(|(sum, power)| *sum += power);
        self.products.iter_mut().zip(powers).for_each(|(sum, power)| *sum += y * power);
    }

    fn join(&mut self, other: &Self) {
        self.powers.iter_mut().zip(other.powers).for_each(|(sum, power)| *sum += power);
        self.products.iter_mut().zip(other.products).for_each(|(sum, product)| *sum += product);
    }

    /// The curve of least squares, drawn towards `prior` as by some cells.
    fn curve(&self, prior: Curve) -> Curve {
        let [p0, p1, p2, p3, p4] = self.powers;
        let mut rows = [[p0, p1, p2], [p1, p2, p3], [p2, p3, p4]];
        let mut right = self.products;
        for (k, weight) in [1.0, 1.0, 1.0].into_iter().enumerate() {
            rows[k][k] += weight * PRIOR_CELLS;
            right[k] += weight * PRIOR_CELLS * prior[k];
        }
        solve(rows, right)
    }
}

/// Solves three equations whose matrix is symmetric and positive.
fn solve(mut rows: [[f64; 3]; 3], mut right: Curve) -> Curve {
    for k in 0..3 {
        for below in k + 1..3 {
            let factor = rows[below][k] / rows[k][k];
            let upper = rows[k];
            rows[below].iter_mut().zip(upper).for_each(|(value, upper)| *value -= factor * upper);
            right[below] -= factor * right[k];
        }
    }
    let mut curve = Curve::default();
    for k in (0..3).rev() {
        let known: f64 = (k + 1..3).map(|column| rows[k][column] * curve[column]).sum();
        curve[k] = (right[k] - known) / rows[k][k];
    }
    curve
}
