//! [`FrameWalk`]: goes from frame to frame through a segment and tells padding from loss.

use crate::format::{FRAME_HEADER_BYTES, FrameHeader, Salt};
use crate::window::Window;
use crate::{Error, Seq, SeqRange};

/// Frames begin at multiples of this.
const ALIGNMENT: u64 = 8;
const STRIDE: usize = 64 << 10;
const MAGIC: [u8; 4] = *b"LFRM";

/// Where a walk stands: behind a frame whose successor should begin with `expected`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameWalk {
    salt: Salt,
    /// First offset not looked at.
    offset: u64,
    expected: Seq,
    /// Last byte that was not zero in what belongs to no frame.
    last_stray: Option<u64>,
}

/// A valid frame, and what lay before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundFrame {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
    pub(crate) hole: Option<Hole>,
}

/// Bytes between two frames that are not the zeros of padding, or between which seqs are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Where the next frame should have been.
    pub(crate) offset: u64,
    /// The seqs missing; empty where only padding was hit.
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

    /// The bytes of the frame's records, from the window that found it.
    pub(crate) fn body<'a>(&self, window: &'a Window) -> &'a [u8] {
        self.bytes(window).get(FRAME_HEADER_BYTES..).unwrap_or_default()
    }
}

impl FrameWalk {
    /// A walk from `offset` on, where a frame with the seq `expected`, or padding before it, should stand.
    pub(crate) const fn new(salt: Salt, offset: u64, expected: Seq) -> Self {
        Self { salt, offset, expected, last_stray: None }
    }

    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) const fn expected(&self) -> Seq {
        self.expected
    }

    /// Gives up what is missing before `seq`: it was told.
    pub(crate) fn skip_to(&mut self, seq: Seq) {
        self.expected = self.expected.max(seq);
    }

    /// The last byte so far that is not zero and belongs to no frame.
    pub(crate) const fn last_stray(&self) -> Option<u64> {
        self.last_stray
    }

    /// The next valid frame below the window's limit, which the window then holds whole; `None` where there is none.
    ///
    /// What lies between is searched once, in steps of eight bytes: a candidate costs its header's CRC, and only
    /// one whose header is right costs its body's.
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
        // Seqs only rise: a frame from further back cannot be right here, whatever its CRC says.
        if header.follows() < self.expected || at.saturating_add(header.len()) > window.limit() {
            return Ok(None);
        }
        let frame = window.get(at, header.len() as usize)?;
        let body = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let whole = frame.len() as u64 == header.len();
        Ok((whole && header.matches_body(body, self.salt, at)).then_some(header))
    }

    /// The next offset behind `at` where a frame might begin; notes every byte passed that is not zero.
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
