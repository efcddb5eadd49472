//! metrics.json, the status line, the service manager and HTTP agree with the journal, and block no thread.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Recording, TIMEOUT, TestEnv, line, lines};
use crate::scrape::{Served, lacks_parser};

/// A test environment whose recorders write and serve figures.
fn env() -> TestEnv {
    TestEnv::new()
        .with("LENSLOG__METRICS__METRICS_INTERVAL", "1s")
        .with("LENSLOG__METRICS__LISTEN", "127.0.0.1:0")
}

/// A recorder that sees nothing by itself.
fn quiet(env: &TestEnv) -> Recording {
    let pictures = env.path("pictures");
    fs::create_dir_all(&pictures).unwrap();
    let recording = env.record(&["--source", &format!("dir:{}", pictures.display())]);
    env.until_cameras_are_up();
    recording
}

fn json_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sums over the records of one kind.
fn sum_of(journal: &BTreeMap<u64, Value>, kind: &str, figure: impl Fn(&Value) -> u64) -> u64 {
    let records = journal.values().filter(|value| value["kind"] == kind);
    records.map(|value| figure(&value["record"])).sum()
}

#[test]
fn metrics_json_agrees_with_the_journal_and_with_the_database() {
    let env = env();
    let text = "[cameras.door]\nsource = \"test:\"\n[cameras.yard]\nsource = \"test:\"\nfps = 10\n";
    fs::write(env.path("lenslog.toml"), text).unwrap();
    let mut recording = env.record(&[]);
    recording.wait_for(" event ");
    env.ingest(&lines(0..20)).expect(0);
    env.ingest(&lines(15..25)).expect(0).says("5 known already");
    let metrics = env.path("logs/metrics.json");
    env.until("both cameras have had an event, and lines show it", || {
        let out = env.run(&["events", "--json"]).out;
        (out.contains("\"door\"") && out.contains("\"yard\"")).then_some(())?;
        (json_lines(&metrics).len() >= 3).then_some(())
    });
    recording.wait_for("status: up ");
    recording.stop().expect(0);
    let journal = env.journal();
    let lines = json_lines(&metrics);
    for pair in lines.windows(2) {
        for counter in ["frames_processed", "events_created", "events_suppressed", "uptime_s"] {
            assert!(pair[0][counter].as_u64() <= pair[1][counter].as_u64(), "{counter} fell");
        }
        assert!(pair[0]["time"].as_str() < pair[1]["time"].as_str());
    }
    let last = lines.last().unwrap();
    let number = |key: &str| last[key].as_u64().unwrap_or_else(|| panic!("{key} in {last:#}"));
    let events = sum_of(&journal, "EventDetected", |_| 1);
    assert_eq!(number("events_created"), events);
    assert_eq!(number("events_persisted"), events);
    assert_eq!(env.projected().rows.len() as u64, events);
    assert_eq!(number("events_duplicate"), 5);
    let minutes = |figure: &dyn Fn(&Value) -> u64| sum_of(&journal, "CameraMinute", figure);
    assert_eq!(number("frames_processed"), minutes(&|minute| minute["frames"].as_u64().unwrap()));
    assert_eq!(number("frames_dropped"), minutes(&|minute| minute["dropped"].as_u64().unwrap()));
    let by_reason = last["events_suppressed_by_reason"].as_object().unwrap();
    assert!(by_reason.contains_key("learning"), "{by_reason:?}");
    for (reason, count) in by_reason {
        let journaled = minutes(&|minute| minute["suppressed"][reason].as_u64().unwrap_or(0));
        assert_eq!(count.as_u64(), Some(journaled), "{reason}");
    }
    for camera in last["cameras"].as_array().unwrap() {
        let of_camera = |minute: &Value| {
            let same = minute["camera_id"] == camera["id"];
            if same { minute["frames"].as_u64().unwrap() } else { 0 }
        };
        assert_eq!(camera["frames_processed"].as_u64(), Some(minutes(&of_camera)));
        assert!(camera["availability"].as_f64().unwrap() > 0.5, "{camera:#}");
    }
    let labels = last["events_by_label"].as_array().unwrap();
    let sum: u64 = labels.iter().map(|label| label["count"].as_u64().unwrap()).sum();
    assert_eq!(sum, events);
    assert_eq!(number("events_ingested"), 25);
    let seen = last["frame_processing_latency_ms"]["count"].as_u64().unwrap();
    assert_eq!(seen, events - 25, "those that were not ingested");
    assert!(last["journal_sync_ms"]["p95"].as_f64().unwrap() > 0.0);
    assert!(last["motion_hit_rate"].as_f64().unwrap() > 0.0);
    assert!(last["memory_bytes"].as_u64().unwrap() > 1 << 20);
    for key in ["inference_ms", "description_ms"] {
        assert_eq!(last[key], Value::Null, "{key}");
    }
    for key in ["db_write_errors", "file_write_errors", "journal_write_errors", "events_lost"] {
        assert_eq!(number(key), 0, "{key}");
    }
    for projection in last["projections"].as_array().unwrap() {
        assert_eq!(projection["lag_records"], 0, "{projection:#}");
    }
    env.verify();
}

