//! Where everything of a recorder is, from its configuration.

use std::sync::Arc;

use lenslog_engine::Projection;
use lenslog_events::RecorderVocabulary;
use lenslog_journal::Journal;
use lenslog_projections::{DescriptionQueue, Descriptions, Layout};

use crate::config::Config;

/// Where the projections are.
#[must_use]
pub fn layout(config: &Config) -> Layout {
    Layout {
        data: config.storage.data_dir.clone(),
        database: config.storage.db_path.clone(),
        plaintext_metadata: config.log.plaintext_metadata,
    }
}

/// The projections of a recorder, on the storage of its journal, and the queue that one of them keeps: of the events
/// that wait for a sentence.
#[must_use]
pub fn projections(
    config: &Config,
    journal: &Journal,
) -> (Vec<Box<dyn Projection<RecorderVocabulary>>>, DescriptionQueue) {
    let view = journal.view();
    let mut projections = layout(config).projections_on(view.storage());
    let storage = Arc::clone(view.storage());
    let (descriptions, queue) = Descriptions::new(storage, &config.storage.data_dir);
    projections.push(Box::new(descriptions));
    (projections, queue)
}

/// What is wrong with a journal, in a line; `None` where all is well.
#[must_use]
pub fn degraded(journal: &Journal) -> Option<String> {
    let health = journal.health();
    if let Some(reason) = health.suspended {
        return Some(format!("the journal cannot write: {reason}"));
    }
    if health.gaps.is_empty() {
        return None;
    }
    let gaps: Vec<_> = health.gaps.iter().map(ToString::to_string).collect();
    Some(format!("the journal has lost seq {}; `replay verify` tells where", gaps.join(", ")))
}
