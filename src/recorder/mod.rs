//! The recorder: cameras, their pipelines, the journal, the projections, and what holds them together.
//!
//! ```text
//! camera thread: source → motion → detector → policy → picture on disk → EventWriter ─→ journal ─→ a follower a projection
//! main thread:   signals, duration, reload, ticks, watchdog                    ↑
//! control socket: status, minutes, ingest, rebuild ────────────────────────────┘
//! metrics:       metrics.json, status line, service manager, HTTP: written by all threads, read by none
//! ```

mod camera;
mod control;
mod data_store;
mod detection;
mod health;
mod images;
mod lifecycle;
mod pipeline;
mod plan;
mod reporting;
mod session;
mod signals;
#[cfg(test)]
mod testing;
mod writer;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lenslog_events::{Event, RecorderStarted};
use lenslog_journal::Clock;
use parking_lot::{Mutex, RwLock};

use camera::{CameraContext, CameraPlan, CameraThread};
use control::StatusSource;
use data_store::{Detached, StoreOpener};
use detection::Failures;
pub use detection::RecorderStartError;
use images::ImageWriter;
use pipeline::Pipeline;
use reporting::Reporting;
use session::Shared;
use writer::EventWriter;

use crate::config::Config;
use crate::metrics::{GaugeSource, MetricsCollector, StorageMetrics};
use crate::storage::Admission;
use crate::store::clock;
use crate::util::{CancellationToken, Notify, SET_CLOCK_MICROS_MIN, Trust};
use lenslog_control::{ControlServer, SOCKET};

pub use control::storage_status;
pub use health::{HealthItem, HealthVerdict};
pub use plan::SourceFlags;
pub use session::summary;
pub use session::{RecordOptions, STORAGE_LIMIT, Session};
pub use signals::{Signals, wait_for_mount};
pub use writer::{BACKLOG_EVENTS_MAX, LostRecords};

/// How often minutes are closed, backlogs tried and conditions looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long the end may take before the process ends without it.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long the projections may stand still at the end before they are left behind; they catch up at the next start.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(3);

/// A recorder that runs.
pub struct Recorder {
    config: Config,
    options: RecordOptions,
    clock: Arc<dyn Clock>,
    opener: StoreOpener,
    shared: Arc<Shared>,
    detached: Option<Detached>,
    status: StatusSource,
    reporting: Reporting,
    server: Option<ControlServer>,
    cancel: CancellationToken,
    wake: Arc<Notify>,
    stop: Arc<AtomicBool>,
    started: Instant,
    failures: Failures,
}

impl Recorder {
    /// Opens the journal, starts the projections, the control socket and the cameras. `report` gets every item
    /// of the health check.
    ///
    /// # Errors
    ///
    /// [`RecorderStartError`]: those of opening the journal, and why there is no detector where one is required. Everything
    /// else is logged, counted, and retried.
    pub fn start(
        config: Config,
        options: RecordOptions,
        report: &mut dyn FnMut(HealthItem),
    ) -> Result<Self, RecorderStartError> {
        let started = Instant::now();
        let clock: Arc<dyn Clock> = clock(&config);
        let (cancel, failures) = (options.signals.cancel().child(), Failures::new(&clock));
        // First: a bad model is reported before anything is created or changed.
        let detector = detection::start(&config, &options.program, &cancel, &failures)?;
        let metrics = Arc::new(MetricsCollector::new(Arc::clone(&clock)));
        let limit_bytes = Some((config.storage.max_storage_gb * 1e9) as u64);
        metrics.set_storage(StorageMetrics { limit_bytes, ..StorageMetrics::default() });
        let wake: Arc<Notify> = Arc::default();
        let writer = Arc::new(EventWriter::new(&config.storage.data_dir, Arc::clone(&metrics)));
        let opener = StoreOpener {
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            writer: Arc::clone(&writer),
            wake: Arc::clone(&wake),
        };
        let store = RwLock::new(Ok(Arc::new(opener.open(&config, report)?)));
        failures.write_to(&writer);
        if let Some(item) = health::detector(detector.as_deref()) {
            report(item);
        }
        let cameras = Mutex::default();
        let shared =
            Arc::new(Shared { store, cameras, metrics, writer, detector: Mutex::new(detector) });
        let observed: Weak<dyn GaugeSource> = Arc::<Shared>::downgrade(&shared);
        shared.metrics.observe(observed);
        let stop = Arc::new(AtomicBool::new(false));
        let status = StatusSource::new(&config, &shared, started);
        let status_line = options.logging.as_ref().and_then(|logging| logging.status_line.clone());
        let (metrics, asked) = (Arc::clone(&shared.metrics), status.clone());
        let problems = Arc::new(move || asked.problems());
        let place = reporting::Place::of(&config, &shared);
        let reporting = Reporting::start(&config, metrics, place, status_line, problems, report);
        let mut recorder = Self {
            config,
            options,
            clock,
            opener,
            shared,
            detached: None,
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
            report(HealthItem::warning("control socket", detail));
        }
        if let Ok(store) = recorder.shared.store() {
            health::scrub(&store.journal, &store.left_out, &recorder.stop);
            let data = recorder.config.storage.data_dir.clone();
            images::remove_in_background(&store.journal, &data);
        }
        recorder.write_started();
        recorder.failures.write_waiting();
        for item in recorder.start_cameras() {
            report(item);
        }
        recorder.reporting.ready();
        tracing::info!(pid = std::process::id(), "recording");
        Ok(recorder)
    }

