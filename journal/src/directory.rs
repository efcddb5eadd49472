//! [`Directory`]: the files of a journal, and the segments among them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::error::Context;
use crate::format::{
    FRAMES_OFFSET, Footer, HeaderError, HeaderRead, Salt, SegmentHeader, SegmentName, WriterId,
    read_header,
};
use crate::limits::{BLOCK_BYTES, SEQ_MAX};
use crate::storage::{Access, FileStat, Storage, StorageFile, read_full};
use crate::window::is_unreadable;

const SPARE: &str = "spare";

/// The files of one journal.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) storage: Arc<dyn Storage>,
    /// The data directory, which is locked.
    pub(crate) root: PathBuf,
    /// The directory of the segments.
    pub(crate) journal: PathBuf,
    /// Device and inode of `journal` when it was opened for writing; nothing is created in another one.
    pub(crate) anchor: Option<(u64, u64)>,
    /// Name of the next segment while it is written.
    spare_name: String,
}

/// An open segment, and its header if that can be used.
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

/// Why the header of a segment cannot be used: none of its frames can be verified then.
#[derive(Debug, Clone)]
pub(crate) enum HeaderFlaw {
    /// Both copies are damaged.
    Damaged,
    /// The file is empty or begins with zeros. No segment ever had this name: each gets it when it is whole.
    Blank,
    /// The header is whole and contains another name: the file was renamed, or copied under this name.
    Misnamed(Box<SegmentHeader>),
    /// The file may not be opened, or another kind of file is in its place.
    Unopenable(Arc<io::Error>),
}

/// A file that cannot be opened: no byte of it can be read.
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

    /// Writes new segments under a name of this writer, and removes the spares of others.
    ///
    /// For file systems where a lock does not exclude every other writer.
    pub(crate) fn use_own_spare(&mut self, writer: WriterId) {
        let id: String = writer.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        self.spare_name = format!("{SPARE}-{id}");
        for entry in self.storage.list(&self.journal).unwrap_or_default() {
            let is_others = entry.name.to_str().is_some_and(|name| name.starts_with("spare-"));
            if is_others && let Err(error) = self.storage.remove(&self.journal.join(&entry.name)) {
                tracing::debug!(name = ?entry.name, %error, "spare: another writer's file cannot be removed; it takes space");
            }
        }
    }

    pub(crate) fn segment(&self, name: SegmentName) -> PathBuf {
        self.journal.join(name.file_name())
    }

    pub(crate) fn keys(&self, name: SegmentName) -> PathBuf {
        self.journal.join(name.keys_file_name())
    }

    pub(crate) fn tags(&self, name: SegmentName) -> PathBuf {
        self.journal.join(name.tags_file_name())
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

    /// All names in the form of a segment's, also those that no segment can have.
    pub(crate) fn all_names(&self) -> Result<Vec<SegmentName>, Error> {
        let entries = self.storage.list(&self.journal).context("list", &self.journal)?;
        let mut names: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry.name.to_str().and_then(SegmentName::parse))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The files of keys and of tags, with the names of their segments.
    pub(crate) fn indexes(&self) -> Result<Vec<(PathBuf, SegmentName)>, Error> {
        let entries = self.storage.list(&self.journal).context("list", &self.journal)?;
        let parse = |name: &str| {
            let stem = name.strip_suffix(".keys").or_else(|| name.strip_suffix(".tags"))?;
            Some((self.journal.join(name), SegmentName::parse(&format!("{stem}.seg"))?))
        };
        Ok(entries.iter().filter_map(|entry| parse(entry.name.to_str()?)).collect())
    }

    /// Opens a segment and reads its header; `None` if there is no such file.
    ///
    /// The header of a file that may not be opened, or that is no regular file, cannot be used.
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
                let (links, identity) = (1, (0, 0));
                return Ok(Some(OpenSegment { name, path, file, len, links, identity, header }));
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

    /// The header of a file with any name; `None` if no copy is whole.
    pub(crate) fn header_at(&self, path: &Path) -> Option<SegmentHeader> {
        let file = self.storage.open(path, Access::Read).ok()?;
        (0..FRAMES_OFFSET / BLOCK_BYTES).find_map(|copy| {
            let mut block = [0; BLOCK_BYTES as usize];
            read_full(&*file, &mut block, copy * BLOCK_BYTES).ok()?;
            SegmentHeader::decode(&block).ok()
        })
    }

    /// The segments that were moved aside to `NAME.foreign-N`.
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

    /// Whether `journal/` is the root of a file system of its own.
    pub(crate) fn is_mount(&self) -> io::Result<bool> {
        let of = |path: &Path| self.storage.stat(path).map(|stat| stat.identity.0);
        Ok(of(&self.journal)? != of(&self.root)?)
    }

    /// Checks that `journal/` is the directory that was opened: nothing is created in another one.
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

/// Whether an opening failed because of this file, not because this process lacks a resource.
fn concerns_this_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, PermissionDenied};
    use rustix::io::Errno;
    let special = [Errno::LOOP, Errno::NXIO, Errno::NODEV].map(Errno::raw_os_error);
    matches!(error.kind(), InvalidInput | IsADirectory | PermissionDenied)
        || error.raw_os_error().is_some_and(|code| special.contains(&code))
        || is_unreadable(error)
}

impl OpenSegment {
    /// Whether the block after `offset` was never written: nothing can have been appended there.
    pub(crate) fn is_blank_after(&self, offset: u64) -> bool {
        let mut block = [0; BLOCK_BYTES as usize];
        // A block that cannot be read may hold records.
        read_full(&*self.file, &mut block, offset).is_ok() && block.iter().all(|byte| *byte == 0)
    }

    /// The footer; `None` if the segment is not sealed.
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
