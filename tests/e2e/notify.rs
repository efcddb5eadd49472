//! Notifications through the built program: receivers that hang, refuse, die and come back; programs; hostile labels.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{Recording, TestEnv, lacks, zone};
use crate::model_server::read_request;

/// A request as the receiver saw it.
#[derive(Debug, Clone)]
struct Request {
    head: String,
    body: String,
    bytes: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> String {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or_else(String::new, |(_, value)| value.to_owned())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn event_id(&self) -> String {
        self.json()["data"]["event_id"].as_str().unwrap().to_owned()
    }
}

/// Gives a status line, or nothing: then the connection is kept open and silent.
type Rule = Box<dyn Fn(&Request) -> Option<&'static str> + Send>;

/// A receiver on loopback, as long as the process runs.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Request>>>,
    rule: Arc<Mutex<Rule>>,
}

impl Receiver {
    fn start(rule: impl Fn(&Request) -> Option<&'static str> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a-secret-hook", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Request>>> = Arc::default();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(rule)));
        let (all, ruling) = (Arc::clone(&got), Arc::clone(&rule));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, rule) = (Arc::clone(&all), Arc::clone(&ruling));
                std::thread::spawn(move || answer(stream, &all, &rule));
            }
        });
        Self { url, got, rule }
    }

    fn change(&self, rule: impl Fn(&Request) -> Option<&'static str> + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    fn got(&self) -> Vec<Request> {
        self.got.lock().unwrap().clone()
    }
}

/// Answers one request; only what is answered with 2xx was received.
fn answer(mut stream: TcpStream, all: &Mutex<Vec<Request>>, rule: &Mutex<Rule>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (head, body) = read_request(&mut reader)?;
    let request = Request { head, body: String::from_utf8_lossy(&body).into_owned(), bytes: body };
    let status = (rule.lock().unwrap())(&request);
    let Some(status) = status else {
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
        return None;
    };
    if status.starts_with('2') {
        all.lock().unwrap().push(request);
    }
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).ok()
}

const OK: Option<&str> = Some("204 No Content");

fn configure(env: &TestEnv, notify: &str) {
    fs::create_dir_all(env.path("empty")).unwrap();
    let text = format!("[cameras.door]\nsource = \"dir:empty\"\n{notify}");
    fs::write(env.path("lenslog.toml"), text).unwrap();
}

fn record(env: &TestEnv) -> Recording {
    let config = env.path("lenslog.toml");
    env.record(&["--config", config.to_str().unwrap()])
}

