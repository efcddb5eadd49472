//! [`Media`]: the pictures of the events. It makes none: it deletes those that the journal says are gone.
//!
//! `ImagePurged` takes one picture, `PrunedThrough` everything in the directories of its days. What cannot be deleted
//! is left, logged once, noted in the checkpoint and retried; it stops nothing else.
//!
//! # What a tombstone takes
//!
//! A tombstone prunes exactly what stands before it in the journal. A recording of an old day may go on while that
//! very day is pruned, so two things in the directory of a pruned day stay: pictures of events that stand behind the
//! tombstone (known when the journal is folded as a whole), and pictures whose own name says that they were made after
//! the tombstone, or shortly before it: their events are on the way. What stays too long goes with the next tombstone.
//!
//! Files of the other projections are theirs. Symbolic links are deleted, never followed.

mod checkpoint;
mod fold;
mod sweep;
mod tombstone;
mod verifier;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use lenslog_engine::{
    Aside, Checkpoint, CommitKind, Fact, Inspection, Opened, Projection, ProjectionError, Recorded,
    Scope, Spec, Verifier,
};
use lenslog_events::{Event, RecorderCodec, kind, parse_image_path};
use lenslog_journal::storage::{EntryKind, Storage};
use lenslog_journal::{ControlRecord, Day, Kind, PrunedDays};

use crate::data_dir::{DataDir, Found, Stored, Unsynced, is_due};
use checkpoint::State;
use fold::Fold;
use sweep::Sweep;
use tombstone::Tombstone;
use verifier::MediaVerifier;

/// Name of the projection.
const NAME: &str = "media";
/// Rises whenever the same events would delete other pictures.
const VERSION: u32 = 1;
const KINDS: &[Kind] = &[Kind(kind::EVENT_DETECTED), Kind(kind::IMAGE_PURGED)];

/// Pictures and days that could not be deleted and are tried again; beyond it they wait for the next tombstone.
const LEFT_MAX: usize = 1000;
/// Inspections, one every few seconds, between two attempts to delete what was left.
const INSPECTIONS_PER_ATTEMPT: u32 = 15;

/// Deletes the pictures of events that are gone.
#[derive(Debug)]
pub struct Media {
    data: DataDir,
    state: State,
    /// The state differs from the checkpoint on disk.
    changed: bool,
    /// The checkpoint on disk.
    saved: Option<Checkpoint>,
    unsynced: Unsynced,
    inspections: u32,
    /// Foreign objects in the place of a day that were reported.
    foreign: BTreeSet<Day>,
    rebuild: Option<Rebuild>,
}

#[derive(Debug)]
struct Rebuild {
    scope: Scope,
    fold: Fold,
}

impl Media {
    /// The pictures below a data directory, which must exist.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, data: impl Into<PathBuf>) -> Self {
        Self {
            data: DataDir::new(storage, data.into()),
            state: State::default(),
            changed: false,
            saved: None,
            unsynced: Unsynced::new(),
            inspections: 0,
            foreign: BTreeSet::new(),
            rebuild: None,
        }
    }

    fn apply_live(&mut self, record: &Recorded<Event>) {
        match &record.fact {
            Fact::Event(Event::Detected(event)) => {
                let path = event.image_path.as_deref();
                if let Some((path, (day, _))) =
                    path.and_then(|path| Some((path, parse_image_path(path)?)))
                {
                    self.changed |= self.state.keep(day, path, LEFT_MAX);
                    self.changed |= self.state.pictures.remove(path);
                }
            }
            Fact::Event(Event::ImagePurged(purged)) => {
                self.changed |= self.state.kept.remove(&purged.image_path);
                self.purge(&purged.image_path);
            }
            Fact::Journal(ControlRecord::PrunedThrough(pruned)) => {
                self.state.prune_kept(pruned.days());
                let tombstone = Tombstone { days: pruned.days(), at: record.time };
                self.sweep(tombstone, &Fold::default(), &Scope::All);
            }
            _ => {}
        }
    }

    /// Deletes one picture; what cannot be deleted is noted.
    fn purge(&mut self, image_path: &str) {
        let Some((day, file)) = parse_image_path(image_path) else { return };
        match self.delete(day, file) {
            Ok(deleted) => self.changed |= deleted,
            Err(error) => {
                tracing::error!(image_path, %error, "picture cannot be deleted; the deletion is retried");
                self.changed = true;
                if self.state.pictures.len() < LEFT_MAX {
                    self.state.pictures.insert(image_path.to_owned());
                }
            }
        }
    }

    fn delete(&mut self, day: Day, file: &str) -> Result<bool, ProjectionError> {
        if !self.data.has_day(day)? {
            return Ok(false);
        }
        let path = self.data.day(day).join(file);
        match self.data.stat(&path)? {
            None => return Ok(false),
            Some(stat) if stat.kind == EntryKind::Directory => {
                self.data.file(&path)?;
            }
            Some(_) => {}
        }
        let removed = self.data.remove(&path)?;
        if removed {
            self.unsynced.insert(self.data.day(day));
            self.data.remove_day_if_empty(day, &mut self.unsynced);
        }
        Ok(removed)
    }

    /// Deletes what a tombstone takes; days that could not be emptied are noted.
    fn sweep(&mut self, tombstone: Tombstone, fold: &Fold, scope: &Scope) {
        self.changed = true;
        let days = match self.data.days() {
            Ok(days) => days,
            Err(error) => {
                tracing::error!(%error, "event directories cannot be listed; the pruning is retried");
                self.state.note(tombstone.days.through, tombstone.at, LEFT_MAX);
                return;
            }
        };
        let wanted = |day: &Day| tombstone.days.contains(*day) && scope.contains(*day);
        for (day, kind) in days {
            if !wanted(&day) {
                continue;
            }
            // What is named like a day and is no directory is not ours; a link leads who knows where.
            if kind != EntryKind::Directory {
                let path = self.data.day(day);
                if self.foreign.len() < LEFT_MAX && self.foreign.insert(day) {
                    tracing::warn!(path = %path.display(), "foreign object in the place of a day; it is left alone");
                }
                continue;
            }
            let sweep = Sweep::of(&self.data, day, tombstone, fold);
            match sweep.run(&mut self.unsynced) {
                Ok(()) => {
                    self.state.forget_day(day);
                }
                // The other projections empty it at the same time: the last one removes the directory.
                Err(_) if self.data.has_day(day).is_ok_and(|is_there| !is_there) => {
                    self.state.forget_day(day);
                }
                Err(error) => {
                    tracing::error!(%day, %error, "pruned day cannot be emptied; the pruning is retried");
                    self.state.note(day, tombstone.at, LEFT_MAX);
                }
            }
        }
    }

    /// Tries once more to delete what was left.
    fn try_again(&mut self) {
        for path in std::mem::take(&mut self.state.pictures) {
            self.purge(&path);
        }
        let fold = Fold::keeping(&self.state.kept);
        for (day, at) in self.state.days.clone() {
            let scope = Scope::Range(day, day);
            self.state.days.remove(&day);
            let days = PrunedDays { through: day, wrong_from: None };
            self.sweep(Tombstone { days, at }, &fold, &scope);
            if !self.state.days.contains_key(&day) {
                self.state.forget_day(day);
            }
        }
    }
}

