//! Group commit: the first caller that needs a sync becomes the leader and syncs for every caller that waits.
//!
//! A sync that returned proves nothing by itself. A person may delete or move the file; a copy made by hard links may
//! share it; and where locks are not sound, another process may write the same journal. So after each sync, and before
//! anything is acknowledged, the leader checks the claim and the place of the file.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::segment::rename_into_place;
use super::{ActiveSegment, Durability, Failure, Pending, State, Tail, Writer};
use crate::copy::copy_bytes;
use crate::format::ContentEnd;
use crate::options::padded;
use crate::storage::{StorageFile, open_new};
use crate::sync::MutexGuard;
use crate::{Error, Seq};

/// The largest buffer that is kept for the next batch, in bytes.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// The result of a sync.
enum SyncOutcome {
    Failed(io::Error),
    /// The sync returned, but another process claimed the journal.
    Fenced {
        holder: String,
    },
    Returned {
        elapsed: Duration,
        place: io::Result<Place>,
    },
}

/// The place of the active segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Under its name, and only there.
    Own,
    /// Under its name, and under another one in a copy: no more is written to it.
    Shared,
    /// Its name is gone, or another file has it.
    Displaced,
}

/// What a leader needs while it does not hold the lock.
struct SyncTarget {
    file: Arc<dyn StorageFile>,
    identity: (u64, u64),
    path: PathBuf,
}

impl SyncTarget {
    fn of(active: &ActiveSegment) -> Self {
        let (identity, path) = (active.identity, active.path.clone());
        Self { file: Arc::clone(&active.file), identity, path }
    }
}

