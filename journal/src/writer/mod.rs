//! The writing half: one state behind one mutex; a thread that needs a sync does it for every waiting caller.
//!
//! All writes go to the operating system under the lock, in the order of the seqs. Only the sync itself runs outside
//! the lock: `busy` says that a leader is in it, and while it is set no other thread syncs, rolls over or relocates.
//!
//! | file | task |
//! |---|---|
//! | `append.rs` | validates a batch, assigns seqs, encodes frames |
//! | `commit.rs` | group commit: the leader's sync, the checks after it, what every waiter learns |
//! | `marker.rs` | the durability marker, the claim, `IDENTITY`; whether the journal is still this process's |
//! | `segment.rs` | the active segment; writes a new one under a temporary name; seals and trims |
//! | `rollover.rs` | from one segment to the next: rollover, relocation after a failure, recovery |
//! | `prune.rs` | tombstones and unlinking |

mod append;
mod commit;
mod marker;
mod prune;
mod rollover;
mod segment;

use std::path::Path;
use std::sync::Arc;

use crate::chain::ChainCache;
use crate::control::PrunedAndGaps;
use crate::directory::Directory;
use crate::error::Context;
use crate::format::{Claim, ControlRecord, Counts, Key, NewRecord, PrunedSegment, WriterId};
use crate::id_source::IdSource;
use crate::index::ActiveIndex;
use crate::keys::KeyIndex;
use crate::options::Sizes;
use crate::storage::{LockGuard, StorageFile};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::time::{Clock, ClockReading};
use crate::watermark::{Durable, Watermark};
use crate::{Error, OnSync, Options, Seq};

pub use prune::{Pruned, Unlinked};
pub(crate) use rollover::{LastSegment, PendingSegment};
pub(crate) use segment::{ActiveSegment, Failure, Replaced, move_aside};

/// The result of appending a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a duplicate batch is not appended"]
pub enum Appended {
    /// The batch was appended; this is the seq of its first record.
    New(Seq),
    /// Nothing was appended: a retained record has the key of one of the batch.
    Duplicate {
        /// Index in the batch of the record with the known key.
        index: usize,
        /// Seq of the retained record.
        seq: Seq,
    },
}

impl Appended {
    /// The seq of the new record, or of the retained one that it duplicates.
    #[must_use]
    pub const fn seq(self) -> Seq {
        match self {
            Self::New(seq) | Self::Duplicate { seq, .. } => seq,
        }
    }
}

/// The result of an append under conditions that were evaluated up to some seq.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The batch was appended, or is known.
    Appended(Appended),
    /// Nothing was appended: the record with this seq, which is not durable yet, may match a condition.
    Pending(Seq),
}

/// Counters since the journal was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JournalStats {
    /// Batches appended.
    pub batches: u64,
    /// Records appended, control records included.
    pub records: u64,
    /// Bytes of frames appended, padding not counted.
    pub frame_bytes: u64,
    /// Batches refused as duplicates of a known key.
    pub duplicates: u64,
    /// Syncs of a segment that succeeded.
    pub syncs: u64,
    /// Time spent in them, in microseconds.
    pub sync_micros_total: u64,
    /// The longest of them, in microseconds.
    pub sync_micros_max: u64,
    /// The latest of them, in microseconds.
    pub sync_micros_last: u64,
    /// Segments that were begun.
    pub segments_begun: u64,
    /// Failed writes or syncs that moved records to a new segment.
    pub relocations: u64,
    /// Failed writes of the durability marker.
    pub marker_failures: u64,
}

/// What has to be true when an append returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    PowerCut,
    ProcessCrash,
}

/// Whether keys are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyCheck {
    Refuse,
    Trust,
}

