//! Writes and syncs that fail, disks that are full: no acknowledged record is lost, no caller hangs, work continues.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::{
    ROOT, append, clock, file_bytes, open, options, read_all, record, segments, stepped_into,
    syncs_active, try_append, view,
};
use lenslog_journal::storage::{Access, Fault, FaultyStorage, Storage};
use lenslog_journal::{Appended, Clock, Error, Journal, Opening, Options, Random, Seq};

#[test]
fn a_failed_sync_moves_its_records_to_a_new_segment() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    storage.inject(Fault::SyncFails { nth: 0 });
    assert_eq!(append(&journal, b"two"), Seq(2));
    assert_eq!(journal.stats().relocations, 1);
    assert_eq!(append(&journal, b"three"), Seq(3));
    assert_eq!(segments(&storage).len(), 2);
    // What the failed sync left in the page cache is not believed.
    storage.drop_caches();
    for seed in 0..20 {
        let after = storage.fork().power_cut(seed);
        assert_eq!(read_all(&view(&after)).payloads(), [&b"one"[..], b"two", b"three"]);
    }
    assert!(!journal.health().is_degraded());
}

#[test]
fn a_failed_first_sync_of_a_segment_replaces_it() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    storage.inject(Fault::SyncFails { nth: 0 });
    append(&journal, b"one");
    assert_eq!(journal.stats().relocations, 1);
    assert_eq!(segments(&storage).len(), 1);
    assert_eq!(read_all(&view(&storage.power_cut(1))).payloads(), [b"one"]);
}

#[test]
fn a_reader_follows_across_a_relocation() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    let (inside, outside) = (journal.view(), view(&storage));
    let mut readers = [
        inside.reader(Seq::FIRST, Default::default()).unwrap(),
        outside.reader(Seq::FIRST, Default::default()).unwrap(),
    ];
    for index in 0..60_u64 {
        if index % 3 == 1 {
            storage.inject(Fault::SyncFails { nth: 0 });
        }
        append(&journal, &[index as u8; 100]);
        for reader in &mut readers {
            match reader.next().unwrap() {
                Some(lenslog_journal::Entry::Record(record)) => {
                    assert_eq!(record.seq, Seq(index + 1))
                }
                other => panic!("{other:?}"),
            }
            assert!(reader.next().unwrap().is_none());
        }
    }
    assert!(journal.stats().relocations >= 10);
}

#[test]
fn a_failed_sync_moves_what_came_while_it_ran_too() {
    let storage = FaultyStorage::new();
    let (journal, armed) = stepped_into(&storage, syncs_active, |journal| {
        let _ = journal.append_unsynced(&[record(b"two")]).unwrap();
        Err(rustix::io::Errno::IO.into())
    });
    append(&journal, b"zero");
    armed.store(true, Ordering::Relaxed);
    append(&journal, b"one");
    assert!(!armed.load(Ordering::Relaxed));
    assert_eq!(journal.stats().relocations, 1);
    let expected = [&b"zero"[..], b"one", b"two"];
    assert_eq!(read_all(&journal.view()).payloads(), expected);
    for seed in 0..20 {
        let found = read_all(&open(&storage.fork().power_cut(seed)).view());
        assert_eq!((found.payloads(), found.lost.len()), (expected.to_vec(), 0), "seed {seed}");
    }
}

