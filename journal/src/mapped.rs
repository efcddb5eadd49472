//! Memory-maps sealed segments for reading: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "mapping a file is unsafe by nature; see the SAFETY comment")]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// The first bytes of a file, mapped into memory.
#[derive(Debug)]
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps the first `len` bytes of `file`, which no process may write or truncate while the mapping exists.
    pub(crate) fn new(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: the mapping is read-only and private to this process. It maps sealed segments only, which
        // this program never writes or cuts again; a program that cuts one all the same ends this process with
        // SIGBUS, which is why the recorder reads with pread and only short-lived tools ask for mappings.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        map.advise(memmap2::Advice::Sequential)?;
        Ok(Self(map))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
