//! [`KeyIndex`]: which keys the retained segments hold, and under which seqs.
//!
//! The keys of the active segment are in memory. Those of a sealed one are in a file next to it. Only a filter of ten bits a
//! key is held of that file, and only after the first lookup: a recorder that creates its own ids never looks one up.

use std::collections::HashMap;
use std::io;

use crate::chain::Link;
use crate::directory::Directory;
use crate::format::{ContentEnd, Key, KeyFilter, KeysHeader, Salt, SegmentHeader, SegmentName};
use crate::limits::BLOCK_BYTES;
use crate::segment_end::segment_end;
use crate::seq::RangeSet;
use crate::storage::{Access, StorageFile, open_new, read_full};
use crate::walk::for_each_record;
use crate::{Error, Seq};

/// The keys read from one segment, and its salt.
type SegmentKeys = (Salt, Vec<(Key, Seq)>);

#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    active: HashMap<Key, Seq>,
    /// `active` lacks the keys before this offset: the segment was opened without being read.
    active_unread_to: Option<u64>,
    /// Keys of the other segments, by segment; `None` before the first lookup.
    sealed: Option<Vec<SealedKeys>>,
}

/// The keys of one sealed segment.
#[derive(Debug)]
struct SealedKeys {
    name: SegmentName,
    /// The seq after the segment's last record.
    end: Seq,
    filter: KeyFilter,
    /// `None` while it cannot be written: a lookup then reads the segment itself.
    file: Option<KeysFile>,
}

/// The file of a sealed segment's keys. It is opened for each lookup that passes the filter: there may be more segments than
/// a process may have files open.
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
        // A trusted key may be appended twice: the first record counts.
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

    /// Moves the keys of the active segment, which was sealed, to a file.
    pub(crate) fn seal(&mut self, directory: &Directory, header: &SegmentHeader, end: Seq) {
        self.split(directory, header, end);
        self.active.clear();
        self.active_unread_to = None;
    }

    /// Moves the keys before `end`, where the active segment ended; later keys belong to its successor.
    pub(crate) fn split(&mut self, directory: &Directory, header: &SegmentHeader, end: Seq) {
        if end == header.name.base {
            return;
        }
        if let Err(error) = self.read_active(directory, header) {
            // The next lookup reads them from the segment.
            tracing::debug!(%error, "keys: the segment cannot be read; the next lookup tries again");
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

    /// Removes the keys of unlinked segments: they may be used again.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(SegmentName) -> bool) {
        if let Some(sealed) = &mut self.sealed {
            sealed.retain(|keys| !is_gone(keys.name));
        }
    }

    fn read_active(&mut self, directory: &Directory, header: &SegmentHeader) -> Result<(), Error> {
        let Some(end) = self.active_unread_to else {
            return Ok(());
        };
        let keys =
            read_keys(directory, header.name, ContentEnd { offset: end, seq: Seq(u64::MAX) })?;
        for (key, seq) in keys.map(|(_, keys)| keys).unwrap_or_default() {
            self.active.entry(key).or_insert(seq);
        }
        self.active_unread_to = None;
        Ok(())
    }
}

impl SealedKeys {
    /// Writes the keys of a segment, which are sorted, to its file.
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
                    tracing::warn!(file, %error, "keys: the file is damaged; it is written again from the segment");
                    self.file = None;
                }
            }
        }
        let end = ContentEnd { offset: u64::MAX, seq: self.end };
        let Some((salt, keys)) = read_keys(directory, self.name, end)? else {
            return Ok(None);
        };
        self.file = write_keys(directory, salt, self.name, &keys);
        let found = keys.binary_search_by(|(found, _)| found.cmp(key));
        Ok(found.ok().and_then(|index| keys.get(index)).map(|(_, seq)| *seq))
    }
}

impl KeysFile {
    /// Opens a segment's file of keys and reads its filter; `None` if it is missing or damaged.
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
        } else if let Some((salt, keys)) =
            read_keys(directory, name, ContentEnd { offset: end.offset, seq: end.seq })?
        {
            sealed.push(SealedKeys::write(directory, salt, name, end.seq, &keys));
        }
    }
    Ok(sealed)
}

/// Reads the keys of a segment before `end`, sorted; `None` if it cannot be read at all.
fn read_keys(
    directory: &Directory,
    name: SegmentName,
    end: ContentEnd,
) -> Result<Option<SegmentKeys>, Error> {
    let Some(segment) = directory.open_segment(name, Access::Read)? else { return Ok(None) };
    let Ok(read) = &segment.header else { return Ok(None) };
    let mut keys = Vec::new();
    for_each_record(&segment, end.offset.min(segment.len), |record| {
        keys.extend(record.key.filter(|_| record.seq < end.seq).map(|key| (key, record.seq)));
    })?;
    keys.sort_unstable();
    // If a trusted key was appended twice, the first record counts.
    keys.dedup_by_key(|(key, _)| *key);
    Ok(Some((read.header.salt, keys)))
}

/// Writes the file of a segment's keys; `None` if that fails: the next lookup tries again.
fn write_keys(
    directory: &Directory,
    salt: Salt,
    name: SegmentName,
    keys: &[(Key, Seq)],
) -> Option<KeysFile> {
    let path = directory.keys(name);
    let bytes = KeysHeader::encode_file(salt, name, keys);
    // Under a temporary name first: a copy may share the old file.
    let temporary = path.with_extension("keys.tmp");
    let written = open_new(&*directory.storage, &temporary)
        .and_then(|file| file.write_at(&bytes, 0))
        .and_then(|()| directory.storage.rename(&temporary, &path));
    if let Err(error) = written {
        tracing::debug!(path = %path.display(), %error, "keys: a write failed; the next lookup tries again");
        // Half a file would only take space.
        let _ = directory.storage.remove(&temporary);
        return None;
    }
    KeysFile::open(directory, salt, name).map(|(file, _)| file)
}