#[test]
fn no_record_is_lost_while_every_sync_fails() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    storage.inject(Fault::AllSyncsFail);
    match try_append(&journal, b"two") {
        Err(Error::Sync { .. }) => {}
        other => panic!("{other:?}"),
    }
    // From here on nothing is taken, so that repeating is safe.
    match try_append(&journal, b"three") {
        Err(Error::Suspended { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(journal.health().is_degraded());
    assert_eq!(journal.health().records_in_memory, 1);
    assert_eq!(read_all(&journal.view()).payloads(), [b"one"]);
    assert!(journal.sync().is_err());
    storage.heal();
    assert_eq!(try_append(&journal, b"three").unwrap(), Seq(3));
    assert!(!journal.health().is_degraded());
    let expected = [&b"one"[..], b"two", b"three"];
    assert_eq!(read_all(&journal.view()).payloads(), expected);
    for seed in 0..20 {
        assert_eq!(read_all(&view(&storage.fork().power_cut(seed))).payloads(), expected);
    }
}

#[test]
fn everybody_who_waits_for_a_failing_sync_learns_the_outcome() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    storage.inject(Fault::AllSyncsFail);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u8)
            .map(|index| {
                let journal = &journal;
                scope.spawn(move || (index, try_append(journal, &[index])))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    storage.heal();
    append(&journal, b"last");
    let found = read_all(&journal.view());
    for (index, outcome) in outcomes {
        let there = found.payloads().contains(&&[index][..]);
        match outcome {
            Ok(_) | Err(Error::Sync { .. }) => assert!(there, "{index}: {outcome:?}"),
            Err(_) => assert!(!there, "{index}: {outcome:?}"),
        }
    }
}

#[test]
fn closing_fails_while_records_wait_in_memory() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    storage.inject(Fault::AllSyncsFail);
    try_append(&journal, b"two").unwrap_err();
    journal.close().unwrap_err();
    storage.heal();
    journal.close().unwrap();
    assert_eq!(*open(&storage).opening(), Opening::Clean);
    assert_eq!(read_all(&view(&storage)).payloads(), [b"one", b"two"]);
}

/// Appends until the disk is full; returns what was acknowledged.
fn fill(journal: &Journal) -> Vec<Vec<u8>> {
    let mut acknowledged = Vec::new();
    for index in 0..10_000_u64 {
        let payload = [index.to_le_bytes().as_slice(), &[7; 1500]].concat();
        match try_append(journal, &payload) {
            Ok(_) => acknowledged.push(payload),
            Err(error) => {
                assert!(matches!(error, Error::StorageFull { .. }), "{error}");
                return acknowledged;
            }
        }
    }
    panic!("the disk never filled")
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    storage.inject(Fault::Capacity { bytes: 2 << 20 });
    let acknowledged = fill(&journal);
    assert!(acknowledged.len() > 100);
    let expected: Vec<_> = acknowledged.iter().map(Vec::as_slice).collect();
    assert_eq!(read_all(&journal.view()).payloads(), expected);
    assert!(try_append(&journal, &[1; 1500]).is_err());
    storage.heal();
    append(&journal, b"there is room again");
    assert_eq!(read_all(&journal.view()).records.len(), expected.len() + 1);
    assert!(!journal.health().is_degraded());
}

#[test]
fn a_tombstone_is_written_on_a_full_disk_and_pruning_makes_room() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = Journal::open(ROOT, &options(&storage, &clock)).unwrap();
    append(&journal, b"an old day");
    for _ in 0..200 {
        append(&journal, &[1; 1500]);
    }
    clock.advance(Duration::from_secs(2 * 86_400));
    append(&journal, b"today");
    storage.inject(Fault::Capacity { bytes: 3 << 20 });
    fill(&journal);
    let pruned = journal.prune_through("2026-11-23".parse().unwrap()).unwrap();
    assert_eq!(pruned.segments.len(), 1);
    let unlinked = journal.unlink_pruned().unwrap();
    assert_eq!(unlinked.segments, 1);
    assert!(unlinked.bytes > 200 * 1500);
    append(&journal, b"there is room again");
}

#[test]
fn a_journal_opens_on_a_full_disk_without_its_spare() {
    for with_spare in [true, false] {
        let storage = FaultyStorage::new();
        let journal = open(&storage);
        append(&journal, b"one");
        let _ = journal.append_unsynced(&[record(b"unsynced")]).unwrap();
        let killed = storage.snapshot();
        if !with_spare {
            killed.remove(Path::new("/data/journal/spare")).unwrap();
        }
        killed.inject(Fault::Capacity { bytes: 0 });
        let journal = open(&killed);
        assert_eq!(journal.health().is_degraded(), !with_spare);
        // What was acknowledged can be read; without a new segment the unsynced record waits in memory.
        assert_eq!(read_all(&journal.view()).payloads()[0], b"one");
        if with_spare {
            append(&journal, b"two");
        } else {
            assert!(matches!(try_append(&journal, b"two"), Err(Error::StorageFull { .. })));
            killed.heal();
            append(&journal, b"two");
            assert!(!journal.health().is_degraded());
        }
        assert_eq!(read_all(&journal.view()).payloads(), [&b"one"[..], b"unsynced", b"two"]);
        journal.close().unwrap();
    }
}

