//! Sentences about events, from a real server on loopback that does everything wrong that servers do.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;

use lenslog_events::{Event, EventDetected, Metadata, RecorderCodec};
use lenslog_journal::{Clock, Journal, Options, SystemClock, Timestamp};
use serde_json::Value;

use crate::harness::{Recording, TestEnv, zone};
use crate::model_server::{Asked, ModelServer, Reaction};

/// A configuration that asks that server; no camera films anything but `source`.
fn configure(env: &TestEnv, endpoint: &str, source: &str, description: &str) {
    let text = format!(
        "[description]\nendpoint = \"{endpoint}\"\n{description}\n[cameras.door]\nsource = \"{source}\"\n"
    );
    fs::write(env.path("lenslog.toml"), text).unwrap();
}

fn record(env: &TestEnv) -> Recording {
    let config = env.path("lenslog.toml");
    env.record(&["--config", config.to_str().unwrap()])
}

/// Now, as the programs would say it.
fn now() -> Timestamp {
    let minutes = i16::try_from(zone().local_minus_utc() / 60).unwrap();
    SystemClock { fixed_offset_minutes: Some(minutes) }.read().wall
}

/// Journals events that expect a sentence, each with a picture that shows its number.
fn backlog(env: &TestEnv, events: usize) {
    fs::create_dir_all(env.path("empty")).unwrap();
    fs::create_dir_all(&env.data).unwrap();
    let journal = Journal::open(&env.data, &Options::default()).unwrap();
    let now = now();
    for number in 0..events {
        let day = now.day();
        let directory = env.data.join("events").join(day.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("evt_{number}.jpg")), format!("event {number}")).unwrap();
        let event = Event::Detected(EventDetected {
            event_id: format!("evt_{number}"),
            timestamp: now,
            camera_id: "door".to_owned(),
            camera_name: None,
            motion_confidence: Some(0.5),
            detected_objects: Vec::new(),
            image_path: Some(format!("data/events/{day}/evt_{number}.jpg")),
            llm_description: None,
            description_expected: true,
            metadata: Metadata::new(),
        });
        let record = RecorderCodec::encode(&event);
        let _ = journal.append_unsynced(&[record.as_record()]).unwrap();
    }
    journal.sync().unwrap();
    journal.close().unwrap();
}

/// How many records of that kind there are of each event.
fn by_event(env: &TestEnv, kind: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in env.journal().values().filter(|record| record["kind"] == kind) {
        let id = record["record"]["event_id"].as_str().unwrap().to_owned();
        *counts.entry(id).or_insert(0) += 1;
    }
    counts
}

/// Every event's own sentence is in the database, once in the journal, and in a file.
#[track_caller]
fn check_described(env: &TestEnv, events: usize) {
    let added = by_event(env, "DescriptionAdded");
    assert_eq!(added.len(), events);
    assert!(added.values().all(|count| *count == 1), "{added:?}");
    let projected = env.projected();
    for row in &projected.rows {
        let columns: Vec<&str> = row.split('|').collect();
        let number = columns[1].strip_prefix("evt_").unwrap();
        assert!(columns.contains(&format!("Seen: event {number}").as_str()), "{row}");
    }
    assert_eq!(projected.rows.len(), events);
    assert_eq!(projected.json_ids().len(), events);
    env.verify();
}

/// Rebuilt, everything is as it was, and no model was asked.
#[track_caller]
fn check_rebuilt(env: &TestEnv, server: &ModelServer) {
    let (before, asked) = (env.projected(), server.asked());
    env.run(&["replay", "rebuild"]).expect(0);
    assert_eq!(env.projected(), before);
    assert_eq!(server.asked(), asked);
}

fn until_none_waits(env: &TestEnv) {
    env.until("everything is described", || {
        (env.status()["descriptions"]["waiting"] == 0).then_some(())
    });
    // What was described last is on its way.
    env.until("the projections follow", || {
        let status = env.status();
        let projections = status["projections"].as_array()?.clone();
        projections.iter().all(|projection| projection["lag_records"] == 0).then_some(())
    });
}

