//! Helpers of all tests: the program, and events.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use lenslog_events::{Event, EventDetected, Metadata};
use lenslog_journal::Timestamp;

/// 2026-11-20T12:00:00Z.
pub const NOON: Timestamp = Timestamp { utc_micros: 1_795_176_000_000_000, offset_minutes: 0 };
pub const DAY: Duration = Duration::from_secs(86_400);

pub fn replay(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replay"));
    command.args(args).arg("--data").arg(data).env_remove("LENSLOG_CONFIG").env("HOME", data);
    command.output().unwrap()
}

/// Runs the program and returns its output; it must end with this code.
#[track_caller]
pub fn expect(data: &Path, args: &[&str], code: i32) -> String {
    let output = replay(data, args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\nstdout:\n{out}\nstderr:\n{err}");
    out + &err
}

/// An event this many microseconds after noon, with a description of 300 bytes.
pub fn event(event_id: String, after_noon_micros: i64) -> Event {
    Event::Detected(EventDetected {
        event_id,
        timestamp: NOON.plus_micros(after_noon_micros),
        camera_id: "camera_1".to_owned(),
        camera_name: None,
        motion_confidence: Some(0.5),
        detected_objects: Vec::new(),
        image_path: None,
        llm_description: Some("x".repeat(300)),
        description_expected: false,
        metadata: Metadata::new(),
    })
}
