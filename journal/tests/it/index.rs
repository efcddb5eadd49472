//! The index against a scan: the same answers, whatever happened to the journal and to the files of the index.
//!
//! `LENSLOG_CASES=20000` runs longer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lenslog_journal::storage::{Fault, FaultyStorage, Storage};
use lenslog_journal::{
    Clock, Day, Entry, Journal, JournalView, Kind, NewRecord, Options, Query, Random,
    ReaderOptions, Seq, SimulatedClock, Tags,
};

use crate::common::{ROOT, clock, file_bytes, options, segments, write_bytes};

const TAGS: [&str; 6] = ["hot", "a", "b", "account:1", "account:2", "rare"];

/// A journal to which random things happen.
struct History {
    random: Random,
    storage: FaultyStorage,
    clock: std::sync::Arc<SimulatedClock>,
    hash_bits: u32,
    journal: Option<Journal>,
}

impl History {
    fn new(seed: u64, hash_bits: u32) -> Self {
        let (storage, clock) = (FaultyStorage::new(), clock());
        let mut history =
            Self { random: Random::new(seed), storage, clock, hash_bits, journal: None };
        history.open();
        history
    }

    fn open(&mut self) {
        let options = Options {
            segment_bytes_max: Some(64 << 10),
            index_hash_bits: self.hash_bits,
            ..options(&self.storage, &self.clock)
        };
        self.journal = Some(Journal::open(ROOT, &options).unwrap());
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    fn append(&mut self) {
        let count = 1 + self.random.below(4);
        let tags: Vec<Tags> = (0..count)
            .map(|_| {
                let chosen = TAGS.iter().enumerate().filter(|(index, _)| {
                    let one_in = [2, 4, 4, 6, 6, 60][*index];
                    self.random.below(one_in) == 0
                });
                let chosen: Vec<_> = chosen.map(|(_, tag)| *tag).collect();
                Tags::new(chosen).unwrap()
            })
            .collect();
        let payload = vec![7; self.random.below(600) as usize];
        let records: Vec<_> = tags
            .iter()
            .map(|tags| {
                let kind = Kind(1 + self.random.below(3) as u16);
                NewRecord::new(kind, 1, &payload).tags(tags.list())
            })
            .collect();
        let _ = match self.random.below(3) {
            0 => self.journal().append_unsynced(&records),
            _ => self.journal().append(&records),
        };
    }

    /// One thing that happens.
    fn step(&mut self) {
        match self.random.below(40) {
            0 => self.clock.advance(Duration::from_secs(86_400)),
            1 => {
                let day = Day(crate::common::morning().day().0 + self.random.below(6) as i32);
                let before = self.clock.read().wall.day().0 - 3;
                let _ = self.journal().prune_through(Day(day.0.min(before)));
                let _ = self.journal().unlink_pruned();
            }
            2 => self.storage.inject(Fault::SyncFails { nth: self.random.below(4) }),
            3 => {
                self.storage.heal();
                let _ = self.journal().close();
                self.journal = None;
                self.open();
            }
            4 => {
                // The process ends, or the power is cut.
                self.storage.heal();
                let cut = match self.random.below(2) {
                    0 => self.storage.snapshot(),
                    _ => self.storage.power_cut(self.random.bits()),
                };
                self.journal = None;
                self.storage = cut;
                self.open();
            }
            5 => self.damage_segment(),
            6 | 7 => self.damage_index(),
            _ => self.append(),
        }
    }

    fn damage_segment(&mut self) {
        let all = segments(&self.storage);
        let Some(path) = choose(&mut self.random, &all[..all.len() - 1]) else { return };
        let offset = 8192 + self.random.below(24 << 10);
        if offset < file_bytes(&self.storage, path).len() as u64 {
            self.storage.rot(path, offset, 1 << self.random.below(8));
        }
    }

    fn damage_index(&mut self) {
        self.storage.heal();
        let all = indexes(&self.storage);
        let Some(path) = choose(&mut self.random, &all).cloned() else { return };
        let mut bytes = file_bytes(&self.storage, &path);
        if bytes.is_empty() {
            return;
        }
        match self.random.below(4) {
            0 => drop(self.storage.remove(&path)),
            1 => {
                let len = self.random.below(bytes.len() as u64) as usize;
                write_bytes(&self.storage, &path, &bytes[..len]);
            }
            2 => {
                let Some(other) = choose(&mut self.random, &all) else { return };
                write_bytes(&self.storage, &path, &file_bytes(&self.storage, other));
            }
            _ => {
                let at = self.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
                write_bytes(&self.storage, &path, &bytes);
            }
        }
    }

    fn query(&mut self) -> Query {
        let items = 1 + self.random.below(2);
        (0..items).fold(Query::default(), |query, _| {
            let kinds: Vec<_> =
                (0..self.random.below(3)).map(|_| Kind(self.random.below(5) as u16)).collect();
            let tags: Vec<_> = (0..self.random.below(3))
                .map(|_| *choose(&mut self.random, &TAGS).unwrap())
                .collect();
            query.or(Query::item(kinds, tags))
        })
    }

    /// Compares the answers of the index with those of a scan.
    fn compare(&mut self, at: &str) {
        let query = self.query();
        let views = [
            self.journal().view(),
            JournalView::open(Path::new(ROOT), std::sync::Arc::new(self.storage.clone())).unwrap(),
        ];
        for (index, view) in views.iter().enumerate() {
            let (floor, head) = (view.floor().unwrap().0, view.head().unwrap().0);
            let from = Seq(floor + self.random.below(1 + head.saturating_sub(floor)));
            let until = Seq(from.0 + self.random.below(1 + head.saturating_sub(from.0)));
            let options = ReaderOptions::default().until(until);
            let (scanned, lost) = read(view, from, options.clone(), |record| query.matches(record));
            let (found, _) = read(view, from, options.clone().query(query.clone()), |_| true);
            let at = format!("{at}, view {index}, {query:?} from {from} until {until}");
            assert_eq!(found, scanned, "{at}");
            let mut backward = Vec::new();
            let mut reader =
                view.reader_backward(from, options.clone().query(query.clone())).unwrap();
            while let Some(entry) = reader.next().unwrap() {
                if let Entry::Record(record) = entry {
                    backward.push(record.seq.0);
                }
            }
            backward.reverse();
            assert_eq!(backward, scanned, "{at} backward");
            if let Ok(count) = view.count(query.clone()) {
                let all = ReaderOptions::default();
                let (all, _) = read(view, Seq::FIRST, all, |record| query.matches(record));
                assert_eq!(count as usize, all.len(), "{at}");
                assert_eq!(view.exists(query.clone()).unwrap(), count > 0, "{at}");
                let last = view.last(query.clone()).unwrap().map(|record| record.seq.0);
                assert_eq!(last, all.last().copied(), "{at}");
                if let Some(seq) = last {
                    assert_eq!(view.get(Seq(seq)).unwrap().unwrap().seq.0, seq, "{at}");
                }
            }
            // A loss that the scan does not know is none.
            let (_, found_lost) = read(view, from, options.query(query.clone()), |_| true);
            assert!(
                found_lost.iter().all(|seq| lost.contains(seq)),
                "{at}: {found_lost:?} {lost:?}"
            );
        }
    }
}

fn choose<'a, T>(random: &mut Random, all: &'a [T]) -> Option<&'a T> {
    all.get(random.below(all.len().max(1) as u64) as usize)
}