#[test]
fn prometheus_reads_what_the_journal_holds() {
    if lacks_parser() {
        return;
    }
    let env = env();
    let recording = quiet(&env);
    let served = Served::by(&recording);
    let label = "per\"son\\ {x=\"1\"} 7";
    let hostile = json!({
        "timestamp": "2026-11-20T10:00:00Z", "camera_id": "door\"} 1",
        "detected_objects": [
            {"label": "dog", "confidence": 0.1, "bbox": {"x": 1, "y": 2, "width": 3, "height": 4}},
            {"label": label, "confidence": 0.9, "bbox": {"x": 1, "y": 2, "width": 3, "height": 4}},
        ],
    });
    let ingested = env.ingest(&[&lines(0..30)[..], &[hostile.to_string(), line(0)]].concat());
    ingested.expect(0).says("31 events appended");
    let samples = served.samples();
    assert_eq!(samples.sum("lenslog_events_total"), 31.0);
    assert_eq!(samples.one("lenslog_events_total", &[("label", label)]), 1.0);
    let labels = [("camera", "camera_1"), ("label", "person")];
    let journal = env.journal();
    let of_camera = |record: &Value| u64::from(record["camera_id"] == "camera_1");
    let expected = sum_of(&journal, "EventDetected", of_camera);
    assert_eq!(samples.one("lenslog_events_total", &labels), expected as f64);
    assert_eq!(samples.one("lenslog_events_duplicate_total", &[]), 1.0);
    assert_eq!(samples.one("lenslog_camera_up", &[("camera", "camera_1")]), 1.0);
    assert_eq!(samples.one("lenslog_frames_total", &[]), 0.0);
    assert_eq!(samples.all("lenslog_camera_last_frame_timestamp_seconds"), []);
    // As of the last check of the storage, which may be a minute ago.
    let limit = env.status()["storage"]["limit_bytes"].as_f64().unwrap();
    env.until("what is stored was counted", || {
        let (bytes, of) = ("lenslog_storage_bytes", "lenslog_storage_limit_bytes");
        (served.value(bytes) > 0.0 && served.value(of) == limit).then_some(())
    });
    let build = samples.one("lenslog_build_info", &[("version", env!("CARGO_PKG_VERSION"))]);
    assert_eq!(build, 1.0);
    for projection in ["sqlite", "jsonl", "plaintext", "media"] {
        let lag = || {
            let samples = served.samples();
            let lag = samples.one("lenslog_projection_lag_records", &[("projection", projection)]);
            (lag == 0.0).then_some(())
        };
        env.until("every projection has caught up", lag);
    }
    assert_eq!(served.value("lenslog_events_persisted_total"), 31.0);
    let syncs = samples.one("lenslog_journal_sync_seconds_count", &[]);
    assert!(syncs >= 1.0);
    assert_eq!(samples.one("lenslog_journal_sync_seconds_bucket", &[("le", "+Inf")]), syncs);
    assert_eq!(samples.one("lenslog_inference_seconds_count", &[]), 0.0);
    // A picture appears: a frame, an event, and the time of both.
    fs::write(env.path("pictures/new.jpg"), picture()).unwrap();
    env.until("the picture was seen", || {
        (served.value("lenslog_frame_latency_seconds_count") > 0.0).then_some(())
    });
    let samples = served.samples();
    assert_eq!(samples.sum("lenslog_events_total"), 32.0);
    assert_eq!(samples.one("lenslog_frames_total", &[("camera", "camera_1")]), 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let last = samples.one("lenslog_camera_last_frame_timestamp_seconds", &[]);
    assert!((now.as_secs_f64() - last).abs() < TIMEOUT.as_secs_f64(), "{last}");
    let answer = served.get("/metrics");
    assert!(answer.head.contains("\r\nContent-Type: text/plain; version=0.0.4"), "{}", answer.head);
    recording.stop().expect(0);
}

fn picture() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(64, 48).write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

#[test]
fn healthz_says_what_status_says_and_does_not_waver() {
    let env = env();
    let recording = quiet(&env);
    let served = Served::by(&recording);
    let healthy = served.get("/healthz");
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
    let other = rusqlite::Connection::open(env.data.join("events.db")).unwrap();
    other.busy_timeout(TIMEOUT).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    env.ingest(&lines(0..3)).expect(1).says("sqlite");
    let ill = env.until("the locked database is reported", || {
        let answer = served.get("/healthz");
        (answer.status == 503).then_some(answer)
    });
    assert!(ill.body.contains("sqlite") && ill.body.contains("lock"), "{}", ill.body);
    env.run(&["status"]).expect(1).says(ill.body.trim());
    // As long as it is locked it is ill, also while it is tried again.
    let errors = || served.value("lenslog_db_write_errors_total");
    let before = errors();
    while errors() < before + 3.0 {
        assert_eq!(served.get("/healthz").status, 503);
    }
    assert_eq!(served.value("lenslog_events_persisted_total"), 0.0);
    other.execute_batch("ROLLBACK").unwrap();
    env.until("all is well again", || (served.get("/healthz").status == 200).then_some(()));
    env.until("the rows are there", || {
        (served.value("lenslog_events_persisted_total") == 3.0).then_some(())
    });
    assert_eq!(env.projected().rows.len(), 3);
    assert_eq!(served.get("/elsewhere").status, 404);
    recording.stop().expect(0);
    env.verify();
}

#[test]
fn hostile_clients_disturb_neither_recording_nor_others_for_long() {
    let env = env();
    let mut recording = env.record(&["--source", "test:"]);
    let served = Served::by(&recording);
    // Garbage, a head without end, a request for something else, half a request: each is answered or cut off.
    for (hostile, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "400"),
        (&[b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 100_000]].concat(), "431"),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", "404"),
        (b"GET /metrics HTTP/1.1\r\n", "408"),
    ] {
        let mut stream = served.connect();
        // The server may have had enough before all is sent.
        let _ = stream.write_all(hostile);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    // Many that say nothing, and some that never take their answer.
    let silent: Vec<_> = (0..40).map(|_| served.connect()).collect();
    let deaf: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = served.connect();
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
            stream
        })
        .collect();
    let frames = |env: &TestEnv| env.status()["counters"]["frames"].as_u64().unwrap();
    let before = frames(&env);
    recording.wait_for(" event ");
    env.until("recording goes on", || (frames(&env) > before).then_some(()));
    env.until("others are served again", || {
        served.try_get("/healthz").filter(|answer| answer.body == "ok\n")
    });
    drop((silent, deaf));
    let ran = recording.stop().expect(0);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    env.verify();
}

