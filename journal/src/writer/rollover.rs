//! From one segment to the next: [`PendingSegment`] is a segment that is about to be begun.
//!
//! A rollover, a relocation after a failed write or sync, and a recovery are the same operation with different content:
//! where the old segment ends, and which frames, if any, are written again. A segment that cannot be begun waits in
//! memory; every append and sync tries again.

use std::io;

use super::segment::{BeginError, Failure, Replaced, prepare_spare, trim_before};
use super::{ActiveSegment, Pending, State, Suspended, Tail, Writer};
use crate::error::Context;
use crate::format::{
    Ancestor, ContentEnd, ControlRecord, Counts, FRAMES_OFFSET, PreviousEnd, Salt, SegmentHeader,
    SegmentName,
};
use crate::salvage::SalvagedFrames;
use crate::{Error, Seq};

/// A segment that is about to be begun.
#[derive(Debug)]
pub(crate) struct PendingSegment {
    /// Where the previous segment ends; `None` at the very beginning.
    pub(crate) previous: Option<PreviousEnd>,
    /// The segment whose name it takes.
    pub(crate) replaces: Option<Replaced>,
    /// The segments before the previous one, nearest first.
    pub(crate) ancestors: Vec<Ancestor>,
    /// Seq of the first record.
    pub(crate) base: Seq,
    /// Frames to be written before the segment gets its name.
    pub(crate) salvaged: SalvagedFrames,
    /// The seq after the last salvaged record.
    pub(crate) end: Seq,
    /// Tombstones and gaps among the salvaged records.
    pub(crate) control: Vec<ControlRecord>,
    /// The segment that holds the durable end until this one is begun.
    pub(crate) last: Option<LastSegment>,
}

/// The last segment, and the offset of the durable end in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastSegment {
    pub(crate) name: SegmentName,
    pub(crate) salt: Salt,
    pub(crate) offset: u64,
}

impl PendingSegment {
    /// One without frames, after `previous`.
    pub(crate) fn empty(previous: Option<PreviousEnd>, base: Seq) -> Self {
        Self {
            previous,
            replaces: None,
            ancestors: Vec::new(),
            base,
            salvaged: SalvagedFrames::default(),
            end: base,
            control: Vec::new(),
            last: None,
        }
    }

    /// One with these frames, after `previous`; `base` is its first seq if there are none.
    pub(crate) fn with_frames(
        previous: Option<PreviousEnd>,
        salvaged: SalvagedFrames,
        base: Seq,
    ) -> Self {
        let base = salvaged.first_seq().unwrap_or(base);
        Self { salvaged, ..Self::empty(previous, base) }
    }

    /// One without frames, after the last sync of `old`. An empty segment is replaced: two would begin with the same seq.
    fn after(old: &ActiveSegment) -> Self {
        let (header, base) = (&old.header, old.synced.seq);
        let is_empty = base == header.name.base;
        let (name, salt) = (header.name, header.salt);
        let previous = match is_empty {
            true => header.previous,
            false => Some(PreviousEnd {
                name,
                salt,
                offset: old.synced.offset,
                seq: base,
                digest: old.digest.finish(old.synced.offset),
                unreadable: false,
            }),
        };
        Self {
            replaces: is_empty.then_some(Replaced { name, salt }),
            ancestors: match is_empty {
                true => header.ancestors.clone(),
                false => header.ancestors_of_next(),
            },
            last: Some(LastSegment { name, salt, offset: old.synced.offset }),
            ..Self::empty(previous, base)
        }
    }

    /// The seq after the last record that is durable before this segment is.
    pub(crate) fn durable_seq(&self) -> Seq {
        self.previous.map_or(self.base, |previous| previous.seq).min(self.base)
    }
}