#[test]
fn a_live_event_has_its_sentence_in_every_file() {
    let env = TestEnv::new();
    let server = ModelServer::start(|asked: &Asked| {
        assert!(asked.head.contains("uthorization: Bearer sk-secret\r\n"), "{}", asked.head);
        assert_eq!(asked.body["model"], "tiny");
        assert!(asked.picture.starts_with(&[0xFF, 0xD8]), "a JPEG picture");
        Reaction::Sentence("A person\nwalks \u{1b}[31mby.".to_owned())
    });
    fs::write(env.path("key"), "sk-secret\n").unwrap();
    let settings = "model = \"tiny\"\nhold = \"60s\"\napi_key_file = \"key\"";
    configure(&env, &server.endpoint, "test:", settings);
    let recording = record(&env);
    let log = env.until("events.log has the sentence", || {
        let files = env.projected().files;
        let log = files.into_iter().find(|(path, _)| path.ends_with("events.log"))?.1;
        log.contains("Description:").then_some(log)
    });
    assert!(log.contains("  - Description: A person walks [31mby.\n"), "{log}");
    let ran = recording.stop().expect(0);
    assert!(!ran.err.contains("sk-secret"), "{}", ran.err);
    let journal = env.run(&["replay", "cat", "--json"]).expect(0).out;
    assert!(journal.contains("\"tiny\"") && !journal.contains("sk-secret"), "{journal}");
    let described = env.projected().rows.iter().filter(|row| row.contains("walks [31mby.")).count();
    assert!(described >= 1);
    env.verify();
    check_rebuilt(&env, &server);
}

#[test]
fn whatever_a_server_does_wrong_every_event_is_described_once() {
    let env = TestEnv::new();
    backlog(&env, 20);
    // Every second request fails, each time in another way.
    let server = ModelServer::start(|asked: &Asked| match asked.number {
        0 => {
            Reaction::Status("500 Internal Server Error", "", "{\"error\":\"out\nof\"}".to_owned())
        }
        2 => Reaction::Status("200 OK", "", "{not json".to_owned()),
        4 => Reaction::Hang,
        6 => Reaction::Status("200 OK", "", format!("[\"{}\"]", "x".repeat(10 << 20))),
        8 => Reaction::Close,
        10 => Reaction::Sentence(" \n\u{7} ".to_owned()),
        12 => Reaction::Status("429 Too Many", "Retry-After: 1\r\n", String::new()),
        14 => Reaction::Status("302 Found", "Location: http://127.0.0.1:1/\r\n", String::new()),
        16 => {
            Reaction::Status("401 Unauthorized", "", "{\"error\":{\"message\":\"no\"}}".to_owned())
        }
        _ => asked.sentence(),
    });
    let source = format!("dir:{}", env.path("empty").display());
    configure(&env, &server.endpoint, &source, "hold = \"1s\"\ntimeout = \"1s\"");
    let recording = record(&env);
    until_none_waits(&env);
    recording.stop().expect(0);
    check_described(&env, 20);
    assert!(server.asked() >= 29, "{} requests", server.asked());
    // They came late: the files had not waited for them.
    assert!(!by_event(&env, "DescriptionDeferred").is_empty());
    let amendments =
        env.projected().files.into_iter().find(|(path, _)| path.ends_with("amendments.json"));
    let (_, amendments) = amendments.unwrap();
    for line in amendments.lines() {
        let amendment: Value = serde_json::from_str(line).unwrap();
        let id = amendment["event_id"].as_str().unwrap().strip_prefix("evt_").unwrap().to_owned();
        assert_eq!(amendment["llm_description"], format!("Seen: event {id}"));
    }
    check_rebuilt(&env, &server);
}

