//! Several programs on one data directory at the same time.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Recording, TestEnv, id_of, lacks, line, lines, lines_of};

/// A recorder that sees nothing by itself, so that what is there is what the test put there.
fn quiet(env: &TestEnv) -> Recording {
    let pictures = env.path("pictures");
    fs::create_dir_all(&pictures).unwrap();
    env.record(&["--source", &format!("dir:{}", pictures.display())])
}

#[test]
fn a_second_recorder_is_refused_and_told_who_holds_the_directory() {
    let env = TestEnv::new();
    let recording = quiet(&env);
    let pid = recording.child.id();
    let second = env.run(&["record", "--source", "test:"]).expect(1);
    assert!(second.err.contains(&pid.to_string()), "{}", second.err);
    assert!(second.err.contains("lenslog record"), "{}", second.err);
    recording.stop().expect(0);
    env.run(&["record", "--source", "test:", "--duration", "1s"]).expect(0);
}

#[test]
fn ingest_beside_a_recorder_goes_through_it() {
    let env = TestEnv::new();
    let recording = quiet(&env);
    let input = (0..50).map(|number| line(number) + "\n").collect::<String>() + "no json\n";
    let ran = env.feed(&["ingest", "--ack"], input.as_bytes()).expect(1).says("line 51");
    assert_eq!(ran.out.lines().count(), 50);
    let again = env.feed(&["ingest", "--ack"], input.as_bytes()).expect(1).says("known already");
    assert_eq!(again.out, ran.out, "a duplicate is acknowledged with the first seq");
    assert_eq!(env.projected().rows.len(), 50);
    let other = TestEnv::new();
    other.ingest(&[]).expect(0);
    env.verify();
    recording.stop().expect(0);
    env.verify();
}

#[test]
fn what_follows_sees_every_event_once_and_in_order() {
    let env = TestEnv::new();
    let recording = quiet(&env);
    let follow = |args: &[&str]| {
        let mut child = env.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        (child, lines)
    };
    let (mut cat, records) = follow(&["replay", "cat", "--json", "--follow"]);
    // Those of before it begins, too: the moment is unknown.
    let since = ["--since", "2020-01-01"];
    let (mut events, followed) = follow(&[&["events", "--follow", "--json"], &since[..]].concat());
    env.ingest(&lines(0..10)).expect(0);
    // Whatever was shown is durable already: it is in a copy of the directory as it stands on the disk.
    let mut seen = Vec::new();
    while seen.len() < 10 {
        let line = records.recv_timeout(crate::harness::TIMEOUT).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        if value["kind"] == "EventDetected" {
            seen.push(id_of(&value["record"]));
        }
    }
    let expected: Vec<String> = (0..10).map(|number| format!("test-{number}")).collect();
    assert_eq!(seen, expected);
    let mut ids = Vec::new();
    while ids.len() < 10 {
        let line = followed.recv_timeout(crate::harness::TIMEOUT).unwrap();
        ids.push(id_of(&serde_json::from_str(&line).unwrap()));
        // A rebuild in between neither repeats nor hides an event.
        if ids.len() == 5 {
            env.run(&["replay", "rebuild", "--only", "sqlite"]).expect(0);
            env.ingest(&lines(10..11)).expect(0);
        }
    }
    assert_eq!(ids, expected);
    let last = followed.recv_timeout(crate::harness::TIMEOUT).unwrap();
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
    let env = TestEnv::new();
    let recording = quiet(&env);
    env.ingest(&lines(0..30)).expect(0);
    let database = env.data.join("events.db");
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
    let files = env.data.join("events/2026-11-20/events.json");
    let answer = Command::new("jq").arg("-r").arg(".detected_objects[0].label").arg(files).output();
    let answer = String::from_utf8(answer.unwrap().stdout).unwrap();
    assert_eq!(answer.lines().collect::<Vec<_>>(), ["person"; 10]);
    recording.stop().expect(0);
}

#[test]
fn a_backup_beside_a_recorder_verifies_and_goes_its_own_way() {
    let env = TestEnv::new();
    let mut recording = env.record(&["--source", "test:"]);
    recording.wait_for(" event ");
    env.ingest(&lines(0..100)).expect(0);
    let target = env.path("backup");
    env.run(&["replay", "backup", target.to_str().unwrap()]).expect(0);
    env.ingest(&lines(100..120)).expect(0);
    recording.stop().expect(0);
    let mut copy = TestEnv::new();
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
    env.run(&["replay", "backup", copy.data.to_str().unwrap()]).expect(2).says("empty");
}

#[test]
fn a_line_is_acknowledged_before_the_next_one_is_sent() {
    let env = TestEnv::new();
    let mut child = env
        .command(&["ingest", "--ack"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines_of(child.stdout.take().unwrap());
    let mut stdin = child.stdin.take().unwrap();
    for number in 0..20 {
        writeln!(stdin, "{}", line(number)).unwrap();
        let ack = lines.recv_timeout(crate::harness::TIMEOUT).unwrap();
        assert!(ack.starts_with(&format!("test-{number}\t")), "{ack}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_program_that_reads_the_database_and_never_ends_is_named_until_it_ends() {
    let env = TestEnv::new();
    let recording = quiet(&env);
    env.ingest(&lines(0..3)).expect(0);
    let reader = rusqlite::Connection::open(env.data.join("events.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    // All of it stays in the log, which is reported from 32 MB on.
    let sentence = "x".repeat(16_000);
    let long: Vec<String> = (3..2600)
        .map(|number| {
            let mut event: serde_json::Value = serde_json::from_str(&line(number)).unwrap();
            event["llm_description"] = sentence.as_str().into();
            event.to_string()
        })
        .collect();
    env.ingest(&long).expect(0);
    let name = format!("process {} (", std::process::id());
    let reported = env.until("a line of the status", || {
        let ran = env.run(&["status"]);
        ran.out.contains("reads the database and does not end").then_some(ran)
    });
    assert!(
        reported.out.contains(&name) && reported.code == Some(1),
        "{:?}: {}",
        reported.code,
        reported.out
    );
    drop(reader);
    env.until("its log is cut", || (env.run(&["status"]).code == Some(0)).then_some(()));
    recording.stop().expect(0);
    env.verify();
}
