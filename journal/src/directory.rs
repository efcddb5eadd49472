//! [`Directory`]: where the journal's files are and which segments there are.
//!
//! ```text
//! DATA/IDENTITY                                  which journal this is, for people and for the layout's version
//! DATA/journal/00000000000000000042-2026-11-23.seg    a segment: first seq, day it was begun
//! DATA/journal/00000000000000000042-2026-11-23.keys   the sorted keys of a sealed segment; derivable
//! DATA/journal/spare                             the next segment, preallocated
//! DATA/journal/WITNESS                           how far the journal is durable
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::error::Context;
use crate::format::{
    FRAMES_OFFSET, Footer, HeaderError, HeaderRead, Salt, SegmentName, WITNESS_BYTES, Witness,
    read_header,
};
use crate::limits::{BLOCK_BYTES, SEQ_MAX};
use crate::storage::{Access, EntryKind, Storage, StorageFile, read_file, read_full, replace_file};
use crate::window::is_unreadable;

const LAYOUT_VERSION: u32 = 1;
const IDENTITY_BYTES_MAX: usize = 4096;
/// Times the witness is read again where a slot of it looks half written.
const WITNESS_ATTEMPTS_MAX: usize = 3;
const IDENTITY_FIRST_LINE: &str = "Lenslog data directory";

/// The files of one journal.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) storage: Arc<dyn Storage>,
    /// The data directory, which is locked.
    pub(crate) root: PathBuf,
    /// The directory of the segments.
    pub(crate) journal: PathBuf,
}

/// A segment that was opened, its header read as far as possible.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) name: SegmentName,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) len: u64,
    /// `None`: both copies of the header are damaged, so that no frame can be verified.
    pub(crate) header: Option<HeaderRead>,
}

impl Directory {
    pub(crate) fn new(storage: Arc<dyn Storage>, root: &Path) -> Self {
        Self { storage, root: root.to_owned(), journal: root.join("journal") }
    }

    pub(crate) fn spare(&self) -> PathBuf {
        self.journal.join("spare")
    }

    pub(crate) fn segment(&self, name: SegmentName) -> PathBuf {
        self.journal.join(name.file_name())
    }

    pub(crate) fn keys(&self, name: SegmentName) -> PathBuf {
        self.journal.join(name.keys_file_name())
    }

    fn identity(&self) -> PathBuf {
        self.root.join("IDENTITY")
    }

    pub(crate) fn witness(&self) -> PathBuf {
        self.journal.join("WITNESS")
    }

