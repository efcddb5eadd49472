//! The recorder: cameras, their pipelines, the journal, the projections, and what holds them together.
//!
//! ```text
//! camera thread: source → motion → policy → picture on disk → EventWriter ─→ journal ─→ a follower a projection
//! main thread:   signals, duration, reload, ticks, watchdog                    ↑
//! control socket: status, minutes, ingest, rebuild ────────────────────────────┘
//! metrics:       metrics.json, status line, service manager, HTTP: told by all, asked by nobody
//! ```

mod allowance;
mod camera;
mod handler;
mod health;
mod home;
mod images;
mod orphans;
mod pipeline;
mod plan;
mod reporting;
mod scrub;
mod signals;
mod status;
mod summary;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use lenslog_engine::{OnLost, ProjectionState};
use lenslog_events::{Event, EventDetected, RecorderStarted, RecorderStopped};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Clock, Error, Journal, Options};

use camera::{CameraPlan, CameraState, CameraThread, Surroundings, Wake};
use home::{Absence, Home, Opener};
use images::ImageWriter;
use pipeline::Pipeline;
use reporting::Reporting;
use status::StatusSource;
use writer::EventWriter;

use crate::config::{Config, Warning};
use crate::ingest::Admission;
use crate::logging::Logging;
use crate::metrics::{Counted, MetricsCollector, Observed, ProjectionFigures, StorageFigures};
use crate::source::Cancel;
use crate::storage::{Reserve, StorageStats};
use lenslog_tools::control::Server;

pub use handler::storage_status;
pub use health::{HealthItem, Verdict};
pub use plan::{SourceFlags, clock};
pub use signals::{Signals, wait_for_mount};
pub use summary::summary;
pub use writer::{BACKLOG_EVENTS_MAX, LOST_NAMED_MAX, Lost};

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
#[derive(Debug, Clone)]
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
    /// What did not get into the journal.
    pub lost: Lost,
    /// Why the journal could not be closed: what was acknowledged is durable all the same.
    pub unclosed: Option<Error>,
}

/// A recorder that runs.
pub struct Recorder {
    config: Config,
    options: RecordOptions,
    clock: Arc<dyn Clock>,
    opener: Opener,
    shared: Arc<Shared>,
    absence: Option<Absence>,
    status: StatusSource,
    reporting: Reporting,
    server: Option<Server>,
    cancel: Cancel,
    wake: Arc<Wake>,
    stop: Arc<AtomicBool>,
    started: Instant,
}

/// What the control socket and whoever reads metrics see too.
struct Shared {
    /// Why there is none: the data directory is gone.
    home: RwLock<Result<Arc<Home>, Error>>,
    cameras: Mutex<BTreeMap<String, CameraThread>>,
    metrics: Arc<MetricsCollector>,
    writer: Arc<EventWriter>,
}

impl Shared {
    fn home(&self) -> Result<Arc<Home>, Error> {
        self.home.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_home(&self, home: Result<Arc<Home>, Error>) -> Result<Arc<Home>, Error> {
        let mut own = self.home.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *own, home)
    }

