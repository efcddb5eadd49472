//! [`Branch`]: what the author of one branch of a journal knows of it, independent of the journal's code.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lenslog_journal::{Day, Key, Seq, SeqRange};

use super::format::{Found, Header, Segment};

/// A promise that does not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The promise, for grouping.
    pub kind: String,
    pub text: String,
}

pub fn failure<T>(kind: &str, text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure { kind: kind.to_owned(), text: text.into() })
}

/// A record that a caller appended.
#[derive(Debug, Clone)]
pub struct Event {
    pub payload: Vec<u8>,
    pub key: Option<Key>,
    pub day: Day,
    /// It was acknowledged, or read after an opening. Any other event may appear or not.
    pub acknowledged: bool,
    /// Salt of the newest file that was seen to hold it.
    pub home: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct Branch {
    pub journal: Option<[u8; 16]>,
    /// Every seq that was ever given to a caller.
    pub events: BTreeMap<u64, Event>,
    /// The salts of its segments, oldest first.
    pub salts: Vec<u64>,
    /// First seq of each segment's name, by salt.
    pub bases: HashMap<u64, u64>,
    /// The frames that its writers wrote: salt and offset, with the CRC.
    frames: HashMap<(u64, u64), u32>,
    pub pruned: Vec<SeqRange>,
    /// What the journal itself recorded as lost.
    pub named: Vec<SeqRange>,
}

pub fn is_in(ranges: &[SeqRange], seq: u64) -> bool {
    ranges.iter().any(|range| range.contains(Seq(seq)))
}

impl Branch {
    pub fn owns(&self, salt: u64) -> bool {
        self.salts.contains(&salt)
    }

    pub fn newest_salt(&self) -> Option<u64> {
        self.salts.last().copied()
    }

    /// The seq after the last one that was ever given out to a caller.
    pub fn end(&self) -> u64 {
        self.events.keys().next_back().map_or(1, |seq| seq + 1)
    }

    /// Learns which segments were begun, and which file holds which event now. `placed` are the salts of files that
    /// an accident brought.
    pub fn learn(&mut self, found: &[Found], placed: &HashSet<u64>) {
        let mut begun: Vec<_> = found
            .iter()
            .filter_map(Found::right_named)
            .filter(|header| !self.owns(header.salt) && !placed.contains(&header.salt))
            .collect();
        begun.sort_by_key(|header| header.name);
        for header in begun {
            self.journal.get_or_insert(header.journal);
            self.salts.push(header.salt);
            self.bases.insert(header.salt, header.name.base.0);
        }
        for file in found {
            let Some(header) = file.right_named() else { continue };
            let rank = |salt: u64| self.salts.iter().position(|known| *known == salt);
            let Some(newness) = rank(header.salt) else { continue };
            for frame in &file.segment.frames {
                self.frames.entry((header.salt, frame.offset)).or_insert(frame.crc);
            }
            for record in file.segment.records() {
                let home = self.events.get(&record.seq).and_then(|event| event.home);
                let is_newer = home.and_then(rank).is_none_or(|known| known <= newness);
                if let Some(event) = self.events.get_mut(&record.seq)
                    && event.payload == record.payload
                    && is_newer
                {
                    event.home = Some(header.salt);
                }
            }
        }
    }

    /// Whether a file with a salt of this branch holds frames that this branch did not write.
    pub fn is_twin(&self, segment: &Segment) -> bool {
        let Some(salt) = segment.salt().filter(|salt| self.owns(*salt)) else { return false };
        let differs = |offset, crc| self.frames.get(&(salt, offset)) != Some(&crc);
        segment.frames.iter().any(|frame| differs(frame.offset, frame.crc))
    }

    /// The acknowledged seqs that are neither pruned nor, because their frame is whole in a file of the chain,
    /// excused.
    pub fn whole(&self, found: &[Found]) -> BTreeSet<u64> {
        let mut whole = BTreeSet::new();
        for file in found {
            let Some(header) = file.right_named() else { continue };
            // Where a segment ends, and that what comes after it is lost, its successor's header says for ever.
            let is_next = |next: &&Header| {
                self.owns(next.salt)
                    && next.previous.is_some_and(|(base, _)| base == header.name.base.0)
            };
            let next = found.iter().filter_map(Found::right_named).find(is_next);
            let end = next.and_then(|next| next.previous_end).unwrap_or(u64::MAX);
            for (frame, record) in file.segment.framed_records() {
                if frame.offset >= end && is_in(&self.named, record.seq) {
                    continue;
                }
                let is_whole = self.events.get(&record.seq).is_some_and(|event| {
                    event.acknowledged
                        && event.home == Some(header.salt)
                        && event.payload == record.payload
                });
                if is_whole && !is_in(&self.pruned, record.seq) {
                    whole.insert(record.seq);
                }
            }
        }
        whole
    }

    /// Whether the newest segment is there under its name with every acknowledged event that it held.
    pub fn newest_is_complete(&self, found: &[Found]) -> Option<bool> {
        let newest = self.newest_salt();
        let is_newest = |file: &&Found| file.right_named().map(|header| header.salt) == newest;
        found.iter().find(is_newest)?;
        let whole = self.whole(found);
        let mut held = self.events.iter().filter(|(seq, event)| {
            event.acknowledged && event.home == newest && !is_in(&self.pruned, **seq)
        });
        Some(held.all(|(seq, _)| whole.contains(seq)))
    }
}
