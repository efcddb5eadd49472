//! The memory of a rebuild and of a verification is that of their buffers, however many events and days there are.
//! Alone in its process: what other tests hold would count.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;

use lenslog_engine::{Projection, RebuildOptions, Vocabulary, rebuild, verify};
use lenslog_events::{Event, EventDetected, Metadata, RecorderVocabulary};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Journal, Options, ReaderOptions, Timestamp};
use lenslog_projections::jsonl::jsonl;
use lenslog_projections::plaintext::plaintext;

const EVENTS: u64 = 100_000;
/// The whole process, the journal's buffers included.
const PEAK_BYTES_MAX: u64 = 48 << 20;

/// One every three minutes, for seven months.
fn event(number: u64) -> Event {
    let utc_micros = 1_795_424_400_000_000 + number as i64 * 180_000_000;
    Event::Detected(EventDetected {
        event_id: format!("evt_{number}"),
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
fn a_rebuild_and_a_verification_take_less_memory_than_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), &Options::default()).unwrap();
    for number in 0..EVENTS {
        let encoded = RecorderVocabulary::encode(&event(number));
        journal.append_unsynced(&[encoded.as_record()]).unwrap();
    }
    journal.sync().unwrap();
    let storage = Arc::new(RealStorage);
    let projections: [Box<dyn Projection<RecorderVocabulary>>; 2] = [
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
        assert!(rebuilt.max(verified) <= PEAK_BYTES_MAX, "{name}: {rebuilt} {verified}");
    }
}
