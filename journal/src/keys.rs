//! [`KeyIndex`]: which keys the retained segments hold, and under which seqs.
//!
//! The active segment's keys are in memory. A sealed one's are in a file beside it, of which only a filter of ten
//! bits a key is held, and that only once somebody looks a key up: a recorder that makes its own ids never does.

use std::collections::HashMap;
use std::io;

use crate::chain::Link;
use crate::directory::Directory;
use crate::format::{
    FRAMES_OFFSET, Key, KeyFilter, KeysHeader, RecordsCursor, Salt, SegmentHeader, SegmentName,
};
use crate::limits::BLOCK_BYTES;
use crate::ranges::RangeSet;
use crate::segment_end::segment_end;
use crate::storage::{Access, StorageFile, open_new, read_full};
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
    name: SegmentName,
    /// The seq behind the segment's last record.
    end: Seq,
    filter: KeyFilter,
    /// `None` while it cannot be written: the keys are then looked for in the segment itself.
    file: Option<KeysFile>,
}

/// The file of a sealed segment's keys. It is opened for each look-up that the filter lets pass: there may be more
/// segments than a process may have files open.
#[derive(Debug)]
struct KeysFile {
    name: SegmentName,
    header: KeysHeader,
}

impl KeyIndex {
    /// An index whose active segment holds these keys.
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
        // A trusted key may be given twice: the first record counts.
        self.active.entry(key).or_insert(seq);
    }

    /// The retained record that has this key.
    pub(crate) fn find(
        &mut self,
        directory: &Directory,
        active: Option<&SegmentHeader>,
        pruned: &RangeSet,
        links: impl FnOnce() -> Result<Vec<Link>, Error>,
        key: &Key,
    ) -> Result<Option<Seq>, Error> {
        if let Some(header) = active {
            self.read_active(directory, header)?;
        }
        if let Some(seq) = self.active.get(key) {
            return Ok(Some(*seq));
        }
        if self.sealed.is_none() {
            let active = active.map(|header| header.name);
            self.sealed = Some(load_sealed(directory, &links()?, active, pruned)?);
        }
        for keys in self.sealed.iter_mut().flatten() {
            if let Some(seq) = keys.find(directory, key)? {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// The active segment was sealed: its keys go to a file.
    pub(crate) fn seal(&mut self, directory: &Directory, header: &SegmentHeader, end: Seq) {
        self.split(directory, header, end);
        self.active.clear();
        self.active_unread_to = None;
    }

    /// The active segment ended before `end`; later keys belong to its successor.
    pub(crate) fn split(&mut self, directory: &Directory, header: &SegmentHeader, end: Seq) {
        if end == header.name.base {
            return;
        }
        if let Err(error) = self.read_active(directory, header) {
            // Keys that are not known now are read from the segment when one is looked up.
            tracing::debug!(%error, "the segment's keys cannot be read");
            self.sealed = None;
            return;
        }
        let (mut keys, active) = std::mem::take(&mut self.active)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, seq)| *seq < end);
        self.active = active.into_iter().collect();
        if keys.is_empty() {
            return;
        }
        keys.sort_unstable();
        let keys = SealedKeys::write(directory, header.salt, header.name, end, &keys);
        if let Some(sealed) = &mut self.sealed {
            sealed.push(keys);
        }
    }

    /// Segments were unlinked: their keys are free again.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(SegmentName) -> bool) {
        if let Some(sealed) = &mut self.sealed {
            sealed.retain(|keys| !is_gone(keys.name));
        }
    }

    fn read_active(&mut self, directory: &Directory, header: &SegmentHeader) -> Result<(), Error> {
        let Some(end) = self.active_unread_to else {
            return Ok(());
        };
        let keys = read_keys(directory, header.name, (end, Seq(u64::MAX)))?;
        for (key, seq) in keys.map(|(_, keys)| keys).unwrap_or_default() {
            self.active.entry(key).or_insert(seq);
        }
        self.active_unread_to = None;
        Ok(())
    }
}

impl SealedKeys {
    /// Those of a segment that was just read: `keys` are sorted.
    fn write(
        directory: &Directory,
        salt: Salt,
        name: SegmentName,
        end: Seq,
        keys: &[(Key, Seq)],
    ) -> Self {
        let filter = KeyFilter::of(keys.iter().map(|(key, _)| key));
        Self { name, end, filter, file: write_keys(directory, salt, name, keys) }
    }

    fn find(&mut self, directory: &Directory, key: &Key) -> Result<Option<Seq>, Error> {
        if !self.filter.may_contain(key) {
            return Ok(None);
        }
        if let Some(file) = &self.file {
            match file.find(directory, key) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    let file = self.name.keys_file_name();
                    tracing::warn!(file, %error, "a file of keys is damaged; it is made again");
                    self.file = None;
                }
            }
        }
        let Some((salt, keys)) = read_keys(directory, self.name, (u64::MAX, self.end))? else {
            return Ok(None);
        };
        self.file = write_keys(directory, salt, self.name, &keys);
        let found = keys.binary_search_by(|(found, _)| found.cmp(key));
        Ok(found.ok().and_then(|index| keys.get(index)).map(|(_, seq)| *seq))
    }
}

