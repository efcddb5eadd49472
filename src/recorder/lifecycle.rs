//! How a running recorder changes: supervision of the data directory, reload of the configuration, and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lenslog_engine::{Behind, ProjectionState};
use lenslog_events::{Event, RecorderStopped};
use lenslog_journal::Error;

use super::camera::CameraState;
use super::data_store::{DataStore, Detached};
use super::{CATCH_UP_TIMEOUT, DRAIN_MAX, Recorder, STORAGE_LIMIT, Session, detection, health};
use crate::metrics::StorageMetrics;
use crate::storage::{Admission, Ballast};

/// How long the log may take to accept the last line.
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);

impl Recorder {
    pub(super) fn finish(mut self, reason: &'static str) -> Session {
        tracing::info!(reason, "stopping");
        self.reporting.stopping();
        let done = watch_the_end(if reason == STORAGE_LIMIT { 3 } else { 1 }, DRAIN_MAX);
        self.stop.store(true, Ordering::Release);
        self.cancel.cancel();
        let mut failed = Vec::new();
        for (id, mut camera) in std::mem::take(&mut *self.shared.cameras()) {
            camera.stop();
            if let CameraState::Failed(why) | CameraState::Lost(why) = camera.state() {
                failed.push((id, why));
            }
        }
        let store = self.shared.store();
        if let Ok(store) = &store {
            *store.describer() = None;
            // What is not described by now is described later; the files do not end before the journal does.
            store.defer_descriptions(&self.opener, Duration::ZERO);
            store.storage.stop();
            // So that the projections can commit what they have, and can be read afterwards.
            Ballast::of(&self.config.storage).release_if_full(&store.journal);
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
        let behind = store.as_ref().map_or_else(|_| Vec::new(), |store| catch_up(store));
        let lost = self.shared.writer.lost();
        // Before the followers stop: the last line reports their positions.
        self.reporting.stop();
        let unclosed = match &store {
            Ok(store) => {
                store.runner.stop();
                store.journal.close().err()
            }
            Err(error) => Some(error.clone()),
        };
        done.store(true, Ordering::Release);
        let counted = self.shared.metrics.counted();
        let last_event = self.shared.metrics.last_event().map(|(_, event)| event);
        Session { counted, last_event, uptime, reason, failed, behind, lost, unclosed }
    }
}

/// Waits, a bounded time, for the projections; names those that have not caught up.
fn catch_up(store: &DataStore) -> Vec<&'static str> {
    match store.journal.sync().and_then(|()| store.view.head()) {
        Ok(head) => Behind::names_in(store.runner.wait_for(head, CATCH_UP_TIMEOUT)),
        Err(_) => Vec::new(),
    }
}

/// Ends the process, with that exit code, where its end takes longer than `limit`; what was acknowledged is durable all the same.
fn watch_the_end(code: i32, limit: Duration) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&done);
    let _ = std::thread::Builder::new().name("watch the end".to_owned()).spawn(move || {
        let deadline = Instant::now() + limit;
        while !watched.load(Ordering::Acquire) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                end_now(code);
            }
            std::thread::park_timeout(left.min(Duration::from_millis(100)));
        }
    });
    done
}

/// Ends the process with that exit code, and says so where the log takes it: it may be what everybody waits for.
pub(super) fn end_now(code: i32) -> ! {
    let (said, heard) = channel();
    let spawned = std::thread::Builder::new().name("last words".to_owned()).spawn(move || {
        tracing::error!("the end took longer than {DRAIN_MAX:?}; the next start recovers");
        let _ = said.send(());
    });
    if spawned.is_ok() {
        let _ = heard.recv_timeout(LAST_WORDS_MAX);
    }
    std::process::exit(code)
}

