//! [`Layout`], the form of a model's input and output, and [`ModelShape`], how many numbers they have.

use std::fmt;
use std::str::FromStr;

use super::labels::LABELS_MAX;

/// Longest side of a model's input, in pixels.
pub const INPUT_SIDE_MAX: u32 = 2_048;

/// Sides of the cells that anchors belong to, in pixels of the input.
pub(super) const STRIDES: [u32; 3] = [8, 16, 32];

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

/// A model's input and output, checked against its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// What its numbers mean.
    pub layout: Layout,
    /// Width of its input, in pixels.
    pub width: u32,
    /// Height of its input, in pixels.
    pub height: u32,
    /// Places at which it looks for something.
    pub anchors: usize,
    /// Classes it distinguishes.
    pub classes: usize,
}

impl ModelShape {
    /// Understands the shapes of a model's only input and only output. A size that is not fixed is below 0.
    ///
    /// # Errors
    ///
    /// What does not fit, and what was expected.
    pub fn of(layout: Layout, input: &[i64], output: &[i64]) -> Result<Self, String> {
        let (width, height) = input_size(input)?;
        let anchors = anchors_of(width, height);
        let parts = match (layout, output) {
            (Layout::Yolox, [batch, found, numbers]) if is_one(*batch) => (*found, *numbers, 5),
            (Layout::Yolov8, [batch, numbers, found]) if is_one(*batch) => (*found, *numbers, 4),
            _ => return Err(unlike(layout, input, output, anchors)),
        };
        let (found, numbers, coordinates) = parts;
        let classes = usize::try_from(numbers.saturating_sub(coordinates)).unwrap_or_default();
        if found != anchors as i64 || classes == 0 {
            return Err(unlike(layout, input, output, anchors));
        }
        if classes > LABELS_MAX {
            return Err(format!(
                "it distinguishes {classes} classes, at most {LABELS_MAX} are taken"
            ));
        }
        Ok(Self { layout, width, height, anchors, classes })
    }

    /// The layout that these shapes fit.
    #[must_use]
    pub fn guess(input: &[i64], output: &[i64]) -> Option<Layout> {
        Layout::ALL.into_iter().find(|layout| Self::of(*layout, input, output).is_ok())
    }

    /// How many numbers its output has.
    #[must_use]
    pub const fn output_numbers(&self) -> usize {
        let coordinates = match self.layout {
            Layout::Yolox => 5,
            Layout::Yolov8 => 4,
        };
        self.anchors * (coordinates + self.classes)
    }

    /// How many bytes its input has as a picture, three a pixel.
    #[must_use]
    pub const fn picture_bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }
}

/// A batch of one, or of any size.
const fn is_one(batch: i64) -> bool {
    batch == 1 || batch < 0
}

fn input_size(input: &[i64]) -> Result<(u32, u32), String> {
    let shown = shown(input);
    let expected = "expected [1, 3, HEIGHT, WIDTH], such as [1, 3, 416, 416]";
    let [batch, 3, height, width] = input else {
        return Err(format!("its input is {shown}; {expected}"));
    };
    if !is_one(*batch) {
        return Err(format!("its input is {shown}, a batch of {batch}; {expected}"));
    }
    if *height < 0 || *width < 0 {
        return Err(format!(
            "its input is {shown}, of no fixed size; export it with dynamic=False and a fixed size, such as imgsz=640"
        ));
    }
    let side = |side: i64| {
        let side = u32::try_from(side).ok()?;
        let fits = (STRIDES[2]..=INPUT_SIDE_MAX).contains(&side) && side.is_multiple_of(STRIDES[2]);
        fits.then_some(side)
    };
    side(*width).zip(side(*height)).ok_or_else(|| {
        format!("its input is {shown}; sides are multiples of 32, up to {INPUT_SIDE_MAX}")
    })
}

/// Cells of all three grids.
fn anchors_of(width: u32, height: u32) -> usize {
    STRIDES.into_iter().map(|stride| (width / stride) as usize * (height / stride) as usize).sum()
}

/// Whether an output is a list of boxes that were chosen already: corners, confidence and class of each.
const fn is_chosen(output: &[i64]) -> bool {
    matches!(output, [batch, _, 6] if is_one(*batch))
}

/// What to export a model with that fits no layout.
#[must_use]
pub fn advice(output: &[i64]) -> &'static str {
    if is_chosen(output) {
        "; it chooses among its boxes itself (non-maximum suppression): export it with nms=False"
    } else if output.iter().any(|size| *size < 0) {
        "; its output has no fixed size: export it with dynamic=False and a fixed size, such as imgsz=640"
    } else {
        "; export a detection model of the YOLOX or YOLOv8 family with a fixed size, nms=False and dynamic=False"
    }
}

