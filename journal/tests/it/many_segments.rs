//! A journal of 10,000 small segments: reading and pruning are linear in their number, opening does not depend on it.
//!
//! What is asked of the storage is counted, not timed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::hooked::{Hooked, Step};
use crate::common::{clock, hooked_options, morning, read_all, record};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{
    Entry, Journal, JournalView, Opening, Options, Query, ReaderOptions, Seq, Tags,
};

const DAY: Duration = Duration::from_secs(86_400);
const HEADER_BYTES: u64 = 8 << 10;
const SEGMENT_BYTES: u64 = 32 << 10;
const FEW: u64 = 2_000;
const MANY: u64 = 10_000;
/// What `MANY` may cost where `FEW` costs one, as a rational number: 5.5.
const RATIO_MAX: (u64, u64) = (11, 2);

/// What a query reads of each index without a match: its first block, a block of its dictionary, and whether it ends there.
const INDEX_BYTES_MAX: u64 = 2 * 4096 + 1;

const ROLE: &str = "LENSLOG_TEST_ROLE";
const DIRECTORY: &str = "LENSLOG_TEST_DIRECTORY";

/// A directory in memory where there is one: a sync costs nothing there.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn run_child(role: &str, directory: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "many_segments::child", "--nocapture", "--test-threads=1"])
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
        ["build", days] => build(&directory, days.parse().unwrap()),
        ["read", tag] => {
            let view = JournalView::open(&directory, Arc::new(RealStorage)).unwrap();
            let options = ReaderOptions::default();
            let options = if tag.is_empty() { options } else { options.query(Query::tag(tag)) };
            let mut reader = view.reader(Seq::FIRST, options).unwrap();
            while let Some(entry) = reader.next().unwrap() {
                assert!(matches!(entry, Entry::Record(_)));
            }
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
        }
        _ => panic!("no such role"),
    }
    // Nothing is closed: the process just ends.
    std::process::exit(0);
}

/// One record a day, each day in a segment of its own and with a tag of its own.
fn build(directory: &Path, days: u64) {
    let clock = clock();
    let options = Options {
        clock: Arc::clone(&clock) as _,
        segment_bytes_max: Some(SEGMENT_BYTES),
        ..Options::default()
    };
    let journal = Journal::open(directory, &options).unwrap();
    for day in 0..days {
        let tags = Tags::new([format!("day:{day}")]).unwrap();
        let _ = journal.append(&[record(&[7; 60]).tags(tags.list())]).unwrap();
        clock.advance(DAY);
    }
    std::mem::forget(journal);
}

/// What was asked of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    bytes: u64,
    opens: u64,
    lists: u64,
}

#[derive(Default)]
struct Counts {
    opens: AtomicU64,
    lists: AtomicU64,
}

struct Counted {
    storage: Hooked,
    counts: Arc<Counts>,
}

impl Counted {
    fn new() -> Self {
        let counts: Arc<Counts> = Arc::default();
        let counting = Arc::clone(&counts);
        let storage = Hooked::new(RealStorage, move |step, _| {
            match step {
                Step::Open(_) => counting.opens.fetch_add(1, Ordering::Relaxed),
                Step::List => counting.lists.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            Ok(())
        });
        Self { storage, counts }
    }

    fn cost(&self) -> Cost {
        Cost {
            bytes: self.storage.bytes_read(),
            opens: self.counts.opens.load(Ordering::Relaxed),
            lists: self.counts.lists.load(Ordering::Relaxed),
        }
    }

    /// What `work` costs.
    fn of<T>(&self, work: impl FnOnce() -> T) -> (T, Cost) {
        let before = self.cost();
        let result = work();
        let after = self.cost();
        let cost = Cost {
            bytes: after.bytes - before.bytes,
            opens: after.opens - before.opens,
            lists: after.lists - before.lists,
        };
        (result, cost)
    }
}

fn built(days: u64) -> tempfile::TempDir {
    let directory = scratch();
    run_child(&format!("build {days}"), directory.path());
    directory
}

/// Number of segments, and the bytes in them that are no header.
fn segments(directory: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(directory.join("journal")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|found| found == "seg"));
    let lens: Vec<_> = segments.map(|path| path.metadata().unwrap().len()).collect();
    (lens.len() as u64, lens.iter().sum::<u64>() - lens.len() as u64 * HEADER_BYTES)
}

fn assert_linear(what: &str, few: Cost, many: Cost) {
    let (numerator, denominator) = RATIO_MAX;
    for (name, few, many) in [("bytes", few.bytes, many.bytes), ("opens", few.opens, many.opens)] {
        // A few more for what does not depend on the number.
        let max = few.max(16) * numerator / denominator;
        assert!(many <= max, "{what}: {name}: {few} for {FEW} segments, {many} for {MANY}");
    }
    assert!(many.lists <= few.lists.max(4), "{what}: lists: {few:?}, {many:?}");
}

fn peak_kilobytes(directory: &Path, tag: &str) -> u64 {
    let output = run_child(&format!("read {tag}"), directory);
    let peak = output.split("VmHWM:").nth(1).unwrap().split_whitespace().next().unwrap();
    peak.parse().unwrap()
}

