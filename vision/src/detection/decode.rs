//! From a model's numbers to objects: [`decode`] gives every [`Candidate`], [`keep_best`] the best of overlapping ones.

use lenslog_events::BoundingBox;

use super::shape::{Layout, ModelShape, STRIDES};

/// Most objects of a picture; the most certain of more.
pub const OBJECTS_MAX: usize = 128;

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
    fn is_sound(&self) -> bool {
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

/// What the numbers of a model's output mean: everything it is at least `confidence_min` sure of, of each anchor the
/// best class, in pixels of the model's input.
///
/// `output` is as long as [`ModelShape::output_numbers`]; what is missing of it is nothing seen. Numbers that are none
/// are passed over.
#[must_use]
pub fn decode(shape: &ModelShape, output: &[f32], confidence_min: f64) -> Vec<Candidate> {
    match shape.layout {
        Layout::Yolox => yolox(shape, output, confidence_min),
        Layout::Yolov8 => yolov8(shape, output, confidence_min),
    }
}

/// Rows of x, y, width, height, objectness and classes, an anchor a cell of each grid, row by row.
fn yolox(shape: &ModelShape, output: &[f32], confidence_min: f64) -> Vec<Candidate> {
    let cells = STRIDES.into_iter().flat_map(|stride| {
        let (columns, rows) = (shape.width / stride, shape.height / stride);
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (column, row, stride)))
    });
    let candidate = |((column, row, stride), numbers): ((u32, u32, u32), &[f32])| {
        let [x, y, width, height, objectness, classes @ ..] = numbers else { return None };
        let (class, score) = best_class(classes.iter().copied())?;
        let confidence = f64::from(*objectness) * f64::from(score);
        // Not a number is not certain enough either.
        if confidence.is_nan() || confidence < confidence_min {
            return None;
        }
        let stride = f64::from(stride);
        let (width, height) = (f64::from(*width).exp() * stride, f64::from(*height).exp() * stride);
        let x = (f64::from(*x) + f64::from(column)) * stride;
        let y = (f64::from(*y) + f64::from(row)) * stride;
        around(class, confidence, (x, y), (width, height))
    };
    cells.zip(output.chunks_exact(5 + shape.classes)).filter_map(candidate).collect()
}

/// Columns of x, y, width, height and classes: all x first, then all y.
fn yolov8(shape: &ModelShape, output: &[f32], confidence_min: f64) -> Vec<Candidate> {
    let rows: Vec<&[f32]> = output.chunks_exact(shape.anchors.max(1)).collect();
    let [xs, ys, widths, heights, classes @ ..] = rows.as_slice() else { return Vec::new() };
    let candidate = |anchor: usize| {
        let scores = classes.iter().take(shape.classes).map(|row| row[anchor]);
        let (class, score) = best_class(scores)?;
        let confidence = f64::from(score);
        if confidence < confidence_min {
            return None;
        }
        let number = |row: &[f32]| f64::from(row[anchor]);
        let center = (number(xs), number(ys));
        around(class, confidence, center, (number(widths), number(heights)))
    };
    (0..shape.anchors).filter_map(candidate).collect()
}

/// The class with the highest score, the first of equal ones; `None` where no score is a number.
fn best_class(scores: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
    scores.enumerate().fold(None, |best, (class, score)| match best {
        _ if score.is_nan() => best,
        Some((_, highest)) if score <= highest => best,
        _ => Some((class, score)),
    })
}

fn around(
    class: usize,
    confidence: f64,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
) -> Option<Candidate> {
    let candidate = Candidate {
        class,
        confidence: confidence.min(1.0),
        x: x - width / 2.0,
        y: y - height / 2.0,
        width,
        height,
    };
    candidate.is_sound().then_some(candidate)
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
