//! [`Candidate`], what a model may have seen, and [`keep_best`], which keeps the best of overlapping ones.

use lenslog_events::BoundingBox;

use crate::policy::OBJECTS_MAX;

/// Of two boxes of a class the less certain one goes where they overlap by more than this share of both together.
pub const NMS_OVERLAP_MAX: f64 = 0.45;

/// Most boxes of a picture that are compared with each other; the most certain of more.
const COMPARED_MAX: usize = 3_000;

/// Something that a model may have seen.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Candidate {
    /// Number of its class, from 0.
    pub class: usize,
    /// How certain the model is, 0 to 1.
    pub confidence: f64,
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Horizontal extent.
    pub width: f64,
    /// Vertical extent.
    pub height: f64,
}

impl Candidate {
    /// Where it is.
    #[must_use]
    pub const fn bbox(&self) -> BoundingBox {
        BoundingBox { x: self.x, y: self.y, width: self.width, height: self.height }
    }

    /// Whether all its numbers are numbers, and it has an extent.
    pub(super) fn is_sound(&self) -> bool {
        let numbers = [self.confidence, self.x, self.y, self.width, self.height];
        numbers.iter().all(|number| number.is_finite()) && self.width > 0.0 && self.height > 0.0
    }

    /// The area of both that they share, as a part of what they cover together.
    fn overlap(&self, other: &Self) -> f64 {
        let span = |from: f64, extent: f64, other_from: f64, other_extent: f64| {
            ((from + extent).min(other_from + other_extent) - from.max(other_from)).max(0.0)
        };
        let shared = span(self.x, self.width, other.x, other.width)
            * span(self.y, self.height, other.y, other.height);
        let both = self.width * self.height + other.width * other.height - shared;
        if both > 0.0 { shared / both } else { 0.0 }
    }
}

/// The most certain of candidates that overlap, class by class (non-maximum suppression), the most certain first, at
/// most [`OBJECTS_MAX`]. The same candidates in the same order give the same result.
#[must_use]
pub fn keep_best(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.retain(Candidate::is_sound);
    // Stable: of equally certain ones the first stays.
    candidates.sort_by(|one, other| other.confidence.total_cmp(&one.confidence));
    candidates.truncate(COMPARED_MAX);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let hides = |other: &Candidate| {
            other.class == candidate.class && other.overlap(&candidate) > NMS_OVERLAP_MAX
        };
        if kept.len() < OBJECTS_MAX && !kept.iter().any(hides) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(class: usize, confidence: f64, x: f64) -> Candidate {
        Candidate { class, confidence, x, y: 0.0, width: 10.0, height: 10.0 }
    }

    #[test]
    fn the_most_certain_of_a_class_stays_and_other_classes_are_left_alone() {
        let kept =
            keep_best(vec![at(0, 0.6, 1.0), at(0, 0.9, 0.0), at(1, 0.5, 0.0), at(0, 0.3, 40.0)]);
        assert_eq!(
            kept,
            [at(0, 0.9, 0.0), at(0, 0.6, 1.0), at(1, 0.5, 0.0), at(0, 0.3, 40.0)]
                .iter()
                .copied()
                .filter(|c| c.x != 1.0)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn boxes_that_overlap_by_less_than_the_limit_both_stay() {
        // Two of 10 x 10 that are 4 apart share 60 of 140.
        assert_eq!(keep_best(vec![at(0, 0.9, 0.0), at(0, 0.8, 4.0)]).len(), 2);
        assert_eq!(keep_best(vec![at(0, 0.9, 0.0), at(0, 0.8, 3.0)]).len(), 1);
    }

    #[test]
    fn what_is_no_box_goes() {
        let flat = Candidate { width: 0.0, ..at(0, 0.9, 0.0) };
        let inverted = Candidate { height: -3.0, ..at(0, 0.9, 0.0) };
        let wild = Candidate { x: f64::NAN, ..at(0, 0.9, 0.0) };
        let endless = Candidate { width: f64::INFINITY, ..at(0, 0.9, 0.0) };
        let unsure = Candidate { confidence: f64::NAN, ..at(0, 0.9, 0.0) };
        assert_eq!(keep_best(vec![flat, inverted, wild, endless, unsure]), []);
    }

    #[test]
    fn however_many_there_are_only_so_many_stay() {
        let many = (0..20_000).map(|index| at(index % 7, 0.5, index as f64 * 20.0)).collect();
        assert_eq!(keep_best(many).len(), OBJECTS_MAX);
    }
}
