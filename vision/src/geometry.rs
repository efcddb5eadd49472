//! [`Polygon`], a shape in fractions of the picture, for masks and zones.

/// The most corners a polygon may have.
pub const POLYGON_CORNERS_MAX: usize = 64;

/// A closed shape in fractions of the picture: (0, 0) is its upper left corner, (1, 1) its lower right one.
///
/// Sides may cross; what is inside follows from the even-odd rule.
///
/// ```
/// use lenslog_vision::geometry::Polygon;
///
/// let left_half = Polygon::new(vec![(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)])?;
/// assert!(left_half.contains(0.25, 0.9) && !left_half.contains(0.75, 0.9));
/// # Ok::<(), lenslog_vision::geometry::PolygonError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    corners: Vec<(f64, f64)>,
}

/// Why a list of corners is no [`Polygon`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolygonError {
    /// Too few or too many corners.
    #[error("a polygon has 3 to {POLYGON_CORNERS_MAX} corners, this one has {found}")]
    Corners {
        /// How many it has.
        found: usize,
    },
    /// A corner outside the picture.
    #[error("corner {index} is at ({x}, {y}); corners are fractions of the picture, from 0 to 1")]
    Outside {
        /// Which corner, counted from 1.
        index: usize,
        /// Its distance from the left edge.
        x: f64,
        /// Its distance from the upper edge.
        y: f64,
    },
}

impl Polygon {
    /// The shape with these corners, as (x, y) pairs, in order around it.
    ///
    /// # Errors
    ///
    /// [`PolygonError`], where there are fewer than 3 or more than [`POLYGON_CORNERS_MAX`] corners, or one of
    /// them does not lie between 0 and 1.
    pub fn new(corners: Vec<(f64, f64)>) -> Result<Self, PolygonError> {
        if !(3..=POLYGON_CORNERS_MAX).contains(&corners.len()) {
            return Err(PolygonError::Corners { found: corners.len() });
        }
        let inside = |value: f64| (0.0..=1.0).contains(&value);
        match corners.iter().position(|&(x, y)| !inside(x) || !inside(y)) {
            None => Ok(Self { corners }),
            Some(index) => {
                let (x, y) = corners[index];
                Err(PolygonError::Outside { index: index + 1, x, y })
            }
        }
    }

    /// Its corners.
    #[must_use]
    pub fn corners(&self) -> &[(f64, f64)] {
        &self.corners
    }

    /// Whether the point lies inside.
    #[must_use]
    pub fn contains(&self, x: f64, y: f64) -> bool {
        let next = self.corners.iter().cycle().skip(1);
        let crossings = self.corners.iter().zip(next).filter(|&(&(x1, y1), &(x2, y2))| {
            (y1 > y) != (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
        });
        crossings.count() % 2 == 1
    }
}

/// For each of `columns` by `rows` cells, row by row, whether its middle lies in one of `polygons`.
pub(crate) fn rasterize(polygons: &[Polygon], columns: usize, rows: usize) -> Vec<bool> {
    let middle = |index: usize, count: usize| (index as f64 + 0.5) / count as f64;
    let mut cells = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        let y = middle(row, rows);
        cells.extend((0..columns).map(|column| {
            let x = middle(column, columns);
            polygons.iter().any(|polygon| polygon.contains(x, y))
        }));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concave_shape_contains_what_lies_between_its_sides() {
        let corners = vec![(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.2), (0.0, 1.0)];
        let shape = Polygon::new(corners).unwrap();
        assert!(shape.contains(0.1, 0.5) && shape.contains(0.9, 0.5) && shape.contains(0.5, 0.1));
        assert!(!shape.contains(0.5, 0.5) && !shape.contains(2.0, 0.5));
        assert!(!shape.contains(f64::NAN, 0.5) && !shape.contains(0.5, f64::NAN));
    }

    #[test]
    fn corners_outside_the_picture_are_refused_with_their_place() {
        let error = Polygon::new(vec![(0.0, 0.0), (1.0, 0.0), (320.0, 0.5)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "corner 3 is at (320, 0.5); corners are fractions of the picture, from 0 to 1"
        );
        assert!(Polygon::new(vec![(0.0, 0.0), (f64::NAN, 0.0), (0.0, 1.0)]).is_err());
        assert_eq!(
            Polygon::new(vec![(0.0, 0.0), (1.0, 1.0)]),
            Err(PolygonError::Corners { found: 2 })
        );
        assert!(Polygon::new(vec![(0.5, 0.5); POLYGON_CORNERS_MAX + 1]).is_err());
    }

    #[test]
    fn cells_are_told_by_their_middle() {
        let lower = Polygon::new(vec![(0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)]).unwrap();
        assert_eq!(rasterize(&[lower], 1, 4), [false, false, true, true]);
        assert_eq!(rasterize(&[], 2, 1), [false, false]);
    }
}