/// What does not change while the journal is open.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) journal: [u8; 16],
    pub(crate) incarnation: [u8; 16],
    /// The id of this opening, and the claim that contains it.
    pub(crate) writer: WriterId,
    pub(crate) claim: Claim,
    /// No other process can hold the lock: the claim need not be checked.
    pub(crate) lock_is_sound: bool,
    /// `journal/` is the root of a file system of its own.
    pub(crate) is_mount: bool,
    pub(crate) ids: IdSource,
    pub(crate) sizes: Sizes,
}

pub(crate) struct Writer {
    pub(crate) directory: Directory,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) watermark: Watermark,
    pub(crate) chain: ChainCache,
    on_sync: Option<OnSync>,
    state: Mutex<State>,
    sync_done: Condvar,
    /// One tombstone or gap at a time.
    bookkeeping: Mutex<()>,
    /// Released when the journal is closed.
    lock: Mutex<Option<Box<dyn LockGuard>>>,
}

/// Everything that changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tail: Tail,
    /// The suspension was reported and has not ended since.
    pub(crate) suspension_reported: bool,
    pub(crate) next_seq: Seq,
    /// Frames after the last sync that was begun.
    pub(crate) pending: Pending,
    /// A leader is syncing.
    pub(crate) busy: bool,
    pub(crate) pruned_and_gaps: PrunedAndGaps,
    /// The segments named by tombstones that may not be unlinked yet.
    pub(crate) tombstones: Vec<PrunedSegment>,
    pub(crate) keys: KeyIndex,
    /// The kinds and tags of the active segment.
    pub(crate) tags: ActiveIndex,
    pub(crate) clock: Option<ClockReading>,
    /// `None` while it cannot be created.
    pub(crate) marker: Option<Arc<dyn StorageFile>>,
    pub(crate) marker_generation: u64,
    /// The marker on disk may say that the journal was closed cleanly.
    pub(crate) marker_clean: bool,
    /// `IDENTITY` does not name the active segment.
    pub(crate) unnamed: bool,
    /// The other process that claimed the journal, although this one holds the lock. This one writes no more.
    pub(crate) fenced: Option<String>,
    pub(crate) spare_ready: bool,
    pub(crate) closed: bool,
    pub(crate) stats: JournalStats,
}

/// The end of the journal: where appends go, or why they cannot.
#[derive(Debug)]
pub(crate) enum Tail {
    /// Appends go to this segment.
    Active(Box<ActiveSegment>),
    /// The next segment could not be begun yet. Every append and sync tries again.
    Suspended(Box<Suspended>),
}

/// A segment that waits in memory, and the failure that keeps it there.
#[derive(Debug)]
pub(crate) struct Suspended {
    pub(crate) next: PendingSegment,
    pub(crate) failure: Failure,
}

/// Frames on their way to the medium, as they are at `start` of the active segment.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) start: u64,
    pub(crate) bytes: Vec<u8>,
    /// How many of the bytes the operating system has.
    pub(crate) written: usize,
    /// The seq after the last record; meaningless while there is none.
    pub(crate) end_seq: Seq,
    pub(crate) counts: Counts,
    /// Tombstones and gaps among them: they are applied at the moment they are durable.
    pub(crate) control: Vec<ControlRecord>,
}

