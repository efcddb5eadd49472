//! [`FilesVerifier`]: compares the files with the journal, also while a recorder writes, in bounded memory.
//!
//! It holds one small record a file and a bounded buffer, however many events there are. It writes nothing.

use std::collections::BTreeMap;

use lenslog_engine::{Checkpoint, DIFFERENCES_MAX, Fact, ProjectionError, Recorded, Verifier};
use lenslog_events::{Event, RecorderCodec};
use lenslog_journal::storage::Access;
use lenslog_journal::{ControlRecord, Seq, SeqRange};

use super::compare::{Comparison, Opened};
use super::day_file::FileId;
use super::fold::{Fold, Outcome};
use super::format::Format;
use super::handles::Handles;
use super::limits::{BUFFERED_BYTES_MAX, COMPARED_BYTES, LOST_RANGES_MAX};
use super::listing::{Listing, read_listing};
use super::paths::path_of;
use super::replace::Place;
use super::{file_of, render};
use crate::data_dir::{DataDir, Found, Stored};

/// A comparison under way.
#[derive(Debug)]
pub(super) struct FilesVerifier<F> {
    data: DataDir,
    format: F,
    checkpoint: Checkpoint,
    listing: Listing,
    fold: Fold,
    files: BTreeMap<FileId, Comparison>,
    handles: Handles,
    /// Bytes that wait in all comparisons.
    waiting_bytes: usize,
    /// What the journal has lost.
    lost: Vec<SeqRange>,
    /// Files of our names that no checkpoint lists.
    unlisted: Vec<FileId>,
    scratch: Vec<u8>,
}

impl<F: Format> FilesVerifier<F> {
    /// Reads the checkpoint; `None` where there is none.
    pub(super) fn open(data: &DataDir, format: F) -> Result<Option<Self>, ProjectionError> {
        let place = Place::of::<F>(data);
        // Found first: what is not empty by now is listed by the checkpoint that is read then.
        let mut unlisted = place.found()?;
        let Some(Stored { checkpoint, state: listing }) = listed::<F>(data)? else {
            return Ok(None);
        };
        unlisted
            .retain(|id| !listing.files.contains_key(id) && !listing.to_remove.contains_key(id));
        let compared = |file: &super::listing::Listed| Comparison::new(Some(file.mark.len));
        let files = listing.files.iter().map(|(id, file)| (*id, compared(file))).collect();
        Ok(Some(Self {
            data: data.clone(),
            format,
            checkpoint,
            listing,
            fold: Fold::default(),
            files,
            handles: Handles::default(),
            waiting_bytes: 0,
            lost: Vec::new(),
            unlisted,
            scratch: Vec::new(),
        }))
    }

    fn expect(&mut self, id: FileId, optional: bool) -> Result<(), ProjectionError> {
        let entry = std::mem::take(&mut self.scratch);
        let file = self.files.entry(id).or_insert_with(|| Comparison::new(None));
        let result = if self.lost.is_empty() {
            let before = file.waiting();
            let waiting = file.expect::<F>(&entry);
            self.waiting_bytes += waiting.saturating_sub(before);
            if waiting >= COMPARED_BYTES {
                self.compare(id)
            } else if self.waiting_bytes >= BUFFERED_BYTES_MAX {
                self.compare_all()
            } else {
                Ok(())
            }
        } else {
            self.with_file(id, |file, opened| file.compare_loosely::<F>(opened, &entry, optional))
        };
        self.scratch = entry;
        result
    }

    fn compare_all(&mut self) -> Result<(), ProjectionError> {
        let ids = self.files.iter().filter(|(_, file)| file.waiting() > 0);
        let ids: Vec<_> = ids.map(|(id, _)| *id).collect();
        ids.into_iter().try_for_each(|id| self.compare(id))
    }

