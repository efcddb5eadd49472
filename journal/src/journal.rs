//! [`Journal`]: the handle of a program that writes a journal.

use std::path::Path;
use std::sync::Arc;

use crate::entry::{LossCause, Lost};
use crate::format::{ControlRecord, Gap, Key, NewRecord};
use crate::options::Options;
use crate::plan::Opening;
use crate::view::JournalView;
use crate::writer::{
    Appended, Durability, Failure, JournalStats, KeyCheck, Pruned, Unlinked, Writer,
};
use crate::{AppendCondition, Day, Error, Seq, SeqRange};
use crate::{condition, open};

/// A journal that is open for appending.
///
/// Clones are handles on the same journal; all methods may be called from any thread. Dropping the last handle closes it as
/// [`Journal::close`] does, but only logs errors.
#[derive(Debug, Clone)]
pub struct Journal {
    writer: Arc<Writer>,
    opening: Arc<Opening>,
    _closer: Arc<Closer>,
}

/// Closes the journal when the last handle is dropped, even if readers remain.
#[derive(Debug)]
struct Closer(Arc<Writer>);

impl Drop for Closer {
    fn drop(&mut self) {
        if let Err(error) = self.0.close() {
            tracing::debug!(%error, "journal: closing failed; the next opening recovers it");
        }
    }
}

/// The health of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Acknowledged records that are lost and whose segments are not pruned yet.
    pub gaps: Vec<SeqRange>,
    /// The failure that keeps the journal from writing now.
    pub suspended: Option<String>,
    /// Records that wait in memory until it can write.
    pub records_in_memory: u64,
}

impl Health {
    /// Whether records are lost or writing is suspended.
    #[must_use]
    pub const fn is_degraded(&self) -> bool {
        !self.gaps.is_empty() || self.suspended.is_some()
    }
}

impl Journal {
    /// Opens the journal in the data directory `root`, or creates one, and recovers it after an abnormal end.
    ///
    /// It reads no more than the newest segment.
    ///
    /// If a new segment is needed and cannot be written (a full disk), the journal opens all the same: it can be read,
    /// [`Journal::health`] reports the failure, and every append tries again.
    ///
    /// If all segments are missing but `IDENTITY` or the durability marker names one, no new journal is begun. The journal
    /// continues far after every seq that may have been used; [`Journal::opening`] and [`Journal::health`] report the
    /// loss. To begin a new journal, move the whole directory away.
    ///
    /// A relative `root` is resolved at every call: do not change the working directory while the journal is open. The lock
    /// belongs to the process and its forks: a child that does not `exec` holds it after this process has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] names the process that writes; [`Error::Newer`]; [`Error::Unexpected`]; [`Error::Io`].
    pub fn open(root: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let (writer, opening) = open::open(root.as_ref(), options)?;
        let writer = Arc::new(writer);
        let closer = Arc::new(Closer(Arc::clone(&writer)));
        Ok(Self { writer, opening: Arc::new(opening), _closer: closer })
    }

