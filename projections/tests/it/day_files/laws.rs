//! The laws of projections hold for any history.

use std::path::Path;
use std::sync::Arc;

use lenslog_engine::Projection;
use lenslog_engine::laws::{Subject, check_laws};
use lenslog_events::testing::{config, sample, strategies::history};
use lenslog_events::{Event, RecorderCodec};
use lenslog_journal::storage::RealStorage;
use lenslog_projections::{jsonl::jsonl, plaintext::plaintext};
use proptest::prelude::*;

use crate::day_files::common::{files, scratch, text};

/// One of the projections, with real files.
#[derive(Debug, Clone, Copy)]
pub enum Kept {
    Jsonl,
    Plaintext,
    PlaintextWithMetadata,
}

impl Subject<RecorderCodec> for Kept {
    fn projection(&self, directory: &Path) -> Box<dyn Projection<RecorderCodec>> {
        match self {
            Self::Jsonl => Box::new(jsonl(Arc::new(RealStorage), directory)),
            Self::Plaintext => Box::new(plaintext(Arc::new(RealStorage), directory, false)),
            Self::PlaintextWithMetadata => {
                Box::new(plaintext(Arc::new(RealStorage), directory, true))
            }
        }
    }

    fn contents(&self, directory: &Path) -> String {
        text(&files(directory))
    }
}

fn check(kept: Kept, events: &[Event]) -> Result<(), String> {
    let scratch = scratch();
    check_laws(&kept, events, scratch.path()).map_err(|broken| format!("{kept:?}: {broken}"))
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn any_history_keeps_the_laws(events in history(40)) {
        prop_assert_eq!(check(Kept::Jsonl, &events), Ok(()));
        prop_assert_eq!(check(Kept::Plaintext, &events), Ok(()));
    }
}

#[test]
fn ordinary_days_keep_the_laws() {
    let events = sample(2_000);
    for kept in [Kept::Jsonl, Kept::Plaintext, Kept::PlaintextWithMetadata] {
        assert_eq!(check(kept, &events), Ok(()));
    }
}
