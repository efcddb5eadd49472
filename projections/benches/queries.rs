//! Queries of the newest 99 events among many: 100,000, or as many as `LENSLOG_BENCH_EVENTS` says.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use chrono::{DateTime, Utc};
use criterion::Criterion;
use lenslog_engine::{RebuildOptions, rebuild};
use lenslog_events::{BoundingBox, DetectedObject, Event, EventDetected, Metadata, RecorderCodec};
use lenslog_journal::{Journal, Options, Timestamp};
use lenslog_projections::sqlite::SqliteProjection;
use lenslog_projections::{EventQuery, EventStore};

const EVENTS_DEFAULT: u64 = 100_000;
/// 2026-11-23T10:00:00Z, when the last event is.
const END: Timestamp = Timestamp { utc_micros: 1_795_428_000_000_000, offset_minutes: 60 };
/// Between two events.
const STEP_MICROS: i64 = 2_345_000;
const CAMERAS: u64 = 8;
const LIMIT: usize = 99;

/// A camera and a label with one event in a thousand, one in twenty with both.
fn event(number: u64, events: u64) -> Event {
    let back = (events - number) as i64;
    let timestamp = END.plus_micros(-back * STEP_MICROS);
    let is_rare = number.is_multiple_of(1000);
    let camera = if is_rare { CAMERAS } else { number * 7919 % CAMERAS };
    let label = match number % 997 {
        0 => "bicycle",
        rest if rest % 3 == 0 => "car",
        _ => "person",
    };
    let object = DetectedObject {
        label: label.to_owned(),
        confidence: 0.87,
        bbox: BoundingBox { x: 100.0, y: 80.0, width: 60.0, height: 140.0 },
    };
    Event::Detected(EventDetected {
        event_id: format!("evt_{:012x}-{number:012x}", timestamp.utc_micros / 1000),
        timestamp,
        camera_id: format!("camera_{camera}"),
        camera_name: Some("front door".to_owned()),
        motion_confidence: Some(0.7),
        detected_objects: vec![object],
        image_path: Some(format!("data/events/{}/{number}.jpg", timestamp.day())),
        llm_description: Some("Person in blue shirt carrying brown package".to_owned()),
        description_expected: false,
        metadata: Metadata::new(),
    })
}

fn make(directory: &Path, events: u64) -> Result<EventStore, Box<dyn std::error::Error>> {
    let journal = Journal::open(directory, &Options::default())?;
    for number in 0..events {
        let _ = journal
            .append_unsynced(&[RecorderCodec::encode(&event(number, events)).as_record()])?;
    }
    journal.sync()?;
    let begun = Instant::now();
    let path = directory.join("events.db");
    let mut projection = SqliteProjection::new(&path);
    rebuild(&mut projection, &journal.view(), &RebuildOptions::default(), &mut |_| true)?;
    eprintln!("{events} events: rebuilt in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(EventStore::open(path)?)
}

fn queries(events: u64) -> Vec<(&'static str, EventQuery)> {
    let at = |back: u64| -> DateTime<Utc> {
        END.plus_micros(-(back as i64) * STEP_MICROS).to_local().to_utc()
    };
    let all = || EventQuery::new().limit(LIMIT);
    let middle = || all().since(at(events / 2 + 5000)).until(at(events / 2));
    vec![
        ("newest", all()),
        ("camera", all().camera("camera_3")),
        ("rare camera", all().camera("camera_8")),
        ("label", all().label("person")),
        ("rare label", all().label("bicycle")),
        ("camera and label", all().camera("camera_3").label("car")),
        ("camera and rare label", all().camera("camera_3").label("bicycle")),
        ("time range", middle()),
        ("time range, camera, label", middle().camera("camera_3").label("car")),
    ]
}

fn bench(criterion: &mut Criterion) -> Result<(), Box<dyn std::error::Error>> {
    let events = std::env::var("LENSLOG_BENCH_EVENTS").ok().map(|text| text.parse()).transpose()?;
    let events = events.unwrap_or(EVENTS_DEFAULT);
    let directory = tempfile::tempdir()?;
    let store = make(directory.path(), events)?;
    let mut group = criterion.benchmark_group(format!("newest {LIMIT} of {events}"));
    for (name, query) in queries(events) {
        let page = store.query(&query)?;
        eprintln!("{name}: {} events", page.len());
        group.bench_function(name, |bencher| bencher.iter(|| black_box(store.query(&query))));
        if let Some(cursor) = page.next {
            let query = query.before_seq(cursor.seq);
            let name = format!("{name}, second page");
            group.bench_function(name, |bencher| bencher.iter(|| black_box(store.query(&query))));
        }
    }
    let last = store.recent_events(1)?.into_iter().next().map(|event| event.event_id);
    let last = last.unwrap_or_default();
    group.bench_function("by event_id", |b| b.iter(|| black_box(store.event_by_id(&last))));
    let all = EventQuery::new();
    group.bench_function("count all", |b| b.iter(|| black_box(store.count_events(&all))));
    group.finish();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
