//! A minute of two cameras: metrics.json, the console, Prometheus and the journal agree, at every look. And the
//! cost of counting.
//!
//! `LENSLOG_AGREE_SECONDS=600` records for ten minutes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Recording, TestEnv, lacks, line, lines, pedestrians};
use crate::scrape::{Samples, Served, lacks_parser};

fn seconds() -> u64 {
    let set = std::env::var("LENSLOG_AGREE_SECONDS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Pictures of the recording.
const FILM_FRAMES: u64 = 200;

fn json_lines(path: &Path) -> Vec<Value> {
    // The last line may just be written.
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value:#}"))
}

/// Counters of metrics.json and their names for Prometheus.
const COUNTERS: [(&str, &str); 5] = [
    ("frames_processed", "lenslog_frames_total"),
    ("motion_detected", "lenslog_motion_total"),
    ("events_created", "lenslog_events_total"),
    ("events_suppressed", "lenslog_suppressed_total"),
    ("events_duplicate", "lenslog_events_duplicate_total"),
];

/// Looks at a recorder for as long as it runs, once for each line of its console. Each look comes with the number of
/// lines in metrics.json before it: one more may have been measured already and not yet written.
fn looks(env: &TestEnv, recording: &mut Recording, metrics: &Path) -> Vec<(usize, Samples)> {
    let served = Served::by(recording);
    env.ingest(&lines(0..30)).expect(0);
    env.ingest(&[line(3)]).expect(0);
    let mut looks: Vec<(usize, Samples)> = Vec::new();
    while recording.try_wait_for("status: up ").is_ok() {
        let before = json_lines(metrics).len();
        // It may be at its end.
        let Some(answer) = served.attempt("/metrics").filter(|answer| answer.status == 200) else {
            continue;
        };
        if before > 0 {
            looks.push((before, Samples::parse(&answer.body)));
        }
    }
    looks
}

/// The figures of a camera in the journal.
fn journaled(env: &TestEnv, camera: &str) -> (u64, u64) {
    let journal = env.journal();
    let of_kind = |kind: &'static str| {
        let all = journal.values().filter(move |value| value["kind"] == kind);
        all.map(|value| &value["record"]).filter(|record| record["camera_id"] == camera)
    };
    let frames = of_kind("CameraMinute").map(|minute| number(minute, "frames")).sum();
    (frames, of_kind("EventDetected").count() as u64)
}

#[test]
fn a_minute_of_two_cameras_is_told_alike_everywhere() {
    if lacks("media/pedestrians.mjpeg", pedestrians().exists()) || lacks_parser() {
        return;
    }
    let env = TestEnv::new()
        .with("LENSLOG__METRICS__METRICS_INTERVAL", "5s")
        .with("LENSLOG__METRICS__LISTEN", "127.0.0.1:0");
    let (film, fps) = (pedestrians(), FILM_FRAMES as f64 / (seconds() as f64 * 0.7));
    let config = format!(
        "[cameras.film]\nsource = \"file:{}\"\nfps = {fps:.3}\n[cameras.door]\nsource = \"test:\"\n",
        film.display()
    );
    fs::write(env.path("lenslog.toml"), config).unwrap();
    let mut recording = env.record(&["--duration", &format!("{}s", seconds())]);
    let metrics = env.path("logs/metrics.json");
    let looks = looks(&env, &mut recording, &metrics);
    let ran = recording.ended().expect(0);
    let reported = json_lines(&metrics);
    assert!(looks.len() as u64 >= seconds() / 10, "{} looks", looks.len());
    assert!(reported.len() as u64 >= seconds() / 6, "{} lines", reported.len());
    // Prometheus: no counter lies outside the lines between which it was read.
    for (before, samples) in &looks {
        let after = &reported[(before + 1).min(reported.len() - 1)];
        for (key, name) in COUNTERS {
            let range = number(&reported[before - 1], key) as f64..=number(after, key) as f64;
            let found = samples.sum(name);
            assert!(range.contains(&found), "{name}: {found} is not in {range:?}");
        }
    }
    // The console: each line says what its line of metrics.json says.
    let status: Vec<_> =
        ran.err.lines().filter_map(|line| line.split_once("status: up ")).collect();
    assert_eq!(status.len() + 1, reported.len(), "the last line is for the file only");
    for ((_, text), line) in status.iter().zip(&reported) {
        let expected = format!(
            "{} frames, {} with motion, {} events, {} suppressed",
            number(line, "frames_processed"),
            number(line, "motion_detected"),
            number(line, "events_created"),
            number(line, "events_suppressed"),
        );
        assert!(text.contains(&expected), "{text} is not {expected}");
    }
    agrees_with_the_journal(&env, reported.last().unwrap(), &looks.last().unwrap().1, &ran.out);
    let last = reported.last().unwrap();
    println!("{} looks, {} lines, {last}", looks.len(), reported.len());
}

/// The last line agrees with the journal.
fn agrees_with_the_journal(env: &TestEnv, last: &Value, samples: &Samples, summary: &str) {
    let journal = env.journal();
    let events = journal.values().filter(|value| value["kind"] == "EventDetected").count() as u64;
    assert_eq!(number(last, "events_created"), events);
    assert_eq!(number(last, "events_persisted"), events);
    assert_eq!(env.projected().rows.len() as u64, events);
    assert_eq!((number(last, "events_ingested"), number(last, "events_duplicate")), (30, 1));
    let (film, door) = (journaled(env, "film"), journaled(env, "door"));
    assert_eq!(film.0, FILM_FRAMES);
    assert!(film.1 > 0 && door.1 > 0, "{film:?} {door:?}");
    assert_eq!(number(last, "frames_processed"), film.0 + door.0);
    for camera in last["cameras"].as_array().unwrap() {
        let (frames, _) = if camera["id"] == "film" { film } else { door };
        assert_eq!(number(camera, "frames_processed"), frames, "{camera:#}");
    }
    // The film was at its end long before the last look.
    let of_film = [("camera", "film")];
    assert_eq!(samples.one("lenslog_frames_total", &of_film), film.0 as f64);
    let reported: f64 = samples.sum_of("lenslog_events_total", &of_film);
    assert_eq!(reported, film.1 as f64);
    let counted = format!("{} frames looked at", film.0 + door.0);
    assert!(summary.contains(&counted), "{counted} is not in {summary}");
    let recorded = format!("  {} events, ", film.1 + door.1);
    assert!(summary.contains(&recorded) || summary.contains(&format!("  {events} events, ")));
    let suppressed = last["events_suppressed_by_reason"].as_object().unwrap();
    let mut journaled: BTreeMap<String, u64> = BTreeMap::new();
    for minute in journal.values().filter(|value| value["kind"] == "CameraMinute") {
        for (reason, count) in minute["record"]["suppressed"].as_object().unwrap() {
            *journaled.entry(reason.clone()).or_default() += count.as_u64().unwrap();
        }
    }
    let suppressed: BTreeMap<_, _> = suppressed
        .iter()
        .map(|(reason, count)| (reason.clone(), count.as_u64().unwrap()))
        .collect();
    assert_eq!(suppressed, journaled);
    env.verify();
}

/// Processor time of a program until its end, in hundredths of a second.
fn processor_time(recording: &mut Recording, mut meanwhile: impl FnMut()) -> u64 {
    let stat = PathBuf::from(format!("/proc/{}/stat", recording.child.id()));
    let mut used = 0;
    while recording.try_wait_for(" ").is_ok() {
        meanwhile();
        let text = fs::read_to_string(&stat).unwrap_or_default();
        // Behind the name, which may hold anything: user time is the 12th field, system time the 13th.
        let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
        if let (Some(user), Some(system)) = (fields.get(11), fields.get(12)) {
            let ticks = user.parse::<u64>().unwrap() + system.parse::<u64>().unwrap();
            used = used.max(ticks);
        }
    }
    used
}

#[test]
fn telling_figures_every_second_costs_less_than_a_hundredth_of_a_core() {
    const SECONDS: u64 = 20;
    let env = |interval: &str, listen: &str| {
        let env = TestEnv::new()
            .with("LENSLOG__METRICS__METRICS_INTERVAL", interval)
            .with("LENSLOG__METRICS__LISTEN", listen);
        fs::create_dir(env.path("pictures")).unwrap();
        env
    };
    // Two recorders that see nothing, side by side.
    let silent = env("1h", "");
    let talks = env("1s", "127.0.0.1:0");
    let args = |env: &TestEnv| {
        let source = format!("dir:{}", env.path("pictures").display());
        ["--source".to_owned(), source, "--duration".to_owned(), format!("{SECONDS}s")]
    };
    let start = |env: &TestEnv| {
        let args = args(env);
        env.record(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut quiet = start(&silent);
    let mut other = start(&talks);
    let without = std::thread::spawn(move || processor_time(&mut quiet, || ()));
    let served = Served::by(&other);
    let mut scrapes = 0;
    let with = processor_time(&mut other, || {
        scrapes += u64::from(served.attempt("/metrics").is_some());
    });
    let without = without.join().unwrap();
    println!(
        "{with} hundredths of a second with {scrapes} scrapes, {without} without, in {SECONDS} s"
    );
    assert!(scrapes >= SECONDS / 2, "{scrapes} scrapes");
    assert!(with.saturating_sub(without) < SECONDS, "{with} and {without} of {}", SECONDS * 100);
}
