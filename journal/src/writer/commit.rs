//! Group commit: the first who needs a sync becomes the leader and does it for all who have come by then.

use std::io;
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::place::Place;
use super::{Durability, Failure, Pending, State, Synced, Writer};
use crate::storage::StorageFile;
use crate::{Error, Seq};

/// What became of a sync.
enum SyncOutcome {
    Failed(io::Error),
    /// It returned, but another process writes the journal too.
    Fenced {
        holder: String,
    },
    Returned {
        elapsed: Duration,
        place: io::Result<Place>,
    },
}

impl Writer {
    /// Returns once every record before `end` is as durable as asked for, or its outcome is settled otherwise.
    pub(crate) fn commit<'a>(
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
            if let Some((_, failure)) = &state.suspended {
                return Err(failure.unknown_outcome());
            }
            if state.busy {
                state = self.wait(state);
            } else {
                state = self.lead(state)?;
            }
        }
    }

    /// Makes everything appended so far durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let mut state = self.lock();
        while state.suspended.is_some() {
            if state.busy {
                state = self.wait(state);
            } else {
                self.resume(&mut state)?;
            }
        }
        let end = state.next_seq;
        self.commit(state, end, Durability::PowerCut)
    }

    /// Makes everything pending durable while holding the lock; no leader is at work.
    pub(crate) fn sync_exclusively(&self, state: &mut State) -> Result<(), Error> {
        let Some(active) = &state.active else {
            return Ok(());
        };
        if state.next_seq == active.synced.seq {
            return Ok(());
        }
        let (file, identity, path) =
            (Arc::clone(&active.file), active.identity, active.path.clone());
        let settled = match self.begin_sync(state) {
            Ok(frames) => {
                let synced = self.sync_file(&*file, identity, &path);
                self.settle(state, frames, synced)
            }
            Err((frames, error)) => {
                self.fail(state, frames, error);
                Ok(())
            }
        };
        self.turnstile.notify_all();
        settled?;
        match &state.suspended {
            Some((_, failure)) => Err(failure.unknown_outcome()),
            None => Ok(()),
        }
    }

    /// Hands everything pending to the operating system.
    fn hand_over<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<(), Error> {
        while let Err(error) = write_pending(&mut state) {
            if state.busy {
                // The leader may fail as well, and then takes these frames with its own.
                state = self.wait(state);
                continue;
            }
            let frames = std::mem::take(&mut state.pending);
            self.fail(&mut state, frames, error);
        }
        match &state.suspended {
            Some((_, failure)) => Err(failure.unknown_outcome()),
            None => Ok(()),
        }
    }

    /// Syncs for everybody whose records are pending now, without holding the lock meanwhile.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        state.busy = true;
        let file = state
            .active
            .as_ref()
            .map(|active| (Arc::clone(&active.file), active.identity, active.path.clone()));
        let begun = self.begin_sync(&mut state);
        let settled = match (begun, file) {
            (Ok(frames), Some((file, identity, path))) => {
                drop(state);
                let synced = self.sync_file(&*file, identity, &path);
                state = self.lock();
                self.settle(&mut state, frames, synced)
            }
            (Err((frames, error)), _) => {
                self.fail(&mut state, frames, error);
                Ok(())
            }
            (Ok(_), None) => Ok(()),
        };
        state.busy = false;
        self.turnstile.notify_all();
        settled.map(|()| state)
    }

    /// Syncs the active segment, then looks whether what is durable now is where readers look for it.
    fn sync_file(&self, file: &dyn StorageFile, identity: (u64, u64), path: &Path) -> SyncOutcome {
        let started = Instant::now();
        if let Err(error) = file.sync() {
            return SyncOutcome::Failed(error);
        }
        let elapsed = started.elapsed();
        match self.check_claim() {
            Ok(()) => SyncOutcome::Returned { elapsed, place: self.place_of(identity, path) },
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
        let end = self.settings.sizes.padded(frames.end());
        let placed = match (place, &mut state.active) {
            (Ok(Place::Own), _) | (_, None) => Ok(()),
            (Ok(Place::Shared), Some(active)) => {
                active.ends_here = true;
                Ok(())
            }
            (Ok(Place::Displaced), Some(active)) => {
                // What is behind went to the file that has no name.
                state.pending.written = 0;
                self.put_back(active, end)
            }
            (Err(error), _) => Err(error),
        };
        match placed {
            Ok(()) => {
                self.acknowledge(state, frames, elapsed);
                Ok(())
            }
            Err(error) => {
                let path = state.active.as_ref().map(|active| active.path.clone());
                state.pending = frames.followed_by(std::mem::take(&mut state.pending));
                Err(Failure::new(path.unwrap_or_default(), error).unknown_outcome())
            }
        }
    }

    /// Writes what is pending and the padding behind it, and takes it out: later frames begin a new block.
    fn begin_sync(&self, state: &mut State) -> Result<Pending, (Pending, io::Error)> {
        let padded = self.settings.sizes.padded(state.pending.end());
        let len = state.pending.bytes.len();
        // The padding is written with the frames: one call, and whole blocks need not be read first.
        state.pending.bytes.resize((padded - state.pending.start) as usize, 0);
        let written = write_pending(state);
        let mut frames = std::mem::replace(&mut state.pending, Pending::at(padded));
        frames.bytes.truncate(len);
        match written {
            Ok(()) => Ok(frames),
            Err(error) => Err((frames, error)),
        }
    }

    /// The sync of `frames` returned and they are in their place: they are durable.
    fn acknowledge(&self, state: &mut State, frames: Pending, elapsed: Duration) {
        if let Some(tell) = &self.on_sync {
            tell(elapsed);
        }
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        state.stats.syncs += 1;
        state.stats.sync_micros_total += micros;
        state.stats.sync_micros_max = state.stats.sync_micros_max.max(micros);
        state.stats.sync_micros_last = micros;
        let Some(active) = &mut state.active else {
            return;
        };
        active.digest.absorb(frames.start, &frames.bytes);
        // The marker tells of the blocks before the padded end: the padding belongs to them.
        active.digest.absorb(self.settings.sizes.padded(frames.end()), &[]);
        active.counts.add(&frames.counts);
        active.notable |= !frames.notable.is_empty();
        active.synced = Synced {
            offset: self.settings.sizes.padded(frames.end()),
            seq: frames.end_seq.max(active.synced.seq),
        };
        // Before anybody else can roll: the next header must tell of them.
        for record in &frames.notable {
            state.ledger.apply(record);
            state.tombstones.extend(record.pruned_segments());
        }
        self.publish(state);
        // The buffer is used again where nobody has begun another one.
        if state.pending.bytes.capacity() == 0 {
            let mut bytes = frames.bytes;
            bytes.clear();
            bytes.shrink_to(BUFFER_BYTES_KEPT);
            state.pending.bytes = bytes;
        }
    }

    pub(super) fn fail(&self, state: &mut State, frames: Pending, error: io::Error) {
        let path = state.active.as_ref().map(|active| active.path.clone()).unwrap_or_default();
        self.relocate(state, frames, Failure::new(path, error));
        self.turnstile.notify_all();
    }
}

/// The largest buffer that is kept for the next batch, in bytes.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Gives the operating system what it does not have yet of the pending frames.
fn write_pending(state: &mut State) -> io::Result<()> {
    let State { active: Some(active), pending, .. } = state else {
        return Ok(());
    };
    let rest = pending.bytes.get(pending.written..).unwrap_or_default();
    if !rest.is_empty() {
        active.file.write_at(rest, pending.start + pending.written as u64)?;
        pending.written = pending.bytes.len();
    }
    Ok(())
}
