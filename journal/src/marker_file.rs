//! The files `WITNESS` (the durability marker) and `IDENTITY`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::directory::Directory;
use crate::error::Context;
use crate::format::{
    CLAIM_OFFSET, Claim, DurabilityMarker, MARKER_BYTES, SLOT_BYTES, Salt, SegmentName,
};
use crate::limits::SEQ_MAX;
use crate::storage::{Access, StorageFile, read_file, read_full, replace_file};
use crate::{Error, Seq};

const LAYOUT_VERSION: u32 = 1;
const IDENTITY_BYTES_MAX: usize = 4096;
const IDENTITY_FIRST_LINE: &str = "Lenslog data directory";
/// Attempts to read the marker if a slot looks half written.
const MARKER_ATTEMPTS_MAX: usize = 3;

/// The content of the file `IDENTITY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) journal: [u8; 16],
    pub(crate) incarnation: [u8; 16],
    /// `journal/` was the root of a file system of its own.
    pub(crate) is_mount: bool,
    /// The newest segment when it was written, its salt, and the seq before its first record.
    pub(crate) newest: Option<(SegmentName, Salt, Seq)>,
}

impl Directory {
    fn identity(&self) -> PathBuf {
        self.root.join("IDENTITY")
    }

    /// The valid slots of the marker, the newer one first.
    pub(crate) fn read_markers(&self) -> Vec<DurabilityMarker> {
        let Ok(file) = self.storage.open(&self.marker(), Access::Read) else { return Vec::new() };
        let mut found = Vec::new();
        for _ in 0..MARKER_ATTEMPTS_MAX {
            let slots = DurabilityMarker::slot_offsets().map(|offset| read_slot(&*file, offset));
            let decoded = slots.map(|slot| slot.and_then(|slot| DurabilityMarker::decode(&slot)));
            let torn = slots.iter().zip(&decoded).any(|(slot, decoded)| {
                decoded.is_none() && slot.is_some_and(|slot| slot.iter().any(|byte| *byte != 0))
            });
            found = decoded.into_iter().flatten().collect();
            // The process that writes may be writing this slot now.
            if !torn {
                break;
            }
        }
        found.sort_unstable_by_key(|marker| std::cmp::Reverse(marker.generation));
        found
    }

    /// The newer slot of the marker; `None` if none is valid.
    pub(crate) fn read_marker(&self) -> Option<DurabilityMarker> {
        self.read_markers().first().copied()
    }

    /// The claim of the process that opened the journal last; `None` if it cannot be read.
    pub(crate) fn read_claim(&self) -> Option<Claim> {
        let file = self.storage.open(&self.marker(), Access::Read).ok()?;
        Claim::decode(&read_slot(&*file, CLAIM_OFFSET)?)
    }

    /// Opens the marker for writing, if it exists and no copy made by hard links shares it.
    fn open_existing_marker(&self) -> Option<Arc<dyn StorageFile>> {
        let file = self.storage.open(&self.marker(), Access::Write).ok()?;
        let stat = file.stat().ok()?;
        (stat.links == 1 && stat.len >= MARKER_BYTES).then_some(file)
    }

    /// Opens the marker for writing.
    ///
    /// If it is missing, has the wrong size or is shared by a copy made by hard links, a new file with the same content
    /// takes its place, durably.
    pub(crate) fn open_marker(&self) -> Result<Arc<dyn StorageFile>, Error> {
        if let Some(file) = self.open_existing_marker() {
            return Ok(file);
        }
        let path = self.marker();
        let mut bytes = vec![0; MARKER_BYTES as usize];
        if let Ok(old) = self.storage.open(&path, Access::Read) {
            let offsets = DurabilityMarker::slot_offsets().into_iter().chain([CLAIM_OFFSET]);
            for offset in offsets {
                let target = bytes.get_mut(offset as usize..).unwrap_or_default();
                if let Some(slot) = read_slot(&*old, offset) {
                    target.iter_mut().zip(slot).for_each(|(to, from)| *to = from);
                }
            }
        }
        replace_file(&*self.storage, &path, &bytes).context("write", &path)?;
        self.storage.open(&path, Access::Write).context("open", &path)
    }

