//! [`Splitter`], the state machine that follows the structure of JPEG through a buffer.

use std::io::{self, ErrorKind, Read};

use super::Piece;
use crate::source::problem::PictureFault;

/// How much is read at once.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// Bytes between two pictures that are passed over in silence: padding, or the headers of a multipart stream.
const GAP_BYTES_QUIET_MAX: u64 = 1024;

/// A longer gap is reported in parts of about this size, so that whoever reads gigabytes of something else
/// can stop.
const GAP_BYTES_MAX: u64 = 16 << 20;

/// Payloads of segments that may carry a thumbnail begin with one of these.
const THUMBNAIL_CARRIERS: [&[u8]; 2] = [b"Exif\0", b"JFXX\0"];

const MARKER: u8 = 0xFF;
const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

/// The longest header of a scan: that of four components.
const SCAN_HEADER_BYTES_MAX: usize = 14;

/// Where the splitter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between pictures, looking for a start marker.
    Searching,
    /// Inside a picture, where a marker has to stand.
    Marker,
    /// Inside a picture, in entropy-coded data.
    Scan,
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

    /// The next piece in the buffer, `None` where more bytes are needed to tell.
    pub(super) fn advance(&mut self) -> Option<Piece> {
        loop {
            let step = match self.state {
                State::Searching => self.search(),
                State::Marker => self.at_marker(),
                State::Scan => self.scan(),
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

    /// Looks for a start marker and the marker that has to follow it.
    fn search(&mut self) -> Step {
        let rest = &self.buffer[self.position..];
        let found = rest.windows(3).position(|window| window == [MARKER, START_OF_IMAGE, MARKER]);
        let Some(index) = found else {
            self.skip_to(self.buffer.len().saturating_sub(2).max(self.position));
            if self.gap_bytes >= GAP_BYTES_MAX {
                self.after_damage = false;
                return self.take_gap(self.position).map_or(Step::NeedMore, Step::Emit);
            }
            return Step::NeedMore;
        };
        let gap = self.take_gap(self.position + index);
        self.begin(self.position);
        gap.map_or(Step::Go, Step::Emit)
    }

    /// Looks at the marker that has to stand at `position`.
    fn at_marker(&mut self) -> Step {
        if self.is_too_long() {
            return self.give_up_at_limit();
        }
        let malformed = PictureFault::Malformed { bytes: (self.position - self.start) as u64 };
        let marker = match self.buffer.get(self.position..) {
            Some([MARKER, marker, ..]) => *marker,
            Some([MARKER] | []) | None => return Step::NeedMore,
            Some(_) => return self.fail(malformed),
        };
        match marker {
            // Any number of fill bytes may stand before a marker.
            MARKER => self.position += 1,
            START_OF_IMAGE => return self.break_off(),
            END_OF_IMAGE if self.has_scan => return self.complete(),
            // Markers that stand alone: TEM and the restart markers.
            0x01 | 0xD0..=0xD7 => self.pass_marker(),
            END_OF_IMAGE => {
                self.pass_marker();
                return self.fail(malformed);
            }
            0x00 | 0x02..=0xBF => return self.fail(malformed),
            _ => match self.buffer.get(self.position + 2..self.position + 4) {
                None => return Step::NeedMore,
                Some(length) => {
                    let length = usize::from(length[0]) << 8 | usize::from(length[1]);
                    let length_max = if marker == START_OF_SCAN {
                        SCAN_HEADER_BYTES_MAX
                    } else {
                        usize::from(u16::MAX)
                    };
                    self.pass_segment(marker, length);
                    if !(2..=length_max).contains(&length) {
                        self.state = State::Marker;
                        return self.fail(malformed);
                    }
                }
            },
        }
        Step::Go
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

    /// Behind here the picture at hand cannot end within the limit.
    fn limit(&self) -> usize {
        self.start + self.picture_bytes_max.max(4) - 2
    }

    /// Whether the picture at hand has exceeded the limit. Told only once the bytes up to the limit are there,
    /// so that it does not depend on how the stream was read.
    fn is_too_long(&self) -> bool {
        self.position > self.limit() && self.buffer.len() >= self.limit()
    }

    fn begin(&mut self, at: usize) {
        self.start = at;
        self.position = at + 2;
        self.state = State::Marker;
        self.segment = None;
        self.has_scan = false;
    }

    fn pass_marker(&mut self) {
        self.position += 2;
        self.segment = None;
    }

    fn pass_segment(&mut self, marker: u8, length: usize) {
        let segment = Segment { length: self.position + 2, end: self.position + 2 + length };
        self.position = segment.end;
        self.segment = Some(segment);
        if marker == START_OF_SCAN {
            self.has_scan = true;
            self.state = State::Scan;
        }
    }

    /// The picture at hand ends at `position`, whole.
    fn complete(&mut self) -> Step {
        let picture = self.start..self.position + 2;
        let offset = self.base + picture.start as u64;
        self.resume_at(picture.end);
        if picture.end <= self.thumbnails_end {
            return Step::Go;
        }
        self.after_damage = false;
        Step::Emit(Piece::Picture { offset, bytes: self.buffer[picture].to_vec() })
    }

    /// The picture at hand ends at `position` because another one begins there.
    fn break_off(&mut self) -> Step {
        let bytes = (self.position - self.start) as u64;
        let piece = self.report(PictureFault::Truncated { bytes });
        self.begin(self.position);
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
        if THUMBNAIL_CARRIERS.iter().any(|carrier| payload.starts_with(carrier)) {
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
    }

    /// Counts the bytes up to `position` as belonging to no picture, and forgets them.
    fn skip_to(&mut self, position: usize) {
        self.gap_bytes += (position - self.start) as u64;
        self.start = position;
        self.position = position;
    }

    /// The gap that ends at `position`, where it is worth a report. What follows a damaged picture was
    /// reported with it.
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
