//! [`DayFiles`] as a [`Projection`].

use std::path::PathBuf;

use lenslog_engine::{
    Aside, Checkpoint, CommitKind, Inspection, Opened, Projection, ProjectionError, Recorded,
    Scope, Spec, Verifier,
};
use lenslog_events::{Event, RecorderCodec};
use lenslog_journal::SeqRange;

use super::limits::UNLISTED_BYTES_MAX;
use super::paths::path_of;
use super::replace::Place;
use super::verifier::FilesVerifier;
use super::{DayFiles, Format, KINDS, VERSION, file_of_target};
use crate::data_dir::Unsynced;

impl<F: Format> Projection<RecorderCodec> for DayFiles<F> {
    fn spec(&self) -> Spec {
        // Which entries there are and how they look changes for different reasons: both count.
        Spec::new(F::NAME, VERSION * 1000 + F::VERSION).kinds(KINDS).options(self.format.options())
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        self.open_files()
    }

    fn restore(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        if self.fold.restore(record) {
            self.missing.remove(&record.seq);
        } else {
            tracing::warn!(seq = %record.seq, "record of a waiting event is no such event; it is passed over");
        }
        Ok(())
    }

    fn must_commit_before(&self, record: &Recorded<Event>) -> bool {
        let file = self.fold.target(record).map(file_of_target::<F>);
        let needed = file.filter(|id| !self.set.files.contains_key(id));
        self.announced.set(needed);
        needed.is_some() || self.set.unlisted_bytes >= UNLISTED_BYTES_MAX
    }

    fn apply(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        match &mut self.rebuild {
            Some(rebuild) => rebuild.apply(&mut self.format, record),
            None => self.apply_live(record),
        }
    }

    fn lost(&mut self, _range: SeqRange) {
        self.lossy |= self.rebuild.is_none();
    }

    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError> {
        match kind {
            CommitKind::Visible => self.commit_visible(checkpoint),
            kind => self.commit_durable(checkpoint, kind),
        }
    }

    fn caught_up(&mut self) -> Result<(), ProjectionError> {
        // What an event that is lost by now had made lies behind the ends of the files, for its description came later.
        self.lossy |= !self.missing.is_empty();
        self.missing.clear();
        self.keep_what_is_lost()?;
        self.set.flush()?;
        self.changed |= self.set.resolve_tails()?;
        Ok(())
    }

    fn inspect(&mut self) -> Result<Inspection, ProjectionError> {
        self.inspect_files()
    }

    fn begin_rebuild(&mut self, scope: &Scope) -> Result<(), ProjectionError> {
        self.begin(scope)
    }

    fn finish_rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        self.finish(checkpoint, keep_old)
    }

    fn abort_rebuild(&mut self) {
        self.abort();
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        let days = self.set.files.keys().map(|id| path_of(&self.data, *id, F::FILES));
        std::iter::once(self.data.checkpoint(F::NAME)).chain(days).collect()
    }

    fn remove_lost(&mut self) -> Result<u64, ProjectionError> {
        let mut unsynced = Unsynced::default();
        let removed = Place::of::<F>(&self.data).remove_lost(&mut unsynced)?;
        self.data.sync(&mut unsynced)?;
        Ok(removed)
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<RecorderCodec>>>, ProjectionError> {
        let verifier = FilesVerifier::open(&self.data, self.format.clone())?;
        Ok(verifier.map(|verifier| Box::new(verifier) as Box<dyn Verifier<RecorderCodec>>))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use lenslog_engine::Fact;
    use lenslog_journal::storage::FaultyStorage;
    use lenslog_journal::{Kind, Seq, Timestamp};

    use super::*;
    use crate::jsonl::jsonl;

    #[test]
    fn what_a_start_after_a_crash_renders_again_is_bounded() {
        let time = Timestamp { utc_micros: 0, offset_minutes: 0 };
        let (day, kind, version) = (time.day(), Kind(1), 1);
        let record = Recorded { seq: Seq(1), time, day, kind, version, fact: Fact::Unknown };
        let mut files = jsonl(Arc::new(FaultyStorage::new()), Path::new("/data"));
        for (bytes, commits) in [(UNLISTED_BYTES_MAX - 1, false), (UNLISTED_BYTES_MAX, true)] {
            files.set.unlisted_bytes = bytes;
            assert_eq!(files.must_commit_before(&record), commits, "{bytes}");
        }
    }
}
