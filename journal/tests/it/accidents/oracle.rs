//! Reads a journal through a view and judges what was read against what the author of the branch knows.

use std::collections::BTreeSet;
use std::path::Path;

use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{
    ControlRecord, Entry, Error, JournalView, Key, Lost, Position, Reader, ReaderOptions, Resume,
    Seq, SeqRange,
};

use super::format::{Found, Header};
use super::model::{Branch, Failure, failure, is_in};
use super::station::{limited, variant};
use crate::common::ROOT;

/// A reader that returns more entries than this does not end.
const ENTRIES_MAX: usize = 20_000;

/// Everything that a reader returned.
#[derive(Debug, Default)]
pub struct Reading {
    pub records: Vec<ReadRecord>,
    /// Losses that the reader named.
    lost: Vec<SeqRange>,
    /// Losses that a record of the journal, or the view, names.
    named: Vec<SeqRange>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    pub seq: u64,
    pub is_system: bool,
    pub key: Option<Key>,
    pub payload: Vec<u8>,
}

/// What is excused, by rule, while the files are as they are.
#[derive(Debug, Default)]
pub struct Excuses {
    /// Seqs where segments of another branch stand and no segment of ours is linked.
    pub holes: Vec<SeqRange>,
}

/// A view of a process that does not write; `None` where the journal has no segment.
pub fn fresh_view(storage: &FaultyStorage, is_empty: bool) -> Result<Option<JournalView>, Failure> {
    match JournalView::open(Path::new(ROOT), limited(storage)) {
        Ok(view) => Ok(Some(view)),
        Err(Error::NotFound { .. }) if is_empty => Ok(None),
        Err(error) => failure(&format!("view: {}", variant(&error)), error.to_string()),
    }
}

pub fn read(view: &JournalView) -> Result<Reading, Failure> {
    let reader = match view.reader(Seq::FIRST, ReaderOptions::default()) {
        Ok(reader) => reader,
        Err(error) => return failure(&format!("reader: {}", variant(&error)), error.to_string()),
    };
    let mut reading = read_on(reader)?;
    match view.gaps() {
        Ok(gaps) => reading.named.extend(gaps),
        Err(error) => return failure(&format!("gaps: {}", variant(&error)), error.to_string()),
    }
    Ok(reading)
}

/// The losses that a reader names.
pub fn losses(view: &JournalView) -> Result<Vec<Lost>, Failure> {
    let mut losses = Vec::new();
    let mut read = || -> Result<(), Error> {
        let mut reader = view.reader(Seq::FIRST, ReaderOptions::default())?;
        for _ in 0..ENTRIES_MAX {
            match reader.next()? {
                Some(Entry::Lost(lost)) => losses.push(lost),
                Some(Entry::Record(_)) => {}
                None => break,
            }
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(losses),
        Err(error) => failure(&format!("next: {}", variant(&error)), error.to_string()),
    }
}

fn read_on(mut reader: Reader) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    let mut reached = 0;
    for _ in 0..ENTRIES_MAX {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(reading),
            Err(error) => return failure(&format!("next: {}", variant(&error)), error.to_string()),
        };
        let (from, to) = match &entry {
            Entry::Record(record) => (record.seq.0, record.seq.0 + 1),
            Entry::Lost(lost) => (lost.range.from.0, lost.range.to.0),
        };
        if from < reached {
            let text = format!("{entry:?} comes after everything before seq {reached}");
            return failure("a reader returns something twice, or out of order", text);
        }
        reached = to;
        match entry {
            Entry::Record(record) => {
                let is_system = record.kind.is_reserved();
                if is_system
                    && let Some(ControlRecord::Gap(gap)) =
                        ControlRecord::decode(record.kind, record.version, record.payload)
                {
                    let to = if gap.upper_bound_unknown { record.seq } else { gap.range.to };
                    reading.named.push(SeqRange::new(gap.range.from, to.max(gap.range.to)));
                }
                reading.records.push(ReadRecord {
                    seq: record.seq.0,
                    is_system,
                    key: record.key,
                    payload: record.payload.to_vec(),
                });
            }
            Entry::Lost(lost) => reading.lost.push(lost.range),
        }
    }
    failure("a reader does not end", format!("{ENTRIES_MAX} entries"))
}

impl Reading {
    fn names(&self, seq: u64) -> bool {
        is_in(&self.lost, seq) || is_in(&self.named, seq)
    }

    /// A loss that is the last thing a reader returns reaches as far as anybody knows.
    fn with_open_end(mut self) -> Self {
        let last_read = self.records.last().map_or(0, |record| record.seq);
        if let Some(last) = self.lost.last().copied().filter(|last| last.from.0 > last_read) {
            self.named.push(SeqRange::new(last.from, Seq(u64::MAX)));
        }
        self
    }
}