    /// How this opening found the journal.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Appends a batch, all or nothing, and returns once it survives a power cut.
    ///
    /// Concurrent callers share one sync. If a retained record has the key of a record of the batch, nothing is appended
    /// and the retained record is returned, once it is durable itself.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Refused`]; [`Error::StorageFull`] and [`Error::Suspended`]: nothing was
    /// appended, and the call may be repeated; [`Error::Sync`]: the outcome is unknown.
    pub fn append(&self, batch: &[NewRecord<'_>]) -> Result<Appended, Error> {
        self.writer.append(batch, Durability::PowerCut, KeyCheck::Refuse)
    }

    /// As [`Journal::append`], unless a record matches a condition.
    ///
    /// A decision that was made from what a reader found is appended only if it still holds: no record after the last one
    /// that was read, and none appended by another thread meanwhile, matches. Appends are linearizable: one lock orders the
    /// conditions and the seqs. A batch with a known key is a duplicate before any condition is evaluated, so that a
    /// repeated call never fails on its own records. A condition without `after` holds over what is retained.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::append`]; [`Error::Conflict`] with a record that is durable; [`Error::Ahead`] if `after` was
    /// not reached, as in an older backup; [`Error::Pruned`] if records after `after` were pruned;
    /// [`Error::Undecidable`] if lost records may match. Nothing was appended then.
    pub fn append_if(
        &self,
        batch: &[NewRecord<'_>],
        conditions: &[AppendCondition],
    ) -> Result<Appended, Error> {
        condition::append_if(&self.writer, batch, conditions)
    }

    /// The seq of the retained record with this key.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the keys cannot be read.
    pub fn find(&self, key: &Key) -> Result<Option<Seq>, Error> {
        self.writer.find(key)
    }

    /// As [`Journal::append`], for records whose keys are known to be new: they are not looked up.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::append`].
    pub fn append_trusted(&self, batch: &[NewRecord<'_>]) -> Result<Seq, Error> {
        self.writer.append(batch, Durability::PowerCut, KeyCheck::Trust).map(Appended::seq)
    }

    /// Appends every record as a batch of its own, all with one sync; returns the result of each, in order.
    ///
    /// Damage to one record costs no other. Much faster than as many calls of [`Journal::append`].
    #[must_use]
    pub fn append_each(&self, records: &[NewRecord<'_>]) -> Vec<Result<Appended, Error>> {
        self.writer.append_each(records, Durability::PowerCut, KeyCheck::Refuse)
    }

    /// Appends a batch and returns once it survives the end of this process.
    ///
    /// It survives a power cut, and can be read, after the next sync of any caller.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::append`].
    pub fn append_unsynced(&self, batch: &[NewRecord<'_>]) -> Result<Appended, Error> {
        self.writer.append(batch, Durability::ProcessCrash, KeyCheck::Refuse)
    }

    /// Makes everything appended so far survive a power cut.
    ///
    /// # Errors
    ///
    /// [`Error::Sync`], [`Error::StorageFull`], [`Error::Suspended`].
    pub fn sync(&self) -> Result<(), Error> {
        self.writer.sync()
    }

    /// A view to read from.
    #[must_use]
    pub fn view(&self) -> JournalView {
        JournalView::of_writer(&self.writer)
    }

    /// The seq of the next record.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.writer.lock().next_seq
    }

    /// Reports gaps, and the failure of a suspended journal.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = self.writer.lock();
        let suspended = state.suspended();
        let reason = |failure: &Failure| format!("{}: {}", failure.path.display(), failure.source);
        Health {
            gaps: state.pruned_and_gaps.gaps.ranges().to_vec(),
            suspended: suspended.map(|suspended| reason(&suspended.failure)),
            records_in_memory: suspended
                .map_or(0, |suspended| suspended.next.salvaged.counts.records),
        }
    }

    /// Counters since the opening.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        self.writer.lock().stats
    }

    /// Appends a `Gap` for damage that a reader met. Returns its seq; `None` if the loss is known already.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::append`].
    pub fn report_lost(&self, lost: &Lost) -> Result<Option<Seq>, Error> {
        let _one_at_a_time = self.writer.bookkeeping();
        {
            let pruned_and_gaps = &self.writer.lock().pruned_and_gaps;
            if pruned_and_gaps.gaps.covers(lost.range) || pruned_and_gaps.pruned.covers(lost.range)
            {
                return Ok(None);
            }
        }
        tracing::error!(%lost, "journal: records are lost; recording continues");
        if lost.cause == LossCause::Unopenable {
            // Its records may be readable again once the file can be opened.
            return Ok(None);
        }
        let gap = ControlRecord::Gap(Gap {
            range: lost.range,
            segment: (lost.segment.base, lost.segment.day),
            offset: lost.offset,
            upper_bound_unknown: false,
        });
        self.writer.append_control(&gap).map(Some)
    }

    /// Appends a tombstone for every segment whose records are all of days up to `day`, durably.
    ///
    /// Projections apply it like any other record; [`Journal::unlink_pruned`], or the next opening, removes the files.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::append`]; a full disk is no obstacle while the reserve lasts.
    pub fn prune_through(&self, day: Day) -> Result<Pruned, Error> {
        self.writer.prune_through(day, None)
    }

    /// As [`Journal::prune_through`], if days from `wrong_from` on were set by a wrong clock.
    ///
    /// A record of such a day counts for the day of the records after it. Once all of them may be pruned by that day, the
    /// tombstone names these days as a whole. Cost: segments that hold such days are read.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::prune_through`].
    pub fn prune_around(&self, day: Day, wrong_from: Day) -> Result<Pruned, Error> {
        self.writer.prune_through(day, Some(wrong_from))
    }

    /// Removes the files of all segments that tombstones name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the directory cannot be listed or synced; files that cannot be removed are reported.
    pub fn unlink_pruned(&self) -> Result<Unlinked, Error> {
        self.writer.unlink_pruned()
    }

    /// Releases the space of the preallocated next segment; returns whether there was any.
    ///
    /// For a full disk, on which deleting needs a little room first. The next rollover but one preallocates it again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be removed; [`Error::Closed`].
    pub fn release_spare(&self) -> Result<bool, Error> {
        self.writer.release_spare()
    }

    /// Makes everything durable, records a clean shutdown and releases the directory.
    ///
    /// # Errors
    ///
    /// [`Error::Sync`], [`Error::StorageFull`], [`Error::Io`]: the journal is still open then.
    pub fn close(&self) -> Result<(), Error> {
        self.writer.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FaultyStorage;
    use crate::{Day, Options};

    #[test]
    fn a_gap_is_applied_before_another_thread_can_roll_over() {
        let storage = Arc::new(FaultyStorage::new());
        let options = Options { storage, seed: Some(1), ..Options::default() };
        let journal = Journal::open("/data", &options).unwrap();
        let range = SeqRange::new(Seq(900), Seq(901));
        let (segment, offset) = ((Seq(1), Day(0)), 0);
        let gap = ControlRecord::Gap(Gap { range, segment, offset, upper_bound_unknown: false });
        journal.writer.append_control(&gap).unwrap();
        // Another thread's append may do this between the two.
        journal.writer.roll_over(&mut journal.writer.lock_idle()).unwrap();
        journal.close().unwrap();
        let journal = Journal::open("/data", &options).unwrap();
        assert_eq!(journal.health().gaps, [range]);
    }

    #[test]
    fn on_sync_is_called_for_every_sync() {
        let durations = Arc::new(std::sync::Mutex::new(Vec::new()));
        let measured = Arc::clone(&durations);
        let options = Options {
            storage: Arc::new(FaultyStorage::new()),
            seed: Some(1),
            on_sync: Some(Arc::new(move |length| measured.lock().unwrap().push(length))),
            ..Options::default()
        };
        let journal = Journal::open("/data", &options).unwrap();
        for number in 0..3_u8 {
            let (kind, payload) = (crate::Kind(1), &[number][..]);
            let record = NewRecord::new(kind, 1, payload);
            let _ = journal.append(&[record]).unwrap();
        }
        let durations = durations.lock().unwrap();
        assert_eq!(durations.len() as u64, journal.stats().syncs);
        let total: u128 = durations.iter().map(std::time::Duration::as_micros).sum();
        assert_eq!(total, u128::from(journal.stats().sync_micros_total));
    }
}
