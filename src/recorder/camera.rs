//! [`CameraThread`]: reads one camera's source and gives its frames to the pipeline; a lost camera is tried again.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lenslog_events::{CameraFound, CameraLost, CameraMinute, Event};
use lenslog_journal::{Clock, ClockReading};
use parking_lot::Mutex;

use super::pipeline::{CameraSettings, Pipeline};
use super::writer::EventWriter;
use crate::detector::{Detector, NoDetection};
use crate::metrics::{CameraMetrics, MetricsCollector};
use crate::source::{ClockNews, Source, SourceError, SourceItem, SourceOptions, SourceSpec};
use crate::util::ReconnectBackoff;
use crate::util::{CancellationToken, Notify, Trust};
use lenslog_vision::frame::Frame;

/// A live frame that seems older than this is not: the clock was set.
const FRAME_AGE_MAX: Duration = Duration::from_secs(60);

/// How one camera is read.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraPlan {
    /// What concerns the pipeline.
    pub settings: CameraSettings,
    /// Where the frames come from.
    pub spec: SourceSpec,
    /// How it is read.
    pub options: SourceOptions,
}

/// State of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CameraState {
    /// Its source has not been opened yet.
    Starting,
    /// It delivers frames.
    Up,
    /// It cannot be read, and why; it is tried again.
    Lost(String),
    /// Its source has ended by itself.
    Ended,
    /// It could not be read, and why, and is not tried again.
    Failed(String),
}

/// A camera being recorded.
#[derive(Debug)]
pub struct CameraThread {
    plan: CameraPlan,
    cancel: CancellationToken,
    shared: Arc<Shared>,
    metrics: Arc<CameraMetrics>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    pipeline: Mutex<Pipeline>,
    state: Mutex<CameraState>,
    /// What is wrong with the clock of what sends the pictures.
    clock_fault: Mutex<Option<String>>,
    /// Frames are dated by this machine's clock, so that time passes between them too.
    is_live: bool,
    done: AtomicBool,
}

/// What all cameras share.
#[derive(Debug, Clone)]
pub struct CameraContext {
    /// Puts events into the journal.
    pub writer: Arc<EventWriter>,
    /// What is counted and measured.
    pub metrics: Arc<MetricsCollector>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// A camera that cannot be opened at first is not tried again.
    pub fail_fast: bool,
    /// Detects objects, if a model is configured.
    pub detector: Option<Arc<Detector>>,
    /// Whether this machine's clock is to be believed.
    pub trust: Trust,
    /// Notified when a source ends.
    pub ended: Arc<Notify>,
}

impl CameraThread {
    /// Starts to read a camera. Throwing `cancel` ends it.
    ///
    /// # Errors
    ///
    /// What the operating system says where it gives no thread.
    pub fn start(
        plan: CameraPlan,
        pipeline: Pipeline,
        context: CameraContext,
        cancel: &CancellationToken,
    ) -> std::io::Result<Self> {
        let cancel = cancel.child();
        let is_live = plan.spec.is_live(&plan.options);
        let shared = Arc::new(Shared {
            pipeline: Mutex::new(pipeline),
            state: Mutex::new(CameraState::Starting),
            clock_fault: Mutex::default(),
            is_live,
            done: AtomicBool::new(false),
        });
        let metrics = context.metrics.camera(&plan.settings.id);
        let reader = Reader {
            metrics: Arc::clone(&metrics),
            plan: plan.clone(),
            shared: Arc::clone(&shared),
            context,
            cancel: cancel.clone(),
        };
        let name = format!("camera {}", plan.settings.id);
        let thread = std::thread::Builder::new().name(name).spawn(move || reader.run())?;
        Ok(Self { plan, cancel, shared, metrics, thread: Some(thread) })
    }

    /// How it is read.
    #[must_use]
    pub const fn plan(&self) -> &CameraPlan {
        &self.plan
    }

    /// Whether it reads a recording, of which nothing is to be read twice: what has changed takes effect at the next
    /// start.
    #[must_use]
    pub const fn is_recording(&self) -> bool {
        matches!(self.plan.spec, SourceSpec::File(_))
    }

    /// Whether it goes on where it is to be read like this.
    #[must_use]
    pub fn goes_on(&self, plan: &CameraPlan) -> bool {
        let same_recording = self.is_recording() && self.plan.spec == plan.spec;
        self.plan == *plan || (same_recording && self.plan.settings.id == plan.settings.id)
    }

    /// The state of the camera.
    #[must_use]
    pub fn state(&self) -> CameraState {
        self.shared.state.lock().clone()
    }

