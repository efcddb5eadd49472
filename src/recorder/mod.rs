//! The recorder: cameras, their pipelines, the journal, the projections, and what holds them together.
//!
//! ```text
//! camera thread: source → motion → detector → policy → picture on disk → EventWriter ─→ journal ─→ a follower a projection
//! main thread:   signals, duration, reload, ticks, watchdog                    ↑
//! control socket: status, minutes, ingest, rebuild ────────────────────────────┘
//! metrics:       metrics.json, status line, service manager, HTTP: told by all, asked by nobody
//! ```

mod camera;
mod detection;
mod handler;
mod health;
mod images;
mod pipeline;
mod plan;
mod reporting;
mod scrub;
mod signals;
mod status;
mod summary;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lenslog_engine::{OnLost, ProjectionState, Runner};
use lenslog_events::{Event, EventDetected, RecorderStarted, RecorderStopped};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Clock, Error, Journal, JournalView, Options};

use camera::{CameraPlan, CameraState, CameraThread, Surroundings, Wake};
use detection::Failures;
pub use detection::StartError;
use images::ImageWriter;
use pipeline::Pipeline;
use reporting::Reporting;
use status::StatusSource;
use writer::EventWriter;

use crate::config::{Config, Warning};
use crate::detector::Detector;
use crate::ingest::Admission;
use crate::layout;
use crate::logging::Logging;
use crate::metrics::{Counted, MetricsCollector, Observed, ProjectionFigures, StorageFigures};
use crate::source::Cancel;
use crate::storage::{Reserve, StorageGuard, StorageStats};
use lenslog_tools::control::Server;

pub use handler::storage_status;
pub use health::{HealthItem, Verdict};
pub use plan::{SourceFlags, clock};
pub use signals::{Signals, wait_for_mount};
pub use summary::summary;

/// How often minutes are closed, backlogs tried and conditions looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long the end may take before the process ends without it.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long the projections may stand still at the end before they are left behind; they catch up at the next start.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(3);

/// The reason of a session that ended because everything is full.
pub const STORAGE_LIMIT: &str = "the storage limit";
/// Reads the configuration again.
pub type Reload = dyn Fn() -> Result<(Config, Vec<Warning>), crate::config::ConfigError> + Send;

/// How a session is run.
pub struct RecordOptions {
    /// How sources are read.
    pub sources: SourceFlags,
    /// Ends by itself after this time.
    pub duration: Option<Duration>,
    /// A camera that cannot be opened at the start ends the session.
    pub fail_fast: bool,
    /// What of logging can be changed on a reload, and the line below it.
    pub logging: Option<Logging>,
    /// Reads the configuration again, for a reload.
    pub reload: Box<Reload>,
    /// Signals of the operating system.
    pub signals: Signals,
    /// The `lenslog` program: the detector's worker is a process of it.
    pub program: PathBuf,
}

impl std::fmt::Debug for RecordOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RecordOptions")
            .field("sources", &self.sources)
            .field("duration", &self.duration)
            .field("fail_fast", &self.fail_fast)
            .finish_non_exhaustive()
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// What was counted.
    pub counted: Counted,
    /// The newest event of its cameras.
    pub last_event: Option<EventDetected>,
    /// How long it ran.
    pub uptime: Duration,
    /// Why it ended: `a signal`, `the set duration`, `the end of all sources`, [`STORAGE_LIMIT`].
    pub reason: &'static str,
    /// Cameras that could not be read, and why.
    pub failed: Vec<(String, String)>,
    /// Projections that did not catch up.
    pub behind: Vec<&'static str>,
    /// How much was used of how much at the last check.
    pub storage: StorageStats,
}

/// A recorder that runs.
pub struct Recorder {
    config: Config,
    options: RecordOptions,
    clock: Arc<dyn Clock>,
    journal: Journal,
    shared: Arc<Shared>,
    reporting: Reporting,
    server: Option<Server>,
    cancel: Cancel,
    wake: Arc<Wake>,
    stop: Arc<AtomicBool>,
    started: Instant,
    failures: Failures,
}

/// What the control socket and whoever reads metrics see too.
struct Shared {
    view: JournalView,
    runner: Arc<Runner>,
    storage: StorageGuard,
    cameras: Mutex<BTreeMap<String, CameraThread>>,
    metrics: Arc<MetricsCollector>,
    writer: Arc<EventWriter>,
    detector: Mutex<Option<Arc<Detector>>>,
}

