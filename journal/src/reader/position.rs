//! Positions of a [`Reader`]: saved with a digest of the last record, resumed through a hint.

use super::{End, Reader, ReaderOptions, Resume};
use crate::chain::Link;
use crate::entry::{Entry, FrameHint, LastRecord, Position};
use crate::format::{FRAME_HEADER_BYTES, FrameHeader, RecordsCursor, Salt};
use crate::source::Source;
use crate::storage::Access;
use crate::walk::FrameWalk;
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

impl Reader {
    pub(crate) fn resume(
        source: Source,
        position: &Position,
        options: ReaderOptions,
    ) -> Result<Resume, Error> {
        let mismatch = |reason: String| Ok(Resume::Mismatch { reason });
        let pruned = source.pruned_and_gaps()?.pruned;
        let floor = pruned.floor();
        // The record before the position is read whatever the query is.
        let first = ReaderOptions { query: None, until: None, limit: None, ..options.clone() };
        let begin = |from, options| Self::new(source.clone(), pruned.clone(), from, options);
        let Some(last) = &position.last else {
            return Ok(Resume::At(begin(position.next.max(floor), options)));
        };
        let head = source.head()?;
        if position.next > head {
            return mismatch(format!(
                "the position is at seq {}, the journal ends at {head}",
                position.next
            ));
        }
        if last.seq < floor {
            return Ok(Resume::Pruned(begin(position.next.max(floor), options)));
        }
        let mut reader = match begin(last.seq, first.clone()).at_hint(last)? {
            Some(reader) => reader,
            None => begin(last.seq, first),
        };
        match reader.next()? {
            Some(Entry::Record(record)) if record.seq == last.seq => {
                if record.digest() != last.digest {
                    return mismatch(format!("the record with seq {} is another one", last.seq));
                }
                reader.from = reader.from.max(position.next);
                reader.returned = 0;
                reader.options = options;
                return Ok(Resume::At(reader));
            }
            Some(Entry::Lost(lost)) if lost.range.contains(last.seq) => {}
            _ if pruned.covers(SeqRange::new(last.seq, last.seq.next())) => {}
            _ => return mismatch(format!("the journal has no record with seq {}", last.seq)),
        }
        Ok(Resume::At(begin(position.next, options)))
    }

    /// The position after the last record that the reader returned.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the last record has to be read again and cannot be.
    pub fn position(&mut self) -> Result<Position, Error> {
        Ok(Position { next: self.from, last: self.remember(self.last)? })
    }

    /// The position before the last record that the reader returned.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the record before has to be read again and cannot be.
    pub fn position_before_last(&mut self) -> Result<Position, Error> {
        let next = self.last.map_or(self.from, |(seq, _)| seq);
        Ok(Position { next, last: self.remember(self.before_last)? })
    }

    fn remember(&mut self, place: Option<(Seq, FrameHint)>) -> Result<Option<LastRecord>, Error> {
        let Some((seq, hint)) = place else { return Ok(None) };
        let digest = self.digest_at(seq, hint)?;
        Ok(digest.map(|digest| LastRecord { seq, digest, hint }))
    }

    /// A reader before the remembered record, if its frame is still at the hint.
    fn at_hint(mut self, last: &LastRecord) -> Result<Option<Self>, Error> {
        self.links = self.source.links_from(last.seq)?;
        let is_hinted = |link: &Link| link.name == last.hint.segment;
        let Some(index) = self.links.iter().position(is_hinted) else {
            return Ok(None);
        };
        self.open_at(index, last.seq)?;
        if let Some(current) = &mut self.current
            && matches!(current.end, End::Open)
        {
            let head = self.source.readable_end()?.durable;
            if head.segment == Some((current.name, current.salt)) {
                current.window.set_limit(head.offset);
            }
        }
        let Some(current) = &mut self.current else {
            return Ok(None);
        };
        let bytes = current.window.get(last.hint.offset, FRAME_HEADER_BYTES)?;
        let header = FrameHeader::decode(bytes, current.salt, last.hint.offset);
        let Some(header) =
            header.filter(|header| header.first_seq <= last.seq && last.seq < header.end_seq())
        else {
            return Ok(None);
        };
        current.walk = FrameWalk::new(current.salt, last.hint.offset, header.follows());
        current.digest = None;
        self.lost = None;
        Ok(Some(self))
    }

    fn digest_at(&mut self, seq: Seq, hint: FrameHint) -> Result<Option<[u8; 16]>, Error> {
        if let Some(current) = self.current.as_ref().filter(|current| current.name == hint.segment)
        {
            // The window itself does not move: the current frame is in it.
            let (window, salt) = (&current.window, current.salt);
            let held = window.held(hint.offset, FRAME_HEADER_BYTES);
            let len = FrameHeader::decode(held, salt, hint.offset).map_or(0, |header| header.len());
            let held = digest_of(window.held(hint.offset, len as usize), salt, seq, hint.offset);
            return match (held, window.apart()) {
                (None, Some(mut apart)) => digest_in(&mut apart, salt, seq, hint.offset),
                (held, _) => Ok(held),
            };
        }
        let directory = self.source.directory();
        let Some(segment) = directory.open_segment(hint.segment, Access::Read)? else {
            return Ok(None);
        };
        let Ok(read) = segment.header else {
            return Ok(None);
        };
        let mut window = Window::new(segment.path, segment.file, segment.len);
        digest_in(&mut window, read.header.salt, seq, hint.offset)
    }
}

/// The digest of a record in the frame at `offset`.
fn digest_in(
    window: &mut Window,
    salt: Salt,
    seq: Seq,
    offset: u64,
) -> Result<Option<[u8; 16]>, Error> {
    let Some(header) = FrameHeader::decode(window.get(offset, FRAME_HEADER_BYTES)?, salt, offset)
    else {
        return Ok(None);
    };
    Ok(digest_of(window.get(offset, header.len() as usize)?, salt, seq, offset))
}

/// The digest of a record in a frame; `None` if `frame` does not hold all of it.
fn digest_of(frame: &[u8], salt: Salt, seq: Seq, offset: u64) -> Option<[u8; 16]> {
    let header = FrameHeader::decode(frame, salt, offset)?;
    let body = frame.get(FRAME_HEADER_BYTES..header.len() as usize)?;
    let mut cursor = RecordsCursor::new(header.first_seq);
    std::iter::from_fn(|| cursor.next(body)).find(|record| record.seq == seq).map(|r| r.digest())
}
