//! The collector by a simulated clock, and what a line of metrics.json looks like.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lenslog_journal::{Clock, Seq, SimulatedClock, Timestamp};
use serde_json::Value;

use super::snapshot::MetricsSnapshot;
use super::status::status;
use super::*;

const START: Timestamp = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };

fn collector() -> (Arc<SimulatedClock>, MetricsCollector) {
    let clock = Arc::new(SimulatedClock::new(START));
    (Arc::clone(&clock), MetricsCollector::new(clock))
}

fn json(collector: &MetricsCollector) -> Value {
    serde_json::to_value(collector.collect()).unwrap()
}

/// A database that has come as far as the test says.
#[derive(Debug, Default)]
struct Database {
    next: AtomicU64,
    following: std::sync::atomic::AtomicBool,
}

impl GaugeSource for Database {
    fn projections(&self) -> Vec<ProjectionFigures> {
        let sqlite = ProjectionFigures {
            name: "sqlite".to_owned(),
            following: self.following.load(Ordering::Relaxed),
            lag_records: 3,
            parked: 0,
            errors: 5,
            next: self.next.load(Ordering::Relaxed),
        };
        let jsonl = ProjectionFigures { name: "jsonl".to_owned(), errors: 7, ..sqlite.clone() };
        vec![sqlite, jsonl]
    }

    fn events_waiting(&self) -> u64 {
        4
    }
}

