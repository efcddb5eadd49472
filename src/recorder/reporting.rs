//! [`Reporting`]: writes the metrics to files, terminal, service manager and HTTP while the recorder runs.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Shared;
use super::health::HealthItem;
use crate::config::Config;
use crate::logging::StatusLine;
use crate::metrics::http::Server;
use crate::metrics::{
    MetricsCollector, MetricsFile, Problems, Reporter, SdNotify, Sinks, StatusSink, pages,
};

/// An address that could not be listened on is tried again this often.
const LISTEN_PAUSE: Duration = Duration::from_secs(10);

/// The sinks of the metrics.
pub(super) struct Reporting {
    collector: Arc<MetricsCollector>,
    problems: Problems,
    notifier: Arc<Mutex<SdNotify>>,
    reporter: Option<Reporter>,
    listen: Listen,
}

/// The file system of the log directory, which may go away with that of the data.
pub(super) struct Place {
    logs: PathBuf,
    device: Option<u64>,
    shared: Weak<Shared>,
}

impl Place {
    pub(super) fn of(config: &Config, shared: &Arc<Shared>) -> Self {
        let logs = config.storage.log_dir.clone();
        Self { device: device_of(&logs), logs, shared: Arc::downgrade(shared) }
    }

    /// Whether the logs may be written: the data directory is there, or their file system is what it was.
    fn check(&self) -> std::io::Result<()> {
        let store = self.shared.upgrade().and_then(|shared| shared.store().ok());
        let is_there = store.is_some_and(|store| store.view.check_place().is_ok());
        match is_there || device_of(&self.logs) == self.device {
            true => Ok(()),
            false => Err(std::io::Error::other("its file system is gone")),
        }
    }
}

/// The device of a directory, or of the nearest one above it that is there.
fn device_of(directory: &Path) -> Option<u64> {
    let absolute = std::path::absolute(directory).ok()?;
    absolute.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|found| found.dev())
}

/// Where figures are served over HTTP.
#[derive(Default)]
struct Listen {
    address: Option<SocketAddr>,
    server: Option<Server>,
    tried: Option<Instant>,
}

impl Reporting {
    /// Starts the sinks. One that fails is an item of the health check; recording goes on.
    pub(super) fn start(
        config: &Config,
        collector: Arc<MetricsCollector>,
        place: Place,
        status_line: Option<StatusLine>,
        problems: Problems,
        report: &mut dyn FnMut(HealthItem),
    ) -> Self {
        let notifier = Arc::new(Mutex::new(SdNotify::from_environment()));
        let limit = (config.storage.max_storage_gb * 1e9) as u64;
        let sinks = Sinks {
            file: MetricsFile::new(&config.storage.log_dir, limit)
                .while_there(move || place.check()),
            terminal: status_line.map(|line| Box::new(line.into_sink()) as StatusSink),
            sd_notify: Arc::clone(&notifier),
        };
        let interval = config.metrics.metrics_interval.0;
        let reporter = Reporter::start(Arc::clone(&collector), sinks, interval);
        let reporter = reporter
            .inspect_err(|error| report(HealthItem::warning("metrics", error.to_string())))
            .ok();
        let listen = Listen { address: config.metrics.address(), ..Listen::default() };
        let mut reporting = Self { collector, problems, notifier, reporter, listen };
        match reporting.listen() {
            Ok(None) => {}
            Ok(Some(address)) => report(HealthItem::ok("metrics", url(address))),
            Err(error) => report(HealthItem::warning("metrics", error)),
        }
        reporting
    }

    /// The recorder records.
    pub(super) fn ready(&self) {
        self.notifier.lock().ready();
    }

    /// How long the main loop may wait so that the watchdog hears of it in time.
    pub(super) fn watchdog_tick(&self) -> Option<Duration> {
        self.notifier.lock().watchdog_interval().map(|interval| interval / 4)
    }

    /// Called by the main loop, about once a second. `alive`: everything that should run does.
    pub(super) fn tick(&mut self, alive: bool) {
        if alive {
            self.notifier.lock().alive(Instant::now());
        }
        let is_due = self.listen.tried.is_some_and(|tried| tried.elapsed() >= LISTEN_PAUSE);
        // The reason was logged at the first attempt.
        if self.listen.server.is_none()
            && is_due
            && let Ok(Some(address)) = self.listen()
        {
            tracing::info!("metrics are served at {}", url(address));
        }
    }

    /// Takes what the configuration says now.
    pub(super) fn reload(&mut self, config: &Config) {
        if let Some(reporter) = &self.reporter {
            reporter.set_interval(config.metrics.metrics_interval.0);
        }
        let address = config.metrics.address();
        if address == self.listen.address {
            return;
        }
        // The old one first: both may want the same port.
        self.listen = Listen::default();
        self.listen.address = address;
        match self.listen() {
            Ok(None) => tracing::info!("metrics are not served any more"),
            Ok(Some(address)) => tracing::info!("metrics are served at {}", url(address)),
            Err(error) => tracing::warn!("metrics: {error}"),
        }
    }

    /// The recorder begins to end.
    pub(super) fn stopping(&self) {
        self.notifier.lock().stopping();
    }

    /// Writes the metrics a last time.
    pub(super) fn stop(&mut self) {
        self.listen = Listen::default();
        if let Some(mut reporter) = self.reporter.take() {
            reporter.stop();
        }
    }

    /// Listens where that is wanted and not done yet. Returns where.
    fn listen(&mut self) -> Result<Option<SocketAddr>, String> {
        let Some(address) = self.listen.address else { return Ok(None) };
        self.listen.tried = Some(Instant::now());
        let respond = pages(Arc::clone(&self.collector), Arc::clone(&self.problems));
        let server = Server::start(address, respond).map_err(|error| {
            format!("cannot listen on {address}: {error}; retried every minute; recording goes on")
        })?;
        let address = server.address();
        self.listen.server = Some(server);
        Ok(Some(address))
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/metrics")
}