#[test]
fn a_backlog_survives_kills_and_every_event_is_described_exactly_once() {
    const EVENTS: usize = 500;
    let env = TestEnv::new();
    backlog(&env, EVENTS);
    let server = ModelServer::start(Asked::sentence);
    let source = format!("dir:{}", env.path("empty").display());
    configure(&env, &server.endpoint, &source, "hold = \"1s\"");
    for asked in [1, 50, 120, 250, 400] {
        let mut recording = record(&env);
        env.until("it is asked", || (server.asked() >= asked).then_some(()));
        recording.child.kill().unwrap();
        recording.child.wait().unwrap();
    }
    let recording = record(&env);
    until_none_waits(&env);
    recording.stop().expect(0);
    check_described(&env, EVENTS);
    // A request is repeated only where its answer was cut off.
    assert!((EVENTS..=EVENTS + 10).contains(&server.asked()), "{} requests", server.asked());
    check_rebuilt(&env, &server);
}

#[test]
fn one_picture_that_a_model_cannot_look_at_stops_no_other_and_can_be_asked_for_later() {
    let env = TestEnv::new();
    backlog(&env, 6);
    let server = ModelServer::start(|asked: &Asked| match asked.picture.as_slice() {
        b"event 5" => Reaction::Status("413 Too Large", "", "{\"error\":\"too large\"}".to_owned()),
        _ => asked.sentence(),
    });
    // Its picture is gone.
    let day = now().day();
    let picture = env.data.join("events").join(day.to_string()).join("evt_2.jpg");
    let bytes = fs::read(&picture).unwrap();
    fs::remove_file(&picture).unwrap();
    let source = format!("dir:{}", env.path("empty").display());
    configure(&env, &server.endpoint, &source, "");
    let recording = record(&env);
    until_none_waits(&env);
    recording.stop().expect(0);
    let failed = by_event(&env, "DescriptionFailed");
    assert_eq!(failed.keys().collect::<Vec<_>>(), ["evt_2", "evt_5"]);
    assert_eq!(by_event(&env, "DescriptionAdded").len(), 4);
    env.verify();

    fs::write(&picture, bytes).unwrap();
    server.change(Asked::sentence);
    let config = env.path("lenslog.toml");
    let describe = |args: &[&str]| {
        let all =
            [&["--config", config.to_str().unwrap(), "describe", "--since", "yesterday"], args];
        env.run(&all.concat())
    };
    describe(&[]).expect(0).says("0 described, 0 failed, 0 left");
    describe(&["--failed"]).expect(0).says("2 described, 0 failed, 0 left");
    check_described(&env, 6);
    check_rebuilt(&env, &server);
}

#[test]
fn events_from_before_there_was_a_model_are_described_by_the_recorder_that_runs() {
    let env = TestEnv::new();
    backlog(&env, 3);
    let server = ModelServer::start(Asked::sentence);
    // A budget for one a day.
    let source = format!("dir:{}", env.path("empty").display());
    configure(&env, &server.endpoint, &source, "daily_budget = 1");
    let recording = record(&env);
    env.until("one is described", || (env.status()["descriptions"]["waiting"] == 2).then_some(()));
    let config = env.path("lenslog.toml");
    let args = ["--config", config.to_str().unwrap(), "describe", "--since", "yesterday"];
    env.run(&args).expect(0).says("2 events wait");
    recording.stop().expect(0);
    env.run(&args).expect(4).says("budget");
    assert_eq!(server.asked(), 1, "the budget counts what was described before the start");
}

#[test]
fn without_a_server_recording_goes_on_and_the_status_says_so() {
    let env = TestEnv::new();
    backlog(&env, 2);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    configure(&env, &format!("http://{unused}/v1"), "test:", "hold = \"1s\"");
    let config = env.path("lenslog.toml");
    let args = ["--config", config.to_str().unwrap()];
    let mut recording = env.record_until("not described at present", &args);
    recording.wait_for(" event ");
    env.until("the files do not wait", || (env.projected().json_ids().len() >= 2).then_some(()));
    let status = env.run(&["status"]).expect(0);
    assert!(status.out.contains("events wait; no descriptions: http://"), "{}", status.out);
    recording.stop().expect(0);
    env.verify();
    let args = [&args[..], &["describe", "--since", "yesterday"]].concat();
    env.run(&args).expect(4).says("cannot be reached");
}

