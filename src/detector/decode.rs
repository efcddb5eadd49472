//! [`decode`]: from a model's numbers to candidates, in pixels of its input.

use super::boxes::Candidate;
use super::layout::Layout;
use super::model::{ModelShape, STRIDES};

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
