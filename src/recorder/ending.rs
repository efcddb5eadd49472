//! The end of a session: cameras first, then what they wrote, then the journal; within [`DRAIN_MAX`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lenslog_events::{Event, RecorderStopped};

use super::camera::CameraState;
use super::home::Home;
use super::{CATCH_UP_PATIENCE, DRAIN_MAX, Recorder, STORAGE_LIMIT, Session};
use crate::storage::{Reserve, StorageStats};

/// How long a log may take to be told that the end took too long.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_hangs_is_cut_off_with_its_exit_code() {
        let name = "recorder::ending::tests::an_end_that_hangs_is_cut_off_with_its_exit_code";
        let Some(output) = crate::testing::own_process(name, "") else {
            let _never_done = watch_the_end(3, Duration::from_millis(1));
            return std::thread::park_timeout(2 * DRAIN_MAX);
        };
        assert_eq!(output.status.code(), Some(3), "{output:?}");
    }
}
