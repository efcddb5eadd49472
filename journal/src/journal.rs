//! [`Journal`]: the writing handle, for programs.

use std::path::Path;
use std::sync::Arc;

use crate::entry::{LossCause, Lost};
use crate::format::{Gap, NewRecord, SystemRecord};
use crate::open::{self, Opening};
use crate::options::Options;
use crate::stats::JournalStats;
use crate::view::JournalView;
use crate::writer::{Appended, Durability, KeyCheck, Pruned, Unlinked, Writer};
use crate::{Day, Error, Seq, SeqRange};

/// A journal that is open for appending. Clones are handles on the same journal; all methods may be called from any
/// thread.
///
/// Dropping the last handle closes it as [`Journal::close`] does, without telling of errors.
#[derive(Debug, Clone)]
pub struct Journal {
    writer: Arc<Writer>,
    opening: Arc<Opening>,
    _closer: Arc<Closer>,
}

/// Closes the journal when the last handle goes, whoever still reads.
#[derive(Debug)]
struct Closer(Arc<Writer>);

impl Drop for Closer {
    fn drop(&mut self) {
        if let Err(error) = self.0.close() {
            tracing::debug!(%error, "the journal was not closed cleanly");
        }
    }
}

/// Whether everything is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Acknowledged records that are gone and whose segments are not pruned yet.
    pub gaps: Vec<SeqRange>,
    /// Why nothing can be written now.
    pub suspended: Option<String>,
    /// Records that wait in memory for that.
    pub records_in_memory: u64,
}

impl Health {
    /// Whether something is lost or stuck.
    #[must_use]
    pub const fn is_degraded(&self) -> bool {
        !self.gaps.is_empty() || self.suspended.is_some()
    }
}

impl Journal {
    /// Opens the journal in the data directory `root`, making both where there are none, and recovers it after an
    /// abnormal end. Reads no more than the newest segment.
    ///
    /// Where a new segment is needed and cannot be written (a full disk), the journal opens all the same: it can be
    /// read, [`Journal::health`] says why nothing can be appended, and every append tries again.
    ///
    /// Where the segments are gone but the file `IDENTITY`, or the journal's marker, tells that there were some, no new
    /// journal is begun: it goes on as the same one, far behind every seq it may have given out, and [`Journal::opening`]
    /// and [`Journal::health`] say that everything before is lost. To begin anew, move the whole directory away.
    ///
    /// A relative `root` is resolved at every call: do not change the working directory while the journal is open. The lock
    /// belongs to the process and what it forks: a child that does not `exec` holds it beyond this process's end.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] names who writes already; [`Error::Newer`]; [`Error::Unexpected`]; [`Error::Io`].
    pub fn open(root: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let (writer, opening) = open::open(root.as_ref(), options)?;
        let writer = Arc::new(writer);
        let closer = Arc::new(Closer(Arc::clone(&writer)));
        Ok(Self { writer, opening: Arc::new(opening), _closer: closer })
    }