    /// What is wrong with the clock of what sends its pictures; `None` where nothing is, or it does not count.
    #[must_use]
    pub fn clock_fault(&self) -> Option<String> {
        self.shared.clock_fault.lock().clone()
    }

    /// Whether nothing will come from it any more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.shared.done.load(Ordering::Acquire)
    }

    /// Lets time pass where frames are dated by this machine's clock: events end without a frame.
    pub fn tick(&self, now: ClockReading) {
        if self.is_done() {
            return;
        }
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.note_panic(now);
        } else if self.shared.is_live {
            self.shared.pipeline.lock().elapsed(now.wall);
        }
    }

    /// A thread that has ended and left no word of it does not go on pretending that its camera is up.
    fn note_panic(&self, now: ClockReading) {
        // It may have ended well between the two looks at it.
        if self.is_done() {
            return;
        }
        *self.shared.state.lock() = CameraState::Failed("its thread panicked".to_owned());
        self.metrics.down(now);
        self.shared.done.store(true, Ordering::Release);
    }

    /// The minute that is not journaled yet.
    #[must_use]
    pub fn minute_so_far(&self) -> Option<CameraMinute> {
        self.shared.pipeline.lock().minute_so_far()
    }

    /// Asks the thread to end and does not wait: of many, each is asked before one is awaited.
    pub fn begin_stop(&self) {
        self.cancel.cancel();
    }

    /// Ends it and waits until its last event is journaled.
    pub fn stop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(camera = self.plan.settings.id, "camera thread panicked");
        }
    }
}

/// What runs in a camera's thread.
struct Reader {
    metrics: Arc<CameraMetrics>,
    plan: CameraPlan,
    shared: Arc<Shared>,
    context: CameraContext,
    cancel: CancellationToken,
}

impl Reader {
    fn run(self) {
        let state = self.read();
        if state == CameraState::Ended {
            self.metrics.over(self.context.clock.read());
        }
        self.shared.pipeline.lock().stop();
        *self.shared.state.lock() = state;
        self.shared.done.store(true, Ordering::Release);
        self.context.ended.notify();
    }

    /// Reads until the source ends, the token fires, or a retry is of no use.
    fn read(&self) -> CameraState {
        let mut backoff = ReconnectBackoff::default();
        let since = self.context.clock.read().wall.utc_micros;
        let mut before: Option<Box<dyn Source>> = None;
        loop {
            let read = catch_unwind(AssertUnwindSafe(|| {
                let opened = self.open(&mut before, backoff.is_lost.then_some(since));
                opened.and_then(|source| self.deliver(&mut **source, &mut backoff))
            }));
            let reason = match read {
                Ok(Ok(())) => return CameraState::Ended,
                // The end of the recorder may end the camera's program too.
                Ok(Err(_)) if self.cancel.is_cancelled() => return CameraState::Ended,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => self.recover(&*panic),
            };
            // A device is given up at once; a folder's source remembers what it has handed over.
            if !matches!(self.plan.spec, SourceSpec::Dir(_)) {
                before = None;
            }
            self.metrics.down(self.context.clock.read());
            let is_file = matches!(self.plan.spec, SourceSpec::File(_));
            if !backoff.is_lost {
                self.lost(&reason);
            }
            // A recording that cannot be read will not be there in a minute.
            if is_file || (self.context.fail_fast && self.is_starting()) {
                return CameraState::Failed(reason);
            }
            *self.shared.state.lock() = CameraState::Lost(reason);
            let pause = backoff.disconnected(Instant::now());
            if self.cancel.wait_until(Instant::now().checked_add(pause)) {
                return CameraState::Ended;
            }
        }
    }

    /// A mistake in this program costs a camera its pictures for a moment, and not for good. Returns what to say of it.
    fn recover(&self, panic: &(dyn Any + Send)) -> String {
        // What panicked may do so again: then what is open stays without an end.
        let _ = catch_unwind(AssertUnwindSafe(|| self.shared.pipeline.lock().stop()));
        self.shared.pipeline.lock().forget();
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        format!("its thread panicked: {words}; please report this")
    }

    /// The camera is there.
    fn arrived(&self, backoff: &mut ReconnectBackoff) {
        if backoff.connected(Instant::now()) {
            self.found();
        } else {
            tracing::info!(camera = self.plan.settings.id, "camera connected");
        }
        *self.shared.state.lock() = CameraState::Up;
        self.metrics.up(self.context.clock.read());
    }

    fn is_starting(&self) -> bool {
        *self.shared.state.lock() == CameraState::Starting
    }

