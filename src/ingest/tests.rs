//! What becomes of lines that the journal cannot take.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use lenslog_journal::storage::{Fault, FaultyStorage};
use lenslog_journal::{Entry, Options, ReaderOptions, Seq};

use super::*;

/// Makes room on a disk when it is asked to, or has none to make.
#[derive(Debug)]
struct Room {
    disk: FaultyStorage,
    has_some: bool,
    asked: AtomicU32,
}

impl Admission for Room {
    fn admit(&self) -> bool {
        true
    }

    fn note(&self, _: Seq) {}

    fn make_room(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.disk.heal();
        self.has_some
    }
}

/// A journal on a disk of its own, and a journal's ids.
fn journal() -> (FaultyStorage, Options, Journal) {
    let disk = FaultyStorage::new();
    let options = Options { storage: Arc::new(disk.clone()), ..Options::default() };
    let journal = Journal::open(Path::new("/data"), &options).unwrap();
    (disk, options, journal)
}

fn line(number: usize, name: &str) -> String {
    format!(
        "{{\"event_id\":\"e{number}\",\"timestamp\":\"2026-11-23T10:00:00Z\",\"camera_id\":\"c\",\"camera_name\":\"{name}\"}}\n"
    )
}

/// Ingests the lines, and returns the outcome of each.
fn ingest(journal: &Journal, options: &Options, room: &Room, input: &str) -> Vec<IngestOutcome> {
    let mut reported = Vec::new();
    let ingestor = Ingestor::new(journal.clone(), Arc::clone(&options.clock), room);
    let report = &mut |outcomes| {
        reported.extend::<Vec<_>>(outcomes);
        Ok(())
    };
    ingestor.run(input.as_bytes(), report).unwrap();
    reported
}

/// How many events the journal holds.
fn count(journal: &Journal) -> usize {
    let view = journal.view();
    let mut reader = view.reader(view.floor().unwrap(), ReaderOptions::default()).unwrap();
    let mut count = 0;
    while let Some(entry) = reader.next().unwrap() {
        count += usize::from(matches!(entry, Entry::Record(record) if !record.kind.is_reserved()));
    }
    count
}

/// Lines of which not all fit into what the journal has, and no more can be had.
fn too_much() -> String {
    let name = "x".repeat(200);
    (0..9_000).map(|number| line(number, &name)).collect()
}

#[test]
fn lines_that_find_no_room_are_taken_once_some_was_made() {
    for has_some in [true, false] {
        let (disk, options, journal) = journal();
        let room = Room { disk: disk.clone(), has_some, asked: AtomicU32::new(0) };
        disk.inject(Fault::AllocationFails { nth: 0 });
        let reported = ingest(&journal, &options, &room, &too_much());
        let refused = |reported: &&IngestOutcome| {
            matches!(reported, IngestOutcome::Refused { storage_full: true, .. })
        };
        let refused = reported.iter().filter(refused).count();
        assert_eq!(room.asked.load(Ordering::SeqCst), 1, "only the first batch found no room");
        assert_eq!(refused > 0, !has_some, "{refused}");
        assert_eq!((reported.len(), count(&journal)), (9_000, 9_000 - refused));
    }
}

#[test]
fn lines_whose_sync_failed_are_kept_by_the_journal_and_not_sent_a_second_time() {
    let (disk, options, journal) = journal();
    let room = Room { disk: disk.clone(), has_some: true, asked: AtomicU32::new(0) };
    disk.inject(Fault::AllSyncsFail);
    let reported = ingest(&journal, &options, &room, &line(1, "door"));
    assert!(matches!(&reported[..], [IngestOutcome::Refused { .. }]), "{reported:?}");
    disk.heal();
    journal.sync().unwrap();
    assert_eq!(count(&journal), 1, "the journal kept it");
    // A file system that places blocks late says at the sync that there is no room.
    let no_room = || Arc::new(io::Error::from(io::ErrorKind::StorageFull));
    let path = || Path::new("/data").to_owned();
    assert!(!found_no_room(&Error::Sync { path: path(), source: no_room() }));
    assert!(found_no_room(&Error::Suspended { path: path(), source: no_room() }));
    assert!(found_no_room(&Error::StorageFull { path: path() }));
}
