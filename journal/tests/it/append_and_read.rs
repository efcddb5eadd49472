//! What is appended is read back: in order, across segments, days, closings, by key.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    append, clock, file_bytes, open, options, read_all, read_from, record, segments, view,
};
use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{
    Appended, ControlRecord, Error, Journal, Kind, NewRecord, Opening, Seq, limits,
};

#[test]
fn records_come_back_in_order_with_rising_seqs() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    assert_eq!(*journal.opening(), Opening::Created);
    for index in 0..100_u64 {
        assert_eq!(append(&journal, &index.to_le_bytes()), Seq(index + 1));
    }
    let found = read_all(&journal.view());
    let expected: Vec<_> =
        (0..100_u64).map(|index| (Seq(index + 1), index.to_le_bytes().to_vec())).collect();
    assert_eq!(found.records, expected);
    assert_eq!(read_from(&journal.view(), Seq(90)).records, expected[89..]);
}

#[test]
fn a_batch_gets_consecutive_seqs() {
    let journal = open(&FaultyStorage::new());
    let batch = [record(b"a"), record(b""), record(b"c")];
    assert_eq!(journal.append(&batch).unwrap(), Appended::New(Seq(1)));
    assert_eq!(journal.append(&batch).unwrap(), Appended::New(Seq(4)));
    assert_eq!(read_all(&journal.view()).payloads(), [&b"a"[..], b"", b"c", b"a", b"", b"c"]);
}

#[test]
fn unsynced_records_are_shown_only_after_a_sync() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    let _ = journal.append_unsynced(&[record(b"later")]).unwrap();
    assert!(read_all(&journal.view()).records.is_empty());
    assert!(read_all(&view(&storage)).records.is_empty());
    journal.sync().unwrap();
    assert_eq!(read_all(&journal.view()).payloads(), [b"later"]);
    assert_eq!(read_all(&view(&storage)).payloads(), [b"later"]);
}

#[test]
fn a_clean_close_is_continued_in_the_same_segment() {
    let storage = FaultyStorage::new();
    for round in 0..5_u8 {
        let journal = open(&storage);
        if round > 0 {
            assert_eq!(*journal.opening(), Opening::Clean);
        }
        append(&journal, &[round]);
        journal.close().unwrap();
        assert!(matches!(journal.append(&[record(b"x")]), Err(Error::Closed)));
    }
    assert_eq!(segments(&storage).len(), 1);
    assert_eq!(read_all(&view(&storage)).payloads(), [[0], [1], [2], [3], [4]]);
}

#[test]
fn dropping_the_last_handle_closes_cleanly_under_a_reader() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"one");
    let left = journal.view();
    drop(journal);
    assert_eq!(*open(&storage).opening(), Opening::Clean);
    assert_eq!(read_all(&left).payloads(), [b"one"]);
}

#[test]
fn a_new_day_begins_a_new_segment_in_either_direction() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = Journal::open(crate::common::ROOT, &options(&storage, &clock)).unwrap();
    append(&journal, b"monday");
    clock.advance(Duration::from_secs(86_400));
    append(&journal, b"tuesday");
    append(&journal, b"tuesday");
    clock.step_to(crate::common::morning());
    append(&journal, b"monday again");
    let names: Vec<_> = segments(&storage)
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "00000000000000000001-2026-11-23.seg",
            "00000000000000000002-2026-11-24.seg",
            "00000000000000000004-2026-11-23.seg",
        ]
    );
    let found = read_all(&journal.view());
    assert_eq!(found.payloads(), [&b"monday"[..], b"tuesday", b"tuesday", b"monday again"]);
    assert!(matches!(found.system[..], [ControlRecord::ClockStepped(_)]));
}

