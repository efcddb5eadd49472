//! Clocks that are wrong, are set, repeat or change their zone while the built programs run, by libfaketime: events
//! lie in the days that the clock showed, nothing protected is deleted, and everything can be verified.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Ran, Recording, TestEnv, lacks};
use crate::storage::days;

/// A scene with an event every few seconds.
const CONFIG: &str = "
[cameras.door]
source = \"test:\"
fps = 30
[motion]
learning_frames = 5
[events]
deduplication_window = \"1s\"
max_event = \"1s\"
";

/// A test environment whose programs see the time that is set in it.
pub struct Clocks {
    pub env: TestEnv,
    file: PathBuf,
}

impl Clocks {
    /// `None` where there is no libfaketime.
    pub fn at(time: &str, zone: &str) -> Option<Self> {
        let mut tool = Command::new("faketime");
        let output = tool.args(["-f", "+0", "printenv", "LD_PRELOAD"]).output().ok();
        let output = output.filter(|output| output.status.success());
        if lacks("faketime", output.is_some()) {
            return None;
        }
        let library = String::from_utf8(output?.stdout).unwrap();
        let env = TestEnv::new();
        fs::write(env.path("lenslog.toml"), CONFIG).unwrap();
        let file = env.path("clock");
        let env = env
            .with("LD_PRELOAD", library.trim())
            .with("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
            .with("FAKETIME_NO_CACHE", "1")
            // Only the wall clock is set; time goes by as it does.
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .with("NO_FAKE_STAT", "1")
            .with("TZ", zone);
        let clocks = Self { env, file };
        clocks.set(time);
        Some(clocks)
    }

    /// Sets the clock for every program, also for those that run.
    pub fn set(&self, time: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let wanted = DateTime::parse_from_rfc3339(time).unwrap().timestamp() as f64;
        self.put(wanted - now);
    }

    /// What the kernel does to insert a leap second.
    fn repeat_a_second(&self) {
        let offset: f64 = fs::read_to_string(&self.file).unwrap().trim().parse().unwrap();
        self.put(offset - 1.0);
    }

    fn put(&self, offset_s: f64) {
        let new = self.env.path("clock.new");
        fs::write(&new, format!("{offset_s:+.3}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// Starts a recorder and waits for an event.
    fn record(&self) -> Recording {
        let mut recording = self.env.record(&[]);
        recording.wait_for(" event ");
        recording
    }

    /// Every record of that kind.
    fn records(&self, kind: &str) -> Vec<Value> {
        self.env.journal().into_values().filter(|value| value["kind"] == kind).collect()
    }

    fn ingest(&self, time: &str) -> Ran {
        let line = json!({"timestamp": time, "camera_id": "yard", "detected_objects": []});
        self.env.ingest(&[line.to_string()])
    }

    /// Every event is in the directory of its own local day, and the same after a rebuild.
    #[track_caller]
    fn assert_in_their_days(&self, expected: &[&str]) {
        self.assert_in_their_days_but_for_deleted(expected);
        let events = self.records("EventDetected");
        let of_events: BTreeSet<_> =
            events.iter().map(|event| event["day"].as_str().unwrap()).collect();
        assert!(of_events.into_iter().eq(expected.iter().copied()));
        assert_eq!(self.env.projected().rows.len(), events.len());
    }

    /// As [`Self::assert_in_their_days`], where segments may still hold what was deleted.
    #[track_caller]
    fn assert_in_their_days_but_for_deleted(&self, expected: &[&str]) {
        self.env.verify();
        assert_eq!(days(&self.env), expected);
        let projected = self.env.projected();
        for (path, text) in projected.files.iter().filter(|(path, _)| path.ends_with(".json")) {
            for line in text.lines() {
                let event: Value = serde_json::from_str(line).unwrap();
                assert_eq!(event["timestamp"].as_str().unwrap()[..10], path[..10], "{line}");
            }
        }
        self.env.run(&["replay", "rebuild"]).expect(0);
        assert_eq!(self.env.projected(), projected);
        // Records of a day that is gone may share a segment with another day: no directory is made for them.
        assert_eq!(days(&self.env), expected);
    }

    /// Deletes what may go, keeping that many days; returns those that are left.
    fn rotate(&self, keep: &str) -> Vec<String> {
        let mut command = self.env.command(&["rotate", "--force"]);
        command.env("LENSLOG__STORAGE__MIN_RETENTION_DAYS", keep);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        self.env.verify();
        days(&self.env)
    }

    /// Days in the names of the segments.
    fn segment_days(&self) -> Vec<String> {
        let entries = fs::read_dir(self.env.data.join("journal")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".seg")).collect();
        names.sort();
        names.iter().map(|name| name[21..31].to_owned()).collect()
    }
}

#[test]
fn a_start_in_1970_is_stepped_to_today() {
    let Some(clocks) = Clocks::at("1970-01-01T00:10:00Z", "Europe/Berlin") else { return };
    let mut recording = clocks.record();
    clocks.set("2026-11-23T12:00:00Z");
    recording.wait_for("the wall clock was set");
    recording.wait_for(" event ");
    clocks.ingest("2026-11-22T10:00:00+01:00").expect(0);
    recording.stop().expect(0);
    let steps = clocks.records("ClockStepped");
    assert_eq!(steps.len(), 1, "{steps:?}");
    let step = &steps[0]["record"];
    assert!(step["expected"].as_str().unwrap().starts_with("1970-01-01T01:1"), "{step}");
    assert!(step["found"].as_str().unwrap().starts_with("2026-11-23T13:00"), "{step}");
    clocks.assert_in_their_days(&["1970-01-01", "2026-11-22", "2026-11-23"]);
    // What was recorded at the wrong time is the oldest day, and goes first.
    assert_eq!(clocks.rotate("2"), ["2026-11-22", "2026-11-23"]);
    // Ingested late, it shares a segment with today: it goes, and the segment stays.
    assert_eq!(clocks.rotate("1"), ["2026-11-23"]);
    assert_eq!(clocks.segment_days(), ["2026-11-23"]);
    clocks.assert_in_their_days_but_for_deleted(&["2026-11-23"]);
    clocks.env.record(&[]).stop().expect(0);
}

#[test]
fn a_clock_a_year_ahead_is_set_back() {
    let Some(clocks) = Clocks::at("2026-11-20T12:00:00Z", "Europe/Berlin") else { return };
    for day in ["2026-11-20", "2026-11-21", "2026-11-22"] {
        clocks.set(&format!("{day}T12:00:00Z"));
        clocks.ingest(&format!("{day}T12:00:00+01:00")).expect(0);
    }
    clocks.set("2027-11-23T12:00:00Z");
    let mut recording = clocks.record();
    clocks.set("2026-11-23T12:00:00Z");
    recording.wait_for("the wall clock was set");
    recording.wait_for(" event ");
    // What lies a year ahead now is refused, and what is there stays.
    clocks.ingest("2027-11-23T12:00:00+01:00").expect(1).says("24 hours");
    recording.stop().expect(0);
    let all = ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23", "2027-11-23"];
    clocks.assert_in_their_days(&all);
    // The day that has not come is neither counted among the newest nor deleted, and blocks nothing.
    assert_eq!(clocks.rotate("2"), all[1..], "a day at a time, as there is room");
    assert_eq!(clocks.rotate("2"), all[2..]);
    assert_eq!(clocks.rotate("2"), all[2..], "the newest two are today and the day before");
    assert_eq!(clocks.rotate("1"), all[3..]);
    clocks.env.record(&[]).stop().expect(0);
    clocks.env.verify();
}

#[test]
fn a_clock_that_was_never_set_is_told() {
    let Some(clocks) = Clocks::at("1970-01-01T00:00:10Z", "UTC") else { return };
    let ran = clocks.env.record(&[]).stop();
    assert!(ran.err.contains("the clock shows 1970-01-01T00:00:1"), "{}", ran.err);
}

#[test]
fn a_day_that_comes_again_has_two_segments_and_goes_with_both() {
    let Some(clocks) = Clocks::at("2026-11-22T12:00:00Z", "Europe/Berlin") else { return };
    let mut recording = clocks.record();
    for time in ["2026-11-23T12:00:00Z", "2026-11-22T13:00:00Z", "2026-11-23T13:00:00Z"] {
        clocks.set(time);
        recording.wait_for("the wall clock was set");
        recording.wait_for(" event ");
    }
    recording.stop().expect(0);
    assert_eq!(clocks.records("ClockStepped").len(), 3);
    clocks.assert_in_their_days(&["2026-11-22", "2026-11-23"]);
    let twice = ["2026-11-22", "2026-11-23", "2026-11-22", "2026-11-23"];
    assert_eq!(clocks.segment_days(), twice);
    assert_eq!(clocks.rotate("2"), ["2026-11-22", "2026-11-23"]);
    clocks.set("2026-11-24T13:00:00Z");
    clocks.ingest("2026-11-24T12:00:00+01:00").expect(0);
    assert_eq!(clocks.rotate("2"), ["2026-11-23", "2026-11-24"]);
    // The second one begins with the end of what was open the day before, which stays as long as that day.
    assert_eq!(clocks.segment_days(), ["2026-11-23", "2026-11-22", "2026-11-23", "2026-11-24"]);
    clocks.assert_in_their_days_but_for_deleted(&["2026-11-23", "2026-11-24"]);
    assert_eq!(clocks.rotate("1"), ["2026-11-24"]);
    assert_eq!(clocks.segment_days(), ["2026-11-24"]);
}

/// Records over a moment at which the offset changes; returns what was seen of it.
fn over_a_change(before: &str, offsets: [&str; 2]) -> Option<Clocks> {
    let clocks = Clocks::at(before, "Europe/Berlin")?;
    let recording = clocks.record();
    clocks.env.until("an event behind the change", || {
        let lines = clocks.env.projected().files;
        let mut json = lines.iter().filter(|(path, _)| path.ends_with(".json"));
        json.any(|(_, text)| text.contains(offsets[1])).then_some(())
    });
    recording.stop().expect(0);
    assert_eq!(clocks.records("ClockStepped"), Vec::<Value>::new());
    let times: Vec<_> = clocks
        .records("EventDetected")
        .iter()
        .map(|event| event["record"]["timestamp"].as_str().unwrap().to_owned())
        .collect();
    let first_behind = times.iter().position(|time| time.ends_with(offsets[1])).unwrap();
    assert!(times[..first_behind].iter().all(|time| time.ends_with(offsets[0])), "{times:?}");
    assert!(times[first_behind..].iter().all(|time| time.ends_with(offsets[1])), "{times:?}");
    let mut sorted = times.clone();
    sorted.sort_by_key(|time| DateTime::parse_from_rfc3339(time).unwrap());
    assert_eq!(times, sorted, "in the order in which they happened");
    Some(clocks)
}

#[test]
fn summer_time_begins_and_ends_while_it_records() {
    let Some(clocks) = over_a_change("2026-10-25T00:59:56Z", ["+02:00", "+01:00"]) else { return };
    // The hour that comes twice, and the end of a day of 25 hours.
    clocks.set("2026-10-25T23:00:00Z");
    clocks.ingest("2026-10-25T02:30:00+02:00").expect(0);
    clocks.ingest("2026-10-25T02:30:00+01:00").expect(0);
    clocks.ingest("2026-10-25T23:59:59+01:00").expect(0);
    clocks.ingest("2026-10-26T00:00:00+01:00").expect(0);
    clocks.assert_in_their_days(&["2026-10-25", "2026-10-26"]);
    let Some(clocks) = over_a_change("2027-03-28T00:59:56Z", ["+01:00", "+02:00"]) else { return };
    clocks.assert_in_their_days(&["2027-03-28"]);
}

#[test]
fn midnight_passes_while_it_records_and_today_moves() {
    // Events of the day before, so that there is one to be deleted once today has become yesterday.
    let Some(mut clocks) = Clocks::at("2026-11-22T11:00:00Z", "Europe/Berlin") else { return };
    clocks.env = clocks.env.with("LENSLOG__STORAGE__MIN_RETENTION_DAYS", "2");
    clocks.ingest("2026-11-22T12:00:00+01:00").expect(0);
    clocks.set("2026-11-23T22:59:54Z");
    let mut recording = clocks.record();
    let kept = ["2026-11-22", "2026-11-23"];
    assert_eq!(clocks.rotate_through_the_recorder(), kept, "{}", recording.said);
    clocks.env.until("an event of the new day", || {
        days(&clocks.env).contains(&"2026-11-24".to_owned()).then_some(())
    });
    recording.wait_for(" event ");
    // Both midnights in one batch.
    let line = |time: &str| json!({"timestamp": time, "camera_id": "yard", "detected_objects": []});
    let batch = [
        "2026-11-23T23:59:59.999999+01:00",
        "2026-11-24T00:00:00+01:00",
        "2026-11-23T23:30:00+01:00",
    ];
    clocks.env.ingest(&batch.map(|time| line(time).to_string())).expect(0);
    clocks.env.until("it is verified beside the recorder", || {
        (clocks.env.run(&["replay", "verify"]).code == Some(0)).then_some(())
    });
    assert_eq!(clocks.rotate_through_the_recorder(), ["2026-11-23", "2026-11-24"]);
    recording.stop().expect(0);
    assert_eq!(clocks.records("ClockStepped"), Vec::<Value>::new());
    clocks.assert_in_their_days(&["2026-11-23", "2026-11-24"]);
    assert_eq!(clocks.segment_days(), ["2026-11-23", "2026-11-24"]);
}

impl Clocks {
    /// Asks the recorder, which keeps two days, to delete what may go; returns the days that are left.
    fn rotate_through_the_recorder(&self) -> Vec<String> {
        self.env.run(&["rotate", "--force"]).expect(0);
        days(&self.env)
    }
}

#[test]
fn a_leap_second_is_taken_as_it_is_written_and_a_second_may_come_twice() {
    let Some(clocks) = Clocks::at("2016-12-31T23:59:55Z", "UTC") else { return };
    let mut recording = clocks.record();
    clocks.ingest("2016-12-31T23:59:60Z").expect(0);
    clocks.ingest("2016-12-31T23:59:60.5+00:00").expect(0);
    // The kernel inserts it by repeating a second: too little for a step.
    clocks
        .env
        .until("midnight", || days(&clocks.env).contains(&"2017-01-01".to_owned()).then_some(()));
    clocks.repeat_a_second();
    recording.wait_for(" event ");
    recording.wait_for(" event ");
    recording.stop().expect(0);
    let events = clocks.records("EventDetected");
    let leap: Vec<_> = events
        .iter()
        .filter(|event| event["record"]["camera_id"] == "yard")
        .map(|event| event["record"]["timestamp"].as_str().unwrap())
        .collect();
    assert_eq!(leap, ["2017-01-01T00:00:00.000000+00:00", "2017-01-01T00:00:00.500000+00:00"]);
    assert!(clocks.records("ClockStepped").is_empty());
    clocks.assert_in_their_days(&["2016-12-31", "2017-01-01"]);
}

#[test]
fn a_zone_of_the_configuration_changes_at_the_next_start() {
    let Some(clocks) = Clocks::at("2026-11-23T20:00:00Z", "Europe/Berlin") else { return };
    let mut recording = clocks.record();
    let file = clocks.env.path("lenslog.toml");
    fs::write(file, format!("{CONFIG}[time]\nzone = \"+09:00\"\n")).unwrap();
    recording.signal(Signal::HUP);
    recording.wait_for("take effect after a restart");
    recording.wait_for(" event ");
    recording.stop().expect(0);
    clocks.assert_in_their_days(&["2026-11-23"]);
    clocks.record().stop().expect(0);
    clocks.assert_in_their_days(&["2026-11-23", "2026-11-24"]);
    let zones: Vec<_> = clocks.records("RecorderStarted");
    let zones: Vec<_> = zones.iter().map(|start| start["record"]["time_zone"].clone()).collect();
    assert_eq!(zones, ["Europe/Berlin", "+09:00"]);
}

#[test]
fn the_machines_zone_changes_while_it_records() {
    let Some(clocks) = Clocks::at("2026-11-23T20:00:00Z", "") else { return };
    // A machine of its own, as far as /etc goes.
    let etc = clocks.env.path("etc");
    fs::create_dir(&etc).unwrap();
    for name in ["passwd", "nsswitch.conf", "ld.so.cache", "hosts"] {
        let _ = fs::copy(PathBuf::from("/etc").join(name), etc.join(name));
    }
    let zone = |name: &str| {
        let new = clocks.env.path("localtime");
        std::os::unix::fs::symlink(format!("/usr/share/zoneinfo/{name}"), &new).unwrap();
        fs::rename(new, etc.join("localtime")).unwrap();
    };
    zone("Europe/Berlin");
    let script = "mount --bind \"$0\" /etc && exec \"$@\"";
    let recorder = clocks.env.command(&["record"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&etc).arg(recorder.get_program());
    command.args(recorder.get_args()).current_dir(clocks.env.path(""));
    for (name, value) in recorder.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("TZ");
    let can_mount = Command::new("unshare").args(["--mount", "true"]).output();
    let can_mount = can_mount.is_ok_and(|output| output.status.success());
    if lacks(
        "the right to mount, or /usr/share/zoneinfo,",
        can_mount && etc.join("localtime").exists(),
    ) {
        return;
    }
    let mut recording = Recording::begin(&mut command).map_err(|ran| ran.err).unwrap();
    recording.wait_for(" event ");
    zone("Asia/Tokyo");
    clocks.env.until("an event in the new zone", || {
        days(&clocks.env).contains(&"2026-11-24".to_owned()).then_some(())
    });
    recording.wait_for(" event ");
    recording.stop().expect(0);
    assert!(clocks.records("ClockStepped").is_empty(), "the clock was not set");
    clocks.assert_in_their_days(&["2026-11-23", "2026-11-24"]);
}
