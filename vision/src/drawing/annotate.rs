//! [`annotate`], which draws what was seen, by which camera and when, onto a copy of a picture.

use image::{Rgb, RgbImage};
use lenslog_events::DetectedObject;
use lenslog_journal::Timestamp;

use super::canvas::{Area, Canvas};
use super::text;

/// Most objects that are drawn; the first ones of more.
pub const OBJECTS_MAX: usize = 64;

/// Most characters of the caption, and of each label; what is longer is cut off.
pub const CAPTION_CHARS_MAX: usize = 120;

/// The shorter side of the picture is so many times the scale of its text: 8 pixels a letter in 320 x 240,
/// 32 in full HD, 64 in 4K.
const SIDE_PER_SCALE: u32 = 270;

const BLACK: Rgb<u8> = Rgb([0, 0, 0]);
const WHITE: Rgb<u8> = Rgb([255, 255, 255]);

/// Colours of boxes, by label; black text is readable on each.
const COLORS: [Rgb<u8>; 8] = [
    Rgb([255, 220, 0]),
    Rgb([0, 230, 118]),
    Rgb([64, 196, 255]),
    Rgb([255, 138, 101]),
    Rgb([234, 128, 252]),
    Rgb([174, 234, 0]),
    Rgb([255, 171, 0]),
    Rgb([128, 222, 234]),
];

/// What is drawn onto a picture.
#[derive(Debug, Clone, Copy)]
pub struct Annotation<'a> {
    /// What people call the camera.
    pub camera_name: &'a str,
    /// When the picture was taken; its local time is drawn.
    pub time: Timestamp,
    /// What was seen, in pixels of the picture. Boxes may have any numbers; what of them lies outside the
    /// picture is not drawn.
    pub objects: &'a [DetectedObject],
}

/// A copy of `picture` with a box, label and confidence for each object, and the local time and camera's name
/// in its lower left corner.
///
/// Lines and letters grow with the picture. Characters that the font has not, such as Chinese ones, become
/// question marks.
///
/// ```
/// use image::RgbImage;
/// use lenslog_vision::drawing::{Annotation, annotate};
/// use lenslog_events::{BoundingBox, DetectedObject};
/// use lenslog_journal::Timestamp;
///
/// let person = DetectedObject {
///     label: "person".into(),
///     confidence: 0.92,
///     bbox: BoundingBox { x: 100.0, y: 80.0, width: 60.0, height: 140.0 },
/// };
/// let annotation = Annotation {
///     camera_name: "front door",
///     time: Timestamp::default(),
///     objects: &[person],
/// };
/// let annotated = annotate(&RgbImage::new(320, 240), &annotation);
/// assert_eq!(annotated.dimensions(), (320, 240));
/// ```
#[must_use]
pub fn annotate(picture: &RgbImage, annotation: &Annotation<'_>) -> RgbImage {
    let mut annotated = picture.clone();
    let scale = scale_of(picture.dimensions());
    let mut canvas = Canvas::new(&mut annotated);
    // The first objects matter most, so they are drawn last.
    for object in annotation.objects.iter().take(OBJECTS_MAX).rev() {
        if let Some(area) = Area::of(&object.bbox, picture.dimensions()) {
            draw_object(&mut canvas, object, area, scale);
        }
    }
    draw_caption(&mut canvas, annotation, scale);
    annotated
}

fn scale_of((width, height): (u32, u32)) -> i64 {
    i64::from(((width.min(height) + SIDE_PER_SCALE / 2) / SIDE_PER_SCALE).max(1))
}

/// Draws the box of an object, and its label above it, or inside where there is no room above.
fn draw_object(canvas: &mut Canvas<'_>, object: &DetectedObject, area: Area, scale: i64) {
    let color = color_of(&object.label);
    canvas.frame(area, scale + 1, color);
    let (picture_width, _) = canvas.size();
    let label = format!("{} {}%", object.label, percent(object.confidence));
    let chars = fitting(&label, picture_width - 2 * scale, scale);
    let (width, height) = (text::width(chars, scale) + 2 * scale, text::height(scale) + 2 * scale);
    let left = area.left.min(picture_width - width).max(0);
    let top = if area.top >= height { area.top - height } else { area.top };
    canvas.fill(Area::at(left, top, width, height), color);
    let corner = (left + scale, top + scale);
    text::draw(canvas, label.chars().take(chars), corner, scale, BLACK);
}

/// Draws time and camera. The time comes first: where a name is too long, the name is cut off.
fn draw_caption(canvas: &mut Canvas<'_>, annotation: &Annotation<'_>, scale: i64) {
    let (picture_width, picture_height) = canvas.size();
    let time = annotation.time.to_local().format("%Y-%m-%d %H:%M:%S");
    let caption = format!("{time} {}", annotation.camera_name);
    let chars = fitting(caption.trim_end(), picture_width - 2 * scale, scale);
    let (width, height) = (text::width(chars, scale) + 2 * scale, text::height(scale) + 2 * scale);
    let top = picture_height - height;
    canvas.fill(Area::at(0, top, width, height), BLACK);
    text::draw(canvas, caption.chars().take(chars), (scale, top + scale), scale, WHITE);
}

