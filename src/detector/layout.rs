//! [`Layout`], the form of a model's input and output.

use std::fmt;
use std::str::FromStr;

/// What a family of models expects and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `yolox`: pixels as BGR, 0 to 255; answers `[1, anchors, 5 + classes]`, relative to cells of 8, 16 and 32 pixels.
    Yolox,
    /// `yolov8`: pixels as RGB, 0 to 1; answers `[1, 4 + classes, anchors]`, in pixels.
    Yolov8,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 2] = [Self::Yolox, Self::Yolov8];

    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yolox => "yolox",
            Self::Yolov8 => "yolov8",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = String;

    /// Reads a name.
    ///
    /// # Errors
    ///
    /// What was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|layout| layout.name() == text);
        known.ok_or_else(|| format!("'{text}' is no layout; expected \"yolox\" or \"yolov8\""))
    }
}
