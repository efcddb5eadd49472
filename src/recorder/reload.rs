//! Reads the configuration again while recording, and changes what can be changed.

use std::sync::PoisonError;

use super::{Recorder, detection};

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
            && let Ok(home) = self.shared.home()
        {
            home.describe(&self.config, &self.opener);
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
    pub(super) fn reload_detector(&mut self, old: &crate::config::Detector) -> bool {
        let wanted = detection::settings(&self.config);
        let running = self.shared.detector();
        if wanted.as_ref() == running.as_ref().map(|detector| detector.settings()) {
            return false;
        }
        match detection::start(&self.config, &self.options.program, &self.cancel, &self.failures) {
            Ok(detector) => {
                let mut place = self.shared.detector.lock().unwrap_or_else(PoisonError::into_inner);
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
