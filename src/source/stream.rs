//! [`PictureStream`], the frames of a live stream of JPEG pictures, whatever it comes from.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use lenslog_journal::Clock;

use super::decode::StreamDecoder;
use super::mjpeg::{MjpegReader, Piece};
use super::patience::Patience;
use super::problem::PictureFault;
use super::rhythm::Rhythm;
use super::{FRAME_BYTES_MAX, FrameProblem, FrameRate, SourceItem};
use crate::frame::Frame;

/// Reads JPEG pictures one after another as they come, and decodes those whose turn has come. What stands between
/// them, such as the headers of a multipart stream, is skipped.
#[derive(Debug)]
pub(super) struct PictureStream<R> {
    name: String,
    reader: MjpegReader<R>,
    decoder: StreamDecoder,
    rhythm: Rhythm,
    patience: Patience,
    clock: StreamClock,
    number: u64,
}

/// What dates the frames.
pub(super) struct StreamClock(pub(super) Arc<dyn Clock>);

impl std::fmt::Debug for StreamClock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StreamClock")
    }
}

impl<R: Read> PictureStream<R> {
    /// Reads `reader`, which returns when `patience` is at an end. `name` is for messages.
    pub(super) fn new(
        name: String,
        reader: R,
        fps: FrameRate,
        patience: Patience,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            name,
            reader: MjpegReader::new(reader, FRAME_BYTES_MAX),
            decoder: StreamDecoder::default(),
            rhythm: Rhythm::new(fps),
            patience,
            clock: StreamClock(clock),
            number: 0,
        }
    }

    /// The next frame or problem; `None` at the end of the stream.
    pub(super) fn next_item(&mut self) -> io::Result<Option<SourceItem>> {
        loop {
            self.patience.check()?;
            let Some(piece) = self.reader.next_piece()? else { return Ok(None) };
            match piece {
                Piece::Picture { bytes, .. } => {
                    self.patience.renew();
                    if self.rhythm.is_due(Some(Instant::now())) {
                        return Ok(Some(self.frame(&bytes)));
                    }
                }
                Piece::Fault { fault: PictureFault::Garbage { .. }, .. } => {}
                Piece::Fault { offset, fault } => {
                    return Ok(Some(self.problem(Some(offset), fault)));
                }
            }
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> SourceItem {
        let time = self.clock.0.read().wall;
        let number = self.number;
        self.number += 1;
        match self.decoder.decode(bytes) {
            Ok(picture) => {
                SourceItem::Frame(Frame { number, time, picture, dropped_before: 0, origin: None })
            }
            Err(fault) => self.problem(None, fault),
        }
    }

    fn problem(&self, offset: Option<u64>, fault: PictureFault) -> SourceItem {
        SourceItem::Problem(FrameProblem { place: self.name.clone(), offset, fault })
    }
}