fn read(
    view: &JournalView,
    from: Seq,
    options: ReaderOptions,
    keep: impl Fn(&lenslog_journal::Record<'_>) -> bool,
) -> (Vec<u64>, Vec<u64>) {
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    let mut reader = view.reader(from, options).unwrap();
    while let Some(entry) = reader.next().unwrap() {
        match entry {
            Entry::Record(record) if keep(&record) => found.push(record.seq.0),
            Entry::Record(_) => {}
            Entry::Lost(range) => {
                lost.extend(range.range.from.0..range.range.to.0.min(range.range.from.0 + 100_000))
            }
        }
    }
    (found, lost)
}

/// The files of the index.
fn indexes(storage: &FaultyStorage) -> Vec<PathBuf> {
    let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tags");
    storage.files().into_iter().filter(is_index).collect()
}

fn histories(hash_bits: u32) {
    let cases = std::env::var("LENSLOG_CASES").map_or(60, |cases| cases.parse().unwrap());
    let first = std::env::var("LENSLOG_INDEX_FROM").map_or(0, |first| first.parse().unwrap());
    let mut seen = 0;
    for seed in first..first + cases {
        let mut history = History::new(seed, hash_bits);
        for step in 0..150 {
            history.step();
            if step % 10 == 9 {
                history.storage.heal();
                history.compare(&format!("seed {seed} step {step}"));
            }
        }
        seen += indexes(&history.storage).len() as u64;
    }
    assert!(seen > cases / 2, "{seen} files of the index");
}

#[test]
fn the_index_finds_what_a_scan_finds() {
    histories(64);
}

#[test]
fn the_index_finds_what_a_scan_finds_among_collisions() {
    histories(4);
}

#[test]
fn every_byte_of_an_index_may_be_flipped() {
    let mut history = History::new(7, 64);
    for _ in 0..60 {
        history.append();
    }
    history.clock.advance(Duration::from_secs(86_400));
    history.append();
    let view =
        JournalView::open(Path::new(ROOT), std::sync::Arc::new(history.storage.clone())).unwrap();
    let path = indexes(&history.storage).remove(0);
    let whole = file_bytes(&history.storage, &path);
    let query = Query::tag("account:1").or(Query::item([Kind(2)], ["rare"]));
    let options = ReaderOptions::default();
    let (expected, _) = read(&view, Seq::FIRST, options.clone(), |record| query.matches(record));
    let indexed = || read(&view, Seq(3), options.clone().query(query.clone()), |_| true).0;
    let expected: Vec<_> = expected.into_iter().filter(|seq| *seq >= 3).collect();
    assert!(expected.len() > 5);
    assert_eq!(indexed(), expected);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        write_bytes(&history.storage, &path, &bytes);
        assert_eq!(indexed(), expected, "byte {at}");
    }
    history.storage.remove(&path).unwrap();
    assert_eq!(indexed(), expected);
}

