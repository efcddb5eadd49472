//! [`Shared`]: what the control socket and whoever reads metrics see of a recorder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use lenslog_engine::ProjectionState;
use lenslog_journal::Error;

use super::camera::CameraThread;
use super::home::Home;
use super::writer::EventWriter;
use crate::detector::Detector;
use crate::metrics::{MetricsCollector, Observed, ProjectionFigures};

/// What the control socket and whoever reads metrics see too.
pub(super) struct Shared {
    /// Why there is none: the data directory is gone.
    pub(super) home: RwLock<Result<Arc<Home>, Error>>,
    pub(super) cameras: Mutex<BTreeMap<String, CameraThread>>,
    pub(super) metrics: Arc<MetricsCollector>,
    pub(super) writer: Arc<EventWriter>,
    pub(super) detector: Mutex<Option<Arc<Detector>>>,
}

impl Shared {
    pub(super) fn detector(&self) -> Option<Arc<Detector>> {
        self.detector.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn home(&self) -> Result<Arc<Home>, Error> {
        self.home.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_home(&self, home: Result<Arc<Home>, Error>) -> Result<Arc<Home>, Error> {
        let mut own = self.home.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *own, home)
    }

    pub(super) fn cameras(&self) -> MutexGuard<'_, BTreeMap<String, CameraThread>> {
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
