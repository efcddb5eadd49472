//! [`Claim`], when a picture was taken as its EXIF says.

use std::io::Cursor;

use chrono::{NaiveDate, NaiveDateTime};
use exif::{DateTime, Exif, In, Reader, Tag, Value};
use lenslog_journal::Timestamp;

use crate::source::LocalOffset;

/// Years that a picture can claim to be of. What is outside them was never set, and claims nothing.
const YEARS: std::ops::RangeInclusive<u16> = 1970..=2099;

/// When a sender claims that a picture was taken, as the clock on the wall beside it showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    local: NaiveDateTime,
    /// Its own offset from UTC, in minutes.
    pub(super) offset: Option<i16>,
}

impl Claim {
    /// The claim of a picture; `None` where it makes none, or of a time that there is not.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let exif = Reader::new()
            .continue_on_error(true)
            .read_from_container(&mut Cursor::new(bytes))
            .or_else(|error| error.distill_partial_result(|_| ()))
            .ok()?;
        let mut taken = DateTime::from_ascii(text(&exif, Tag::DateTimeOriginal)?).ok()?;
        // A part that is missing or wrong is left out.
        let _ = text(&exif, Tag::SubSecTimeOriginal).map(|digits| taken.parse_subsec(digits));
        let _ = text(&exif, Tag::OffsetTimeOriginal).map(|offset| taken.parse_offset(offset));
        let year = Some(taken.year).filter(|year| YEARS.contains(year))?;
        let nanos = taken.nanosecond.unwrap_or_default();
        let local = NaiveDate::from_ymd_opt(year.into(), taken.month.into(), taken.day.into())?
            .and_hms_nano_opt(taken.hour.into(), taken.minute.into(), taken.second.into(), nanos)?;
        let is_possible = |offset: &i16| offset.abs() <= Timestamp::OFFSET_MINUTES_MAX;
        Some(Self { local, offset: taken.offset.filter(is_possible) })
    }

    /// The instant that is claimed. Without an offset of its own, `zone` is that of the sender's clock, else it counts
    /// as this machine does. Of the hour that autumn repeats it is the latest reading that is not after `not_after`.
    pub(super) fn resolve(
        self,
        zone: Option<i16>,
        local_offset: LocalOffset,
        not_after: i64,
    ) -> Timestamp {
        match (self.offset, zone) {
            (Some(minutes), _) => LocalOffset::FixedMinutes(minutes).resolve(self.local),
            // What is shown is local time all the same.
            (None, Some(minutes)) => {
                let read = LocalOffset::FixedMinutes(minutes).resolve(self.local);
                local_offset.at(read.utc_micros)
            }
            (None, None) => local_offset.resolve_not_after(self.local, not_after),
        }
    }
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

    fn time(picture: &[u8]) -> Option<Timestamp> {
        Claim::of(picture).map(|claim| claim.resolve(None, HERE, i64::MAX))
    }

    fn check(original: &str, subsec: &str, offset: &str, expected: Option<&str>) {
        let segment = exif_segment(original, subsec, offset);
        let picture = with_segment(&jpeg(16, 16, 1), 0xE1, &segment);
        let found = time(&picture).map(|time| time.to_string());
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
    fn times_that_do_not_exist_are_no_claim() {
        for original in [
            "0001:01:01 00:00:00",
            "9999:12:31 23:59:59",
            "0000:00:00 00:00:00",
            "    :  :     :  :  ",
            "2026:02:30 00:00:00",
            "now",
        ] {
            check(original, "", "", None);
        }
        check("2026:11:23 14:32:15", "x", "+99:99", Some("2026-11-23T14:32:15+01:00"));
        assert_eq!(time(&jpeg(16, 16, 1)), None);
        assert_eq!(time(b"no picture"), None);
    }

    #[test]
    fn a_damaged_field_beside_the_time_costs_no_time() {
        let mut segment = exif_segment("2026:11:23 14:32:15", "", "+01:00");
        // The offset's text is said to lie far behind the end.
        let at = segment.windows(2).position(|tag| tag == [0x90, 0x11]).unwrap();
        segment[at + 8..at + 12].fill(0x7F);
        let found = time(&with_segment(&jpeg(16, 16, 1), 0xE1, &segment));
        assert_eq!(
            found.map(|time| time.to_string()).as_deref(),
            Some("2026-11-23T14:32:15+01:00")
        );
    }

    #[test]
    fn the_zone_of_a_sender_says_how_its_clock_is_read() {
        let claim = |offset: &str| {
            let segment = exif_segment("2026:11:23 23:30:00", "", offset);
            Claim::of(&with_segment(&jpeg(16, 16, 1), 0xE1, &segment)).unwrap()
        };
        let read = |claim: Claim| claim.resolve(Some(0), HERE, i64::MAX).to_string();
        assert_eq!(read(claim("")), "2026-11-24T00:30:00+01:00", "shown in local time");
        assert_eq!(read(claim("+09:00")), "2026-11-23T23:30:00+09:00", "its own offset counts");
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
            let _ = time(&with_segment(&jpeg(16, 16, 1), 0xE1, &segment));
        }
    }
}