#[test]
fn every_allocation_may_be_the_one_that_fails() {
    let run = |storage: &FaultyStorage, fail_at: Option<u64>| {
        let clock = clock();
        let mut options = options(storage, &clock);
        options.segment_bytes_max = Some(64 << 10);
        let journal = Journal::open(ROOT, &options).unwrap();
        if let Some(nth) = fail_at {
            storage.inject(Fault::AllocationFails { nth });
        }
        let mut acknowledged = Vec::new();
        for index in 0..60_u64 {
            clock.advance(Duration::from_secs(7200));
            let payload = [index.to_le_bytes().as_slice(), &[5; 3000]].concat();
            let result = if index % 4 == 3 {
                journal.append_unsynced(&[record(&payload)]).map(|appended| appended.seq())
            } else {
                try_append(&journal, &payload)
            };
            match result {
                Ok(_) => acknowledged.push(payload),
                Err(error) => {
                    assert!(error.is_storage_full(), "{error}");
                    // Space is made; what was refused may simply be repeated.
                    storage.heal();
                    try_append(&journal, &payload).unwrap();
                    acknowledged.push(payload);
                }
            }
        }
        journal.sync().unwrap();
        let expected: Vec<_> = acknowledged.iter().map(Vec::as_slice).collect();
        assert_eq!(read_all(&journal.view()).payloads(), expected, "{fail_at:?}");
        assert!(!journal.health().is_degraded(), "{fail_at:?}");
        journal.close().unwrap();
        assert_eq!(read_all(&view(storage)).payloads(), expected, "{fail_at:?}");
    };
    let counting = FaultyStorage::new();
    run(&counting, None);
    for nth in 0..counting.allocations() {
        run(&FaultyStorage::new(), Some(nth));
    }
}

#[test]
fn every_sync_may_be_the_one_that_fails() {
    let run = |storage: &FaultyStorage, fail_at: Option<u64>| {
        let clock = clock();
        let mut options = options(storage, &clock);
        options.segment_bytes_max = Some(64 << 10);
        let journal = Journal::open(ROOT, &options).unwrap();
        if let Some(nth) = fail_at {
            storage.inject(Fault::SyncFails { nth });
        }
        let mut acknowledged = Vec::new();
        for index in 0..40_u64 {
            clock.advance(Duration::from_secs(7200));
            let payload = [index.to_le_bytes().as_slice(), &[5; 3000]].concat();
            match try_append(&journal, &payload) {
                Ok(_) => acknowledged.push(payload),
                Err(Error::Sync { .. }) => acknowledged.push(payload),
                Err(_) => {
                    try_append(&journal, &payload).unwrap();
                    acknowledged.push(payload);
                }
            }
        }
        journal.sync().unwrap();
        let expected: Vec<_> = acknowledged.iter().map(Vec::as_slice).collect();
        assert_eq!(read_all(&journal.view()).payloads(), expected, "{fail_at:?}");
        // The lying page cache is gone after the cut.
        for seed in 0..3 {
            let after = storage.fork().power_cut(seed);
            assert_eq!(read_all(&view(&after)).payloads(), expected, "{fail_at:?} seed {seed}");
        }
    };
    let counting = FaultyStorage::new();
    run(&counting, None);
    for nth in 0..counting.syncs() {
        run(&FaultyStorage::new(), Some(nth));
    }
}

#[test]
fn a_marker_that_cannot_be_created_stops_nothing() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    journal.close().unwrap();
    storage.remove(Path::new("/data/journal/WITNESS")).unwrap();
    storage.create_directory(Path::new("/data/journal/WITNESS")).unwrap();
    let journal = open(&storage);
    append(&journal, b"two");
    append(&journal, b"three");
    drop(journal);
    let after = storage.power_cut(3);
    let found = read_all(&open(&after).view());
    assert_eq!(found.payloads(), [&b"one"[..], b"two", b"three"]);
}

#[test]
fn a_missing_marker_is_created_once_there_is_room() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    journal.close().unwrap();
    storage.remove(Path::new("/data/journal/WITNESS")).unwrap();
    // The spare is there; the witness finds no room.
    storage.inject(Fault::AllocationFails { nth: 0 });
    let journal = open(&storage);
    append(&journal, b"two");
    storage.heal();
    append(&journal, b"three");
    // Another process learns from it how far it may read.
    let expected = [&b"one"[..], b"two", b"three"];
    assert_eq!(read_all(&view(&storage)).payloads(), expected);
    journal.close().unwrap();
    let journal = open(&storage);
    assert!(matches!(journal.opening(), Opening::Clean), "{:?}", journal.opening());
    assert_eq!(read_all(&journal.view()).payloads(), expected);
}

