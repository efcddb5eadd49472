//! Power cuts at every point of random histories, on a simulated disk: P1 and P2, seed by seed.
//!
//! `LENSLOG_SEEDS=1000000 cargo test -p lenslog-journal --release --test power_cuts` runs longer;
//! `LENSLOG_SEED=4711` repeats one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::{Found, ROOT, clock, options, read_all, record, view};
use lenslog_journal::storage::{Fault, FaultyStorage};
use lenslog_journal::{
    Appended, Error, Journal, NewRecord, Opening, Random, Seq, SimulatedClock, SystemRecord,
};

/// What the history's author knows of the journal.
#[derive(Default)]
struct Model {
    /// Everything ever appended, by its number, which is its payload.
    batches: Vec<Batch>,
    /// Every seq that was ever told to an appender, with the record it named.
    seqs: BTreeMap<u64, (usize, usize)>,
}

struct Batch {
    records: usize,
    outcome: Outcome,
    /// A sync that returns makes it certain.
    unsynced: bool,
    first: Option<Seq>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Outcome {
    /// It must be there for ever.
    Acknowledged,
    /// It may be there, whole, or not.
    Possible,
    /// It must never appear.
    Refused,
}

fn payload(batch: usize, index: usize, size: usize) -> Vec<u8> {
    let mut bytes = format!("{batch}:{index}:").into_bytes();
    bytes.resize(bytes.len() + size, b'.');
    bytes
}

fn parse(payload: &[u8]) -> (usize, usize) {
    let text = std::str::from_utf8(payload).unwrap();
    let mut parts = text.split(':').map(|part| part.parse().ok());
    (parts.next().flatten().unwrap(), parts.next().flatten().unwrap())
}

impl Model {
    /// Everything acknowledged by now stays so: what was unsynced and is read back becomes certain.
    fn check(&mut self, found: &Found, seed: u64) {
        assert!(found.lost.is_empty(), "seed {seed}: lost {:?}", found.lost);
        let mut seen: HashMap<usize, Vec<(usize, Seq)>> = HashMap::new();
        let mut last = Seq(0);
        for (seq, payload) in &found.records {
            assert!(*seq > last, "seed {seed}: order");
            last = *seq;
            let (batch, index) = parse(payload);
            seen.entry(batch).or_default().push((index, *seq));
            let known = self.seqs.entry(seq.0).or_insert((batch, index));
            assert_eq!(*known, (batch, index), "seed {seed}: seq {seq} was used twice");
        }
        for (number, batch) in self.batches.iter_mut().enumerate() {
            match seen.get(&number) {
                None => assert_ne!(
                    batch.outcome,
                    Outcome::Acknowledged,
                    "seed {seed}: batch {number} ({:?}) is gone",
                    batch.first
                ),
                Some(records) => {
                    assert_ne!(batch.outcome, Outcome::Refused, "seed {seed}: batch {number}");
                    let indices: Vec<_> = records.iter().map(|(index, _)| *index).collect();
                    let all: Vec<_> = (0..batch.records).collect();
                    assert_eq!(indices, all, "seed {seed}: half of batch {number}, or twice");
                    if let Some(first) = batch.first {
                        assert_eq!(records[0].1, first, "seed {seed}: batch {number} moved");
                    }
                    batch.outcome = Outcome::Acknowledged;
                    batch.first = Some(records[0].1);
                }
            }
        }
    }

    fn note(&mut self, records: usize, result: &Result<Appended, Error>, durable: bool) {
        let outcome = match result {
            Ok(_) if durable => Outcome::Acknowledged,
            Ok(_) | Err(Error::Sync { .. } | Error::Io { .. }) => Outcome::Possible,
            Err(_) => Outcome::Refused,
        };
        let first = result.as_ref().ok().map(|appended| appended.seq());
        let number = self.batches.len();
        for (index, seq) in
            first.iter().flat_map(|first| first.0..first.0 + records as u64).enumerate()
        {
            let before = self.seqs.insert(seq, (number, index));
            assert_eq!(before, None, "seq {seq} was given twice");
        }
        self.batches.push(Batch { records, outcome, unsynced: result.is_ok(), first });
    }

    /// After a sync that returned, everything in the operating system is durable.
    fn note_sync(&mut self) {
        for batch in &mut self.batches {
            if batch.outcome == Outcome::Possible && batch.unsynced {
                batch.outcome = Outcome::Acknowledged;
            }
        }
    }

