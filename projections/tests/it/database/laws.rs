//! The laws of projections, with histories of every kind of event.

use std::path::Path;

use lenslog_engine::Projection;
use lenslog_engine::laws::{Subject, check_laws};
use lenslog_events::RecorderCodec;
use lenslog_events::testing::{config, sample, strategies::history};
use lenslog_projections::sqlite::SqliteProjection;
use proptest::prelude::*;

use crate::database::contents::{contents, table};

struct Database;

impl Subject<RecorderCodec> for Database {
    fn projection(&self, directory: &Path) -> Box<dyn Projection<RecorderCodec>> {
        Box::new(SqliteProjection::new(directory.join("events.db")))
    }

    fn contents(&self, directory: &Path) -> String {
        let path = directory.join("events.db");
        if !path.exists() {
            return String::new();
        }
        contents(&path) + &table(&path, "SELECT type, name, sql FROM sqlite_schema ORDER BY name")
    }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn the_laws_hold_for_histories_of_every_kind_of_event(events in history(24)) {
        let scratch = tempfile::tempdir().unwrap();
        if let Err(broken) = check_laws(&Database, &events, scratch.path()) {
            prop_assert!(false, "{}", broken);
        }
    }
}

#[test]
fn the_laws_hold_for_ordinary_days() {
    let scratch = tempfile::tempdir().unwrap();
    check_laws(&Database, &sample(300), scratch.path()).unwrap();
}
