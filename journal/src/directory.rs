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

use crate::error::Context;
use crate::format::{
    CLAIM_OFFSET, Claim, DurabilityMarker, FRAMES_OFFSET, Footer, HeaderError, HeaderRead,
    MARKER_BYTES, SLOT_BYTES, Salt, SegmentHeader, SegmentName, WriterId, read_header,
};
use crate::limits::{BLOCK_BYTES, SEQ_MAX};
use crate::storage::{Access, FileStat, Storage, StorageFile, read_file, read_full, replace_file};
use crate::window::is_unreadable;
use crate::{Error, Seq};

const LAYOUT_VERSION: u32 = 1;
const IDENTITY_BYTES_MAX: usize = 4096;
/// Times the marker is read again where a slot of it looks half written.
const MARKER_ATTEMPTS_MAX: usize = 3;
const SPARE: &str = "spare";
const IDENTITY_FIRST_LINE: &str = "Lenslog data directory";

/// The files of one journal.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) storage: Arc<dyn Storage>,
    /// The data directory, which is locked.
    pub(crate) root: PathBuf,
    /// The directory of the segments.
    pub(crate) journal: PathBuf,
    /// Device and inode of `journal` when it was opened for writing: in another one nothing is made.
    pub(crate) anchor: Option<(u64, u64)>,
    /// Name of the next segment while it is written.
    spare_name: String,
}

/// A segment that was opened, its header read as far as possible.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) name: SegmentName,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) len: u64,
    /// Number of names the file has, its device and inode.
    pub(crate) links: u64,
    pub(crate) identity: (u64, u64),
    pub(crate) header: Result<HeaderRead, HeaderFlaw>,
}

/// Why the header of a segment cannot be used, so that none of its frames can be verified.
#[derive(Debug, Clone)]
pub(crate) enum HeaderFlaw {
    /// Both copies are damaged.
    Damaged,
    /// The file is empty or begins with zeros: no segment ever had this name, for each gets it when it is whole.
    Blank,
    /// The header is whole and bears another name: the file was renamed, or copied under this name.
    Misnamed(Box<SegmentHeader>),
    /// The file may not be opened, or something else is in its place.
    Unopenable(Arc<io::Error>),
}

/// What the file `IDENTITY` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) journal: [u8; 16],
    pub(crate) incarnation: [u8; 16],
    /// `journal/` was the root of a file system of its own.
    pub(crate) is_mount: bool,
    /// The newest segment when it was written, its salt, and the seq before its first record.
    pub(crate) newest: Option<(SegmentName, Salt, Seq)>,
}

/// Stands for a file that cannot be opened: no byte of it can be read.
#[derive(Debug)]
struct NoFile;

impl StorageFile for NoFile {
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        Err(rustix::io::Errno::IO.into())
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(rustix::io::Errno::IO.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(rustix::io::Errno::IO.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(rustix::io::Errno::IO.into())
    }

    fn stat(&self) -> io::Result<FileStat> {
        Err(rustix::io::Errno::IO.into())
    }
}

impl Directory {
    pub(crate) fn new(storage: Arc<dyn Storage>, root: &Path) -> Self {
        Self {
            storage,
            root: root.to_owned(),
            journal: root.join("journal"),
            anchor: None,
            spare_name: SPARE.to_owned(),
        }
    }

    pub(crate) fn spare(&self) -> PathBuf {
        self.journal.join(&self.spare_name)
    }