/// Judges one reading: what is whole is read, what is not is named, nothing else appears.
pub fn judge(
    reading: Reading,
    branch: &Branch,
    whole: &BTreeSet<u64>,
    excuses: &Excuses,
    by: &str,
) -> Result<Reading, Failure> {
    let reading = reading.with_open_end();
    for record in reading.records.iter().filter(|record| !record.is_system) {
        let seq = record.seq;
        let event = branch.events.get(&seq);
        let is_ours = event.is_some_and(|event| event.payload == record.payload);
        if !is_ours && !is_in(&excuses.holes, seq) {
            let start = &record.payload[..record.payload.len().min(16)];
            let text = format!("{by} reads seq {seq} {:?}", String::from_utf8_lossy(start));
            return failure("a record is read that this journal did not append", text);
        }
    }
    let read: BTreeSet<u64> = reading.records.iter().map(|record| record.seq).collect();
    let is_due = |seq: &&u64| !is_in(&excuses.holes, **seq);
    if let Some(&seq) = whole.difference(&read).find(is_due) {
        let silently = if reading.names(seq) { "but named as lost" } else { "and nothing says so" };
        let text = format!("{by}: seq {seq} is whole in its file, not read, {silently}");
        return failure(&format!("a whole event cannot be read, {silently}"), text);
    }
    for (&seq, event) in &branch.events {
        let is_due = event.acknowledged && !is_in(&branch.pruned, seq) && !read.contains(&seq);
        if is_due && !reading.names(seq) && !is_in(&excuses.holes, seq) {
            let text = format!("{by}: seq {seq} ({:?})", event.home);
            return failure("an acknowledged event is gone and no loss is named", text);
        }
    }
    if let Some(seq) = whole.iter().filter(is_due).find(|seq| is_in(&reading.lost, **seq)) {
        let text = format!("{by}: seq {seq} is whole in its file");
        return failure("a loss is named that is none", text);
    }
    Ok(reading)
}

/// A reader that resumes at a saved position reads the same records as a fresh one reads after it.
pub fn judge_resumed(
    view: &JournalView,
    position: &Position,
    reading: &Reading,
    whole: &BTreeSet<u64>,
) -> Result<(), Failure> {
    let last = position.last.map_or(0, |last| last.seq.0);
    let (reader, from) = match view.resume(position, ReaderOptions::default()) {
        Ok(Resume::At(reader)) => (reader, position.next.0),
        Ok(Resume::Pruned(reader)) if !whole.contains(&last) => {
            let from = reader.next_seq().0;
            (reader, from)
        }
        // After a loss at the end, how far it reached may be unknown later.
        Ok(Resume::Mismatch { .. }) if !whole.contains(&last) || position.next.0 > last + 1 => {
            return Ok(());
        }
        Ok(other) => {
            let text = format!("the reader at seq {} after {last}: {other:?}", position.next);
            return failure("a position is refused whose record is there", text);
        }
        Err(error) => return failure(&format!("resume: {}", variant(&error)), error.to_string()),
    };
    let rest = read_on(reader)?;
    let expected: Vec<_> = reading.records.iter().filter(|record| record.seq >= from).collect();
    let found: Vec<_> = rest.records.iter().collect();
    if expected != found {
        let seqs =
            |records: &[&ReadRecord]| records.iter().map(|record| record.seq).collect::<Vec<_>>();
        let text = format!("from {from}: {:?}, not {:?}", seqs(&found), seqs(&expected));
        return failure("a resumed reader reads something else than a fresh one", text);
    }
    Ok(())
}

/// The seqs of a segment's records, or its first seq if it holds none.
pub fn seqs_of(file: &Found, header: &Header) -> Vec<u64> {
    let seqs: Vec<_> = file.segment.records().map(|record| record.seq).collect();
    if seqs.is_empty() { vec![header.name.base.0] } else { seqs }
}

/// Seqs that segments of other branches cover and no segment of `branch`, nor a link of one, does.
pub fn holes(branch: &Branch, found: &[Found], marked: Option<SeqRange>) -> Vec<SeqRange> {
    let mut own: Vec<_> = found
        .iter()
        .filter_map(|file| Some((file, file.right_named()?)))
        .filter(|(_, header)| branch.owns(header.salt))
        .collect();
    own.sort_by_key(|(_, header)| header.name);
    let mut covered: Vec<SeqRange> = marked.into_iter().collect();
    for (index, (file, header)) in own.iter().enumerate() {
        let content = file.segment.records().last().map_or(header.start(), |last| last.seq + 1);
        let next = own.get(index + 1).map(|(_, next)| *next);
        let linked =
            next.filter(|next| next.previous.is_some_and(|(base, _)| base == header.name.base.0));
        let end =
            linked.map_or(content.max(file.segment.sealed_to.unwrap_or(0)), |next| next.start());
        covered.push(SeqRange::new(Seq(header.start().min(header.name.base.0)), Seq(end)));
        if let Some((base, _)) = header.previous {
            covered.push(SeqRange::new(Seq(base), Seq(header.name.base.0)));
        }
    }
    let mut holes = Vec::new();
    for file in found {
        let Some(header) = file.right_named().filter(|header| !branch.owns(header.salt)) else {
            continue;
        };
        if Some(header.journal) != branch.journal {
            continue;
        }
        // One that is not covered whole is not proven to be another's. Without records its first seq counts.
        let seqs = seqs_of(file, header);
        if seqs.iter().any(|seq| !is_in(&covered, *seq)) {
            // Its link may then exclude what is ours from there on.
            let to = seqs.last().map_or(0, |last| last + 1);
            holes.push(SeqRange::new(Seq(header.start()), Seq(to)));
        }
    }
    holes
}
