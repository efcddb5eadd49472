//! [`KeyIndex`]: which keys the retained segments hold, and under which seqs.
//!
//! The active segment's keys are in memory. A sealed one's are in a file beside it, of which only a filter of ten
//! bits a key is held, and that only once somebody looks a key up: a recorder that makes its own ids never does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::chain::segment_end;
use crate::directory::Directory;
use crate::error::Context;
use crate::format::{
    FRAMES_OFFSET, Key, KeyFilter, KeysHeader, RecordsCursor, Salt, SegmentHeader, SegmentName,
};
use crate::limits::BLOCK_BYTES;
use crate::storage::{Access, StorageFile, read_full};
use crate::walk::FrameWalk;
use crate::window::Window;
use crate::{Error, Seq};

/// The keys read from one segment, and its salt.
type SegmentKeys = (Salt, Vec<(Key, Seq)>);

#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    active: HashMap<Key, Seq>,
    /// `active` lacks what the segment holds before this offset: it was opened without being read.
    active_unread_to: Option<u64>,
    /// Keys of the other segments, by segment; `None` until somebody looks a key up.
    sealed: Option<Vec<SealedKeys>>,
}

/// The keys of one sealed segment.
#[derive(Debug)]
struct SealedKeys {
    header: KeysHeader,
    filter: KeyFilter,
    path: PathBuf,
    file: Arc<dyn StorageFile>,
}

impl KeyIndex {
    /// An index whose active segment was read whole.
    pub(crate) fn with_active(keys: impl IntoIterator<Item = (Key, Seq)>) -> Self {
        Self { active: keys.into_iter().collect(), ..Self::default() }
    }

    /// An index whose active segment has keys before `offset` that are read when they are needed.
    pub(crate) fn with_unread_active(offset: u64) -> Self {
        Self { active_unread_to: Some(offset), ..Self::default() }
    }