impl Shared {
    fn detector(&self) -> Option<Arc<Detector>> {
        self.detector.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cameras(&self) -> MutexGuard<'_, BTreeMap<String, CameraThread>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observed for Shared {
    fn projections(&self) -> Vec<ProjectionFigures> {
        let head = self.view.head().unwrap_or_default();
        let figures = |status: lenslog_engine::ProjectionStatus| ProjectionFigures {
            name: status.name.to_owned(),
            following: status.state == ProjectionState::Following,
            lag_records: head.0.saturating_sub(status.next.0),
            parked: status.parked,
            errors: status.errors,
            next: status.next.0,
        };
        self.runner.status().into_iter().map(figures).collect()
    }

    fn events_waiting(&self) -> u64 {
        self.writer.backlog() as u64
    }
}

/// How the journal of a data directory is opened.
#[must_use]
pub fn journal_options(config: &Config, clock: &Arc<dyn Clock>) -> Options {
    Options {
        storage: Arc::new(RealStorage),
        clock: Arc::clone(clock),
        storage_limit_bytes: Some((config.storage.max_storage_gb * 1e9) as u64),
        ..Options::default()
    }
}

/// Has every loss that a follower meets journaled.
#[must_use]
pub fn report_losses(journal: &Journal) -> OnLost {
    let journal = journal.clone();
    Arc::new(move |lost| {
        if let Err(error) = journal.report_lost(lost) {
            tracing::error!(%error, %lost, "the loss cannot be journaled");
        }
    })
}

impl Recorder {
    /// Opens the journal, starts the projections, the control socket and the cameras. Every item of the health
    /// check is told to `tell`.
    ///
    /// # Errors
    ///
    /// [`StartError`]: those of opening the journal, and why there is no detector where one is required. Everything
    /// else is told, counted, and tried again.
    pub fn start(
        config: Config,
        options: RecordOptions,
        tell: &mut dyn FnMut(HealthItem),
    ) -> Result<Self, StartError> {
        let started = Instant::now();
        let clock: Arc<dyn Clock> = clock(&config);
        let (cancel, failures) = (Cancel::new(), Failures::new(&clock));
        // First: what is wrong with a model is told before anything is made or changed.
        let detector = detection::start(&config, &options.program, &cancel, &failures)?;
        let metrics = Arc::new(MetricsCollector::new(Arc::clone(&clock)));
        let limit_bytes = Some((config.storage.max_storage_gb * 1e9) as u64);
        metrics.set_storage(StorageFigures { limit_bytes, ..StorageFigures::default() });
        let measured = Arc::clone(&metrics);
        let journal_options = Options {
            on_sync: Some(Arc::new(move |length| measured.journal_sync(length))),
            ..journal_options(&config, &clock)
        };
        let journal = Journal::open(&config.storage.data_dir, &journal_options)?;
        Reserve::of(&config.storage).give_up_if_full(&journal);
        let opened = journal.next_seq();
        tell(health::data_directory(&config));
        tell(health::journal(&journal));
        let view = journal.view();
        let projections = layout::projections(&config);
        let runner = Arc::new(Runner::start(&view, projections, report_losses(&journal)));
        let behind = runner.wait_for(view.head()?, CATCH_UP_PATIENCE);
        for item in health::projections(&runner, &behind) {
            tell(item);
        }
        let writer = Arc::new(EventWriter::new(journal.clone(), Arc::clone(&metrics)));
        failures.write_to(&writer);
        if let Some(item) = health::detector(detector.as_deref()) {
            tell(item);
        }
        let wake: Arc<Wake> = Arc::default();
        let (storing, ringing) = (Arc::clone(&writer), Arc::clone(&wake));
        let storage = StorageGuard::start(
            &config,
            &journal,
            (&runner, opened),
            &clock,
            Arc::new(move |event| {
                storing.write(event);
            }),
            move || ringing.ring(),
        );
        tell(health::storage(&storage));
        let cameras = Mutex::default();
        let shared = Arc::new(Shared {
            view,
            runner,
            storage,
            cameras,
            metrics,
            writer,
            detector: Mutex::new(detector),
        });
        let observed: Weak<dyn Observed> = Arc::<Shared>::downgrade(&shared);
        shared.metrics.observe(observed);
        let stop = Arc::new(AtomicBool::new(false));
        let status = StatusSource::new(&config, &journal, &shared, started);
        let handler = handler::ControlHandler::new(&journal, &shared, &status, &clock);
        let server = match Server::start(&config.storage.data_dir, Arc::new(handler)) {
            Ok(server) => Some(server),
            Err(error) => {
                tell(HealthItem::warning("control socket", error.to_string()));
                None
            }
        };
        scrub::scrub_newest(&journal, &stop);
        let status_line = options.logging.as_ref().and_then(|logging| logging.status_line.clone());
        let (metrics, problems) =
            (Arc::clone(&shared.metrics), Arc::new(move || status.problems()));
        let reporting = Reporting::start(&config, metrics, status_line, problems, tell);
        let mut recorder = Self {
            config,
            options,
            clock,
            journal,
            shared,
            reporting,
            server,
            cancel,
            wake,
            stop,
            started,
            failures,
        };
        recorder.write_started();
        recorder.failures.write_waiting();
        for item in recorder.start_cameras() {
            tell(item);
        }
        recorder.reporting.ready();
        tracing::info!(pid = std::process::id(), "recording");
        Ok(recorder)
    }

