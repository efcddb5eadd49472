//! [`MediaVerifier`]: looks whether pictures that the journal says are gone are gone.

use lenslog_engine::{Checkpoint, DIFFERENCES_MAX, Fact, ProjectionError, Recorded, Verifier};
use lenslog_events::{Event, RecorderCodec, parse_image_path};
use lenslog_journal::ControlRecord;
use lenslog_journal::storage::EntryKind;

use super::NAME;
use super::checkpoint::State;
use super::fold::Fold;
use super::sweep::Sweep;
use crate::data_dir::{DataDir, Found, Stored};

/// Compares the pictures with the journal.
#[derive(Debug)]
pub(super) struct MediaVerifier {
    data: DataDir,
    checkpoint: Checkpoint,
    fold: Fold,
}

impl MediaVerifier {
    /// `None` where there is no checkpoint.
    pub(super) fn open(data: &DataDir) -> Result<Option<Self>, ProjectionError> {
        match data.read_checkpoint::<State>(NAME)? {
            Found::Absent => Ok(None),
            Found::Broken(reason) => Err(ProjectionError::Broken { reason }),
            Found::Intact(Stored { checkpoint, .. }) => {
                Ok(Some(Self { data: data.clone(), checkpoint, fold: Fold::default() }))
            }
        }
    }

    fn differences(&mut self) -> Result<Vec<String>, ProjectionError> {
        let mut differences = Vec::new();
        for image_path in self.fold.take_purged() {
            let Some((day, file)) = parse_image_path(&image_path) else { continue };
            let path = self.data.day(day).join(file);
            if self.data.has_day(day)? && self.data.stat(&path)?.is_some() {
                differences
                    .push(format!("{} was purged and is still there", self.data.shown(&path)));
            }
        }
        let Some(tombstone) = self.fold.tombstone() else { return Ok(differences) };
        for (day, kind) in self.data.days()? {
            if !tombstone.days.contains(day) || kind != EntryKind::Directory {
                continue;
            }
            for path in Sweep::of(&self.data, day, tombstone, &self.fold).left()? {
                let path = self.data.shown(&path);
                differences.push(format!("{path} was pruned and is still there"));
            }
        }
        Ok(differences)
    }
}

impl Verifier<RecorderCodec> for MediaVerifier {
    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn apply(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        self.fold.apply(record);
        Ok(())
    }

    fn is_changed_by(&self, record: &Recorded<Event>) -> bool {
        // An event only keeps its pictures: they are not the projection's.
        matches!(
            record.fact,
            Fact::Event(Event::ImagePurged(_)) | Fact::Journal(ControlRecord::PrunedThrough(_))
        )
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ProjectionError> {
        let mut differences = self.differences()?;
        if differences.len() > DIFFERENCES_MAX {
            let more = differences.len() - DIFFERENCES_MAX;
            differences.truncate(DIFFERENCES_MAX);
            differences.push(format!("and {more} more"));
        }
        Ok(differences)
    }
}
