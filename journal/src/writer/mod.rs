//! The writing half: one state behind one mutex, and whoever needs a sync does it for everybody.
//!
//! All writes go to the operating system under the lock, in the order of the seqs. Only the sync itself runs
//! outside: `busy` says that a leader is in it, and while it is set nobody else syncs, rolls or relocates.
//!
//! | file | what it does |
//! |---|---|
//! | `append.rs` | validates, gives seqs, encodes |
//! | `commit.rs` | the leader's sync and what every waiter learns |
//! | `segment.rs` | the active segment; writes a new one under a temporary name |
//! | `succession.rs` | from one segment to the next: roll, relocation after a failure, recovery |
//! | `trim.rs` | gives preallocated space back |
//! | `place.rs` | whether the active segment is where readers look for it, and whether another writer claims it |
//! | `prune.rs` | tombstones and unlinking |

mod append;
mod commit;
mod place;
mod prune;
mod segment;
mod succession;
mod trim;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::carried::Counts;
use crate::chain::ChainCache;
use crate::directory::{Directory, Identity};
use crate::entropy::Entropy;
use crate::error::Context;
use crate::format::{
    Ancestor, Claim, DurabilityMarker, Key, NewRecord, PreviousEnd, PrunedSegment, SystemRecord,
    WriterId,
};
use crate::keys::KeyIndex;
use crate::ledger::Ledger;
use crate::sizes::Sizes;
use crate::stats::JournalStats;
use crate::storage::{LockGuard, StorageFile};
use crate::time::{Clock, ClockReading};
use crate::watermark::{Durable, Watermark};
use crate::{Error, OnSync, Options, Seq};

pub use prune::{Pruned, Unlinked};
pub(crate) use segment::{ActiveSegment, Synced, move_aside};
pub(crate) use succession::{Failure, Succession};

/// What a batch became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It was appended; this is the seq of its first record.
    New(Seq),
    /// Nothing was appended: a retained record has the key of one of the batch.
    Duplicate {
        /// Which record of the batch.
        index: usize,
        /// The retained record.
        seq: Seq,
    },
}

impl Appended {
    /// The seq of the record that now stands for the first of the batch.
    #[must_use]
    pub const fn seq(self) -> Seq {
        match self {
            Self::New(seq) | Self::Duplicate { seq, .. } => seq,
        }
    }
}

/// What a caller wants to be true when an append returns.
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
    /// The id of this opening, and the claim that bears it.
    pub(crate) writer: WriterId,
    pub(crate) claim: Claim,
    /// No other process can hold the lock: the claim need not be looked at.
    pub(crate) lock_is_sound: bool,
    /// `journal/` is the root of a file system of its own.
    pub(crate) is_mount: bool,
    pub(crate) entropy: Entropy,
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
    turnstile: Condvar,
    /// One tombstone or gap at a time.
    bookkeeping: Mutex<()>,
    /// Given back when the journal is closed.
    lock: Mutex<Option<Box<dyn LockGuard>>>,
}

/// Everything that changes.
#[derive(Debug)]
pub(crate) struct State {
    /// The segment that is appended to; `None` while a succession waits in `suspended`.
    pub(crate) active: Option<ActiveSegment>,
    /// A new segment that could not be begun yet, and why.
    pub(crate) suspended: Option<(Succession, Failure)>,
    /// That it could not be begun was told, and since then it was not.
    pub(crate) told_suspended: bool,
    pub(crate) next_seq: Seq,
    /// Frames behind the last sync that was begun.
    pub(crate) pending: Pending,
    /// A leader is syncing.
    pub(crate) busy: bool,
    pub(crate) ledger: Ledger,
    /// The segments named by tombstones that may not be unlinked yet.
    pub(crate) tombstones: Vec<PrunedSegment>,
    pub(crate) keys: KeyIndex,
    pub(crate) clock: Option<ClockReading>,
    /// `None` while it cannot be made.
    pub(crate) marker: Option<Arc<dyn StorageFile>>,
    pub(crate) marker_generation: u64,
    /// The marker on disk may say that the journal was closed cleanly.
    pub(crate) marker_clean: bool,
    /// `IDENTITY` does not name the active segment.
    pub(crate) unnamed: bool,
    /// Another process claimed the journal, though this one holds the lock: who. Nothing is written any more.
    pub(crate) fenced: Option<String>,
    pub(crate) spare_ready: bool,
    pub(crate) closed: bool,
    pub(crate) stats: JournalStats,
}

/// Frames on their way to the medium, as they stand at `start` of the active segment.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) start: u64,
    pub(crate) bytes: Vec<u8>,
    /// How many of the bytes the operating system has.
    pub(crate) written: usize,
    /// The seq behind the last record; meaningless while there is none.
    pub(crate) end_seq: Seq,
    pub(crate) counts: Counts,
    /// Tombstones and gaps among them: the ledger learns of each the moment it is durable.
    pub(crate) notable: Vec<SystemRecord>,
}

