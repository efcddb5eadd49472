//! The schema, in the file after the first start, compared with the documented one.

use rusqlite::Connection;

use crate::database::contents::{assert_repaired, table};
use crate::database::setting::{Setting, names};

/// The promise, word for word.
const EVENTS: &str = "CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT UNIQUE NOT NULL,
    timestamp DATETIME NOT NULL,
    camera_id TEXT NOT NULL,
    motion_confidence REAL,
    detected_objects TEXT,
    llm_description TEXT,
    image_path TEXT,
    json_log_path TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP
)";

fn first_open() -> Setting {
    let setting = Setting::with_events(2);
    setting.catch_up_once();
    setting
}

#[test]
fn the_table_of_events_is_exactly_what_was_promised() {
    let setting = first_open();
    let connection = Connection::open(setting.path()).unwrap();
    let sql = |name: &str| -> String {
        let sql = "SELECT sql FROM sqlite_schema WHERE name = ?1";
        connection.query_row(sql, [name], |row| row.get(0)).unwrap()
    };
    assert_eq!(sql("events"), EVENTS);
    for (index, column) in [
        ("idx_events_timestamp", "timestamp"),
        ("idx_events_camera", "camera_id"),
        ("idx_events_event_id", "event_id"),
    ] {
        assert_eq!(sql(index), format!("CREATE INDEX {index} ON events({column})"));
    }
    let versions = sql("schema_version");
    let versions = versions.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        versions,
        "CREATE TABLE schema_version ( version INTEGER PRIMARY KEY, applied_at DATETIME )"
    );
}

#[test]
fn there_is_nothing_but_what_the_migrations_make() {
    let setting = first_open();
    assert_eq!(
        table(&setting.path(), "SELECT type, name FROM sqlite_schema ORDER BY type, name"),
        r#""index"|"idx_event_labels_camera"|
"index"|"idx_event_labels_label"|
"index"|"idx_events_camera"|
"index"|"idx_events_camera_timestamp"|
"index"|"idx_events_event_id"|
"index"|"idx_events_timestamp"|
"index"|"sqlite_autoindex_events_1"|
"table"|"checkpoint"|
"table"|"event_labels"|
"table"|"events"|
"table"|"schema_version"|
"table"|"sqlite_sequence"|
"#
    );
}

#[test]
fn every_version_says_when_it_was_applied() {
    let setting = first_open();
    let sql = "SELECT version FROM schema_version
               WHERE applied_at GLOB '20??-??-??T??:??:??.???Z' ORDER BY version";
    assert_eq!(table(&setting.path(), sql), "1|\n2|\n");
}

#[test]
fn a_row_holds_an_event_in_the_forms_that_were_promised() {
    let setting = first_open();
    assert_eq!(
        table(&setting.path(), "SELECT * FROM events WHERE id = 1"),
        concat!(
            r#"1|"evt_0"|"2026-11-23T09:00:00.000Z"|"camera_0"|0.5|"#,
            r#""[{\"label\":\"person\",\"confidence\":0.75,\"bbox\":{\"x\":1,\"y\":2,\"width\":30.5,\"height\":40}},"#,
            r#"{\"label\":\"car\",\"confidence\":0.75,\"bbox\":{\"x\":1,\"y\":2,\"width\":30.5,\"height\":40}}]"|"#,
            r#"NULL|"data/events/2026-11-23/evt_0.jpg"|"data/events/2026-11-23/events.json"|"#,
            r#""2026-11-23T09:00:00.001Z"|"#,
            "\n"
        )
    );
}

#[test]
fn the_database_and_its_directories_appear_by_themselves_before_the_first_event() {
    let setting = Setting::new();
    let path = setting.directory.path().join("a/b/events.db");
    let projection = lenslog_projections::sqlite::SqliteProjection::new(&path);
    let runner = setting.runner_of(projection);
    setting.catch_up(&runner);
    assert_eq!(table(&path, "SELECT count(*) FROM events"), "0|\n");
}

/// As the first version of the program left it.
fn first_version(setting: &Setting) -> Connection {
    let connection = Connection::open(setting.path()).unwrap();
    connection.execute_batch(include_str!("../../../../migrations/001_initial.sql")).unwrap();
    connection.execute_batch("INSERT INTO schema_version (version) VALUES (1)").unwrap();
    connection
}

#[test]
fn an_older_database_is_brought_to_exactly_what_a_new_one_has() {
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    let setting = Setting::with_events(2);
    drop(first_version(&setting));
    setting.catch_up_once();
    assert_repaired(&setting);
    assert_eq!(table(&setting.path(), schema), table(&first_open().path(), schema));
    assert_eq!(names(setting.directory.path(), ""), ["events.db"]);
}

#[test]
fn an_older_database_with_events_that_no_journal_vouches_for_is_kept_aside() {
    let setting = Setting::with_events(2);
    let insert = "INSERT INTO events (event_id, timestamp, camera_id)
                  VALUES ('old', '2020-01-01T00:00:00.000Z', 'x')";
    first_version(&setting).execute_batch(insert).unwrap();
    setting.catch_up_once();
    assert_repaired(&setting);
    let aside = setting.directory.path().join("events.db.old-1");
    assert_eq!(table(&aside, "SELECT event_id FROM events"), "\"old\"|\n");
}
