//! Journals of many segments: damage at random places costs what it hits; opening reads the tail and keeps little.
//!
//! `LENSLOG_FLIPS=20000` damages more places; a failure names its seed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::common::hooked::Hooked;
use crate::common::{
    ROOT, append, clock, file_bytes, frames, hooked_options, open, options, read_all, record,
    segments, view,
};
use lenslog_journal::storage::{Fault, FaultyStorage, RealStorage};
use lenslog_journal::{ControlRecord, Journal, Opening, Options, Random, Seq};

/// Thousands of records in a dozen segments, in batches of many sizes, many batches a sync.
fn large() -> FaultyStorage {
    let storage = FaultyStorage::new();
    let mut random = Random::new(1);
    let clock = clock();
    let options = Options { segment_bytes_max: Some(128 << 10), ..options(&storage, &clock) };
    let journal = Journal::open(ROOT, &options).unwrap();
    let mut appended = 0;
    while appended < 5000 {
        let size = if random.once_in(50) { random.below(20_000) } else { random.below(400) };
        let payload: Vec<u8> = (0..size).map(|_| random.bits() as u8).collect();
        let count = if random.once_in(30) { 20 } else { 1 + random.below(3) as usize };
        let batch = vec![record(&payload[..payload.len().min(60_000 / count)]); count];
        let _ = journal.append_unsynced(&batch).unwrap();
        appended += count;
        if random.once_in(20) {
            journal.sync().unwrap();
        }
        if random.once_in(800) {
            clock.advance(Duration::from_secs(86_400));
        }
    }
    journal.close().unwrap();
    assert!(segments(&storage).len() > 8);
    storage.snapshot()
}

type Frames = BTreeMap<PathBuf, (u64, Vec<(Range<u64>, Vec<u64>)>)>;

fn map(storage: &FaultyStorage) -> Frames {
    let of = |path: PathBuf| {
        let bytes = file_bytes(storage, &path);
        (path, (bytes.len() as u64, frames(&bytes)))
    };
    segments(storage).into_iter().map(of).collect()
}

/// The seqs of the frames that a range of bytes touches.
fn hit(frames: &[(Range<u64>, Vec<u64>)], damaged: &Range<u64>) -> Vec<u64> {
    let touched = |range: &Range<u64>| range.start < damaged.end && damaged.start < range.end;
    frames.iter().filter(|(range, _)| touched(range)).flat_map(|(_, seqs)| seqs.clone()).collect()
}

fn check(original: &FaultyStorage, map: &Frames, whole: &crate::common::Found, seed: u64) {
    let mut random = Random::new(seed);
    let storage = original.snapshot();
    let (path, (len, frames)) = map.iter().nth(random.below(map.len() as u64) as usize).unwrap();
    let offset = random.below(*len);
    let damaged = if random.once_in(4) {
        let block = offset / 4096 * 4096..offset / 4096 * 4096 + 4096;
        let (path, offset) = (path.clone(), block.start);
        storage.inject(Fault::Unreadable { path, offset, len: 4096 });
        block
    } else {
        storage.rot(path, offset, 1 << random.below(8));
        offset..offset + 1
    };
    let at = format!("seed {seed}: {} at {damaged:?}", path.display());
    let lost = hit(frames, &damaged);
    let before = read_all(&view(&storage));
    assert_eq!(before.lost_seqs(), lost, "{at}");
    for found in &before.lost {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(found.segment.file_name(), name, "{at}");
        assert!(found.offset < damaged.end && found.offset + (64 << 10) > damaged.start, "{at}");
    }
    let rest: Vec<_> =
        whole.records.iter().filter(|(seq, _)| !lost.contains(&seq.0)).cloned().collect();
    assert!(before.records == rest, "{at}: others are lost or altered");
    if random.once_in(4) {
        check_writer(&storage, &lost, &rest, &at);
    }
}

