//! Recognises a sudden change of light: much of the picture is brighter or darker, but its structure is the
//! same.

use super::grid::{GREY_LEVEL, Grid};

/// Where less of the picture has changed, in per cent, light is not asked for.
const CHANGED_PERCENT_MIN: f64 = 25.0;

/// Where more of the picture has changed, in per cent, what it shows is another scene: lights out, the night
/// filter, a turned camera.
const SCENE_PERCENT_MIN: f64 = 80.0;

/// Tiles the picture is cut into, each way. Light falls differently on different parts of a scene.
const TILES: usize = 8;

/// A tile has structure if its background deviates by at least this many grey levels.
const STRUCTURE_LEVELS_MIN: f64 = 3.0;

/// A tile shows the same structure if it correlates with its background at least so.
const CORRELATION_MIN: f64 = 0.75;

/// The share of changed tiles with structure that have to show the same structure.
const SAME_SHARE_MIN: f64 = 0.7;

/// Changed tiles with structure that are needed to tell anything.
const TILES_MIN: usize = 4;

/// What a large change turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Something moves.
    Objects,
    /// The same scene in another light.
    Light(Light),
    /// Another scene.
    Scene,
}

/// How the new light changes what the background shows, tile by tile.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Light {
    tiles: Vec<Line>,
}

/// `now = gain * before + offset`, in grey levels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    gain: f64,
    offset: f64,
}

/// Sums over the cells of a tile.
#[derive(Debug, Clone, Copy, Default)]
struct Tile {
    cells: f64,
    changed: f64,
    before: f64,
    now: f64,
    before_squared: f64,
    now_squared: f64,
    product: f64,
}

/// A picture beside its background, cell by cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Comparison<'a> {
    /// The grid of both.
    pub(super) grid: &'a Grid,
    /// Brightness now.
    pub(super) now: &'a [u16],
    /// Where they differ.
    pub(super) changed: &'a [bool],
    /// Cells to leave out: masked ones, and where something moved before.
    pub(super) left_out: &'a [bool],
}

/// Tells what a change of `changed_percent` of the picture is. `before` is the background.
pub(super) fn judge(
    comparison: Comparison<'_>,
    before: impl Iterator<Item = u16>,
    changed_percent: f64,
) -> Verdict {
    if changed_percent < CHANGED_PERCENT_MIN {
        return Verdict::Objects;
    }
    let tiles = sum_tiles(comparison, before);
    let structured = || tiles.iter().filter(|tile| tile.is_changed() && tile.has_structure());
    let (all, same) = (structured().count(), structured().filter(|tile| tile.is_same()).count());
    if all >= TILES_MIN && same as f64 >= SAME_SHARE_MIN * all as f64 {
        Verdict::Light(Light::of(&tiles))
    } else if changed_percent >= SCENE_PERCENT_MIN {
        Verdict::Scene
    } else {
        Verdict::Objects
    }
}

fn sum_tiles(
    comparison: Comparison<'_>,
    before: impl Iterator<Item = u16>,
) -> [Tile; TILES * TILES] {
    let Comparison { grid, now, changed, left_out } = comparison;
    let mut tiles = [Tile::default(); TILES * TILES];
    let cells = before.zip(now).zip(changed.iter().zip(left_out)).enumerate();
    for (index, ((before, now), (changed, left_out))) in cells {
        if !left_out {
            tiles[tile_of(grid, index)].add(before, *now, *changed);
        }
    }
    tiles
}

/// The tile that a cell lies in.
fn tile_of(grid: &Grid, index: usize) -> usize {
    let (row, column) = (index / grid.columns, index % grid.columns);
    (row * TILES / grid.rows).min(TILES - 1) * TILES + column * TILES / grid.columns
}

impl Light {
    /// Where a tile shows another structure, or none, the light is that of all the others together.
    fn of(tiles: &[Tile; TILES * TILES]) -> Self {
        let tells = |tile: &&Tile| tile.has_structure() && tile.is_same();
        let all = tiles.iter().filter(tells).fold(Tile::default(), |sum, tile| sum.plus(tile));
        let line = |tile: &Tile| {
            if tells(&tile) { tile.line() } else { all.line() }
        };
        Self { tiles: tiles.iter().map(line).collect() }
    }

    /// What a cell's background shows in this light, where it showed `before`.
    pub(super) fn predict(&self, grid: &Grid, index: usize, before: u16) -> u16 {
        let Line { gain, offset } = self.tiles[tile_of(grid, index)];
        let level = f64::from(GREY_LEVEL);
        (gain * f64::from(before) + offset * level).clamp(0.0, 255.0 * level) as u16
    }
}

impl Tile {
    fn add(&mut self, before: u16, now: u16, changed: bool) {
        let level = f64::from(GREY_LEVEL);
        let (before, now) = (f64::from(before) / level, f64::from(now) / level);
        self.cells += 1.0;
        self.changed += f64::from(u8::from(changed));
        self.before += before;
        self.now += now;
        self.before_squared += before * before;
        self.now_squared += now * now;
        self.product += before * now;
    }

    fn is_changed(&self) -> bool {
        self.changed * 2.0 > self.cells
    }

    /// Variance of the background, in grey levels squared.
    fn variance_before(&self) -> f64 {
        (self.before_squared - self.before * self.before / self.cells) / self.cells
    }

    fn has_structure(&self) -> bool {
        self.variance_before() >= STRUCTURE_LEVELS_MIN * STRUCTURE_LEVELS_MIN
    }

    fn covariance(&self) -> f64 {
        (self.product - self.before * self.now / self.cells) / self.cells
    }

    fn is_same(&self) -> bool {
        let variance_now = (self.now_squared - self.now * self.now / self.cells) / self.cells;
        let covariance = self.covariance();
        // Compared without a root; false where the tile is flat now.
        covariance > 0.0
            && covariance * covariance
                >= CORRELATION_MIN * CORRELATION_MIN * self.variance_before() * variance_now
    }

    /// The line through brightness before and now that fits best.
    fn line(&self) -> Line {
        let gain = self.covariance() / self.variance_before();
        Line { gain, offset: (self.now - gain * self.before) / self.cells }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            cells: self.cells + other.cells,
            changed: self.changed + other.changed,
            before: self.before + other.before,
            now: self.now + other.now,
            before_squared: self.before_squared + other.before_squared,
            now_squared: self.now_squared + other.now_squared,
            product: self.product + other.product,
        }
    }
}
