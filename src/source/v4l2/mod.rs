//! [`V4l2Source`], `v4l2:/dev/video0`: a camera of the kernel's video4linux2 interface.
//!
//! It owns the choice of size, rate and layout, the camera's controls, and the time of each frame. It runs on the
//! thread of a [`LiveSource`](super::LiveSource) and never waits for the pipeline.

mod controls;
mod mode;
mod offers;
mod pixels;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lenslog_journal::Clock;
use v4l::buffer::{Flags, Metadata, Type};
use v4l::capability::Flags as Capability;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::decode::StreamDecoder;
use super::frame_sampler::FrameSampler;
use super::problem::PictureFault;
use super::size::PictureSize;
use super::stall_timeout::{STALL_TIMEOUT_MIN, StallTimeout};
use super::{FrameProblem, FrameRate, Source, SourceError, SourceItem};
use crate::util::CancellationToken;
use lenslog_vision::frame::Frame;
use mode::Offer;
use pixels::Pixels;

/// Pictures that the kernel fills ahead.
const BUFFERS: u32 = 4;
/// How often a wait for a picture looks whether it was cancelled.
const WAIT_STEP_MS: i32 = 200;
/// A picture that seems to have waited longer in the kernel was not: its driver counts time in another way.
const AGE_MAX: Duration = Duration::from_secs(5);

/// How a camera is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct V4l2Options {
    /// Frames a second that are looked at.
    pub(super) fps: FrameRate,
    /// The size to ask for; the nearest that the camera has is taken.
    pub(super) size: PictureSize,
    /// Controls and their values.
    pub(super) controls: BTreeMap<String, i64>,
}

/// The frames of a video4linux2 camera.
pub(super) struct V4l2Source {
    path: PathBuf,
    name: String,
    device: Device,
    stream: Stream<'static>,
    is_streaming: bool,
    format: Format,
    pixels: Pixels,
    decoder: StreamDecoder,
    frame_sampler: FrameSampler,
    clock: Arc<dyn Clock>,
    stall_timeout: StallTimeout,
    number: u64,
}

impl V4l2Source {
    /// Opens the camera at `path`, a device or a link to one, and asks for the nearest it has to what is wanted.
    pub(super) fn open(
        path: &Path,
        options: &V4l2Options,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Self, SourceError> {
        let name = format!("v4l2:{}", path.display());
        let refused = |error: io::Error| refused(path, &error);
        let device = guarded(|| Device::with_path(path)).map_err(refused)?;
        let capabilities = guarded(|| device.query_caps()).map_err(refused)?;
        if !capabilities.capabilities.contains(Capability::VIDEO_CAPTURE) {
            return Err(unusable(
                path,
                "it captures no pictures (a camera may have several devices)",
            ));
        }
        let offers = guarded(|| offers::of(&device, options)).map_err(refused)?;
        let offer = mode::choose(&offers, options.size, options.fps.fps())
            .ok_or_else(|| unusable(path, &offers::describe(&device)))?;
        let format = guarded(|| set_format(&device, offer)).map_err(refused)?;
        let pixels = Pixels::of(format.fourcc.repr)
            .ok_or_else(|| unusable(path, "it does not keep to the layout it offers"))?;
        let rate = offer.rate(options.fps.fps());
        if let Some(rate) = rate {
            // A camera whose rate is fixed refuses, and is read at that rate.
            let interval = Fraction::new(1000, (rate * 1000.0).round() as u32);
            let _ = guarded(|| device.set_params(&Parameters::new(interval)));
        }
        controls::set(&device, &options.controls, &name);
        let buffers = || Stream::with_buffers(&device, Type::VideoCapture, BUFFERS);
        let mut stream = guarded(buffers).map_err(refused)?;
        stream.set_timeout(STALL_TIMEOUT_MIN);
        tracing::info!(
            camera = %name, card = capabilities.card, size = %format!("{}x{}", format.width, format.height),
            layout = %format.fourcc, rate = rate.unwrap_or_default(), "the camera is open"
        );
        Ok(Self {
            path: path.to_path_buf(),
            name,
            device,
            stream,
            is_streaming: false,
            format,
            pixels,
            decoder: StreamDecoder::default(),
            frame_sampler: FrameSampler::new(options.fps),
            clock,
            stall_timeout: StallTimeout::new(options.fps, cancel),
            number: 0,
        })
    }

    /// Starts the stream. All buffers but the first are queued here; fetching a picture queues that one.
    fn start(&mut self) -> io::Result<()> {
        for index in 1..BUFFERS as usize {
            // A driver that gave fewer buffers refuses those beyond.
            let _ = CaptureStream::queue(&mut self.stream, index);
        }
        self.stream.start()?;
        self.is_streaming = true;
        Ok(())
    }

    /// Waits for a picture; `false` when cancelled.
    fn wait(&self) -> io::Result<bool> {
        loop {
            if self.stall_timeout.is_cancelled() {
                return Ok(false);
            }
            self.stall_timeout.check()?;
            match self.device.handle().poll(libc::POLLIN, WAIT_STEP_MS) {
                Ok(0) => {}
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next picture, decoded if its turn has come.
    fn capture(&mut self) -> io::Result<Option<SourceItem>> {
        if !self.is_streaming {
            self.start()?;
        }
        loop {
            if !self.wait()? {
                return Ok(None);
            }
            let now = self.clock.read().wall;
            let (buffer, metadata) = self.stream.next()?;
            let age = age(metadata);
            if !self.frame_sampler.is_due(Instant::now().checked_sub(age)) {
                continue;
            }
            let number = self.number;
            self.number += 1;
            if metadata.flags.contains(Flags::ERROR) {
                let reason = "the driver says that it is damaged".to_owned();
                return Ok(Some(self.problem(PictureFault::Undecodable { reason })));
            }
            let bytes = buffer.get(..metadata.bytesused as usize).unwrap_or(buffer);
            let size = (self.format.width, self.format.height);
            let decoded = match self.pixels {
                Pixels::Jpeg => self.decoder.decode(bytes),
                raw => raw.to_rgb(bytes, size, self.format.stride),
            };
            let micros = i64::try_from(age.as_micros()).unwrap_or_default();
            if decoded.is_ok() {
                self.stall_timeout.renew();
            }
            return Ok(Some(match decoded {
                Ok(picture) => SourceItem::Frame(Frame {
                    number,
                    time: now.plus_micros(-micros),
                    picture,
                    dropped_before: 0,
                    origin: None,
                    claimed: None,
                }),
                Err(fault) => self.problem(fault),
            }));
        }
    }

    fn problem(&self, fault: PictureFault) -> SourceItem {
        SourceItem::Problem(FrameProblem { place: self.name.clone(), offset: None, fault })
    }
}

impl Source for V4l2Source {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        guarded(|| self.capture()).map_err(|error| refused(&self.path, &error))
    }
}

fn set_format(device: &Device, offer: &Offer) -> io::Result<Format> {
    let wanted = Format::new(offer.size.width, offer.size.height, FourCC::new(&offer.code));
    Capture::set_format(device, &wanted)
}

/// How long a picture has waited in the kernel; zero where its driver does not say it by the monotonic clock.
fn age(metadata: &Metadata) -> Duration {
    let taken = Duration::new(
        u64::try_from(metadata.timestamp.sec).unwrap_or_default(),
        u32::try_from(metadata.timestamp.usec).unwrap_or_default().min(999_999) * 1000,
    );
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default().min(999_999_999),
    );
    now.checked_sub(taken).filter(|age| *age <= AGE_MAX).unwrap_or_default()
}

/// Runs what may panic: the library that talks to the kernel does where a driver says something unheard of.
fn guarded<T>(run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(io::Error::other("its driver gave an answer that is not understood"))
    })
}

