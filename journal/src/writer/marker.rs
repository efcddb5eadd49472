//! The durability marker, the claim and `IDENTITY`, and whether the journal still belongs to this process.

use std::io;

use super::{State, Tail, Writer};
use crate::Error;
use crate::format::{CLAIM_OFFSET, DurabilityMarker};
use crate::marker_file::Identity;

impl Writer {
    /// Writes the next slot of the marker, without syncing it.
    pub(super) fn write_marker(&self, state: &mut State, clean: bool) -> io::Result<()> {
        let (Tail::Active(active), Some(file)) = (&state.tail, &state.marker) else {
            return Ok(());
        };
        state.marker_generation += 1;
        let marker = DurabilityMarker {
            generation: state.marker_generation,
            journal: self.settings.journal,
            incarnation: self.settings.incarnation,
            writer: self.settings.writer,
            inode: active.identity.1,
            unnamed: state.unnamed,
            salt: active.header.salt,
            name: active.header.name,
            offset: active.synced.offset,
            seq: active.synced.seq,
            digest: active.digest.chain(),
            counts: active.counts,
            clean,
            has_control: active.has_control,
        };
        file.write_at(&marker.encode(), marker.slot_offset())
    }

    pub(super) fn sync_marker(&self, state: &State) -> io::Result<()> {
        state.marker.as_ref().map_or(Ok(()), |file| file.sync())
    }

    /// Clears the clean-shutdown flag before the first append: a crash must not look like the last clean shutdown.
    ///
    /// Both slots are written, so that damage to the newer one does not bring the flag back.
    pub(super) fn clear_clean_flag(&self, state: &mut State) -> Result<(), Error> {
        let is_open = state.marker.is_some();
        let cleared =
            (if is_open { self.check_ours() } else { Err(io::ErrorKind::NotFound.into()) })
                .and_then(|()| self.write_marker(state, false))
                .and_then(|()| self.write_marker(state, false))
                .and_then(|()| self.sync_marker(state));
        if let Err(error) = cleared {
            if let Err(holder) = self.check_claim() {
                self.fence(state, holder);
                return state.ensure_open(&self.directory.root);
            }
            tracing::warn!(%error, "durability marker: the clean-shutdown flag cannot be cleared; a new segment is begun");
            // The flag then does not belong to the newest segment, and is not believed.
            self.roll_over(state)?;
        }
        state.marker_clean = false;
        Ok(())
    }

    /// Names the active segment in `IDENTITY`, durably, before the marker does.
    pub(crate) fn name_in_identity(&self, state: &mut State) {
        let Tail::Active(active) = &state.tail else { return };
        let header = &active.header;
        let identity = Identity {
            journal: self.settings.journal,
            incarnation: self.settings.incarnation,
            is_mount: self.settings.is_mount,
            newest: Some((header.name, header.salt, header.initial_end.seq)),
        };
        let written = self.directory.write_identity(&identity);
        if let Err(error) = &written {
            tracing::warn!(%error, "IDENTITY: a write failed; the durability marker names the segment instead");
        }
        state.unnamed = written.is_err();
    }

    /// Replaces the marker's file if it was deleted or a copy shares it.
    pub(super) fn keep_marker(&self, state: &mut State) {
        let links = state.marker.as_ref().and_then(|file| file.stat().ok()).map(|stat| stat.links);
        if links == Some(1) || self.directory.check_anchor().is_err() {
            return;
        }
        // It may not have been created at the start, such as on a full disk. Without it other processes see nothing new.
        state.marker = self.directory.open_marker().ok();
        if let Err(error) = self.write_claim(state, false) {
            tracing::debug!(%error, "claim: a write failed; it is repeated with the next marker");
        }
    }

    pub(super) fn write_claim(&self, state: &State, released: bool) -> io::Result<()> {
        let Some(file) = &state.marker else { return Ok(()) };
        let mut claim = self.settings.claim.clone();
        claim.released = released;
        file.write_at(&claim.encode(), CLAIM_OFFSET)
    }

    /// Checks that the directory is the one that was opened, and that no other process claimed it.
    ///
    /// Called before any file gets a name, and before the first write.
    pub(super) fn check_ours(&self) -> io::Result<()> {
        self.directory.check_anchor()?;
        self.check_claim().map_err(|holder| {
            io::Error::new(io::ErrorKind::ResourceBusy, format!("{holder} writes it"))
        })
    }

    /// Checks that no other process claimed the journal since it was opened.
    ///
    /// Opens the file by its path: another process may have replaced it.
    pub(super) fn check_claim(&self) -> Result<(), String> {
        if self.settings.lock_is_sound {
            return Ok(());
        }
        match self.directory.read_claim() {
            Some(claim) if claim.writer != self.settings.writer => Err(claim.holder()),
            _ => Ok(()),
        }
    }

    /// Stops writing for good: another process continues this journal.
    pub(super) fn fence(&self, state: &mut State, holder: String) {
        tracing::error!(
            %holder,
            "journal: another process opened it although it is locked here; this process stops writing, and records that \
             it did not acknowledge may be lost; stop one of the two"
        );
        state.fenced = Some(holder);
        self.sync_done.notify_all();
    }
}
