//! Looks after the data directory while recording: leaves it where it goes away, comes back where it returns.

use std::sync::Arc;

use lenslog_engine::ProjectionState;
use lenslog_journal::Error;

use super::Recorder;
use super::home::{Absence, Home};
use super::scrub;
use crate::ingest::Admission;
use crate::metrics::StorageFigures;

impl Recorder {
    /// The home, if it is where it was. Leaves it where it is gone, goes back where it is back.
    pub(super) fn look_after_home(&mut self) -> Result<Arc<Home>, Error> {
        match (self.shared.home(), &mut self.absence) {
            (Ok(home), _) => match home.view.check_place() {
                Ok(()) => Ok(home),
                Err(error) => {
                    self.leave(home, &error);
                    Err(error)
                }
            },
            (Err(error), Some(absence)) => {
                if !absence.is_over(&self.config) {
                    return Err(error);
                }
                self.come_back()
            }
            (away, None) => away,
        }
    }

    /// Lets go of everything in the data directory, which is gone. Cameras go on, into memory.
    pub(super) fn leave(&mut self, home: Arc<Home>, error: &Error) {
        self.absence = Some(Absence::of(home.view.journal_id()));
        self.shared.writer.detach(error.clone());
        let _ = self.shared.set_home(Err(error.clone()));
        // Where only journal/ is gone, the recorder still says so.
        let data = &self.config.storage.data_dir;
        self.server.take_if(|server| !server.is_reachable(data));
        home.leave();
    }

    /// Opens what is back in its place; events that waited are journaled first.
    pub(super) fn come_back(&mut self) -> Result<Arc<Home>, Error> {
        let opened = self.opener.open(&self.config, &mut |item| tracing::info!("{item}"));
        match opened {
            Ok(home) => {
                let home = Arc::new(home);
                let _ = self.shared.set_home(Ok(Arc::clone(&home)));
                self.absence = None;
                scrub::scrub(&home, &self.stop);
                if self.server.is_none()
                    && let Err(error) = self.serve()
                {
                    tracing::warn!(%error, "there is no control socket");
                }
                tracing::warn!("{} is back", self.config.storage.data_dir.display());
                Ok(home)
            }
            Err(error) => {
                self.shared.writer.detach(error.clone());
                if let Some(absence) = &mut self.absence {
                    absence.tell(error.to_string());
                }
                Err(error)
            }
        }
    }

    /// Says whether everything that should run does.
    pub(super) fn tick_home(&self, home: &Home) -> bool {
        home.defer_descriptions(&self.opener, self.config.description.hold.0);
        self.shared.writer.tick();
        home.storage.note(home.journal.next_seq());
        let figures = home.storage.figures();
        self.shared.metrics.set_storage(StorageFigures {
            total_bytes: Some(figures.stats.total_bytes),
            limit_bytes: Some(figures.stats.limit_bytes),
            warnings: figures.storage_warnings,
        });
        if self.shared.writer.backlog() > 0 {
            // Whatever the figures said: there is no room.
            home.storage.check_soon();
        }
        let followers = home.runner.status();
        followers.iter().all(|status| status.state != ProjectionState::Stopped)
    }
}
