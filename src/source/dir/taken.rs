//! When a picture was taken, as its EXIF tells.

use std::io::Cursor;

use chrono::NaiveDate;
use exif::{DateTime, Exif, In, Reader, Tag, Value};
use lenslog_journal::Timestamp;

use crate::source::LocalOffset;

/// The time at which a picture was taken; `None` where it does not tell, or tells no time there is.
///
/// EXIF times are local. Where the offset from UTC is missing or none there is, the camera is taken to stand
/// where this machine stands.
pub(super) fn time(bytes: &[u8], local_offset: LocalOffset) -> Option<Timestamp> {
    let exif = Reader::new()
        .continue_on_error(true)
        .read_from_container(&mut Cursor::new(bytes))
        .or_else(|error| error.distill_partial_result(|_| ()))
        .ok()?;
    let mut taken = DateTime::from_ascii(text(&exif, Tag::DateTimeOriginal)?).ok()?;
    // A part that is missing or wrong is left out.
    let _ = text(&exif, Tag::SubSecTimeOriginal).map(|digits| taken.parse_subsec(digits));
    let _ = text(&exif, Tag::OffsetTimeOriginal).map(|offset| taken.parse_offset(offset));
    let (year, nanos) = (i32::from(taken.year), taken.nanosecond.unwrap_or_default());
    let local = NaiveDate::from_ymd_opt(year, taken.month.into(), taken.day.into())?
        .and_hms_nano_opt(taken.hour.into(), taken.minute.into(), taken.second.into(), nanos)?;
    let is_possible = |offset: &i16| offset.abs() <= Timestamp::OFFSET_MINUTES_MAX;
    let offset = match taken.offset.filter(is_possible) {
        Some(minutes) => LocalOffset::FixedMinutes(minutes),
        None => local_offset,
    };
    Some(offset.resolve(local))
}

fn text(exif: &Exif, tag: Tag) -> Option<&[u8]> {
    match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Ascii(lines) => lines.first().map(Vec::as_slice),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::samples::{exif_segment, jpeg, with_segment};

    const HERE: LocalOffset = LocalOffset::FixedMinutes(60);

    fn check(original: &str, subsec: &str, offset: &str, expected: Option<&str>) {
        let segment = exif_segment(original, subsec, offset);
        let picture = with_segment(&jpeg(16, 16, 1), 0xE1, &segment);
        let found = time(&picture, HERE).map(|time| time.to_string());
        assert_eq!(found.as_deref(), expected, "{original} {subsec} {offset}");
    }

    #[test]
    fn the_time_of_a_picture_is_that_of_its_camera() {
        check("2026:11:23 14:32:15", "", "", Some("2026-11-23T14:32:15+01:00"));
        check("2026:11:23 14:32:15", "25", "", Some("2026-11-23T14:32:15.250+01:00"));
        check("2026:11:23 14:32:15", "", "-03:30", Some("2026-11-23T14:32:15-03:30"));
        check("2026:11:23 14:32:15", "5", "+09:00", Some("2026-11-23T14:32:15.500+09:00"));
    }

    #[test]
    fn times_that_do_not_exist_are_not_told() {
        for original in ["0000:00:00 00:00:00", "    :  :     :  :  ", "2026:02:30 00:00:00", "now"]
        {
            check(original, "", "", None);
        }
        check("2026:11:23 14:32:15", "x", "+99:99", Some("2026-11-23T14:32:15+01:00"));
        assert_eq!(time(&jpeg(16, 16, 1), HERE), None);
        assert_eq!(time(b"no picture", HERE), None);
    }

    proptest! {
        #[test]
        fn damaged_exif_never_panics(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        ) {
            let mut segment = exif_segment("2026:11:23 14:32:15", "25", "+01:00");
            for (index, byte) in damage {
                let at = index.index(segment.len());
                segment[at] = byte;
            }
            let _ = time(&with_segment(&jpeg(16, 16, 1), 0xE1, &segment), HERE);
        }
    }
}
