//! [`FileSource`], `file:PATH`: the pictures of an MJPEG file, at times that are the same in every run.

use std::fs::File;
use std::path::{Path, PathBuf};

use lenslog_journal::Timestamp;

use super::decode::StreamDecoder;
use super::mjpeg::{MjpegReader, Piece};
use super::open::{self, Expected};
use super::pace::Pacer;
use super::{
    FRAME_BYTES_MAX, FrameProblem, FrameRate, LocalOffset, Source, SourceError, SourceItem,
};
use crate::util::CancellationToken;
use lenslog_vision::frame::Frame;

/// How far a file is searched for its first picture: a film of another format is refused at once, not after
/// gigabytes.
pub const FIRST_PICTURE_WITHIN_BYTES: u64 = 64 << 20;

/// How a file is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileOptions {
    /// Frames a second: the time from frame to frame.
    pub fps: FrameRate,
    /// When the first picture was taken; `None`: when the file was last modified.
    pub start: Option<Timestamp>,
    /// Delivers frames in real time; otherwise as fast as they are taken.
    pub pace: bool,
    /// Local time where `start` is `None`.
    pub local_offset: LocalOffset,
}

/// The pictures of an MJPEG file, one after another. Waits for the pipeline and drops nothing.
///
/// Picture `n` was taken at the start plus `n / fps`, damaged pictures counted, so the same file gives the
/// same frames at the same times whether it is paced or not. Memory stays below two pictures.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    options: FileOptions,
    modified_utc_micros: i64,
    reader: MjpegReader<File>,
    decoder: StreamDecoder,
    pacer: Pacer,
    cancel: CancellationToken,
    /// Number of the next picture.
    number: u64,
    delivered: u64,
    refused: u64,
    finished: bool,
}

impl FileSource {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// `SourceError::NotFound`, `SourceError::WrongType`, `SourceError::Empty`, `SourceError::Open`.
    /// That it holds no picture is found out while reading.
    pub fn open(
        path: &Path,
        options: FileOptions,
        cancel: CancellationToken,
    ) -> Result<Self, SourceError> {
        let (file, metadata) = open::open(path, Expected::File)?;
        if metadata.len() == 0 {
            return Err(SourceError::Empty { path: path.to_path_buf() });
        }
        Ok(Self {
            path: path.to_path_buf(),
            options,
            modified_utc_micros: open::modified_utc_micros(&metadata),
            reader: MjpegReader::new(file, FRAME_BYTES_MAX),
            decoder: StreamDecoder::default(),
            pacer: Pacer::new(options.fps),
            cancel,
            number: 0,
            delivered: 0,
            refused: 0,
            finished: false,
        })
    }

    /// When picture `number` was taken.
    fn time_of(&self, number: u64) -> Timestamp {
        let after = self.options.fps.micros_at(number);
        match self.options.start {
            Some(start) => start.plus_micros(after),
            None => self.options.local_offset.at(self.modified_utc_micros.saturating_add(after)),
        }
    }

    /// The item that a piece of the file makes.
    fn item(&mut self, piece: Piece) -> SourceItem {
        let (offset, outcome) = match piece {
            Piece::Picture { offset, bytes } => (offset, self.decoder.decode(&bytes)),
            Piece::Unended { offset, bytes } => (offset, self.decoder.decode_unended(&bytes)),
            Piece::Fault { offset, fault } => (offset, Err(fault)),
        };
        let number = self.number;
        match outcome {
            Ok(picture) => {
                self.number += 1;
                self.delivered += 1;
                SourceItem::Frame(Frame {
                    number,
                    time: self.time_of(number),
                    picture,
                    dropped_before: 0,
                    origin: None,
                    claimed: None,
                })
            }
            Err(fault) => {
                let problem = FrameProblem::in_file(&self.path, Some(offset), fault);
                if problem.is_lost_picture() {
                    self.number += 1;
                    self.refused += 1;
                }
                SourceItem::Problem(problem)
            }
        }
    }

    fn no_picture(&self) -> SourceError {
        SourceError::NoPicture {
            path: self.path.clone(),
            bytes_read: self.reader.bytes_read(),
            refused: self.refused,
        }
    }

    fn next_unless_finished(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if self.finished || self.cancel.is_cancelled() {
            return Ok(None);
        }
        let piece = self.reader.next_piece().map_err(|source| SourceError::Read {
            path: self.path.clone(),
            offset: self.reader.bytes_read(),
            source,
        })?;
        let Some(piece) = piece else {
            return if self.delivered == 0 { Err(self.no_picture()) } else { Ok(None) };
        };
        let item = self.item(piece);
        if self.delivered == 0 && self.reader.bytes_read() > FIRST_PICTURE_WITHIN_BYTES {
            return Err(self.no_picture());
        }
        if let SourceItem::Frame(frame) = &item
            && self.options.pace
            && self.pacer.wait(frame.number, &self.cancel)
        {
            return Ok(None);
        }
        Ok(Some(item))
    }
}

