//! Appending: validates a batch, waits until the journal is fit to take it, gives it seqs and encodes it.

use std::collections::HashSet;
use std::io;
use std::sync::MutexGuard;

use super::{Appended, Durability, Failure, KeyCheck, State, Writer, keys_of};
use crate::format::{
    ClockStepped, FrameSpan, Kind, NewRecord, SystemRecord, encode_frame, frame_len,
};
use crate::limits::{
    BATCH_RECORDS_MAX, CLOCK_STEP_MICROS, FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX, SEGMENT_KEYS_MAX,
    UNSYNCED_BYTES_MAX, UNSYNCED_RECORDS_MAX,
};
use crate::time::ClockReading;
use crate::{Day, Error, Seq, Timestamp};

/// Room for a `ClockStepped` before the batch.
const CLOCK_FRAME_BYTES: u64 = 128;

impl Writer {
    /// Appends one batch of a caller's records.
    pub(crate) fn append(
        &self,
        records: &[NewRecord<'_>],
        durability: Durability,
        keys: KeyCheck,
    ) -> Result<Appended, Error> {
        let (state, appended, end) = self.take(self.lock(), records, keys)?;
        self.commit(state, end, durability)?;
        Ok(appended)
    }

    /// Appends every record as a batch of its own; the operating system is asked once for all of them.
    pub(crate) fn append_each(
        &self,
        records: &[NewRecord<'_>],
        durability: Durability,
        keys: KeyCheck,
    ) -> Vec<Result<Appended, Error>> {
        let mut outcomes = Vec::with_capacity(records.len());
        let mut last = Seq(0);
        let mut state = self.lock();
        for record in records {
            let outcome = match self.take(state, std::slice::from_ref(record), keys) {
                Ok((guard, appended, end)) => {
                    state = guard;
                    last = last.max(end);
                    Ok(appended)
                }
                Err(error) => {
                    state = self.lock();
                    Err(error)
                }
            };
            outcomes.push(outcome);
        }
        if let Err(error) = self.commit(state, last, durability) {
            for outcome in &mut outcomes {
                *outcome = outcome.clone().and(Err(error.clone()));
            }
        }
        outcomes
    }

    /// Gives a batch its seqs and encodes it, or finds the record it duplicates. Returns the seq up to which the
    /// caller has to commit.
    fn take<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        records: &[NewRecord<'_>],
        keys: KeyCheck,
    ) -> Result<(MutexGuard<'a, State>, Appended, Seq), Error> {
        validate(records)?;
        let bytes = frame_len(records).ok_or(Error::TooLarge {
            what: "the batch",
            found: records.iter().map(|record| record.payload.len() as u64).sum(),
            limit: FRAME_BYTES_MAX as u64,
        })?;
        let reserve = self.settings.sizes.reserve;
        let (mut state, reading) =
            self.ready(state, bytes as u64, records.len() as u64, reserve)?;
        if keys == KeyCheck::Refuse
            && let Some((index, seq)) = self.find_duplicate(&mut state, records)?
        {
            state.stats.duplicates += 1;
            return Ok((state, Appended::Duplicate { index, seq }, seq.next()));
        }
        self.note_clock(&mut state, reading);
        let first = self.enqueue(&mut state, records, reading.wall);
        state.stats.batches += 1;
        let end = state.next_seq;
        Ok((state, Appended::New(first), end))
    }

    /// Appends one of the journal's own records, durably, from the reserve if there is no other room.
    pub(crate) fn append_system(&self, record: &SystemRecord) -> Result<Seq, Error> {
        let payload = record.encode();
        let records = [NewRecord {
            kind: record.kind(),
            version: SystemRecord::VERSION,
            day: None,
            key: None,
            payload: &payload,
        }];
        let bytes = frame_len(&records).ok_or(Error::TooLarge {
            what: "the journal's own record",
            found: payload.len() as u64,
            limit: FRAME_BYTES_MAX as u64,
        })?;
        let (mut state, reading) = self.ready(self.lock(), bytes as u64, 1, 0)?;
        let seq = self.enqueue(&mut state, &records, reading.wall);
        state.pending.notable.push(record.clone());
        let end = state.next_seq;
        self.commit(state, end, Durability::PowerCut)?;
        Ok(seq)
    }

    /// Waits until `records` of `bytes` can be appended and still `reserve` be left, beginning a new segment where
    /// one is due. Returns the state, locked, and the time.
    fn ready<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        bytes: u64,
        records: u64,
        reserve: u64,
    ) -> Result<(MutexGuard<'a, State>, ClockReading), Error> {
        let (mut roll_failed, mut relocated) = (false, false);
        loop {
            state.ensure_open(&self.directory.root)?;
            let reading = self.clock.read();
            let roll_due = !roll_failed && self.is_roll_due(&state, bytes, reading.wall.day());
            let full = state.pending.bytes.len() + bytes as usize > UNSYNCED_BYTES_MAX
                || state.unsynced_records() + records > UNSYNCED_RECORDS_MAX;
            let suspended = state.suspended.is_some();
            let mut refused = None;
            if !(suspended || state.marker_clean || roll_due || full) {
                match self.make_room(&mut state, bytes + CLOCK_FRAME_BYTES, reserve) {
                    Ok(true) => return Ok((state, reading)),
                    Ok(false) => {
                        return Err(Error::StorageFull { path: self.directory.journal.clone() });
                    }
                    Err(error) => refused = Some(error),
                }
            }
            if state.busy {
                state = self.wait(state);
                continue;
            }
            if let Some(error) = refused {
                if relocated {
                    let path = self.directory.journal.clone();
                    return Err(Failure::new(path, error).refused(&self.directory.journal));
                }
                // The medium refuses to lengthen this file. Another one may do.
                relocated = true;
                let frames = std::mem::take(&mut state.pending);
                self.fail(&mut state, frames, error);
                continue;
            }
            let result = if suspended {
                self.resume(&mut state)
            } else if state.marker_clean {
                self.unmark_clean(&mut state)
            } else if roll_due {
                self.roll(&mut state)
            } else {
                self.sync_exclusively(&mut state)
            };
            match result {
                Ok(()) => {}
                // The frames of others have failed. Whether this batch can be taken, trying again will tell.
                Err(_) if !suspended && state.suspended.is_some() => {}
                // On a full disk the old segment takes what it has room for.
                Err(error)
                    if roll_due
                        && error.is_storage_full()
                        && !suspended
                        && state.active.as_ref().is_some_and(|active| !active.ends_here) =>
                {
                    roll_failed = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_roll_due(&self, state: &State, bytes: u64, today: Day) -> bool {
        let Some(active) = &state.active else {
            return false;
        };
        if active.ends_here {
            return true;
        }
        if state.next_seq == active.header.name.base {
            return false;
        }
        active.day.is_some_and(|day| day != today)
            || state.pending.end() + bytes > self.settings.sizes.segment_max
            || state.keys.active_len() >= SEGMENT_KEYS_MAX
    }

    /// `Ok(false)`: there is none.
    fn make_room(&self, state: &mut State, bytes: u64, reserve: u64) -> io::Result<bool> {
        let sizes = &self.settings.sizes;
        let end = sizes.padded(state.pending.end() + bytes);
        let Some(active) = &mut state.active else {
            return Ok(false);
        };
        let made = active.make_room(end + reserve, sizes)?;
        Ok(made || reserve == 0 && end <= active.allocated)
    }

    /// Before the first append: no later start may take this run's end for the clean one of the run before. Both slots
    /// are written, so that damage to the newer one does not bring the clean end back.
    fn unmark_clean(&self, state: &mut State) -> Result<(), Error> {
        let is_open = state.marker.is_some();
        let unmarked =
            (if is_open { self.check_ours() } else { Err(io::ErrorKind::NotFound.into()) })
                .and_then(|()| self.write_marker(state, false))
                .and_then(|()| self.write_marker(state, false))
                .and_then(|()| self.sync_marker(state));
        if let Err(error) = unmarked {
            if let Err(holder) = self.check_claim() {
                self.fence(state, holder);
                return state.ensure_open(&self.directory.root);
            }
            tracing::warn!(%error, "the marker of the clean end cannot be written; a new segment is begun");
            // The clean end is then not that of the newest segment, and is not believed.
            self.roll(state)?;
        }
        state.marker_clean = false;
        Ok(())
    }

    fn find_duplicate(
        &self,
        state: &mut State,
        records: &[NewRecord<'_>],
    ) -> Result<Option<(usize, Seq)>, Error> {
        let State { keys, active, ledger, .. } = state;
        let header = active.as_ref().map(|active| &active.header);
        for (index, key) in keys_of(records) {
            if let Some(seq) =
                keys.find(&self.directory, header, &ledger.pruned, || self.links(), &key)?
            {
                return Ok(Some((index, seq)));
            }
        }
        Ok(None)
    }

    /// Appends `ClockStepped` where wall time moved otherwise than time since boot.
    fn note_clock(&self, state: &mut State, reading: ClockReading) {
        let Some(last) = state.clock.replace(reading) else {
            return;
        };
        let elapsed = reading.boot.saturating_sub(last.boot);
        let elapsed_micros = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        let expected = Timestamp {
            utc_micros: last.wall.utc_micros.saturating_add(elapsed_micros),
            offset_minutes: last.wall.offset_minutes,
        };
        let step = reading.wall.utc_micros.abs_diff(expected.utc_micros);
        if step <= CLOCK_STEP_MICROS.unsigned_abs() {
            return;
        }
        tracing::warn!(%expected, found = %reading.wall, "the wall clock was set");
        let record = SystemRecord::ClockStepped(ClockStepped { expected, found: reading.wall });
        let payload = record.encode();
        let (kind, version) = (record.kind(), SystemRecord::VERSION);
        let records = [NewRecord { kind, version, day: None, key: None, payload: &payload }];
        self.enqueue(state, &records, reading.wall);
    }

    /// Encodes a batch behind the pending ones and gives it seqs. There is room for it.
    fn enqueue(&self, state: &mut State, records: &[NewRecord<'_>], time: Timestamp) -> Seq {
        let first = state.next_seq;
        let Some(active) = &mut state.active else {
            return first;
        };
        active.day.get_or_insert(time.day());
        let before = state.pending.bytes.len();
        let span = FrameSpan { first_seq: first, synced_seq: active.synced.seq, skipped: 0 };
        let (salt, offset) = (active.header.salt, state.pending.end());
        encode_frame(records, time, span, salt, offset, &mut state.pending.bytes);
        let counts = &mut state.pending.counts;
        counts.frames += 1;
        counts.records += records.len() as u64;
        for record in records {
            counts.add_day(record.day.unwrap_or_else(|| time.day()));
        }
        for (index, key) in keys_of(records) {
            state.keys.insert(key, first.plus(index as u64));
            state.pending.counts.keyed += 1;
        }
        state.next_seq = first.plus(records.len() as u64);
        state.pending.end_seq = state.next_seq;
        state.stats.records += records.len() as u64;
        state.stats.frame_bytes += (state.pending.bytes.len() - before) as u64;
        first
    }
}

fn validate(records: &[NewRecord<'_>]) -> Result<(), Error> {
    if records.is_empty() {
        return Err(Error::Refused { reason: "a batch needs at least one record" });
    }
    if records.len() > BATCH_RECORDS_MAX {
        let (found, limit) = (records.len() as u64, BATCH_RECORDS_MAX as u64);
        return Err(Error::TooLarge { what: "the number of records", found, limit });
    }
    let mut keys = HashSet::new();
    for record in records {
        if record.key.is_some_and(|key| !keys.insert(key)) {
            return Err(Error::Refused { reason: "two records of the batch have the same key" });
        }
        if record.kind >= Kind::RESERVED {
            return Err(Error::Refused { reason: "kinds from 0xFF00 on are the journal's own" });
        }
        if record.day.is_some_and(|day| !day.is_valid()) {
            return Err(Error::Refused { reason: "its day lies outside of the years 0 to 9999" });
        }
        if record.payload.len() > PAYLOAD_BYTES_MAX {
            let (found, limit) = (record.payload.len() as u64, PAYLOAD_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "the payload", found, limit });
        }
    }
    Ok(())
}
