//! Groups changed cells into regions: fills and thins them, drops specks, merges what is near.

use super::grid::{CellBox, Grid};

/// Most regions of a picture that are reported; the largest stay. The changed area counts all of them.
pub const REGIONS_MAX: usize = 16;

/// Most groups of cells that are merged with each other; the smallest of more stay out of every region.
const GROUPS_MAX: usize = 256;

/// A group with fewer cells is a speck and dropped.
const GROUP_CELLS_MIN: usize = 6;

/// So is one that is smaller than this share of the picture.
const GROUP_SHARE_MIN: f64 = 0.000_15;

/// A group that is smaller than this share of the largest one gets no box: a leaf that moves far from a person
/// would stretch the box around both over half the picture.
const CRUMB_SHARE: f64 = 0.05;

/// Groups are merged where the gap between their boxes is at most this share of the picture's longer side.
const GAP_SHARE_MAX: f64 = 0.015;

/// Of a cell and its eight neighbours, so many have changed where a change is kept, and where one is filled in.
const KEEP_MIN: u8 = 3;
const FILL_MIN: u8 = 6;

/// A connected group of changed cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// The cells it spans.
    pub(super) cells: CellBox,
    /// How many cells it has.
    pub(super) area: usize,
    /// Whether one of them lies in a zone.
    pub(super) in_zone: bool,
}

/// Drops changed cells that stand alone and fills holes, in place.
pub(super) fn smooth(grid: &Grid, changed: &mut [bool]) {
    count_around(grid, changed, |cell, count| count >= if cell { KEEP_MIN } else { FILL_MIN });
}

/// Marks the neighbours of changed cells too.
pub(super) fn spread(grid: &Grid, changed: &mut [bool]) {
    count_around(grid, changed, |_, count| count > 0);
}

/// Replaces each cell by what `decide` makes of it and of how many of it and its eight neighbours have changed.
fn count_around(grid: &Grid, changed: &mut [bool], decide: impl Fn(bool, u8) -> bool) {
    let columns = grid.columns;
    // Sums of three in a row first, then of three such sums in a column. A row of zeros lies above and below.
    let mut sums = vec![0u8; changed.len() + 2 * columns];
    for (row, sums) in changed.chunks_exact(columns).zip(sums[columns..].chunks_exact_mut(columns))
    {
        sums.iter_mut().zip(row).for_each(|(sum, cell)| *sum = u8::from(*cell));
        sums[1..].iter_mut().zip(row).for_each(|(sum, cell)| *sum += u8::from(*cell));
        sums.iter_mut().zip(&row[1..]).for_each(|(sum, cell)| *sum += u8::from(*cell));
    }
    let around = sums.iter().zip(&sums[columns..]).zip(&sums[2 * columns..]);
    for (cell, ((above, own), below)) in changed.iter_mut().zip(around) {
        *cell = decide(*cell, above + own + below);
    }
}

/// The connected groups of changed cells that are no specks, in no order.
///
/// Afterwards `changed` marks their cells alone. `zone` says for each cell whether it lies in a zone; it is
/// empty where there are none, and every cell does.
pub(super) fn groups(grid: &Grid, changed: &mut [bool], zone: &[bool]) -> Vec<Group> {
    let cells_min = GROUP_CELLS_MIN.max((grid.cells() as f64 * GROUP_SHARE_MIN) as usize);
    let mut groups = Vec::new();
    let mut members = Vec::new();
    let mut seen = vec![false; changed.len()];
    for start in 0..changed.len() {
        if !changed[start] || seen[start] {
            continue;
        }
        let group = collect(grid, changed, &mut seen, start, &mut members, zone);
        if group.area >= cells_min {
            groups.push(group);
        } else {
            members.iter().for_each(|index: &usize| changed[*index] = false);
        }
    }
    groups
}

/// Collects the group that the cell at `start` belongs to; its cells are left in `members`.
fn collect(
    grid: &Grid,
    changed: &[bool],
    seen: &mut [bool],
    start: usize,
    members: &mut Vec<usize>,
    zone: &[bool],
) -> Group {
    let (row, column) = (start / grid.columns, start % grid.columns);
    let mut cells = CellBox { left: column, top: row, right: column + 1, bottom: row + 1 };
    let mut in_zone = false;
    members.clear();
    members.push(start);
    seen[start] = true;
    let mut next = 0;
    while let Some(&index) = members.get(next) {
        next += 1;
        in_zone |= zone.get(index).copied().unwrap_or(zone.is_empty());
        let (row, column) = (index / grid.columns, index % grid.columns);
        cells = cells.union(CellBox { left: column, top: row, right: column + 1, bottom: row + 1 });
        for neighbour_row in row.saturating_sub(1)..(row + 2).min(grid.rows) {
            for neighbour in column.saturating_sub(1)..(column + 2).min(grid.columns) {
                let neighbour = neighbour_row * grid.columns + neighbour;
                if changed[neighbour] && !seen[neighbour] {
                    seen[neighbour] = true;
                    members.push(neighbour);
                }
            }
        }
    }
    Group { cells, area: members.len(), in_zone }
}

/// Only the groups that are worth a box beside the largest one.
pub(super) fn without_crumbs(mut groups: Vec<Group>) -> Vec<Group> {
    let largest = groups.iter().map(|group| group.area).max().unwrap_or_default();
    groups.retain(|group| group.area as f64 >= CRUMB_SHARE * largest as f64);
    groups
}

