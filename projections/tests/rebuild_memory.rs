//! The memory of a rebuild is that of its caches, however many rows it makes. Alone in its process: what other tests
//! hold would count.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use lenslog_engine::{RebuildOptions, Vocabulary, rebuild};
use lenslog_events::{Event, EventDetected, Metadata, RecorderVocabulary};
use lenslog_journal::{Journal, Options, Timestamp};
use lenslog_projections::sqlite::SqliteProjection;
use lenslog_projections::{EventQuery, EventStore};

/// The whole process: 64 MiB are pages while rows go in, the rest sorts for indexes. A million rows were measured to
/// take as much as half of them, 112 MiB.
const PEAK_BYTES_MAX: u64 = 144 << 20;

fn event(number: u64) -> Event {
    let utc_micros = 1_795_424_400_000_000 + number as i64 * 1_000_000;
    Event::Detected(EventDetected {
        // In no order, as those of other systems: an index in such an order is the hardest.
        event_id: format!("{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        timestamp: Timestamp { utc_micros, offset_minutes: 60 },
        camera_id: format!("camera_{}", number % 5),
        camera_name: None,
        motion_confidence: Some(0.5),
        detected_objects: Vec::new(),
        image_path: None,
        llm_description: Some("A cat crosses the lawn. ".repeat(60)),
        description_expected: false,
        metadata: Metadata::new(),
    })
}

/// The most memory that this process held while `act` ran.
fn peak_bytes(act: impl FnOnce()) -> u64 {
    // Begins to count anew.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    act();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_rebuild_takes_less_memory_than_the_rows_it_makes() {
    const EVENTS: u64 = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), &Options::default()).unwrap();
    for number in 0..EVENTS {
        let encoded = RecorderVocabulary::encode(&event(number));
        journal.append_unsynced(&[encoded.as_record()]).unwrap();
    }
    journal.sync().unwrap();
    let path = directory.path().join("events.db");
    let mut projection = SqliteProjection::new(&path);
    let options = RebuildOptions::default();
    // Once into nothing, once into the live file.
    let peak = peak_bytes(|| {
        for _ in 0..2 {
            rebuild(&mut projection, &journal.view(), &options, &mut |_| true).unwrap();
        }
    });
    let database = fs::metadata(&path).unwrap().len();
    println!("peak {} MiB for a database of {} MiB", peak >> 20, database >> 20);
    assert!(database > PEAK_BYTES_MAX, "the database is too small to tell");
    assert!(peak <= PEAK_BYTES_MAX, "{} MiB", peak >> 20);
    let store = EventStore::open(path).unwrap();
    assert_eq!(store.count_events(&EventQuery::new()).unwrap(), EVENTS);
}
