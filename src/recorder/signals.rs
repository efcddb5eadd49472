//! [`Signals`]: what the operating system asks of the recorder.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::camera::Wake;
use crate::logging::StatusLine;
use crate::storage::missing_mount;

/// How long a terminal may take to have the status line taken away.
const CLEAR_PATIENCE: Duration = Duration::from_millis(200);
/// A mount is looked for this often.
const MOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Waits until something is mounted on `required`, where that is not empty; says so. `false`: a signal came first.
#[must_use]
pub fn wait_for_mount(required: &Path, signals: &Signals) -> bool {
    let wake: Arc<Wake> = Arc::default();
    signals.ring(&wake);
    let mut told = false;
    while let Some(missing) = missing_mount(required) {
        if signals.is_stopped() {
            return false;
        }
        if !std::mem::replace(&mut told, true) {
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
        let _ = cleared.recv_timeout(CLEAR_PATIENCE);
    }
}

/// The first SIGINT or SIGTERM asks for an orderly end, a second one ends at once; SIGHUP asks for a reload.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    reload: AtomicBool,
    wake: Mutex<Option<Arc<Wake>>>,
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
                }
                heard.wake();
            }
        })?;
        Ok(signals)
    }

    /// Asks for an orderly end, as SIGTERM does.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Has every signal ring.
    pub(super) fn ring(&self, wake: &Arc<Wake>) {
        *self.0.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(wake));
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    pub(super) fn take_reload(&self) -> bool {
        self.0.reload.swap(false, Ordering::AcqRel)
    }

    fn wake(&self) {
        if let Some(wake) = &*self.0.wake.lock().unwrap_or_else(PoisonError::into_inner) {
            wake.ring();
        }
    }
}
