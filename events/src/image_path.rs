//! The form of a picture's path: `data/events/YYYY-MM-DD/FILE`, whatever the data directory is called.
//!
//! Only a path of this form is ever opened or deleted, below the reader's own data directory, so the form is
//! strict: nothing leads out of the day's directory, and no picture can be named like a file that a projection
//! keeps there (`events.json`, `events.log`), because its ending must be that of a picture.

use lenslog_journal::Day;

use crate::limits::IMAGE_FILE_BYTES_MAX;

/// What every path of a picture begins with.
const PREFIX: &str = "data/events/";

/// Endings of pictures, compared without regard to case.
const ENDINGS: &[&str] =
    &["jpg", "jpeg", "png", "webp", "gif", "bmp", "avif", "heic", "heif", "tif", "tiff"];

/// Splits an image_path into its day and its file name; `None` where it has another form.
///
/// The file name has 1 to [`IMAGE_FILE_BYTES_MAX`] bytes, the ending of a picture, no slash, no backslash, no
/// control character, and does not begin with a dot. The day need not be that of the event: ingested systems
/// have their own idea of midnight.
///
/// ```
/// let (day, file) = lenslog_events::parse_image_path("data/events/2026-11-23/evt_1.jpg").unwrap();
/// assert_eq!((day.to_string().as_str(), file), ("2026-11-23", "evt_1.jpg"));
/// assert_eq!(lenslog_events::parse_image_path("data/events/2026-11-23/../../IDENTITY"), None);
/// ```
#[must_use]
pub fn parse_image_path(path: &str) -> Option<(Day, &str)> {
    let (day, file) = path.strip_prefix(PREFIX)?.split_once('/')?;
    let day = day.parse().ok()?;
    is_picture_name(file).then_some((day, file))
}

fn is_picture_name(file: &str) -> bool {
    let Some((stem, ending)) = file.rsplit_once('.') else {
        return false;
    };
    !stem.is_empty()
        && !file.starts_with('.')
        && file.len() <= IMAGE_FILE_BYTES_MAX
        && !file.chars().any(|letter| letter == '/' || letter == '\\' || letter.is_control())
        && ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_form_splits_into_day_and_file() {
        for file in ["evt_1.jpg", "Front Door 14.32.15.JPEG", "ö.png", "a.b.webp"] {
            let path = format!("data/events/2025-11-08/{file}");
            let (day, name) = parse_image_path(&path).unwrap();
            assert_eq!((day.to_string().as_str(), name), ("2025-11-08", file));
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_none() {
        for path in [
            "",
            "evt_1.jpg",
            "/data/events/2025-11-08/evt_1.jpg",
            "data/events/evt_1.jpg",
            "data/events/2025-11-08/",
            "data/events/2025-11-08/sub/evt_1.jpg",
            "data/events/2025-11-08/../evt_1.jpg",
            "data/events/../2025-11-08/evt_1.jpg",
            "data/events/2025-13-45/evt_1.jpg",
            "data/events/2025-11-08/.jpg",
            "data/events/2025-11-08/.hidden.jpg",
            "data/events/2025-11-08/..\\evt_1.jpg",
            "data/events/2025-11-08/evt\n1.jpg",
            "data/events/2025-11-08/evt\u{0}.jpg",
            "data/events/2025-11-08/evt\u{85}.jpg",
            "data\\events\\2025-11-08\\evt_1.jpg",
            "http://camera/data/events/2025-11-08/evt_1.jpg",
        ] {
            assert_eq!(parse_image_path(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_picture_is_never_named_like_a_file_of_a_projection() {
        for file in ["events.json", "events.log", "amendments.json", "evt_1", "evt_1.jpg.tmp"] {
            assert_eq!(parse_image_path(&format!("data/events/2025-11-08/{file}")), None, "{file}");
        }
    }

    #[test]
    fn a_file_name_has_at_most_255_bytes() {
        let of_bytes =
            |bytes: usize| format!("data/events/2025-11-08/{}.jpg", "a".repeat(bytes - 4));
        assert!(parse_image_path(&of_bytes(IMAGE_FILE_BYTES_MAX)).is_some());
        assert!(parse_image_path(&of_bytes(IMAGE_FILE_BYTES_MAX + 1)).is_none());
    }
}
