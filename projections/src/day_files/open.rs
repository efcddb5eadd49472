//! Opening: what is there is compared with what the checkpoint lists.

use std::collections::BTreeSet;

use lenslog_engine::{Opened, ProjectionError};
use lenslog_journal::storage::{Access, read_full};

use super::day_file::{DayFile, FileId};
use super::fold::Fold;
use super::limits::TAILS_BYTES_MAX;
use super::listing::{Listed, Listing, read_listing};
use super::mark::mark_of;
use super::paths::path_of;
use super::replace::Place;
use super::tail::{Pending, Tail};
use super::{DayFiles, Format, Saved};
use crate::data_dir::{DataDir, Found, Stored};

impl<F: Format> DayFiles<F> {
    /// Forgets everything in memory and finds what there is.
    pub(super) fn open_files(&mut self) -> Result<Opened, ProjectionError> {
        self.forget();
        let stored = match self.complete_rebuild()? {
            Found::Intact(stored) => stored,
            Found::Broken(reason) => return Ok(Opened::Broken { reason }),
            Found::Absent => return self.find_without_checkpoint(),
        };
        let identity = self.data.file(&self.data.checkpoint(F::NAME))?.map(|stat| stat.identity);
        let Stored { checkpoint, state: listing } = stored.clone();
        self.saved = Some(Saved { stored, identity });
        let needs = listing.held.clone();
        self.take_over(listing)?;
        Ok(Opened::At { checkpoint, needs })
    }

    /// Files without a checkpoint are of no use, but may be worth keeping.
    fn find_without_checkpoint(&self) -> Result<Opened, ProjectionError> {
        let found = Place::of::<F>(&self.data).found()?;
        Ok(found.first().map_or(Opened::Absent, |id| Opened::Broken {
            reason: format!(
                "{} is missing, {} is there",
                self.data.checkpoint(F::NAME).display(),
                path_of(&self.data, *id, F::FILES).display()
            ),
        }))
    }

    /// Reads the checkpoint and completes what it says of a rebuild; removes what other rebuilds left.
    pub(super) fn complete_rebuild(&mut self) -> Result<Found<Listing>, ProjectionError> {
        let found = read_listing::<F>(&self.data)?;
        let listing = match &found {
            Found::Intact(stored) => Some(&stored.state),
            _ => None,
        };
        Place::of::<F>(&self.data).complete(listing, &mut self.set.unsynced)?;
        Ok(found)
    }

    fn take_over(&mut self, listing: Listing) -> Result<(), ProjectionError> {
        self.fold = Fold::resume(listing.pruned);
        self.missing = listing.held;
        self.to_remove = listing.to_remove;
        let mut tails_left = TAILS_BYTES_MAX;
        let mut keep = BTreeSet::new();
        for (id, listed) in listing.files {
            let Some(file) = adopt::<F>(&self.data, id, &listed, &mut tails_left)? else {
                self.changed = true;
                continue;
            };
            self.changed |= file.identity != Some(listed.identity);
            if listed.keep {
                keep.insert(id);
            }
            self.set.files.insert(id, file);
        }
        for id in keep {
            self.set.keep_tail::<F>(id)?;
        }
        if !self.to_remove.is_empty() {
            self.changed = true;
            self.remove_listed()?;
        }
        Ok(())
    }
}

/// The file that a checkpoint lists, as far as it is there; `None` where it was never written to.
fn adopt<F: Format>(
    data: &DataDir,
    id: FileId,
    listed: &Listed,
    tails_left: &mut u64,
) -> Result<Option<DayFile>, ProjectionError> {
    let path = path_of(data, id, F::FILES);
    let mut file = DayFile {
        written: listed.mark,
        on_disk: listed.mark.len,
        identity: Some(listed.identity),
        ..DayFile::default()
    };
    let stat = if data.has_day(id.day)? { data.file(&path)? } else { None };
    let opened = match stat {
        Some(_) => data.open(&path, Access::Read)?,
        None => None,
    };
    let (Some(stat), Some(opened)) = (stat, opened) else {
        if listed.mark.len == 0 {
            return Ok(None);
        }
        file.fault = Some("is gone".to_owned());
        return Ok(Some(file));
    };
    let Some(behind) = stat.len.checked_sub(listed.mark.len) else {
        file.fault = Some(format!("is cut from {} to {} bytes", listed.mark.len, stat.len));
        return Ok(Some(file));
    };
    let unreadable = || ProjectionError::retry("cannot read", &path);
    if stat.identity != listed.identity {
        if mark_of(&*opened, listed.mark.len).map_err(unreadable())? != listed.mark {
            file.fault = Some("was replaced".to_owned());
            return Ok(Some(file));
        }
        tracing::info!(path = %path.display(), "day file is a copy with the right content; it is adopted");
        file.identity = Some(stat.identity);
    }
    file.on_disk = stat.len;
    if behind > *tails_left {
        file.fault = Some(format!("has {behind} bytes that were never written"));
    } else if behind > 0 && mark_of(&*opened, listed.mark.len).map_err(unreadable())? != listed.mark
    {
        file.fault = Some("was changed in place".to_owned());
    } else if behind > 0 {
        *tails_left -= behind;
        let mut bytes = vec![0; behind as usize];
        let filled = read_full(&*opened, &mut bytes, listed.mark.len).map_err(unreadable())?;
        bytes.truncate(filled);
        file.tail = Some(Tail::Pending(Pending { from: listed.mark.len, bytes }));
    }
    Ok(Some(file))
}
