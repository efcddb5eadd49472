//! What later records do to the rows of earlier events: sentences, purged pictures, pruned days, second events.

use std::time::Duration;

use lenslog_events::{
    DescriptionAdded, DescriptionDeferred, DescriptionFailed, Event, EventDetected, EventRef,
    ImagePurged, RecorderCodec,
};
use lenslog_journal::{Seq, Timestamp};
use lenslog_projections::StoredEvent;
use lenslog_projections::sqlite::SqliteProjection;
use rusqlite::Connection;

use crate::database::contents::{assert_repaired, contents, differences, table};
use crate::database::logs;
use crate::database::setting::{START, Setting, event};

const DAY: Duration = Duration::from_secs(86_400);

fn reference(seq: u64, event_id: &str) -> EventRef {
    EventRef { event_seq: Seq(seq), event_day: START.day(), event_id: event_id.to_owned() }
}

fn described(event: EventRef, sentence: &str) -> Event {
    Event::DescriptionAdded(DescriptionAdded {
        event,
        llm_description: sentence.to_owned(),
        model: "llava".to_owned(),
        duration_ms: 1500,
    })
}

fn purged(event: EventRef) -> Event {
    let image_path = format!("data/events/{}/{}.jpg", event.event_day, event.event_id);
    Event::ImagePurged(ImagePurged { event, image_path })
}

/// Both ways to the same rows: followed one by one, and rebuilt.
fn follow_each(setting: &Setting, events: &[Event]) {
    let runner = setting.runner();
    for event in events {
        setting.append(event);
        setting.catch_up(&runner);
    }
    runner.stop();
    assert_repaired(setting);
}

fn stored(setting: &Setting, event_id: &str) -> StoredEvent {
    setting.store().event_by_id(event_id).unwrap().unwrap()
}

#[test]
fn a_sentence_fills_the_row_of_its_event_and_the_last_one_counts() {
    let setting = Setting::with_events(3);
    let first = described(reference(2, "evt_1"), "A 'cat'; DROP TABLE events --");
    follow_each(&setting, &[first]);
    let description = stored(&setting, "evt_1").llm_description;
    assert_eq!(description.as_deref(), Some("A 'cat'; DROP TABLE events --"));
    follow_each(&setting, &[described(reference(2, "evt_1"), "A dog")]);
    assert_eq!(stored(&setting, "evt_1").llm_description.as_deref(), Some("A dog"));
    for other in ["evt_0", "evt_2"] {
        assert_eq!(stored(&setting, other).llm_description, None);
    }
}

#[test]
fn a_sentence_about_no_event_or_a_later_one_changes_nothing() {
    let setting = Setting::with_events(3);
    setting.catch_up_once();
    let before = contents(&setting.path());
    follow_each(
        &setting,
        &[
            described(reference(2, "evt_2"), "of another event_id"),
            described(reference(99, "evt_1"), "of another seq"),
            described(reference(u64::MAX, "evt_1"), "of no row id"),
            described(reference(0, "evt_0"), "of seq 0"),
            Event::DescriptionDeferred(DescriptionDeferred { event: reference(2, "evt_1") }),
            Event::DescriptionFailed(DescriptionFailed {
                event: reference(2, "evt_1"),
                reason: "timeout".to_owned(),
            }),
        ],
    );
    assert_eq!(contents(&setting.path()), before);
}

#[test]
fn a_purged_picture_leaves_its_row_without_one() {
    let setting = Setting::with_events(3);
    follow_each(&setting, &[purged(reference(2, "evt_1")), purged(reference(3, "evt_0"))]);
    assert_eq!(stored(&setting, "evt_1").image_path, None);
    for other in ["evt_0", "evt_2"] {
        assert!(stored(&setting, other).image_path.is_some());
    }
}

fn on_day(number: u64, day: i64, hour: i64, offset_minutes: i16) -> Event {
    let micros = START.utc_micros + (day * 24 + hour) * 3_600_000_000;
    let timestamp = Timestamp { utc_micros: micros, offset_minutes };
    Event::Detected(EventDetected { timestamp, ..event(number) })
}

fn ids(setting: &Setting) -> String {
    table(&setting.path(), "SELECT event_id FROM events ORDER BY id").replace(['"', '|'], "")
}