#[test]
fn pictures_that_are_away_with_the_whole_directory_are_described_once_it_is_back() {
    let env = TestEnv::new();
    backlog(&env, 5);
    let (data, away) = (env.data.clone(), env.path("away"));
    let (from, to) = (data.clone(), away.clone());
    let server = ModelServer::start(move |asked: &Asked| {
        // Gone in the middle of a request.
        if asked.number == 0 {
            fs::rename(&from, &to).unwrap();
        }
        asked.sentence()
    });
    configure(&env, &server.endpoint, "test:", "");
    let config = env.path("lenslog.toml");
    let args = ["--config", config.to_str().unwrap(), "describe", "--since", "yesterday"];
    env.run(&args).expect(4);
    assert_eq!(server.asked(), 1);
    fs::rename(&away, &data).unwrap();
    env.run(&args).expect(0).says("0 failed, 0 left");
    assert!(by_event(&env, "DescriptionFailed").is_empty());
    check_described(&env, 5);
}

#[test]
fn a_picture_that_cannot_be_read_stops_no_other() {
    let env = TestEnv::new();
    backlog(&env, 4);
    let server = ModelServer::start(Asked::sentence);
    let day = now().day();
    let picture = env.data.join("events").join(day.to_string()).join("evt_3.jpg");
    fs::remove_file(&picture).unwrap();
    // Reading a directory fails, and it is not the same as no file.
    fs::create_dir(&picture).unwrap();
    configure(&env, &server.endpoint, "test:", "");
    let config = env.path("lenslog.toml");
    let args = ["--config", config.to_str().unwrap(), "describe", "--since", "yesterday"];
    env.run(&args).says("3 described");
    assert_eq!(by_event(&env, "DescriptionAdded").len(), 3);
}

#[test]
fn a_describe_beside_another_one_says_who_is_at_it() {
    let env = TestEnv::new();
    backlog(&env, 1);
    let (asked, is_asked) = std::sync::mpsc::channel();
    let server = ModelServer::start(move |_: &Asked| {
        asked.send(()).unwrap();
        Reaction::Hang
    });
    configure(&env, &server.endpoint, "test:", "timeout = \"60s\"");
    let config = env.path("lenslog.toml");
    let args = ["--config", config.to_str().unwrap(), "describe", "--since", "yesterday"];
    let mut first = env.command(&args).stdout(std::process::Stdio::null()).spawn().unwrap();
    is_asked.recv().unwrap();
    env.run(&args).says("in use by process");
    env.ingest(&[]).says("in use by process");
    first.kill().unwrap();
    first.wait().unwrap();
    server.change(Asked::sentence);
    env.run(&args).expect(0).says("1 described");
    check_described(&env, 1);
}

#[test]
fn a_key_that_is_there_at_last_is_used_after_a_reload() {
    let env = TestEnv::new();
    backlog(&env, 2);
    let server = ModelServer::start(|asked: &Asked| {
        assert!(asked.head.contains("uthorization: Bearer sk-late\r\n"), "{}", asked.head);
        asked.sentence()
    });
    configure(&env, &server.endpoint, "test:", "api_key_file = \"key\"");
    let mut recording = record(&env);
    let problem = env.status()["descriptions"]["problem"].clone();
    assert!(problem.as_str().unwrap().contains("cannot read the key in"), "{problem}");
    fs::write(env.path("key"), "sk-late\n").unwrap();
    recording.signal(rustix::process::Signal::HUP);
    recording.wait_for("the configuration is reloaded");
    env.until("both are described", || {
        (by_event(&env, "DescriptionAdded").len() >= 2).then_some(())
    });
    let ran = recording.stop().expect(0);
    assert!(!ran.err.contains("sk-late"), "{}", ran.err);
    env.verify();
}