#[test]
fn every_figure_of_a_recorder_that_did_nothing_is_there_and_what_is_unknown_is_null() {
    let (_, collector) = collector();
    let json = json(&collector);
    assert_eq!(json.pointer("/storage/total_bytes"), Some(&Value::Null));
    for (key, value) in [
        ("frames_processed", Value::from(0)),
        ("events_created", 0.into()),
        ("motion_hit_rate", Value::Null),
        ("inference_ms", Value::Null),
        ("description_ms", Value::Null),
        ("frame_processing_latency_ms", Value::Null),
        ("journal_sync_ms", Value::Null),
        ("availability", Value::Null),
    ] {
        assert_eq!(json.get(key), Some(&value), "{key} in {json:#}");
    }
    assert!(json["memory_bytes"].as_u64().unwrap() > 0);
    let back: MetricsSnapshot = serde_json::from_value(json).unwrap();
    assert_eq!(back.version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_is_told_is_what_is_collected() {
    let (clock, collector) = collector();
    let (door, yard) = (collector.camera("door"), collector.camera("yard"));
    door.up(clock.read());
    for number in 0..8 {
        door.frame(clock.read().wall, number % 2);
        door.motion(number % 4 == 0);
    }
    // A camera that uploads pictures has no motion stage: its frames are no misses.
    yard.frame(clock.read().wall, 0);
    door.suppressed("learning");
    door.suppressed("learning");
    yard.suppressed("deduplicated");
    yard.picture_lost();
    for milliseconds in 1..=4 {
        collector.inference(Duration::from_millis(100 * milliseconds));
        collector.description(Duration::from_secs(milliseconds));
        collector.frame_latency(Duration::from_millis(milliseconds));
        collector.journal_sync(Duration::from_micros(500 * milliseconds));
    }
    collector.journal_error();
    collector.image_error();
    collector.metrics_file_error();
    collector.event_lost();
    collector.event_duplicate();
    collector.set_storage(StorageMetrics {
        total_bytes: Some(1_200_000_000),
        limit_bytes: Some(4_000_000_000),
        warnings: 1,
    });
    clock.advance(Duration::from_secs(90));
    let json = json(&collector);
    for (pointer, value) in [
        ("/time", Value::from("2026-11-23T10:01:30+01:00")),
        ("/uptime_s", 90.into()),
        ("/frames_processed", 9.into()),
        ("/frames_dropped", 4.into()),
        ("/pictures_lost", 1.into()),
        ("/motion_detected", 2.into()),
        ("/motion_hit_rate", 0.25.into()),
        ("/events_suppressed", 3.into()),
        ("/events_suppressed_by_reason/learning", 2.into()),
        ("/cameras/0/id", "door".into()),
        ("/cameras/0/availability", 1.0.into()),
        ("/cameras/1/availability", 0.0.into()),
        ("/cameras/1/events_suppressed/deduplicated", 1.into()),
        ("/availability", 0.5.into()),
        ("/inference_ms/count", 4.into()),
        ("/inference_ms/average", 250.0.into()),
        ("/inference_ms/min", 100.0.into()),
        ("/inference_ms/max", 400.0.into()),
        ("/description_ms/average", 2500.0.into()),
        ("/frame_processing_latency_ms/max", 4.0.into()),
        ("/journal_sync_ms/min", 0.5.into()),
        ("/journal_write_errors", 1.into()),
        ("/file_write_errors", 2.into()),
        ("/storage_warnings", 1.into()),
        ("/events_lost", 1.into()),
        ("/events_duplicate", 1.into()),
        ("/storage/limit_bytes", 4_000_000_000_u64.into()),
    ] {
        assert_eq!(json.pointer(pointer), Some(&value), "{pointer} in {json:#}");
    }
}

#[test]
fn a_camera_that_is_configured_no_more_leaves_its_sums_behind() {
    let (clock, collector) = collector();
    let door = collector.camera("door");
    door.frame(clock.read().wall, 1);
    door.suppressed("learning");
    collector.camera("yard").frame(clock.read().wall, 0);
    collector.keep_cameras(|id| id == "yard");
    let snapshot = collector.collect();
    assert_eq!(snapshot.cameras.len(), 1);
    assert_eq!((snapshot.frames_processed, snapshot.events_suppressed), (2, 1));
    // One that keeps its name goes on counting where it was.
    collector.camera("yard").frame(clock.read().wall, 0);
    assert_eq!(collector.collect().cameras[0].frames_processed, 2);
    assert_eq!(collector.counted().frames, 3);
}

#[test]
fn an_event_is_persisted_once_the_database_shows_it() {
    let (_, collector) = collector();
    let database = Arc::new(Database::default());
    let observed: Weak<dyn GaugeSource> = Arc::<Database>::downgrade(&database);
    collector.observe(observed);
    for seq in [10, 12, 15] {
        collector.event_ingested("door", "person", Seq(seq));
    }
    let persisted = |next: u64, following: bool| {
        database.next.store(next, Ordering::Relaxed);
        database.following.store(following, Ordering::Relaxed);
        let snapshot = collector.collect();
        assert_eq!(snapshot.events_created, 3);
        snapshot.events_persisted
    };
    assert_eq!(persisted(10, true), 0);
    assert_eq!(persisted(13, false), 0, "a rebuild that has read it does not show it yet");
    assert_eq!(persisted(13, true), 2);
    assert_eq!(persisted(1, true), 2, "rebuilt from the beginning");
    assert_eq!(persisted(16, true), 3);
    let snapshot = collector.collect();
    assert_eq!((snapshot.db_write_errors, snapshot.file_write_errors), (5, 7));
    assert_eq!(snapshot.events_waiting, 4);
    drop(database);
    assert_eq!(collector.collect().projections, []);
}

#[test]
fn a_database_that_is_far_behind_costs_no_memory_and_loses_no_event() {
    let (_, collector) = collector();
    let database = Arc::new(Database::default());
    let observed: Weak<dyn GaugeSource> = Arc::<Database>::downgrade(&database);
    collector.observe(observed);
    database.following.store(true, Ordering::Relaxed);
    for seq in 1..=10_000 {
        collector.event_ingested("door", "person", Seq(seq));
    }
    database.next.store(5_000, Ordering::Relaxed);
    let persisted = collector.collect().events_persisted;
    assert!(persisted <= 4_999, "{persisted}");
    database.next.store(10_001, Ordering::Relaxed);
    assert_eq!(collector.collect().events_persisted, 10_000);
}

#[test]
fn threads_tell_while_others_collect_and_nothing_is_missed() {
    let (_, collector) = collector();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (collector, camera) = (&collector, collector.camera(&format!("c{}", thread % 2)));
            scope.spawn(move || {
                for number in 0..5_000 {
                    camera.frame(START, 1);
                    collector.event_ingested("c", "person", Seq(number));
                    collector.frame_latency(Duration::from_micros(number));
                }
            });
        }
        scope.spawn(|| (0..50).for_each(|_| drop(collector.collect())));
    });
    let snapshot = collector.collect();
    assert_eq!((snapshot.frames_processed, snapshot.events_created), (20_000, 20_000));
    assert_eq!(snapshot.frame_processing_latency_ms.unwrap().count, 20_000);
}

#[test]
fn the_status_names_what_is_wrong_and_nothing_that_is_not() {
    let (_, collector) = collector();
    let text = status(&collector.collect());
    assert!(!text.contains("error") && !text.contains("WAIT"), "{text}");
    assert!(text.starts_with("up 0 s, 0 of 0 cameras, 0 frames"), "{text}");
    let database = Arc::new(Database::default());
    let observed: Weak<dyn GaugeSource> = Arc::<Database>::downgrade(&database);
    collector.observe(observed);
    collector.set_storage(StorageMetrics {
        total_bytes: Some(1_200_000_000),
        limit_bytes: Some(4_000_000_000),
        warnings: 2,
    });
    let text = status(&collector.collect());
    assert!(text.contains(", Storage: 1.2GB / 4GB (30%), "), "{text}");
    assert!(text.contains("3 records behind"), "{text}");
    assert!(text.contains("4 EVENTS WAIT FOR THE JOURNAL"), "{text}");
    assert!(text.contains("12 write errors"), "{text}");
}
