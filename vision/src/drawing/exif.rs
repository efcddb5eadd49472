//! What a picture's file holds beside its pixels: when it was taken and by which camera.

use std::io::Cursor;

use ::exif::experimental::Writer;
use ::exif::{Field, In, Tag, Value};
use lenslog_journal::Timestamp;

/// Longest name of a camera that is written, in characters.
const NAME_CHARS_MAX: usize = 200;

/// When and by which camera a picture was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<'a> {
    /// When, with the local offset.
    pub time: Timestamp,
    /// What people call the camera.
    pub camera_name: &'a str,
}

/// The EXIF data; `None` where it cannot be written, which no picture is lost for.
pub(super) fn exif(taken: &Taken<'_>) -> Option<Vec<u8>> {
    let local = taken.time.to_local();
    let time = local.format("%Y:%m:%d %H:%M:%S").to_string();
    let fields = [
        (Tag::ImageDescription, name(taken.camera_name)),
        (Tag::Software, "Lenslog".to_owned()),
        (Tag::DateTime, time.clone()),
        (Tag::DateTimeOriginal, time),
        (Tag::OffsetTimeOriginal, local.format("%:z").to_string()),
        (Tag::SubSecTimeOriginal, local.format("%3f").to_string()),
    ]
    .map(|(tag, text)| {
        let value = Value::Ascii(vec![text.into_bytes()]);
        Field { tag, ifd_num: In::PRIMARY, value }
    });
    let mut writer = Writer::new();
    fields.iter().for_each(|field| writer.push_field(field));
    let mut bytes = Cursor::new(Vec::new());
    writer.write(&mut bytes, false).ok()?;
    Some(bytes.into_inner())
}

/// A name as one short line.
fn name(name: &str) -> String {
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    name.chars().map(plain).take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_finds_time_zone_and_camera() {
        let time = Timestamp { utc_micros: 1_762_612_335_250_000, offset_minutes: 60 };
        let bytes = exif(&Taken { time, camera_name: "front\ndoor Ü" }).unwrap();
        let (fields, _) = ::exif::parse_exif(&bytes).unwrap();
        let text = |tag| {
            let field = fields.iter().find(|field| field.tag == tag).unwrap();
            match &field.value {
                Value::Ascii(parts) => String::from_utf8(parts[0].clone()).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(text(Tag::DateTimeOriginal), "2025:11:08 15:32:15");
        assert_eq!(text(Tag::OffsetTimeOriginal), "+01:00");
        assert_eq!(text(Tag::SubSecTimeOriginal), "250");
        assert_eq!(text(Tag::ImageDescription), "front door Ü");
    }
}
