//! The memory of a rebuild and of a verification is that of their buffers, however many events and days there are.
//! In a process of its own, one test at a time: what other tests hold would count.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use lenslog_engine::{Projection, RebuildOptions, rebuild, verify};
use lenslog_events::{Event, EventDetected, Metadata, RecorderCodec};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Journal, Options, ReaderOptions, Timestamp};
use lenslog_projections::jsonl::jsonl;
use lenslog_projections::plaintext::plaintext;
use lenslog_projections::sqlite::SqliteProjection;
use lenslog_projections::{EventQuery, EventStore};

/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::new(());

const EVENTS: u64 = 100_000;
/// Peak with day files, the journal's buffers included.
const FILES_PEAK_BYTES_MAX: u64 = 48 << 20;
/// Peak with the database: 64 MiB are pages while rows go in, the rest sorts for indexes. A million rows were measured
/// to take as much as half of them, 112 MiB.
const DATABASE_PEAK_BYTES_MAX: u64 = 144 << 20;

fn event(event_id: String, number: u64, seconds: i64) -> Event {
    let utc_micros = 1_795_424_400_000_000 + number as i64 * seconds * 1_000_000;
    Event::Detected(EventDetected {
        event_id,
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
    // Resets the peak.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    act();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_rebuild_and_a_verification_take_less_memory_than_the_files() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), &Options::default()).unwrap();
    for number in 0..EVENTS {
        let encoded = RecorderCodec::encode(&event(format!("evt_{number}"), number, 180));
        let _ = journal.append_unsynced(&[encoded.as_record()]).unwrap();
    }
    journal.sync().unwrap();
    let storage = Arc::new(RealStorage);
    let projections: [Box<dyn Projection<RecorderCodec>>; 2] = [
        Box::new(jsonl(storage.clone(), directory.path())),
        Box::new(plaintext(storage, directory.path(), true)),
    ];
    let view = journal.view();
    for mut projection in projections {
        let name = projection.spec().name;
        let rebuilt = peak_bytes(|| {
            rebuild(&mut *projection, &view, &RebuildOptions::default(), &mut |_| true).unwrap();
        });
        let verified = peak_bytes(|| {
            let options = ReaderOptions::default();
            let report = verify(&view, &[&*projection], options, &mut |_| true).unwrap();
            assert!(!report.differs());
            assert_eq!(report.projections[0].records, EVENTS);
        });
        println!("{name}: peak {} MiB rebuilt, {} MiB verified", rebuilt >> 20, verified >> 20);
        assert!(rebuilt.max(verified) <= FILES_PEAK_BYTES_MAX, "{name}: {rebuilt} {verified}");
    }
}

#[test]
fn a_rebuild_takes_less_memory_than_the_rows_it_makes() {
    // In no order, as those of other systems: an index in such an order is the hardest.
    let id = |number: u64| format!("{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), &Options::default()).unwrap();
    for number in 0..EVENTS {
        let encoded = RecorderCodec::encode(&event(id(number), number, 1));
        let _ = journal.append_unsynced(&[encoded.as_record()]).unwrap();
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
    assert!(database > DATABASE_PEAK_BYTES_MAX, "the database is too small to show it");
    assert!(peak <= DATABASE_PEAK_BYTES_MAX, "{} MiB", peak >> 20);
    let store = EventStore::open(path).unwrap();
    assert_eq!(store.count_events(&EventQuery::new()).unwrap(), EVENTS);
}
