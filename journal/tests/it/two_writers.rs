//! Two writers whose locks do not meet, as on a network file system without locks, on one simulated disk: all schedules
//! with up to three switches between the two, at the granularity of storage operations. Every acknowledged record is
//! readable in the end, and at most one of the two goes on.
//!
//! `LENSLOG_SCHEDULES=all cargo test -p lenslog-journal --test it two_writers` runs all of them, otherwise some 2,000 of those
//! with three switches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::common::{ROOT, clock, options, read_all, record};
use lenslog_journal::storage::{
    Access, DirectoryEntry, FaultyStorage, FileStat, LockError, LockGuard, Space, Storage,
    StorageFile,
};
use lenslog_journal::{Appended, Error, Journal, Options, SimulatedClock};

/// Schedules with three switches that are run, about, where not all of them are.
const THREE_SWITCHES_MAX: usize = 2000;

const A: usize = 0;
const B: usize = 1;

/// Whose turn it is. A writer makes operations only in its turn.
#[derive(Default)]
struct Turns {
    state: Mutex<TurnState>,
    changed: Condvar,
}

#[derive(Default)]
struct TurnState {
    turn: usize,
    /// Operations that each writer has made.
    made: [usize; 2],
    is_done: [bool; 2],
    /// At these counts of operations the writer in turn hands over, in this order.
    switches: Vec<usize>,
    /// Nothing is scheduled before this.
    is_on: bool,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap()
    }

    /// Waits for the turn of `writer`, for its next operation.
    fn take(&self, writer: usize) {
        let mut state = self.lock();
        if !state.is_on {
            return;
        }
        loop {
            let other = 1 - writer;
            let is_due = state.switches.first().is_some_and(|at| state.made[writer] >= *at);
            if state.turn == writer && is_due && !state.is_done[other] {
                state.switches.remove(0);
                state.turn = other;
                self.changed.notify_all();
            } else if state.turn == writer {
                break;
            } else {
                state = self.changed.wait(state).unwrap();
            }
        }
        state.made[writer] += 1;
    }

    fn finish(&self, writer: usize) {
        let mut state = self.lock();
        state.is_done[writer] = true;
        state.turn = 1 - writer;
        self.changed.notify_all();
    }
}

/// The disk as one of the two writers sees it: its lock says nothing of the other one.
#[derive(Clone)]
struct Unlocked {
    inner: FaultyStorage,
    turns: Arc<Turns>,
    writer: usize,
}

struct UnlockedFile {
    inner: Arc<dyn StorageFile>,
    storage: Unlocked,
}

#[derive(Debug)]
struct NoLock;

impl LockGuard for NoLock {}

impl fmt::Debug for Unlocked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Unlocked")
    }
}

impl fmt::Debug for UnlockedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl Unlocked {
    fn in_turn(&self) -> &FaultyStorage {
        self.turns.take(self.writer);
        &self.inner
    }
}

impl UnlockedFile {
    fn in_turn(&self) -> &dyn StorageFile {
        self.storage.turns.take(self.storage.writer);
        &*self.inner
    }
}

impl Storage for Unlocked {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let inner = self.in_turn().open(path, access)?;
        Ok(Arc::new(UnlockedFile { inner, storage: self.clone() }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.in_turn().list(directory)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.in_turn().stat(path)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.in_turn().create_directory(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.in_turn().rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.in_turn().rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.in_turn().remove(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.in_turn().remove_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.in_turn().sync_directory(directory)
    }

    fn lock(&self, _directory: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        self.in_turn();
        Ok(Box::new(NoLock))
    }

    fn is_locked(&self, _directory: &Path) -> io::Result<bool> {
        self.in_turn();
        Ok(false)
    }

    fn lock_is_sound(&self, _directory: &Path) -> bool {
        false
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.inner.space(path)
    }
}

impl StorageFile for UnlockedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.in_turn().read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.in_turn().write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.in_turn().sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.in_turn().set_len(len)
    }

    fn stat(&self) -> io::Result<FileStat> {
        self.in_turn().stat()
    }
}

/// What the first writer does while the second one opens and appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Appends,
    /// Midnight lies between its appends.
    Rolls,
    /// Its records wait for a sync.
    Syncs,
}

/// One writer: its journal, once it has one, and what it was acknowledged.
struct Party {
    options: Options,
    clock: Arc<SimulatedClock>,
    journal: Option<Journal>,
    acknowledged: Vec<(u64, Vec<u8>)>,
    /// Of the last append, where it was refused.
    last_error: Option<Error>,
}

impl Party {
    fn new(storage: &FaultyStorage, turns: &Arc<Turns>, writer: usize) -> Self {
        let clock = clock();
        let (inner, turns) = (storage.clone(), Arc::clone(turns));
        let options = Options {
            storage: Arc::new(Unlocked { inner, turns, writer }),
            segment_bytes_max: Some(32 << 10),
            seed: Some(100 + writer as u64),
            ..options(storage, &clock)
        };
        Self { options, clock, journal: None, acknowledged: Vec::new(), last_error: None }
    }

    fn open(&mut self) {
        match Journal::open(ROOT, &self.options) {
            Ok(journal) => self.journal = Some(journal),
            Err(error) => self.last_error = Some(error),
        }
    }

    /// Whether it was acknowledged.
    fn append(&mut self, payload: &str) -> bool {
        let Some(journal) = &self.journal else { return false };
        match journal.append(&[record(payload.as_bytes())]) {
            Ok(Appended::New(seq)) => {
                self.acknowledged.push((seq.0, payload.into()));
                self.last_error = None;
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                self.last_error = Some(error);
                return false;
            }
        }
        true
    }