#[test]
fn metrics_json_is_moved_aside_at_its_limit_and_the_oldest_goes() {
    let env = env();
    let logs = env.path("logs");
    fs::create_dir_all(&logs).unwrap();
    let filler = format!("{{\"filler\":\"{}\"}}\n", "x".repeat(1000));
    let full = filler.repeat((4 << 20) / filler.len());
    fs::write(logs.join("metrics.json"), &full).unwrap();
    for number in 1..=3 {
        fs::write(logs.join(format!("metrics.json.{number}")), format!("{{\"n\":{number}}}\n"))
            .unwrap();
    }
    let recording = quiet(&env);
    env.until("lines in a new file", || {
        (json_lines(&logs.join("metrics.json")).first()?["frames_processed"] == 0).then_some(())
    });
    recording.stop().expect(0);
    assert_eq!(fs::read_to_string(logs.join("metrics.json.1")).unwrap(), full);
    for (number, content) in [(2, 1), (3, 2)] {
        let moved = json_lines(&logs.join(format!("metrics.json.{number}")));
        assert_eq!(moved, [json!({ "n": content })]);
    }
    assert_eq!(fs::read_dir(&logs).unwrap().count(), 4);
}

#[test]
fn where_metrics_json_cannot_be_written_it_is_told_once_and_recording_goes_on() {
    let env = env();
    fs::write(env.path("logs"), "a file").unwrap();
    let mut recording = env.record(&["--source", "test:"]);
    let served = Served::by(&recording);
    recording.wait_for("recording goes on");
    recording.wait_for(" event ");
    env.until("errors are counted", || {
        (served.value("lenslog_file_write_errors_total") >= 2.0).then_some(())
    });
    fs::remove_file(env.path("logs")).unwrap();
    recording.wait_for("is written again");
    let ran = recording.stop().expect(0);
    assert_eq!(ran.err.matches("recording goes on").count(), 1, "{}", ran.err);
    assert!(!json_lines(&env.path("logs/metrics.json")).is_empty());
}

