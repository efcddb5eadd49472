//! [`Station`]: one branch of a journal on a disk of its own, with the process that writes it.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lenslog_journal::storage::{Access, FaultyStorage, Storage};
use lenslog_journal::{
    Appended, Clock, Day, Error, Journal, Key, Opening, Options, Random, SeqRange, SimulatedClock,
};

use super::format::{Found, Scanner, bytes_of, file_name};
use super::model::{Branch, Event, Failure, failure, is_in};
use crate::common::hooked::Hooked;
use crate::common::{ROOT, morning, options, record};

/// The smallest segments: five padded appends each.
const SEGMENT_BYTES: u64 = 32 << 10;
const DAY: Duration = Duration::from_secs(86_400);

/// Storage operations after which a step counts as one that does not end.
const OPERATIONS_MAX: u64 = 50_000;

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Begins to count the operations of a step; says whether the one before came to its end.
pub fn begin_step() -> bool {
    OPERATIONS.replace(0) < OPERATIONS_MAX
}

/// The storage as the journal gets it: every operation fails once a step has made too many.
pub fn limited(storage: &FaultyStorage) -> Arc<dyn Storage> {
    Arc::new(Hooked::new(storage.clone(), |_, _| {
        OPERATIONS.set(OPERATIONS.get() + 1);
        match OPERATIONS.get() < OPERATIONS_MAX {
            true => Ok(()),
            false => Err(std::io::Error::other("the step does not end")),
        }
    }))
}

pub struct Station {
    /// Prefix of every payload: no two branches append the same.
    pub tag: String,
    pub storage: FaultyStorage,
    pub journal: Option<Journal>,
    pub branch: Branch,
    pub clock: Arc<SimulatedClock>,
    seed: u64,
    opens: u64,
    number: usize,
    /// Seqs that the next sync acknowledges.
    unsynced: Vec<u64>,
}

pub fn segment_path(name: &str) -> PathBuf {
    Path::new(ROOT).join("journal").join(name)
}

pub fn marker_path() -> PathBuf {
    segment_path("WITNESS")
}

pub fn identity_path() -> PathBuf {
    Path::new(ROOT).join("IDENTITY")
}

/// Writes a file as `cp` does, into a new file or over the old one, and makes it durable.
pub fn put(storage: &FaultyStorage, path: &Path, bytes: &[u8]) {
    let file = storage.open(path, Access::Truncate).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
    sync_parent(storage, path);
}

pub fn sync_parent(storage: &FaultyStorage, path: &Path) {
    path.parent().into_iter().for_each(|parent| storage.sync_directory(parent).unwrap());
}

/// Every file of the data directory.
pub fn files_of(storage: &FaultyStorage) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = storage.files().into_iter().filter(|path| path.starts_with(ROOT));
    paths.map(|path| (path.clone(), bytes_of(storage, &path))).collect()
}

/// A disk with an empty data directory.
pub fn empty_disk() -> FaultyStorage {
    let storage = FaultyStorage::new();
    storage.create_directory(&Path::new(ROOT).join("journal")).unwrap();
    for parent in [Path::new("/"), Path::new(ROOT)] {
        storage.sync_directory(parent).unwrap();
    }
    storage
}

/// A disk with copies of these files: no inode is one of the original's.
pub fn copy_of(original: &FaultyStorage, files: &[(PathBuf, Vec<u8>)]) -> FaultyStorage {
    let storage = original.snapshot();
    for path in storage.files() {
        storage.remove(&path).unwrap();
    }
    for (path, bytes) in files {
        put(&storage, path, bytes);
    }
    storage
}

impl Station {
    pub fn new(tag: &str, seed: u64, storage: FaultyStorage, branch: Branch) -> Self {
        let clock = Arc::new(SimulatedClock::new(morning()));
        let (tag, journal, unsynced) = (tag.to_owned(), None, Vec::new());
        Self { tag, storage, journal, branch, clock, seed, opens: 0, number: 0, unsynced }
    }

    pub fn today(&self) -> Day {
        self.clock.read().wall.day()
    }

    pub fn advance(&self, days: u64) {
        self.clock.advance(DAY * u32::try_from(days).unwrap_or(1));
    }

    /// Opens the journal, if it is not open. `whole` are the events whose loss must not be named.
    pub fn open(&mut self, whole: &BTreeSet<u64>) -> Result<(), Failure> {
        if self.journal.is_some() {
            return Ok(());
        }
        let journal = match Journal::open(ROOT, &self.next_options()) {
            Ok(journal) => journal,
            Err(error) => return failure(&format!("open: {}", variant(&error)), error.to_string()),
        };
        if let Opening::Recovered { gaps, .. } = journal.opening() {
            self.name(gaps.iter().map(|gap| gap.range), whole, "the opening's gaps")?;
        }
        self.name(journal.health().gaps, whole, "health().gaps")?;
        self.journal = Some(journal);
        Ok(())
    }

