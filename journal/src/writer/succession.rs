//! From one segment to the next: [`Succession`] is a segment that is about to be begun.
//!
//! A roll, a relocation after a failed write or sync, and a recovery are the same thing with other contents: where
//! the old segment ends, and which frames, if any, are to be written again. What cannot be begun now waits, in
//! memory, and is tried again by whoever next wants to append.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::segment::prepare_spare;
use super::trim::trim_before;
use super::{ActiveSegment, Pending, State, Writer, ancestors_after, end_of};
use crate::carried::{Carried, Counts};
use crate::error::{Context, is_full};
use crate::format::{
    Ancestor, FRAMES_OFFSET, PreviousEnd, Salt, SegmentHeader, SegmentName, SystemRecord,
};
use crate::{Error, Seq};

/// A write or sync that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) path: PathBuf,
    pub(crate) source: Arc<io::Error>,
}

impl Failure {
    pub(crate) fn new(path: PathBuf, source: io::Error) -> Self {
        Self { path, source: Arc::new(source) }
    }

    /// The error of somebody whose records were not even taken.
    pub(crate) fn refused(&self, journal: &Path) -> Error {
        if is_full(&self.source) {
            return Error::StorageFull { path: journal.to_owned() };
        }
        Error::Suspended { path: self.path.clone(), source: Arc::clone(&self.source) }
    }

    /// The error of somebody whose records may or may not be durable.
    pub(crate) fn unknown_outcome(&self) -> Error {
        Error::Sync { path: self.path.clone(), source: Arc::clone(&self.source) }
    }
}

/// A segment that is about to be begun.
#[derive(Debug)]
pub(crate) struct Succession {
    /// Where the one before ends; `None` at the very beginning.
    pub(crate) previous: Option<PreviousEnd>,
    /// A name that is settled: that of the segment this one takes the place of, or of an earlier attempt.
    pub(crate) name: Option<SegmentName>,
    /// Salt of the segment that this one takes the place of; 0 where it takes none.
    pub(crate) replaces: Salt,
    /// The segments before the previous one, nearest first.
    pub(crate) ancestors: Vec<Ancestor>,
    /// Seq of the first record.
    pub(crate) base: Seq,
    /// Frames to be written before the segment gets its name.
    pub(crate) carried: Carried,
    /// The seq behind them.
    pub(crate) end: Seq,
    /// Tombstones and gaps among them.
    pub(crate) notable: Vec<SystemRecord>,
    /// The segment that holds the durable end until this one is begun, and that end's offset.
    pub(crate) rest: Option<(SegmentName, Salt, u64)>,
}

impl Succession {
    /// One without frames, behind `previous`.
    pub(crate) fn empty(previous: Option<PreviousEnd>, base: Seq) -> Self {
        Self {
            previous,
            name: None,
            replaces: Salt(0),
            ancestors: Vec::new(),
            base,
            carried: Carried::default(),
            end: base,
            notable: Vec::new(),
            rest: None,
        }
    }

    /// The seq behind the last record that is durable before this segment is.
    pub(crate) fn durable_seq(&self) -> Seq {
        self.previous.map_or(self.base, |previous| previous.seq).min(self.base)
    }
}

/// A segment that could not be begun.
struct Refused {
    /// What was to be begun, for another attempt.
    succession: Succession,
    failure: Failure,
    /// The segment has its name already, though not durably: nothing may be appended to the one before.
    named: bool,
}

impl Writer {
    /// Begins a new segment and makes it the active one; the old one is sealed if it is given up in good order.
    ///
    /// Where it fails and nothing has changed on disk, the succession comes back.
    fn begin(&self, state: &mut State, succession: Succession) -> Result<(), Box<Refused>> {
        let now = self.clock.read().wall;
        let mut succession = succession;
        let fresh_name = SegmentName { base: succession.base, day: now.day() };
        let name = succession.name.unwrap_or(fresh_name);
        let salt = Salt(u64::from_le_bytes(self.settings.entropy.bytes()));
        let frames = succession.carried.place(salt, FRAMES_OFFSET, succession.durable_seq());
        let header = SegmentHeader {
            journal: self.settings.journal,
            incarnation: self.settings.incarnation,
            salt,
            replaces: succession.replaces,
            name,
            created: now,
            previous: succession.previous,
            ancestors: succession.ancestors.clone(),
            born_offset: FRAMES_OFFSET + frames.len() as u64,
            born_seq: succession.end,
            last_pruned_day: state.ledger.last_pruned_day,
            pruned: state.ledger.pruned.ranges().to_vec(),
            gaps: state.ledger.gaps.ranges().to_vec(),
        };
        let blank = std::mem::take(&mut state.spare_ready);
        let sizes = &self.settings.sizes;
        let begun = ActiveSegment::begin(&self.directory, header, &frames, sizes, blank, || {
            self.check_ours()
        });
        let mut active = match begun {
            Ok(active) => active,
            Err(error) => {
                if let Err(holder) = self.check_claim() {
                    self.fence(state, holder);
                }
                let named = error.named;
                if named {
                    (succession.name, succession.replaces) = (Some(name), salt);
                }
                let failure = Failure::new(error.path, error.source);
                return Err(Box::new(Refused { succession, failure, named }));
            }
        };
        active.counts = std::mem::take(&mut succession.carried.counts);
        active.notable = !succession.notable.is_empty();
        for record in &succession.notable {
            state.ledger.apply(record);
            state.tombstones.extend(record.pruned_segments());
        }
        if let Some(previous) = &active.header.previous {
            trim_before(&self.directory, previous);
        }
        state.pending = Pending::at(active.synced.offset);
        state.stats.segments_begun += 1;
        state.active = Some(active);
        if let Err(holder) = self.check_claim() {
            // It has a name and no acknowledged record; the other one's are not to be hidden by it.
            self.fence(state, holder);
            return Ok(());
        }
        self.name_in_identity(state);
        Ok(())
    }

