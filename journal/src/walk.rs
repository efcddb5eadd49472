//! [`FrameWalk`]: goes from frame to frame through a segment and distinguishes padding from loss.

use std::sync::Arc;

use crate::directory::OpenSegment;
use crate::format::{
    FRAME_HEADER_BYTES, FRAMES_OFFSET, FrameHeader, Record, RecordsCursor, Salt, SegmentHeader,
};
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

/// Frames begin at multiples of this.
const ALIGNMENT: u64 = 8;
const STRIDE: usize = 64 << 10;
const MAGIC: [u8; 4] = *b"LFRM";

/// The state of a walk: after a frame whose successor should begin with `expected`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameWalk {
    salt: Salt,
    /// First offset not read yet.
    offset: u64,
    expected: Seq,
    /// Last byte outside of all frames that was not zero.
    last_stray: Option<u64>,
}

/// A valid frame, and the hole before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundFrame {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
    pub(crate) hole: Option<Hole>,
}

/// Damage between two frames: bytes that are not the zeros of padding, or missing seqs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Where the next frame should have been.
    pub(crate) offset: u64,
    /// The missing seqs; empty if only padding is damaged.
    pub(crate) lost: SeqRange,
}

impl FoundFrame {
    pub(crate) const fn end(&self) -> u64 {
        self.offset + self.header.len()
    }

    /// The frame's bytes, from the window that found it.
    pub(crate) fn bytes<'a>(&self, window: &'a Window) -> &'a [u8] {
        window.held(self.offset, self.header.len() as usize)
    }

    /// Calls `each` for every record of the frame, from the window that found it.
    pub(crate) fn for_each_record(&self, window: &Window, mut each: impl FnMut(&Record<'_>)) {
        let body = self.body(window);
        let mut cursor = RecordsCursor::new(self.header.first_seq);
        while let Some(record) = cursor.next(body) {
            each(&record);
        }
    }

    /// The bytes of the frame's records, from the window that found it.
    pub(crate) fn body<'a>(&self, window: &'a Window) -> &'a [u8] {
        self.bytes(window).get(FRAME_HEADER_BYTES..).unwrap_or_default()
    }
}

impl FrameWalk {
    /// A walk from `offset` on, where a frame with the seq `expected`, or padding before it, should be.
    pub(crate) const fn new(salt: Salt, offset: u64, expected: Seq) -> Self {
        Self { salt, offset, expected, last_stray: None }
    }

    /// A walk through all frames of the segment with this header.
    pub(crate) fn of(header: &SegmentHeader) -> Self {
        Self::new(header.salt, FRAMES_OFFSET, header.start_seq())
    }

    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) const fn expected(&self) -> Seq {
        self.expected
    }

    /// Skips the missing seqs before `seq`, which were reported.
    pub(crate) fn skip_to(&mut self, seq: Seq) {
        self.expected = self.expected.max(seq);
    }

    /// The last byte so far that is not zero and belongs to no frame.
    pub(crate) const fn last_stray(&self) -> Option<u64> {
        self.last_stray
    }

    /// The next valid frame below the window's limit; the window then holds it whole.
    ///
    /// Bytes between two frames are searched once, in steps of eight: a candidate costs the CRC of its header, and only
    /// one whose header is valid costs that of its body.
    pub(crate) fn next(&mut self, window: &mut Window) -> Result<Option<FoundFrame>, Error> {
        let start = self.offset;
        let mut at = start;
        loop {
            if let Some(header) = self.frame_at(window, at)? {
                let lost = SeqRange::new(self.expected, header.follows());
                let strays = self.last_stray.is_some_and(|last| last >= start);
                let hole = (strays || !lost.is_empty()).then_some(Hole { offset: start, lost });
                self.offset = at + header.len();
                self.expected = header.end_seq();
                return Ok(Some(FoundFrame { offset: at, header, hole }));
            }
            match self.next_candidate(window, at)? {
                Some(candidate) => at = candidate,
                None => return Ok(None),
            }
        }
    }

    fn frame_at(&self, window: &mut Window, at: u64) -> Result<Option<FrameHeader>, Error> {
        let bytes = window.get(at, FRAME_HEADER_BYTES)?;
        let Some(header) = FrameHeader::decode(bytes, self.salt, at) else {
            return Ok(None);
        };
        // Seqs only rise: an earlier frame is not valid here, whatever its CRC says.
        if header.follows() < self.expected || at.saturating_add(header.len()) > window.limit() {
            return Ok(None);
        }
        let frame = window.get(at, header.len() as usize)?;
        let body = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let whole = frame.len() as u64 == header.len();
        Ok((whole && header.matches_body(body, self.salt, at)).then_some(header))
    }

    /// The next offset after `at` where a frame may begin; records every byte passed that is not zero.
    fn next_candidate(&mut self, window: &mut Window, at: u64) -> Result<Option<u64>, Error> {
        let mut base = at;
        loop {
            let chunk = window.get(base, STRIDE)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            for (index, word) in chunk.chunks(ALIGNMENT as usize).enumerate() {
                let offset = base + index as u64 * ALIGNMENT;
                if offset > at && word.starts_with(&MAGIC) {
                    return Ok(Some(offset));
                }
                if let Some(last) = word.iter().rposition(|byte| *byte != 0) {
                    self.last_stray = Some(offset + last as u64);
                }
            }
            base += chunk.len() as u64;
        }
    }
}

impl OpenSegment {
    /// A window on the bytes before `limit`.
    pub(crate) fn window(&self, limit: u64) -> Window {
        Window::new(self.path.clone(), Arc::clone(&self.file), limit)
    }
}

/// Calls `each` for every record before `limit` (an offset); for none if the header cannot be used.
pub(crate) fn for_each_record(
    segment: &OpenSegment,
    limit: u64,
    mut each: impl FnMut(&Record<'_>),
) -> Result<(), Error> {
    let Ok(read) = &segment.header else { return Ok(()) };
    let mut window = segment.window(limit);
    let mut walk = FrameWalk::of(&read.header);
    while let Some(found) = walk.next(&mut window)? {
        found.for_each_record(&window, &mut each);
    }
    Ok(())
}