#[test]
fn a_full_segment_rolls_over_and_readers_follow() {
    let storage = FaultyStorage::new();
    let mut options = options(&storage, &clock());
    options.segment_bytes_max = Some(64 << 10);
    let journal = Journal::open(crate::common::ROOT, &options).unwrap();
    let mut reader = journal.view().reader(Seq::FIRST, Default::default()).unwrap();
    for index in 0..200_u64 {
        append(&journal, &[index as u8; 1000]);
        match reader.next().unwrap() {
            Some(lenslog_journal::Entry::Record(record)) => assert_eq!(record.seq, Seq(index + 1)),
            other => panic!("{other:?}"),
        }
    }
    assert!(segments(&storage).len() > 10);
    assert_eq!(read_all(&view(&storage)).records.len(), 200);
    for segment in &segments(&storage)[..5] {
        assert!(file_bytes(&storage, segment).len() <= 80 << 10);
    }
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let storage = FaultyStorage::new();
    let mut options = options(&storage, &clock());
    options.segment_bytes_max = Some(32 << 10);
    let journal = Journal::open(crate::common::ROOT, &options).unwrap();
    let large = vec![9; 300 << 10];
    append(&journal, b"before");
    append(&journal, &large);
    append(&journal, b"after");
    assert_eq!(read_all(&journal.view()).payloads(), [&b"before"[..], &large, b"after"]);
}

#[test]
fn the_largest_payload_fits_and_one_byte_more_is_refused() {
    let journal = open(&FaultyStorage::new());
    let payload = vec![1; limits::PAYLOAD_BYTES_MAX + 1];
    append(&journal, &payload[1..]);
    match journal.append(&[record(&payload)]) {
        Err(Error::TooLarge { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(journal.next_seq(), Seq(2));
}

#[test]
fn what_only_the_journal_may_append_is_refused() {
    let journal = open(&FaultyStorage::new());
    let reserved = NewRecord::new(Kind::RESERVED, 1, b"");
    assert!(matches!(journal.append(&[reserved]), Err(Error::Refused { .. })));
    assert!(matches!(journal.append(&[]), Err(Error::Refused { .. })));
    let twice = record(b"").key([1; 16]);
    assert!(matches!(journal.append(&[twice, twice]), Err(Error::Refused { .. })));
}

#[test]
fn a_known_key_is_a_duplicate_in_every_retained_segment() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let key = |index: u8| Some([index; 16]);
    for round in 0..6_u8 {
        let journal = Journal::open(crate::common::ROOT, &options(&storage, &clock)).unwrap();
        for index in 0..=round {
            let known = index < round;
            let payload = [index];
            let record = record(&payload).key(key(index));
            let appended = journal.append(&[record]).unwrap();
            let seq = Seq(u64::from(index) + 1);
            if known {
                assert_eq!(appended, Appended::Duplicate { index: 0, seq }, "round {round}");
            } else {
                assert_eq!(appended, Appended::New(seq), "round {round}");
            }
        }
        if round % 2 == 0 {
            clock.advance(Duration::from_secs(86_400));
        }
        if round == 3 {
            // The key files are derivable: without them nothing changes.
            for path in storage.files() {
                if path.extension().is_some_and(|extension| extension == "keys") {
                    lenslog_journal::storage::Storage::remove(&storage, &path).unwrap();
                }
            }
        }
    }
    assert_eq!(read_all(&view(&storage)).records.len(), 6);
}

#[test]
fn a_duplicate_in_a_batch_refuses_the_whole_batch() {
    let journal = open(&FaultyStorage::new());
    let with_key = |index: u8| record(b"x").key([index; 16]);
    let _ = journal.append(&[with_key(1)]).unwrap();
    let appended = journal.append(&[with_key(2), with_key(1)]).unwrap();
    assert_eq!(appended, Appended::Duplicate { index: 1, seq: Seq(1) });
    assert_eq!(journal.append(&[with_key(2)]).unwrap(), Appended::New(Seq(2)));
}

#[test]
fn trusted_keys_are_stored_without_being_looked_up() {
    let journal = open(&FaultyStorage::new());
    let record = record(b"x").key([1; 16]);
    assert_eq!(journal.append_trusted(&[record]).unwrap(), Seq(1));
    assert_eq!(journal.append_trusted(&[record]).unwrap(), Seq(2));
    assert!(matches!(journal.append(&[record]).unwrap(), Appended::Duplicate { .. }));
}

#[test]
fn concurrent_appenders_share_syncs_and_lose_nothing() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let journal = &journal;
            scope.spawn(move || {
                for index in 0..100_u64 {
                    let payload = (thread * 1000 + index).to_le_bytes();
                    if index % 3 == 0 {
                        let _ = journal.append_unsynced(&[record(&payload)]).unwrap();
                    } else {
                        append(journal, &payload);
                    }
                }
            });
        }
    });
    journal.sync().unwrap();
    let found = read_all(&journal.view());
    assert_eq!(found.records.len(), 800);
    for thread in 0..8_u64 {
        let own: Vec<_> = found
            .records
            .iter()
            .map(|(_, payload)| u64::from_le_bytes(payload[..].try_into().unwrap()))
            .filter(|number| number / 1000 == thread)
            .collect();
        assert_eq!(own, (0..100).map(|index| thread * 1000 + index).collect::<Vec<_>>());
    }
}