/// The recorder starts, reports the loss in a `Gap`, and continues.
fn check_writer(storage: &FaultyStorage, lost: &[u64], rest: &[(Seq, Vec<u8>)], at: &str) {
    let journal = open(storage);
    let next = append(&journal, b"next");
    assert!(next > rest.last().unwrap().0, "{at}");
    for found in read_all(&journal.view()).lost {
        journal.report_lost(&found).unwrap();
    }
    let found = read_all(&journal.view());
    assert!(found.records[..rest.len()] == *rest, "{at}");
    let reported: Vec<u64> = found
        .system
        .iter()
        .filter_map(|system| match system {
            ControlRecord::Gap(gap) => Some(gap.range.from.0..gap.range.to.0),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(reported, lost, "{at}");
    assert_eq!(journal.health().is_degraded(), !lost.is_empty(), "{at}");
}

#[test]
fn damage_in_a_large_journal_costs_only_the_frames_it_hits() {
    let original = large();
    let (map, whole) = (map(&original), read_all(&view(&original)));
    assert!(whole.records.len() >= 5000 && whole.lost.is_empty());
    let count = std::env::var("LENSLOG_FLIPS").ok().and_then(|count| count.parse().ok());
    let count: u64 = count.unwrap_or(800);
    std::thread::scope(|scope| {
        for part in 0..2 {
            let (original, map, whole) = (&original, &map, &whole);
            scope.spawn(move || {
                for seed in (part..count).step_by(2) {
                    check(original, map, whole, seed);
                }
            });
        }
    });
}

const ROLE: &str = "LENSLOG_TEST_ROLE";
const DIRECTORY: &str = "LENSLOG_TEST_DIRECTORY";

fn run_child(role: &str, directory: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "large_journals::child", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(DIRECTORY, directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{role}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What this test program does when it is run again as another process.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["build", records, segment, keys] => {
            build(&directory, records.parse().unwrap(), segment.parse().unwrap(), keys == "keys");
        }
        ["open"] => {
            let journal = Journal::open(&directory, &Options::default()).unwrap();
            assert!(matches!(journal.opening(), Opening::Recovered { .. }));
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
            std::mem::forget(journal);
        }
        _ => panic!("no such role"),
    }
    // Nothing is closed: the process just ends.
    std::process::exit(0);
}

/// Records in batches of a hundred, then fifty of the next day in a segment of their own.
fn build(directory: &Path, records: u64, segment: u64, keys: bool) {
    let clock = clock();
    let options = Options {
        clock: Arc::clone(&clock) as _,
        segment_bytes_max: Some(segment),
        ..Options::default()
    };
    let journal = Journal::open(directory, &options).unwrap();
    for batch in 0..records / 100 {
        let key = |index: u64| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&(batch * 100 + index).to_le_bytes());
            keys.then_some(key)
        };
        let batch: Vec<_> = (0..100).map(|index| record(&[7; 60]).key(key(index))).collect();
        let _ = journal.append_unsynced(&batch).unwrap();
    }
    journal.sync().unwrap();
    if !keys {
        clock.advance(Duration::from_secs(86_400));
        for _ in 0..50 {
            let _ = journal.append(&[record(&[8; 100])]).unwrap();
        }
    }
    std::mem::forget(journal);
}

fn peak_kilobytes(directory: &Path) -> u64 {
    let output = run_child("open", directory);
    let peak = output.split("VmHWM:").nth(1).unwrap().split_whitespace().next().unwrap();
    peak.parse().unwrap()
}

/// Bytes read by opening: after a kill, and after a clean end.
fn bytes_read(directory: &Path) -> [u64; 2] {
    let clock = clock();
    clock.advance(Duration::from_secs(86_400));
    let open = |is_clean: bool| {
        let storage = Hooked::counting(RealStorage);
        let options =
            Options { segment_bytes_max: Some(4 << 20), ..hooked_options(&storage, &clock) };
        let journal = Journal::open(directory, &options).unwrap();
        let read = storage.bytes_read();
        assert_eq!(*journal.opening() == Opening::Clean, is_clean);
        journal.close().unwrap();
        read
    };
    [open(false), open(true)]
}

#[test]
fn opening_reads_as_much_for_a_million_as_for_ten_thousand() {
    let read = [10_000, 1_000_000].map(|records| {
        let directory = tempfile::tempdir().unwrap();
        run_child(&format!("build {records} 4194304 -"), directory.path());
        let peak = peak_kilobytes(directory.path());
        let bytes = bytes_read(directory.path());
        let segments = std::fs::read_dir(directory.path().join("journal")).unwrap().count();
        (bytes, peak, segments)
    });
    let [(small, small_peak, few), (large, large_peak, many)] = read;
    assert!(many > few + 15, "{few} and {many} files");
    assert_eq!(small, large);
    assert!(large[0] < 2 << 20 && large[1] < 64 << 10, "{large:?}");
    assert!(large_peak < small_peak + 4096, "{small_peak} kB and {large_peak} kB");
}

#[test]
fn a_full_segment_with_keys_is_recovered_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    run_child("build 250000 67108864 keys", directory.path());
    let journal = directory.path().join("journal");
    let bytes: u64 = std::fs::read_dir(&journal)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes > 24 << 20);
    let peak = peak_kilobytes(directory.path());
    assert!(peak < 32 << 10, "{peak} kB for {bytes} bytes");
}