    fn cameras(&self) -> MutexGuard<'_, BTreeMap<String, CameraThread>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observed for Shared {
    fn projections(&self) -> Vec<ProjectionFigures> {
        let Ok(home) = self.home() else { return Vec::new() };
        let head = home.view.head().unwrap_or_default();
        let figures = |status: lenslog_engine::ProjectionStatus| ProjectionFigures {
            name: status.name.to_owned(),
            following: status.state == ProjectionState::Following,
            lag_records: head.0.saturating_sub(status.next.0),
            parked: status.parked,
            errors: status.errors,
            next: status.next.0,
        };
        home.runner.status().into_iter().map(figures).collect()
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
    /// Those of opening the journal. Everything else is told, counted, and tried again.
    pub fn start(
        config: Config,
        options: RecordOptions,
        tell: &mut dyn FnMut(HealthItem),
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let clock: Arc<dyn Clock> = clock(&config);
        let metrics = Arc::new(MetricsCollector::new(Arc::clone(&clock)));
        let limit_bytes = Some((config.storage.max_storage_gb * 1e9) as u64);
        metrics.set_storage(StorageFigures { limit_bytes, ..StorageFigures::default() });
        let wake: Arc<Wake> = Arc::default();
        let writer = Arc::new(EventWriter::new(&config.storage.data_dir, Arc::clone(&metrics)));
        let opener = Opener {
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            writer: Arc::clone(&writer),
            wake: Arc::clone(&wake),
        };
        let home = RwLock::new(Ok(Arc::new(opener.open(&config, tell)?)));
        let cameras = Mutex::default();
        let shared = Arc::new(Shared { home, cameras, metrics, writer });
        let observed: Weak<dyn Observed> = Arc::<Shared>::downgrade(&shared);
        shared.metrics.observe(observed);
        let stop = Arc::new(AtomicBool::new(false));
        let status = StatusSource::new(&config, &shared, started);
        let status_line = options.logging.as_ref().and_then(|logging| logging.status_line.clone());
        let (metrics, asked) = (Arc::clone(&shared.metrics), status.clone());
        let problems = Arc::new(move || asked.problems());
        let place = reporting::Place::of(&config, &shared);
        let reporting = Reporting::start(&config, metrics, place, status_line, problems, tell);
        let mut recorder = Self {
            config,
            options,
            clock,
            opener,
            shared,
            absence: None,
            status,
            reporting,
            server: None,
            cancel: Cancel::new(),
            wake,
            stop,
            started,
        };
        if let Err(error) = recorder.serve() {
            tell(HealthItem::warning("control socket", error.to_string()));
        }
        if let Ok(home) = recorder.shared.home() {
            scrub::scrub_newest(&home.journal, &recorder.stop);
            let data = recorder.config.storage.data_dir.clone();
            orphans::remove_in_background(&home.journal, &data);
        }
        recorder.write_started();
        for item in recorder.start_cameras() {
            tell(item);
        }
        recorder.reporting.ready();
        tracing::info!(pid = std::process::id(), "recording");
        Ok(recorder)
    }

    /// Listens on the control socket.
    fn serve(&mut self) -> std::io::Result<()> {
        let handler = handler::ControlHandler::new(&self.shared, &self.status, &self.clock);
        self.server = Some(Server::start(&self.config.storage.data_dir, Arc::new(handler))?);
        Ok(())
    }

    /// Listens on the control socket where that could not be done at the start, such as on a full disk.
    fn serve_at_last(&mut self) {
        if self.server.is_some() || self.absence.is_some() {
            return;
        }
        match self.serve() {
            Ok(()) => tracing::info!("the control socket is there now"),
            Err(error) => tracing::debug!(%error, "there is still no control socket"),
        }
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
            .filter(|(_, thread)| !plans.iter().any(|plan| thread.goes_on(plan)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in unwanted {
            if let Some(mut thread) = cameras.remove(&id) {
                thread.stop();
            }
        }
        for plan in plans {
            let id = plan.settings.id.clone();
            if let Some(thread) = cameras.get(&id) {
                if *thread.plan() != plan {
                    tracing::info!(
                        camera = id,
                        "a recording is read as it was begun; changes take effect at the next start"
                    );
                }
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
        let writer = Arc::clone(&self.shared.writer);
        let images = ImageWriter::new(writer, &self.config.storage.data_dir, self.config.images);
        let (writer, metrics) = (Arc::clone(&self.shared.writer), Arc::clone(&self.shared.metrics));
        let pipeline = Pipeline::new(plan.settings.clone(), writer, images, Arc::clone(&metrics));
        let surroundings = Surroundings {
            writer: Arc::clone(&self.shared.writer),
            metrics,
            clock: Arc::clone(&self.clock),
            fail_fast: self.options.fail_fast,
            ended: Arc::clone(&self.wake),
        };
        CameraThread::start(plan, pipeline, surroundings, &self.cancel)
    }

    /// Records until a signal, the set duration or the end of all sources, then ends in good order.
    ///
    /// What could not be written by then is in the session.
    pub fn run(mut self) -> Session {
        self.options.signals.ring(&self.wake);
        let tick = self.reporting.watchdog_tick().map_or(TICK, |tick| tick.min(TICK));
        let reason = loop {
            if self.options.signals.is_stopped() {
                break "a signal";
            }
            if self.shared.home().is_ok_and(|home| home.storage.is_full()) {
                break STORAGE_LIMIT;
            }
            if self.options.duration.is_some_and(|duration| self.started.elapsed() >= duration) {
                break "the set duration";
            }
            if self.shared.cameras().values().all(CameraThread::is_done) {
                // What was read faster than it could be checked.
                let home = self.shared.home();
                let has_room = home.map_or(true, |home| home.storage.make_room());
                break if has_room { "the end of all sources" } else { STORAGE_LIMIT };
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
        self.serve_at_last();
        let now = self.clock.read();
        for camera in self.shared.cameras().values() {
            camera.tick(now);
        }
        let alive = match self.look_after_home() {
            Ok(home) => self.tick_home(&home),
            Err(_) => true,
        };
        self.reporting.tick(alive);
    }

    /// The home, if it is where it was. Leaves it where it is gone, goes back where it is back.
    fn look_after_home(&mut self) -> Result<Arc<Home>, Error> {
        match (self.shared.home(), &mut self.absence) {
            (Ok(home), _) => match home.view.check_place() {
                Ok(()) => Ok(home),
                Err(error) => {
                    self.leave(home, &error);
                    Err(error)
                }
            },
            (Err(error), Some(absence)) => {
                if !absence.is_over(&self.config) {
                    return Err(error);
                }
                self.come_back()
            }
            (away, None) => away,
        }
    }

    /// Lets go of everything in the data directory, which is gone. Cameras go on, into memory.
    fn leave(&mut self, home: Arc<Home>, error: &Error) {
        self.absence = Some(Absence::of(home.view.journal_id()));
        self.shared.writer.detach(error.clone());
        let _ = self.shared.set_home(Err(error.clone()));
        self.server = None;
        home.leave();
    }

    /// Opens what is back in its place; events that waited are journaled first.
    fn come_back(&mut self) -> Result<Arc<Home>, Error> {
        let opened = self.opener.open(&self.config, &mut |item| tracing::info!("{item}"));
        match opened {
            Ok(home) => {
                let home = Arc::new(home);
                let _ = self.shared.set_home(Ok(Arc::clone(&home)));
                self.absence = None;
                if let Err(error) = self.serve() {
                    tracing::warn!(%error, "there is no control socket");
                }
                tracing::warn!("{} is back", self.config.storage.data_dir.display());
                Ok(home)
            }
            Err(error) => {
                self.shared.writer.detach(error.clone());
                if let Some(absence) = &mut self.absence {
                    absence.tell(error.to_string());
                }
                Err(error)
            }
        }
    }

    /// Says whether everything that should run does.
    fn tick_home(&self, home: &Home) -> bool {
        home.defer_descriptions(&self.opener, self.config.description.hold.0);
        self.shared.writer.tick();
        home.storage.note(home.journal.next_seq());
        let figures = home.storage.figures();
        self.shared.metrics.set_storage(StorageFigures {
            total_bytes: Some(figures.stats.total_bytes),
            limit_bytes: Some(figures.stats.limit_bytes),
            warnings: figures.storage_warnings,
        });
        if self.shared.writer.backlog() > 0 {
            // Whatever the figures said: there is no room.
            home.storage.check_soon();
        }
        let followers = home.runner.status();
        followers.iter().all(|status| status.state != ProjectionState::Stopped)
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
        if old.images != self.config.images {
            let mut cameras = self.shared.cameras();
            cameras
                .values_mut()
                .filter(|camera| !camera.is_recording())
                .for_each(CameraThread::stop);
            // A recording is not read twice.
            cameras.retain(|_, camera| camera.is_recording());
        }
        if old.description != self.config.description
            && let Ok(home) = self.shared.home()
        {
            home.describe(&self.config, &self.opener);
        }
        for item in self.start_cameras() {
            tracing::info!("{item}");
        }
        self.shared.metrics.keep_cameras(|id| self.config.cameras.contains_key(id));
        self.reporting.reload(&self.config);
        tracing::info!("the configuration is reloaded");
    }

    fn finish(mut self, reason: &'static str) -> Session {
        tracing::info!(reason, "stopping");
        self.reporting.stopping();
        let done = watch_the_end(if reason == STORAGE_LIMIT { 3 } else { 1 });
        self.stop.store(true, Ordering::Release);
        self.cancel.cancel();
        let mut failed = Vec::new();
        for (id, mut camera) in std::mem::take(&mut *self.shared.cameras()) {
            camera.stop();
            if let CameraState::Failed(why) | CameraState::Lost(why) = camera.state() {
                failed.push((id, why));
            }
        }
        let home = self.shared.home();
        if let Ok(home) = &home {
            *home.describer() = None;
            // What is not described by now is described later; the files do not end before the journal does.
            home.defer_descriptions(&self.opener, Duration::ZERO);
            home.storage.stop();
            // So that the projections can commit what they have, and can be read afterwards.
            Reserve::of(&self.config.storage).give_up_if_full(&home.journal);
        }
        self.server = None;
        let uptime = self.started.elapsed();
        self.shared.writer.write(&Event::RecorderStopped(RecorderStopped {
            at: self.clock.read().wall,
            reason: reason.to_owned(),
            uptime_s: uptime.as_secs(),
            events: self.shared.metrics.counted().events,
        }));
        self.shared.writer.tick();
        let behind = home.as_ref().map_or_else(|_| Vec::new(), |home| catch_up(home));
        let lost = self.shared.writer.lost();
        // Before the followers stop: the last line is to tell how far they have come.
        self.reporting.stop();
        let unclosed = match &home {
            Ok(home) => {
                home.runner.stop();
                home.journal.close().err()
            }
            Err(error) => Some(error.clone()),
        };
        done.store(true, Ordering::Release);
        let counted = self.shared.metrics.counted();
        let last_event = self.shared.metrics.last_event().map(|(_, event)| event);
        let storage =
            home.map_or_else(|_| StorageStats::default(), |home| home.storage.figures().stats);
        Session { counted, last_event, uptime, reason, failed, behind, storage, lost, unclosed }
    }
}

/// Waits, a bounded time, for the projections; names those that have not caught up.
fn catch_up(home: &Home) -> Vec<&'static str> {
    match home.journal.sync().and_then(|()| home.view.head()) {
        Ok(head) => home.runner.wait_for(head, CATCH_UP_PATIENCE),
        Err(_) => Vec::new(),
    }
}

/// Ends the process, with that exit code, where its end takes too long; what was acknowledged is durable all the same.
fn watch_the_end(code: i32) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&done);
    let _ = std::thread::Builder::new().name("watch the end".to_owned()).spawn(move || {
        let deadline = Instant::now() + DRAIN_MAX;
        while !watched.load(Ordering::Acquire) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::error!("the end took longer than {DRAIN_MAX:?}; the next start recovers");
                std::process::exit(code);
            }
            std::thread::park_timeout(left.min(Duration::from_millis(100)));
        }
    });
    done
}