#[test]
fn two_journals_on_one_directory_are_refused() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    match Journal::open(crate::common::ROOT, &options(&storage, &clock())) {
        Err(Error::Locked { holder: Some(_), .. }) => {}
        other => panic!("{other:?}"),
    }
    journal.close().unwrap();
    open(&storage);
}

#[test]
fn a_follower_crosses_rollovers_and_sees_no_unsynced_record() {
    let storage = FaultyStorage::new();
    let mut options = options(&storage, &clock());
    options.segment_bytes_max = Some(64 << 10);
    let journal = Journal::open(crate::common::ROOT, &options).unwrap();
    let other = view(&storage);
    let mut reader = other.reader(Seq::FIRST, Default::default()).unwrap();
    for index in 0..100_u64 {
        let _ = journal.append_unsynced(&[record(&[1; 3000])]).unwrap();
        assert!(reader.next().unwrap().is_none(), "record {index} is not durable yet");
        journal.sync().unwrap();
        assert!(matches!(
            reader.next().unwrap(),
            Some(lenslog_journal::Entry::Record(record)) if record.seq == Seq(index + 1)
        ));
    }
}

#[test]
fn a_position_is_resumed_and_refused_in_another_journal() {
    let storage = FaultyStorage::new();
    let mut small = options(&storage, &clock());
    small.segment_bytes_max = Some(64 << 10);
    let journal = Journal::open(crate::common::ROOT, &small).unwrap();
    let mut positions = Vec::new();
    let mut reader = journal.view().reader(Seq::FIRST, Default::default()).unwrap();
    for index in 0..50_u8 {
        positions.push(reader.position().unwrap());
        append(&journal, &[index; 2000]);
        reader.next().unwrap().unwrap();
    }
    positions.push(reader.position().unwrap());
    for (index, position) in positions.iter().enumerate() {
        match journal.view().resume(position, Default::default()).unwrap() {
            lenslog_journal::Resume::At(mut reader) => match reader.next().unwrap() {
                Some(lenslog_journal::Entry::Record(record)) => {
                    assert_eq!(record.seq, Seq(index as u64 + 1));
                }
                None => assert_eq!(index, 50),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    let other = FaultyStorage::new();
    let foreign = open(&other);
    append(&foreign, b"something else");
    for (position, reason) in [(&positions[1], "another one"), (&positions[9], "ends at 2")] {
        match foreign.view().resume(position, Default::default()).unwrap() {
            lenslog_journal::Resume::Mismatch { reason: found } => {
                assert!(found.contains(reason), "{found}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn opening_reads_the_tail_only_however_long_the_journal() {
    let storage = FaultyStorage::new();
    let mut options = options(&storage, &clock());
    options.segment_bytes_max = Some(256 << 10);
    let journal = Journal::open(crate::common::ROOT, &options).unwrap();
    for _ in 0..100 {
        let batch = vec![record(&[5; 500]); 100];
        let _ = journal.append_unsynced(&batch).unwrap();
    }
    journal.close().unwrap();
    assert!(segments(&storage).len() > 15);
    let before = storage.bytes_read();
    let journal = Journal::open(crate::common::ROOT, &options).unwrap();
    assert_eq!(*journal.opening(), Opening::Clean);
    let clean = storage.bytes_read() - before;
    assert!(clean < 128 << 10, "{clean} bytes read after a clean end");
    append(&journal, b"x");
    let after_kill = storage.snapshot();
    let mut killed = options.clone();
    killed.storage = Arc::new(after_kill.clone());
    let journal = Journal::open(crate::common::ROOT, &killed).unwrap();
    assert!(matches!(*journal.opening(), Opening::Recovered { .. }));
    let dirty = after_kill.bytes_read();
    assert!(dirty < 2 << 20, "{dirty} bytes read after a kill");
}