    /// The segments, by first seq. Other files are ignored.
    pub(crate) fn segments(&self) -> Result<Vec<SegmentName>, Error> {
        let entries = self.storage.list(&self.journal).context("list", &self.journal)?;
        let mut names: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry.name.to_str().and_then(SegmentName::parse))
            .filter(|name| name.base.0 <= SEQ_MAX)
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a segment and reads its header. `None`: there is no such file (any more).
    pub(crate) fn open_segment(
        &self,
        name: SegmentName,
        access: Access,
    ) -> Result<Option<OpenSegment>, Error> {
        let path = self.segment(name);
        let file = match self.storage.open(&path, access) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("open", &path),
        };
        let stat = file.stat().context("stat", &path)?;
        if stat.kind == EntryKind::Directory {
            let (found, expected) = ("a directory".to_owned(), "a segment file");
            return Err(Error::Unexpected { path, found, expected });
        }
        let header = self.read_header(&*file, name, &path)?;
        Ok(Some(OpenSegment { name, path, file, len: stat.len, header }))
    }

    fn read_header(
        &self,
        file: &dyn StorageFile,
        name: SegmentName,
        path: &Path,
    ) -> Result<Option<HeaderRead>, Error> {
        let mut blocks = [[0; BLOCK_BYTES as usize]; 2];
        let mut readable = [false; 2];
        for ((index, block), readable) in (0..).zip(&mut blocks).zip(&mut readable) {
            match read_full(file, block, index * BLOCK_BYTES) {
                Ok(count) => *readable = count == block.len(),
                Err(error) if is_unreadable(&error) => {}
                Err(error) => return Err(error).context("read", path),
            }
        }
        let [first, second] = &blocks;
        let copies = [readable[0].then_some(&first[..]), readable[1].then_some(&second[..])];
        match read_header(copies, name) {
            Ok(read) => Ok(Some(read)),
            Err(HeaderError::Damaged) => Ok(None),
            Err(HeaderError::Newer { version, incompatible }) => Err(Error::Newer {
                path: path.to_owned(),
                found: format!("format {version}, features {incompatible:#x}"),
            }),
        }
    }

    /// The newer slot of the witness; `None` where there is no valid one.
    pub(crate) fn read_witness(&self) -> Option<Witness> {
        let file = self.storage.open(&self.witness(), Access::Read).ok()?;
        let mut newest = None;
        for _ in 0..WITNESS_ATTEMPTS_MAX {
            let slots = Witness::slot_offsets().map(|offset| {
                let mut slot = [0; Witness::SLOT_BYTES];
                // A slot that cannot be read leaves the other one.
                let read = read_full(&*file, &mut slot, offset);
                read.is_ok_and(|count| count == slot.len()).then_some(slot)
            });
            let decoded = slots.map(|slot| slot.and_then(|slot| Witness::decode(&slot)));
            newest = decoded.iter().flatten().max_by_key(|witness| witness.generation).copied();
            let torn = slots.iter().zip(&decoded).any(|(slot, decoded)| {
                decoded.is_none() && slot.is_some_and(|slot| slot.iter().any(|byte| *byte != 0))
            });
            // The process that writes may be at it just now.
            if !torn {
                break;
            }
        }
        newest
    }

    /// Opens the witness for writing, where there is one.
    pub(crate) fn open_existing_witness(&self) -> Option<Arc<dyn StorageFile>> {
        self.storage.open(&self.witness(), Access::Write).ok()
    }

    /// Opens the witness for writing; makes a new one of the right size, durably, where there is none.
    pub(crate) fn open_witness(
        &self,
        existing: Option<Arc<dyn StorageFile>>,
    ) -> Result<Arc<dyn StorageFile>, Error> {
        let path = self.witness();
        let file = match existing {
            Some(file) => file,
            None => self.storage.open(&path, Access::Create).context("open", &path)?,
        };
        if file.stat().context("stat", &path)?.len < WITNESS_BYTES {
            file.write_at(&vec![0; WITNESS_BYTES as usize], 0).context("write", &path)?;
            file.sync().context("sync", &path)?;
            self.storage.sync_directory(&self.journal).context("sync", &self.journal)?;
        }
        Ok(file)
    }

    /// Checks that this program may use the directory: its layout is none of a newer version's.
    ///
    /// An identity that is missing or garbled is none: everything in it stands in the segments too.
    pub(crate) fn check_layout(&self) -> Result<(), Error> {
        match self.identity_field("layout").and_then(|version| version.parse::<u32>().ok()) {
            Some(version) if version > LAYOUT_VERSION => {
                Err(Error::Newer { path: self.identity(), found: format!("layout {version}") })
            }
            _ => Ok(()),
        }
    }

    /// The journal's identity as the identity file tells it.
    pub(crate) fn read_identity(&self) -> Option<[u8; 16]> {
        let hex = self.identity_field("journal")?;
        let number = u128::from_str_radix(&hex, 16).ok()?;
        (hex.len() == 32).then(|| number.to_be_bytes())
    }

    fn identity_field(&self, name: &str) -> Option<String> {
        let bytes = read_file(&*self.storage, &self.identity(), IDENTITY_BYTES_MAX).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(" = ")?.to_owned());
        text.lines().find_map(value)
    }

    /// Writes the identity where there is none that can be read.
    pub(crate) fn write_identity(&self, journal: [u8; 16]) -> Result<(), Error> {
        let path = self.identity();
        let hex: String = journal.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            "{IDENTITY_FIRST_LINE}\nlayout = {LAYOUT_VERSION}\njournal = {hex}\n\n\
             The journal/ directory holds the only copy of what happened; the rest is made from it.\n\
             Copy or move the whole directory while nothing writes to it, or use `replay backup`.\n"
        );
        match read_file(&*self.storage, &path, IDENTITY_BYTES_MAX) {
            Ok(bytes) if bytes == text.as_bytes() => Ok(()),
            _ => replace_file(&*self.storage, &path, text.as_bytes()).context("write", &path),
        }
    }
}

impl OpenSegment {
    /// Whether the block behind `offset` was never written: nothing can have been appended there.
    pub(crate) fn is_blank_behind(&self, offset: u64) -> bool {
        let mut block = [0; BLOCK_BYTES as usize];
        // What cannot be read may be anything, and is not to be written again.
        read_full(&*self.file, &mut block, offset).is_ok() && block.iter().all(|byte| *byte == 0)
    }

    /// The footer, where the segment is sealed.
    pub(crate) fn footer(&self, salt: Salt) -> Result<Option<Footer>, Error> {
        let Some(offset) = self.len.checked_sub(BLOCK_BYTES).filter(|at| *at >= FRAMES_OFFSET)
        else {
            return Ok(None);
        };
        let mut block = [0; BLOCK_BYTES as usize];
        match read_full(&*self.file, &mut block, offset) {
            Ok(_) => Ok(Footer::decode(&block, self.name, salt)
                .filter(|footer| Footer::offset_for(footer.end_offset) == offset)),
            Err(error) if is_unreadable(&error) => Ok(None),
            Err(error) => Err(error).context("read", &self.path),
        }
    }
}
