//! What a detector saw: [`DetectedObject`] and its [`BoundingBox`].

/// A rectangle in the picture, in pixels from the upper left corner unless its producer says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BoundingBox {
    /// Distance of the left edge from the left of the picture.
    pub x: f64,
    /// Distance of the upper edge from the top of the picture.
    pub y: f64,
    /// Horizontal extent.
    pub width: f64,
    /// Vertical extent.
    pub height: f64,
}

/// One object a detector recognised.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectedObject {
    /// What it is, such as `person`; `motion` where no detector ran.
    pub label: String,
    /// How sure the detector is, 0 to 1.
    pub confidence: f64,
    /// Where it is.
    pub bbox: BoundingBox,
}
