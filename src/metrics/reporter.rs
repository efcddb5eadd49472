//! [`Reporter`]: writes the figures down at an interval, on a thread of its own.
//!
//! To `metrics.json`, to the terminal or the log, and to the service manager. A file system that hangs holds up this
//! thread and nothing else.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::collector::MetricsCollector;
use super::file::MetricsFile;
use super::notify::SdNotify;
use super::snapshot::MetricsSnapshot;
use super::status::status;

/// How long the last line may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Shows the status to a person; `None` removes it.
pub type StatusSink = Box<dyn Fn(Option<&str>) + Send>;

/// Where the metrics go.
pub struct Sinks {
    /// `metrics.json`.
    pub file: MetricsFile,
    /// The terminal; `None`: lines of the log.
    pub terminal: Option<StatusSink>,
    /// The service manager.
    pub sd_notify: Arc<Mutex<SdNotify>>,
}

/// Writes the figures down until it is stopped.
#[derive(Debug)]
pub struct Reporter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    plan: Mutex<Plan>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    interval: Duration,
    stop: bool,
    ended: bool,
}

impl Reporter {
    /// Starts to write every `interval`.
    ///
    /// # Errors
    ///
    /// What the operating system says where it gives no thread.
    pub fn start(
        collector: Arc<MetricsCollector>,
        sinks: Sinks,
        interval: Duration,
    ) -> std::io::Result<Self> {
        let plan = Mutex::new(Plan { interval, stop: false, ended: false });
        let shared = Arc::new(Shared { plan, changed: Condvar::new() });
        let writer = Writer { collector, sinks, failing: None };
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            let _ended = Ended(&seen);
            writer.run(&seen);
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Writes at another interval from now on.
    pub fn set_interval(&self, interval: Duration) {
        self.shared.plan.lock().interval = interval;
        self.shared.changed.notify_all();
    }

    /// Writes a last line and ends. A file system that hangs is not waited for.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let mut plan = self.shared.plan.lock();
        plan.stop = true;
        self.shared.changed.notify_all();
        self.shared.changed.wait_while_for(&mut plan, |plan| !plan.ended, STOP_TIMEOUT);
        let ended = plan.ended;
        drop(plan);
        if !ended {
            tracing::warn!(
                "metrics.json: the writer hangs; the recorder ends without its last line"
            );
        } else if thread.join().is_err() {
            tracing::error!("the thread that writes metrics panicked");
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Says that the thread has ended, however it did.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.plan.lock().ended = true;
        self.0.changed.notify_all();
    }
}

struct Writer {
    collector: Arc<MetricsCollector>,
    sinks: Sinks,
    /// The error of the file that was last logged.
    failing: Option<String>,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        if let Some(show) = &self.sinks.terminal {
            show(Some(&status(&self.collector.collect())));
        }
        while shared.wait_for_turn() {
            let snapshot = self.collector.collect();
            let text = status(&snapshot);
            match &self.sinks.terminal {
                Some(show) => show(Some(&text)),
                None => tracing::info!("status: {text}"),
            }
            self.sinks.sd_notify.lock().status(&text);
            self.write(&snapshot);
        }
        if let Some(show) = &self.sinks.terminal {
            show(None);
        }
        self.write(&self.collector.collect());
    }

