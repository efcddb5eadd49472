//! Several programs on one data directory at the same time.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Lab, Recording, id_of, lacks, line, lines, lines_of};

/// A recorder that sees nothing by itself, so that what is there is what the test put there.
fn quiet(lab: &Lab) -> Recording {
    let pictures = lab.path("pictures");
    fs::create_dir_all(&pictures).unwrap();
    lab.record(&["--source", &format!("dir:{}", pictures.display())])
}

#[test]
fn a_second_recorder_is_refused_and_told_who_holds_the_directory() {
    let lab = Lab::new();
    let recording = quiet(&lab);
    let pid = recording.child.id();
    let second = lab.run(&["record", "--source", "test:"]).expect(1);
    assert!(second.err.contains(&pid.to_string()), "{}", second.err);
    assert!(second.err.contains("lenslog record"), "{}", second.err);
    recording.stop().expect(0);
    lab.run(&["record", "--source", "test:", "--duration", "1s"]).expect(0);
}

#[test]
fn ingest_beside_a_recorder_goes_through_it() {
    let lab = Lab::new();
    let recording = quiet(&lab);
    let input = (0..50).map(|number| line(number) + "\n").collect::<String>() + "no json\n";
    let ran = lab.feed(&["ingest", "--ack"], input.as_bytes()).expect(1).says("line 51");
    assert_eq!(ran.out.lines().count(), 50);
    let again = lab.feed(&["ingest", "--ack"], input.as_bytes()).expect(1).says("known already");
    assert_eq!(again.out, ran.out, "a duplicate is acknowledged with the first seq");
    assert_eq!(lab.projected().rows.len(), 50);
    let other = Lab::new();
    other.ingest(&[]).expect(0);
    lab.verify();
    recording.stop().expect(0);
    lab.verify();
}

#[test]
fn what_follows_sees_every_event_once_and_in_order() {
    let lab = Lab::new();
    let recording = quiet(&lab);
    let follow = |args: &[&str]| {
        let mut child = lab.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        (child, lines)
    };
    let (mut cat, records) = follow(&["replay", "cat", "--json", "--follow"]);
    // Those of before it begins, too: nobody knows when it does.
    let since = ["--since", "2020-01-01"];
    let (mut events, followed) = follow(&[&["events", "--follow", "--json"], &since[..]].concat());
    lab.ingest(&lines(0..10)).expect(0);
    // Whatever was shown is durable already: it is in a copy of the directory as it stands on the disk.
    let mut seen = Vec::new();
    while seen.len() < 10 {
        let line = records.recv_timeout(crate::harness::PATIENCE).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        if value["kind"] == "EventDetected" {
            seen.push(id_of(&value["record"]));
        }
    }
    let expected: Vec<String> = (0..10).map(|number| format!("test-{number}")).collect();
    assert_eq!(seen, expected);
    let mut ids = Vec::new();
    while ids.len() < 10 {
        let line = followed.recv_timeout(crate::harness::PATIENCE).unwrap();
        ids.push(id_of(&serde_json::from_str(&line).unwrap()));
        // A rebuild in between neither repeats nor hides an event.
        if ids.len() == 5 {
            lab.run(&["replay", "rebuild", "--only", "sqlite"]).expect(0);
            lab.ingest(&lines(10..11)).expect(0);
        }
    }
    assert_eq!(ids, expected);
    let last = followed.recv_timeout(crate::harness::PATIENCE).unwrap();
    assert_eq!(id_of(&serde_json::from_str(&last).unwrap()), "test-10");
    for child in [&mut cat, &mut events] {
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, Signal::INT).unwrap();
        child.wait().unwrap();
    }
    recording.stop().expect(0);
}