    /// Rolls: seals the active segment and begins the next. Everything pending is made durable first.
    ///
    /// On an error the active segment stays, unless its successor already has a name: then the journal is
    /// suspended until that name is durable.
    pub(crate) fn roll(&self, state: &mut State) -> Result<(), Error> {
        self.sync_exclusively(state)?;
        let Some(old) = state.active.take() else {
            return Ok(());
        };
        let rest = Some((old.header.name, old.header.salt, old.synced.offset));
        let base = old.synced.seq;
        // An empty segment is replaced: two of them would begin with the same seq.
        let is_empty = base == old.header.name.base;
        let name = is_empty.then_some(old.header.name);
        let replaces = if is_empty { old.header.salt } else { Salt(0) };
        let succession = Succession {
            rest,
            name,
            replaces,
            ancestors: ancestors_after(&old),
            ..Succession::empty(end_of(&old), base)
        };
        match self.begin(state, succession) {
            Ok(()) => {
                state.keys.seal(&self.directory, &old.header, old.synced.seq);
                if !is_empty {
                    old.seal();
                }
                self.publish(state);
                if let Err(error) = self.sync_marker(state) {
                    tracing::debug!(%error, "the journal's marker cannot be synced");
                }
                self.replenish_spare(state);
                Ok(())
            }
            Err(refused) if !refused.named => {
                state.active = Some(old);
                state.ensure_open(&self.directory.root)?;
                Err(refused.failure.refused(&self.directory.journal))
            }
            Err(refused) => {
                let Refused { succession, failure, .. } = *refused;
                let error = failure.refused(&self.directory.journal);
                state.keys.seal(&self.directory, &old.header, old.synced.seq);
                self.suspend(state, succession, failure);
                Err(error)
            }
        }
    }

    /// Ends the active segment at its last returned sync and writes everything behind that to a new one.
    ///
    /// `in_flight` are the frames of the sync that failed; those pending follow them. On success all of them are
    /// durable. On failure they wait in memory.
    pub(crate) fn relocate(&self, state: &mut State, in_flight: Pending, failure: Failure) {
        let Some(old) = state.active.take() else {
            return;
        };
        state.stats.relocations += 1;
        let pending = std::mem::take(&mut state.pending);
        let mut carried = Carried::default();
        let mut counts = Counts::default();
        for frames in [&in_flight, &pending] {
            carried.push_frames(&frames.bytes, old.header.salt, frames.start);
            counts.add(&frames.counts);
        }
        carried.counts = counts;
        let base = old.synced.seq;
        let succession = Succession {
            previous: end_of(&old),
            name: (base == old.header.name.base).then_some(old.header.name),
            replaces: if base == old.header.name.base { old.header.salt } else { Salt(0) },
            ancestors: ancestors_after(&old),
            base,
            carried,
            end: state.next_seq,
            notable: [in_flight.notable, pending.notable].concat(),
            rest: Some((old.header.name, old.header.salt, old.synced.offset)),
        };
        state.keys.split(&self.directory, &old.header, base);
        self.begin_or_suspend(state, succession, Some(failure));
    }

    /// Tries a suspended succession again.
    pub(crate) fn resume(&self, state: &mut State) -> Result<(), Error> {
        let Some((succession, failure)) = state.suspended.take() else {
            return Ok(());
        };
        self.begin_or_suspend(state, succession, None);
        match &state.suspended {
            None => {
                state.told_suspended = false;
                tracing::warn!(
                    path = %failure.path.display(),
                    "the journal writes again; everything kept in memory is durable"
                );
                Ok(())
            }
            Some((_, failure)) => {
                state.ensure_open(&self.directory.root)?;
                Err(failure.refused(&self.directory.journal))
            }
        }
    }

    /// Begins the succession, or keeps it for later. Readers learn how far the journal is durable either way.
    pub(crate) fn begin_or_suspend(
        &self,
        state: &mut State,
        succession: Succession,
        cause: Option<Failure>,
    ) {
        match self.begin(state, succession) {
            Ok(()) => {
                if let Some(failure) = cause {
                    tracing::error!(
                        path = %failure.path.display(), error = %failure.source,
                        "writing the journal failed; what was not proven durable is in a new segment"
                    );
                }
                self.publish(state);
                self.sync_marker_if_unnamed(state);
                self.replenish_spare(state);
            }
            Err(refused) => {
                let Refused { succession, failure, .. } = *refused;
                self.suspend(state, succession, cause.unwrap_or(failure));
            }
        }
    }

    /// Told when it begins; [`Writer::resume`] tells its end.
    fn suspend(&self, state: &mut State, succession: Succession, failure: Failure) {
        if state.fenced.is_none() && !std::mem::replace(&mut state.told_suspended, true) {
            tracing::error!(
                path = %failure.path.display(), error = %failure.source,
                records_in_memory = succession.carried.counts.records,
                "the journal cannot write; it tries again with every append and sync"
            );
        }
        state.pending = Pending::default();
        state.suspended = Some((succession, failure));
        self.watermark.set(state.durable());
    }

    /// Removes the spare, unless there is no segment to append to. Says whether there was one.
    pub(crate) fn give_up_spare(&self) -> Result<bool, Error> {
        let mut state = self.lock_idle();
        state.ensure_open(&self.directory.root)?;
        if state.active.is_none() {
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