impl Pending {
    pub(crate) fn at(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    pub(crate) const fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// These frames and those behind them, all to be written again.
    fn followed_by(mut self, next: Self) -> Self {
        if !next.bytes.is_empty() {
            self.bytes.resize((next.start - self.start) as usize, 0);
            self.bytes.extend_from_slice(&next.bytes);
            self.end_seq = next.end_seq;
        }
        self.counts.add(&next.counts);
        self.notable.extend(next.notable);
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
            turnstile: Condvar::new(),
            bookkeeping: Mutex::new(()),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no leader is at work.
    pub(crate) fn lock_idle(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.busy {
            state = self.wait(state);
        }
        state
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.turnstile.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bookkeeping(&self) -> MutexGuard<'_, ()> {
        self.bookkeeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells readers and other processes how far the journal is durable now.
    pub(crate) fn publish(&self, state: &mut State) {
        if state.fenced.is_some() {
            return;
        }
        self.watermark.set(state.durable());
        self.keep_marker(state);
        if let Err(error) = self.write_marker(state, false) {
            // Only a hint is lost: recovery then proves less, other processes see new records later.
            if state.stats.marker_failures == 0 {
                tracing::warn!(%error, "the journal's marker cannot be written");
            }
            state.stats.marker_failures += 1;
        }
    }

    /// Writes the next slot of the marker, without syncing it.
    pub(crate) fn write_marker(&self, state: &mut State, clean: bool) -> std::io::Result<()> {
        let Some(active) = &state.active else {
            return Ok(());
        };
        let Some(file) = &state.marker else {
            return Ok(());
        };
        state.marker_generation += 1;
        let marker = DurabilityMarker {
            generation: state.marker_generation,
            journal: self.settings.journal,
            incarnation: self.settings.incarnation,
            writer: self.settings.writer,
            inode: active.identity.1,
            unnamed: state.unnamed,
            salt: active.header.salt,
            name: active.header.name,
            offset: active.synced.offset,
            seq: active.synced.seq,
            digest: active.digest.chain(),
            counts: active.counts,
            clean,
            notable: active.notable,
        };
        file.write_at(&marker.encode(), marker.slot_offset())
    }

    /// Where `IDENTITY` does not name the active segment, the marker has to.
    pub(crate) fn sync_marker_if_unnamed(&self, state: &State) {
        if state.unnamed
            && let Err(error) = self.sync_marker(state)
        {
            tracing::warn!(%error, "the durability marker cannot be synced");
        }
    }

    /// Makes the marker durable.
    pub(crate) fn sync_marker(&self, state: &State) -> std::io::Result<()> {
        state.marker.as_ref().map_or(Ok(()), |file| file.sync())
    }

    /// Names the active segment in `IDENTITY`, durably, before the marker does.
    pub(crate) fn name_in_identity(&self, state: &mut State) {
        let Some(active) = &state.active else { return };
        let header = &active.header;
        let identity = Identity {
            journal: self.settings.journal,
            incarnation: self.settings.incarnation,
            is_mount: self.settings.is_mount,
            newest: Some((header.name, header.salt, header.born_seq)),
        };
        let written = self.directory.write_identity(&identity);
        if let Err(error) = &written {
            tracing::warn!(%error, "the data directory's identity cannot be written");
        }
        state.unnamed = written.is_err();
    }

    /// Ends the journal: everything durable, the marker clean and synced, the claim and the lock released.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut state = self.lock_idle();
        if state.closed {
            return Ok(());
        }
        if state.fenced.is_some() {
            let fenced = state.ensure_open(&self.directory.root);
            state.closed = true;
            self.watermark.close();
            self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
            return fenced;
        }
        // All of it under the lock: nothing may come between the last sync and the mark of a clean end.
        self.resume(&mut state)?;
        self.sync_exclusively(&mut state)?;
        let path = self.directory.marker();
        // Where this fails, the mark may be on the medium all the same: an append takes it back first.
        state.marker_clean = true;
        self.keep_marker(&mut state);
        self.write_marker(&mut state, true).context("write", &path)?;
        self.write_claim(&state, true).context("write", &path)?;
        self.sync_marker(&state).context("sync", &path)?;
        state.closed = true;
        self.watermark.close();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

impl State {
    /// The durable end.
    pub(crate) fn durable(&self) -> Durable {
        match (&self.active, &self.suspended) {
            (Some(active), _) => Durable {
                seq: active.synced.seq,
                segment: Some((active.header.name, active.header.salt)),
                offset: active.synced.offset,
            },
            (None, Some((succession, _))) => Durable {
                seq: succession.durable_seq(),
                segment: succession.rest.map(|(name, salt, _)| (name, salt)),
                offset: succession.rest.map_or(0, |(_, _, offset)| offset),
            },
            (None, None) => Durable { seq: self.next_seq, segment: None, offset: 0 },
        }
    }

    /// Records whose sync has not returned yet.
    fn unsynced_records(&self) -> u64 {
        let synced = self.active.as_ref().map_or(self.next_seq, |active| active.synced.seq);
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

/// The keys of a batch, with their places in it.
fn keys_of(records: &[NewRecord<'_>]) -> impl Iterator<Item = (usize, Key)> {
    records.iter().enumerate().filter_map(|(index, record)| Some((index, record.key?)))
}

/// The end of a segment as the next one's header states it, or the one before it where nothing in it counts.
fn end_of(active: &ActiveSegment) -> Option<PreviousEnd> {
    if active.synced.seq == active.header.name.base {
        return active.header.previous;
    }
    Some(PreviousEnd {
        name: active.header.name,
        salt: active.header.salt,
        offset: active.synced.offset,
        seq: active.synced.seq,
        digest: active.digest.finish(active.synced.offset),
        unreadable: false,
    })
}

/// The segments before the one that `end_of` names.
fn ancestors_after(active: &ActiveSegment) -> Vec<Ancestor> {
    if active.synced.seq == active.header.name.base {
        return active.header.ancestors.clone();
    }
    active.header.ancestors_of_next()
}
