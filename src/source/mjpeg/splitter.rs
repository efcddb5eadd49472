//! [`Splitter`], the state machine that follows the structure of JPEG and PNG through a buffer.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

use super::Piece;
use super::leniency::{self, Zeros};
use super::marker::{self, END_OF_IMAGE, MARKER, Marker};
use super::png::{self, Chunk};
use super::start::{self, Start};
use crate::source::decode::{JPEG_MAGIC, PNG_MAGIC};
use crate::source::format::{self, SIGNATURE_BYTES};
use crate::source::problem::PictureFault;

/// How much is read at once.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// Bytes between two pictures that are passed over in silence: padding, or the headers of a multipart stream.
const GAP_BYTES_QUIET_MAX: u64 = 1024;

/// A longer gap is reported in parts of about this size, so that the caller can stop.
const GAP_BYTES_MAX: u64 = 16 << 20;

/// Most runs of zeros between the segments of a picture.
const PADDINGS_MAX: usize = 64;

/// Where the splitter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between pictures, looking for a start marker.
    Searching,
    /// Inside a picture, where a marker has to stand.
    Marker,
    /// Inside a picture, in entropy-coded data.
    Scan,
    /// Inside a PNG picture, where a chunk has to begin.
    Chunk,
}

/// A segment that the picture at hand claims to have.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Where its length stands, in two bytes; the payload follows.
    length: usize,
    /// Where the next marker has to stand.
    end: usize,
}

/// Splits what is filled into its buffer. All positions are indices into `buffer`.
#[derive(Debug)]
pub(super) struct Splitter {
    pub(super) buffer: Vec<u8>,
    /// Offset of the buffer's first byte in the stream.
    pub(super) base: u64,
    picture_bytes_max: usize,
    state: State,
    /// Where the picture at hand begins; while searching, where the search began.
    start: usize,
    /// The next byte to look at. A segment that is still to be read lies between the buffer's end and here.
    position: usize,
    /// The last segment of the picture at hand: the one to doubt if no marker follows it.
    segment: Option<Segment>,
    has_scan: bool,
    /// Where the picture at hand has zeros between its segments.
    paddings: Vec<Range<usize>>,
    /// A picture that ends before here is a thumbnail of a damaged one.
    thumbnails_end: usize,
    /// Bytes that belong to no picture, before `start`.
    gap_bytes: u64,
    /// Whether the search began in a damaged picture, whose report covers the gap.
    after_damage: bool,
}

