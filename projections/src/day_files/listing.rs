//! [`Listing`]: the part of a checkpoint that is the day files' own.
//!
//! A file whose inode is that of `NAME.rebuild` was made by a rebuild, and has yet to be renamed.

use std::collections::{BTreeMap, BTreeSet};

use lenslog_engine::{Aside, ProjectionError};
use lenslog_journal::Seq;
use serde::{Deserialize, Serialize};

use super::day_file::FileId;
use super::fold::Horizon;
use super::format::Format;
use super::limits::{FILE_BYTES_MAX, HELD_LISTED_MAX};
use super::mark::Mark;
use crate::data_dir::{DataDir, Found, Stored, pairs};

/// What a checkpoint says of the files, and of the events that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) pruned: Option<Horizon>,
    /// Events that wait for their description.
    #[serde(with = "seqs")]
    pub(super) held: BTreeSet<Seq>,
    /// Files to remove, and those of them to move aside.
    #[serde(with = "pairs")]
    pub(super) to_remove: BTreeMap<FileId, Option<Aside>>,
    /// How files that a rebuild replaces are moved aside.
    pub(super) keep_old: Option<Aside>,
    #[serde(with = "pairs")]
    pub(super) files: BTreeMap<FileId, Listed>,
}

/// One file of a [`Listing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Length, and CRC-32 of that many bytes.
    pub(super) mark: Mark,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// Whole entries after the length stay: the journal has lost records.
    pub(super) keep: bool,
}

impl Listing {
    /// Whether every file is one of the format, of a possible length.
    fn is_valid<F: Format>(&self) -> bool {
        let is_known = |id: &FileId| id.index < F::FILES.len();
        self.held.len() <= HELD_LISTED_MAX
            && self.files.keys().chain(self.to_remove.keys()).all(is_known)
            && self.files.values().all(|file| file.mark.len <= FILE_BYTES_MAX)
    }
}

/// Reads the checkpoint of a format.
pub(super) fn read_listing<F: Format>(data: &DataDir) -> Result<Found<Listing>, ProjectionError> {
    match data.read_checkpoint::<Listing>(F::NAME)? {
        Found::Intact(Stored { state, .. }) if !state.is_valid::<F>() => {
            let path = data.checkpoint(F::NAME);
            Ok(Found::Broken(format!("{}: a listed file is impossible", path.display())))
        }
        found => Ok(found),
    }
}

/// Seqs in JSON, as numbers.
mod seqs {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{BTreeSet, Seq};

    pub(super) fn serialize<S: Serializer>(seqs: &BTreeSet<Seq>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(seqs.iter().map(|seq| seq.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeSet<Seq>, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().map(Seq).collect())
    }
}

#[cfg(test)]
mod tests {
    use lenslog_journal::Day;

    use super::*;
    use crate::day_files::fold::WrongDays;
    use crate::jsonl::Jsonl;

    fn sample() -> Listing {
        let file = |len, identity, keep| Listed { mark: Mark { len, crc: 0xab }, identity, keep };
        let wrong = Some(WrongDays { from: Day(24_000), seq: Seq(7) });
        Listing {
            pruned: Some(Horizon { day: Day(20_000), seq: Seq(9), wrong }),
            held: [Seq(4), Seq(12)].into(),
            to_remove: [
                (FileId::new(Day(20_000), 1), Some(Aside::Old)),
                (FileId::new(Day(20_000), 0), None),
                (FileId::new(Day(20_001), 0), Some(Aside::Lost)),
            ]
            .into(),
            keep_old: Some(Aside::Lost),
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
            let text = serde_json::to_string(&listing).unwrap();
            assert_eq!(serde_json::from_str::<Listing>(&text).unwrap(), listing, "{text}");
        }
    }

    #[test]
    fn a_listing_of_impossible_files_is_invalid() {
        assert!(sample().is_valid::<Jsonl>());
        let mut unknown = sample();
        unknown.files.insert(FileId::new(Day(20_000), 2), Listed::default());
        let mut endless = sample();
        let mark = Mark { len: FILE_BYTES_MAX + 1, crc: 0 };
        let listed = Listed { mark, ..Listed::default() };
        endless.files.insert(FileId::new(Day(20_000), 0), listed);
        let held = (0..=HELD_LISTED_MAX as u64).map(Seq).collect();
        for listing in [unknown, endless, Listing { held, ..sample() }] {
            assert!(!listing.is_valid::<Jsonl>(), "{listing:?}");
        }
    }
}
