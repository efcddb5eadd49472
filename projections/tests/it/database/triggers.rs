//! Triggers that a user added to the database, and rows that they leave out without an error.

use std::path::Path;

use lenslog_engine::Verdict;
use lenslog_events::{DescriptionAdded, Event, EventRef, ImagePurged};
use lenslog_journal::ReaderOptions;
use lenslog_projections::sqlite::SqliteProjection;
use rusqlite::Connection;

use crate::database::setting::{Setting, event};

fn execute(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn verdict(setting: &Setting) -> Verdict {
    let projection = SqliteProjection::new(setting.path());
    let view = setting.journal.view();
    let options = ReaderOptions::default();
    let report = lenslog_engine::verify(&view, &[&projection], options, &mut |_| true).unwrap();
    report.projections[0].verdict()
}

#[test]
fn a_row_that_a_trigger_ignores_is_set_aside_and_comes_when_the_trigger_goes() {
    let what = |event: &lenslog_events::EventDetected, seq| EventRef {
        event_id: event.event_id.clone(),
        event_seq: seq,
        event_day: event.timestamp.day(),
    };
    for (trigger, change) in [
        ("BEFORE INSERT ON events", 0),
        ("BEFORE INSERT ON event_labels", 0),
        ("BEFORE UPDATE OF llm_description ON events", 1),
        ("BEFORE UPDATE OF image_path ON events", 2),
        ("BEFORE DELETE ON events", 3),
    ] {
        let setting = Setting::new();
        let (first, second) = (event(1), event(2));
        let seq = setting.append(&Event::Detected(first.clone()));
        setting.catch_up_once();
        let sql = format!("CREATE TRIGGER mine {trigger} BEGIN SELECT RAISE(IGNORE); END");
        execute(&setting.path(), &sql);
        match change {
            0 => drop(setting.append(&Event::Detected(second)).next()),
            1 => {
                let added = DescriptionAdded {
                    event: what(&first, seq),
                    llm_description: "a cat".to_owned(),
                    model: "a model".to_owned(),
                    duration_ms: 1,
                };
                setting.append(&Event::DescriptionAdded(added));
            }
            2 => {
                let image_path = first.image_path.clone().unwrap_or_default();
                setting.append(&Event::ImagePurged(ImagePurged {
                    event: what(&first, seq),
                    image_path,
                }));
            }
            _ => drop(setting.journal.prune_through(first.timestamp.day()).unwrap()),
        }
        let status = setting.catch_up_once();
        assert_eq!(status.parked, 1, "{trigger}");
        assert_ne!(verdict(&setting), Verdict::Equal, "{trigger}");
        execute(&setting.path(), "DROP TRIGGER mine");
        let status = setting.catch_up_once();
        assert_eq!((status.parked, status.rebuilds), (0, 1), "{trigger}");
        assert_eq!(verdict(&setting), Verdict::Equal, "{trigger}");
    }
}

#[test]
fn an_event_of_a_known_event_id_is_no_ignored_row() {
    let setting = Setting::new();
    setting.append(&Event::Detected(event(1)));
    setting.append(&Event::Detected(event(1)));
    assert_eq!(setting.catch_up_once().parked, 0);
    assert_eq!(verdict(&setting), Verdict::Equal);
}

#[test]
fn rows_of_a_day_that_is_pruned_meanwhile_are_no_difference() {
    let setting = Setting::with_events(20);
    setting.catch_up_once();
    let day = event(1).timestamp.day();
    setting.journal.prune_through(day).unwrap();
    setting.journal.unlink_pruned().unwrap();
    setting.append(&Event::Detected(event(21)));
    let projection = SqliteProjection::new(setting.path());
    let (view, options) = (setting.journal.view(), ReaderOptions::default());
    let none = std::time::Duration::ZERO;
    let report =
        lenslog_engine::verify_within(&view, &[&projection], options, none, &mut |_| true).unwrap();
    assert_eq!(report.projections[0].differences, [""; 0]);
    assert_eq!(report.projections[0].verdict(), Verdict::Behind);
    setting.catch_up_once();
    assert_eq!(verdict(&setting), Verdict::Equal);
}