    /// Listens on the control socket.
    fn serve(&mut self) -> std::io::Result<()> {
        let handler = control::ControlHandler::new(&self.shared, &self.status, &self.clock);
        self.server = Some(ControlServer::start(&self.config.storage.data_dir, Arc::new(handler))?);
        Ok(())
    }

    /// Listens on the control socket where that could not be done at the start, such as on a full disk.
    fn serve_at_last(&mut self) {
        if self.server.is_some() || self.detached.is_some() {
            return;
        }
        match self.serve() {
            Ok(()) => tracing::info!("control socket: listening"),
            Err(error) => tracing::debug!(%error, "control socket: still not available"),
        }
    }

    fn write_started(&self) {
        let zone = &self.config.time.zone;
        let time_zone = if zone.is_empty() { health::time_zone() } else { zone.clone() };
        let now = self.clock.read().wall;
        tracing::info!(time_zone, %now, "local time");
        if now.utc_micros < SET_CLOCK_MICROS_MIN {
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
                    tracing::info!(camera = id, "recording: changes take effect at the next start");
                }
                continue;
            }
            let source = crate::util::redact::redacted(&plan.spec.to_string());
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
        let context = CameraContext {
            writer: Arc::clone(&self.shared.writer),
            metrics,
            clock: Arc::clone(&self.clock),
            fail_fast: self.options.fail_fast,
            ended: Arc::clone(&self.wake),
            detector: self.shared.detector(),
            trust: self.trust(),
        };
        CameraThread::start(plan, pipeline, context, &self.cancel)
    }

    /// Whether this machine's clock is to be believed; while the data directory is away, as it was last known.
    fn trust(&self) -> Trust {
        let (shared, clock) = (Arc::downgrade(&self.shared), Arc::clone(&self.clock));
        let last = Mutex::new(None);
        Trust::new(move || {
            let store = shared.upgrade().and_then(|shared| shared.store().ok());
            let mut last = last.lock();
            *last = store.map(|store| store.storage.clock_trust()).or(*last);
            last.is_some_and(|trust| trust.may_judge(clock.read()))
        })
    }

    /// Records until a signal, the set duration or the end of all sources, then ends in good order.
    ///
    /// What could not be written by then is in the session.
    pub fn run(mut self) -> Session {
        self.options.signals.notify_on_signal(&self.wake);
        let tick = self.reporting.watchdog_tick().map_or(TICK, |tick| tick.min(TICK));
        let reason = loop {
            if self.options.signals.is_stopped() {
                break "a signal";
            }
            if self.shared.store().is_ok_and(|store| store.storage.is_full()) {
                break STORAGE_LIMIT;
            }
            if self.options.duration.is_some_and(|duration| self.started.elapsed() >= duration) {
                break "the set duration";
            }
            if self.shared.cameras().values().all(CameraThread::is_done) {
                // What was read faster than it could be checked.
                let store = self.shared.store();
                let has_room = store.map_or(true, |store| store.storage.make_room());
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
        let alive = match self.check_data_dir() {
            Ok(store) => self.tick_store(&store),
            Err(_) => true,
        };
        self.reporting.tick(alive);
    }
}
