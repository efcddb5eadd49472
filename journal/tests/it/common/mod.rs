//! What the journal's tests share: opening on a simulated disk, appending, reading everything back.

pub mod hooked;
pub mod real;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use self::hooked::Step;
use lenslog_journal::storage::{FaultyStorage, Storage};
use lenslog_journal::{
    Appended, Entry, Error, Journal, JournalView, Kind, Lost, NewRecord, Options, ReaderOptions,
    Seq, SimulatedClock, Timestamp,
};

pub const ROOT: &str = "/data";
pub const KIND: Kind = Kind(1);

/// 2026-11-23T10:00:00+01:00
pub fn morning() -> Timestamp {
    Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 }
}

pub fn clock() -> Arc<SimulatedClock> {
    Arc::new(SimulatedClock::new(morning()))
}

pub fn options(storage: &FaultyStorage, clock: &Arc<SimulatedClock>) -> Options {
    Options {
        storage: Arc::new(storage.clone()),
        clock: Arc::clone(clock) as _,
        seed: Some(7),
        ..Options::default()
    }
}

pub fn open(storage: &FaultyStorage) -> Journal {
    Journal::open(ROOT, &options(storage, &clock())).unwrap()
}

pub fn record(payload: &[u8]) -> NewRecord<'_> {
    NewRecord::new(KIND, 1, payload)
}

pub fn append(journal: &Journal, payload: &[u8]) -> Seq {
    try_append(journal, payload).unwrap()
}

pub fn try_append(journal: &Journal, payload: &[u8]) -> Result<Seq, Error> {
    journal.append(&[record(payload)]).map(Appended::seq)
}

pub fn view(storage: &FaultyStorage) -> JournalView {
    JournalView::open(Path::new(ROOT), Arc::new(storage.clone())).unwrap()
}

/// Everything a reader finds: callers' records, and what is lost.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Found {
    pub records: Vec<(Seq, Vec<u8>)>,
    pub system: Vec<lenslog_journal::ControlRecord>,
    pub lost: Vec<Lost>,
}

impl Found {
    pub fn payloads(&self) -> Vec<&[u8]> {
        self.records.iter().map(|(_, payload)| payload.as_slice()).collect()
    }

    pub fn seqs(&self) -> Vec<u64> {
        self.records.iter().map(|(seq, _)| seq.0).collect()
    }

    pub fn lost_seqs(&self) -> Vec<u64> {
        self.lost.iter().flat_map(|lost| lost.range.from.0..lost.range.to.0).collect()
    }
}

pub fn read_all(view: &JournalView) -> Found {
    read_from(view, Seq::FIRST)
}

pub fn read_from(view: &JournalView, from: Seq) -> Found {
    let mut reader = view.reader(from, ReaderOptions::default()).unwrap();
    let mut found = Found::default();
    while let Some(entry) = reader.next().unwrap() {
        match entry {
            Entry::Record(record) if record.kind.is_reserved() => {
                let system = lenslog_journal::ControlRecord::decode(
                    record.kind,
                    record.version,
                    record.payload,
                );
                found.system.push(system.unwrap());
            }
            Entry::Record(record) => found.records.push((record.seq, record.payload.to_vec())),
            Entry::Lost(lost) => found.lost.push(lost),
        }
    }
    found
}

/// Options for a storage that a test steps into.
pub fn hooked_options(storage: &hooked::Hooked, clock: &Arc<SimulatedClock>) -> Options {
    Options {
        storage: Arc::new(storage.clone()),
        clock: Arc::clone(clock) as _,
        seed: Some(11),
        ..Options::default()
    }
}

/// A journal on this storage, into which a test steps: once armed, `act` runs at the next operation that `is_it` picks,
/// that one time, and what it returns is what the operation meets.
pub fn stepped_into(
    storage: &FaultyStorage,
    is_it: impl Fn(Step, &Path) -> bool + Send + Sync + 'static,
    act: impl Fn(&Journal) -> io::Result<()> + Send + Sync + 'static,
) -> (Journal, Arc<AtomicBool>) {
    let journal: Arc<OnceLock<Journal>> = Arc::default();
    let armed = Arc::new(AtomicBool::new(false));
    let (seen, trigger) = (Arc::clone(&journal), Arc::clone(&armed));
    let hooked = hooked::Hooked::new(storage.clone(), move |step, path| {
        match is_it(step, path) && trigger.swap(false, Ordering::Relaxed) {
            true => act(seen.get().unwrap()),
            false => Ok(()),
        }
    });
    let opened = Journal::open(ROOT, &hooked_options(&hooked, &clock())).unwrap();
    (journal.get_or_init(|| opened).clone(), armed)
}

/// Whether it is a sync of the segment that is appended to, which was opened under its temporary name. The thread
/// that syncs holds no lock.
pub fn syncs_active(step: Step, path: &Path) -> bool {
    step == Step::Sync && path.ends_with("spare")
}

/// The segment files, oldest first.
pub fn segments(storage: &FaultyStorage) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
    storage.files().into_iter().filter(is_segment).collect()
}

pub fn file_bytes(storage: &FaultyStorage, path: &Path) -> Vec<u8> {
    lenslog_journal::storage::read_file(storage, path, usize::MAX).unwrap()
}

pub fn write_bytes(storage: &FaultyStorage, path: &Path, bytes: &[u8]) {
    let file = storage.open(path, lenslog_journal::storage::Access::Truncate).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
}

/// Where the frames of a segment stand, with their seqs: read from the bytes, as FORMAT.md has them.
pub fn frames(bytes: &[u8]) -> Vec<(std::ops::Range<u64>, Vec<u64>)> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut frames = Vec::new();
    let mut at = 8192;
    while at + 48 <= bytes.len() {
        if &bytes[at..at + 4] == b"LFRM" {
            let first = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
            let end = at + 48 + word(at + 24) as usize;
            let count = u64::from(word(at + 28));
            // What was forged may claim anything; a record has 24 bytes at least.
            if end > bytes.len() || count > (end - at) as u64 / 24 {
                at += 8;
                continue;
            }
            let seqs = (0..count).map(|index| first.saturating_add(index)).collect();
            frames.push((at as u64..end as u64, seqs));
            at = end;
        } else {
            at += 8;
        }
    }
    frames
}