impl KeysFile {
    /// Opens a segment's file of keys, and reads its filter; `None` where there is none that can be used.
    fn open(directory: &Directory, salt: Salt, name: SegmentName) -> Option<(Self, KeyFilter)> {
        let file = directory.storage.open(&directory.keys(name), Access::Read).ok()?;
        let mut block = [0; BLOCK_BYTES as usize];
        read_full(&*file, &mut block, 0).ok()?;
        let header = KeysHeader::decode(&block, salt, name)?;
        let (offset, len) = header.filter_span();
        if file.stat().ok()?.len < header.block_offset(header.blocks()) {
            return None;
        }
        let mut filter = vec![0; len];
        read_full(&*file, &mut filter, offset).ok()?;
        let filter = header.decode_filter(&filter)?;
        Some((Self { name, header }, filter))
    }

    fn find(&self, directory: &Directory, key: &Key) -> io::Result<Option<Seq>> {
        let file = directory.storage.open(&directory.keys(self.name), Access::Read)?;
        let (mut low, mut high) = (0, self.header.blocks());
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.block(&*file, middle)?;
            match block.binary_search_by(|(found, _)| found.cmp(key)) {
                Ok(index) => return Ok(block.get(index).map(|(_, seq)| *seq)),
                Err(0) => high = middle,
                Err(_) if block.last().is_some_and(|(last, _)| last < key) => low = middle + 1,
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn block(&self, file: &dyn StorageFile, index: u64) -> io::Result<Vec<(Key, Seq)>> {
        let mut block = [0; BLOCK_BYTES as usize];
        read_full(file, &mut block, self.header.block_offset(index))?;
        self.header.decode_block(index, &block).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn load_sealed(
    directory: &Directory,
    links: &[Link],
    active: Option<SegmentName>,
    pruned: &RangeSet,
) -> Result<Vec<SealedKeys>, Error> {
    let mut sealed = Vec::new();
    for pair in links.windows(2) {
        let [link, successor] = pair else { continue };
        let name = link.name;
        if Some(name) == active {
            continue;
        }
        let Some(segment) = directory.open_segment(name, Access::Read)? else { continue };
        let Ok(read) = &segment.header else { continue };
        let salt = read.header.salt;
        if segment.footer(salt)?.is_some_and(|footer| footer.counts.keyed == 0) {
            continue;
        }
        let end = segment_end(&segment, successor, || Ok(pruned.clone()))?;
        if let Some((file, filter)) = KeysFile::open(directory, salt, name) {
            sealed.push(SealedKeys { name, end: end.seq, filter, file: Some(file) });
        } else if let Some((salt, keys)) = read_keys(directory, name, (end.offset, end.seq))? {
            sealed.push(SealedKeys::write(directory, salt, name, end.seq, &keys));
        }
    }
    Ok(sealed)
}

/// Reads the keys of a segment from its frames before an offset and a seq, sorted; `None` where it cannot be read at
/// all.
fn read_keys(
    directory: &Directory,
    name: SegmentName,
    (limit, end): (u64, Seq),
) -> Result<Option<SegmentKeys>, Error> {
    let Some(segment) = directory.open_segment(name, Access::Read)? else {
        return Ok(None);
    };
    let Ok(read) = segment.header else {
        return Ok(None);
    };
    let mut window = Window::new(segment.path, segment.file, limit.min(segment.len));
    let mut walk = FrameWalk::new(read.header.salt, FRAMES_OFFSET, read.header.start_seq());
    let mut keys = Vec::new();
    while let Some(found) = walk.next(&mut window)? {
        let body = found.body(&window);
        let mut cursor = RecordsCursor::new(found.header.first_seq);
        while let Some(record) = cursor.next(body) {
            keys.extend(record.key.filter(|_| record.seq < end).map(|key| (key, record.seq)));
        }
    }
    keys.sort_unstable();
    // Where a trusted key was given twice, the first record counts.
    keys.dedup_by_key(|(key, _)| *key);
    Ok(Some((read.header.salt, keys)))
}

/// Writes the file of a segment's keys; `None` where that cannot be done now: it is derivable, and tried again.
fn write_keys(
    directory: &Directory,
    salt: Salt,
    name: SegmentName,
    keys: &[(Key, Seq)],
) -> Option<KeysFile> {
    let path = directory.keys(name);
    let bytes = KeysHeader::encode_file(salt, name, keys);
    // Under another name first: the old file may be shared with a copy.
    let beside = path.with_extension("keys.tmp");
    let written = open_new(&*directory.storage, &beside)
        .and_then(|file| file.write_at(&bytes, 0))
        .and_then(|()| directory.storage.rename(&beside, &path));
    if let Err(error) = written {
        tracing::debug!(path = %path.display(), %error, "a segment's keys cannot be written");
        // Half a file would only take space.
        let _ = directory.storage.remove(&beside);
        return None;
    }
    KeysFile::open(directory, salt, name).map(|(file, _)| file)
}
