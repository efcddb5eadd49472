//! The name of a segment file: `00000000000000000042-2026-11-23.seg`.

use crate::{Day, Seq};

/// First seq and creation day of a segment, as its file name tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// Seq of its first record.
    pub base: Seq,
    /// Day it was begun.
    pub day: Day,
}

const SEQ_DIGITS: usize = 20;
const SUFFIX: &str = ".seg";

impl SegmentName {
    /// Reads a file name; anything that is not exactly the name of a segment is `None`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (base, rest) = name.split_at_checked(SEQ_DIGITS)?;
        if !base.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let day = rest.strip_prefix('-')?.strip_suffix(SUFFIX)?;
        Some(Self { base: Seq(base.parse().ok()?), day: day.parse().ok()? })
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:020}-{}{SUFFIX}", self.base.0, self.day)
    }

    /// Name of the file that holds the segment's sorted keys.
    pub(crate) fn keys_file_name(self) -> String {
        format!("{:020}-{}.keys", self.base.0, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_by_seq() {
        let name = SegmentName { base: Seq(42), day: "2026-11-23".parse().unwrap() };
        assert_eq!(name.file_name(), "00000000000000000042-2026-11-23.seg");
        assert_eq!(SegmentName::parse(&name.file_name()), Some(name));
        let last = SegmentName { base: Seq(u64::MAX), day: Day::MAX };
        assert_eq!(SegmentName::parse(&last.file_name()), Some(last));
    }

    #[test]
    fn other_files_are_no_segments() {
        for name in [
            "",
            "spare",
            "42-2026-11-23.seg",
            "00000000000000000042-2026-13-23.seg",
            "00000000000000000042-2026-11-23.seg.tmp",
            "+0000000000000000042-2026-11-23.seg",
            "99999999999999999999-2026-11-23.seg",
            "0000000000000000004é-2026-11-23.seg",
        ] {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
    }
}