    /// Writes new segments under a name that no other writer uses, and removes those of others: for file systems where
    /// locks may not meet.
    pub(crate) fn use_own_spare(&mut self, writer: WriterId) {
        let id: String = writer.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        self.spare_name = format!("{SPARE}-{id}");
        for entry in self.storage.list(&self.journal).unwrap_or_default() {
            let is_others = entry.name.to_str().is_some_and(|name| name.starts_with("spare-"));
            if is_others && let Err(error) = self.storage.remove(&self.journal.join(&entry.name)) {
                tracing::debug!(name = ?entry.name, %error, "another writer's spare cannot be removed");
            }
        }
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

    pub(crate) fn marker(&self) -> PathBuf {
        self.journal.join("WITNESS")
    }

    /// The segments, by first seq. Other files are ignored.
    pub(crate) fn segments(&self) -> Result<Vec<SegmentName>, Error> {
        let mut names = self.all_names()?;
        names.retain(|name| name.base.0 <= SEQ_MAX);
        Ok(names)
    }

    /// The names of all files that are called like segments, also those that no segment can have.
    pub(crate) fn all_names(&self) -> Result<Vec<SegmentName>, Error> {
        let entries = self.storage.list(&self.journal).context("list", &self.journal)?;
        let mut names: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry.name.to_str().and_then(SegmentName::parse))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a segment and reads its header. `None`: there is no such file (any more).
    ///
    /// One that may not be opened, or in whose place something else is, is one whose header cannot be used.
    pub(crate) fn open_segment(
        &self,
        name: SegmentName,
        access: Access,
    ) -> Result<Option<OpenSegment>, Error> {
        let path = self.segment(name);
        let opened = self.storage.open(&path, access).and_then(|file| {
            let stat = file.stat()?;
            Ok((file, stat))
        });
        let (file, stat) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if concerns_this_file(&error) => {
                let header = Err(HeaderFlaw::Unopenable(Arc::new(error)));
                let (file, len) = (Arc::new(NoFile), 0);
                return Ok(Some(OpenSegment {
                    name,
                    path,
                    file,
                    len,
                    links: 1,
                    identity: (0, 0),
                    header,
                }));
            }
            Err(error) => return Err(error).context("open", &path),
        };
        let header = self.read_header(&*file, name, &path)?;
        let (len, links, identity) = (stat.len, stat.links, stat.identity);
        Ok(Some(OpenSegment { name, path, file, len, links, identity, header }))
    }

    fn read_header(
        &self,
        file: &dyn StorageFile,
        name: SegmentName,
        path: &Path,
    ) -> Result<Result<HeaderRead, HeaderFlaw>, Error> {
        let mut blocks = [[0; BLOCK_BYTES as usize]; 2];
        let mut readable = [false; 2];
        let mut is_blank = true;
        for ((index, block), readable) in (0..).zip(&mut blocks).zip(&mut readable) {
            match read_full(file, block, index * BLOCK_BYTES) {
                Ok(count) => *readable = count == block.len(),
                Err(error) if is_unreadable(&error) => is_blank = false,
                Err(error) => return Err(error).context("read", path),
            }
            is_blank &= block.iter().all(|byte| *byte == 0);
        }
        let [first, second] = &blocks;
        let copies = [readable[0].then_some(&first[..]), readable[1].then_some(&second[..])];
        match read_header(copies, name) {
            Ok(read) => Ok(Ok(read)),
            Err(HeaderError::Damaged) if is_blank => Ok(Err(HeaderFlaw::Blank)),
            Err(HeaderError::Damaged) => Ok(Err(HeaderFlaw::Damaged)),
            Err(HeaderError::Misnamed(header)) => Ok(Err(HeaderFlaw::Misnamed(header))),
            Err(HeaderError::Newer { version, incompatible }) => Err(Error::Newer {
                path: path.to_owned(),
                found: format!("format {version}, features {incompatible:#x}"),
            }),
        }
    }

    /// The header of a file, whatever name it bears; `None` where there is none that is whole.
    pub(crate) fn header_at(&self, path: &Path) -> Option<SegmentHeader> {
        let file = self.storage.open(path, Access::Read).ok()?;
        (0..FRAMES_OFFSET / BLOCK_BYTES).find_map(|copy| {
            let mut block = [0; BLOCK_BYTES as usize];
            read_full(&*file, &mut block, copy * BLOCK_BYTES).ok()?;
            SegmentHeader::decode(&block).ok()
        })
    }

    /// The names of segments that were moved aside as foreign.
    pub(crate) fn moved_aside(&self) -> Result<Vec<PathBuf>, Error> {
        let entries = self.storage.list(&self.journal).context("list", &self.journal)?;
        let is_aside = |name: &str| {
            name.split_once(".foreign-").is_some_and(|(name, _)| SegmentName::parse(name).is_some())
        };
        let names = entries.iter().filter_map(|entry| entry.name.to_str());
        let mut paths: Vec<_> =
            names.filter(|name| is_aside(name)).map(|name| self.journal.join(name)).collect();
        paths.sort_unstable();
        Ok(paths)
    }