impl Splitter {
    /// An empty buffer; pictures longer than `picture_bytes_max` are skipped.
    pub(super) fn new(picture_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            base: 0,
            picture_bytes_max,
            state: State::Searching,
            start: 0,
            position: 0,
            segment: None,
            has_scan: false,
            paddings: Vec::new(),
            thumbnails_end: 0,
            gap_bytes: 0,
            after_damage: false,
        }
    }

    /// Reads a chunk to the buffer's end, after forgetting what lies before `start`. Returns its length, 0 at
    /// the end of the stream.
    pub(super) fn fill(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.base += self.start as u64;
        self.position -= self.start;
        self.thumbnails_end = self.thumbnails_end.saturating_sub(self.start);
        if let Some(segment) = &mut self.segment {
            segment.length -= self.start;
            segment.end -= self.start;
        }
        for padding in &mut self.paddings {
            *padding = padding.start - self.start..padding.end - self.start;
        }
        self.start = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + READ_BYTES, 0);
        let outcome = loop {
            match reader.read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        self.buffer.truncate(length + outcome.as_ref().map_or(0, |count| *count));
        outcome
    }

    /// The next piece in the buffer, `None` where more bytes are needed.
    pub(super) fn advance(&mut self) -> Option<Piece> {
        loop {
            let step = match self.state {
                State::Searching => self.search(),
                State::Marker => self.at_marker(),
                State::Scan => self.scan(),
                State::Chunk => self.chunk(),
            };
            match step {
                Step::Go => {}
                Step::NeedMore => return None,
                Step::Emit(piece) => return Some(piece),
            }
        }
    }

    /// What is left when the stream has ended and [`Splitter::advance`] found nothing more.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        while self.state != State::Searching {
            if self.state == State::Scan && self.start >= self.thumbnails_end {
                return Some(self.take_unended(self.buffer.len()));
            }
            let bytes = (self.buffer.len() - self.start) as u64;
            // The claimed length that reaches beyond the end may be wrong, and hide whole pictures.
            if let Step::Emit(piece) = self.fail(PictureFault::Truncated { bytes }) {
                return Some(piece);
            }
            if let Some(piece) = self.advance() {
                return Some(piece);
            }
        }
        self.take_gap(self.buffer.len())
    }

    /// Looks for the start of a picture.
    fn search(&mut self) -> Step {
        let (index, is_png) = match start::find(&self.buffer[self.position..]) {
            Some(Start::Jpeg(index)) => (index, false),
            Some(Start::Png(index)) => (index, true),
            None => return self.search_on(),
        };
        // As far as is there before the start is known, so that it does not depend on how the stream was read.
        let magic = if is_png { PNG_MAGIC } else { JPEG_MAGIC };
        if let Some(step) = self.other_format(self.position + index + magic.len() - 1) {
            return step;
        }
        let gap = self.take_gap(self.position + index);
        self.begin(self.position);
        if is_png {
            (self.state, self.position) = (State::Chunk, self.start + PNG_MAGIC.len());
        }
        gap.map_or(Step::Go, Step::Emit)
    }

    /// No picture begins in the buffer. What may be the beginning of one, or of a signature, stays.
    fn search_on(&mut self) -> Step {
        if let Some(step) = self.other_format(self.buffer.len()) {
            return step;
        }
        self.skip_to((self.buffer.len() + 1).saturating_sub(SIGNATURE_BYTES).max(self.position));
        if self.gap_bytes >= GAP_BYTES_MAX {
            self.after_damage = false;
            return self.take_gap(self.position).map_or(Step::NeedMore, Step::Emit);
        }
        Step::NeedMore
    }

    /// A picture that is not read, up to `end`. Its report covers the gap that it is.
    fn other_format(&mut self, end: usize) -> Option<Step> {
        let gap = self.buffer.get(self.position..end).filter(|_| !self.after_damage)?;
        let (index, format) = format::find(gap)?;
        let offset = self.base + (self.position + index) as u64;
        self.skip_to(self.position + index);
        self.after_damage = true;
        Some(Step::Emit(Piece::Fault { offset, fault: PictureFault::OtherFormat { format } }))
    }

    /// Looks at the marker that has to stand at `position`.
    fn at_marker(&mut self) -> Step {
        if self.is_too_long() {
            return self.give_up_at_limit();
        }
        let malformed = PictureFault::Malformed { bytes: (self.position - self.start) as u64 };
        match marker::read(self.buffer.get(self.position..).unwrap_or_default()) {
            Marker::NeedMore => return Step::NeedMore,
            Marker::Fill => self.position += 1,
            Marker::Start => return self.break_off(),
            Marker::End if self.has_scan => return self.complete(),
            Marker::End => {
                self.pass_marker();
                return self.fail(malformed);
            }
            Marker::Alone => self.pass_marker(),
            Marker::Zero if !self.has_scan => return self.padding(malformed),
            Marker::Zero | Marker::Damage => return self.fail(malformed),
            Marker::Segment { length, is_scan, is_damaged } => {
                self.pass_segment(is_scan, length);
                if is_damaged {
                    self.state = State::Marker;
                    return self.fail(malformed);
                }
            }
        }
        Step::Go
    }

    /// Passes over zeros in the place of a marker.
    fn padding(&mut self, malformed: PictureFault) -> Step {
        // Where the last segment holds the beginning of a picture, the one at hand may have broken off there.
        let segment = self.segment.and_then(|segment| self.buffer.get(segment.length..segment.end));
        let is_doubtful = segment.is_some_and(|segment| segment.windows(3).any(start::is_jpeg));
        let rest = self.buffer.get(self.position..).unwrap_or_default();
        match leniency::zeros(rest, is_doubtful) {
            Zeros::NeedMore => Step::NeedMore,
            Zeros::Padding(length) if self.paddings.len() < PADDINGS_MAX => {
                self.paddings.push(self.position..self.position + length);
                self.position += length;
                self.segment = None;
                Step::Go
            }
            Zeros::Padding(_) | Zeros::Damage => self.fail(malformed),
        }
    }

    /// Passes over a chunk of PNG.
    fn chunk(&mut self) -> Step {
        if self.is_too_long() {
            return self.give_up_at_limit();
        }
        match png::chunk(self.buffer.get(self.position..).unwrap_or_default()) {
            Chunk::Inner(length) => {
                self.position = self.position.saturating_add(length);
                Step::Go
            }
            Chunk::Last(length) if self.buffer.len() - self.position >= length => {
                let picture = self.start..self.position + length;
                let offset = self.base + picture.start as u64;
                let bytes = self.buffer[picture.clone()].to_vec();
                self.resume_at(picture.end);
                self.after_damage = false;
                Step::Emit(Piece::Picture { offset, bytes })
            }
            Chunk::Last(_) | Chunk::NeedMore => Step::NeedMore,
            Chunk::Damage => {
                let bytes = (self.position - self.start) as u64;
                // It may break off in its last chunk, and the next picture follow there.
                self.position = self.start + PNG_MAGIC.len();
                self.fail(PictureFault::Malformed { bytes })
            }
        }
    }

    /// Passes over entropy-coded data, up to the marker that ends it.
    fn scan(&mut self) -> Step {
        loop {
            if self.is_too_long() {
                return self.give_up_at_limit();
            }
            let rest = self.buffer.get(self.position..).unwrap_or_default();
            if rest.is_empty() {
                return Step::NeedMore;
            }
            let Some(index) = rest.iter().position(|byte| *byte == MARKER) else {
                self.position = self.buffer.len();
                continue;
            };
            self.position += index;
            match self.buffer.get(self.position + 1) {
                None => return Step::NeedMore,
                Some(&MARKER) => self.position += 1,
                // Stuffed bytes and restart markers belong to the data. Reserved markers are damage to it, and
                // the decoder's business.
                Some(0x00..=0xBF | 0xD0..=0xD7) => self.position += 2,
                Some(_) => {
                    self.segment = None;
                    self.state = State::Marker;
                    return Step::Go;
                }
            }
        }
    }

    /// Where the picture at hand exceeds the limit.
    fn limit(&self) -> usize {
        self.start + self.picture_bytes_max.max(4) - 2
    }

    /// Whether the picture at hand is too long; once its bytes up to the limit are there, however the stream was read.
    fn is_too_long(&self) -> bool {
        self.position > self.limit() && self.buffer.len() >= self.limit()
    }

    fn begin(&mut self, at: usize) {
        self.start = at;
        self.position = at + 2;
        self.state = State::Marker;
        self.segment = None;
        self.has_scan = false;
        self.paddings.clear();
    }

    fn pass_marker(&mut self) {
        self.position += 2;
        self.segment = None;
    }

    fn pass_segment(&mut self, is_scan: bool, length: usize) {
        let segment = Segment { length: self.position + 2, end: self.position + 2 + length };
        self.position = segment.end;
        self.segment = Some(segment);
        if is_scan {
            self.has_scan = true;
            self.state = State::Scan;
        }
    }

    /// The picture at hand ends at `position`, whole.
    fn complete(&mut self) -> Step {
        let picture = self.start..self.position + 2;
        let offset = self.base + picture.start as u64;
        let (end, bytes) = (picture.end, leniency::without(&self.buffer, picture, &self.paddings));
        self.resume_at(end);
        if end <= self.thumbnails_end {
            return Step::Go;
        }
        self.after_damage = false;
        Step::Emit(Piece::Picture { offset, bytes })
    }

    /// The picture at hand, which ends at `end` without its end marker. Whether it is whole is the decoder's business.
    fn take_unended(&mut self, end: usize) -> Piece {
        let offset = self.base + self.start as u64;
        let mut bytes = leniency::without(&self.buffer, self.start..end, &self.paddings);
        bytes.truncate(leniency::length_without_text(&bytes));
        bytes.extend_from_slice(&[MARKER, END_OF_IMAGE]);
        self.resume_at(end);
        self.after_damage = false;
        Piece::Unended { offset, bytes }
    }

    /// The picture at hand ends at `position` because another one begins there.
    fn break_off(&mut self) -> Step {
        let next = self.position;
        if self.has_scan && self.start >= self.thumbnails_end {
            let piece = self.take_unended(next);
            self.begin(next);
            return Step::Emit(piece);
        }
        let bytes = (next - self.start) as u64;
        let piece = self.report(PictureFault::Truncated { bytes });
        self.begin(next);
        piece
    }

    /// Gives the picture at hand up and looks for the next one.
    ///
    /// Where a marker should have followed a segment, the segment's length is in doubt, and the search begins
    /// inside it: the start marker may have been an accident in garbage, or the picture may break off there
    /// and the next one follow.
    fn fail(&mut self, fault: PictureFault) -> Step {
        let piece = self.report(fault);
        let doubtful = self
            .segment
            .filter(|segment| self.state == State::Marker && segment.length <= self.buffer.len());
        let Some(segment) = doubtful else {
            self.resume_at(self.position.min(self.buffer.len()));
            return piece;
        };
        let payload = self.buffer.get(segment.length + 2..).unwrap_or_default();
        if leniency::may_hold_thumbnail(payload) {
            self.thumbnails_end = self.thumbnails_end.max(segment.end);
        }
        self.resume_at(segment.length);
        piece
    }

    /// Gives the picture at hand up because it is too long.
    fn give_up_at_limit(&mut self) -> Step {
        let limit = self.limit();
        let piece = self.report(PictureFault::TooManyBytes);
        self.resume_at(limit);
        piece
    }

    /// Reports the picture at hand as damaged, unless it is a thumbnail of one that was reported.
    fn report(&mut self, fault: PictureFault) -> Step {
        self.after_damage = true;
        if self.start < self.thumbnails_end {
            return Step::Go;
        }
        Step::Emit(Piece::Fault { offset: self.base + self.start as u64, fault })
    }

    fn resume_at(&mut self, position: usize) {
        self.state = State::Searching;
        self.start = position;
        self.position = position;
        self.segment = None;
        self.paddings.clear();
    }

    /// Counts the bytes up to `position` as belonging to no picture, and forgets them.
    fn skip_to(&mut self, position: usize) {
        self.gap_bytes += (position - self.start) as u64;
        self.start = position;
        self.position = position;
    }

    /// The gap that ends at `position`, where it is worth a report of its own.
    fn take_gap(&mut self, position: usize) -> Option<Piece> {
        self.skip_to(position);
        let bytes = std::mem::take(&mut self.gap_bytes);
        let known = std::mem::take(&mut self.after_damage);
        (bytes > GAP_BYTES_QUIET_MAX && !known).then(|| Piece::Fault {
            offset: self.base + position as u64 - bytes,
            fault: PictureFault::Garbage { bytes },
        })
    }
}

/// What one step of the state machine came to.
enum Step {
    /// The next step can follow.
    Go,
    /// More bytes are needed.
    NeedMore,
    /// There is something to hand out.
    Emit(Piece),
}
