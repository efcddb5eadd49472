//! `lenslog events`, through the built program.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Home(TempDir);

impl Home {
    /// A data directory with three events: out of order, of two cameras, with texts that mean harm.
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.ingest(&[
            json!({
                "event_id": "a1", "timestamp": "2026-11-20T17:04:05.123456+01:00", "camera_id": "door",
                "camera_name": "front door", "motion_confidence": 0.5,
                "detected_objects": [
                    {"label": "person", "confidence": 0.92, "bbox": {"x": 1, "y": 2, "width": 3, "height": 4}},
                    {"label": "=cmd", "confidence": 0.97},
                ],
                "llm_description": "=HYPERLINK(\"x\")\nline two, \u{1b}[2J\u{202e}", "metadata": {"frame": 7},
            }),
            json!({
                "event_id": "a2", "timestamp": "2026-11-20T18:04:05+01:00", "camera_id": "garden",
                "detected_objects": [{"label": "cat", "confidence": 0.5}],
            }),
            json!({"event_id": "a3", "timestamp": "2026-11-20T00:30:00+02:00", "camera_id": "door"}),
        ]);
        home
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lenslog"));
        command.current_dir(self.0.path()).env_clear().env("TZ", "UTC").env("HOME", self.0.path());
        command.arg("--data").arg(self.data()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn ingest(&self, events: &[Value]) {
        let text: String = events.iter().map(|event| format!("{event}\n")).collect();
        self.ingest_text(&text);
    }

    fn ingest_text(&self, text: &str) {
        let mut child = self.command(&["ingest"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(&[&["events"], arguments].concat()).output().unwrap()
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn ids(&self, arguments: &[&str]) -> Vec<String> {
        let lines = self.stdout(&[arguments, &["--json"]].concat());
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event_id"].clone();
        lines.lines().map(|line| id(line).as_str().unwrap().to_owned()).collect()
    }

    fn follow(&self, arguments: &[&str]) -> Following {
        let mut child =
            self.command(&[&["events", "--follow"], arguments].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Following { child, lines }
    }
}

struct Following {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Following {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn id(&mut self) -> String {
        let line = self.line();
        serde_json::from_str::<Value>(&line).unwrap()["event_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(id: &str) -> Value {
    json!({"event_id": id, "timestamp": "2026-11-21T10:00:00+01:00", "camera_id": "door"})
}

fn day_file(data: &Path, day: &str) -> Option<String> {
    std::fs::read_to_string(data.join("events").join(day).join("events.json")).ok()
}

#[test]
fn the_table_has_one_line_an_event_newest_first_and_nothing_moves_the_cursor() {
    let table = Home::new().stdout(&[]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(
        lines,
        [
            "SEQ  TIME                 CAMERA  EVENT_ID  OBJECTS               DESCRIPTION",
            "2    2026-11-20 17:04:05  garden  a2        cat 50%",
            r#"1    2026-11-20 16:04:05  door    a1        =cmd 97%, person 92%  =HYPERLINK("x")\nline two, \u{1b}[2J\u{202e}"#,
            "3    2026-11-19 22:30:00  door    a3",
        ]
    );
}

#[test]
fn conditions_choose_and_pages_go_on() {
    let home = Home::new();
    assert_eq!(home.ids(&[]), ["a2", "a1", "a3"]);
    assert_eq!(home.ids(&["--camera", "door"]), ["a1", "a3"]);
    assert_eq!(home.ids(&["--label", "cat"]), ["a2"]);
    assert_eq!(home.ids(&["--label", "cat", "--camera", "door"]), [""; 0]);
    assert_eq!(home.ids(&["--since", "2026-11-20 16:04:05.123"]), ["a2", "a1"]);
    assert_eq!(home.ids(&["--until", "2026-11-20T18:04:05+01:00"]), ["a1", "a3"]);
    assert_eq!(home.ids(&["--limit", "2"]), ["a2", "a1"]);
    assert_eq!(home.ids(&["--limit", "2", "--before", "2"]), ["a1", "a3"]);
    assert_eq!(home.ids(&["--id", "a3"]), ["a3"]);
    let reported = home.run(&["--limit", "2"]).stderr;
    assert_eq!(String::from_utf8(reported).unwrap(), "There are older ones: --before 1\n");
}

#[test]
fn more_events_than_a_page_holds_are_printed_all_the_same() {
    let home = Home::new();
    let text: String =
        (0..1500).map(|number| format!("{}\n", event(&format!("e{number}")))).collect();
    home.ingest_text(&text);
    assert_eq!(home.ids(&["--limit", "5000"]).len(), 1503);
    assert_eq!(home.ids(&[]).len(), 100);
}

#[test]
fn lines_of_json_are_those_of_the_day_files_and_make_the_same_events_again() {
    let home = Home::new();
    let lines = home.stdout(&["--format", "jsonl"]);
    let first: Value = serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap();
    assert_eq!(first["timestamp"], "2026-11-20T17:04:05.123+01:00");
    assert_eq!(first["camera_name"], "front door");
    assert_eq!(first["metadata"], json!({"frame": 7}));
    if let Some(file) = day_file(&home.data(), "2026-11-20") {
        let mut expected: Vec<_> = file.lines().collect();
        let mut found: Vec<_> = lines.lines().collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
    let other = Home(tempfile::tempdir().unwrap());
    other.ingest_text(&lines);
    let numbered = |lines: &str| -> Vec<Value> {
        let mut events: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        events.iter_mut().for_each(|event| event["seq"] = Value::Null);
        events
    };
    assert_eq!(numbered(&other.stdout(&["--json"])), numbered(&lines));
}

#[test]
fn no_time_zone_of_the_machine_changes_a_row_or_a_line() {
    let home = Home::new();
    let lines = home.stdout(&["--json"]);
    for zone in ["Pacific/Kiritimati", "America/St_Johns", "Etc/GMT+12"] {
        for command in [&["replay", "rebuild"][..], &["replay", "verify"]] {
            let output = home.command(command).env("TZ", zone).output().unwrap();
            let reported = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?} in {zone}: {reported}");
        }
        let output = home.command(&["events", "--json"]).env("TZ", zone).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), lines, "{zone}");
    }
}

#[test]
fn csv_has_one_line_an_event_and_nothing_to_compute() {
    let csv = Home::new().stdout(&["--format", "csv"]);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 4, "{csv}");
    assert!(lines[0].starts_with("seq,event_id,timestamp,camera_id,"), "{csv}");
    assert!(lines[1].starts_with("2,a2,2026-11-20T17:04:05.000Z,garden,,cat,"), "{csv}");
    assert!(lines[2].contains(r#",0.5,"'=cmd, person","#), "{csv}");
    assert!(lines[2].contains(r#","'=HYPERLINK(""x"")\nline two, \u{1b}[2J\u{202e}","#), "{csv}");
}

#[test]
fn an_event_is_found_in_the_journal_without_the_database() {
    let home = Home::new();
    let by_id =
        || ["table", "jsonl", "csv"].map(|format| home.stdout(&["--id", "a1", "--format", format]));
    let with_database = by_id();
    assert!(with_database.iter().all(|text| text.contains("door")), "{with_database:?}");
    let databases = std::fs::read_dir(home.data()).unwrap().flatten().map(|entry| entry.path());
    let databases = databases.filter(|path| path.to_string_lossy().contains(".db"));
    assert!(databases.map(|path| std::fs::remove_file(path).unwrap()).count() > 0);
    assert_eq!(by_id(), with_database);
    let output = home.run(&["--id", "a9"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no event 'a9'"));
}

#[test]
fn what_makes_no_sense_or_is_not_there_is_told() {
    let home = Home::new();
    for (arguments, code, words) in [
        (&["--since", "noon"][..], 2, "'noon' is not a time"),
        (&["--since", "now", "--until", "yesterday"], 2, "--since must be before --until"),
        (&["--before", "99"], 2, "seq 99 is no event"),
        (&["--follow", "--until", "now"], 2, "cannot be used with"),
        (&["--id", "b\u{1b}"], 1, "there is no event 'b\\u{1b}'"),
    ] {
        let output = home.run(arguments);
        let reported = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {reported}");
        assert!(reported.contains(words), "{reported}");
    }
    let nowhere = Home(tempfile::tempdir().unwrap());
    let output = nowhere.run(&[]);
    let reported = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        reported.contains("there is no database") && reported.contains("--data DIR"),
        "{reported}"
    );
}

#[test]
fn following_goes_on_across_rebuilds_and_ends_with_a_signal() {
    let home = Home::new();
    let mut follow = home.follow(&["--json", "--limit", "2"]);
    assert_eq!([follow.id(), follow.id()], ["a1", "a2"]);
    home.ingest(&[event("b1")]);
    assert_eq!(follow.id(), "b1");
    let rebuilt = home.command(&["replay", "rebuild"]).output().unwrap();
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    home.ingest(&[event("b2")]);
    assert_eq!(follow.id(), "b2");
    std::fs::remove_file(home.data().join("events.db")).unwrap();
    home.ingest(&[event("b3")]);
    assert_eq!(follow.id(), "b3");
    std::fs::write(home.data().join("events.db"), "no database").unwrap();
    home.ingest(&[event("b4")]);
    assert_eq!(follow.id(), "b4");
    kill_process(Pid::from_child(&follow.child), Signal::INT).unwrap();
    assert_eq!(follow.line(), "");
    assert_eq!(follow.child.wait().unwrap().code(), Some(0));
}

#[test]
fn following_waits_for_a_database_and_shows_only_what_was_asked_for() {
    let home = Home(tempfile::tempdir().unwrap());
    let mut follow = home.follow(&["--json", "--camera", "garden"]);
    let mut reported = BufReader::new(follow.child.stderr.take().unwrap());
    let mut line = String::new();
    reported.read_line(&mut line).unwrap();
    assert!(line.contains("there is no database"), "{line}");
    let garden = json!({
        "event_id": "g1", "timestamp": "2026-11-21T10:00:00+01:00", "camera_id": "garden",
        "metadata": {"frame": 8},
    });
    home.ingest(&[event("b1"), garden, event("b2")]);
    let found: Value = serde_json::from_str(&follow.line()).unwrap();
    assert_eq!((&found["event_id"], &found["metadata"]), (&json!("g1"), &json!({"frame": 8})));
}

#[test]
fn following_ends_when_nobody_reads_any_more() {
    let home = Home::new();
    let mut follow = home.follow(&["--since", "2026-11-01"]);
    assert!(follow.line().starts_with("SEQ"));
    drop(std::mem::replace(&mut follow.lines, BufReader::new(unread())));
    assert_eq!(follow.child.wait().unwrap().code(), Some(0));
    let mut reported = String::new();
    follow.child.stderr.take().unwrap().read_to_string(&mut reported).unwrap();
    assert_eq!(reported, "");
}

/// Some output that is not the one that is followed.
fn unread() -> std::process::ChildStdout {
    Command::new("true").stdout(Stdio::piped()).spawn().unwrap().stdout.unwrap()
}
