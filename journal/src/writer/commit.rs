//! Group commit: the first who needs a sync becomes the leader and does it for all who have come by then.

use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::{Durability, Failure, Pending, State, Synced, Writer};
use crate::{Error, Seq};

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
            if let Some((_, failure)) = &state.suspended {
                return Err(failure.unknown_outcome());
            }
            if state.busy {
                state = self.wait(state);
            } else {
                state = self.lead(state);
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
        let outcome = self.begin_sync(state).and_then(|frames| {
            let started = Instant::now();
            match self.sync_active(state) {
                Ok(()) => {
                    self.settle(state, frames, started);
                    Ok(())
                }
                Err(error) => Err((frames, error)),
            }
        });
        if let Err((frames, error)) = outcome {
            self.fail(state, frames, error);
        }
        self.turnstile.notify_all();
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
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.busy = true;
        let file = state.active.as_ref().map(|active| Arc::clone(&active.file));
        let begun = self.begin_sync(&mut state);
        match (begun, file) {
            (Ok(frames), Some(file)) => {
                drop(state);
                let started = Instant::now();
                let synced = file.sync();
                state = self.lock();
                match synced {
                    Ok(()) => self.settle(&mut state, frames, started),
                    Err(error) => self.fail(&mut state, frames, error),
                }
            }
            (Err((frames, error)), _) => self.fail(&mut state, frames, error),
            (Ok(_), None) => {}
        }
        state.busy = false;
        self.turnstile.notify_all();
        state
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

    fn sync_active(&self, state: &State) -> io::Result<()> {
        state.active.as_ref().map_or(Ok(()), |active| active.file.sync())
    }

    /// The sync of `frames` returned: they are durable.
    fn settle(&self, state: &mut State, frames: Pending, started: Instant) {
        let elapsed = started.elapsed();
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
        // The witness tells of the blocks before the padded end: the padding belongs to them.
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