/// Bytes read by a query in all segments.
fn bytes_of(storage: &FaultyStorage, view: &JournalView, query: &Query) -> u64 {
    let before = storage.bytes_read();
    let options = ReaderOptions::default().query(query.clone());
    read(view, Seq::FIRST, options, |_| true);
    storage.bytes_read() - before
}

#[test]
fn a_query_reads_the_frames_of_its_matches() {
    let (storage, clock) = (FaultyStorage::new(), clock());
    let journal = Journal::open(ROOT, &options(&storage, &clock)).unwrap();
    let names = Tags::new(["rare"]).unwrap();
    for day in 0..10 {
        for index in 0..100 {
            let tags = if index == 50 && day % 5 == 2 { names.list() } else { Default::default() };
            let _ = journal.append(&[NewRecord::new(Kind(1), 1, &[7; 2000]).tags(tags)]).unwrap();
        }
        clock.advance(Duration::from_secs(86_400));
    }
    let _ = journal.append(&[NewRecord::new(Kind(1), 1, b"of the active segment")]).unwrap();
    for view in [
        journal.view(),
        JournalView::open(Path::new(ROOT), std::sync::Arc::new(storage.clone())).unwrap(),
    ] {
        let all = bytes_of(&storage, &view, &Query::all());
        let absent = bytes_of(&storage, &view, &Query::tag("absent"));
        let two = bytes_of(&storage, &view, &Query::tag("rare"));
        // A block of the header and one of the dictionary for each segment.
        assert!(absent < 10 * 3 * 4096 + 200_000, "{absent} of {all}");
        assert!(two < absent + 200_000 && all > 4_000_000, "{two} {absent} {all}");
        assert_eq!(view.count(Query::tag("rare")).unwrap(), 2);
        let before = storage.bytes_read();
        assert_eq!(view.get(Seq(555)).unwrap().unwrap().seq, Seq(555));
        let one = storage.bytes_read() - before;
        assert!(one < 250_000, "{one}");
    }
}