#[test]
fn sqlite3_and_jq_read_beside_a_recorder() {
    let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    if lacks("sqlite3", has("sqlite3")) || lacks("jq", has("jq")) {
        return;
    }
    let lab = Lab::new();
    let recording = quiet(&lab);
    lab.ingest(&lines(0..30)).expect(0);
    let database = lab.data.join("events.db");
    let answer = Command::new("sqlite3")
        .arg(&database)
        .arg("SELECT count(*), min(timestamp) FROM events; PRAGMA integrity_check;")
        .output()
        .unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert!(
        answer.starts_with("30|2026-11-19T15:00:06.006Z") && answer.ends_with("ok\n"),
        "{answer}"
    );
    let files = lab.data.join("events/2026-11-20/events.json");
    let answer = Command::new("jq").arg("-r").arg(".detected_objects[0].label").arg(files).output();
    let answer = String::from_utf8(answer.unwrap().stdout).unwrap();
    assert_eq!(answer.lines().collect::<Vec<_>>(), ["person"; 10]);
    recording.stop().expect(0);
}

#[test]
fn a_backup_beside_a_recorder_verifies_and_goes_its_own_way() {
    let lab = Lab::new();
    let mut recording = lab.record(&["--source", "test:"]);
    recording.wait_for(" event ");
    lab.ingest(&lines(0..100)).expect(0);
    let target = lab.path("backup");
    lab.run(&["replay", "backup", target.to_str().unwrap()]).expect(0);
    lab.ingest(&lines(100..120)).expect(0);
    recording.stop().expect(0);
    let mut copy = Lab::new();
    copy.data = target;
    copy.verify();
    let events = copy.journal().into_values().filter(|value| value["kind"] == "EventDetected");
    let (mut ingested, mut pictures) = (0, 0);
    for event in events {
        match event["record"]["image_path"].as_str() {
            Some(path) => {
                let path = copy.data.join(path.strip_prefix("data/").unwrap());
                assert!(path.is_file(), "{}", path.display());
                pictures += 1;
            }
            None => ingested += 1,
        }
    }
    assert!(ingested == 100 && pictures > 0, "{ingested} ingested, {pictures} pictures");
    copy.ingest(&lines(200..201)).expect(0);
    copy.verify();
    lab.run(&["replay", "backup", copy.data.to_str().unwrap()]).expect(2).says("empty");
}

#[test]
fn a_line_is_acknowledged_before_the_next_one_is_sent() {
    let lab = Lab::new();
    let mut child = lab
        .command(&["ingest", "--ack"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines_of(child.stdout.take().unwrap());
    let mut stdin = child.stdin.take().unwrap();
    for number in 0..20 {
        writeln!(stdin, "{}", line(number)).unwrap();
        let ack = lines.recv_timeout(crate::harness::PATIENCE).unwrap();
        assert!(ack.starts_with(&format!("test-{number}\t")), "{ack}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_program_that_reads_the_database_and_never_ends_is_named_until_it_ends() {
    let lab = Lab::new();
    let recording = quiet(&lab);
    lab.ingest(&lines(0..3)).expect(0);
    let reader = rusqlite::Connection::open(lab.data.join("events.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    // All of it stays in the log, which is told from 32 MB on.
    let sentence = "x".repeat(16_000);
    let long: Vec<String> = (3..2600)
        .map(|number| {
            let mut event: serde_json::Value = serde_json::from_str(&line(number)).unwrap();
            event["llm_description"] = sentence.as_str().into();
            event.to_string()
        })
        .collect();
    lab.ingest(&long).expect(0);
    let name = format!("process {} (", std::process::id());
    let told = lab.until("a line of the status", || {
        let ran = lab.run(&["status"]);
        ran.out.contains("reads the database and does not end").then_some(ran)
    });
    assert!(told.out.contains(&name) && told.code == Some(1), "{:?}: {}", told.code, told.out);
    drop(reader);
    lab.until("its log is cut", || (lab.run(&["status"]).code == Some(0)).then_some(()));
    recording.stop().expect(0);
    lab.verify();
}