impl Writer {
    /// Writes `next` and gives it its name. Changes nothing else: see [`Writer::install`].
    fn begin(&self, state: &mut State, next: &PendingSegment) -> Result<ActiveSegment, BeginError> {
        let created = self.clock.read().wall;
        let fresh_name = SegmentName { base: next.base, day: created.day() };
        let name = next.replaces.map_or(fresh_name, |replaced| replaced.name);
        let salt = self.settings.ids.bytes().map_err(|error| {
            BeginError::new(&self.directory.spare(), io::Error::other(error.to_string()))
        })?;
        let salt = Salt(u64::from_le_bytes(salt));
        let frames = next.salvaged.place(salt, FRAMES_OFFSET, next.durable_seq());
        let header = SegmentHeader {
            journal: self.settings.journal,
            incarnation: self.settings.incarnation,
            salt,
            replaces: next.replaces.map_or(Salt(0), |replaced| replaced.salt),
            name,
            created,
            previous: next.previous,
            ancestors: next.ancestors.clone(),
            initial_end: ContentEnd { offset: FRAMES_OFFSET + frames.len() as u64, seq: next.end },
            last_pruned_day: state.pruned_and_gaps.last_pruned_day,
            pruned: state.pruned_and_gaps.pruned.ranges().to_vec(),
            gaps: state.pruned_and_gaps.gaps.ranges().to_vec(),
        };
        let is_blank = std::mem::take(&mut state.spare_ready);
        let begun = ActiveSegment::begin(
            &self.directory,
            header,
            &frames,
            &self.settings.sizes,
            is_blank,
            || self.check_ours(),
        );
        if begun.is_err()
            && let Err(holder) = self.check_claim()
        {
            self.fence(state, holder);
        }
        let mut active = begun?;
        active.counts = next.salvaged.counts;
        active.has_control = !next.control.is_empty();
        Ok(active)
    }

    /// Makes a segment that was begun the active one; returns the tail that it replaces.
    fn install(&self, state: &mut State, active: ActiveSegment, control: &[ControlRecord]) -> Tail {
        for record in control {
            state.pruned_and_gaps.apply(record);
            state.tombstones.extend(record.pruned_segments());
        }
        if let Some(previous) = &active.header.previous {
            trim_before(&self.directory, previous);
        }
        state.pending = Pending::at(active.synced.offset);
        state.stats.segments_begun += 1;
        self.end_index(state);
        state.tags.begin((active.synced.offset > FRAMES_OFFSET).then_some(active.synced));
        let old = std::mem::replace(&mut state.tail, Tail::Active(Box::new(active)));
        if let Err(holder) = self.check_claim() {
            // It has a name and no acknowledged record; it must not hide the records of the other process.
            self.fence(state, holder);
        } else {
            self.name_in_identity(state);
        }
        old
    }

    /// Writes the index of the active segment, which ends where it is durable.
    fn end_index(&self, state: &mut State) {
        if let State { tail: Tail::Active(old), tags, .. } = state {
            tags.seal(&self.directory, &old.header, old.synced.seq);
            tags.begin(None);
        }
    }

    /// Seals the active segment and begins the next one. Everything pending is made durable first.
    ///
    /// On an error the active segment stays, unless its successor already has a name: then the journal is
    /// suspended until that name is durable.
    pub(crate) fn roll_over(&self, state: &mut State) -> Result<(), Error> {
        self.sync_exclusively(state)?;
        let Some(next) = state.active().map(PendingSegment::after) else {
            return Ok(());
        };
        match self.begin(state, &next) {
            Ok(active) => {
                if let Tail::Active(old) = self.install(state, active, &[]) {
                    state.keys.seal(&self.directory, &old.header, old.synced.seq);
                    if next.replaces.is_none() {
                        old.seal();
                    }
                }
                self.publish(state);
                if let Err(error) = self.sync_marker(state) {
                    tracing::debug!(%error, "durability marker: a sync failed; IDENTITY names the segment");
                }
                self.replenish_spare(state);
                Ok(())
            }
            Err(BeginError { failure, named: None }) => {
                state.ensure_open(&self.directory.root)?;
                Err(failure.refused(&self.directory.journal))
            }
            Err(BeginError { failure, named }) => {
                let error = failure.refused(&self.directory.journal);
                if let Tail::Active(old) = &state.tail {
                    state.keys.seal(&self.directory, &old.header, old.synced.seq);
                }
                self.suspend(state, PendingSegment { replaces: named, ..next }, failure);
                Err(error)
            }
        }
    }

