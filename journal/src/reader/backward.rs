//! [`BackwardReader`]: reads from the newest record to the oldest one.

use std::collections::VecDeque;

use super::ReaderOptions;
use crate::entry::{Entry, Lost};
use crate::format::OwnedRecord;
use crate::view::JournalView;
use crate::{Error, Seq};

/// Seqs that the first step backwards spans; each further one spans twice as many.
const FIRST_SPAN: u64 = 64;
/// The widest step. Without an index it is read whole.
const SPAN_MAX: u64 = 1 << 40;
/// Bytes of payloads that are kept at once; one record may be larger.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Reads records in the reverse order of their seqs, from the durable end when it began.
#[derive(Debug)]
pub struct BackwardReader {
    view: JournalView,
    options: ReaderOptions,
    /// Everything from here on was read.
    before: Seq,
    /// Nothing before it is read.
    from: Seq,
    span: u64,
    returned: u64,
    kept: VecDeque<Kept>,
    current: Option<Kept>,
}

#[derive(Debug)]
enum Kept {
    Record(OwnedRecord),
    Lost(Lost),
}

impl BackwardReader {
    pub(crate) fn new(view: JournalView, from: Seq, options: ReaderOptions) -> Result<Self, Error> {
        let (head, floor) = (view.head()?, view.floor()?);
        if from < floor && from > Seq::FIRST {
            return Err(Error::Pruned { floor });
        }
        Ok(Self {
            before: options.until.unwrap_or(head).min(head),
            view,
            options,
            from: from.max(floor),
            span: FIRST_SPAN,
            returned: 0,
            kept: VecDeque::new(),
            current: None,
        })
    }

    /// The record before the last one, or the loss between them; `None` at the beginning.
    ///
    /// # Errors
    ///
    /// The errors of [`Reader::next`](crate::Reader::next).
    #[expect(clippy::should_implement_trait, reason = "the entry borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        if self.options.limit.is_some_and(|limit| self.returned >= limit) {
            return Ok(None);
        }
        while self.kept.is_empty() && self.before > self.from {
            self.step()?;
        }
        self.current = self.kept.pop_back();
        self.returned += u64::from(matches!(self.current, Some(Kept::Record(_))));
        Ok(self.current.as_ref().map(|kept| match kept {
            Kept::Record(record) => Entry::Record(record.as_record()),
            Kept::Lost(lost) => Entry::Lost(*lost),
        }))
    }

    /// Reads the seqs before those that were read, as many as one step spans, and keeps the last of them.
    fn step(&mut self) -> Result<(), Error> {
        let from = Seq(self.before.0.saturating_sub(self.span)).max(self.from);
        let options = ReaderOptions { limit: None, ..self.options.clone() }.until(self.before);
        // The floor may have risen.
        let floor = self.view.floor()?;
        if floor >= self.before {
            self.before = self.from;
            return Ok(());
        }
        let mut reader = self.view.reader(from.max(floor), options)?;
        let (mut bytes, mut begins) = (0, from);
        while let Some(entry) = reader.next()? {
            let kept = match entry {
                Entry::Record(record) => Kept::Record(record.to_owned()),
                Entry::Lost(lost) => Kept::Lost(lost),
            };
            bytes += kept.bytes();
            self.kept.push_back(kept);
            while bytes > KEPT_BYTES_MAX && self.kept.len() > 1 {
                let Some(first) = self.kept.pop_front() else { break };
                bytes -= first.bytes();
                begins = first.end();
            }
        }
        self.before = begins;
        self.span = match begins > from {
            true => FIRST_SPAN,
            false => (self.span * 2).min(SPAN_MAX),
        };
        Ok(())
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        match self {
            Self::Record(record) => record.payload.len(),
            Self::Lost(_) => 0,
        }
    }

    fn end(&self) -> Seq {
        match self {
            Self::Record(record) => record.seq.next(),
            Self::Lost(lost) => lost.range.to,
        }
    }
}