/// How many characters of `text` are drawn into so many pixels.
fn fitting(text: &str, pixels: i64, scale: i64) -> usize {
    let room = text::chars_in(pixels, scale).min(CAPTION_CHARS_MAX);
    text.chars().take(room).count()
}

/// Whole per cent of a confidence, whatever its number.
fn percent(confidence: f64) -> u8 {
    (confidence.clamp(0.0, 1.0) * 100.0).round() as u8
}

fn color_of(label: &str) -> Rgb<u8> {
    let sum = label.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
    COLORS[sum % COLORS.len()]
}

#[cfg(test)]
mod tests {
    use lenslog_events::BoundingBox;
    use proptest::prelude::*;

    use super::*;

    fn object(
        label: &str,
        confidence: f64,
        (x, y, width, height): (f64, f64, f64, f64),
    ) -> DetectedObject {
        DetectedObject {
            label: label.into(),
            confidence,
            bbox: BoundingBox { x, y, width, height },
        }
    }

    fn annotated(size: (u32, u32), camera_name: &str, objects: &[DetectedObject]) -> RgbImage {
        let time = Timestamp { utc_micros: 0, offset_minutes: 60 };
        let grey = RgbImage::from_pixel(size.0, size.1, Rgb([90; 3]));
        annotate(&grey, &Annotation { camera_name, time, objects })
    }

    fn count(picture: &RgbImage, color: Rgb<u8>) -> usize {
        picture.pixels().filter(|pixel| **pixel == color).count()
    }

    #[test]
    fn a_box_is_drawn_around_the_object_and_its_label_above() {
        let picture =
            annotated((320, 240), "", &[object("person", 0.92, (100.0, 80.0, 60.0, 90.0))]);
        let color = color_of("person");
        assert_eq!(
            (picture[(100, 120)], picture[(159, 120)], picture[(130, 169)]),
            (color, color, color)
        );
        assert_eq!(picture[(130, 120)], Rgb([90; 3]), "the object itself stays visible");
        assert_eq!(picture[(101, 71)], color, "label above the box");
    }

    #[test]
    fn a_label_at_the_edge_stays_inside_the_picture() {
        let label =
            |bbox| count(&annotated((320, 240), "", &[object("person", 0.92, bbox)]), BLACK);
        let whole = label((100.0, 80.0, 60.0, 90.0));
        assert_eq!(label((300.0, 80.0, 60.0, 90.0)), whole, "right");
        assert_eq!(label((100.0, -5.0, 60.0, 90.0)), whole, "top");
        assert_eq!(label((-20.0, 80.0, 60.0, 90.0)), whole, "left");
    }

    #[test]
    fn the_caption_shows_local_time_and_the_camera() {
        let unnamed = count(&annotated((640, 480), "", &[]), WHITE);
        let named = count(&annotated((640, 480), "front door", &[]), WHITE);
        assert!(unnamed > 100 && named > unnamed);
        let later = Timestamp { utc_micros: 3_600_000_000, offset_minutes: 0 };
        let grey = RgbImage::from_pixel(640, 480, Rgb([90; 3]));
        let same_wall = annotate(&grey, &Annotation { camera_name: "", time: later, objects: &[] });
        assert_eq!(same_wall, annotated((640, 480), "", &[]), "01:00 local, both");
    }

    #[test]
    fn letters_grow_with_the_picture() {
        let sizes = [(320, 240), (640, 480), (768, 576), (1920, 1080), (3840, 2160), (2160, 3840)];
        assert_eq!(sizes.map(scale_of), [1, 2, 2, 4, 8, 8]);
    }

    #[test]
    fn long_texts_are_cut_off_and_many_objects_left_out() {
        let name = "x".repeat(10_000);
        let objects = vec![object(&name, 0.5, (10.0, 10.0, 20.0, 20.0)); 10_000];
        assert_eq!(annotated((64, 48), &name, &objects).dimensions(), (64, 48));
    }

    #[test]
    fn confidences_are_whole_per_cent_whatever_they_are() {
        let all = [0.0, 0.926, 1.0, 7.0, -1.0, f64::NAN, f64::INFINITY];
        assert_eq!(all.map(percent), [0, 93, 100, 100, 0, 0, 100]);
    }

    proptest! {
        #[test]
        fn any_numbers_can_be_drawn(
            numbers: (f64, f64, f64, f64), confidence: f64, label: String, name: String,
            size in (0u32..400, 0u32..300), utc_micros: i64, offset_minutes: i16,
        ) {
            let time = Timestamp { utc_micros, offset_minutes };
            let objects = [object(&label, confidence, numbers)];
            let annotation = Annotation { camera_name: &name, time, objects: &objects };
            let picture = annotate(&RgbImage::new(size.0, size.1), &annotation);
            prop_assert_eq!(picture.dimensions(), size);
        }
    }
}