    /// Ends the active segment at its last successful sync and writes everything after that to a new one.
    ///
    /// `in_flight` are the frames of the sync that failed; the pending ones follow them. On success all of them are
    /// durable. On failure they wait in memory.
    pub(crate) fn relocate(&self, state: &mut State, in_flight: Pending, failure: Failure) {
        let old = match &state.tail {
            Tail::Active(old) => old,
            Tail::Suspended(_) => {
                // Frames are encoded for an active segment, and a suspension takes all of them.
                debug_assert!(in_flight.bytes.is_empty(), "frames without a segment");
                return;
            }
        };
        let pending = std::mem::take(&mut state.pending);
        let mut salvaged = SalvagedFrames::default();
        let mut counts = Counts::default();
        for frames in [&in_flight, &pending] {
            salvaged.push_frames(&frames.bytes, old.header.salt, frames.start);
            counts.add(&frames.counts);
        }
        salvaged.counts = counts;
        let next = PendingSegment {
            salvaged,
            end: state.next_seq,
            control: [in_flight.control, pending.control].concat(),
            ..PendingSegment::after(old)
        };
        state.stats.relocations += 1;
        state.keys.split(&self.directory, &old.header, next.base);
        self.begin_or_suspend(state, next, Some(failure));
    }

    /// Tries a suspended segment again.
    pub(crate) fn resume(&self, state: &mut State) -> Result<(), Error> {
        let Tail::Suspended(suspended) = &mut state.tail else { return Ok(()) };
        let path = suspended.failure.path.clone();
        let empty = PendingSegment::empty(None, suspended.next.base);
        let next = std::mem::replace(&mut suspended.next, empty);
        self.begin_or_suspend(state, next, None);
        match state.suspended() {
            None => {
                state.suspension_reported = false;
                tracing::warn!(
                    path = %path.display(),
                    "the journal writes again; all records kept in memory are durable"
                );
                Ok(())
            }
            Some(suspended) => {
                state.ensure_open(&self.directory.root)?;
                Err(suspended.failure.refused(&self.directory.journal))
            }
        }
    }

    /// Begins the segment, or keeps it for later. Readers learn how far the journal is durable either way.
    pub(crate) fn begin_or_suspend(
        &self,
        state: &mut State,
        mut next: PendingSegment,
        cause: Option<Failure>,
    ) {
        match self.begin(state, &next) {
            Ok(active) => {
                self.install(state, active, &next.control);
                if let Some(failure) = cause {
                    tracing::error!(
                        path = %failure.path.display(), error = %failure.source,
                        "journal: a write failed; records that were not proven durable are in a new segment"
                    );
                }
                self.publish(state);
                if state.unnamed
                    && let Err(error) = self.sync_marker(state)
                {
                    tracing::warn!(%error, "durability marker: a sync failed; nothing durable names the newest segment");
                }
                self.replenish_spare(state);
            }
            Err(BeginError { failure, named }) => {
                next.replaces = named.or(next.replaces);
                self.suspend(state, next, cause.unwrap_or(failure));
            }
        }
    }

    /// Reported when it begins; [`Writer::resume`] reports the end.
    fn suspend(&self, state: &mut State, next: PendingSegment, failure: Failure) {
        if state.fenced.is_none() && !std::mem::replace(&mut state.suspension_reported, true) {
            tracing::error!(
                path = %failure.path.display(), error = %failure.source,
                records_in_memory = next.salvaged.counts.records,
                "the journal cannot write; every append and sync tries again"
            );
        }
        state.pending = Pending::default();
        self.end_index(state);
        state.tail = Tail::Suspended(Box::new(Suspended { next, failure }));
        self.watermark.set(state.durable());
    }

    /// Removes the spare, unless there is no segment to append to. Returns whether there was one.
    pub(crate) fn release_spare(&self) -> Result<bool, Error> {
        let mut state = self.lock_idle();
        state.ensure_open(&self.directory.root)?;
        if state.active().is_none() {
            return Ok(false);
        }
        state.spare_ready = false;
        let path = self.directory.spare();
        match self.directory.storage.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true).context("remove", &path),
        }
    }

    fn replenish_spare(&self, state: &mut State) {
        if !state.spare_ready && self.directory.check_anchor().is_ok() {
            state.spare_ready = prepare_spare(&self.directory, &self.settings.sizes);
        }
    }
}