    pub fn next_options(&mut self) -> Options {
        self.opens += 1;
        Options {
            segment_bytes_max: Some(SEGMENT_BYTES),
            storage: limited(&self.storage),
            seed: Some(self.seed.wrapping_mul(1000).wrapping_add(self.opens)),
            ..options(&self.storage, &self.clock)
        }
    }

    /// Notes what the journal names as lost for good.
    pub fn name(
        &mut self,
        ranges: impl IntoIterator<Item = SeqRange>,
        whole: &BTreeSet<u64>,
        by: &str,
    ) -> Result<(), Failure> {
        for range in ranges {
            let is_new = |seq: &&u64| !is_in(&self.branch.named, **seq);
            let wrong = whole.range(range.from.0..range.to.0.max(range.from.0)).find(is_new);
            if let Some(seq) = wrong {
                let text = format!("seq {seq} is whole in its file, {by} name {range}");
                return failure("a loss is named that is none", text);
            }
            self.branch.named.push(range);
        }
        Ok(())
    }

    pub fn learn(&mut self, scanner: &mut Scanner, placed: &HashSet<u64>) -> Vec<Found> {
        let found = scanner.scan(&self.storage);
        self.branch.learn(&found, placed);
        found
    }

    pub fn append(
        &mut self,
        records: usize,
        size: usize,
        keyed: bool,
        durable: bool,
    ) -> Result<(), Failure> {
        let Some(journal) = self.journal.clone() else { return Ok(()) };
        let payloads: Vec<_> = (0..records).map(|index| self.payload(index, size)).collect();
        let keys: Vec<_> =
            payloads.iter().map(|payload| keyed.then(|| key_of(&self.tag, payload))).collect();
        let batch: Vec<_> =
            payloads.iter().zip(&keys).map(|(payload, key)| record(payload).key(*key)).collect();
        let result = if durable { journal.append(&batch) } else { journal.append_unsynced(&batch) };
        let first = match result {
            Ok(Appended::New(first)) => first,
            Ok(Appended::Duplicate { seq, .. }) => {
                return failure("a key is refused that is new", format!("as that of seq {seq}"));
            }
            Err(error) => {
                return failure(&format!("append: {}", variant(&error)), error.to_string());
            }
        };
        let day = self.today();
        for ((seq, payload), key) in (first.0..).zip(payloads).zip(keys) {
            let event = Event { payload, key, day, acknowledged: durable, home: None };
            if self.branch.events.insert(seq, event).is_some() {
                return failure("a seq is given out twice", format!("seq {seq}"));
            }
            self.unsynced.push(seq);
        }
        if durable {
            self.acknowledge();
        }
        Ok(())
    }

    fn payload(&mut self, index: usize, size: usize) -> Vec<u8> {
        self.number += 1;
        let mut payload = format!("{}:{}:{index}:", self.tag, self.number).into_bytes();
        payload.resize(payload.len() + size, b'.');
        payload
    }

    fn acknowledge(&mut self) {
        for seq in self.unsynced.drain(..) {
            if let Some(event) = self.branch.events.get_mut(&seq) {
                event.acknowledged = true;
            }
        }
    }

    /// Appends a record with a key that a record has: a duplicate as long as that one can be read.
    pub fn repeat(&mut self, pick: u64, whole: &BTreeSet<u64>) -> Result<(), Failure> {
        let Some(journal) = self.journal.clone() else { return Ok(()) };
        let keyed: Vec<_> =
            self.branch.events.iter().filter(|(_, event)| event.key.is_some()).collect();
        if keyed.is_empty() {
            return Ok(());
        }
        let (&old, event) = keyed[pick as usize % keyed.len()];
        let key = event.key;
        // After a loss another record may have got it too.
        let payload = self.payload(0, 10);
        let has_key = |seq: &u64| self.branch.events.get(seq).is_some_and(|one| one.key == key);
        let is_known = whole.iter().any(has_key);
        match journal.append(&[record(&payload).key(key)]) {
            Ok(Appended::Duplicate { seq, .. }) => {
                if !has_key(&seq.0) {
                    let text = format!("its key is said to be that of seq {seq}, not {old}");
                    return failure("a key is refused for a record that is not ours", text);
                }
                // That record is durable now, and with it everything before.
                if self.unsynced.contains(&seq.0) {
                    self.acknowledge();
                }
            }
            Ok(Appended::New(_)) if is_known => {
                return failure("a key is forgotten", format!("that of seq {old}"));
            }
            Ok(Appended::New(first)) => {
                let day = self.today();
                let event = Event { payload, key, day, acknowledged: true, home: None };
                if self.branch.events.insert(first.0, event).is_some() {
                    return failure("a seq is given out twice", format!("seq {first}"));
                }
                self.acknowledge();
            }
            Err(error) => {
                return failure(&format!("append: {}", variant(&error)), error.to_string());
            }
        }
        Ok(())
    }