impl Recorder {
    /// Reads the configuration again and changes what can be changed while running.
    pub(super) fn reload(&mut self) {
        tracing::info!("SIGHUP: the configuration is read again");
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
            let mut cameras = self.shared.cameras();
            // A recording is not read twice.
            let mut stopped: Vec<_> =
                cameras.extract_if(.., |_, camera| !camera.is_recording()).collect();
            stopped.iter().for_each(|(_, camera)| camera.begin_stop());
            stopped.iter_mut().for_each(|(_, camera)| camera.stop());
        }
        // A key in a file may be another one by now, or be there at last.
        let has_key = !self.config.description.api_key_file.as_os_str().is_empty();
        if (has_key || old.description != self.config.description)
            && let Ok(store) = self.shared.store()
        {
            store.describe(&self.config, &self.opener);
        }
        if old.notify != self.config.notify
            && let Ok(store) = self.shared.store()
        {
            store.notify(&self.config, &self.opener);
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
    pub(super) fn reload_detector(&mut self, old: &crate::config::DetectorConfig) -> bool {
        let wanted = detection::settings(&self.config);
        let running = self.shared.detector();
        if wanted.as_ref() == running.as_ref().map(|detector| detector.settings()) {
            return false;
        }
        match detection::start(&self.config, &self.options.program, &self.cancel, &self.failures) {
            Ok(detector) => {
                let mut place = self.shared.detector.lock();
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
}

impl Recorder {
    /// The store, if it is where it was. Leaves it where it is gone, goes back where it is back.
    pub(super) fn check_data_dir(&mut self) -> Result<Arc<DataStore>, Error> {
        match (self.shared.store(), &mut self.detached) {
            (Ok(store), _) => match store.view.check_place() {
                Ok(()) => Ok(store),
                Err(error) => {
                    self.leave(store, &error);
                    Err(error)
                }
            },
            (Err(error), Some(detached)) => {
                if !detached.is_over(&self.config) {
                    return Err(error);
                }
                self.reattach()
            }
            (away, None) => away,
        }
    }

    /// Lets go of everything in the data directory, which is gone. Cameras go on, into memory.
    pub(super) fn leave(&mut self, store: Arc<DataStore>, error: &Error) {
        self.detached = Some(Detached::of(store.view.journal_id()));
        self.shared.writer.detach(error.clone());
        let _ = self.shared.set_store(Err(error.clone()));
        // Where only journal/ is gone, the recorder still says so.
        let data = &self.config.storage.data_dir;
        self.server.take_if(|server| !server.is_reachable(data));
        store.leave();
    }

    /// Opens what is back in its place; events that waited are journaled first.
    pub(super) fn reattach(&mut self) -> Result<Arc<DataStore>, Error> {
        let opened = self.opener.open(&self.config, &mut |item| tracing::info!("{item}"));
        match opened {
            Ok(store) => {
                let store = Arc::new(store);
                let _ = self.shared.set_store(Ok(Arc::clone(&store)));
                self.detached = None;
                health::scrub(&store.journal, &store.left_out, &self.stop);
                if self.server.is_none()
                    && let Err(error) = self.serve()
                {
                    tracing::warn!(%error, "control socket: not available; `lenslog status` and `ingest` do not reach this recorder");
                }
                tracing::warn!(
                    "data directory: {} is back; recording into it again",
                    self.config.storage.data_dir.display()
                );
                Ok(store)
            }
            Err(error) => {
                self.shared.writer.detach(error.clone());
                if let Some(detached) = &mut self.detached {
                    detached.report(error.to_string());
                }
                Err(error)
            }
        }
    }

    /// Says whether everything that should run does.
    pub(super) fn tick_store(&self, store: &DataStore) -> bool {
        store.defer_descriptions(&self.opener, self.config.description.hold.0);
        self.shared.writer.tick();
        store.storage.note(store.journal.next_seq());
        let stats = store.storage.stats();
        self.shared.metrics.set_storage(StorageMetrics {
            total_bytes: Some(stats.total_bytes),
            limit_bytes: Some(stats.limit_bytes),
            warnings: store.storage.warnings(),
        });
        if self.shared.writer.backlog() > 0 {
            // Whatever the figures said: there is no room.
            store.storage.check_soon();
        }
        let followers = store.runner.status();
        followers.iter().all(|status| status.state != ProjectionState::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_hangs_is_cut_off_with_its_exit_code() {
        let name = "recorder::lifecycle::tests::an_end_that_hangs_is_cut_off_with_its_exit_code";
        let Some(output) = crate::testing::own_process(name, "") else {
            let _never_done = watch_the_end(3, Duration::from_millis(1));
            return std::thread::park_timeout(2 * DRAIN_MAX);
        };
        assert_eq!(output.status.code(), Some(3), "{output:?}");
    }
}