#[test]
fn keys_in_memory_are_known_while_the_journal_is_suspended() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    let keyed = record(b"keyed").key([3; 16]);
    storage.inject(Fault::AllSyncsFail);
    journal.append(&[keyed]).unwrap_err();
    storage.heal();
    // A caller that repeats an append of unknown outcome gets the one existing record.
    let again = journal.append(&[keyed]).unwrap();
    assert_eq!(again, lenslog_journal::Appended::Duplicate { index: 0, seq: Seq(2) });
    assert_eq!(read_all(&journal.view()).payloads(), [&b"one"[..], b"keyed"]);
}

#[test]
fn a_synced_block_is_never_written_again() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    let path = segments(&storage).remove(0);
    let mut before: Vec<u8> = Vec::new();
    for index in 0..20_u8 {
        append(&journal, &[index; 50]);
        let now = file_bytes(&storage, &path);
        let written = now.iter().rposition(|byte| *byte != 0).unwrap() / 4096 * 4096;
        assert!(now.starts_with(&before), "a block before the last sync has changed");
        assert_eq!(written % 4096, 0);
        before = now[..written + 4096].to_vec();
    }
    let file = storage.open(&path, Access::Read).unwrap();
    assert!(file.stat().unwrap().len >= 20 * 4096);
}

#[test]
fn no_seq_is_given_twice_where_damage_and_a_power_cut_meet() {
    let batch = vec![record(b""); lenslog_journal::limits::BATCH_RECORDS_MAX];
    let mut repeated = 0;
    for seed in 0..30 {
        let storage = FaultyStorage::new();
        let journal = open(&storage);
        append(&journal, b"one");
        // So that preallocated space ends a little after the batch.
        append(&journal, &vec![1; 245_000]);
        let _ = journal.append(&batch).unwrap();
        // As many again are in the operating system only; the cut may take the file's length back as well.
        let last = journal.append_unsynced(&batch).unwrap().seq().plus(batch.len() as u64 - 1);
        let after = storage.power_cut(seed);
        let path = segments(&after).remove(0);
        after.rot(&path, 258_048 + 20, 1);
        after.remove(Path::new("/data/journal/WITNESS")).unwrap();
        let journal = open(&after);
        let seqs: Vec<_> = read_all(&journal.view()).records.iter().map(|(seq, _)| *seq).collect();
        let next = append(&journal, b"next");
        assert!(next > last || seqs.contains(&last), "seed {seed}: {next} after {last}");
        repeated += usize::from(!seqs.contains(&last));
    }
    assert!(repeated > 0);
}

#[test]
fn every_write_may_be_the_one_that_fails() {
    let run = |storage: &FaultyStorage, fail_at: Option<u64>| {
        let clock = clock();
        let mut options = options(storage, &clock);
        options.segment_bytes_max = Some(64 << 10);
        let journal = Journal::open(ROOT, &options).unwrap();
        if let Some(nth) = fail_at {
            storage.inject(Fault::WriteFails { nth });
        }
        let mut acknowledged = Vec::new();
        for index in 0..40_u64 {
            clock.advance(Duration::from_secs(7200));
            let payload = [index.to_le_bytes().as_slice(), &[5; 3000]].concat();
            let result = if index % 4 == 3 {
                journal.append_unsynced(&[record(&payload)]).map(Appended::seq)
            } else {
                try_append(&journal, &payload)
            };
            match result {
                Ok(_) | Err(Error::Sync { .. }) => {}
                Err(_) => {
                    try_append(&journal, &payload).unwrap();
                }
            }
            acknowledged.push(payload);
        }
        journal.sync().unwrap();
        let expected: Vec<_> = acknowledged.iter().map(Vec::as_slice).collect();
        assert_eq!(read_all(&journal.view()).payloads(), expected, "{fail_at:?}");
        assert!(!journal.health().is_degraded(), "{fail_at:?}");
        for seed in 0..3 {
            let after = storage.fork().power_cut(seed);
            assert_eq!(read_all(&view(&after)).payloads(), expected, "{fail_at:?} seed {seed}");
        }
    };
    let counting = FaultyStorage::new();
    run(&counting, None);
    for nth in 0..counting.writes() {
        run(&FaultyStorage::new(), Some(nth));
    }
}

