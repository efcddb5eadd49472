//! Object detection without the model: from a picture to a model's input, and from its output to objects.
//!
//! ```text
//! picture → Letterbox::draw → canvas ─→ model (not here) ─→ numbers → decode → keep_best → Letterbox::in_picture
//! ```

mod decode;
mod labels;
mod letterbox;
mod shape;
#[cfg(test)]
mod tests;

pub use decode::{Candidate, NMS_OVERLAP_MAX, OBJECTS_MAX, decode, keep_best};
pub use labels::{LABELS_MAX, Labels};
pub use letterbox::{Letterbox, PADDING_LEVEL};
pub use shape::{INPUT_SIDE_MAX, Layout, ModelShape, advice, shown};
