//! [`PictureStream`], the frames of a live stream of JPEG pictures, whatever it comes from.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use lenslog_journal::Clock;

use super::decode::StreamDecoder;
use super::frame_sampler::FrameSampler;
use super::mjpeg::{MjpegReader, Piece};
use super::problem::PictureFault;
use super::stall_timeout::StallTimeout;
use super::{FRAME_BYTES_MAX, FrameProblem, FrameRate, SourceItem};
use lenslog_vision::frame::Frame;

/// Reads JPEG pictures one after another as they come, and decodes those whose turn has come. What stands between
/// them, such as the headers of a multipart stream, is skipped.
#[derive(Debug)]
pub(super) struct PictureStream<R> {
    name: String,
    reader: MjpegReader<R>,
    decoder: StreamDecoder,
    frame_sampler: FrameSampler,
    stall_timeout: StallTimeout,
    clock: StreamClock,
    number: u64,
    /// Whole pictures that the reader at hand has brought.
    pictures: u64,
    /// What is wrong with the last picture, where it could not be decoded.
    fault: Option<PictureFault>,
}

/// What dates the frames.
pub(super) struct StreamClock(pub(super) Arc<dyn Clock>);

impl std::fmt::Debug for StreamClock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StreamClock")
    }
}

impl<R: Read> PictureStream<R> {
    /// Reads `reader`, which returns when `stall_timeout` is over. `name` is for messages.
    pub(super) fn new(
        name: String,
        reader: R,
        fps: FrameRate,
        stall_timeout: StallTimeout,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            name,
            reader: MjpegReader::new(reader, FRAME_BYTES_MAX),
            decoder: StreamDecoder::default(),
            frame_sampler: FrameSampler::new(fps),
            stall_timeout,
            clock: StreamClock(clock),
            number: 0,
            pictures: 0,
            fault: None,
        }
    }

    /// Goes on with the pictures of another reader of the same camera.
    pub(super) fn go_on_with(&mut self, reader: R) {
        self.reader = MjpegReader::new(reader, FRAME_BYTES_MAX);
        self.pictures = 0;
    }

    /// What the camera is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many whole pictures the reader at hand has brought, decodable or not.
    pub(super) fn pictures(&self) -> u64 {
        self.pictures
    }

    /// What is wrong with the last picture, where it could not be decoded.
    pub(super) fn fault(&self) -> Option<&PictureFault> {
        self.fault.as_ref()
    }

    /// The next frame or problem; `None` at the end of the stream.
    pub(super) fn next_item(&mut self) -> io::Result<Option<SourceItem>> {
        self.read().map_err(|error| match &self.fault {
            Some(fault) if error.kind() == io::ErrorKind::TimedOut => {
                let text =
                    format!("it sends no picture that can be decoded; the last one: {fault}");
                io::Error::new(io::ErrorKind::InvalidData, text)
            }
            _ => error,
        })
    }

    fn read(&mut self) -> io::Result<Option<SourceItem>> {
        loop {
            self.stall_timeout.check()?;
            let Some(piece) = self.reader.next_piece()? else { return Ok(None) };
            match &piece {
                Piece::Picture { .. } | Piece::Unended { .. } => {
                    self.pictures += 1;
                    // The first one was asked for when it was due.
                    if self.frame_sampler.is_due(Some(Instant::now())) || self.pictures == 1 {
                        return Ok(Some(self.frame(&piece)));
                    }
                }
                Piece::Fault { fault: PictureFault::Garbage { .. }, .. } => {}
                Piece::Fault { offset, fault } => {
                    if matches!(fault, PictureFault::OtherFormat { .. }) {
                        self.fault = Some(fault.clone());
                    }
                    return Ok(Some(self.problem(Some(*offset), fault.clone())));
                }
            }
        }
    }

    fn frame(&mut self, piece: &Piece) -> SourceItem {
        let time = self.clock.0.read().wall;
        let number = self.number;
        self.number += 1;
        let decoded = match piece {
            Piece::Picture { bytes, .. } => self.decoder.decode(bytes),
            Piece::Unended { bytes, .. } => self.decoder.decode_unended(bytes),
            Piece::Fault { fault, .. } => Err(fault.clone()),
        };
        match decoded {
            Ok(picture) => {
                // What cannot be decoded shows no one anything: a camera that sends nothing else is lost.
                self.stall_timeout.renew();
                self.fault = None;
                SourceItem::Frame(Frame {
                    number,
                    time,
                    picture,
                    dropped_before: 0,
                    origin: None,
                    claimed: None,
                })
            }
            Err(fault) => {
                self.fault = Some(fault.clone());
                self.problem(None, fault)
            }
        }
    }

    fn problem(&self, offset: Option<u64>, fault: PictureFault) -> SourceItem {
        SourceItem::Problem(FrameProblem { place: self.name.clone(), offset, fault })
    }
}

#[cfg(test)]
mod tests {
    use lenslog_journal::{SimulatedClock, Timestamp};

    use super::super::samples::jpeg;
    use super::*;
    use crate::util::CancellationToken;

    /// The same bytes again and again.
    struct Endless(Vec<u8>, usize);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in &mut *buffer {
                *byte = self.0[self.1 % self.0.len()];
                self.1 += 1;
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_camera_of_which_no_picture_can_be_decoded_is_given_up() {
        let good = jpeg(32, 24, 1);
        let scan = good.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
        let bad = [&good[..scan + 14], b"\0\0\xFF\xD9"].concat();
        for (bytes, is_given_up) in [(bad, true), (good, false)] {
            let stall_timeout = StallTimeout::new(FrameRate::MAX, CancellationToken::new());
            let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
            let mut stream = PictureStream::new(
                "x".to_owned(),
                Endless(bytes, 0),
                FrameRate::MAX,
                stall_timeout.clone(),
                clock,
            );
            let mut seen = Vec::new();
            while seen.len() < 3 {
                let item = stream.next_item().unwrap().unwrap();
                seen.push(matches!(item, SourceItem::Frame(_)));
            }
            assert_eq!(seen.iter().all(|is_frame| !is_frame), is_given_up);
            if is_given_up {
                stall_timeout.expire();
                let error = stream.next_item().unwrap_err().to_string();
                assert!(error.contains("can be decoded; the last one"), "{error}");
            }
        }
    }
}
