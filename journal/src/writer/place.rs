//! Whether what is written is where readers look for it, before it is acknowledged.
//!
//! A person may delete or move a file of a journal that is being written; a copy made by hard links shares its files; and
//! where locks do not meet, another process may write the same journal. A sync that returned proves nothing then:
//! the bytes are durable in a file that has no name, or that is another's.

use std::io;
use std::path::Path;

use super::segment::rename_into_place;
use super::{ActiveSegment, State, Writer};
use crate::copy::copy_bytes;
use crate::format::CLAIM_OFFSET;
use crate::storage::open_new;

/// Where the file of the active segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Under its name, and only there.
    Own,
    /// Under its name, and under another one in a copy: no more is to be written to it.
    Shared,
    /// Its name is gone, or another file has it.
    Displaced,
}

impl Writer {
    /// Looks where the file of the active segment is. An error: the journal's directory itself is not where it was.
    pub(super) fn place_of(&self, identity: (u64, u64), path: &Path) -> io::Result<Place> {
        match self.directory.storage.stat(path) {
            Ok(stat) if stat.identity == identity => {
                Ok(if stat.links > 1 { Place::Shared } else { Place::Own })
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.directory.check_anchor().map(|()| Place::Displaced),
        }
    }

    /// Writes the active segment again from the open file, up to `end`, and gives it its name.
    pub(super) fn put_back(&self, active: &mut ActiveSegment, end: u64) -> io::Result<()> {
        let spare = self.directory.spare();
        let file = open_new(&*self.directory.storage, &spare)?;
        let copied = copy_bytes(&*active.file, &*file, Some(end), &mut |_| {})?;
        if let Some(reason) = copied.reason {
            return Err(io::Error::other(reason));
        }
        let salt = active.header.salt;
        rename_into_place(&self.directory, &spare, active.header.name, salt, || self.check_ours())?;
        self.directory.storage.sync_directory(&self.directory.journal)?;
        tracing::error!(
            path = %active.path.display(),
            "the segment being written was deleted, moved or replaced; it is written again, nothing is lost"
        );
        (active.identity, active.allocated) = (file.stat()?.identity, end);
        active.file = file;
        Ok(())
    }

    /// Checks, before anything gets a name and before the first write, that the directory is the one that was opened, and
    /// that no other process claimed it.
    pub(super) fn check_ours(&self) -> io::Result<()> {
        self.directory.check_anchor()?;
        self.check_claim().map_err(|holder| {
            io::Error::new(io::ErrorKind::ResourceBusy, format!("{holder} writes it"))
        })
    }

    /// Checks that no other process claimed the journal since it was opened.
    ///
    /// Looks at the file by its path: the other one may have replaced it.
    pub(super) fn check_claim(&self) -> Result<(), String> {
        if self.settings.lock_is_sound {
            return Ok(());
        }
        match self.directory.read_claim() {
            Some(claim) if claim.writer != self.settings.writer => Err(claim.holder()),
            _ => Ok(()),
        }
    }

    /// Stops writing for good: another process goes on with this journal.
    pub(super) fn fence(&self, state: &mut State, holder: String) {
        tracing::error!(
            %holder,
            "another process opened this journal although it is locked here; this one stops writing, and what it has \
             not acknowledged may be lost: stop one of the two"
        );
        state.fenced = Some(holder);
        self.turnstile.notify_all();
    }

    /// Makes the marker's file this journal's own: one that was deleted, or that a copy shares, is replaced.
    pub(super) fn keep_marker(&self, state: &mut State) {
        let links = state.marker.as_ref().and_then(|file| file.stat().ok()).map(|stat| stat.links);
        if links == Some(1) || self.directory.check_anchor().is_err() {
            return;
        }
        // It may not have been made at the start, such as on a full disk. Without it other processes see nothing new.
        state.marker = self.directory.open_marker().ok();
        if let Err(error) = self.write_claim(state, false) {
            tracing::debug!(%error, "the claim cannot be written");
        }
    }

    pub(super) fn write_claim(&self, state: &State, released: bool) -> io::Result<()> {
        let Some(file) = &state.marker else { return Ok(()) };
        let mut claim = self.settings.claim.clone();
        claim.released = released;
        file.write_at(&claim.encode(), CLAIM_OFFSET)
    }
}