    fn write(&mut self, snapshot: &MetricsSnapshot) {
        let line = serde_json::to_string(snapshot).map_err(std::io::Error::from);
        let written = line.and_then(|line| self.sinks.file.append(&line));
        let path = self.sinks.file.path().display();
        match written {
            Ok(()) if self.failing.take().is_some() => {
                tracing::info!("{path} is written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.collector.metrics_file_error();
                let error = error.to_string();
                // The same error at each interval is logged once.
                if self.failing.as_ref() != Some(&error) {
                    tracing::error!(error, "cannot write {path}; recording goes on");
                }
                self.failing = Some(error);
            }
        }
    }
}

impl Shared {
    /// Waits for the next turn. False: there is none.
    fn wait_for_turn(&self) -> bool {
        let begun = Instant::now();
        let mut plan = self.plan.lock();
        while !plan.stop {
            let left = plan.interval.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return true;
            }
            self.changed.wait_for(&mut plan, left);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use lenslog_journal::{SimulatedClock, Timestamp};

    use super::*;
    use crate::testing::{logging_to, wait_until};

    const HOUR: Duration = Duration::from_secs(3600);

    fn started(file: MetricsFile, interval: Duration) -> (Reporter, Arc<MetricsCollector>) {
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let collector = Arc::new(MetricsCollector::new(clock));
        let sinks = Sinks { file, terminal: None, sd_notify: Arc::default() };
        let reporter = Reporter::start(Arc::clone(&collector), sinks, interval).unwrap();
        (reporter, collector)
    }

    #[test]
    fn the_last_line_is_written_at_the_end_and_another_interval_counts_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = MetricsFile::new(directory.path(), 0);
        let path = file.path().to_owned();
        let lines = || std::fs::read_to_string(&path).unwrap_or_default().lines().count();
        let (mut reporter, _collector) = started(file, HOUR);
        assert_eq!(lines(), 0);
        reporter.stop();
        assert_eq!(lines(), 1);
        let (mut reporter, _collector) = started(MetricsFile::new(directory.path(), 0), HOUR);
        // Long enough for the thread to wait; nothing is wrong where it does not yet.
        (0..10_000).for_each(|_| std::thread::yield_now());
        reporter.set_interval(Duration::from_millis(1));
        wait_until(|| lines() > 2);
        reporter.set_interval(HOUR);
        reporter.stop();
    }

    #[test]
    fn each_line_that_cannot_be_written_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("logs");
        let tries = Arc::new(AtomicU64::new(0));
        let tried = Arc::clone(&tries);
        let file = MetricsFile::new(&logs, 0).while_there(move || {
            tried.fetch_add(1, Ordering::SeqCst);
            Err(std::io::Error::other("it is not there"))
        });
        let (mut reporter, collector) = started(file, Duration::from_millis(1));
        wait_until(|| tries.load(Ordering::SeqCst) >= 3);
        reporter.stop();
        let errors = collector.collect().file_write_errors;
        assert_eq!(errors, tries.load(Ordering::SeqCst));
        assert!(!logs.exists(), "no directory is made in its place");
    }

    #[test]
    fn an_error_is_told_once_and_once_more_after_another_or_a_line_that_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let lines = directory.path().join("lines");
        let results = Mutex::new(["a", "a", "", "a", "b", "b", "a", "", ""].iter());
        let file = MetricsFile::new(directory.path(), 0).while_there(move || {
            let result = results.lock().next().unwrap();
            if result.is_empty() { Ok(()) } else { Err(std::io::Error::other(*result)) }
        });
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let collector = Arc::new(MetricsCollector::new(clock));
        let sinks = Sinks { file, terminal: None, sd_notify: Arc::default() };
        let mut writer = Writer { collector, sinks, failing: None };
        let count = |text: &str| std::fs::read_to_string(&lines).unwrap().matches(text).count();
        logging_to(&lines, || {
            let logged = [(); 9].map(|()| {
                writer.write(&writer.collector.collect());
                (count("cannot write"), count("is written again"))
            });
            let errors = [(1, 0), (1, 0), (1, 1), (2, 1), (3, 1), (3, 1), (4, 1), (4, 2), (4, 2)];
            assert_eq!(logged, errors);
        });
    }

    #[test]
    fn a_file_system_that_hangs_holds_up_nobody_who_stops() {
        let directory = tempfile::tempdir().unwrap();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let file = MetricsFile::new(directory.path(), 0).while_there(move || {
            let _ = released.lock().recv();
            Ok(())
        });
        let (mut reporter, _collector) = started(file, HOUR);
        let stopping = std::thread::spawn(move || reporter.stop());
        wait_until(|| stopping.is_finished());
        drop(release);
    }
}