impl Writer {
    /// Returns once every record before `end` is as durable as requested, or its outcome is settled otherwise.
    pub(super) fn commit<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        end: Seq,
        durability: Durability,
    ) -> Result<(), Error> {
        if durability == Durability::ProcessCrash {
            return self.hand_over(state);
        }
        loop {
            if state.durable().seq >= end {
                return Ok(());
            }
            state.ensure_open(&self.directory.root)?;
            if let Some(suspended) = state.suspended() {
                return Err(suspended.failure.unknown_outcome());
            }
            if state.busy {
                self.wait(&mut state);
            } else {
                state = self.lead(state)?;
            }
        }
    }

    /// Makes everything appended so far durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let mut state = self.lock();
        while state.suspended().is_some() {
            if state.busy {
                self.wait(&mut state);
            } else {
                self.resume(&mut state)?;
            }
        }
        let end = state.next_seq;
        self.commit(state, end, Durability::PowerCut)
    }

    /// Makes everything pending durable while holding the lock; no leader is syncing.
    pub(super) fn sync_exclusively(&self, state: &mut State) -> Result<(), Error> {
        let Some(active) = state.active() else { return Ok(()) };
        if state.next_seq == active.synced.seq {
            return Ok(());
        }
        let target = SyncTarget::of(active);
        let settled = match begin_sync(state) {
            Ok(frames) => {
                let outcome = self.sync_file(&target);
                self.settle(state, frames, outcome)
            }
            Err((frames, error)) => {
                self.fail(state, frames, error);
                Ok(())
            }
        };
        self.sync_done.notify_all();
        settled?;
        match state.suspended() {
            Some(suspended) => Err(suspended.failure.unknown_outcome()),
            None => Ok(()),
        }
    }

    /// Hands everything pending to the operating system.
    fn hand_over<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<(), Error> {
        while let Err(error) = write_pending(&mut state) {
            if state.busy {
                // The leader may fail as well, and then takes these frames with its own.
                self.wait(&mut state);
                continue;
            }
            let frames = std::mem::take(&mut state.pending);
            self.fail(&mut state, frames, error);
        }
        match state.suspended() {
            Some(suspended) => Err(suspended.failure.unknown_outcome()),
            None => Ok(()),
        }
    }

    /// Syncs for every caller whose records are pending now, without holding the lock during the sync.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        let target = match &state.tail {
            Tail::Active(active) => SyncTarget::of(active),
            Tail::Suspended(suspended) => return Err(suspended.failure.unknown_outcome()),
        };
        state.busy = true;
        let settled = match begin_sync(&mut state) {
            Ok(frames) => {
                drop(state);
                let outcome = self.sync_file(&target);
                state = self.lock();
                self.settle(&mut state, frames, outcome)
            }
            Err((frames, error)) => {
                self.fail(&mut state, frames, error);
                Ok(())
            }
        };
        state.busy = false;
        self.sync_done.notify_all();
        settled.map(|()| state)
    }

    /// Syncs the active segment, then checks that readers find what is durable now.
    fn sync_file(&self, target: &SyncTarget) -> SyncOutcome {
        let started = Instant::now();
        if let Err(error) = target.file.sync() {
            return SyncOutcome::Failed(error);
        }
        let elapsed = started.elapsed();
        match self.check_claim() {
            Ok(()) => SyncOutcome::Returned { elapsed, place: self.place_of(target) },
            Err(holder) => SyncOutcome::Fenced { holder },
        }
    }

    /// Acknowledges the frames, or keeps them for another attempt.
    fn settle(
        &self,
        state: &mut State,
        frames: Pending,
        outcome: SyncOutcome,
    ) -> Result<(), Error> {
        let (elapsed, place) = match outcome {
            SyncOutcome::Returned { elapsed, place } => (elapsed, place),
            SyncOutcome::Failed(error) => {
                self.fail(state, frames, error);
                return Ok(());
            }
            SyncOutcome::Fenced { holder } => {
                self.fence(state, holder);
                return state.ensure_open(&self.directory.root);
            }
        };
        let active = match &mut state.tail {
            Tail::Active(active) => active,
            // No other thread changes the tail while a leader syncs.
            Tail::Suspended(suspended) => return Err(suspended.failure.unknown_outcome()),
        };
        let placed = place.and_then(|place| match place {
            Place::Own => Ok(()),
            Place::Shared => {
                active.ends_here = true;
                Ok(())
            }
            Place::Displaced => {
                // What follows was written to the file that has no name.
                state.pending.written = 0;
                self.put_back(active, padded(frames.end()))
            }
        });
        match placed {
            Ok(()) => {
                self.acknowledge(state, frames, elapsed);
                Ok(())
            }
            Err(error) => {
                let failure = Failure::new(active.path.clone(), error);
                state.pending = frames.followed_by(std::mem::take(&mut state.pending));
                Err(failure.unknown_outcome())
            }
        }
    }

    /// The sync of `frames` returned and they are in their place: they are durable.
    fn acknowledge(&self, state: &mut State, frames: Pending, elapsed: Duration) {
        if let Some(on_sync) = &self.on_sync {
            on_sync(elapsed);
        }
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        state.stats.syncs += 1;
        state.stats.sync_micros_total += micros;
        state.stats.sync_micros_max = state.stats.sync_micros_max.max(micros);
        state.stats.sync_micros_last = micros;
        if let Tail::Active(active) = &mut state.tail {
            let end = padded(frames.end());
            active.digest.absorb(frames.start, &frames.bytes);
            // The marker counts the blocks before the padded end: the padding is part of them.
            active.digest.absorb(end, &[]);
            active.counts.add(&frames.counts);
            active.has_control |= !frames.control.is_empty();
            active.synced = ContentEnd { offset: end, seq: frames.end_seq.max(active.synced.seq) };
        }
        // Before another thread can roll over: the next header contains them.
        for record in &frames.control {
            state.pruned_and_gaps.apply(record);
            state.tombstones.extend(record.pruned_segments());
        }
        self.publish(state);
        // The buffer is used again unless another batch has begun one.
        if state.pending.bytes.capacity() == 0 {
            let mut bytes = frames.bytes;
            bytes.clear();
            bytes.shrink_to(BUFFER_BYTES_KEPT);
            state.pending.bytes = bytes;
        }
    }

    pub(super) fn fail(&self, state: &mut State, frames: Pending, error: io::Error) {
        let path = state.active().map(|active| active.path.clone()).unwrap_or_default();
        self.relocate(state, frames, Failure::new(path, error));
        self.sync_done.notify_all();
    }

    /// Finds the place of the active segment's file. An error: the journal's directory itself is gone.
    fn place_of(&self, target: &SyncTarget) -> io::Result<Place> {
        match self.directory.storage.stat(&target.path) {
            Ok(stat) if stat.identity == target.identity => {
                Ok(if stat.links > 1 { Place::Shared } else { Place::Own })
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.directory.check_anchor().map(|()| Place::Displaced),
        }
    }

    /// Writes the active segment again from the open file, up to `end`, and gives it its name.
    fn put_back(&self, active: &mut ActiveSegment, end: u64) -> io::Result<()> {
        let spare = self.directory.spare();
        let file = open_new(&*self.directory.storage, &spare)?;
        let copied = copy_bytes(&*active.file, &*file, Some(end), &mut |_| {})?;
        if let Some(reason) = copied.reason {
            return Err(io::Error::other(reason));
        }
        let (name, salt) = (active.header.name, active.header.salt);
        rename_into_place(&self.directory, &spare, name, salt, || self.check_ours())?;
        self.directory.storage.sync_directory(&self.directory.journal)?;
        tracing::error!(
            path = %active.path.display(),
            "active segment: its file was deleted, moved or replaced; the segment is written again and nothing is lost"
        );
        (active.identity, active.allocated) = (file.stat()?.identity, end);
        active.file = file;
        Ok(())
    }
}

/// Writes the pending frames and their padding, and takes them out: later frames begin a new block.
fn begin_sync(state: &mut State) -> Result<Pending, (Pending, io::Error)> {
    let end = padded(state.pending.end());
    let len = state.pending.bytes.len();
    // The padding is written with the frames: one call, and whole blocks need not be read first.
    state.pending.bytes.resize((end - state.pending.start) as usize, 0);
    let written = write_pending(state);
    let mut frames = std::mem::replace(&mut state.pending, Pending::at(end));
    frames.bytes.truncate(len);
    match written {
        Ok(()) => Ok(frames),
        Err(error) => Err((frames, error)),
    }
}

/// Gives the operating system the pending frames that it does not have yet.
fn write_pending(state: &mut State) -> io::Result<()> {
    let State { tail: Tail::Active(active), pending, .. } = state else {
        return Ok(());
    };
    let rest = pending.bytes.get(pending.written..).unwrap_or_default();
    if !rest.is_empty() {
        active.file.write_at(rest, pending.start + pending.written as u64)?;
        pending.written = pending.bytes.len();
    }
    Ok(())
}
