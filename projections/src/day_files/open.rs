//! Opening: what is there is compared with what the checkpoint lists.

use std::collections::BTreeSet;
use std::io;

use lenslog_engine::{Opened, ProjectionError};
use lenslog_journal::storage::{Access, StorageFile};

use super::day_file::{DayFile, FileId, Mark};
use super::file_set::path_of;
use super::fold::Fold;
use super::limits::{COMPARED_BYTES, TAILS_BYTES_MAX};
use super::listing::{Listed, Listing};
use super::replace::Place;
use super::tail::{Pending, Tail};
use super::{DayFiles, Format, Saved};
use crate::data_dir::{DataDir, Sealed, read_at};

impl<F: Format> DayFiles<F> {
    /// Forgets everything in memory and finds what there is.
    pub(super) fn find(&mut self) -> Result<Opened, ProjectionError> {
        self.forget();
        let path = self.data.checkpoint(F::NAME);
        let text = match self.complete_rebuild()? {
            Sealed::Intact(text) => text,
            Sealed::Broken(reason) => return Ok(Opened::Broken { reason }),
            Sealed::Absent => return self.find_without_checkpoint(),
        };
        let Some((checkpoint, listing)) = Listing::from_text(&text, F::FILES) else {
            return Ok(Opened::Broken { reason: format!("{} makes no sense", path.display()) });
        };
        self.saved = Some(Saved {
            text,
            identity: self.data.file(&path)?.map(|stat| stat.identity),
            next: checkpoint.position.next,
            parked_count: checkpoint.parked_count,
        });
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
    pub(super) fn complete_rebuild(&mut self) -> Result<Sealed, ProjectionError> {
        let sealed = self.data.read_sealed(&self.data.checkpoint(F::NAME))?;
        let listing = match &sealed {
            Sealed::Intact(text) => Listing::from_text(text, F::FILES),
            _ => None,
        };
        let listing = listing.map(|(_, listing)| listing);
        Place::of::<F>(&self.data).complete(listing.as_ref(), &mut self.set.unsynced)?;
        Ok(sealed)
    }

    fn take_over(&mut self, listing: Listing) -> Result<(), ProjectionError> {
        self.fold = Fold::resume(listing.pruned);
        self.missing = listing.held;
        self.doomed = listing.doomed;
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
        if !self.doomed.is_empty() {
            self.changed = true;
            self.remove_doomed()?;
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
        tracing::info!(path = %path.display(), "it is a copy with the right content");
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
        let filled = read_at(&*opened, &mut bytes, listed.mark.len).map_err(unreadable())?;
        bytes.truncate(filled);
        file.tail = Some(Tail::Pending(Pending { from: listed.mark.len, bytes }));
    }
    Ok(Some(file))
}

/// Length and CRC of the first `len` bytes; of fewer where there are not so many.
pub(super) fn mark_of(file: &dyn StorageFile, len: u64) -> io::Result<Mark> {
    let mut mark = Mark::default();
    let mut buffer = vec![0; COMPARED_BYTES];
    while mark.len < len {
        let wanted = (len - mark.len).min(COMPARED_BYTES as u64) as usize;
        let filled = read_at(file, &mut buffer[..wanted], mark.len)?;
        if filled == 0 {
            break;
        }
        mark = mark.after(&buffer[..filled]);
    }
    Ok(mark)
}