    fn write_started(&self) {
        let zone = &self.config.time.zone;
        let time_zone = if zone.is_empty() { health::time_zone() } else { zone.clone() };
        tracing::info!(time_zone, now = %self.clock.read().wall, "local time");
        self.shared.writer.write(&Event::RecorderStarted(RecorderStarted {
            at: self.clock.read().wall,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time_zone,
            cameras: self.config.cameras.keys().cloned().collect(),
        }));
    }

    /// Starts every camera of the configuration that does not run as it says. Returns a line for each.
    fn start_cameras(&mut self) -> Vec<HealthItem> {
        let plans = plan::plans(&self.config, self.options.sources);
        let mut items = Vec::new();
        let mut cameras = self.shared.cameras();
        let unwanted: Vec<String> = cameras
            .iter()
            .filter(|(_, thread)| !plans.contains(thread.plan()))
            .map(|(id, _)| id.clone())
            .collect();
        for id in unwanted {
            if let Some(mut thread) = cameras.remove(&id) {
                thread.stop();
            }
        }
        for plan in plans {
            let id = plan.settings.id.clone();
            if cameras.contains_key(&id) {
                continue;
            }
            let source = crate::redact::redacted(&plan.spec.to_string());
            match self.start_camera(plan) {
                Ok(thread) => {
                    items.push(HealthItem::ok(format!("camera {id}"), source));
                    cameras.insert(id, thread);
                }
                Err(error) => {
                    items.push(HealthItem::warning(format!("camera {id}"), error.to_string()));
                }
            }
        }
        items
    }

    fn start_camera(&self, plan: CameraPlan) -> std::io::Result<CameraThread> {
        let images = ImageWriter::new(
            Arc::new(RealStorage),
            &self.config.storage.data_dir,
            self.config.images,
        );
        let (writer, metrics) = (Arc::clone(&self.shared.writer), Arc::clone(&self.shared.metrics));
        let pipeline = Pipeline::new(plan.settings.clone(), writer, images, Arc::clone(&metrics));
        let surroundings = Surroundings {
            writer: Arc::clone(&self.shared.writer),
            metrics,
            clock: Arc::clone(&self.clock),
            fail_fast: self.options.fail_fast,
            ended: Arc::clone(&self.wake),
            detector: self.shared.detector(),
        };
        CameraThread::start(plan, pipeline, surroundings, &self.cancel)
    }

    /// Records until a signal, the set duration or the end of all sources, then ends in good order.
    ///
    /// # Errors
    ///
    /// Those of closing the journal: what was acknowledged is durable all the same.
    pub fn run(mut self) -> Result<Session, Error> {
        self.options.signals.ring(&self.wake);
        let tick = self.reporting.watchdog_tick().map_or(TICK, |tick| tick.min(TICK));
        let reason = loop {
            if self.options.signals.is_stopped() {
                break "a signal";
            }
            if self.shared.storage.is_full() {
                break STORAGE_LIMIT;
            }
            if self.options.duration.is_some_and(|duration| self.started.elapsed() >= duration) {
                break "the set duration";
            }
            if self.shared.cameras().values().all(CameraThread::is_done) {
                break "the end of all sources";
            }
            if self.options.signals.take_reload() {
                self.reload();
            }
            self.tick();
            let left = self.options.duration.map(|duration| {
                duration.saturating_sub(self.started.elapsed()).max(Duration::from_millis(1))
            });
            self.wake.wait(left.map_or(tick, |left| left.min(tick)));
        };
        self.finish(reason)
    }

    fn tick(&mut self) {
        let now = self.clock.read();
        for camera in self.shared.cameras().values() {
            camera.tick(now);
        }
        self.shared.writer.tick();
        self.shared.storage.note(self.journal.next_seq());
        let figures = self.shared.storage.figures();
        self.shared.metrics.set_storage(StorageFigures {
            total_bytes: Some(figures.stats.total_bytes),
            limit_bytes: Some(figures.stats.limit_bytes),
            warnings: figures.storage_warnings,
        });
        if self.shared.writer.backlog() > 0 {
            // Whatever the figures said: there is no room.
            self.shared.storage.check_soon();
        }
        let followers = self.shared.runner.status();
        let alive = followers.iter().all(|status| status.state != ProjectionState::Stopped);
        self.reporting.tick(alive);
    }

