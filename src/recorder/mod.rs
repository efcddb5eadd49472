//! The recorder: cameras, their pipelines, the journal, the projections, and what holds them together.
//!
//! ```text
//! camera thread: source → motion → detector → policy → picture on disk → EventWriter ─→ journal ─→ a follower a projection
//! main thread:   signals, duration, reload, ticks, watchdog                    ↑
//! control socket: status, minutes, ingest, rebuild ────────────────────────────┘
//! metrics:       metrics.json, status line, service manager, HTTP: told by all, asked by nobody
//! ```

mod allowance;
mod camera;
mod detection;
mod ending;
mod handler;
mod health;
mod home;
mod images;
mod link;
mod orphans;
mod pipeline;
mod plan;
mod reload;
mod reporting;
mod scrub;
mod session;
mod shared;
mod signals;
mod status;
mod summary;
mod tending;
#[cfg(test)]
mod testing;
mod wake;
mod writer;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::{Duration, Instant};

use lenslog_engine::OnLost;
use lenslog_events::{Event, RecorderStarted};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Clock, Journal, Options};

use camera::{CameraPlan, CameraThread, Surroundings};
use detection::Failures;
pub use detection::StartError;
use home::{Absence, Opener};
use images::ImageWriter;
use pipeline::Pipeline;
use reporting::Reporting;
use shared::Shared;
use status::StatusSource;
use wake::Wake;
use writer::EventWriter;

use crate::config::Config;
use crate::ingest::Admission;
use crate::metrics::{MetricsCollector, Observed, StorageFigures};
use crate::source::Cancel;
use lenslog_tools::control::{SOCKET, Server};

pub use handler::storage_status;
pub use health::{HealthItem, Verdict};
pub use plan::{SourceFlags, clock};
pub use session::{RecordOptions, Reload, STORAGE_LIMIT, Session};
pub use signals::{Signals, wait_for_mount};
pub use summary::summary;
pub use writer::{BACKLOG_EVENTS_MAX, LOST_NAMED_MAX, Lost};

/// How often minutes are closed, backlogs tried and conditions looked at.
const TICK: Duration = Duration::from_secs(1);
/// 2026 began: a clock that shows less was not set since the machine was switched on.
const CLOCK_MICROS_MIN: i64 = 1_767_225_600_000_000;
/// How long the end may take before the process ends without it.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long the projections may stand still at the end before they are left behind; they catch up at the next start.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(3);

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
    failures: Failures,
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
        let (cancel, failures) = (options.signals.cancel().child(), Failures::new(&clock));
        // First: what is wrong with a model is told before anything is made or changed.
        let detector = detection::start(&config, &options.program, &cancel, &failures)?;
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
        failures.write_to(&writer);
        if let Some(item) = health::detector(detector.as_deref()) {
            tell(item);
        }
        let cameras = Mutex::default();
        let shared =
            Arc::new(Shared { home, cameras, metrics, writer, detector: Mutex::new(detector) });
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
            cancel,
            wake,
            stop,
            started,
            failures,
        };
        if let Err(error) = recorder.serve() {
            let detail = format!(
                "cannot make {}: {error}; `lenslog status` and `ingest` do not reach this recorder",
                recorder.config.storage.data_dir.join(SOCKET).display()
            );
            tell(HealthItem::warning("control socket", detail));
        }
        if let Ok(home) = recorder.shared.home() {
            scrub::scrub(&home, &recorder.stop);
            let data = recorder.config.storage.data_dir.clone();
            orphans::remove_in_background(&home.journal, &data);
        }
        recorder.write_started();
        recorder.failures.write_waiting();
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
        let now = self.clock.read().wall;
        tracing::info!(time_zone, %now, "local time");
        if now.utc_micros < CLOCK_MICROS_MIN {
            tracing::warn!(
                "the clock shows {now}, and was never set: events lie in the days that it shows; NTP or timedatectl sets it"
            );
        }
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
        let is_unwanted =
            |thread: &mut CameraThread| !plans.iter().any(|plan| thread.goes_on(plan));
        let mut unwanted: Vec<_> =
            cameras.extract_if(.., |_, thread| is_unwanted(thread)).collect();
        unwanted.iter().for_each(|(_, thread)| thread.begin_stop());
        unwanted.iter_mut().for_each(|(_, thread)| thread.stop());
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
                    items.push(HealthItem::begun(format!("camera {id}"), source));
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
            detector: self.shared.detector(),
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
}
