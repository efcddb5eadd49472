//! [`SourceOptions`] and how a [`SourceSpec`] becomes a [`Source`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lenslog_journal::{Clock, Timestamp};

use lenslog_vision::scene::Scene;

use super::child::{self, ChildSource, FfmpegVersion, Program};
use super::http::HttpSource;
use super::stall_timeout::StallTimeout;
use super::v4l2::{V4l2Options, V4l2Source};
use super::{
    ClockSettings, DirOptions, DirSource, FileOptions, FileSource, FrameRate, LiveSource,
    LocalOffset, PictureSize, Source, SourceError, SourceSpec, TestSource, TestTime,
};
use crate::util::{CancellationToken, Trust};

/// How a source is read. Each kind takes what concerns it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceOptions {
    /// The id of the camera that it is read for, for messages.
    pub camera: String,
    /// Frames a second: those that `file:` and `test:` have, and those of a camera that are looked at.
    pub fps: FrameRate,
    /// The size to ask a camera for; the nearest that it has is taken.
    pub size: PictureSize,
    /// Controls of a camera device by their names, and their values.
    pub controls: BTreeMap<String, i64>,
    /// Delivers the frames of `file:` and `test:` in real time; otherwise as fast as they are taken.
    pub pace: bool,
    /// When the first frame of `file:`, or of `test:` without `pace`, was taken; `None`: when the file was last
    /// modified, or now.
    pub start: Option<Timestamp>,
    /// Pictures that have come into a `dir:` since then are handed over too, in microseconds since 1970; `None`: only
    /// those that come from now on.
    pub since: Option<i64>,
    /// Where it is remembered which pictures of a `dir:` were handed over; `None`: nowhere.
    pub memory: Option<PathBuf>,
    /// Local time of pictures that do not say it themselves.
    pub local_offset: LocalOffset,
    /// The offset from UTC of the clock of what sends to a `dir:`, in minutes; `None`: it is local time.
    pub zone_minutes: Option<i16>,
    /// Whether the clock of what sends to a `dir:` is believed.
    pub clock: ClockSettings,
    /// Whether this machine's clock is.
    pub trust: Trust,
    /// What `test:` films.
    pub scene: Scene,
}

impl Default for SourceOptions {
    /// 5 frames a second in real time, the machine's local time, a house with a lawn.
    fn default() -> Self {
        Self {
            camera: String::new(),
            fps: FrameRate::default(),
            size: PictureSize::default(),
            controls: BTreeMap::new(),
            pace: true,
            start: None,
            since: None,
            memory: None,
            local_offset: LocalOffset::System,
            zone_minutes: None,
            clock: ClockSettings::default(),
            trust: Trust::default(),
            scene: Scene::default(),
        }
    }
}