    /// Reads the configuration again and changes what can be changed while running.
    fn reload(&mut self) {
        let (new, warnings) = match (self.options.reload)() {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(%error, "the configuration is not reloaded; the old one stays in force");
                return;
            }
        };
        // Such as a file that is just being written. A recorder without cameras would be at its end.
        if new.cameras.is_empty() {
            tracing::error!(
                "the configuration is not reloaded: no camera is configured; the old one stays in force"
            );
            return;
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let old = std::mem::replace(&mut self.config, new);
        let needs_restart = old.storage != self.config.storage
            || old.log.format != self.config.log.format
            || old.log.plaintext_metadata != self.config.log.plaintext_metadata
            || old.time != self.config.time;
        if needs_restart {
            tracing::warn!(
                "changes of [storage], [time], log.format and log.plaintext_metadata take effect after a restart"
            );
            self.config.storage = old.storage;
            self.config.time = old.time;
        }
        if let Some(logging) = &self.options.logging {
            logging.level.set(&self.config.log.level);
        }
        let other_detector = self.reload_detector(&old.detector);
        if other_detector || old.images != self.config.images {
            for camera in self.shared.cameras().values_mut() {
                camera.stop();
            }
            self.shared.cameras().clear();
        }
        for item in self.start_cameras() {
            tracing::info!("{item}");
        }
        self.shared.metrics.keep_cameras(|id| self.config.cameras.contains_key(id));
        self.reporting.reload(&self.config);
        tracing::info!("the configuration is reloaded");
    }

    /// Starts another detector where another one is wanted, and keeps the old one where that fails. Returns whether
    /// cameras have to begin to ask another one.
    fn reload_detector(&mut self, old: &crate::config::Detector) -> bool {
        let wanted = detection::settings(&self.config);
        let running = self.shared.detector();
        if wanted.as_ref() == running.as_ref().map(|detector| detector.settings()) {
            return false;
        }
        match detection::start(&self.config, &self.options.program, &self.cancel, &self.failures) {
            Ok(detector) => {
                let mut place = self.shared.detector.lock().unwrap_or_else(PoisonError::into_inner);
                *place = detector;
                true
            }
            Err(error) => {
                tracing::error!(%error, "[detector] is not reloaded; the old one stays in force");
                self.config.detector = old.clone();
                false
            }
        }
    }

    fn finish(mut self, reason: &'static str) -> Result<Session, Error> {
        tracing::info!(reason, "stopping");
        self.reporting.stopping();
        let done = watch_the_end();
        self.stop.store(true, Ordering::Release);
        self.cancel.cancel();
        let mut failed = Vec::new();
        for (id, mut camera) in std::mem::take(&mut *self.shared.cameras()) {
            camera.stop();
            if let CameraState::Failed(why) | CameraState::Lost(why) = camera.state() {
                failed.push((id, why));
            }
        }
        self.shared.storage.stop();
        self.server = None;
        let uptime = self.started.elapsed();
        self.shared.writer.write(&Event::RecorderStopped(RecorderStopped {
            at: self.clock.read().wall,
            reason: reason.to_owned(),
            uptime_s: uptime.as_secs(),
            events: self.shared.metrics.counted().events,
        }));
        self.shared.writer.tick();
        let head = self.journal.sync().and_then(|()| self.journal.view().head());
        let behind = match head {
            Ok(head) => self.shared.runner.wait_for(head, CATCH_UP_PATIENCE),
            Err(_) => Vec::new(),
        };
        // Before the followers stop: the last line is to tell how far they have come.
        self.reporting.stop();
        self.shared.runner.stop();
        let closed = self.journal.close();
        done.store(true, Ordering::Release);
        closed?;
        let counted = self.shared.metrics.counted();
        let last_event = self.shared.metrics.last_event().map(|(_, event)| event);
        let storage = self.shared.storage.figures().stats;
        Ok(Session { counted, last_event, uptime, reason, failed, behind, storage })
    }
}

/// Ends the process where its end takes too long; what was acknowledged is durable all the same.
fn watch_the_end() -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&done);
    let _ = std::thread::Builder::new().name("watch the end".to_owned()).spawn(move || {
        let deadline = Instant::now() + DRAIN_MAX;
        while !watched.load(Ordering::Acquire) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::error!("the end took longer than {DRAIN_MAX:?}; the next start recovers");
                std::process::exit(1);
            }
            std::thread::park_timeout(left.min(Duration::from_millis(100)));
        }
    });
    done
}
