//! Appending: validates a batch, waits until the journal can take it, assigns seqs and encodes the frame.

use std::collections::HashSet;
use std::io;

use super::{Appended, Durability, Failure, KeyCheck, State, Tail, Taken, Writer, keys_of};
use crate::format::{
    ClockStepped, ControlRecord, FrameSpan, Key, Kind, NewRecord, encode_frame, frame_len,
};
use crate::index::candidates;
use crate::limits::{
    BATCH_RECORDS_MAX, CLOCK_STEP_MICROS, FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX, SEGMENT_KEYS_MAX,
    UNSYNCED_BYTES_MAX, UNSYNCED_RECORDS_MAX,
};
use crate::options::padded;
use crate::sync::MutexGuard;
use crate::time::ClockReading;
use crate::{AppendCondition, Day, Error, Seq, Timestamp};

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

    /// Appends a batch, durably, unless a record that may match a condition was appended since the conditions were
    /// evaluated, which was before `evaluated_to`.
    pub(crate) fn append_unless(
        &self,
        records: &[NewRecord<'_>],
        conditions: &[AppendCondition],
        evaluated_to: Seq,
    ) -> Result<Taken, Error> {
        let request = self.request(records)?;
        let (mut state, reading) = self.ready(self.lock(), &request)?;
        if let Some((index, seq)) = self.find_duplicate(&mut state, records)? {
            state.stats.duplicates += 1;
            self.commit(state, seq.next(), Durability::PowerCut)?;
            return Ok(Taken::Appended(Appended::Duplicate { index, seq }));
        }
        if let Some(seq) = may_match(&state, conditions, evaluated_to) {
            return Ok(Taken::Pending(seq));
        }
        let first = self.put(&mut state, records, reading)?;
        let end = state.next_seq;
        self.commit(state, end, Durability::PowerCut)?;
        Ok(Taken::Appended(Appended::New(first)))
    }

    /// The retained record that the batch duplicates, once it is durable.
    pub(crate) fn find_known(&self, records: &[NewRecord<'_>]) -> Result<Option<Appended>, Error> {
        validate(records)?;
        let mut state = self.lock();
        let Some((index, seq)) = self.find_duplicate(&mut state, records)? else { return Ok(None) };
        state.stats.duplicates += 1;
        self.commit(state, seq.next(), Durability::PowerCut)?;
        Ok(Some(Appended::Duplicate { index, seq }))
    }

    /// The retained record with this key.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Seq>, Error> {
        let record = NewRecord::new(Kind(0), 0, &[]).key(*key);
        let found = self.find_duplicate(&mut self.lock(), &[record])?;
        Ok(found.map(|(_, seq)| seq))
    }

    /// Makes the record with this seq, of another caller, durable. Nothing of this caller's is at stake.
    pub(crate) fn commit_pending(&self, seq: Seq) -> Result<(), Error> {
        let committed = self.commit(self.lock(), seq.next(), Durability::PowerCut);
        committed.map_err(|error| match error {
            Error::Sync { path, source } => {
                Failure { path, source }.refused(&self.directory.journal)
            }
            other => other,
        })
    }

    /// Appends every record as a batch of its own, with one sync for all of them.
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

    /// Assigns seqs to a batch and encodes it, or finds the record that it duplicates.
    ///
    /// Returns the seq up to which the caller has to commit.
    fn take<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        records: &[NewRecord<'_>],
        keys: KeyCheck,
    ) -> Result<(MutexGuard<'a, State>, Appended, Seq), Error> {
        let request = self.request(records)?;
        let (mut state, reading) = self.ready(state, &request)?;
        if keys == KeyCheck::Refuse
            && let Some((index, seq)) = self.find_duplicate(&mut state, records)?
        {
            state.stats.duplicates += 1;
            return Ok((state, Appended::Duplicate { index, seq }, seq.next()));
        }
        let first = self.put(&mut state, records, reading)?;
        let end = state.next_seq;
        Ok((state, Appended::New(first), end))
    }

    /// What a valid batch needs.
    fn request(&self, records: &[NewRecord<'_>]) -> Result<Request, Error> {
        validate(records)?;
        let bytes = frame_len(records).ok_or(Error::TooLarge {
            what: "batch",
            found: records.iter().map(|record| record.payload.len() as u64).sum(),
            limit: FRAME_BYTES_MAX as u64,
        })?;
        Ok(Request {
            bytes: bytes as u64,
            records: records.len() as u64,
            reserve: self.settings.sizes.reserve,
        })
    }

    /// Assigns seqs to a batch for which there is room, and encodes it.
    fn put(
        &self,
        state: &mut State,
        records: &[NewRecord<'_>],
        reading: ClockReading,
    ) -> Result<Seq, Error> {
        self.record_clock_step(state, reading)?;
        let first = enqueue(state, records, reading.wall)?;
        state.stats.batches += 1;
        Ok(first)
    }

    /// Appends a control record, durably, from the reserve if there is no other room.
    pub(crate) fn append_control(&self, record: &ControlRecord) -> Result<Seq, Error> {
        let payload = record.encode();
        let records = [record.as_record(&payload)];
        let bytes = frame_len(&records).ok_or(Error::TooLarge {
            what: "control record",
            found: payload.len() as u64,
            limit: FRAME_BYTES_MAX as u64,
        })?;
        let request = Request { bytes: bytes as u64, records: 1, reserve: 0 };
        let (mut state, reading) = self.ready(self.lock(), &request)?;
        let seq = enqueue(&mut state, &records, reading.wall)?;
        state.pending.control.push(record.clone());
        let end = state.next_seq;
        self.commit(state, end, Durability::PowerCut)?;
        Ok(seq)
    }

    /// Waits until the request fits, and begins a new segment if one is due. Returns the locked state and the time.
    fn ready<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        request: &Request,
    ) -> Result<(MutexGuard<'a, State>, ClockReading), Error> {
        let (mut rollover_failed, mut relocated) = (false, false);
        loop {
            state.ensure_open(&self.directory.root)?;
            let reading = self.clock.read();
            let today = reading.wall.day();
            let rollover_due =
                !rollover_failed && self.is_rollover_due(&state, request.bytes, today);
            let full = state.pending.bytes.len() + request.bytes as usize > UNSYNCED_BYTES_MAX
                || state.unsynced_records() + request.records > UNSYNCED_RECORDS_MAX;
            let is_suspended = state.suspended().is_some();
            let mut refused = None;
            if !(is_suspended || state.marker_clean || rollover_due || full) {
                match self.make_room(&mut state, request) {
                    Ok(true) => return Ok((state, reading)),
                    Ok(false) => {
                        return Err(Error::StorageFull { path: self.directory.journal.clone() });
                    }
                    Err(error) => refused = Some(error),
                }
            }
            if state.busy {
                self.wait(&mut state);
                continue;
            }
            if let Some(error) = refused {
                if relocated {
                    let path = self.directory.journal.clone();
                    return Err(Failure::new(path, error).refused(&self.directory.journal));
                }
                // The medium refuses to extend this file; it may accept another one.
                relocated = true;
                let frames = std::mem::take(&mut state.pending);
                self.fail(&mut state, frames, error);
                continue;
            }
            let result = if is_suspended {
                self.resume(&mut state)
            } else if state.marker_clean {
                self.clear_clean_flag(&mut state)
            } else if rollover_due {
                self.roll_over(&mut state)
            } else {
                self.sync_exclusively(&mut state)
            };
            match result {
                Ok(()) => {}
                // The frames of other callers failed. The next attempt shows whether this batch can be taken.
                Err(_) if !is_suspended && state.suspended().is_some() => {}
                // On a full disk the old segment takes what it has room for.
                Err(error)
                    if rollover_due
                        && error.is_storage_full()
                        && state.active().is_some_and(|active| !active.ends_here) =>
                {
                    rollover_failed = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_rollover_due(&self, state: &State, bytes: u64, today: Day) -> bool {
        let Some(active) = state.active() else { return false };
        if active.ends_here {
            return true;
        }
        if state.next_seq == active.header.name.base {
            return false;
        }
        active.day.is_some_and(|day| day != today)
            || state.pending.end() + bytes > self.settings.sizes.segment_max
            || state.keys.active_len() >= SEGMENT_KEYS_MAX
            || state.tags.is_full()
    }

    /// Preallocates for the request; `Ok(false)` if there is no room.
    fn make_room(&self, state: &mut State, request: &Request) -> io::Result<bool> {
        let end = padded(state.pending.end() + request.bytes + CLOCK_FRAME_BYTES);
        let Tail::Active(active) = &mut state.tail else { return Ok(false) };
        let made = active.make_room(end + request.reserve, &self.settings.sizes)?;
        Ok(made || request.reserve == 0 && end <= active.allocated)
    }

    fn find_duplicate(
        &self,
        state: &mut State,
        records: &[NewRecord<'_>],
    ) -> Result<Option<(usize, Seq)>, Error> {
        let State { keys, tail, pruned_and_gaps, .. } = state;
        let header = match tail {
            Tail::Active(active) => Some(&active.header),
            Tail::Suspended(_) => None,
        };
        for (index, key) in keys_of(records) {
            if let Some(seq) =
                keys.find(&self.directory, header, &pruned_and_gaps.pruned, || self.links(), &key)?
            {
                return Ok(Some((index, seq)));
            }
        }
        Ok(None)
    }

    /// Appends `ClockStepped` if wall time moved differently from the time since boot.
    fn record_clock_step(&self, state: &mut State, reading: ClockReading) -> Result<(), Error> {
        let Some(last) = state.clock.replace(reading) else { return Ok(()) };
        let elapsed = reading.boot.saturating_sub(last.boot);
        let elapsed_micros = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        let expected = Timestamp {
            utc_micros: last.wall.utc_micros.saturating_add(elapsed_micros),
            offset_minutes: last.wall.offset_minutes,
        };
        let step = reading.wall.utc_micros.abs_diff(expected.utc_micros);
        if step <= CLOCK_STEP_MICROS.unsigned_abs() {
            return Ok(());
        }
        tracing::warn!(%expected, found = %reading.wall, "the wall clock was set; the journal records the step");
        let record = ControlRecord::ClockStepped(ClockStepped { expected, found: reading.wall });
        enqueue(state, &[record.as_record(&record.encode())], reading.wall)?;
        Ok(())
    }
}

/// A record from `evaluated_to` on that may match a condition.
fn may_match(state: &State, conditions: &[AppendCondition], evaluated_to: Seq) -> Option<Seq> {
    conditions.iter().find_map(|condition| state.may_match(condition, evaluated_to))
}

impl State {
    /// A record from `from` on that may match the condition, by the index of the active segment. No file is read.
    pub(crate) fn may_match(&self, condition: &AppendCondition, from: Seq) -> Option<Seq> {
        let from = from.max(condition.after.map_or(Seq::FIRST, Seq::next));
        if from >= self.next_seq {
            return None;
        }
        let last = Some(Seq(self.next_seq.0 - 1));
        let begins = self.active().map(|active| active.header.initial_end.seq);
        let known_from = self.tags.unread_to.map(|unread| unread.seq).or(begins);
        if known_from.is_none_or(|known_from| from < known_from) {
            // That part of the range is not in memory.
            return last;
        }
        let index = self.tags.appended();
        let first = index.frame_of(from).map_or(0, |(_, frame)| frame);
        match candidates(index, &self.tags.hasher, &condition.fail_if, first) {
            Some(frames) => index.seq_of(*frames.first()?),
            None => last,
        }
    }
}

/// The room that an append needs.
struct Request {
    bytes: u64,
    records: u64,
    /// Bytes that have to stay free for control records.
    reserve: u64,
}

/// Encodes a batch after the pending ones and assigns its seqs. [`Writer::ready`] made room for it.
fn enqueue(state: &mut State, records: &[NewRecord<'_>], time: Timestamp) -> Result<Seq, Error> {
    let active = match &mut state.tail {
        Tail::Active(active) => active,
        Tail::Suspended(suspended) => {
            let Failure { path, source } = suspended.failure.clone();
            return Err(Error::Suspended { path, source });
        }
    };
    let first = state.next_seq;
    active.day.get_or_insert(time.day());
    let before = state.pending.bytes.len();
    let span = FrameSpan { first_seq: first, synced_seq: active.synced.seq, skipped: 0 };
    let (salt, offset) = (active.header.salt, state.pending.end());
    encode_frame(records, time, span, salt, offset, &mut state.pending.bytes);
    let hasher = state.tags.hasher;
    state.tags.begin_frame(first, offset);
    for record in records {
        hasher.each_term(record.kind, record.tags.iter(), |term| state.tags.add(term));
    }
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
    Ok(first)
}

fn validate(records: &[NewRecord<'_>]) -> Result<(), Error> {
    if records.is_empty() {
        return Err(Error::Refused { reason: "a batch needs at least one record" });
    }
    if records.len() > BATCH_RECORDS_MAX {
        let (found, limit) = (records.len() as u64, BATCH_RECORDS_MAX as u64);
        return Err(Error::TooLarge { what: "number of records", found, limit });
    }
    let mut keys = HashSet::new();
    for record in records {
        if record.key.is_some_and(|key| !keys.insert(key)) {
            return Err(Error::Refused { reason: "two records of the batch have the same key" });
        }
        if record.kind >= Kind::RESERVED {
            return Err(Error::Refused {
                reason: "kinds from 0xFF00 on are reserved for control records",
            });
        }
        if record.day.is_some_and(|day| !day.is_valid()) {
            return Err(Error::Refused { reason: "its day is outside of the years 0 to 9999" });
        }
        if record.payload.len() > PAYLOAD_BYTES_MAX {
            let (found, limit) = (record.payload.len() as u64, PAYLOAD_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "payload", found, limit });
        }
    }
    Ok(())
}
