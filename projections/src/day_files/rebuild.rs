//! [`Rebuild`]: a second set of files, made from the records beside the first one.
//!
//! The new files are called `NAME.rebuild` until everything is in them and durable. Then one checkpoint lists them,
//! and [`replace`](super::replace) renames them: a crash before that checkpoint leaves the old files, a crash behind it
//! is completed by the next opening.

use lenslog_engine::{Aside, Checkpoint, ProjectionError, Recorded, Scope};
use lenslog_events::Event;

use super::day_file::FileId;
use super::file_set::{FileSet, Side};
use super::fold::{Fold, Outcome};
use super::listing::{Listed, Listing};
use super::paths::path_of;
use super::replace::Place;
use super::{DayFiles, Format, file_of, render};
use crate::data_dir::{DataDir, Stored};

/// A rebuild under way.
#[derive(Debug)]
pub(super) struct Rebuild {
    scope: Scope,
    fold: Fold,
    set: FileSet,
}

impl Rebuild {
    fn new<F: Format>(data: DataDir, scope: Scope) -> Self {
        let set = FileSet::new(data, F::FILES, Side::Beside);
        Self { scope, fold: Fold::default(), set }
    }

    /// Takes the next record.
    pub(super) fn apply<F: Format>(
        &mut self,
        format: &mut F,
        record: &Recorded<Event>,
    ) -> Result<(), ProjectionError> {
        let outcome = self.fold.apply(record);
        if let Outcome::Pruned(days) = outcome {
            for id in self.set.of(days) {
                self.set.remove(id)?;
            }
            return Ok(());
        }
        match file_of::<F>(&outcome) {
            Some(id) if self.scope.contains(id.day) => {
                self.set.append::<F>(id, |out| render(format, &outcome, record, out))
            }
            _ => Ok(()),
        }
    }

    /// Makes everything durable under its temporary name; what was made then.
    fn finish(&mut self) -> Result<Vec<(FileId, Listed)>, ProjectionError> {
        self.set.flush()?;
        self.set.sync()?;
        let mut made = Vec::new();
        for (id, file) in &self.set.files {
            let (None, Some(identity)) = (&file.fault, file.identity) else {
                let fault = file.fault.as_deref().unwrap_or("was not made");
                let source = std::io::Error::other(fault.to_owned());
                return Err(ProjectionError::retry("cannot go on with", &self.set.path(*id))(
                    source,
                ));
            };
            made.push((*id, Listed { mark: file.written, identity, keep: false }));
        }
        Ok(made)
    }
}

impl<F: Format> DayFiles<F> {
    pub(super) fn begin(&mut self, scope: &Scope) -> Result<(), ProjectionError> {
        self.rebuild = None;
        // What an interrupted one left is completed or removed first.
        self.complete_rebuild()?;
        self.rebuild = Some(Rebuild::new::<F>(self.data.clone(), scope.clone()));
        Ok(())
    }

    /// Puts what was made in place. Whatever goes wrong before the checkpoint is written, the old files stay.
    pub(super) fn finish(
        &mut self,
        checkpoint: &Checkpoint,
        keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        let Some(mut rebuild) = self.rebuild.take() else {
            let path = self.data.checkpoint(F::NAME);
            let source = std::io::Error::other("no rebuild was begun");
            return Err(ProjectionError::retry("cannot finish", &path)(source));
        };
        let made = rebuild.finish().and_then(|made| {
            let listing = self.rebuilt_listing(rebuild, made, keep_old)?;
            self.write_checkpoint(Stored { checkpoint: checkpoint.clone(), state: listing })
        });
        if let Err(error) = made {
            self.abort();
            return Err(error);
        }
        self.open_files().map(|_| ())
    }

    /// What the checkpoint lists once the rebuilt files are in place.
    fn rebuilt_listing(
        &self,
        rebuild: Rebuild,
        made: Vec<(FileId, Listed)>,
        keep_old: Option<Aside>,
    ) -> Result<Listing, ProjectionError> {
        let Rebuild { scope, fold, .. } = rebuild;
        let mut listing = match scope {
            Scope::All => {
                Listing { pruned: fold.pruned(), held: fold.held(), ..Listing::default() }
            }
            _ => self.saved.as_ref().map(|saved| saved.stored.state.clone()).unwrap_or_default(),
        };
        listing.keep_old = keep_old;
        let mut old: Vec<_> =
            listing.files.keys().copied().filter(|id| scope.contains(id.day)).collect();
        old.extend(
            Place::of::<F>(&self.data).found()?.into_iter().filter(|id| scope.contains(id.day)),
        );
        for id in old {
            listing.files.remove(&id);
            listing.to_remove.insert(id, keep_old);
        }
        for (id, listed) in made {
            // Something else in its place is found here, where everything can still stay as it is.
            self.data.file(&path_of(&self.data, id, F::FILES))?;
            listing.to_remove.remove(&id);
            listing.files.insert(id, listed);
        }
        Ok(listing)
    }

    /// Removes what a rebuild made.
    pub(super) fn abort(&mut self) {
        self.forget();
        if let Err(error) = self.complete_rebuild() {
            tracing::warn!(%error, "rebuild: its files stay; the next start removes them");
        }
    }
}
