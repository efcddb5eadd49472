//! [`PictureSize`], width and height of a picture as people write them: `640x480`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PICTURE_PIXELS_MAX;

/// Width and height of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PictureSize {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Default for PictureSize {
    /// 640x480, which every camera has and a detector needs no more than.
    fn default() -> Self {
        Self { width: 640, height: 480 }
    }
}

impl FromStr for PictureSize {
    type Err = String;

    /// Parses `WIDTHxHEIGHT`.
    ///
    /// # Errors
    ///
    /// What was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('x').and_then(|(width, height)| {
            Some(Self { width: width.parse().ok()?, height: height.parse().ok()? })
        });
        parsed
            .filter(|size| {
                let pixels = u64::from(size.width) * u64::from(size.height);
                (1..=PICTURE_PIXELS_MAX).contains(&pixels)
            })
            .ok_or_else(|| {
                format!(
                    "'{text}' is no size of a picture; expected WIDTHxHEIGHT such as 640x480, \
                     at most {PICTURE_PIXELS_MAX} pixels"
                )
            })
    }
}

impl TryFrom<String> for PictureSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PictureSize> for String {
    fn from(size: PictureSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for PictureSize {
    /// The form that parses.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_as_they_parse_and_nonsense_is_refused() {
        for text in ["640x480", "1x1", "7680x4320"] {
            assert_eq!(text.parse::<PictureSize>().unwrap().to_string(), text);
        }
        for text in ["", "640", "640x", "x480", "640*480", "0x480", "-1x2", "99999x99999"] {
            let error = text.parse::<PictureSize>().unwrap_err();
            assert!(error.contains("WIDTHxHEIGHT"), "{text}: {error}");
        }
    }
}