fn secret(env: &TestEnv, text: &str) {
    fs::write(env.path("secret"), text).unwrap();
    fs::set_permissions(env.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn now() -> String {
    chrono::Utc::now().with_timezone(&zone()).to_rfc3339()
}

fn events(from: usize, count: usize) -> Vec<String> {
    let line = |number| {
        json!({
            "event_id": format!("evt_{number}"), "timestamp": now(), "camera_id": "door", "camera_name": "front door",
            "detected_objects": [{"label": "person", "confidence": 0.9}],
        })
        .to_string()
    };
    (from..from + count).map(line).collect()
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("evt_{number}")).collect()
}

fn received(receiver: &Receiver) -> Vec<String> {
    receiver.got().iter().map(Request::event_id).collect()
}

#[test]
fn a_webhook_gets_signed_events_and_a_refused_one_delays_no_other() {
    let env = TestEnv::new();
    let receiver = Receiver::start(|request| match request.event_id() == "evt_4" {
        true => Some("400 Bad Request"),
        false => OK,
    });
    secret(&env, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    configure(
        &env,
        &format!("[notify.phone]\nurl = \"{}\"\nsecret_file = \"secret\"\n", receiver.url),
    );
    let recording = record(&env);
    env.ingest(&events(0, 10)).expect(0);
    let nine = ids((0..10).filter(|number| *number != 4));
    env.until("nine events arrive", || (received(&receiver) == nine).then_some(()));
    let status = env.until("the refused one is open", || {
        let status = env.status();
        (status["deliveries"][0]["open"] == 1).then_some(status)
    });
    assert_eq!(status["deliveries"][0]["name"], "notify-phone");
    assert_eq!(status["deliveries"][0]["state"], "delivering");
    recording.stop().expect(0);
    let config = env.path("lenslog.toml");
    env.run(&["notify", "list", "--config", config.to_str().unwrap()])
        .expect(0)
        .says("phone: next seq")
        .says("1 refused so far");

    let requests = receiver.got();
    let first = requests[0].json();
    assert_eq!(first["type"], "event.detected");
    assert_eq!(first["data"]["detected_objects"][0]["label"], "person");
    let parts: Vec<_> = requests[0].header("webhook-id").split('.').map(str::len).collect();
    assert_eq!((parts[0], parts[1], parts[3]), (32, 32, 8), "journal, incarnation, seq, digest");
    let has_library = Command::new("python3").args(["-c", "import standardwebhooks"]).output();
    if lacks(
        "the Python package standardwebhooks",
        has_library.is_ok_and(|ran| ran.status.success()),
    ) {
        return;
    }
    for request in requests {
        fs::write(env.path("body"), &request.body).unwrap();
        let script = "import sys, standardwebhooks as s\n\
                      headers = {'webhook-id': sys.argv[1], 'webhook-timestamp': sys.argv[2], 'webhook-signature': sys.argv[3]}\n\
                      s.Webhook('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw').verify(open(sys.argv[4]).read(), headers)";
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let mut verify = Command::new("python3");
        verify.args(["-c", script]).args(headers.map(|name| request.header(name)));
        let ran = verify.arg(env.path("body")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn a_receiver_that_comes_back_gets_everything_in_order() {
    let env = TestEnv::new();
    let receiver = Receiver::start(|_| Some("503 Service Unavailable"));
    configure(&env, &format!("[notify.phone]\nurl = \"{}\"\n", receiver.url));
    let recording = record(&env);
    env.ingest(&events(0, 20)).expect(0);
    let status = env.until("the failure is reported", || {
        let status = env.run(&["status"]);
        status.out.contains("notify-phone: down").then_some(status.out)
    });
    assert!(
        status.contains("it answers 503") && status.contains("health     degraded"),
        "{status}"
    );
    receiver.change(|_| OK);
    env.until("all arrive", || (received(&receiver) == ids(0..20)).then_some(()));
    env.until("the health is well again", || {
        env.run(&["status"]).out.contains("health     ok").then_some(())
    });
    let records = env.journal();
    let failed = records.values().filter(|record| record["kind"] == "DeliveryFailed");
    let failed: Vec<_> = failed.map(|record| record["record"].clone()).collect();
    assert_eq!(failed.len(), 2, "one when it goes down, one when it is back: {failed:?}");
    assert_eq!(failed[0]["delivery"], "notify-phone");
    assert!(failed[0]["reason"].as_str().unwrap().contains("it answers 503"));
    assert_eq!(failed[1]["reason"], Value::Null);
    let ended = recording.stop().expect(0);
    assert!(!ended.err.contains("a-secret-hook"), "{}", ended.err);
}

#[test]
fn a_killed_recorder_sends_what_is_missing_with_the_same_ids() {
    let env = TestEnv::new();
    let receiver = Receiver::start(|request| match request.event_id().as_str() {
        // The receiver hangs in the middle.
        "evt_5" => None,
        _ => OK,
    });
    configure(&env, &format!("[notify.phone]\nurl = \"{}\"\n", receiver.url));
    let mut recording = record(&env);
    env.ingest(&events(0, 10)).expect(0);
    env.until("it hangs at the sixth", || (received(&receiver).len() == 5).then_some(()));
    recording.child.kill().unwrap();
    drop(recording);
    receiver.change(|_| OK);
    let recording = record(&env);
    env.until("the rest arrives", || received(&receiver).ends_with(&ids(5..10)).then_some(()));
    recording.stop().expect(0);
    let mut ids_of = std::collections::BTreeMap::new();
    for request in receiver.got() {
        let known =
            ids_of.entry(request.event_id()).or_insert_with(|| request.header("webhook-id"));
        assert_eq!(*known, request.header("webhook-id"));
    }
    assert_eq!(ids_of.len(), 10);
}

#[test]
fn a_receiver_that_hangs_stops_neither_events_nor_the_end() {
    let env = TestEnv::new();
    let receiver = Receiver::start(|_| None);
    configure(&env, &format!("[notify.phone]\nurl = \"{}\"\ntimeout = \"5m\"\n", receiver.url));
    let recording = record(&env);
    env.ingest(&events(0, 50)).expect(0);
    assert_eq!(env.journaled_ids().len(), 50);
    recording.stop().expect(0);
    let records = env.journal();
    let is_failure = |record: &&Value| record["kind"] == "DeliveryFailed";
    assert_eq!(records.values().filter(is_failure).count(), 0, "the end is no failure");
}

#[test]
fn a_program_gets_the_event_and_no_label_reaches_a_shell() {
    let env = TestEnv::new().with("PASSWORD_OF_THE_RECORDER", "x");
    let program = env.path("alarm");
    fs::write(&program, "#!/bin/sh\ncat > event.part\nenv > env.part\nmv env.part env.txt\nmv event.part event.txt\n")
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    configure(&env, "[notify.horn]\nexec = [\"./alarm\", \"$(touch pwned)\"]\n");
    let recording = record(&env);
    let label = "`touch pwned`;$(touch pwned)\n\u{1b}]0;x\u{7}\u{202e}";
    let line = json!({
        "event_id": "evt_1", "timestamp": now(), "camera_id": "door",
        "detected_objects": [{"label": label, "confidence": 0.5}],
    });
    env.ingest(&[line.to_string()]).expect(0);
    let event = env.until("the program ran", || fs::read_to_string(env.path("event.txt")).ok());
    recording.stop().expect(0);
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["detected_objects"][0]["label"], label, "JSON carries it whole");
    let variables = fs::read_to_string(env.path("env.txt")).unwrap();
    let labels = variables.lines().find_map(|line| line.strip_prefix("LENSLOG_LABELS="));
    assert_eq!(labels, Some("`touch pwned`;$(touch pwned)  ]0;x  "));
    assert!(
        !variables.contains("PASSWORD_OF_THE_RECORDER") && !env.path("pwned").exists(),
        "{variables}"
    );
}

#[test]
fn only_the_wanted_cameras_and_labels_notify_and_not_too_often() {
    let env = TestEnv::new();
    let receiver = Receiver::start(|_| OK);
    configure(
        &env,
        &format!(
            "[notify.phone]\nurl = \"{}\"\nlabels = [\"person\"]\ncooldown = \"1h\"\n[notify.all]\nurl = \"{}\"\nbody = \"ntfy\"\n",
            receiver.url, receiver.url
        ),
    );
    let recording = record(&env);
    let line = |id: &str, camera: &str, label: &str| {
        json!({
            "event_id": id, "timestamp": now(), "camera_id": camera, "camera_name": "Tür",
            "detected_objects": [{"label": label, "confidence": 0.5}],
        })
        .to_string()
    };
    let lines = [
        line("cat", "door", "cat"),
        line("first", "door", "person"),
        line("second", "door", "person"),
        line("other", "yard", "person"),
    ];
    env.ingest(&lines).expect(0);
    let is_ntfy = |request: &Request| !request.header("title").is_empty();
    env.until("all arrive", || (receiver.got().len() == 6).then_some(()));
    recording.stop().expect(0);
    let (texts, events): (Vec<_>, Vec<_>) = receiver.got().into_iter().partition(is_ntfy);
    assert_eq!(events.iter().map(Request::event_id).collect::<Vec<_>>(), ["first", "other"]);
    // "cat at Tür", as a header may say it.
    assert_eq!(texts[0].header("title"), "=?UTF-8?B?Y2F0IGF0IFTDvHI=?=");
    assert_eq!(texts.len(), 4);
}

#[test]
fn the_picture_comes_with_the_alarm() {
    let env = TestEnv::new();
    let receiver = Receiver::start(|_| OK);
    let text = format!(
        "[cameras.door]\nsource = \"test:\"\n[notify.phone]\nurl = \"{}\"\nbody = \"ntfy\"\n",
        receiver.url
    );
    fs::write(env.path("lenslog.toml"), text).unwrap();
    let recording = record(&env);
    let request = env.until("the first alarm arrives", || receiver.got().first().cloned());
    recording.stop().expect(0);
    assert_eq!(request.header("content-type"), "image/jpeg");
    assert_eq!(request.header("title"), "motion at door");
    assert!(!request.header("message").is_empty());
    let days = fs::read_dir(env.data.join("events")).unwrap();
    let pictures = days.flat_map(|day| fs::read_dir(day.unwrap().path()).unwrap());
    let is_kept = pictures.map(|file| fs::read(file.unwrap().path()).unwrap());
    assert!(is_kept.into_iter().any(|bytes| bytes == request.bytes), "it is the kept picture");
}

#[test]
fn the_command_tests_a_receiver_and_names_what_is_wrong() {
    let env = TestEnv::new();
    let receiver = Receiver::start(|_| OK);
    let config = env.path("lenslog.toml");
    let notify = |args: &[&str]| {
        let all = [&["notify", "--config", config.to_str().unwrap()], args].concat();
        env.run(&all)
    };
    configure(
        &env,
        &format!("[notify.phone]\nurl = \"{}\"\nsecret_file = \"secret\"\n", receiver.url),
    );
    notify(&["test", "phone"]).expect(4).says("secret");
    fs::write(env.path("secret"), "whsec_AAAA").unwrap();
    fs::set_permissions(env.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    notify(&["test", "phone"]).expect(4).says("chmod 600");
    secret(&env, "hunter2");
    let ran = notify(&["test", "phone"]).expect(4).says("expected whsec_");
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    secret(&env, "whsec_AAAA");
    notify(&["test", "phone"]).expect(0).says("was delivered");
    receiver.change(|_| Some("410 Gone"));
    notify(&["test", "phone"]).expect(1).says("410");
    notify(&["test", "horn"]).expect(1).says("there are: phone");
    notify(&["list"]).expect(0).says("not started");
    notify(&["replay", "phone"]).expect(1).says("no recorder runs");
    for (text, problem) in [
        ("[notify.phone]\n", "either url or exec"),
        ("[notify.phone]\nurl = \"http://x/\"\nexec = [\"a\"]\n", "either url or exec"),
        ("[notify.phone]\nurl = \"ftp://x\"\n", "http://HOST"),
        ("[notify.phone]\nurl = \"http://x/\"\ncameras = [\"yard\"]\n", "'yard'"),
        ("[notify.\"a b\"]\nexec = [\"a\"]\n", "characters"),
        ("[notify.phone]\nurrl = \"http://x/\"\n", "notify.phone.url"),
    ] {
        configure(&env, text);
        notify(&["list"]).expect(2).says(problem);
    }
}
