//! [`MjpegReader`], which splits a stream of concatenated JPEG or PNG pictures, in bounded memory.
//!
//! It follows the structure of JPEG (markers, segment lengths, byte stuffing) instead of looking for the end
//! marker, so a thumbnail inside a picture is not taken for one, and what stands between pictures is skipped.
//! It is no stricter than the decoder that follows: a picture may have zeros between its segments, and lack its end
//! marker. It decodes nothing.

mod leniency;
mod marker;
mod png;
mod splitter;
mod start;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use super::problem::PictureFault;
use splitter::Splitter;

/// A stretch of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// One whole picture, from its start marker to its end marker. Zeros between its segments are left out.
    Picture {
        /// Where it begins in the stream.
        offset: u64,
        /// The picture.
        bytes: Vec<u8>,
    },
    /// A picture in whose data the stream ends, or the next picture begins. Only a decoder can say whether it is whole.
    Unended {
        /// Where it begins in the stream.
        offset: u64,
        /// The picture, with an end marker.
        bytes: Vec<u8>,
    },
    /// Something that is not a whole picture, and was skipped.
    Fault {
        /// Where it begins in the stream.
        offset: u64,
        /// What is wrong with it.
        fault: PictureFault,
    },
}

/// Splits the stream of `reader` into pictures.
///
/// A picture is handed out as soon as its last byte was read, so the reader may be a pipe. Memory stays below
/// the limit on one picture and a few times what is read at once.
#[derive(Debug)]
pub(crate) struct MjpegReader<R> {
    reader: R,
    splitter: Splitter,
    ended: bool,
}

impl<R: Read> MjpegReader<R> {
    /// Splits `reader`; pictures longer than `picture_bytes_max` are skipped.
    pub(crate) fn new(reader: R, picture_bytes_max: usize) -> Self {
        Self { reader, splitter: Splitter::new(picture_bytes_max), ended: false }
    }

    /// The next piece, `None` at the end of the stream. After an error, which is the reader's, it may be
    /// called again.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.splitter.advance() {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(self.splitter.finish());
            }
            self.ended = self.splitter.fill(&mut self.reader)? == 0;
        }
    }

    /// How many bytes of the stream were read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.splitter.base + self.splitter.buffer.len() as u64
    }
}
