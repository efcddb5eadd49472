//! [`Comparison`]: one file beside what the journal makes of its day, a piece at a time.
//!
//! As long as nothing was lost, bytes are compared with bytes. Where the journal has lost records the file may hold
//! entries whose records are lost: these are passed over, whole entries only.

use crate::printable;
use std::collections::HashMap;
use std::path::Path;

use lenslog_engine::ProjectionError;
use lenslog_journal::storage::{StorageFile, read_full};

use super::format::Format;
use super::limits::{COMPARED_BYTES, PASSED_MAX, SEARCHED_BYTES_MAX, SHOWN_CHARS_MAX};
use super::tail::common_prefix;

/// How far one file was compared.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The length that the checkpoint lists; `None` where it lists no such file.
    listed: Option<u64>,
    /// What was compared and is equal.
    compared: u64,
    /// Ends of lines in that.
    lines: u64,
    /// Expected, and not compared yet.
    expected: Vec<u8>,
    /// An entry was expected before.
    begun: bool,
    /// Entries that were passed over, by their keys.
    passed: HashMap<u64, u32>,
    /// What differs first.
    pub(super) difference: Option<String>,
}

/// The open file, and its path for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened<'o> {
    pub(super) file: &'o dyn StorageFile,
    pub(super) path: &'o Path,
}

impl Opened<'_> {
    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ProjectionError> {
        let mut bytes = vec![0; len];
        let filled = read_full(self.file, &mut bytes, offset)
            .map_err(ProjectionError::retry("cannot read", self.path))?;
        bytes.truncate(filled);
        Ok(bytes)
    }
}

impl Comparison {
    pub(super) fn new(listed: Option<u64>) -> Self {
        Self {
            listed,
            compared: 0,
            lines: 0,
            expected: Vec::new(),
            begun: false,
            passed: HashMap::new(),
            difference: None,
        }
    }

    /// Takes the next entry that should be in the file; says how many bytes wait to be compared.
    pub(super) fn expect<F: Format>(&mut self, entry: &[u8]) -> usize {
        if self.difference.is_some() {
            return 0;
        }
        if self.begun {
            self.expected.extend_from_slice(F::SEPARATOR);
        }
        self.begun = true;
        self.expected.extend_from_slice(entry);
        self.expected.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.expected.len()
    }

    /// Compares everything that waits. `None`: the file is not there.
    pub(super) fn compare(&mut self, opened: Option<Opened<'_>>) -> Result<(), ProjectionError> {
        let expected = std::mem::take(&mut self.expected);
        if self.difference.is_some() || expected.is_empty() {
            return Ok(());
        }
        let Some(listed) = self.listed else {
            self.differs("the journal has entries for it, the checkpoint does not list it");
            return Ok(());
        };
        let Some(opened) = opened else {
            self.differs("it was deleted");
            return Ok(());
        };
        for piece in expected.chunks(COMPARED_BYTES) {
            let within = (listed - self.compared).min(piece.len() as u64) as usize;
            let found = opened.read(self.compared, within)?;
            let same = common_prefix(&found, piece);
            if same < piece.len() {
                let (before, rest) = piece.split_at(same);
                self.lines += ends_of_lines(before);
                self.compared += same as u64;
                if found.len() < within && same == found.len() {
                    self.differs(&format!(
                        "it ends at byte {}, the checkpoint lists {listed}",
                        self.compared
                    ));
                } else {
                    self.differs_at(opened, rest, before)?;
                }
                return Ok(());
            }
            self.lines += ends_of_lines(piece);
            self.compared += piece.len() as u64;
        }
        Ok(())
    }