    /// How the journal was found.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Appends a batch, all or nothing, and returns once it survives a power cut.
    ///
    /// Concurrent callers share one sync. Where a record of the batch has a key that a retained record has,
    /// nothing is appended and that record is returned, once it is durable itself.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Refused`]; [`Error::StorageFull`] and [`Error::Suspended`]: nothing was
    /// appended, and the call may be repeated; [`Error::Sync`]: the outcome is unknown.
    pub fn append(&self, batch: &[NewRecord<'_>]) -> Result<Appended, Error> {
        self.writer.append(batch, Durability::PowerCut, KeyCheck::Refuse)
    }

    /// As [`Journal::append`], for records whose keys are known to be new: they are stored, not looked up.
    ///
    /// # Errors
    ///
    /// Those of [`Journal::append`].
    pub fn append_trusted(&self, batch: &[NewRecord<'_>]) -> Result<Seq, Error> {
        self.writer.append(batch, Durability::PowerCut, KeyCheck::Trust).map(Appended::seq)
    }

    /// Appends every record as a batch of its own, all of them made durable by the same sync: damage to one costs no
    /// other. Returns what became of each, in order.
    ///
    /// Much faster than as many calls of [`Journal::append`].
    #[must_use]
    pub fn append_each(&self, records: &[NewRecord<'_>]) -> Vec<Result<Appended, Error>> {
        self.writer.append_each(records, Durability::PowerCut, KeyCheck::Refuse)
    }

    /// Appends a batch and returns once it survives the end of this process. It survives a power cut, and can be
    /// read, after the next sync, whoever causes it.
    ///
    /// # Errors
    ///
    /// Those of [`Journal::append`].
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

    /// The seq that the next record gets.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.writer.lock().next_seq
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = self.writer.lock();
        let suspended = state.suspended.as_ref();
        Health {
            gaps: state.ledger.gaps.ranges().to_vec(),
            suspended: suspended
                .map(|(_, failure)| format!("{}: {}", failure.path.display(), failure.source)),
            records_in_memory: suspended
                .map_or(0, |(succession, _)| succession.carried.counts.records),
        }
    }

    /// Counters since the opening.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        self.writer.lock().stats
    }

    /// Journals that a reader of this journal met damage. Returns the seq of the `Gap`; `None` where it is known
    /// already.
    ///
    /// # Errors
    ///
    /// Those of [`Journal::append`].
    pub fn report_lost(&self, lost: &Lost) -> Result<Option<Seq>, Error> {
        let _one_at_a_time = self.writer.bookkeeping();
        {
            let ledger = &self.writer.lock().ledger;
            if ledger.gaps.covers(lost.range) || ledger.pruned.covers(lost.range) {
                return Ok(None);
            }
        }
        tracing::error!(%lost, "the journal is damaged; recording goes on");
        if lost.cause == LossCause::Unopenable {
            // Its records may be there again once the file can be opened.
            return Ok(None);
        }
        let gap = SystemRecord::Gap(Gap {
            range: lost.range,
            segment: (lost.segment.base, lost.segment.day),
            offset: lost.offset,
            upper_bound_unknown: false,
        });
        self.writer.append_system(&gap).map(Some)
    }

    /// Appends a tombstone for every segment whose records all tell of days up to `day`, durably. Projections apply
    /// it like any other record; [`Journal::unlink_pruned`], or the next opening, removes the files.
    ///
    /// # Errors
    ///
    /// Those of [`Journal::append`]; a full disk does not stand in the way while the reserve lasts.
    pub fn prune_through(&self, day: Day) -> Result<Pruned, Error> {
        self.writer.prune_through(day)
    }

    /// Removes the files of all segments that tombstones name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the directory cannot be listed or synced; files that cannot be removed are reported.
    pub fn unlink_pruned(&self) -> Result<Unlinked, Error> {
        self.writer.unlink_pruned()
    }

    /// Gives back the space of the preallocated next segment; says whether there was any. It is made again with the
    /// next segment but one: for a full disk, where deleting needs a little room first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be removed; [`Error::Closed`].
    pub fn give_up_spare(&self) -> Result<bool, Error> {
        self.writer.give_up_spare()
    }

    /// Makes everything durable, marks the end as a clean one and releases the directory.
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
    fn a_gap_is_in_the_ledger_before_anybody_can_roll_and_forget_it() {
        let storage = Arc::new(FaultyStorage::new());
        let options = Options { storage, seed: Some(1), ..Options::default() };
        let journal = Journal::open("/data", &options).unwrap();
        let range = SeqRange::new(Seq(900), Seq(901));
        let (segment, offset) = ((Seq(1), Day(0)), 0);
        let gap = SystemRecord::Gap(Gap { range, segment, offset, upper_bound_unknown: false });
        journal.writer.append_system(&gap).unwrap();
        // What another thread's append may do at this very moment.
        journal.writer.roll(&mut journal.writer.lock_idle()).unwrap();
        journal.close().unwrap();
        let journal = Journal::open("/data", &options).unwrap();
        assert_eq!(journal.health().gaps, [range]);
    }

    #[test]
    fn every_sync_is_told_to_whoever_measures() {
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let options = Options {
            storage: Arc::new(FaultyStorage::new()),
            seed: Some(1),
            on_sync: Some(Arc::new(move |length| heard.lock().unwrap().push(length))),
            ..Options::default()
        };
        let journal = Journal::open("/data", &options).unwrap();
        for number in 0..3_u8 {
            let (kind, payload) = (crate::Kind(1), &[number][..]);
            let record = NewRecord { kind, version: 1, day: None, key: None, payload };
            journal.append(&[record]).unwrap();
        }
        let told = told.lock().unwrap();
        assert_eq!(told.len() as u64, journal.stats().syncs);
        let total: u128 = told.iter().map(std::time::Duration::as_micros).sum();
        assert_eq!(total, u128::from(journal.stats().sync_micros_total));
    }
}
