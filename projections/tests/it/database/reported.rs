//! A verification reports every change of a row.

use lenslog_events::Event;
use rusqlite::Connection;

use crate::database::contents::differences;
use crate::database::setting::{Setting, event};

/// With an event whose texts are as odd as texts can be.
fn recorded() -> Setting {
    let setting = Setting::with_events(12);
    let mut odd = event(12);
    odd.camera_id = "a\u{fffd}b".to_owned();
    odd.llm_description = Some(String::new());
    setting.append(&Event::Detected(odd));
    setting.catch_up_once();
    setting
}

#[test]
fn every_change_of_a_row_or_a_label_is_told() {
    let columns = "event_id, timestamp, camera_id, json_log_path";
    let values = "'forged', '2026-11-23T10:00:00.000Z', 'x', 'data/events/2026-11-23/events.json'";
    let forged = |id: &str| format!("INSERT INTO events (id, {columns}) VALUES ({id}, {values})");
    let label = |id: &str, label: &str| {
        format!(
            "INSERT INTO event_labels VALUES ({id}, {label}, 'camera_0', '2026-11-23T09:00:00.000Z')"
        )
    };
    let id = |number: u8| format!("(SELECT id FROM events WHERE event_id = 'evt_{number}')");
    let changed = |change: &str| format!("UPDATE events SET {change} WHERE event_id = 'evt_12'");
    for sql in [
        forged("-9223372036854775808"),
        forged("-1"),
        forged("0"),
        forged("9223372036854775807"),
        label("-9223372036854775808", "''"),
        label("-1e300", "'car'"),
        label("9223372036854775807", "'car'"),
        label("1e300", "'car'"),
        label(&id(6), "'dog'"),
        label(&id(6), "x'636174'"),
        label(&id(6), "''"),
        "DELETE FROM event_labels WHERE label = 'person'".to_owned(),
        "DELETE FROM event_labels".to_owned(),
        "UPDATE event_labels SET label = 'Cat' WHERE label = 'cat'".to_owned(),
        "UPDATE event_labels SET camera_id = 'camera_x' WHERE label = 'car'".to_owned(),
        "UPDATE event_labels SET timestamp = '2026-11-23T09:00:00.0Z' WHERE label = 'car'".to_owned(),
        changed("camera_id = CAST(x'61FF62' AS TEXT)"),
        changed("camera_id = camera_id || char(0)"),
        changed("detected_objects = CAST(detected_objects AS BLOB)"),
        changed("detected_objects = detected_objects || ' '"),
        changed("llm_description = NULL"),
        changed("llm_description = ' '"),
        changed("image_path = NULL"),
        changed("created_at = NULL"),
        changed("motion_confidence = NULL"),
        changed("motion_confidence = 0.5000000000000001"),
        changed("event_id = 'EVT_12'"),
        changed("json_log_path = 'data/events/2026-11-22/events.json'"),
        changed("id = id + 1"),
        "UPDATE events SET id = 1000 WHERE event_id = 'evt_3'; UPDATE event_labels SET id = 1000
            WHERE id = 4; UPDATE events SET id = 4 WHERE event_id = 'evt_5';
            UPDATE events SET id = 6 WHERE id = 1000"
            .to_owned(),
        "DELETE FROM events WHERE event_id = 'evt_12'".to_owned(),
        "DELETE FROM events; DELETE FROM event_labels".to_owned(),
        "DELETE FROM checkpoint".to_owned(),
        "UPDATE checkpoint SET content = replace(content, 'next', 'text')".to_owned(),
        "CREATE INDEX mine ON events(camera_id); PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = 'CREATE INDEX mine ON events(event_id)' WHERE name = 'mine'"
            .to_owned(),
    ] {
        let setting = recorded();
        assert_eq!(differences(&setting), [""; 0]);
        Connection::open(setting.path()).unwrap().execute_batch(&sql).unwrap();
        assert!(!differences(&setting).is_empty(), "not reported: {sql}");
    }
}