    /// Opens the source: the one that was there before, where that remembers what it has delivered. What has come
    /// `since` a time is new to one that could not be opened at first.
    fn open<'a>(
        &self,
        before: &'a mut Option<Box<dyn Source>>,
        since: Option<i64>,
    ) -> Result<&'a mut Box<dyn Source>, SourceError> {
        let is_open = before.as_mut().map_or(Ok(false), |source| source.reopen())?;
        match before.take().filter(|_| is_open) {
            Some(source) => Ok(before.insert(source)),
            None => {
                let clock = Arc::clone(&self.context.clock);
                let trust = self.context.trust.clone();
                let options = SourceOptions { since, trust, ..self.plan.options.clone() };
                Ok(before.insert(self.plan.spec.open(&options, clock, &self.cancel)?))
            }
        }
    }

    fn deliver(
        &self,
        source: &mut dyn Source,
        backoff: &mut ReconnectBackoff,
    ) -> Result<(), SourceError> {
        let is_candidate = !self.plan.spec.has_motion_stage();
        // A program or a server that is there may still send nothing, or nonsense.
        if !self.shared.is_live {
            self.arrived(backoff);
        }
        self.note_clock(source);
        while let Some(item) = source.next_item()? {
            self.note_clock(source);
            match item {
                SourceItem::Frame(frame) => {
                    if !backoff.is_connected() {
                        self.arrived(backoff);
                    }
                    let taken = self.note(&frame);
                    if !self.look(frame, is_candidate, taken) {
                        return Ok(());
                    }
                }
                SourceItem::Problem(problem) if problem.is_lost_picture() => {
                    self.metrics.picture_lost();
                    if let Some(left_out) = backoff.skipped.allow(Instant::now()) {
                        let camera = &self.plan.settings.id;
                        tracing::warn!(camera, %problem, left_out, "picture skipped");
                    }
                }
                SourceItem::Problem(problem) => {
                    tracing::debug!(camera = self.plan.settings.id, %problem, "not a picture");
                }
            }
        }
        Ok(())
    }

    /// Takes note of the clock of what sends the pictures.
    fn note_clock(&self, source: &mut dyn Source) {
        let camera = &self.plan.settings.id;
        if let Some(ClockNews { fault, claimed }) = source.take_clock_news() {
            match fault.map(|fault| fault.describe(camera)) {
                Some(fault) => tracing::warn!(camera, %claimed, "{fault}"),
                None => tracing::info!(camera, %claimed, "sender clock is right again"),
            }
        }
        let fault = source.clock_fault().map(|fault| fault.describe(camera));
        *self.shared.clock_fault.lock() = fault;
    }

    /// Brings a frame through the pipeline, which is free for others while the detector works. Returns `false` where
    /// the recorder stops.
    fn look(&self, frame: Frame, is_candidate: bool, taken: Instant) -> bool {
        let watched = self.shared.pipeline.lock().watch(frame, is_candidate);
        let detector = self.context.detector.as_ref().filter(|_| watched.is_candidate());
        let detection = match detector.map(|detector| detector.detect(watched.picture())) {
            Some(Ok(detection)) => {
                self.context.metrics.inference(detection.inference);
                Some(detection)
            }
            Some(Err(NoDetection::Cancelled)) => return false,
            Some(Err(NoDetection::Unavailable)) | None => None,
        };
        self.shared.pipeline.lock().judge(&watched, detection, taken);
        true
    }

    /// Counts a frame. Returns when it was taken, or where it is a recorded one, when it was read.
    fn note(&self, frame: &Frame) -> Instant {
        let now = self.context.clock.read().wall;
        self.metrics.frame(now, frame.dropped_before);
        let read = Instant::now();
        if !self.shared.is_live {
            return read;
        }
        let micros = now.utc_micros.saturating_sub(frame.time.utc_micros);
        let age = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
        read.checked_sub(age).filter(|_| age <= FRAME_AGE_MAX).unwrap_or(read)
    }

    fn lost(&self, reason: &str) {
        tracing::error!(camera = self.plan.settings.id, reason, "camera lost; it is opened again");
        let reason = shortened(reason, lenslog_events::limits::REASON_BYTES_MAX);
        self.context.writer.write(&Event::CameraLost(CameraLost {
            camera_id: self.plan.settings.id.clone(),
            at: self.context.clock.read().wall,
            reason,
        }));
    }

    fn found(&self) {
        tracing::info!(camera = self.plan.settings.id, "camera reconnected");
        self.shared.pipeline.lock().reset_tamper_detection();
        self.context.writer.write(&Event::CameraFound(CameraFound {
            camera_id: self.plan.settings.id.clone(),
            at: self.context.clock.read().wall,
        }));
    }
}

/// The beginning of a text, at most that many bytes, cut between characters.
pub(super) fn shortened(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