    fn append_unsynced_and_sync(&mut self, payload: &str) {
        let Some(journal) = self.journal.clone() else { return };
        let appended = journal.append_unsynced(&[record(payload.as_bytes())]);
        match appended.and_then(|appended| journal.sync().map(|()| appended)) {
            Ok(appended) => self.acknowledged.push((appended.seq().0, payload.into())),
            Err(error) => self.last_error = Some(error),
        }
    }
}

fn act_first(party: &mut Party, first: First) {
    match first {
        First::Appends => {
            party.append("a2");
        }
        First::Rolls => {
            party.clock.advance(Duration::from_secs(86_400));
            party.append("a2");
        }
        First::Syncs => party.append_unsynced_and_sync("a2"),
    }
    party.append("a3");
}

/// Which promises a schedule breaks, and how many operations each writer made.
fn run(first: First, switches: &[usize]) -> (Vec<String>, [usize; 2]) {
    let storage = FaultyStorage::new();
    let turns = Arc::new(Turns::default());
    let mut a = Party::new(&storage, &turns, A);
    let mut b = Party::new(&storage, &turns, B);
    a.open();
    a.append("a1");
    *turns.lock() = TurnState { switches: switches.to_vec(), is_on: true, ..TurnState::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            act_first(&mut a, first);
            turns.finish(A);
        });
        scope.spawn(|| {
            b.open();
            b.append("b1");
            b.append("b2");
            turns.finish(B);
        });
    });
    let made = turns.lock().made;
    turns.lock().is_on = false;
    (judge(&storage, a, b), made)
}

fn judge(storage: &FaultyStorage, mut a: Party, mut b: Party) -> Vec<String> {
    let mut broken = Vec::new();
    let a_continues = a.append("a4");
    let b_continues = b.append("b3");
    if a_continues && b_continues {
        broken.push("both writers go on".to_owned());
    }
    let killed = storage.snapshot();
    // Errors while the two meet may be others; from then on the loser knows why.
    for loser in [&a, &b].into_iter().filter(|party| party.journal.is_some()) {
        if let Some(error) = loser.last_error.as_ref().filter(|error| !is_locked(error)) {
            broken.push(format!("the loser does not learn that another writes: {error}"));
        }
    }
    let acknowledged: Vec<_> = a.acknowledged.iter().chain(&b.acknowledged).cloned().collect();
    broken.extend(unreadable(&killed, &acknowledged, "killed"));
    drop((a, b));
    broken.extend(unreadable(storage, &acknowledged, "closed"));
    broken
}

const fn is_locked(error: &Error) -> bool {
    matches!(error, Error::Locked { .. })
}

/// What a third opening does not read of what was acknowledged.
fn unreadable(
    storage: &FaultyStorage,
    acknowledged: &[(u64, Vec<u8>)],
    how: &str,
) -> BTreeSet<String> {
    let options = Options { seed: Some(300), ..options(storage, &clock()) };
    let third = match Journal::open(ROOT, &options) {
        Ok(third) => third,
        Err(error) => return [format!("{how}: the third opening fails: {error}")].into(),
    };
    let found: BTreeMap<_, _> =
        read_all(&third.view()).records.into_iter().map(|(seq, bytes)| (seq.0, bytes)).collect();
    let missing = acknowledged.iter().filter(|(seq, payload)| found.get(seq) != Some(payload));
    let words = missing.map(|(seq, payload)| {
        let what = if found.contains_key(seq) { "is replaced by another" } else { "is gone" };
        let writer = &String::from_utf8_lossy(payload)[..1];
        format!("{how}: an acknowledged record of {writer} {what}")
    });
    words.collect()
}

fn mixed(switches: &[usize]) -> usize {
    switches.iter().fold(0, |sum, at| sum * 31 + at)
}

/// All schedules with up to three switches, A in turn first.
fn check_all(first: First) {
    // Either may need a few operations more where the other one is in its way.
    let (_, alone) = run(first, &[usize::MAX]);
    let (a_max, b_max) = (alone[A] + 6, alone[B] + 12);
    let mut broken: BTreeMap<String, Vec<Vec<usize>>> = BTreeMap::new();
    let mut count = 0;
    // All of them take minutes; without the variable a part of those with three switches is left.
    let all = (a_max * a_max / 2) * b_max;
    let is_long = std::env::var_os("LENSLOG_SCHEDULES").is_some();
    let stride = if is_long { 1 } else { all.div_ceil(THREE_SWITCHES_MAX) | 1 };
    let mut one = |switches: &[usize]| {
        let is_left_out = switches.len() == 3 && !mixed(switches).is_multiple_of(stride);
        if !is_left_out {
            count += 1;
            for promise in run(first, switches).0 {
                broken.entry(promise).or_default().push(switches.to_vec());
            }
        }
    };
    for at in 0..=a_max {
        one(&[at]);
        for back in 1..=b_max {
            one(&[at, back]);
            (at + 1..=a_max).for_each(|again| one(&[at, back, again]));
        }
    }
    println!("{first:?}: {count} schedules, A makes {} operations, B {}", alone[A], alone[B]);
    for (promise, schedules) in &broken {
        println!("{} schedules: {promise}: {:?} …", schedules.len(), &schedules[0]);
    }
    assert!(broken.is_empty(), "{first:?}: promises are broken");
}

#[test]
fn two_writers_lose_no_acknowledged_record() {
    check_all(First::Appends);
}

#[test]
fn two_writers_lose_no_acknowledged_record_at_a_rollover() {
    check_all(First::Rolls);
}

#[test]
fn two_writers_of_which_one_syncs_late_lose_no_record() {
    check_all(First::Syncs);
}