    /// A power cut: what was only possible stays so for ever; a later sync does not reach it.
    fn note_power_cut(&mut self) {
        for batch in &mut self.batches {
            batch.unsynced &= batch.outcome != Outcome::Possible;
        }
    }
}

fn act(journal: &Journal, model: &mut Model, random: &mut Random, clock: &SimulatedClock) {
    match random.below(20) {
        0..=9 => append(journal, model, random, true),
        10..=14 => append(journal, model, random, false),
        15..=16 => {
            if journal.sync().is_ok() {
                model.note_sync();
            }
        }
        17 => clock.advance(Duration::from_secs(random.below(100_000))),
        18 => {
            let day = clock_day(clock);
            let _ = journal.prune_through(day.previous().previous());
        }
        _ => {
            let _ = journal.unlink_pruned();
        }
    }
}

fn clock_day(clock: &SimulatedClock) -> lenslog_journal::Day {
    lenslog_journal::Clock::read(clock).wall.day()
}

fn append(journal: &Journal, model: &mut Model, random: &mut Random, durable: bool) {
    let records = 1 + random.below(3) as usize;
    let number = model.batches.len();
    let size = if random.once_in(8) { random.below(9000) } else { random.below(300) } as usize;
    let payloads: Vec<_> = (0..records).map(|index| payload(number, index, size)).collect();
    let batch: Vec<_> = payloads
        .iter()
        .map(|payload| NewRecord {
            key: random.once_in(2).then_some(key(number, payload)),
            ..record(payload)
        })
        .collect();
    let result = if durable { journal.append(&batch) } else { journal.append_unsynced(&batch) };
    if durable && result.is_ok() {
        model.note_sync();
    }
    model.note(records, &result, durable);
}

fn key(number: usize, payload: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key[8..].copy_from_slice(&payload[..4].repeat(2));
    key
}

/// Records of pruned days are gone by right.
fn forget_pruned(model: &mut Model, found: &Found, journal: &Journal) {
    let floor = journal.view().floor().unwrap();
    let mut ranges: Vec<_> = found
        .system
        .iter()
        .filter_map(|record| match record {
            SystemRecord::PrunedThrough(pruned) => Some(pruned.segments.iter().map(|s| s.range)),
            _ => None,
        })
        .flatten()
        .collect();
    ranges.push(lenslog_journal::SeqRange::new(Seq(0), floor));
    for batch in &mut model.batches {
        let first = batch.first.filter(|first| ranges.iter().any(|range| range.contains(*first)));
        if first.is_some() {
            batch.outcome = Outcome::Possible;
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut storage = FaultyStorage::new();
    let clock = clock();
    let mut model = Model::default();
    for round in 0..4 {
        let mut options = options(&storage, &clock);
        options.segment_bytes_max = Some(24 << 10);
        options.seed = Some(seed * 10 + round);
        options.pad_to_block = !seed.is_multiple_of(4);
        storage.inject(Fault::PowerCutAfter { operations: random.below(90) });
        if random.once_in(4) {
            storage.inject(Fault::SyncFails { nth: random.below(10) });
        }
        if let Ok(journal) = Journal::open(ROOT, &options) {
            if let Opening::Recovered { gaps, recovered } = journal.opening() {
                assert!(gaps.is_empty(), "seed {seed}: damage where there was none: {gaps:?}");
                assert!(!recovered.damaged);
            }
            for _ in 0..random.below(40) {
                act(&journal, &mut model, &mut random, &clock);
            }
            if random.once_in(3) && journal.close().is_ok() {
                model.note_sync();
            }
        }
        storage = storage.power_cut(random.bits());
        model.note_power_cut();
        // What a reader sees before anybody recovers is what the recovery keeps.
        let at_rest = lenslog_journal::JournalView::open(ROOT.as_ref(), Arc::new(storage.clone()))
            .map(|view| read_all(&view));
        let mut options = options.clone();
        options.storage = Arc::new(storage.clone());
        options.seed = Some(seed * 10 + round + 5);
        let journal = Journal::open(ROOT, &options).unwrap();
        let found = read_all(&journal.view());
        if let Ok(at_rest) = at_rest {
            assert_eq!(at_rest.records, found.records, "seed {seed}: at rest and recovered differ");
        }
        forget_pruned(&mut model, &found, &journal);
        model.check(&found, seed);
        drop(journal);
        assert_eq!(read_all(&view(&storage)).records, found.records, "seed {seed}: after closing");
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_else_appears() {
    if let Some(seed) = std::env::var("LENSLOG_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    let count = std::env::var("LENSLOG_SEEDS").ok().and_then(|count| count.parse().ok());
    let count: u64 = count.unwrap_or(10_000);
    std::thread::scope(|scope| {
        for part in 0..2 {
            scope.spawn(move || {
                for seed in (part..count).step_by(2) {
                    let result = std::panic::catch_unwind(|| run(seed));
                    assert!(result.is_ok(), "repeat with LENSLOG_SEED={seed}");
                }
            });
        }
    });
}