/// Says what was expected, and which layout it may be instead.
fn unlike(layout: Layout, input: &[i64], output: &[i64], anchors: usize) -> String {
    let expected = match layout {
        Layout::Yolox => format!("[1, {anchors}, 5 + CLASSES]"),
        Layout::Yolov8 => format!("[1, 4 + CLASSES, {anchors}]"),
    };
    let hint = match Layout::ALL
        .into_iter()
        .find(|other| *other != layout && fits(*other, output, anchors))
    {
        Some(other) => format!("; it looks like layout \"{other}\""),
        None => advice(output).to_owned(),
    };
    let (input, output) = (shown(input), shown(output));
    format!(
        "its output is {output}; layout \"{layout}\" has {expected} for an input of {input}{hint}"
    )
}

/// Whether an output has as many anchors, in the place where that layout has them.
fn fits(layout: Layout, output: &[i64], anchors: usize) -> bool {
    let anchors = anchors as i64;
    match (layout, output) {
        (Layout::Yolox, [_, found, numbers]) => *found == anchors && *numbers > 5,
        (Layout::Yolov8, [_, numbers, found]) => *found == anchors && *numbers > 4,
        _ => false,
    }
}

/// A shape as people write it; what is not fixed is a question mark.
#[must_use]
pub fn shown(shape: &[i64]) -> String {
    let sizes = shape.iter().map(|size| match size {
        size if *size < 0 => "?".to_owned(),
        size => size.to_string(),
    });
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_real_models_are_understood() {
        let yolox = ModelShape::of(Layout::Yolox, &[1, 3, 416, 416], &[1, 3549, 85]).unwrap();
        assert_eq!((yolox.anchors, yolox.classes, yolox.output_numbers()), (3549, 80, 3549 * 85));
        let yolov8 = ModelShape::of(Layout::Yolov8, &[-1, 3, 640, 640], &[-1, 84, 8400]).unwrap();
        assert_eq!(
            (yolov8.anchors, yolov8.classes, yolov8.output_numbers()),
            (8400, 80, 8400 * 84)
        );
        let wide = ModelShape::of(Layout::Yolov8, &[1, 3, 384, 640], &[1, 5, 5040]).unwrap();
        assert_eq!((wide.width, wide.height, wide.classes), (640, 384, 1));
        assert_eq!(ModelShape::guess(&[1, 3, 416, 416], &[1, 3549, 85]), Some(Layout::Yolox));
        assert_eq!(ModelShape::guess(&[1, 3, 640, 640], &[1, 84, 8400]), Some(Layout::Yolov8));
        assert_eq!(ModelShape::guess(&[1, 3, 224, 224], &[1, 1000]), None);
    }

    #[test]
    fn other_shapes_are_told_with_what_was_expected() {
        let check = |layout, input: &[i64], output: &[i64], expected: &str| {
            let problem = ModelShape::of(layout, input, output).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        };
        let (yolox, yolov8) = (Layout::Yolox, Layout::Yolov8);
        check(yolox, &[1, 3, 640, 640], &[1, 84, 8400], "it looks like layout \"yolov8\"");
        check(yolov8, &[1, 3, 416, 416], &[1, 3549, 85], "it looks like layout \"yolox\"");
        check(yolov8, &[1, 3, 416, 416], &[1, 3549, 85], "[1, 4 + CLASSES, 3549]");
        check(yolox, &[1, 3, 224, 224], &[1, 1000], "its output is [1, 1000]");
        check(yolox, &[1, 3, 416, 416], &[1, 3549, 5], "[1, 3549, 5 + CLASSES]");
        check(yolox, &[1, 224, 224, 3], &[1, 1000], "expected [1, 3, HEIGHT, WIDTH]");
        check(
            yolox,
            &[1, 3, -1, -1],
            &[1, -1, 85],
            "[1, 3, ?, ?], of no fixed size; export it with dynamic=False",
        );
        check(yolov8, &[1, 3, -1, -1], &[1, 84, -1], "dynamic=False and a fixed size");
        check(yolov8, &[1, 3, 640, 640], &[1, 84, -1], "dynamic=False and a fixed size");
        check(yolov8, &[1, 3, 640, 640], &[1, 300, 6], "export it with nms=False");
        check(yolov8, &[1, 3, 640, 640], &[-1, -1, 6], "export it with nms=False");
        check(yolov8, &[1, 3, 640, 640], &[1, 1000], "export a detection model");
        check(yolox, &[4, 3, 416, 416], &[4, 3549, 85], "a batch of 4");
        check(yolox, &[1, 3, 100, 100], &[1, 3, 85], "multiples of 32");
        check(yolox, &[1, 3, 0, 0], &[1, 0, 85], "multiples of 32");
        check(yolox, &[1, 3, 1 << 40, 32], &[1, 0, 85], "multiples of 32");
        check(yolov8, &[1, 3, 32, 32], &[1, 5004, 21], "at most 2048");
        check(yolox, &[], &[], "its input is []");
        check(yolox, &[1, 3, 32, 32], &[1, 21, i64::MIN], "its output is [1, 21, ?]");
    }
}