#[test]
fn a_file_that_cannot_be_lengthened_is_left_for_another_one() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    let _ = journal.append_unsynced(&[record(b"two")]).unwrap();
    // The first write of an append that needs room lengthens the file.
    storage.inject(Fault::WriteFails { nth: 0 });
    append(&journal, &vec![3; 400 << 10]);
    assert_eq!(journal.stats().relocations, 1);
    assert_eq!(segments(&storage).len(), 2);
    let found = read_all(&view(&storage.power_cut(1)));
    assert_eq!(found.payloads(), [&b"one"[..], b"two", &vec![3; 400 << 10]]);
}

/// Four threads append while writes and syncs keep failing; all of them end, and every outcome is the truth.
fn append_during_failures(seed: u64) {
    let storage = FaultyStorage::new();
    let clock = clock();
    let mut options = options(&storage, &clock);
    options.segment_bytes_max = Some(64 << 10);
    let journal = Journal::open(ROOT, &options).unwrap();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let (journal, storage) = (&journal, &storage);
                let mut random = Random::new(seed * 4 + thread);
                scope.spawn(move || {
                    let mut outcomes = Vec::new();
                    for number in 0..40 {
                        match random.below(12) {
                            0 => storage.inject(Fault::SyncFails { nth: random.below(4) }),
                            1 => storage.inject(Fault::WriteFails { nth: random.below(6) }),
                            2 if random.once_in(3) => storage.inject(Fault::AllSyncsFail),
                            3..=5 => storage.heal(),
                            _ => {}
                        }
                        let size = if random.once_in(6) { 9000 } else { 40 };
                        let payload = format!("{thread}:{number}:{:size$}", "");
                        let result = if random.once_in(3) {
                            journal.append_unsynced(&[record(payload.as_bytes())])
                        } else {
                            journal.append(&[record(payload.as_bytes())])
                        };
                        outcomes.push((payload, result));
                    }
                    outcomes
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    storage.heal();
    journal.sync().unwrap();
    let found = read_all(&journal.view());
    assert!(found.lost.is_empty() && !journal.health().is_degraded(), "seed {seed}");
    for (payload, outcome) in &outcomes {
        let count = found.payloads().iter().filter(|found| **found == payload.as_bytes()).count();
        // A sync that returned by now has settled what was unknown.
        let expected = usize::from(matches!(outcome, Ok(_) | Err(Error::Sync { .. })));
        assert_eq!(count, expected, "seed {seed}: {outcome:?}");
        if let Ok(Appended::New(seq)) = outcome {
            assert!(found.records.iter().any(|(s, p)| s == seq && p == payload.as_bytes()));
        }
    }
    let after = storage.power_cut(seed);
    assert!(read_all(&view(&after)).records == found.records, "seed {seed}");
}

#[test]
fn appends_never_hang_or_lie_while_the_medium_fails() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for seed in 0..150 {
            append_during_failures(seed);
        }
        let _ = done.send(());
    });
    // Far longer than any machine needs: a caller hangs, or a panic above shows the failure.
    finished.recv_timeout(Duration::from_secs(300)).unwrap();
}

#[test]
fn a_full_disk_is_pruned_in_several_tombstones() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let options = Options { segment_bytes_max: Some(64 << 10), ..options(&storage, &clock) };
    let journal = Journal::open(ROOT, &options).unwrap();
    // More than the reserve has room to name.
    for _ in 0..1000 {
        append(&journal, b"a day");
        clock.advance(Duration::from_secs(86_400));
    }
    storage.inject(Fault::Capacity { bytes: 34 << 20 });
    fill(&journal);
    let today = clock.read().wall.day();
    let mut rounds = 0;
    while segments(&storage).len() > 1 {
        let pruned = journal.prune_through(today).unwrap();
        assert!(!pruned.segments.is_empty());
        journal.unlink_pruned().unwrap();
        rounds += 1;
    }
    assert!(rounds > 1, "one tombstone named them all: the test needs more segments");
    storage.heal();
    let last = append(&journal, b"there is room again");
    assert_eq!(read_all(&journal.view()).records.last().unwrap().0, last);
    assert!(!journal.health().is_degraded());
}
