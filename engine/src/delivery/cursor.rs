//! [`DeliveryCursor`]: the file of a delivery. It says how far the delivery is, what is open, and what is parked.

use std::io;
use std::path::Path;

use lenslog_journal::storage::{Storage, read_file, replace_file};
use lenslog_journal::{JournalView, Position, Seq};
use serde::{Deserialize, Serialize};

use crate::sealed::{self, seal_json, unseal_json};

/// Limit on the messages that wait to be sent again. With so many, a delivery waits for the first of them.
pub const OPEN_MAX: usize = 1000;
/// Limit on parked messages. With so many, a delivery waits for the operator.
pub const PARKED_MESSAGES_MAX: usize = 1000;
/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 200;
/// Records that are remembered to find where a restored copy differs.
const MARKS_MAX: usize = 32;
const FILE_BYTES_MAX: usize = 4 << 20;

/// How far a delivery is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryCursor {
    #[serde(with = "sealed::id")]
    pub(super) journal: [u8; 16],
    #[serde(with = "sealed::id")]
    pub(super) incarnation: [u8; 16],
    /// Everything before it is delivered, open, parked or reported as a gap.
    #[serde(with = "sealed::position")]
    pub(super) position: Position,
    pub(super) open: Vec<OpenMessage>,
    pub(super) parked: Vec<ParkedMessage>,
    marks: Vec<Mark>,
}

/// A refused message that is sent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenMessage {
    #[serde(with = "sealed::seq")]
    pub(super) seq: Seq,
    #[serde(with = "sealed::id")]
    pub(super) digest: [u8; 16],
    pub(super) attempts: u32,
    /// When it is due, by the clock of [`Now`](super::Now); after a restart at once.
    #[serde(skip)]
    pub(super) due: std::time::Duration,
}

/// A message that was refused for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParkedMessage {
    /// Its record.
    #[serde(with = "sealed::seq")]
    pub seq: Seq,
    #[serde(with = "sealed::id")]
    pub(super) digest: [u8; 16],
    /// How often it was sent.
    pub attempts: u32,
    /// What the receiver said last.
    pub reason: String,
}

/// A record that was passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    #[serde(with = "sealed::seq")]
    seq: Seq,
    #[serde(with = "sealed::id")]
    digest: [u8; 16],
}

/// Why a cursor's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// It cannot be read or written.
    #[error("cursor {path}: {error}; make the file readable and writable")]
    Io {
        /// The file.
        path: String,
        /// The problem.
        error: io::Error,
    },
    /// Its bytes are not those that were written.
    #[error(
        "cursor {path}: the file is damaged; move it away, and the delivery begins at the head"
    )]
    Damaged {
        /// The file.
        path: String,
    },
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SenderError {
    /// The cursor's file.
    #[error(transparent)]
    DeliveryCursor(#[from] CursorError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] lenslog_journal::Error),
}

impl DeliveryCursor {
    /// A cursor at a position.
    pub(super) fn at(view: &JournalView, position: Position) -> Self {
        Self {
            journal: view.journal_id(),
            incarnation: view.incarnation(),
            position,
            open: Vec::new(),
            parked: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`CursorError`].
    pub fn read(storage: &dyn Storage, path: &Path) -> Result<Option<Self>, CursorError> {
        match read_file(storage, path, FILE_BYTES_MAX) {
            Ok(bytes) => {
                let damaged = |_| CursorError::Damaged { path: path.display().to_string() };
                unseal_json(bytes).map(Some).map_err(damaged)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(path, error)),
        }
    }

    /// Replaces the file; when it returns, the file survives a power cut.
    pub(super) fn write(&self, storage: &dyn Storage, path: &Path) -> Result<(), CursorError> {
        seal_json(self)
            .and_then(|text| replace_file(storage, path, text.as_bytes()))
            .map_err(|error| io_error(path, error))
    }

    /// Seq of the record that is sent next.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.position.next
    }

    /// Messages that wait to be sent again.
    #[must_use]
    pub const fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Messages that were refused for good, in the order of their seqs.
    #[must_use]
    pub fn parked(&self) -> &[ParkedMessage] {
        &self.parked
    }

    /// The first seq that may still have to be sent, open messages included.
    #[must_use]
    pub fn low_water(&self) -> Seq {
        let open = self.open.iter().map(|open| open.seq).min();
        open.map_or(self.position.next, |open| open.min(self.position.next))
    }

    pub(super) fn park(&mut self, seq: Seq, digest: [u8; 16], attempts: u32, reason: &str) {
        let reason = reason.chars().take(REASON_CHARS_MAX).collect();
        let at = self.parked.partition_point(|parked| parked.seq < seq);
        self.parked.insert(at, ParkedMessage { seq, digest, attempts, reason });
    }

    /// Moves the position. Remembers the record before it: all of the newest ones, fewer of older ones.
    pub(super) fn advance(&mut self, position: Position) {
        if let Some(last) = &position.last
            && self.marks.last().is_none_or(|mark| mark.seq < last.seq)
        {
            self.marks.push(Mark { seq: last.seq, digest: last.digest });
            if self.marks.len() > MARKS_MAX {
                self.forget_one();
            }
        }
        self.position = position;
    }

    /// Forgets the mark whose neighbours are nearest to each other, measured by their distance from the newest one.
    fn forget_one(&mut self) {
        let Some(newest) = self.marks.last().map(|mark| mark.seq.0) else { return };
        let distance = |index: usize| newest - self.marks.get(index).map_or(0, |mark| mark.seq.0);
        let density = |index: &usize| {
            let (before, after) = (distance(index - 1), distance(index + 1));
            // What is lost is how much farther back a search has to go.
            (before - after) * 1000 / (after + 1)
        };
        let inner = 1..self.marks.len() - 1;
        if let Some(index) = inner.min_by_key(density) {
            self.marks.remove(index);
        }
    }

    /// After a restored copy took the journal's place: the newest remembered record that is in it.
    pub(super) fn common(
        &mut self,
        view: &JournalView,
    ) -> Result<Option<Seq>, lenslog_journal::Error> {
        while let Some(mark) = self.marks.last() {
            match view.get(mark.seq) {
                Ok(Some(record)) if record.as_record().digest() == mark.digest => {
                    return Ok(Some(mark.seq));
                }
                Ok(_)
                | Err(lenslog_journal::Error::Pruned { .. } | lenslog_journal::Error::Lost(_)) => {}
                Err(error) => return Err(error),
            }
            self.marks.pop();
        }
        Ok(None)
    }
}

fn io_error(path: &Path, error: io::Error) -> CursorError {
    CursorError::Io { path: path.display().to_string(), error }
}