impl Pending {
    pub(crate) fn at(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    pub(crate) const fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// These frames and the ones after them, all to be written again.
    fn followed_by(mut self, next: Self) -> Self {
        if !next.bytes.is_empty() {
            self.bytes.resize((next.start - self.start) as usize, 0);
            self.bytes.extend_from_slice(&next.bytes);
            self.end_seq = next.end_seq;
        }
        self.counts.add(&next.counts);
        self.control.extend(next.control);
        Self { written: 0, ..self }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").field("root", &self.directory.root).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(
        directory: Directory,
        options: &Options,
        settings: Settings,
        lock: Box<dyn LockGuard>,
        state: State,
    ) -> Self {
        Self {
            directory,
            clock: Arc::clone(&options.clock),
            settings,
            on_sync: options.on_sync.clone(),
            watermark: Watermark::new(state.durable()),
            chain: ChainCache::default(),
            state: Mutex::new(state),
            sync_done: Condvar::new(),
            bookkeeping: Mutex::new(()),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits until no leader is syncing.
    pub(crate) fn lock_idle(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.busy {
            self.wait(&mut state);
        }
        state
    }

    fn wait(&self, state: &mut MutexGuard<'_, State>) {
        self.sync_done.wait(state);
    }

    pub(crate) fn bookkeeping(&self) -> MutexGuard<'_, ()> {
        self.bookkeeping.lock()
    }

    /// Publishes the durable end to readers and other processes.
    pub(crate) fn publish(&self, state: &mut State) {
        if state.fenced.is_some() {
            return;
        }
        self.watermark.set(state.durable());
        self.keep_marker(state);
        if let Err(error) = self.write_marker(state, false) {
            // Only a hint is lost: recovery then proves less, and other processes see new records later.
            if state.stats.marker_failures == 0 {
                tracing::warn!(%error, "durability marker: a write failed; other processes see new records late");
            }
            state.stats.marker_failures += 1;
        }
    }

    /// Closes the journal: everything durable, the marker clean and synced, the claim and the lock released.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut state = self.lock_idle();
        if state.closed {
            return Ok(());
        }
        if state.fenced.is_some() {
            let fenced = state.ensure_open(&self.directory.root);
            state.closed = true;
            self.watermark.close();
            self.lock.lock().take();
            return fenced;
        }
        // All of it under the lock: nothing may come between the last sync and the clean-shutdown flag.
        self.resume(&mut state)?;
        self.sync_exclusively(&mut state)?;
        let path = self.directory.marker();
        // If this fails, the flag may be on the medium all the same: an append clears it first.
        state.marker_clean = true;
        self.keep_marker(&mut state);
        self.write_marker(&mut state, true).context("write", &path)?;
        self.write_claim(&state, true).context("write", &path)?;
        self.sync_marker(&state).context("sync", &path)?;
        state.closed = true;
        self.watermark.close();
        self.lock.lock().take();
        Ok(())
    }
}

impl State {
    /// The active segment; `None` while the journal is suspended.
    pub(crate) fn active(&self) -> Option<&ActiveSegment> {
        match &self.tail {
            Tail::Active(active) => Some(active),
            Tail::Suspended(_) => None,
        }
    }

    /// What is suspended; `None` while there is an active segment.
    pub(crate) fn suspended(&self) -> Option<&Suspended> {
        match &self.tail {
            Tail::Active(_) => None,
            Tail::Suspended(suspended) => Some(suspended),
        }
    }

    /// The durable end.
    pub(crate) fn durable(&self) -> Durable {
        match &self.tail {
            Tail::Active(active) => Durable {
                seq: active.synced.seq,
                segment: Some((active.header.name, active.header.salt)),
                offset: active.synced.offset,
            },
            Tail::Suspended(suspended) => {
                let last = suspended.next.last;
                Durable {
                    seq: suspended.next.durable_seq(),
                    segment: last.map(|last| (last.name, last.salt)),
                    offset: last.map_or(0, |last| last.offset),
                }
            }
        }
    }

    /// Records whose sync has not returned yet.
    fn unsynced_records(&self) -> u64 {
        let synced = self.active().map_or(self.next_seq, |active| active.synced.seq);
        self.next_seq.0.saturating_sub(synced.0)
    }

    pub(crate) fn ensure_open(&self, root: &Path) -> Result<(), Error> {
        match &self.fenced {
            _ if self.closed => Err(Error::Closed),
            Some(holder) => {
                Err(Error::Locked { path: root.to_owned(), holder: Some(holder.clone()) })
            }
            None => Ok(()),
        }
    }
}

/// The keys of a batch, with their indexes in it.
fn keys_of(records: &[NewRecord<'_>]) -> impl Iterator<Item = (usize, Key)> {
    records.iter().enumerate().filter_map(|(index, record)| Some((index, record.key?)))
}
