//! [`Edges`], which parts of a picture have kept the structure of their background.

use super::grid::{GREY_LEVEL, Grid};

/// Cells on each side of a cell that belong to its surroundings.
const REACH_CELLS: usize = 2;

/// Surroundings have structure if brightness changes by so many grey levels from cell to cell, root mean square.
const STRUCTURE_LEVELS_MIN: f32 = 1.5;

/// Surroundings show the same structure if their edges correlate at least so.
const CORRELATION_MIN: f32 = 0.75;

/// Surroundings have edges of their own if that which the background does not explain is at least so many grey levels
/// from cell to cell, root mean square. Light that is smooth changes less.
const OWN_EDGES_LEVELS_MIN: f32 = 6.0;

/// How much light may weaken or strengthen edges.
const GAINS: std::ops::RangeInclusive<f32> = 0.15..=6.0;

/// What the surroundings of a cell say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// They have the structure of the background.
    Same,
    /// They have no edges of their own, and are connected to some with the structure of the background.
    Connected,
    /// They have no edges of their own.
    Flat,
    /// They have edges of their own.
    Other,
}

/// One value a cell of a row for the background, the picture, and both.
type Rows = [Vec<f32>; 3];

/// Edges of the background, of the picture, and of both: squares and product, summed over the surroundings.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Of one row, with [`REACH_CELLS`] zeros before and behind it.
    row: Rows,
    /// Sums along the last rows, each in the place of its number by the height of the surroundings.
    along: [Rows; 2 * REACH_CELLS + 1],
    /// Sums over the surroundings.
    sums: Rows,
}

impl Edges {
    /// Notes what the surroundings of each cell say: `Same`, `Flat` or `Other`.
    pub(super) fn compare(
        &mut self,
        grid: &Grid,
        before: &[i32],
        now: &[u16],
        evidence: &mut Vec<Evidence>,
    ) {
        let (columns, rows) = (grid.columns, grid.rows);
        let width = columns + 2 * REACH_CELLS;
        for (fields, length) in [(&mut self.row, width), (&mut self.sums, columns)]
            .into_iter()
            .chain(self.along.iter_mut().map(|fields| (fields, columns)))
        {
            for field in fields {
                field.clear();
                field.resize(length, 0.0);
            }
        }
        evidence.clear();
        for number in 0..rows + REACH_CELLS {
            if number < rows {
                let of = |number: usize| number * columns..(number + 1) * columns;
                let below = of((number + 1).min(rows - 1));
                let (before, now) = (
                    [&before[of(number)], &before[below.clone()]],
                    [&now[of(number)], &now[below]],
                );
                square(before, now, &mut self.row);
                let along = &mut self.along[number % (2 * REACH_CELLS + 1)];
                sum_along(&self.row, along);
                for (sums, along) in self.sums.iter_mut().zip(along) {
                    sums.iter_mut().zip(along).for_each(|(sum, value)| *sum += *value);
                }
            }
            if number >= REACH_CELLS {
                self.say(evidence);
            }
            if let Some(first) = number.checked_sub(2 * REACH_CELLS) {
                let along = &self.along[first % (2 * REACH_CELLS + 1)];
                for (sums, along) in self.sums.iter_mut().zip(along) {
                    sums.iter_mut().zip(along).for_each(|(sum, value)| *sum -= value);
                }
            }
        }
    }

    /// What the surroundings of each cell of a row say.
    fn say(&self, evidence: &mut Vec<Evidence>) {
        let window = (2 * REACH_CELLS + 1).pow(2) as f32;
        let structure = window * STRUCTURE_LEVELS_MIN * STRUCTURE_LEVELS_MIN;
        let own_edges = window * OWN_EDGES_LEVELS_MIN * OWN_EDGES_LEVELS_MIN;
        let [before, now, both] = &self.sums;
        evidence.extend(before.iter().zip(now).zip(both).map(|((before, now), both)| {
            // Without branches, which a processor could not predict.
            let gain = both / before;
            let common = if *both > 0.0 { both * both / before } else { 0.0 };
            let is_same = (*before >= structure)
                & (common >= CORRELATION_MIN * CORRELATION_MIN * now)
                & (gain >= *GAINS.start())
                & (gain <= *GAINS.end());
            let other = if now - common >= own_edges { Evidence::Other } else { Evidence::Flat };
            if is_same { Evidence::Same } else { other }
        }));
    }
}

/// The squares and products of a row, from it and the row below it.
fn square([before, below_before]: [&[i32]; 2], [now, below_now]: [&[u16]; 2], row: &mut Rows) {
    let columns = before.len();
    let inside = REACH_CELLS..REACH_CELLS + columns;
    let [before_row, now_row, both_row] = row.each_mut().map(|row| &mut row[inside.clone()]);
    // The last cell has none to its right.
    for (first, last) in [(0, columns - 1), (columns - 1, columns)] {
        let (cells, right) = (first..last, (first + 1).min(columns - 1)..(last + 1).min(columns));
        let here = before[cells.clone()].iter().zip(&now[cells.clone()]);
        let right = before[right.clone()].iter().zip(&now[right]);
        let below = below_before[cells.clone()].iter().zip(&below_now[cells.clone()]);
        let sums = before_row[cells.clone()].iter_mut().zip(&mut now_row[cells.clone()]);
        let sums = sums.zip(&mut both_row[cells]);
        for (((here, right), below), ((before, now), both)) in here.zip(right).zip(below).zip(sums)
        {
            let scale = 1.0 / f32::from(GREY_LEVEL);
            let slopes = |to: (&i32, &u16)| {
                let now = i32::from(*to.1) - i32::from(*here.1);
                ((to.0 - here.0) as f32 * scale, now as f32 * scale)
            };
            let ((bx, nx), (by, ny)) = (slopes(right), slopes(below));
            *before = bx * bx + by * by;
            *now = nx * nx + ny * ny;
            *both = bx * nx + by * ny;
        }
    }
}

/// Sums over the surroundings along a row.
fn sum_along(row: &Rows, along: &mut Rows) {
    let columns = along[0].len();
    let [before, now, both] = row.each_ref().map(|row| &row[..columns + 2 * REACH_CELLS]);
    let [sum_before, sum_now, sum_both] = along.each_mut().map(|along| &mut along[..columns]);
    let mut sums =
        [before, now, both].map(|row| row[REACH_CELLS..2 * REACH_CELLS].iter().sum::<f32>());
    // Three at a time: each has to wait for the sum before.
    for column in 0..columns {
        let (first, last) = (column, column + 2 * REACH_CELLS);
        sums[0] += before[last];
        sums[1] += now[last];
        sums[2] += both[last];
        (sum_before[column], sum_now[column], sum_both[column]) = (sums[0], sums[1], sums[2]);
        sums[0] -= before[first];
        sums[1] -= now[first];
        sums[2] -= both[first];
    }
}