impl Source for FileSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        let outcome = self.next_unless_finished();
        self.finished |= !matches!(outcome, Ok(Some(_)));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::super::PictureFault;
    use super::super::samples::{jpeg, pedestrians};
    use super::*;

    const START: Timestamp = Timestamp { utc_micros: 1_000_000_000_000_000, offset_minutes: 60 };

    fn options() -> FileOptions {
        FileOptions { start: Some(START), ..FileOptions::default() }
    }

    fn with_file<T>(bytes: &[u8], run: impl FnOnce(&Path) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.mjpeg");
        fs::write(&path, bytes).unwrap();
        run(&path)
    }

    fn open(path: &Path) -> Result<FileSource, SourceError> {
        FileSource::open(path, options(), CancellationToken::new())
    }

    /// Everything the source hands over, and the error it ended with.
    fn drain(source: &mut FileSource) -> (Vec<Frame>, Vec<FrameProblem>, Option<SourceError>) {
        let (mut frames, mut problems) = (Vec::new(), Vec::new());
        loop {
            match source.next_item() {
                Ok(Some(SourceItem::Frame(frame))) => frames.push(frame),
                Ok(Some(SourceItem::Problem(problem))) => problems.push(problem),
                Ok(None) => return (frames, problems, None),
                Err(error) => return (frames, problems, Some(error)),
            }
        }
    }

    fn check_error(outcome: Result<FileSource, SourceError>, expected: &[&str]) {
        let message = match outcome {
            Err(error) => error.to_string(),
            Ok(mut source) => drain(&mut source).2.expect("an error").to_string(),
        };
        for part in expected {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
    }

    #[test]
    fn frames_have_exact_times_from_the_start() {
        let stream = [jpeg(32, 24, 0), jpeg(32, 24, 1), jpeg(32, 24, 2)].concat();
        with_file(&stream, |path| {
            let (frames, problems, error) = drain(&mut open(path).unwrap());
            assert!(problems.is_empty() && error.is_none());
            let times: Vec<_> = frames.iter().map(|frame| (frame.number, frame.time)).collect();
            let expected = |number, micros| (number, START.plus_micros(micros));
            assert_eq!(times, [expected(0, 0), expected(1, 200_000), expected(2, 400_000)]);
            assert_eq!(frames[0].picture.dimensions(), (32, 24));
        });
    }

    #[test]
    fn without_a_start_the_files_own_time_is_taken() {
        with_file(&jpeg(32, 24, 0), |path| {
            let modified = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_000);
            fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
            let options = FileOptions {
                local_offset: LocalOffset::FixedMinutes(90),
                ..FileOptions::default()
            };
            let mut source = FileSource::open(path, options, CancellationToken::new()).unwrap();
            let (frames, ..) = drain(&mut source);
            assert_eq!(
                frames[0].time,
                Timestamp { utc_micros: 1_700_000_000_000_000, offset_minutes: 90 }
            );
        });
    }

    #[test]
    fn a_corrupt_picture_is_reported_and_shifts_no_later_frame() {
        let (first, mut broken, last) = (jpeg(32, 24, 0), jpeg(32, 24, 1), jpeg(32, 24, 2));
        // A Huffman table cannot have 255 codes of one bit.
        let table = broken.windows(2).position(|marker| marker == [0xFF, 0xC4]).unwrap();
        broken[table + 5] = 0xFF;
        let stream = [&first[..], &broken, &last, &first[..first.len() / 2]].concat();
        with_file(&stream, |path| {
            let (frames, problems, error) = drain(&mut open(path).unwrap());
            assert!(error.is_none());
            let numbers: Vec<_> = frames.iter().map(|frame| frame.number).collect();
            assert_eq!(numbers, [0, 2]);
            assert_eq!(frames[1].time, START.plus_micros(400_000));
            let offsets: Vec<_> = problems.iter().map(|problem| problem.offset.unwrap()).collect();
            let ends = [first.len(), first.len() + broken.len() + last.len()];
            assert_eq!(offsets, ends.map(|end| end as u64));
            assert!(
                matches!(problems[0].fault, PictureFault::Undecodable { .. }),
                "{}",
                problems[0]
            );
            assert!(matches!(problems[1].fault, PictureFault::Truncated { .. }), "{}", problems[1]);
        });
    }

    #[test]
    fn what_is_no_recording_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.mjpeg");
        check_error(open(&missing), &["missing.mjpeg does not exist", "MJPEG", "check the path"]);
        check_error(open(folder.path()), &["is a folder", "MJPEG", "dir:PATH"]);
        check_error(open(Path::new("/dev/null")), &["/dev/null is a device"]);
        with_file(b"", |path| check_error(open(path), &["recording.mjpeg is empty", "MJPEG"]));
        let text = b"not a picture\n".repeat(1000);
        with_file(&text, |path| {
            check_error(open(path), &["holds no picture", "14000 bytes read, 0 damaged", "ffmpeg"]);
        });
        let half = &jpeg(32, 24, 0)[..300];
        with_file(half, |path| check_error(open(path), &["300 bytes read, 1 damaged"]));
    }

    #[test]
    fn a_large_file_of_another_format_is_not_read_to_its_end() {
        with_file(b"", |path| {
            // Sparse: a terabyte of zeros.
            fs::File::options().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
            check_error(open(path), &["holds no picture"]);
        });
    }

    #[test]
    fn a_cancelled_source_ends_at_once_even_while_it_waits_for_the_next_frame() {
        let stream = [jpeg(32, 24, 0), jpeg(32, 24, 1)].concat();
        with_file(&stream, |path| {
            let cancel = CancellationToken::new();
            let slow = FileOptions { fps: FrameRate::MIN, pace: true, ..options() };
            let mut source = FileSource::open(path, slow, cancel.clone()).unwrap();
            assert!(source.next_item().unwrap().is_some());
            let waiting = std::thread::spawn(move || {
                let ended = source.next_item().unwrap().is_none();
                ended && source.next_item().unwrap().is_none()
            });
            cancel.cancel();
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn the_recorded_clip_decodes_whole() {
        let Some(path) = pedestrians() else { return };
        let (frames, problems, error) = drain(&mut open(&path).unwrap());
        assert_eq!((frames.len(), problems.len(), error.is_none()), (200, 0, true));
        assert!(frames.iter().all(|frame| frame.picture.dimensions() == (768, 576)));
        assert_eq!(frames[199].time, START.plus_micros(39_800_000));
    }
}