fn refused(path: &Path, error: &io::Error) -> SourceError {
    let (reason, remedy) = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => (
            "it does not exist".to_owned(),
            "plug it in, or look for it with `ls /dev/v4l/by-id /dev/video*`",
        ),
        (io::ErrorKind::PermissionDenied, _) => {
            (error.to_string(), "add this user to the group `video`: usermod -aG video USER")
        }
        (io::ErrorKind::TimedOut, _) => {
            ("it sends no picture".to_owned(), "check its cable and its power")
        }
        (_, Some(libc::EBUSY)) => (
            "another program uses it".to_owned(),
            "find that one with `fuser -v DEVICE` and end it",
        ),
        (_, Some(libc::ENODEV | libc::ENXIO)) => {
            ("it was unplugged".to_owned(), "plug it in again")
        }
        (_, Some(libc::ENOTTY | libc::EINVAL)) => {
            (error.to_string(), "expected a video4linux2 camera such as /dev/video0")
        }
        (_, Some(libc::ENOSPC)) => (
            "the USB bus has no room for it".to_owned(),
            "set a smaller size or fps, or plug the cameras into different buses",
        ),
        _ => (error.to_string(), "check its cable and `dmesg`"),
    };
    SourceError::Device { path: path.to_path_buf(), reason, remedy }
}

fn unusable(path: &Path, reason: &str) -> SourceError {
    let remedy =
        "`ls /dev/v4l/by-id` shows the devices of each camera; -index0 is mostly the right one";
    SourceError::Device { path: path.to_path_buf(), reason: reason.to_owned(), remedy }
}

#[cfg(test)]
mod tests {
    use lenslog_journal::{SimulatedClock, Timestamp};

    use super::*;

    fn check_error(path: &str, expected: &[&str]) {
        let options = V4l2Options {
            fps: FrameRate::default(),
            size: PictureSize::default(),
            controls: BTreeMap::new(),
        };
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let opened = V4l2Source::open(Path::new(path), &options, clock, CancellationToken::new());
        let message = opened.err().expect("no camera is there").to_string();
        for part in [&[path], expected].concat() {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
    }

    #[test]
    fn what_is_no_camera_is_refused_with_what_to_do() {
        check_error("/dev/no-such-camera", &["does not exist", "plug it in"]);
        check_error("/dev/null", &["expected a video4linux2 camera"]);
        check_error("/", &["/"]);
    }

    #[test]
    fn what_the_kernel_says_is_told_in_words() {
        for (code, expected) in [
            (libc::EBUSY, "another program"),
            (libc::ENODEV, "unplugged"),
            (libc::EACCES, "group `video`"),
            (libc::ENOSPC, "USB bus"),
        ] {
            let error = refused(Path::new("/dev/video0"), &io::Error::from_raw_os_error(code));
            let message = error.to_string();
            assert!(message.contains("/dev/video0") && message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_panic_in_the_library_is_an_error() {
        assert!(guarded::<()>(|| panic!("unheard of")).is_err());
        assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
    }
}