#[test]
fn pruned_days_are_gone_by_the_events_own_day_and_stay_gone() {
    let setting = Setting::new();
    // 10:00 local on three days, an event whose day is the next one where it was seen, one of the day before.
    for (day, number) in (0..3).zip((0..).step_by(10)) {
        setting.append(&on_day(number, day, 0, 60));
        setting.append(&on_day(number + 1, day, 13, 840));
        setting.append(&on_day(number + 2, day, -8, -1080));
        setting.clock.advance(DAY);
    }
    setting.append(&on_day(30, 3, 0, 60));
    let runner = setting.runner();
    setting.catch_up(&runner);
    assert_eq!(ids(&setting).lines().count(), 10);
    // Of the first segment everything, of later ones the records of these days.
    let pruned = setting.journal.prune_through(START.day().next()).unwrap();
    assert_eq!(pruned.segments.len(), 1);
    setting.catch_up(&runner);
    assert_eq!(ids(&setting), "evt_11\nevt_20\nevt_21\nevt_30\n");
    let labels = "SELECT count(*) FROM event_labels WHERE id NOT IN (SELECT id FROM events)";
    assert_eq!(table(&setting.path(), labels), "0|\n");

    // Ingested later: new data, until the next pruning.
    setting.append(&on_day(40, 0, 1, 60));
    setting.catch_up(&runner);
    assert!(ids(&setting).ends_with("evt_30\nevt_40\n"));
    runner.stop();
    assert_repaired(&setting);
    setting.journal.unlink_pruned().unwrap();
    assert_repaired(&setting);
    assert_eq!(setting.catch_up_once().rebuilds, 0);
    assert_repaired(&setting);
}

#[test]
fn days_of_a_wrong_clock_go_with_the_tombstone_that_takes_them() {
    let setting = Setting::new();
    setting.append(&on_day(0, 0, 0, 60));
    setting.append(&on_day(1, 4_000, 0, 60));
    setting.clock.advance(DAY);
    setting.append(&on_day(10, 1, 0, 60));
    setting.clock.advance(DAY);
    setting.append(&on_day(20, 2, 0, 60));
    let runner = setting.runner();
    setting.catch_up(&runner);
    let wrong_from = START.day().next().next().next().next();
    let pruned = setting.journal.prune_around(START.day(), wrong_from).unwrap();
    assert_eq!((pruned.segments.len(), pruned.wrong_from), (1, Some(wrong_from)));
    setting.append(&on_day(30, 4_000, 0, 60));
    setting.catch_up(&runner);
    assert_eq!(ids(&setting), "evt_10\nevt_20\nevt_30\n");
    runner.stop();
    assert_repaired(&setting);
    setting.journal.unlink_pruned().unwrap();
    assert_repaired(&setting);
}

#[test]
fn a_projection_that_slept_through_a_pruning_resumes_at_the_floor() {
    let setting = Setting::new();
    setting.append(&on_day(0, 0, 0, 60));
    setting.catch_up_once();
    setting.append(&on_day(1, 0, 1, 60));
    setting.clock.advance(DAY);
    setting.append(&on_day(10, 1, 0, 60));
    setting.clock.advance(DAY);
    setting.append(&on_day(20, 2, 0, 60));
    setting.journal.prune_through(START.day()).unwrap();
    setting.journal.unlink_pruned().unwrap();
    assert_eq!(setting.catch_up_once().rebuilds, 0);
    assert_eq!(ids(&setting), "evt_10\nevt_20\n");
    assert_repaired(&setting);
}

/// Appends an event as a journal without keys holds it: nothing at the door knows that it is the second.
fn append_unkeyed(setting: &Setting, event: &EventDetected) {
    let encoded = RecorderCodec::encode(&Event::Detected(event.clone()));
    let record = encoded.as_record().key(None);
    setting.clock.advance(Duration::from_millis(1));
    let _ = setting.journal.append_unsynced(&[record]).unwrap();
}

#[test]
fn an_event_of_which_a_part_is_refused_leaves_no_part_behind() {
    let setting = Setting::with_events(3);
    setting.catch_up_once();
    // A foreign trigger refuses cats.
    let trigger = "CREATE TRIGGER mine BEFORE INSERT ON event_labels WHEN new.label = 'cat'
                   BEGIN SELECT RAISE(ABORT, 'no cats'); END";
    Connection::open(setting.path()).unwrap().execute_batch(trigger).unwrap();
    for number in 3..12 {
        setting.append(&Event::Detected(event(number)));
    }
    setting.journal.sync().unwrap();
    let status = setting.catch_up_once();
    assert_eq!(status.parked, 4, "{status:?}");
    let cats = "SELECT count(*) FROM events WHERE detected_objects LIKE '%cat%'";
    assert_eq!(table(&setting.path(), cats), "0|\n");
    assert_eq!(table(&setting.path(), "SELECT count(*) FROM events"), "8|\n");
}