#[test]
fn the_service_manager_gets_ready_status_watchdog_and_stop() {
    let mut env = env();
    let path = env.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    env = env.with("NOTIFY_SOCKET", path.to_str().unwrap()).with("WATCHDOG_USEC", "2000000");
    let hear = || {
        let mut buffer = [0; 4096];
        // A call with a time-out fails where the whole machine, or this process, was stopped meanwhile.
        let len = loop {
            match socket.recv(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    };
    let recording = quiet(&env);
    assert_eq!(hear(), "READY=1");
    let (mut watchdogs, mut statuses) = (0, 0);
    while watchdogs < 4 || statuses < 2 {
        let message = hear();
        watchdogs += usize::from(message == "WATCHDOG=1");
        statuses += usize::from(message.starts_with("STATUS=up "));
    }
    recording.signal(Signal::TERM);
    while hear() != "STOPPING=1" {}
    recording.ended().expect(0);
    // One without a request is not reported.
    let env = env.with("WATCHDOG_PID", "1");
    let recording = quiet(&env);
    while hear() != "READY=1" {}
    loop {
        let message = hear();
        assert_ne!(message, "WATCHDOG=1", "that is meant for another process");
        if message.starts_with("STATUS=") {
            break;
        }
    }
    recording.stop().expect(0);
}

/// A recorder whose standard error is a terminal, and what is written to it.
fn on_a_terminal(env: &TestEnv) -> (Child, Receiver<Vec<u8>>) {
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let child = env
        .command(&["record", "--source", "test:"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(slave))
        .spawn()
        .unwrap();
    let (sender, chunks) = channel();
    let mut terminal = File::from(master);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Its end is an error once the other side is closed.
        while let Ok(len @ 1..) = terminal.read(&mut buffer) {
            if sender.send(buffer[..len].to_vec()).is_err() {
                break;
            }
        }
    });
    (child, chunks)
}

#[test]
fn a_second_signal_ends_it_at_once_and_leaves_no_status_on_the_terminal() {
    let env = env();
    let (mut child, chunks) = on_a_terminal(&env);
    let mut shown = Vec::new();
    let mut wait_for = |text: &str| {
        while !String::from_utf8_lossy(&shown).contains(text) {
            shown.extend(chunks.recv_timeout(TIMEOUT).unwrap());
        }
        shown.clone()
    };
    wait_for(" recording ");
    // The end waits for the database, which another process holds.
    let other = rusqlite::Connection::open(env.data.join("events.db")).unwrap();
    other.busy_timeout(TIMEOUT).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait_for("\r\x1b[Kup ");
    let interrupt = || {
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::INT).unwrap();
    };
    interrupt();
    wait_for(" stopping ");
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut shown = wait_for(" stopping ");
    shown.extend(chunks.iter().flatten());
    let text = String::from_utf8_lossy(&shown).into_owned();
    let last = text.rsplit('\n').next().unwrap();
    assert!(last.ends_with("\r\x1b[K"), "{last:?}");
}