    /// Number of keys of the active segment that are in memory.
    pub(crate) fn active_len(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn insert(&mut self, key: Key, seq: Seq) {
        self.active.insert(key, seq);
    }

    /// The retained record that has this key.
    pub(crate) fn find(
        &mut self,
        directory: &Directory,
        active: Option<&SegmentHeader>,
        key: &Key,
    ) -> Result<Option<Seq>, Error> {
        if let Some(header) = active {
            self.read_active(directory, header)?;
        }
        if let Some(seq) = self.active.get(key) {
            return Ok(Some(*seq));
        }
        if self.sealed.is_none() {
            self.sealed = Some(load_sealed(directory, active.map(|header| header.name))?);
        }
        for keys in self.sealed.iter().flatten() {
            if keys.filter.may_contain(key)
                && let Some(seq) = keys.find(key)?
            {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// The active segment was sealed: its keys go to a file.
    pub(crate) fn seal(&mut self, directory: &Directory, header: &SegmentHeader, end: Seq) {
        self.split(directory, header, end);
        self.active.clear();
    }

    /// The active segment ended before `end`; later keys belong to its successor.
    pub(crate) fn split(&mut self, directory: &Directory, header: &SegmentHeader, end: Seq) {
        if end == header.name.base {
            return;
        }
        let result = self.read_active(directory, header).and_then(|()| {
            let mut keys: Vec<_> = self
                .active
                .iter()
                .map(|(key, seq)| (*key, *seq))
                .filter(|(_, seq)| *seq < end)
                .collect();
            keys.sort_unstable();
            self.active.retain(|_, seq| *seq >= end);
            if keys.is_empty() {
                return Ok(());
            }
            write_keys(directory, header.salt, header.name, &keys)?;
            if let Some(sealed) = &mut self.sealed {
                sealed.extend(open_keys(directory, header.salt, header.name)?);
            }
            Ok(())
        });
        if let Err(error) = result {
            // The file is made again from the segment when a key is looked up.
            tracing::debug!(%error, "the segment's keys cannot be written");
            self.sealed = None;
        }
    }

    /// Segments were unlinked: their keys are free again.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(SegmentName) -> bool) {
        if let Some(sealed) = &mut self.sealed {
            sealed.retain(|keys| !is_gone(keys.header.name));
        }
    }

    fn read_active(&mut self, directory: &Directory, header: &SegmentHeader) -> Result<(), Error> {
        let Some(end) = self.active_unread_to else {
            return Ok(());
        };
        let keys = read_keys(directory, header.name, Some((end, Seq(u64::MAX))))?;
        for (key, seq) in keys.map(|(_, keys)| keys).unwrap_or_default() {
            self.active.entry(key).or_insert(seq);
        }
        self.active_unread_to = None;
        Ok(())
    }
}

impl SealedKeys {
    fn find(&self, key: &Key) -> Result<Option<Seq>, Error> {
        let (mut low, mut high) = (0, self.header.blocks());
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.block(middle)?;
            match block.binary_search_by(|(found, _)| found.cmp(key)) {
                Ok(index) => return Ok(block.get(index).map(|(_, seq)| *seq)),
                Err(0) => high = middle,
                Err(_) if block.last().is_some_and(|(last, _)| last < key) => low = middle + 1,
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn block(&self, index: u64) -> Result<Vec<(Key, Seq)>, Error> {
        let mut block = [0; BLOCK_BYTES as usize];
        let offset = self.header.block_offset(index);
        read_full(&*self.file, &mut block, offset).context("read", &self.path)?;
        self.header.decode_block(index, &block).ok_or_else(|| Error::Unexpected {
            path: self.path.clone(),
            found: format!("damaged at offset {offset}"),
            expected: "the keys of its segment; delete the file, it is made again",
        })
    }
}

fn load_sealed(
    directory: &Directory,
    active: Option<SegmentName>,
) -> Result<Vec<SealedKeys>, Error> {
    let mut sealed = Vec::new();
    let names = directory.segments()?;
    for (index, &name) in names.iter().enumerate() {
        if Some(name) == active {
            continue;
        }
        let end = match (directory.open_segment(name, Access::Read)?, names.get(index + 1)) {
            (Some(segment), Some(&successor)) => {
                let end = segment_end(directory, &segment, successor)?;
                let Some(read) = &segment.header else {
                    continue;
                };
                let salt = read.header.salt;
                if segment.footer(salt)?.is_some_and(|footer| footer.counts.keyed == 0) {
                    continue;
                }
                if let Some(keys) = open_keys(directory, salt, name)? {
                    sealed.push(keys);
                    continue;
                }
                Some((end.offset, end.seq))
            }
            _ => None,
        };
        if let Some((salt, mut keys)) = read_keys(directory, name, end)? {
            keys.sort_unstable();
            write_keys(directory, salt, name, &keys)?;
            sealed.extend(open_keys(directory, salt, name)?);
        }
    }
    Ok(sealed)
}

/// Reads the keys of a segment from its frames; `None` where it cannot be read at all.
fn read_keys(
    directory: &Directory,
    name: SegmentName,
    end: Option<(u64, Seq)>,
) -> Result<Option<SegmentKeys>, Error> {
    let Some(segment) = directory.open_segment(name, Access::Read)? else {
        return Ok(None);
    };
    let Some(read) = segment.header else {
        return Ok(None);
    };
    let (limit, end_seq) = end.unwrap_or((segment.len, Seq(u64::MAX)));
    let mut window = Window::new(segment.path, segment.file, limit);
    let mut walk = FrameWalk::new(read.header.salt, FRAMES_OFFSET, read.header.start_seq());
    let mut keys = Vec::new();
    while let Some(found) = walk.next(&mut window)? {
        let body = found.body(&window);
        let mut cursor = RecordsCursor::new(found.header.first_seq);
        while let Some(record) = cursor.next(body) {
            keys.extend(record.key.filter(|_| record.seq < end_seq).map(|key| (key, record.seq)));
        }
    }
    Ok(Some((read.header.salt, keys)))
}

fn write_keys(
    directory: &Directory,
    salt: Salt,
    name: SegmentName,
    keys: &[(Key, Seq)],
) -> Result<(), Error> {
    let path = directory.keys(name);
    let bytes = KeysHeader::encode_file(salt, name, keys);
    let file = directory.storage.open(&path, Access::Truncate).context("open", &path)?;
    file.write_at(&bytes, 0).context("write", &path)
}

/// Opens a segment's file of keys; `None` where there is none that can be used.
fn open_keys(
    directory: &Directory,
    salt: Salt,
    name: SegmentName,
) -> Result<Option<SealedKeys>, Error> {
    let path = directory.keys(name);
    let Ok(file) = directory.storage.open(&path, Access::Read) else {
        return Ok(None);
    };
    let mut block = [0; BLOCK_BYTES as usize];
    read_full(&*file, &mut block, 0).context("read", &path)?;
    let Some(header) = KeysHeader::decode(&block, salt, name) else {
        return Ok(None);
    };
    let (offset, len) = header.filter_span();
    if file.stat().context("stat", &path)?.len < header.block_offset(header.blocks()) {
        return Ok(None);
    }
    let mut filter = vec![0; len];
    read_full(&*file, &mut filter, offset).context("read", &path)?;
    let filter = header.decode_filter(&filter);
    Ok(filter.map(|filter| SealedKeys { header, filter, path, file }))
}
