//! [`Tail`]: what an opening finds behind the listed length of a file, and what becomes of it.
//!
//! After a crash the entries behind the listed length are rendered again. As long as the bytes are the same, nothing
//! changes for anybody who reads the file; at the first byte that differs it is cut. What a power cut tore ends
//! there.
//!
//! Where the journal has lost records, the entries found may be the last copies: whole ones stay, and one that is
//! rendered again later is recognised by its key instead of being written twice. Until everything durable was
//! applied, the listed length stays before them: a crash in between begins the same recognition again.

use std::collections::HashMap;

use super::format::Format;
use super::mark::Mark;

#[derive(Debug)]
pub(super) enum Tail {
    /// On disk; so far the same was rendered.
    Pending(Pending),
    /// Cut off where it differed; remembered in case that the journal turns out to have lost records.
    Cut(Leftover),
    /// Part of the file, because the journal has lost records.
    Kept(Kept),
}

/// Bytes on disk that were not rendered yet.
#[derive(Debug)]
pub(super) struct Pending {
    /// Where they begin.
    pub(super) from: u64,
    pub(super) bytes: Vec<u8>,
}

/// Entries that were found and not rendered so far.
#[derive(Debug)]
pub(super) struct Leftover {
    entries: Vec<(u64, Vec<u8>)>,
    missing: Keys,
}

#[derive(Debug)]
pub(super) struct Kept {
    /// Where they begin: what a checkpoint lists.
    pub(super) from: Mark,
    /// Those that were not rendered so far.
    missing: Keys,
    /// The last of them, as long as nothing was appended: a power cut may have torn it between two lines.
    last: Vec<u8>,
}

/// What of an entry is in the file already.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recognised {
    /// All of it.
    Whole,
    /// This many bytes, at the very end of the file.
    Beginning(usize),
    /// Nothing.
    No,
}

/// How often each key is there.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<u64, u32>);

/// How rendered bytes compare with what is on disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// The same, and there is more.
    Same,
    /// The same as far as the tail goes: nothing is left behind.
    Exhausted,
    /// They differ behind this many bytes.
    Differs(usize),
}

impl Pending {
    /// The bytes from an offset on.
    pub(super) fn rest(&self, offset: u64) -> &[u8] {
        let start = usize::try_from(offset.saturating_sub(self.from)).unwrap_or(usize::MAX);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Compares what was rendered for `offset` with what is there.
    pub(super) fn compare(&self, offset: u64, rendered: &[u8]) -> Compared {
        let rest = self.rest(offset);
        let same = common_prefix(rest, rendered);
        if same == rest.len() {
            Compared::Exhausted
        } else if same == rendered.len() {
            Compared::Same
        } else {
            Compared::Differs(same)
        }
    }
}

impl Leftover {
    /// The whole entries in `bytes`; `None` where there is none.
    pub(super) fn of<F: Format>(bytes: &[u8]) -> Option<Self> {
        let entries: Vec<_> =
            F::entries(bytes).into_iter().map(|entry| (F::key(entry), entry.to_vec())).collect();
        let missing = Keys::of(entries.iter().map(|(key, _)| *key));
        (!entries.is_empty()).then_some(Self { entries, missing })
    }

    /// Notes that an entry was written again.
    pub(super) fn note_written<F: Format>(&mut self, entry: &[u8]) {
        self.missing.take(|| F::key(entry));
    }

    /// Those that were not written again, in their order.
    pub(super) fn into_missing(mut self) -> Vec<Vec<u8>> {
        let mut missing = std::mem::take(&mut self.missing);
        self.entries
            .into_iter()
            .filter(|(key, _)| missing.take(|| *key))
            .map(|(_, entry)| entry)
            .collect()
    }
}

impl Kept {
    /// Entries that become part of a file from `from` on.
    pub(super) fn new<F: Format>(from: Mark, entries: &[&[u8]]) -> Self {
        let missing = Keys::of(entries.iter().map(|entry| F::key(entry)));
        let last = entries.last().map_or_else(Vec::new, |entry| entry.to_vec());
        Self { from, missing, last }
    }

    /// Looks for an entry that is about to be appended.
    pub(super) fn recognise<F: Format>(&mut self, entry: &[u8]) -> Recognised {
        if !self.last.is_empty() && entry.len() > self.last.len() && entry.starts_with(&self.last) {
            let last = std::mem::take(&mut self.last);
            self.missing.take(|| F::key(&last));
            return Recognised::Beginning(last.len());
        }
        if self.missing.take(|| F::key(entry)) {
            return Recognised::Whole;
        }
        self.last.clear();
        Recognised::No
    }
}

impl Keys {
    pub(super) fn of(keys: impl Iterator<Item = u64>) -> Self {
        let mut counts = HashMap::new();
        for key in keys {
            *counts.entry(key).or_insert(0) += 1;
        }
        Self(counts)
    }

    /// Takes one of this key out; says whether there was one. The key is asked for only if any is left.
    pub(super) fn take(&mut self, key: impl FnOnce() -> u64) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let key = key();
        let Some(count) = self.0.get_mut(&key) else { return false };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&key);
        }
        true
    }
}

/// Number of bytes at the beginning that are the same.
pub(super) fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Entries one after another, with separators where the file has something before them.
pub(super) fn join<'e>(
    entries: impl IntoIterator<Item = &'e [u8]>,
    separator: &[u8],
    is_first: bool,
) -> Vec<u8> {
    let mut joined = Vec::new();
    for entry in entries {
        if !is_first || !joined.is_empty() {
            joined.extend_from_slice(separator);
        }
        joined.extend_from_slice(entry);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered_bytes_are_compared_with_what_is_behind_their_offset() {
        let pending = Pending { from: 100, bytes: b"one\ntwo\nth".to_vec() };
        assert_eq!(pending.compare(100, b"one\n"), Compared::Same);
        assert_eq!(pending.compare(104, b"twice\n"), Compared::Differs(2));
        assert_eq!(pending.compare(108, b"three\n"), Compared::Exhausted);
        assert_eq!(pending.compare(108, b"th"), Compared::Exhausted);
        assert_eq!(pending.compare(110, b"more"), Compared::Exhausted);
    }

    #[test]
    fn keys_are_counted() {
        let mut keys = Keys::of([1, 2, 1].into_iter());
        assert!(keys.take(|| 1) && keys.take(|| 1) && !keys.take(|| 1));
        assert!(keys.take(|| 2));
        assert!(!keys.take(|| unreachable!("none is left to compare with")));
    }

    #[test]
    fn entries_are_joined_with_separators_between_them() {
        let entries = [&b"a\n"[..], b"b\n"];
        assert_eq!(join(entries, b"\n", true), b"a\n\nb\n");
        assert_eq!(join(entries, b"\n", false), b"\na\n\nb\n");
        assert_eq!(join([], b"\n", false), b"");
    }
}