#[test]
fn a_second_event_in_the_place_of_the_first_is_told() {
    let second = EventDetected { event_id: "evt_0".to_owned(), ..event(1) };
    let [ours, other] = ["evt_0", "evt_x"].map(|event_id| {
        let setting = Setting::new();
        append_unkeyed(&setting, &EventDetected { event_id: event_id.to_owned(), ..event(0) });
        append_unkeyed(&setting, &second);
        setting.catch_up_once();
        setting
    });
    assert_eq!(differences(&ours), [""; 0]);
    let connection = Connection::open(ours.path()).unwrap();
    connection.execute("ATTACH ?1 AS other", [other.path().to_str().unwrap()]).unwrap();
    connection
        .execute_batch(
            "DELETE FROM events; DELETE FROM event_labels;
             INSERT INTO events SELECT * FROM other.events WHERE event_id = 'evt_0';
             INSERT INTO event_labels SELECT * FROM other.event_labels
                WHERE id IN (SELECT id FROM events);",
        )
        .unwrap();
    assert_eq!(differences(&ours), ["row 1 (evt_0): it is missing"]);
}

#[test]
fn a_second_event_of_an_event_id_is_told_and_counted_and_is_no_row() {
    logs::keep();
    let setting = Setting::new();
    let first = event(0);
    let second = EventDetected { camera_id: "camera_9".to_owned(), ..event(1) };
    let second = EventDetected { event_id: first.event_id.clone(), ..second };
    let projection = SqliteProjection::new(setting.path());
    let counters = projection.counters();
    let runner = setting.runner_of(projection);
    setting.catch_up(&runner);
    append_unkeyed(&setting, &first);
    append_unkeyed(&setting, &second);
    // Many in one batch, as a rebuild inserts them.
    for number in 2..40 {
        append_unkeyed(&setting, &event(number));
        append_unkeyed(&setting, &EventDetected { camera_id: "x".into(), ..event(number) });
    }
    append_unkeyed(&setting, &second);
    setting.catch_up(&runner);
    runner.stop();
    assert_eq!((counters.events(), counters.duplicates()), (39, 40));
    assert_eq!(stored(&setting, "evt_0").camera_id, "camera_0");
    assert_eq!(table(&setting.path(), "SELECT count(*) FROM events"), "39|\n");
    assert_repaired(&setting);
}

#[test]
fn a_sentence_about_a_second_event_does_not_reach_the_first() {
    let setting = Setting::new();
    append_unkeyed(&setting, &event(0));
    append_unkeyed(&setting, &EventDetected { camera_id: "x".into(), ..event(0) });
    follow_each(&setting, &[described(reference(2, "evt_0"), "of the second")]);
    assert_eq!(stored(&setting, "evt_0").llm_description, None);
}

#[test]
fn an_event_that_the_database_cannot_hold_is_set_aside_and_the_next_one_is_there() {
    let setting = Setting::new();
    let runner = setting.runner();
    setting.catch_up(&runner);
    let far = Timestamp { utc_micros: i64::MAX, offset_minutes: 0 };
    append_unkeyed(&setting, &EventDetected { timestamp: far, ..event(0) });
    append_unkeyed(&setting, &event(1));
    setting.catch_up(&runner);
    assert_eq!(runner.stop()[0].parked, 1);
    assert_eq!(ids(&setting), "evt_1\n");
    assert_repaired(&setting);
}

#[test]
fn a_row_made_by_hand_gives_way_to_the_event_whose_id_it_has() {
    let setting = Setting::with_events(3);
    let runner = setting.runner();
    setting.catch_up(&runner);
    let insert = "INSERT INTO events (event_id, timestamp, camera_id)
                  VALUES ('mine', '2026-11-23T00:00:00.000Z', 'x');
                  INSERT INTO event_labels SELECT id, 'mine', 'x', timestamp FROM events
                  WHERE event_id = 'mine'";
    Connection::open(setting.path()).unwrap().execute_batch(insert).unwrap();
    for number in 3..6 {
        setting.append(&Event::Detected(event(number)));
    }
    setting.catch_up(&runner);
    runner.stop();
    assert_repaired(&setting);
}