/// Only the groups that have at least `area_min` cells, together with those that are near to them.
pub(super) fn without_small(grid: &Grid, groups: Vec<Group>, area_min: f64) -> Vec<Group> {
    if groups.iter().all(|group| group.area as f64 >= area_min) {
        return groups;
    }
    let clusters = clusters(grid, groups).into_iter();
    clusters
        .filter(|cluster| cluster.area as f64 >= area_min)
        .flat_map(|cluster| cluster.groups)
        .collect()
}

/// Boxes around groups, near ones in one box, the largest first, at most [`REGIONS_MAX`].
pub(super) fn merge(grid: &Grid, groups: Vec<Group>) -> Vec<CellBox> {
    let mut clusters = clusters(grid, groups);
    clusters.sort_by_key(|cluster| {
        (std::cmp::Reverse(cluster.area), cluster.cells.top, cluster.cells.left)
    });
    clusters.truncate(REGIONS_MAX);
    clusters.into_iter().map(|cluster| cluster.cells).collect()
}

/// Groups that are near to each other.
struct Cluster {
    cells: CellBox,
    area: usize,
    groups: Vec<Group>,
}

/// Clusters of the largest [`GROUPS_MAX`] groups, in no order.
fn clusters(grid: &Grid, mut groups: Vec<Group>) -> Vec<Cluster> {
    groups.sort_by_key(|group| (std::cmp::Reverse(group.area), group.cells.top, group.cells.left));
    groups.truncate(GROUPS_MAX);
    let gap = (grid.columns.max(grid.rows) as f64 * GAP_SHARE_MAX).round() as usize;
    let mut clusters: Vec<Cluster> = Vec::new();
    for group in groups {
        let mut cluster = Cluster { cells: group.cells, area: group.area, groups: vec![group] };
        // A box that grew may have come near to others.
        while let Some(index) =
            clusters.iter().position(|other| other.cells.is_near(cluster.cells, gap))
        {
            let other = clusters.swap_remove(index);
            cluster.cells = cluster.cells.union(other.cells);
            cluster.area += other.area;
            cluster.groups.extend(other.groups);
        }
        clusters.push(cluster);
    }
    clusters
}

impl CellBox {
    /// The smallest box around both.
    pub(super) fn union(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// Whether at most `gap` cells lie between the two, in each direction.
    fn is_near(self, other: Self, gap: usize) -> bool {
        let near = |end: usize, start: usize| start <= end + gap;
        near(self.right, other.left)
            && near(other.right, self.left)
            && near(self.bottom, other.top)
            && near(other.bottom, self.top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grid of one cell a pixel, and which cells have changed: those with another sign than a dot.
    fn drawn(rows: &[&str]) -> (Grid, Vec<bool>) {
        let width = u32::try_from(rows[0].len()).unwrap();
        let grid = Grid::of(width, u32::try_from(rows.len()).unwrap());
        let cells = rows.iter().flat_map(|row| row.bytes().map(|sign| sign != b'.')).collect();
        (grid, cells)
    }

    #[test]
    fn cells_that_stand_alone_go_and_holes_are_filled() {
        let (grid, mut cells) =
            drawn(&["#.......", "...###..", "...#.#..", "...###..", ".......#"]);
        smooth(&grid, &mut cells);
        let (_, expected) = drawn(&["........", "...###..", "...###..", "...###..", "........"]);
        assert_eq!(cells, expected);
    }

    #[test]
    fn groups_are_connected_by_sides_and_corners_and_specks_are_wiped_out() {
        let (grid, mut cells) =
            drawn(&["###.....", "###...##", "...#....", "....####", "#...####"]);
        let groups = groups(&grid, &mut cells, &[]);
        let whole = CellBox { left: 0, top: 0, right: 8, bottom: 5 };
        assert_eq!(groups, [Group { cells: whole, area: 15, in_zone: true }]);
        let (_, expected) = drawn(&["###.....", "###.....", "...#....", "....####", "....####"]);
        assert_eq!(cells, expected);
    }

    #[test]
    fn a_group_is_in_a_zone_if_one_of_its_cells_is() {
        let (grid, mut cells) = drawn(&["###..###", "###..###"]);
        let (_, zone) = drawn(&["..#.....", "........"]);
        let in_zone: Vec<_> =
            groups(&grid, &mut cells, &zone).iter().map(|group| group.in_zone).collect();
        assert_eq!(in_zone, [true, false]);
    }

    #[test]
    fn a_box_that_grew_swallows_what_it_came_near_to() {
        let at = |left: usize, area| Group {
            cells: CellBox { left, top: 0, right: left + 10, bottom: 10 },
            area,
            in_zone: true,
        };
        let grid = Grid::of(300, 100);
        assert_eq!(grid.columns, 150);
        // Gaps of two cells are bridged; the one in the middle comes last.
        let regions = merge(&grid, vec![at(0, 90), at(24, 80), at(12, 70), at(60, 50)]);
        let spans: Vec<_> = regions.iter().map(|cells| (cells.left, cells.right)).collect();
        assert_eq!(spans, [(0, 34), (60, 70)]);
    }

    #[test]
    fn crumbs_beside_something_large_get_no_box() {
        let group = |area| Group {
            cells: CellBox { left: 0, top: 0, right: 1, bottom: 1 },
            area,
            in_zone: true,
        };
        let kept =
            |areas: &[usize]| without_crumbs(areas.iter().map(|area| group(*area)).collect()).len();
        assert_eq!((kept(&[400, 20, 19]), kept(&[20, 19]), kept(&[])), (2, 2, 0));
    }
}