    /// The slots of the marker that are whole, the newer one first.
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
            // The process that writes may be at it just now.
            if !torn {
                break;
            }
        }
        found.sort_unstable_by_key(|marker| std::cmp::Reverse(marker.generation));
        found
    }

    /// The newer slot of the marker; `None` where there is no valid one.
    pub(crate) fn read_marker(&self) -> Option<DurabilityMarker> {
        self.read_markers().first().copied()
    }

    /// Who opened the journal last; `None` where that cannot be read.
    pub(crate) fn read_claim(&self) -> Option<Claim> {
        let file = self.storage.open(&self.marker(), Access::Read).ok()?;
        Claim::decode(&read_slot(&*file, CLAIM_OFFSET)?)
    }

    /// Opens the marker for writing, where there is one that no copy made by hard links shares.
    pub(crate) fn open_existing_marker(&self) -> Option<Arc<dyn StorageFile>> {
        let file = self.storage.open(&self.marker(), Access::Write).ok()?;
        let stat = file.stat().ok()?;
        (stat.links == 1 && stat.len >= MARKER_BYTES).then_some(file)
    }

    /// Opens the marker for writing. Where there is none of the right size, or a copy made by hard links shares it, a new
    /// one with the same content takes its place, durably.
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

    /// Checks that this program may use the directory: its layout is none of a newer version's.
    ///
    /// An identity that is missing or garbled is none: everything in it stands in the segments too.
    pub(crate) fn check_layout(&self) -> Result<(), Error> {
        let text = self.identity_text().unwrap_or_default();
        match identity_field(&text, "layout").and_then(|version| version.parse::<u32>().ok()) {
            Some(version) if version > LAYOUT_VERSION => {
                Err(Error::Newer { path: self.identity(), found: format!("layout {version}") })
            }
            _ => Ok(()),
        }
    }

    /// What the identity file says; `None` where it does not name a journal.
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

    /// Writes the identity, durably, where the file says anything else.
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

    /// Whether `journal/` is the root of a file system of its own.
    pub(crate) fn is_mount(&self) -> io::Result<bool> {
        let of = |path: &Path| self.storage.stat(path).map(|stat| stat.identity.0);
        Ok(of(&self.journal)? != of(&self.root)?)
    }

    /// Checks that no journal begins in the mount point of one that is on a disk of its own. Where the newest segment is
    /// there, the journal was copied or moved with its directory.
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
            found:
                "no mount point now, though IDENTITY says that the journal is on a disk of its own"
                    .to_owned(),
            expected: "that disk to be mounted there; mount it, or, where the journal was moved for good, change the line \
                       journal_is_mount in IDENTITY to no",
        })
    }

    /// Checks that `journal/` is the directory that was opened: nothing is made in another one.
    pub(crate) fn check_anchor(&self) -> io::Result<()> {
        let Some(anchor) = self.anchor else { return Ok(()) };
        let why = match self.storage.stat(&self.journal) {
            Ok(stat) if stat.identity == anchor => return Ok(()),
            Ok(_) => "another directory is in its place".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(io::Error::other(format!("{} is gone: {why}", self.journal.display())))
    }
}

fn identity_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
}

/// One slot of the marker, where it can be read whole.
fn read_slot(file: &dyn StorageFile, offset: u64) -> Option<[u8; SLOT_BYTES]> {
    let mut slot = [0; SLOT_BYTES];
    // A slot that cannot be read leaves the others.
    let read = read_full(file, &mut slot, offset);
    read.is_ok_and(|count| count == slot.len()).then_some(slot)
}

/// Whether an opening failed for what is at the path, not for what this process lacks.
fn concerns_this_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, PermissionDenied};
    use rustix::io::Errno;
    let special = [Errno::LOOP, Errno::NXIO, Errno::NODEV].map(Errno::raw_os_error);
    matches!(error.kind(), InvalidInput | IsADirectory | PermissionDenied)
        || error.raw_os_error().is_some_and(|code| special.contains(&code))
        || is_unreadable(error)
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