#[test]
fn a_terminal_has_one_line_that_is_drawn_anew() {
    let env = env();
    let (mut child, chunks) = on_a_terminal(&env);
    let mut shown = Vec::new();
    let drawn = |shown: &[u8]| String::from_utf8_lossy(shown).matches("\r\x1b[Kup ").count();
    while drawn(&shown) < 4 {
        shown.extend(chunks.recv_timeout(TIMEOUT).unwrap());
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    shown.extend(chunks.iter().flatten());
    let text = String::from_utf8_lossy(&shown).into_owned();
    // What remains on each line once everything is drawn: the log, each line whole, and no status.
    for line in text.split('\n') {
        let left = line.rsplit("\r\x1b[K").next().unwrap().trim_end_matches('\r');
        assert!(left.is_empty() || left.contains("INFO") || left.contains("WARN"), "{line:?}");
    }
    assert!(text.contains("stopping") && !text.contains("status: up"), "{text}");
    let widest = text.split("\r\x1b[K").filter(|part| part.starts_with("up ")).map(str::len).max();
    assert!(widest.unwrap() < 80, "{text}");
}

#[test]
fn a_reload_changes_where_and_how_often_metrics_are_told() {
    let env = TestEnv::new();
    let file = env.path("lenslog.toml");
    let config = |metrics: &str| {
        let text = format!("[cameras.door]\nsource = \"test:\"\n[metrics]\n{metrics}\n");
        fs::write(&file, text).unwrap();
    };
    config("");
    let mut recording = env.record(&[]);
    assert!(!recording.said.contains("health: metrics"), "{}", recording.said);
    config("metrics_interval = \"1s\"\nlisten = \"localhost:0\"");
    recording.signal(Signal::HUP);
    let served = Served::in_line(&recording.wait_for("metrics are served at"));
    assert_eq!(served.get("/healthz").status, 200);
    recording.wait_for("status: up ");
    assert!(
        !json_lines(&env.path("logs/metrics.json")).is_empty() || {
            env.until("a line", || json_lines(&env.path("logs/metrics.json")).pop());
            true
        }
    );
    config("listen = \"nonsense\"");
    recording.signal(Signal::HUP);
    recording.wait_for("is not reloaded");
    assert_eq!(served.get("/healthz").status, 200);
    config("");
    recording.signal(Signal::HUP);
    recording.wait_for("metrics are not served any more");
    recording.stop().expect(0);
}

#[test]
fn an_address_in_use_is_told_and_taken_once_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let env = TestEnv::new().with("LENSLOG__METRICS__LISTEN", &address);
    let mut recording = env.record(&["--source", "test:"]);
    let reported = format!("health: metrics: WARNING, cannot listen on {address}");
    assert!(recording.said.contains(&reported), "{}", recording.said);
    drop(taken);
    let served = Served::in_line(&recording.wait_for("metrics are served at"));
    assert_eq!(served.get("/healthz").status, 200);
    recording.stop().expect(0);
}
