//! [`Listing`]: what a projection into day files adds to its checkpoint, as lines of text.
//!
//! ```text
//! pruned 2026-11-20 4711                 days up to this one were pruned, by the tombstone of this seq
//! held 4801 4807                         seqs of the events that wait for their description
//! doomed 2026-11-20 events.json          to be removed, if it is still there
//! doomed 2026-11-21 events.json keep     to be set aside, if it is still there; `lost`: as what the journal lost
//! keep_old                               files that a rebuild replaces are set aside; `keep_lost`: as what the journal lost
//! file 2026-11-23 events.json 51234 9f3a12bc 64768:131074
//!                                        length, CRC-32 of that many bytes, device and inode
//! file 2026-11-22 events.json 812 77aa01f3 64768:131070 keep
//!                                        whole entries behind that length stay: the journal has lost records
//! ```
//!
//! A file whose inode is that of `NAME.rebuild` beside it was made by a rebuild, and has yet to be renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lenslog_engine::{Checkpoint, KeepOld};
use lenslog_journal::Seq;

use super::day_file::{FileId, Mark};
use super::fold::Horizon;
use super::limits::{FILE_BYTES_MAX, HELD_LISTED_MAX};

/// The lines of a checkpoint that are the projection's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) pruned: Option<Horizon>,
    pub(super) held: BTreeSet<Seq>,
    /// Files that are to go, and whether they are set aside.
    pub(super) doomed: BTreeMap<FileId, KeepOld>,
    /// Files that a rebuild replaces are set aside.
    pub(super) keep_old: KeepOld,
    pub(super) files: BTreeMap<FileId, Listed>,
}

/// One file of a [`Listing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Listed {
    pub(super) mark: Mark,
    pub(super) identity: (u64, u64),
    /// Whole entries behind the length stay.
    pub(super) keep: bool,
}

impl Listing {
    /// The whole checkpoint as text.
    pub(super) fn to_text(&self, checkpoint: &Checkpoint, names: &[&str]) -> String {
        let mut text = checkpoint.to_text();
        let name = |id: &FileId| names.get(id.index).copied().unwrap_or_default();
        // Writing to a string cannot fail.
        if let Some(Horizon { day, seq }) = self.pruned {
            let _ = writeln!(text, "pruned {day} {seq}");
        }
        if !self.held.is_empty() {
            text.push_str("held");
            for seq in &self.held {
                let _ = write!(text, " {seq}");
            }
            text.push('\n');
        }
        for (id, keep) in &self.doomed {
            let keep = match keep {
                KeepOld::No => "",
                KeepOld::Old => " keep",
                KeepOld::Lost => " lost",
            };
            let _ = writeln!(text, "doomed {} {}{keep}", id.day, name(id));
        }
        match self.keep_old {
            KeepOld::No => {}
            KeepOld::Old => text.push_str("keep_old\n"),
            KeepOld::Lost => text.push_str("keep_lost\n"),
        }
        for (id, Listed { mark: Mark { len, crc }, identity: (device, inode), keep }) in &self.files
        {
            let keep = if *keep { " keep" } else { "" };
            let _ = writeln!(
                text,
                "file {} {} {len} {crc:08x} {device}:{inode}{keep}",
                id.day,
                name(id)
            );
        }
        text
    }

    /// Reads what [`Listing::to_text`] wrote; `None` where it is something else.
    pub(super) fn from_text(text: &str, names: &[&str]) -> Option<(Checkpoint, Self)> {
        let checkpoint = Checkpoint::from_text(text)?;
        let mut listing = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            let mut words = value.split(' ');
            match name {
                "pruned" => {
                    let day = words.next()?.parse().ok()?;
                    listing.pruned = Some(Horizon { day, seq: Seq(words.next()?.parse().ok()?) });
                }
                "held" => {
                    for word in words {
                        listing.held.insert(Seq(word.parse().ok()?));
                    }
                    if listing.held.len() > HELD_LISTED_MAX {
                        return None;
                    }
                }
                "doomed" => {
                    let id = file_id(&mut words, names)?;
                    let keep = match words.next() {
                        Some("keep") => KeepOld::Old,
                        Some("lost") => KeepOld::Lost,
                        _ => KeepOld::No,
                    };
                    listing.doomed.insert(id, keep);
                }
                "keep_old" => listing.keep_old = KeepOld::Old,
                "keep_lost" => listing.keep_old = KeepOld::Lost,
                "file" => {
                    let id = file_id(&mut words, names)?;
                    listing.files.insert(id, Listed::from_words(&mut words)?);
                }
                _ => {}
            }
        }
        Some((checkpoint, listing))
    }
}

impl Listed {
    fn from_words<'w>(words: &mut impl Iterator<Item = &'w str>) -> Option<Self> {
        let len = words.next()?.parse().ok().filter(|len| *len <= FILE_BYTES_MAX)?;
        let crc = u32::from_str_radix(words.next()?, 16).ok()?;
        let (device, inode) = words.next()?.split_once(':')?;
        let identity = (device.parse().ok()?, inode.parse().ok()?);
        Some(Self { mark: Mark { len, crc }, identity, keep: words.next() == Some("keep") })
    }
}

/// Reads `DAY NAME`.
fn file_id<'w>(words: &mut impl Iterator<Item = &'w str>, names: &[&str]) -> Option<FileId> {
    let day = words.next()?.parse().ok()?;
    let name = words.next()?;
    let index = names.iter().position(|known| *known == name)?;
    Some(FileId::new(day, index))
}

#[cfg(test)]
mod tests {
    use lenslog_engine::Spec;
    use lenslog_journal::Day;

    use super::*;

    const NAMES: &[&str] = &["events.json", "amendments.json"];

    fn checkpoint() -> Checkpoint {
        let spec = Spec { name: "x", logic: 1, kinds: None, options: String::new() };
        Checkpoint::at_start([7; 16], &spec)
    }

    fn sample() -> Listing {
        let file = |len, identity, keep| Listed { mark: Mark { len, crc: 0xab }, identity, keep };
        Listing {
            pruned: Some(Horizon { day: Day(20_000), seq: Seq(9) }),
            held: [Seq(4), Seq(12)].into(),
            doomed: [
                (FileId::new(Day(20_000), 1), KeepOld::Old),
                (FileId::new(Day(20_000), 0), KeepOld::No),
                (FileId::new(Day(20_001), 0), KeepOld::Lost),
            ]
            .into(),
            keep_old: KeepOld::Lost,
            files: [
                (FileId::new(Day(20_001), 0), file(512, (3, 4), false)),
                (FileId::new(Day(20_001), 1), file(0, (3, 6), false)),
                (FileId::new(Day(20_002), 0), file(7, (3, 5), true)),
            ]
            .into(),
        }
    }

    #[test]
    fn a_listing_round_trips() {
        for listing in [sample(), Listing::default()] {
            let text = listing.to_text(&checkpoint(), NAMES);
            assert_eq!(Listing::from_text(&text, NAMES), Some((checkpoint(), listing)), "{text}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_makes_no_listing() {
        let text = sample().to_text(&checkpoint(), NAMES);
        for (good, bad) in [
            ("pruned 2024", "pruned then"),
            ("held 4", "held four"),
            ("file 2024", "file 24"),
            ("amendments.json", "other.json"),
            ("000000ab", "crc"),
            ("3:4", "3"),
            (" 512 ", " 18446744073709551615 "),
        ] {
            assert!(text.contains(good), "{good} in {text}");
            assert_eq!(Listing::from_text(&text.replace(good, bad), NAMES), None, "{bad}");
        }
    }
}