    fn compare(&mut self, id: FileId) -> Result<(), ProjectionError> {
        let waiting = self.files.get(&id).map_or(0, Comparison::waiting);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting);
        self.with_file(id, Comparison::compare)
    }

    /// Calls `work` with a comparison and the open file, if there is one.
    fn with_file(
        &mut self,
        id: FileId,
        work: impl FnOnce(&mut Comparison, Option<Opened<'_>>) -> Result<(), ProjectionError>,
    ) -> Result<(), ProjectionError> {
        let path = path_of(&self.data, id, F::FILES);
        let mut handle = self.handles.get(id);
        if handle.is_none() && self.data.has_day(id.day)? && self.data.file(&path)?.is_some() {
            handle = self.data.open(&path, Access::Read)?;
            if let Some(handle) = &handle {
                self.handles.insert(id, std::sync::Arc::clone(handle));
            }
        }
        let opened = handle.as_deref().map(|file| Opened { file, path: &path });
        match self.files.get_mut(&id) {
            Some(file) => work(file, opened),
            None => Ok(()),
        }
    }

    fn is_lost(&self, seq: Seq) -> bool {
        self.lost.iter().any(|range| range.contains(seq))
    }

    /// Days that the writer pruned since the checkpoint was read: their files may be deleted.
    fn is_pruned_meanwhile(&self, now: &Option<Listing>, id: FileId) -> bool {
        let horizon = now.as_ref().and_then(|listing| listing.pruned);
        horizon != self.listing.pruned
            && horizon.is_some_and(|horizon| horizon.days().contains(id.day))
    }
}

/// The checkpoint and what it lists; `None` where there is none.
fn listed<F: Format>(data: &DataDir) -> Result<Option<Stored<Listing>>, ProjectionError> {
    match read_listing::<F>(data)? {
        Found::Absent => Ok(None),
        Found::Broken(reason) => Err(ProjectionError::Broken { reason }),
        Found::Intact(stored) => Ok(Some(stored)),
    }
}

impl<F: Format> Verifier<RecorderCodec> for FilesVerifier<F> {
    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn apply(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        let outcome = self.fold.apply(record);
        if let Outcome::Pruned(days) = outcome {
            // The old content is gone; any present content came later, or from another program.
            let (files, listing) = (&mut self.files, &self.listing);
            for (_, file) in files.iter().filter(|(id, _)| days.contains(id.day)) {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(file.waiting());
            }
            files.retain(|id, file| {
                let listed = listing.files.get(id).map(|listed| listed.mark.len);
                let goes = days.contains(id.day);
                if goes {
                    *file = Comparison::new(listed);
                }
                !goes || listed.is_some()
            });
            return Ok(());
        }
        let Some(id) = file_of::<F>(&outcome) else { return Ok(()) };
        self.scratch.clear();
        render(&mut self.format, &outcome, record, &mut self.scratch);
        // An event that is lost was written with this description, not amended.
        let optional = match &outcome {
            Outcome::Amendment(added) => self.is_lost(added.event.event_seq),
            _ => false,
        };
        self.expect(id, optional)
    }

    fn is_changed_by(&self, record: &Recorded<Event>) -> bool {
        // A description that does not come changes nothing where its event was written already. Where the event waited
        // for it, its line is written within seconds.
        matches!(
            record.fact,
            Fact::Event(Event::Detected(_) | Event::DescriptionAdded(_))
                | Fact::Journal(ControlRecord::PrunedThrough(_))
                | Fact::Undecodable(_)
        )
    }

    fn lost(&mut self, range: SeqRange) {
        // What was expected before is compared byte by byte still. What cannot be read is found again at the end.
        if self.lost.is_empty() && self.compare_all().is_err() {
            self.waiting_bytes = 0;
        }
        let is_full = self.lost.len() >= LOST_RANGES_MAX;
        match self.lost.last_mut() {
            Some(last) if is_full => last.to = last.to.max(range.to),
            _ => self.lost.push(range),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ProjectionError> {
        let is_loose = !self.lost.is_empty();
        let ids: Vec<_> = self.files.keys().copied().collect();
        for id in ids {
            self.with_file(id, |file, opened| file.end(opened, is_loose))?;
        }
        let now = listed::<F>(&self.data)?.map(|stored| stored.state);
        let shown = |id: &FileId| {
            let path = path_of(&self.data, *id, F::FILES);
            self.data.shown(&path).to_string()
        };
        let mut differences = Vec::new();
        for (id, file) in &self.files {
            if let Some(difference) = &file.difference
                && !self.is_pruned_meanwhile(&now, *id)
            {
                differences.push(format!("{}: {difference}", shown(id)));
            }
        }
        for id in &self.unlisted {
            let path = path_of(&self.data, *id, F::FILES);
            if self.data.stat(&path)?.is_some() && !self.files.contains_key(id) {
                differences.push(format!("{}: no checkpoint lists it; it is foreign", shown(id)));
            }
        }
        if differences.len() > DIFFERENCES_MAX {
            let more = differences.len() - DIFFERENCES_MAX + 1;
            differences.truncate(DIFFERENCES_MAX - 1);
            differences.push(format!("and {more} more files differ"));
        }
        Ok(differences)
    }
}
