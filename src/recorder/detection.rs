//! The recorder's detector: from the configuration to one that runs, and where its failures are journaled.

use std::path::Path;
use std::sync::Arc;

use lenslog_events::{DetectorFailed, Event};
use lenslog_journal::Clock;
use parking_lot::{Mutex, MutexGuard};

use super::camera::shortened;
use super::writer::EventWriter;
use crate::config::Config;
use crate::detector::{CONFIDENCE_FLOOR, Detector, DetectorError, DetectorSettings};
use crate::util::CancellationToken;
use lenslog_vision::detection::Layout;

/// Why a recorder cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderStartError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] lenslog_journal::Error),
    /// A detector is required, and there is none.
    #[error(transparent)]
    Detector(#[from] DetectorError),
}

/// Most failures that wait for a journal to be written to: those of a start.
const WAITING_MAX: usize = 1;

/// Journals failures of the detector; those of before there is a journal wait for it.
#[derive(Debug, Clone)]
pub(super) struct Failures(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    writer: Option<Arc<EventWriter>>,
    waiting: Vec<Event>,
}

impl Failures {
    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock: Arc::clone(clock), state: Mutex::default() }))
    }

    /// From now on there is a journal.
    pub(super) fn write_to(&self, writer: &Arc<EventWriter>) {
        self.lock().writer = Some(Arc::clone(writer));
    }

    /// Journals what has waited.
    pub(super) fn write_waiting(&self) {
        let (writer, waiting) = {
            let mut state = self.lock();
            (state.writer.clone(), std::mem::take(&mut state.waiting))
        };
        for event in
            writer.iter().flat_map(|writer| waiting.iter().map(move |event| (writer, event)))
        {
            event.0.write(event.1);
        }
    }

    fn report(&self, reason: &str) {
        tracing::error!(
            reason,
            "the detector failed; motion alone makes events until it works again"
        );
        let reason = shortened(reason, lenslog_events::limits::REASON_BYTES_MAX);
        let at = self.0.clock.read().wall;
        let event = Event::DetectorFailed(DetectorFailed { camera_id: None, at, reason });
        let writer = {
            let mut state = self.lock();
            if state.writer.is_none() && state.waiting.len() < WAITING_MAX {
                state.waiting.push(event.clone());
            }
            state.writer.clone()
        };
        if let Some(writer) = writer {
            writer.write(&event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

/// With which model objects are looked for; `None` where none is configured.
pub(super) fn settings(config: &Config) -> Option<DetectorSettings> {
    let detector = &config.detector;
    if detector.model.as_os_str().is_empty() {
        return None;
    }
    Some(DetectorSettings {
        model: detector.model.clone(),
        labels: detector.labels.clone(),
        layout: detector.layout.parse().unwrap_or(Layout::Yolox),
        onnxruntime: Some(detector.onnxruntime.clone()).filter(|path| !path.as_os_str().is_empty()),
        confidence_min: detector.min_object_confidence.min(CONFIDENCE_FLOOR),
        timeout: detector.timeout.0,
    })
}

/// Starts the detector that is configured, if one is.
///
/// # Errors
///
/// Why it cannot be started, where one is required. Where none is, that is journaled, and it is tried again.
pub(super) fn start(
    config: &Config,
    program: &Path,
    cancel: &CancellationToken,
    failures: &Failures,
) -> Result<Option<Arc<Detector>>, DetectorError> {
    let Some(settings) = settings(config) else { return Ok(None) };
    let (program, failures) = (program.to_owned(), failures.clone());
    let on_failure = Box::new(move |reason: &str| failures.report(reason));
    let detector = match config.detector.required {
        true => Detector::start(settings, program, cancel, on_failure)?,
        false => Detector::start_or_retry(settings, program, cancel, on_failure),
    };
    Ok(Some(Arc::new(detector)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::testing::TestEnv;

    #[test]
    fn a_failure_of_before_there_is_a_journal_is_journaled_once_and_each_later_one_too() {
        let env = TestEnv::without_journal();
        let failures = Failures::new(&env.clock());
        failures.report("at the start");
        failures.write_to(&env.writer);
        env.attach();
        failures.write_waiting();
        failures.write_waiting();
        failures.report("later");
        failures.write_waiting();
        assert_eq!(
            env.reported(),
            ["the detector failed: at the start", "the detector failed: later"]
        );
    }
}
