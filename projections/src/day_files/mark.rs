//! [`Mark`]: the length of a file and the checksum of its content.

use std::io;

use lenslog_journal::storage::{StorageFile, read_full};
use serde::{Deserialize, Serialize};

use super::limits::COMPARED_BYTES;

/// A length, and the CRC of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) len: u64,
    pub(super) crc: u32,
}

impl Mark {
    /// The mark behind `bytes` that follow.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.crc);
        hasher.update(bytes);
        Self { len: self.len + bytes.len() as u64, crc: hasher.finalize() }
    }
}

/// Length and CRC of the first `len` bytes; of fewer where there are not so many.
pub(super) fn mark_of(file: &dyn StorageFile, len: u64) -> io::Result<Mark> {
    let mut mark = Mark::default();
    let mut buffer = vec![0; COMPARED_BYTES];
    while mark.len < len {
        let wanted = (len - mark.len).min(COMPARED_BYTES as u64) as usize;
        let filled = read_full(file, &mut buffer[..wanted], mark.len)?;
        if filled == 0 {
            break;
        }
        mark = mark.after(&buffer[..filled]);
    }
    Ok(mark)
}
