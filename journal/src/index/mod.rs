//! Which frames hold the records of a kind or with a tag. An index only names candidates: the records decide.
//!
//! | file | task |
//! |---|---|
//! | `mod.rs` | terms and their hashes; the candidates of a query |
//! | `memory.rs` | the index of the active segment, in memory |
//! | `sidecar.rs` | the index of a sealed segment, in a file next to it |

mod memory;
mod sidecar;

use crate::Query;
use crate::format::{Kind, Record};
use crate::query::QueryItem;

pub(crate) use memory::{ActiveIndex, SegmentIndex, read_before};
pub(crate) use sidecar::Sidecar;

/// Hashes the terms of one journal. The key is the journal's identity: nobody can aim at collisions without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TermHasher {
    key: [u8; 32],
    /// How many bits of a hash are used; fewer than 64 in tests only.
    pub(crate) bits: u32,
}

/// The hash of a kind or a tag.
pub(crate) type Term = u64;

impl TermHasher {
    pub(crate) fn new(journal: [u8; 16], bits: u32) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&journal);
        Self { key, bits: bits.clamp(1, 64) }
    }

    pub(crate) fn kind(&self, kind: Kind) -> Term {
        let [low, high] = kind.0.to_le_bytes();
        self.hash(&[0, low, high])
    }

    pub(crate) fn tag(&self, tag: &[u8]) -> Term {
        let mut bytes = [1; 1 + crate::limits::TAG_BYTES_MAX];
        match bytes.get_mut(1..=tag.len()) {
            Some(target) => target.copy_from_slice(tag),
            // No record has such a tag.
            None => return 0,
        }
        self.hash(bytes.get(..=tag.len()).unwrap_or_default())
    }

    /// Calls `each` for every term of a record.
    pub(crate) fn each_term<'a>(
        &self,
        kind: Kind,
        tags: impl Iterator<Item = &'a [u8]>,
        mut each: impl FnMut(Term),
    ) {
        each(self.kind(kind));
        tags.for_each(|tag| each(self.tag(tag)));
    }

    pub(crate) fn each_term_of(&self, record: &Record<'_>, each: impl FnMut(Term)) {
        self.each_term(record.kind, record.tags.iter(), each);
    }

    fn hash(&self, bytes: &[u8]) -> Term {
        let hash = blake3::keyed_hash(&self.key, bytes);
        let hash = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        hash & (u64::MAX << (64 - self.bits))
    }
}

/// The frames that hold a term: their offsets, divided by eight, in order.
pub(crate) type Postings = Vec<u32>;

/// Where the postings of a term are found.
pub(crate) trait Terms {
    /// In how many frames the term is.
    fn count(&self, term: Term) -> Option<u32>;
    /// These frames, from `from` (an offset divided by eight) on.
    fn postings(&self, term: Term, from: u32) -> Option<Postings>;
}

/// A longer list than the shortest one times this does not narrow it: reading the frames costs less.
const NARROWING_FACTOR: u32 = 16;

/// The frames from `from` on that may hold a match, in order; `None`: every frame may, or the index cannot be read.
pub(crate) fn candidates(
    index: &impl Terms,
    hasher: &TermHasher,
    query: &Query,
    from: u32,
) -> Option<Postings> {
    let mut all = Postings::new();
    for item in query.items() {
        all.extend(candidates_of(index, hasher, item, from)?);
    }
    if query.items().len() > 1 {
        all.sort_unstable();
    }
    all.dedup();
    Some(all)
}

fn candidates_of(
    index: &impl Terms,
    hasher: &TermHasher,
    item: &QueryItem,
    from: u32,
) -> Option<Postings> {
    if item.kinds.is_empty() && item.tags.is_empty() {
        return None;
    }
    let kinds: Vec<Term> = item.kinds.iter().map(|kind| hasher.kind(*kind)).collect();
    let of_kinds = kinds.iter().map(|term| index.count(*term)).sum::<Option<u32>>()?;
    let mut tags = Vec::with_capacity(item.tags.len());
    for tag in &item.tags {
        let term = hasher.tag(tag);
        tags.push((index.count(term)?, term));
    }
    tags.sort_unstable();
    // No frame of this segment has all of it: nothing more is read.
    let is_absent = tags.first().is_some_and(|(count, _)| *count == 0);
    if is_absent || (!kinds.is_empty() && of_kinds == 0) {
        return Some(Postings::new());
    }
    let shortest = tags.first().map_or(u32::MAX, |(count, _)| *count);
    let least = if kinds.is_empty() { shortest } else { shortest.min(of_kinds) };
    let narrows = |count: u32| count <= least.saturating_mul(NARROWING_FACTOR);
    let mut found: Option<Postings> = None;
    let mut narrow = |list: Postings| {
        found = Some(match found.take() {
            None => list,
            Some(mut known) => {
                known.retain(|frame| list.binary_search(frame).is_ok());
                known
            }
        });
    };
    for (count, term) in tags {
        if narrows(count) {
            narrow(index.postings(term, from)?);
        }
    }
    if !kinds.is_empty() && narrows(of_kinds) {
        let mut list = Postings::new();
        for term in kinds {
            list.extend(index.postings(term, from)?);
        }
        list.sort_unstable();
        narrow(list);
    }
    found
}
