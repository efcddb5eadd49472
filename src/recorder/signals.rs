//! [`Signals`]: what the operating system asks of the recorder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::DRAIN_MAX;
use super::lifecycle::end_now;
use crate::logging::StatusLine;
use crate::storage::missing_mount;
use crate::util::{CancellationToken, Notify};

/// How long a terminal may take to have the status line taken away.
const CLEAR_TIMEOUT: Duration = Duration::from_millis(200);
/// How much longer than [`DRAIN_MAX`] the end may take from the signal on: it begins once the main loop has noticed.
const NOTICE_MAX: Duration = Duration::from_secs(2);
/// A mount is looked for this often.
const MOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Waits until something is mounted on `required`, where that is not empty; says so. `false`: a signal came first.
#[must_use]
pub fn wait_for_mount(required: &Path, signals: &Signals) -> bool {
    let wake: Arc<Notify> = Arc::default();
    signals.notify_on_signal(&wake);
    let mut reported = false;
    while let Some(missing) = missing_mount(required) {
        if signals.is_stopped() {
            return false;
        }
        if !std::mem::replace(&mut reported, true) {
            tracing::warn!("{missing}; waiting for it, nothing is written until then");
        }
        wake.wait(MOUNT_INTERVAL);
    }
    true
}

/// Takes the status line away. A terminal that takes nothing is not waited for.
fn take_away(status_line: Option<StatusLine>) {
    let Some(line) = status_line else { return };
    let (done, cleared) = channel();
    let spawned = std::thread::Builder::new().name("clear".to_owned()).spawn(move || {
        line.clear();
        let _ = done.send(());
    });
    if spawned.is_ok() {
        let _ = cleared.recv_timeout(CLEAR_TIMEOUT);
    }
}

/// Ends the process where a main loop that hangs, at a disk or a terminal that takes nothing, never begins the end.
fn watch_the_stop() {
    let _ = std::thread::Builder::new().name("watch the stop".to_owned()).spawn(|| {
        std::thread::sleep(DRAIN_MAX + NOTICE_MAX);
        end_now(1);
    });
}

/// The first SIGINT or SIGTERM asks for an orderly end, a second one ends at once; SIGHUP asks for a reload.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    reload: AtomicBool,
    wake: Mutex<Option<Arc<Notify>>>,
    /// What waits for a camera, a model or a server, and has to hear of the end before the main loop does.
    cancel: CancellationToken,
}

impl Signals {
    /// Listens to the signals of this process, on a thread of its own. The status line is taken away before a second one
    /// ends the process.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn listen(status_line: Option<StatusLine>) -> std::io::Result<Self> {
        let signals = Self::default();
        let heard = signals.clone();
        let mut incoming = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in incoming.forever() {
                if signal == SIGHUP {
                    heard.0.reload.store(true, Ordering::Release);
                } else if heard.0.stop.swap(true, Ordering::AcqRel) {
                    take_away(status_line.clone());
                    // The journal is crash-safe: nothing acknowledged is lost.
                    std::process::exit(128 + signal);
                } else {
                    heard.0.cancel.cancel();
                    watch_the_stop();
                }
                heard.wake();
            }
        })?;
        Ok(signals)
    }

    /// Has every signal ring.
    pub(super) fn notify_on_signal(&self, wake: &Arc<Notify>) {
        *self.0.wake.lock() = Some(Arc::clone(wake));
    }

    /// The switch that is thrown when the end is asked for.
    pub(super) fn cancel(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    pub(super) fn take_reload(&self) -> bool {
        self.0.reload.swap(false, Ordering::AcqRel)
    }

    fn wake(&self) {
        if let Some(wake) = &*self.0.wake.lock() {
            wake.notify();
        }
    }
}