    pub fn sync(&mut self) -> Result<(), Failure> {
        match self.journal.as_ref().map_or(Ok(()), Journal::sync) {
            Ok(()) => self.acknowledge(),
            Err(error) => return failure(&format!("sync: {}", variant(&error)), error.to_string()),
        }
        Ok(())
    }

    /// Prunes all days but the newest `keep`, and removes the files.
    pub fn prune(&mut self, keep: i32, whole: &BTreeSet<u64>) -> Result<(), Failure> {
        let Some(journal) = self.journal.clone() else { return Ok(()) };
        let day = Day(self.today().0 - keep);
        let pruned = match journal.prune_through(day) {
            Ok(pruned) => pruned,
            Err(error) => {
                return failure(&format!("prune: {}", variant(&error)), error.to_string());
            }
        };
        self.acknowledge();
        for segment in &pruned.segments {
            let range = segment.range;
            let young = whole
                .range(range.from.0..range.to.0.max(range.from.0))
                .find(|seq| self.branch.events[seq].day > pruned.day);
            if let Some(seq) = young {
                let text = format!("seq {seq} is of {}", self.branch.events[seq].day);
                return failure("a pruning takes a day that it must not", text);
            }
            self.branch.pruned.push(range);
        }
        match journal.unlink_pruned() {
            Ok(_) => Ok(()),
            Err(error) => failure(&format!("unlink: {}", variant(&error)), error.to_string()),
        }
    }

    pub fn close(&mut self) -> Result<(), Failure> {
        if let Some(journal) = self.journal.take() {
            if let Err(error) = journal.close() {
                return failure(&format!("close: {}", variant(&error)), error.to_string());
            }
            self.acknowledge();
        }
        Ok(())
    }

    /// The process is killed: what the operating system has stays.
    pub fn kill(&mut self) {
        self.storage = self.storage.snapshot();
        // Its end comes too late to reach what goes on.
        self.journal = None;
        self.unsynced.clear();
    }

    pub fn cut_power(&mut self, seed: u64) {
        self.storage = self.storage.power_cut(seed);
        self.journal = None;
        self.unsynced.clear();
    }

    /// Some days of its own: appends, rolls, prunings, clean ends and kills. Returns what happened, in words.
    pub fn live(
        &mut self,
        seed: u64,
        scanner: &mut Scanner,
        placed: &HashSet<u64>,
    ) -> Result<String, Failure> {
        let mut random = Random::new(seed);
        let mut words = Vec::new();
        let nothing = BTreeSet::new();
        for _ in 0..2 + random.below(6) {
            self.open(&nothing)?;
            match random.below(10) {
                0..=3 => {
                    let records = 1 + random.below(3) as usize;
                    self.append(records, random.below(400) as usize, random.once_in(2), true)?;
                    words.push(format!("append {records}"));
                }
                4..=5 => {
                    let appends = 2 + random.below(5);
                    for _ in 0..appends {
                        self.append(1, 3000, false, true)?;
                    }
                    words.push(format!("{appends} large appends"));
                }
                6..=7 => {
                    self.advance(1);
                    self.append(1, 10, false, true)?;
                    words.push("next day, append 1".to_owned());
                }
                8 => {
                    self.prune(1 + random.below(3) as i32, &nothing)?;
                    words.push("prune".to_owned());
                }
                _ => {
                    self.close()?;
                    words.push("close".to_owned());
                }
            }
            self.learn(scanner, placed);
        }
        if random.once_in(2) {
            self.close()?;
            words.push("close".to_owned());
        }
        Ok(words.join(", "))
    }
}

fn key_of(tag: &str, payload: &[u8]) -> Key {
    let number = crc32fast::hash(payload).to_le_bytes();
    let mut key = [0; 16];
    key[..4].copy_from_slice(&number);
    key[4..8].copy_from_slice(&crc32fast::hash(tag.as_bytes()).to_le_bytes());
    key
}

/// The variant of an error, for grouping.
pub fn variant(error: &Error) -> String {
    let text = format!("{error:?}");
    let name = text.split(['{', '(', ' ']).next().unwrap_or_default().to_owned();
    match error {
        Error::Io { operation, source, .. } => format!("{name} {operation} {}", source.kind()),
        _ => name,
    }
}

/// The name of a file, for the script.
pub fn short(path: &Path) -> String {
    file_name(path).replace("0000000000", "")
}
