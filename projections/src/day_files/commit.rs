//! Committing: what was rendered is written, synced, and listed in a new checkpoint.

use lenslog_engine::{Checkpoint, KeepOld, ProjectionError};

use super::day_file::FileId;
use super::file_set::path_of;
use super::limits::{HELD_LISTED_MAX, IDLE_RECORDS_MAX};
use super::listing::{Listed, Listing};
use super::replace::Place;
use super::tail::Tail;
use super::{DayFiles, Format, Saved};

impl<F: Format> DayFiles<F> {
    /// Others can see what was applied.
    pub(super) fn commit_visible(
        &mut self,
        checkpoint: &Checkpoint,
    ) -> Result<(), ProjectionError> {
        // Whoever prunes waits for the room.
        if self.prune_due {
            return self.commit_durable(checkpoint, false);
        }
        self.keep_what_is_lost()?;
        self.set.flush()
    }

    /// What was applied lasts, and a checkpoint tells of it; nothing is written where there is nothing to tell. That
    /// it stands farther is worth telling only at the end.
    pub(super) fn commit_durable(
        &mut self,
        checkpoint: &Checkpoint,
        is_final: bool,
    ) -> Result<(), ProjectionError> {
        self.keep_what_is_lost()?;
        self.set.flush()?;
        let announced = self.announced.take();
        if announced.is_none() && !is_final && !self.is_due(checkpoint) {
            return Ok(());
        }
        self.set.sync()?;
        if !self.doomed.is_empty() || self.prune_due {
            self.save(checkpoint)?;
            self.remove_doomed()?;
        }
        if let Some(id) = announced {
            self.announce(id)?;
        }
        self.save(checkpoint)
    }

    fn is_due(&self, checkpoint: &Checkpoint) -> bool {
        self.changed
            || self.prune_due
            // A file was replaced by a copy of it: its inode is to be listed.
            || !self.set.unsynced.is_empty()
            || !self.doomed.is_empty()
            || self.saved.as_ref().is_none_or(|saved| {
                let passed = checkpoint.position.next.0.saturating_sub(saved.next.0);
                saved.parked_count != checkpoint.parked_count || passed > IDLE_RECORDS_MAX
            })
    }

    /// Makes the file that the next record needs, so that the checkpoint can list it before it is written to.
    fn announce(&mut self, id: FileId) -> Result<(), ProjectionError> {
        if self.set.files.contains_key(&id) {
            return Ok(());
        }
        let path = path_of(&self.data, id, F::FILES);
        if self.data.has_day(id.day)? && self.data.file(&path)?.is_some_and(|stat| stat.len > 0) {
            // No checkpoint ever listed it: it is not ours.
            let place = Place::of::<F>(&self.data);
            place.set_aside(id, KeepOld::Old, &mut self.set.unsynced)?;
        }
        self.doomed.remove(&id);
        self.set.make(id)?;
        self.set.sync()
    }

    /// Removes pruned files, now that a checkpoint says that they go. What cannot be removed stays on the list.
    pub(super) fn remove_doomed(&mut self) -> Result<(), ProjectionError> {
        let (place, unsynced) = (Place::of::<F>(&self.data), &mut self.set.unsynced);
        let told = self.prune_due;
        self.doomed.retain(|id, keep| match place.dismiss(*id, *keep, unsynced) {
            Ok(()) => false,
            Err(error) => {
                if told {
                    tracing::error!(%error, "a file that is to go stays; it is tried again");
                }
                true
            }
        });
        if self.prune_due
            && let Some(horizon) = self.fold.pruned()
        {
            let (files, doomed) = (&self.set.files, &self.doomed);
            let is_listed = |id| files.contains_key(&id) || doomed.contains_key(&id);
            place.remove_leftovers(horizon.day, is_listed, unsynced);
        }
        self.prune_due = false;
        self.set.sync()
    }

    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), ProjectionError> {
        let text = self.listing().to_text(checkpoint, F::FILES);
        if self.saved.as_ref().is_none_or(|saved| saved.text != text) {
            self.write_checkpoint(text, checkpoint)?;
        }
        self.changed = false;
        self.set.unlisted_bytes = 0;
        Ok(())
    }

    /// Puts the checkpoint in place, durably.
    pub(super) fn write_checkpoint(
        &mut self,
        text: String,
        checkpoint: &Checkpoint,
    ) -> Result<(), ProjectionError> {
        let stat = self.data.write_sealed(&self.data.checkpoint(F::NAME), &text)?;
        self.saved = Some(Saved {
            text,
            identity: Some(stat.identity),
            next: checkpoint.position.next,
            parked_count: checkpoint.parked_count,
        });
        Ok(())
    }

    fn listing(&self) -> Listing {
        let listed = self.set.files.iter().filter_map(|(id, file)| {
            let keep = matches!(file.tail, Some(Tail::Kept(_)));
            Some((*id, Listed { mark: file.listing(), identity: file.identity?, keep }))
        });
        let mut held = self.fold.held();
        let room = HELD_LISTED_MAX - held.len();
        held.extend(self.missing.iter().take(room));
        Listing {
            pruned: self.fold.pruned(),
            held,
            doomed: self.doomed.clone(),
            keep_old: KeepOld::No,
            files: listed.collect(),
        }
    }
}