impl SourceSpec {
    /// Opens the source. Throwing `cancel` ends it; `clock` is what live frames take their time from.
    ///
    /// A [live](Self::is_live) source captures on a thread of its own and drops frames that are not taken in time. The
    /// others wait for the consumer of their frames, and drop nothing.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened, in words for an operator.
    pub fn open(
        &self,
        options: &SourceOptions,
        clock: Arc<dyn Clock>,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn Source>, SourceError> {
        let SourceOptions { fps, pace, start, since, local_offset, .. } = *options;
        match self {
            Self::File(path) => {
                let options = FileOptions { fps, start, pace, local_offset };
                Ok(Box::new(FileSource::open(path, options, cancel.child())?))
            }
            Self::Dir(path) => {
                let options = DirOptions {
                    since,
                    memory: options.memory.clone(),
                    local_offset,
                    zone_minutes: options.zone_minutes,
                    clock: options.clock,
                    trust: options.trust.clone(),
                    ..DirOptions::default()
                };
                Ok(Box::new(DirSource::open(path, options, cancel.child())?))
            }
            Self::Test if !pace => {
                let time = TestTime::From(start.unwrap_or_else(|| clock.read().wall));
                let scene = options.scene.clone();
                Ok(Box::new(TestSource::new(scene, fps, time, cancel.child())))
            }
            _ => {
                let open = |cancel| self.open_live(options, clock, cancel);
                Ok(Box::new(LiveSource::start(&self.to_string(), cancel, open)?))
            }
        }
    }

    /// Opens a source that does not wait for the consumer of its frames.
    fn open_live(
        &self,
        options: &SourceOptions,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Box<dyn Source>, SourceError> {
        let SourceOptions { fps, size, .. } = *options;
        match self {
            Self::V4l2(path) => {
                let options = V4l2Options { fps, size, controls: options.controls.clone() };
                Ok(Box::new(V4l2Source::open(path, &options, clock, cancel)?))
            }
            Self::Http(url) => {
                let stall_timeout = StallTimeout::new(fps, cancel.clone());
                Ok(Box::new(HttpSource::open(url, fps, stall_timeout, clock, cancel)?))
            }
            Self::Exec(words) => self.start(&child::exec(words), options, clock, cancel),
            Self::Rtsp(url) => {
                let version = FfmpegVersion::installed();
                let program = child::rtsp(url, fps, version.as_ref()).map_err(|reason| {
                    SourceError::Program { program: "ffmpeg".to_owned(), reason }
                })?;
                self.start(&program, options, clock, cancel)
            }
            Self::Rpicam(number) => {
                self.start(&child::rpicam(*number, size, fps), options, clock, cancel)
            }
            _ => {
                let time = TestTime::Live(clock);
                Ok(Box::new(TestSource::new(options.scene.clone(), fps, time, cancel)))
            }
        }
    }

    fn start(
        &self,
        program: &Program,
        options: &SourceOptions,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Box<dyn Source>, SourceError> {
        let (name, SourceOptions { camera, fps, .. }) = (self.to_string(), options);
        Ok(Box::new(ChildSource::start(name, camera, program, *fps, clock, cancel)?))
    }

    /// Whether its frames come when they come, dated by this machine's clock, and are dropped where no one takes
    /// them.
    #[must_use]
    pub const fn is_live(&self, options: &SourceOptions) -> bool {
        match self {
            Self::File(_) | Self::Dir(_) => false,
            Self::Test => options.pace,
            _ => true,
        }
    }

    /// Whether motion is looked for in its frames. Where not, each picture was taken because something happened.
    #[must_use]
    pub const fn has_motion_stage(&self) -> bool {
        !matches!(self, Self::Dir(_))
    }
}

#[cfg(test)]
mod tests {
    use lenslog_journal::SimulatedClock;

    use super::super::SourceItem;
    use super::super::samples::jpeg;
    use super::*;

    const NOW: Timestamp = Timestamp { utc_micros: 77_000_000, offset_minutes: 30 };

    fn open(text: &str, options: &SourceOptions, cancel: &CancellationToken) -> Box<dyn Source> {
        let spec: SourceSpec = text.parse().unwrap();
        spec.open(options, Arc::new(SimulatedClock::new(NOW)), cancel).unwrap()
    }

    /// The time and number of the next frame, `None` at the end.
    fn next(source: &mut dyn Source) -> Option<(Timestamp, u64)> {
        match source.next_item().unwrap()? {
            SourceItem::Frame(frame) => Some((frame.time, frame.number)),
            SourceItem::Problem(problem) => panic!("{problem}"),
        }
    }

    #[test]
    fn every_kind_opens_from_its_name_and_ends_when_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recording.mjpeg");
        std::fs::write(&file, [jpeg(16, 16, 1), jpeg(16, 16, 2)].concat()).unwrap();
        let options = SourceOptions { start: Some(NOW), ..SourceOptions::default() };
        for (text, first) in [
            (format!("file:{}", file.display()), Some((NOW, 0))),
            ("test:".into(), Some((NOW, 0))),
            (format!("dir:{}", folder.path().display()), None),
        ] {
            let cancel = CancellationToken::new();
            let mut source = open(&text, &options, &cancel);
            if first.is_some() {
                assert_eq!(next(source.as_mut()), first, "{text}");
            }
            cancel.cancel();
            assert_eq!(next(source.as_mut()), None, "{text}");
            assert_eq!(next(source.as_mut()), None, "{text}");
        }
    }

    #[test]
    fn unpaced_scenes_begin_at_the_start_or_now() {
        let options = SourceOptions { pace: false, ..SourceOptions::default() };
        let mut source = open("test:", &options, &CancellationToken::new());
        assert_eq!(next(source.as_mut()), Some((NOW, 0)));
        assert_eq!(next(source.as_mut()), Some((NOW.plus_micros(200_000), 1)));
        let start = Some(Timestamp::default());
        let mut source =
            open("test:", &SourceOptions { start, ..options }, &CancellationToken::new());
        assert_eq!(next(source.as_mut()), Some((Timestamp::default(), 0)));
    }

    #[test]
    fn only_pictures_of_a_folder_are_candidates_by_themselves() {
        let has = |text: &str| text.parse::<SourceSpec>().unwrap().has_motion_stage();
        assert_eq!((has("file:x"), has("test:"), has("dir:x")), (true, true, false));
    }
}
