//! Committing: what was rendered is written, synced, and listed in a new checkpoint.

use lenslog_engine::{Aside, Checkpoint, CommitKind, ProjectionError};

use super::day_file::FileId;
use super::limits::HELD_LISTED_MAX;
use super::listing::{Listed, Listing};
use super::paths::path_of;
use super::replace::Place;
use super::tail::Tail;
use super::{DayFiles, Format, Saved};
use crate::data_dir::{Stored, is_due};

impl<F: Format> DayFiles<F> {
    /// Makes applied records visible to readers.
    pub(super) fn commit_visible(
        &mut self,
        checkpoint: &Checkpoint,
    ) -> Result<(), ProjectionError> {
        // The pruning process waits for the room.
        if self.prune_due {
            return self.commit_durable(checkpoint, CommitKind::Durable);
        }
        self.keep_what_is_lost()?;
        self.set.flush()
    }

    /// Makes applied records durable with a checkpoint; writes nothing where neither changed. That
    /// the position alone advanced is written only at the end.
    pub(super) fn commit_durable(
        &mut self,
        checkpoint: &Checkpoint,
        kind: CommitKind,
    ) -> Result<(), ProjectionError> {
        self.keep_what_is_lost()?;
        self.set.flush()?;
        let announced = self.announced.take();
        // A file was replaced by a copy of it: its inode is to be listed.
        let has_copied = !self.set.unsynced.is_empty();
        let is_changed = self.changed
            || self.prune_due
            || has_copied
            || announced.is_some()
            || !self.to_remove.is_empty();
        let saved = self.saved.as_ref().map(|saved| &saved.stored.checkpoint);
        if !is_due(kind, saved, checkpoint, is_changed) {
            return Ok(());
        }
        self.set.sync()?;
        if !self.to_remove.is_empty() || self.prune_due {
            self.save(checkpoint)?;
            self.remove_listed()?;
        }
        if let Some(id) = announced {
            self.announce(id)?;
        }
        self.save(checkpoint)
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
            place.move_aside(id, Aside::Old, &mut self.set.unsynced)?;
        }
        self.to_remove.remove(&id);
        self.set.make(id)?;
        self.set.sync()
    }

    /// Removes pruned files, now that a checkpoint says that they go. What cannot be removed stays on the list.
    pub(super) fn remove_listed(&mut self) -> Result<(), ProjectionError> {
        let (place, unsynced) = (Place::of::<F>(&self.data), &mut self.set.unsynced);
        let is_first_try = self.prune_due;
        self.to_remove.retain(|id, keep| match place.dismiss(*id, *keep, unsynced) {
            Ok(()) => false,
            Err(error) => {
                if is_first_try {
                    tracing::error!(%error, "pruned day file cannot be removed; the removal is retried");
                }
                true
            }
        });
        if self.prune_due
            && let Some(horizon) = self.fold.pruned()
        {
            let (files, to_remove) = (&self.set.files, &self.to_remove);
            let is_listed = |id| files.contains_key(&id) || to_remove.contains_key(&id);
            place.remove_leftovers(horizon.days(), is_listed, unsynced);
        }
        self.prune_due = false;
        self.set.sync()
    }

    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), ProjectionError> {
        let stored = Stored { checkpoint: checkpoint.clone(), state: self.listing() };
        if self.saved.as_ref().is_none_or(|saved| saved.stored != stored) {
            self.write_checkpoint(stored)?;
        }
        self.changed = false;
        self.set.unlisted_bytes = 0;
        Ok(())
    }

    /// Puts the checkpoint in place, durably.
    pub(super) fn write_checkpoint(
        &mut self,
        stored: Stored<Listing>,
    ) -> Result<(), ProjectionError> {
        let stat = self.data.write_checkpoint(F::NAME, &stored)?;
        self.saved = Some(Saved { stored, identity: Some(stat.identity) });
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
            to_remove: self.to_remove.clone(),
            keep_old: None,
            files: listed.collect(),
        }
    }
}