    /// Compares one entry, where the journal has lost records before it. An `optional` one may be missing.
    pub(super) fn compare_loosely<F: Format>(
        &mut self,
        opened: Option<Opened<'_>>,
        entry: &[u8],
        optional: bool,
    ) -> Result<(), ProjectionError> {
        self.begun = true;
        let (Some(listed), Some(opened)) = (self.listed, opened) else {
            if !optional && self.difference.is_none() {
                self.differs("the journal has entries for it, it does not exist");
            }
            return Ok(());
        };
        if self.difference.is_some() {
            return Ok(());
        }
        if self.follows::<F>(opened, listed, entry)? {
            return Ok(());
        }
        let key = F::key(entry);
        let mut searched = COMPARED_BYTES;
        loop {
            let within = (listed - self.compared).min(searched as u64) as usize;
            let found = opened.read(self.compared, within)?;
            let entries = F::entries(&found);
            if let Some(place) = entries.iter().position(|known| F::key(known) == key) {
                for passed in &entries[..place] {
                    if self.passed.len() < PASSED_MAX {
                        *self.passed.entry(F::key(passed)).or_default() += 1;
                    }
                }
                let end = end_within(&found, entries[place]);
                self.lines += ends_of_lines(&found[..end]);
                self.compared += end as u64;
                return Ok(());
            }
            if within < searched || searched >= SEARCHED_BYTES_MAX {
                break;
            }
            searched *= 4;
        }
        if let Some(count) = self.passed.get_mut(&key).filter(|count| **count > 0) {
            *count -= 1;
        } else if !optional {
            let line = clipped(entry);
            self.differs(&format!("behind line {} there is no '{line}'", self.lines));
        }
        Ok(())
    }

    /// Whether an entry is exactly what comes next in the file, as nearly all are; passes it then.
    fn follows<F: Format>(
        &mut self,
        opened: Opened<'_>,
        listed: u64,
        entry: &[u8],
    ) -> Result<bool, ProjectionError> {
        let separator = if self.compared > 0 { F::SEPARATOR } else { b"" };
        let len = separator.len() + entry.len();
        if listed - self.compared < len as u64 {
            return Ok(false);
        }
        let found = opened.read(self.compared, len)?;
        let is_same = found.strip_prefix(separator).is_some_and(|rest| rest == entry);
        if is_same {
            self.lines += ends_of_lines(&found);
            self.compared += len as u64;
        }
        Ok(is_same)
    }

    /// Judges what lies behind everything that was expected; `is_loose` where the journal has lost records.
    pub(super) fn end(
        &mut self,
        opened: Option<Opened<'_>>,
        is_loose: bool,
    ) -> Result<(), ProjectionError> {
        self.compare(opened)?;
        let Some(listed) = self.listed.filter(|_| self.difference.is_none()) else { return Ok(()) };
        let more = listed - self.compared;
        if more == 0 || is_loose {
            return Ok(());
        }
        match opened {
            None => self.differs("it was deleted"),
            Some(opened) => {
                let found = opened.read(self.compared, 4 * SHOWN_CHARS_MAX)?;
                let begin = found.iter().position(|byte| *byte != b'\n').unwrap_or_default();
                let skipped = ends_of_lines(&found[..begin]);
                let (line, offset) = (self.lines + skipped + 1, self.compared + begin as u64);
                self.differs(&format!(
                    "line {line} (byte {offset}) and {more} bytes in all are not in the journal: '{}'",
                    clipped(&found[begin..])
                ));
            }
        }
        Ok(())
    }

    /// Notes that the file differs at the end of what was compared, where `expected` should follow.
    fn differs_at(
        &mut self,
        opened: Opened<'_>,
        expected: &[u8],
        before: &[u8],
    ) -> Result<(), ProjectionError> {
        // The line is shown from its beginning, as far as that is near.
        let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let begin = begin.max(before.len().saturating_sub(SHOWN_CHARS_MAX / 4));
        let back = &before[begin..];
        let listed = self.listed.unwrap_or_default();
        let within = (listed - self.compared).min(4 * SHOWN_CHARS_MAX as u64) as usize;
        let found = [back, &opened.read(self.compared, within)?].concat();
        let (line, offset) = (self.lines + 1, self.compared);
        let found = if within == 0 && back.is_empty() {
            "the listed length ends".to_owned()
        } else {
            format!("it is '{}'", clipped(&found))
        };
        let expected = clipped(&[back, expected].concat());
        self.differs(&format!("line {line} (byte {offset}): {found}, expected '{expected}'"));
        Ok(())
    }

    fn differs(&mut self, words: &str) {
        self.difference = Some(words.to_owned());
    }
}

fn ends_of_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Where a part of `bytes` ends in it.
fn end_within(bytes: &[u8], part: &[u8]) -> usize {
    let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
    start + part.len()
}

/// The first line of a text that is not empty, short and harmless.
fn clipped(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').find(|line| !line.is_empty()).unwrap_or_default();
    printable(&String::from_utf8_lossy(line), SHOWN_CHARS_MAX)
}