/// Costs of reading everything, and of [`JournalView::left_out`].
fn read(directory: &Path, days: u64) -> [Cost; 2] {
    let counted = Counted::new();
    let ((found, left_out), _) = counted.of(|| {
        let view = JournalView::open(directory, Arc::new(counted.storage.clone())).unwrap();
        (counted.of(|| read_all(&view)), counted.of(|| view.left_out().unwrap()))
    });
    let (found, reading) = found;
    assert_eq!((found.records.len() as u64, found.lost.len()), (days, 0));
    assert_eq!(left_out.0, []);
    let (count, bytes) = segments(directory);
    assert!(count >= days, "{count} segments");
    let max = bytes + 5 * HEADER_BYTES * count;
    assert!(reading.bytes <= max, "{reading:?}, {max} bytes at most");
    [reading, left_out.1]
}

/// Costs of recovering, of opening after a clean end, of pruning half of the days, and of removing their segments.
fn open_and_prune(directory: &Path, days: u64) -> [Cost; 4] {
    let counted = Counted::new();
    let clock = clock();
    clock.advance(DAY * u32::try_from(days).unwrap());
    let options = Options {
        segment_bytes_max: Some(SEGMENT_BYTES),
        ..hooked_options(&counted.storage, &clock)
    };
    let open = || counted.of(|| Journal::open(directory, &options).unwrap());
    let (journal, recovering) = open();
    assert!(matches!(journal.opening(), Opening::Recovered { .. }));
    journal.close().unwrap();
    drop(journal);
    let (journal, opening) = open();
    assert_eq!(*journal.opening(), Opening::Clean);
    let before = segments(directory).0;
    let half = lenslog_journal::Day(morning().day().0 + i32::try_from(days / 2).unwrap() - 1);
    let (pruned, pruning) = counted.of(|| journal.prune_through(half));
    pruned.unwrap();
    let (unlinked, unlinking) = counted.of(|| journal.unlink_pruned());
    unlinked.unwrap();
    assert!(segments(directory).0 <= before - days / 2 + 2);
    assert_eq!(read_all(&journal.view()).records.len() as u64, days - days / 2);
    journal.close().unwrap();
    [recovering, opening, pruning, unlinking]
}

/// Costs of finding the only record with a tag, and that there is none.
fn find(directory: &Path, days: u64) -> [Cost; 2] {
    let counted = Counted::new();
    let view = JournalView::open(directory, Arc::new(counted.storage.clone())).unwrap();
    // The chain is followed once.
    assert_eq!(view.segments().unwrap().len() as u64, days);
    [(format!("day:{}", days / 3), 1), ("day:none".to_owned(), 0)].map(|(tag, expected)| {
        let (count, cost) = counted.of(|| view.count(Query::tag(tag)).unwrap());
        assert_eq!(count, expected);
        cost
    })
}

#[test]
fn a_query_over_ten_thousand_segments_reads_a_little_of_each_index() {
    let [few, many] = [FEW, MANY].map(built);
    let [few_found, many_found] =
        [(&few, FEW), (&many, MANY)].map(|(directory, days)| find(directory.path(), days));
    println!("found, absent:\n{few_found:?}\n{many_found:?}");
    for index in [0, 1] {
        assert_linear("query", few_found[index], many_found[index]);
        // The segments at the ends, and the one with the match, are read too.
        let max = MANY * INDEX_BYTES_MAX + 16 * HEADER_BYTES;
        assert!(many_found[index].bytes <= max, "{many_found:?}, {max} bytes at most");
    }
    let peaks = [&few, &many].map(|directory| peak_kilobytes(directory.path(), "day:77"));
    println!("peaks: {peaks:?} kB");
    assert!(peaks[1] < peaks[0] + (8 << 10), "{peaks:?} kB");
}

#[test]
fn ten_thousand_segments_are_read_and_pruned_in_linear_time() {
    let [small, few, many] = [100, FEW, MANY].map(built);
    let [few_read, many_read] =
        [(&few, FEW), (&many, MANY)].map(|(directory, days)| read(directory.path(), days));
    println!("reading, left_out: {few_read:?}\n{many_read:?}");
    let peaks = [&few, &many].map(|directory| peak_kilobytes(directory.path(), ""));
    println!("peaks: {peaks:?} kB");
    let open = |directory: &tempfile::TempDir, days| open_and_prune(directory.path(), days);
    let [small_open, few_open, many_open] = [open(&small, 100), open(&few, FEW), open(&many, MANY)];
    println!(
        "recovering, opening, pruning, unlinking:\n{small_open:?}\n{few_open:?}\n{many_open:?}"
    );

    assert_linear("reading", few_read[0], many_read[0]);
    assert_linear("left_out", few_read[1], many_read[1]);
    assert!(peaks[1] < peaks[0] + (8 << 10), "{peaks:?} kB");
    for index in [0, 1] {
        assert_eq!(small_open[index].bytes, many_open[index].bytes, "{small_open:?} {many_open:?}");
        assert_eq!(small_open[index].lists, many_open[index].lists, "{small_open:?} {many_open:?}");
    }
    assert_linear("pruning", few_open[2], many_open[2]);
    assert_linear("unlinking", few_open[3], many_open[3]);
}