    /// Checks that no newer version of this program made the layout of the directory.
    ///
    /// A missing or damaged `IDENTITY` is no error: the segments contain everything in it.
    pub(crate) fn check_layout(&self) -> Result<(), Error> {
        let text = self.identity_text().unwrap_or_default();
        match identity_field(&text, "layout").and_then(|version| version.parse::<u32>().ok()) {
            Some(version) if version > LAYOUT_VERSION => {
                Err(Error::Newer { path: self.identity(), found: format!("layout {version}") })
            }
            _ => Ok(()),
        }
    }

    /// Reads `IDENTITY`; `None` if it does not name a journal.
    pub(crate) fn read_identity(&self) -> Option<Identity> {
        let text = self.identity_text()?;
        let id = |hex: &str| {
            let number = u128::from_str_radix(hex, 16).ok()?;
            (hex.len() == 32).then(|| number.to_be_bytes())
        };
        let newest = || {
            let name = SegmentName::parse(identity_field(&text, "segment")?)?;
            let salt = u64::from_str_radix(identity_field(&text, "salt")?, 16).ok()?;
            let seq = identity_field(&text, "seq")?.parse().ok().filter(|seq| *seq <= SEQ_MAX)?;
            Some((name, Salt(salt), Seq(seq)))
        };
        Some(Identity {
            journal: id(identity_field(&text, "journal")?)?,
            incarnation: identity_field(&text, "incarnation").and_then(id).unwrap_or_default(),
            is_mount: identity_field(&text, "journal_is_mount") == Some("yes"),
            newest: newest(),
        })
    }

    fn identity_text(&self) -> Option<String> {
        let bytes = read_file(&*self.storage, &self.identity(), IDENTITY_BYTES_MAX).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes `IDENTITY`, durably, unless the file already has this content.
    pub(crate) fn write_identity(&self, identity: &Identity) -> Result<(), Error> {
        let path = self.identity();
        let hex = |id: [u8; 16]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let newest = identity.newest.map_or_else(String::new, |(name, salt, seq)| {
            format!("segment = {}\nsalt = {:016x}\nseq = {:020}\n", name.file_name(), salt.0, seq.0)
        });
        let text = format!(
            "{IDENTITY_FIRST_LINE}\nlayout = {LAYOUT_VERSION}\njournal = {}\nincarnation = {}\n\
             journal_is_mount = {}\n{newest}\n\
             The journal/ directory holds the only copy of what happened; the rest is made from it.\n\
             Copy or move the whole directory while nothing writes to it, or use `replay backup`.\n",
            hex(identity.journal),
            hex(identity.incarnation),
            if identity.is_mount { "yes" } else { "no" },
        );
        match read_file(&*self.storage, &path, IDENTITY_BYTES_MAX) {
            Ok(bytes) if bytes == text.as_bytes() => Ok(()),
            _ => replace_file(&*self.storage, &path, text.as_bytes()).context("write", &path),
        }
    }

    /// Checks that no journal begins in the mount point of one that is on a disk of its own.
    ///
    /// If the newest segment is there, the journal was copied or moved with its directory.
    pub(crate) fn check_mounted(&self, is_mount: bool) -> Result<(), Error> {
        let identity = self.read_identity().filter(|identity| identity.is_mount && !is_mount);
        let Some(identity) = identity else { return Ok(()) };
        if let Some((name, salt, _)) = identity.newest
            && self.header_at(&self.segment(name)).is_some_and(|header| header.salt == salt)
        {
            return Ok(());
        }
        Err(Error::Unexpected {
            path: self.journal.clone(),
            found: "no mount point now, but IDENTITY says that the journal is on a disk of its own"
                .to_owned(),
            expected: "that disk to be mounted there; mount it, or, if the journal was moved for good, change the line \
                       journal_is_mount in IDENTITY to no",
        })
    }
}

fn identity_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
}

/// Reads one slot of the marker; `None` if it cannot be read whole.
fn read_slot(file: &dyn StorageFile, offset: u64) -> Option<[u8; SLOT_BYTES]> {
    let mut slot = [0; SLOT_BYTES];
    // A slot that cannot be read does not affect the others.
    let read = read_full(file, &mut slot, offset);
    read.is_ok_and(|count| count == slot.len()).then_some(slot)
}