impl Projection<RecorderCodec> for Media {
    fn spec(&self) -> Spec {
        Spec::new(NAME, VERSION).kinds(KINDS)
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        (self.changed, self.saved, self.rebuild) = (false, None, None);
        self.state = State::default();
        Ok(match self.data.read_checkpoint::<State>(NAME)? {
            Found::Absent => Opened::Absent,
            Found::Broken(reason) => Opened::Broken { reason },
            Found::Intact(Stored { checkpoint, state }) => {
                self.saved = Some(checkpoint.clone());
                self.state = state;
                Opened::At { checkpoint, needs: Default::default() }
            }
        })
    }

    fn apply(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.fold.apply(record);
        } else {
            self.apply_live(record);
        }
        Ok(())
    }

    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError> {
        if is_due(kind, self.saved.as_ref(), checkpoint, self.changed) {
            self.data.sync(&mut self.unsynced)?;
            let stored = Stored { checkpoint: checkpoint.clone(), state: self.state.clone() };
            self.data.write_checkpoint(NAME, &stored)?;
            (self.changed, self.saved) = (false, Some(stored.checkpoint));
        }
        Ok(())
    }

    fn inspect(&mut self) -> Result<Inspection, ProjectionError> {
        if !self.state.is_empty() {
            self.inspections += 1;
            if self.inspections >= INSPECTIONS_PER_ATTEMPT {
                self.inspections = 0;
                self.try_again();
            }
        }
        Ok(Inspection::Intact)
    }

    fn begin_rebuild(&mut self, scope: &Scope) -> Result<(), ProjectionError> {
        self.rebuild = Some(Rebuild { scope: scope.clone(), fold: Fold::default() });
        Ok(())
    }

    fn finish_rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        _keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        let Some(Rebuild { scope, mut fold }) = self.rebuild.take() else { return Ok(()) };
        if scope == Scope::All {
            self.state = State::default();
        }
        for path in fold.take_purged() {
            if parse_image_path(&path).is_some_and(|(day, _)| scope.contains(day)) {
                self.purge(&path);
            }
        }
        if let Some(tombstone) = fold.tombstone() {
            self.sweep(tombstone, &fold, &scope);
            let days: Vec<_> = self.state.days.keys().copied().collect();
            for (day, path) in
                days.into_iter().flat_map(|day| fold.kept_in(day).map(move |path| (day, path)))
            {
                self.state.keep(day, &path, LEFT_MAX);
            }
        }
        (self.changed, self.saved) = (true, None);
        self.commit(checkpoint, CommitKind::Durable)
    }

    fn abort_rebuild(&mut self) {
        self.rebuild = None;
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        vec![self.data.checkpoint(NAME)]
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<RecorderCodec>>>, ProjectionError> {
        let verifier = MediaVerifier::open(&self.data)?;
        Ok(verifier.map(|verifier| Box::new(verifier) as Box<dyn Verifier<RecorderCodec>>))
    }
}

#[cfg(test)]
mod tests;
