//! Damage of every kind: what is lost is named exactly, everything else stays, and recording goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    Found, ROOT, append, clock, file_bytes, frames, open, options, read_all, record, segments,
    view, write_bytes,
};
use lenslog_journal::storage::{Fault, FaultyStorage, Storage};
use lenslog_journal::{
    ControlRecord, Entry, Error, Journal, LossCause, Opening, Options, ReaderOptions, Recovered,
    Seq, SimulatedClock,
};

/// A sealed segment with seqs 1 to 4 and an active one with 5 to 8, of one, one, two and then four single records.
fn two_segments() -> FaultyStorage {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = Journal::open(ROOT, &small(&storage, &clock)).unwrap();
    append(&journal, b"one");
    append(&journal, b"two");
    let _ = journal.append(&[record(b"three"), record(b"four")]).unwrap();
    clock.advance(Duration::from_secs(86_400));
    for payload in [&b"five"[..], b"six", b"seven", b"eight"] {
        append(&journal, payload);
    }
    storage.snapshot()
}

/// Small segments keep the files that are copied ten thousand times small.
fn small(storage: &FaultyStorage, clock: &Arc<SimulatedClock>) -> Options {
    let mut options = options(storage, clock);
    options.segment_bytes_max = Some(32 << 10);
    options
}

fn reopen(storage: &FaultyStorage) -> Journal {
    let later = clock();
    later.advance(Duration::from_secs(86_400));
    Journal::open(ROOT, &small(storage, &later)).unwrap()
}

/// Reads through a recorder's own reader, which reports what it meets.
fn read_and_report(journal: &Journal) -> Found {
    let found = read_all(&journal.view());
    for lost in &found.lost {
        journal.report_lost(lost).unwrap();
    }
    found
}

fn check_flip(original: &FaultyStorage, path: &Path, offset: u64, expected_lost: &[u64]) {
    let at = format!("{} offset {offset}", path.display());
    let storage = original.snapshot();
    storage.rot(path, offset, 0x20);
    // Not opened for writing yet: verify.
    let before = read_all(&view(&storage));
    assert_eq!(before.lost_seqs(), expected_lost, "{at}: {:?}", before.lost);
    for lost in &before.lost {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(lost.segment.file_name(), name, "{at}");
        assert!(lost.offset <= offset, "{at}: named offset {}", lost.offset);
    }
    let survivors: Vec<u64> = before.records.iter().map(|(seq, _)| seq.0).collect();
    let expected: Vec<u64> = (1..=8).filter(|seq| !expected_lost.contains(seq)).collect();
    assert_eq!(survivors, expected, "{at}");
    // Where nothing is lost the recorder is run for every seventh offset only.
    if expected_lost.is_empty() && !offset.is_multiple_of(7) {
        return;
    }
    // The recorder starts, reports, and continues.
    let journal = reopen(&storage);
    let appended = append(&journal, b"nine");
    assert!(appended > Seq(8), "{at}");
    let found = read_and_report(&journal);
    assert_eq!(found.records.len(), expected.len() + 1, "{at}");
    let gone: Vec<u64> =
        journal.health().gaps.iter().flat_map(|range| range.from.0..range.to.0).collect();
    assert_eq!(gone, expected_lost, "{at}");
    assert_eq!(journal.health().is_degraded(), !expected_lost.is_empty(), "{at}");
    // It is reported once, however often it is met, and is known after the next start.
    let gaps = |journal: &Journal| {
        let system = read_all(&journal.view()).system;
        system.into_iter().filter(|record| matches!(record, ControlRecord::Gap(_))).count()
    };
    assert_eq!(gaps(&journal), usize::from(!expected_lost.is_empty()), "{at}");
    read_and_report(&journal);
    journal.close().unwrap();
    let journal = reopen(&storage);
    read_and_report(&journal);
    assert_eq!(gaps(&journal), usize::from(!expected_lost.is_empty()), "{at}");
    assert_eq!(journal.health().is_degraded(), !expected_lost.is_empty(), "{at}");
}

#[test]
fn a_flipped_byte_anywhere_costs_the_frame_it_hits_and_no_other() {
    let storage = two_segments();
    for path in segments(&storage) {
        let bytes = file_bytes(&storage, &path);
        let frames = frames(&bytes);
        // Beyond the last frame and a footer there is preallocated space only: some of it stands for all.
        let interesting = frames.last().unwrap().0.end + 3 * 4096;
        for offset in 0..(bytes.len() as u64).min(interesting) {
            let hit = frames.iter().find(|(range, _)| range.contains(&offset));
            let lost = hit.map_or(&[][..], |(_, seqs)| seqs);
            check_flip(&storage, &path, offset, lost);
        }
    }
}

#[test]
fn a_flipped_byte_outside_of_the_segments_costs_nothing() {
    let storage = two_segments();
    for path in storage.files() {
        if path.extension().is_some_and(|extension| extension == "seg") {
            continue;
        }
        for offset in 0..(file_bytes(&storage, &path).len() as u64).min(8192) {
            check_flip(&storage, &path, offset, &[]);
        }
    }
}

#[test]
fn any_single_file_may_be_missing_and_the_recorder_starts() {
    let original = two_segments();
    for path in original.files() {
        let storage = original.snapshot();
        storage.remove(&path).unwrap();
        let journal = reopen(&storage);
        let seq = append(&journal, b"nine");
        assert!(seq > Seq(8), "{}", path.display());
        let found = read_and_report(&journal);
        let is_segment = path.extension().is_some_and(|extension| extension == "seg");
        assert_eq!(journal.health().is_degraded(), is_segment, "{}", path.display());
        assert_eq!(found.records.len(), if is_segment { 5 } else { 9 }, "{}", path.display());
    }
}

/// Once the days around it are pruned, a loss is not reported any more.
fn goes_when_pruned(storage: &FaultyStorage) {
    let journal = reopen(storage);
    journal.prune_through("2030-01-01".parse().unwrap()).unwrap();
    journal.unlink_pruned().unwrap();
    assert!(!journal.health().is_degraded(), "{:?}", journal.health());
    assert!(read_all(&journal.view()).lost.is_empty());
}

#[test]
fn a_missing_sealed_segment_is_named_with_its_seqs() {
    let storage = two_segments();
    let first = segments(&storage).remove(0);
    storage.remove(&first).unwrap();
    let found = read_all(&view(&storage));
    assert_eq!(found.lost_seqs(), [1, 2, 3, 4]);
    assert_eq!(found.lost[0].cause, LossCause::SegmentMissing);
    assert_eq!(found.lost[0].segment.file_name(), first.file_name().unwrap().to_str().unwrap());
    assert_eq!(found.payloads(), [&b"five"[..], b"six", b"seven", b"eight"]);
    let journal = reopen(&storage);
    read_and_report(&journal);
    assert!(journal.health().is_degraded());
    drop(journal);
    goes_when_pruned(&storage);
}

#[test]
fn exactly_the_seqs_of_missing_segments_are_lost() {
    let storage = two_segments();
    for path in segments(&storage) {
        storage.remove(&path).unwrap();
    }
    for openings in [1, 2] {
        let journal = reopen(&storage);
        append(&journal, b"later");
        let found = read_and_report(&journal);
        assert_eq!(found.lost_seqs(), [1, 2, 3, 4, 5, 6, 7, 8], "opening {openings}");
        assert_eq!(found.payloads().len(), openings);
        assert_eq!(journal.health().gaps.len(), 1, "{:?}", journal.health());
    }
    goes_when_pruned(&storage);
}

#[test]
fn a_sealed_last_segment_proves_a_missing_active_one() {
    for with_witness in [true, false] {
        let storage = two_segments();
        let active = segments(&storage).remove(1);
        storage.remove(&active).unwrap();
        if !with_witness {
            storage.remove(&PathBuf::from("/data/journal/WITNESS")).unwrap();
        }
        let found = read_all(&view(&storage));
        assert_eq!(
            found.lost[0].cause,
            if with_witness { LossCause::Damaged } else { LossCause::SegmentMissing }
        );
        let journal = reopen(&storage);
        let Opening::Recovered { gaps, recovered } = journal.opening().clone() else {
            panic!("{:?}", journal.opening())
        };
        assert!(recovered.damaged);
        assert_eq!(gaps[0].range.from, Seq(5));
        assert!(gaps[0].upper_bound_unknown);
        if with_witness {
            assert_eq!(gaps[0].range.to, Seq(9));
        }
        assert!(append(&journal, b"nine") > Seq(2_000_000), "a whole segment of seqs is skipped");
        assert!(journal.health().is_degraded());
        drop(journal);
        // Readers still report it, and a position in it stays valid.
        let expected: &[u64] = if with_witness { &[5, 6, 7, 8] } else { &[5] };
        for openings in [2, 3] {
            let found = read_all(&view(&storage));
            assert_eq!(found.lost_seqs(), expected, "witness {with_witness}, opening {openings}");
            assert_eq!(found.payloads().len(), 3 + openings);
            let journal = reopen(&storage);
            assert_eq!(journal.health().gaps.len(), 1, "{:?}", journal.health());
            append(&journal, b"later");
        }
        goes_when_pruned(&storage);
    }
}

#[test]
fn a_sector_may_be_unreadable_anywhere() {
    let original = two_segments();
    for path in segments(&original) {
        let bytes = file_bytes(&original, &path);
        let frames = frames(&bytes);
        let blocks = frames.last().unwrap().0.end / 4096 + 2;
        for block in 0..blocks.min(bytes.len() as u64 / 4096) {
            let storage = original.snapshot();
            let (offset, len) = (block * 4096, 4096);
            storage.inject(Fault::Unreadable { path: path.clone(), offset, len });
            let hit =
                |range: &std::ops::Range<u64>| range.start < offset + len && offset < range.end;
            let lost: Vec<u64> = frames
                .iter()
                .filter(|(range, _)| hit(range))
                .flat_map(|(_, seqs)| seqs.clone())
                .collect();
            let at = format!("{} block {block}", path.display());
            assert_eq!(read_all(&view(&storage)).lost_seqs(), lost, "{at}");
            let journal = reopen(&storage);
            append(&journal, b"nine");
            read_and_report(&journal);
            assert_eq!(journal.health().is_degraded(), !lost.is_empty(), "{at}");
        }
    }
}

#[test]
fn both_copies_of_a_header_damaged_cost_the_segment() {
    for (index, lost) in [(0, [1, 2, 3, 4]), (1, [5, 6, 7, 8])] {
        let storage = two_segments();
        let path = &segments(&storage)[index];
        storage.rot(path, 100, 1);
        storage.rot(path, 4096 + 100, 1);
        let found = read_all(&view(&storage));
        assert_eq!(found.lost_seqs()[..4], lost, "{found:?}");
        assert_eq!(found.lost[0].cause, LossCause::HeaderDamaged);
        assert_eq!(found.records.len(), 4);
        let journal = reopen(&storage);
        assert!(append(&journal, b"nine") > Seq(8));
        assert_eq!(read_and_report(&journal).records.len(), 5);
        assert!(journal.health().is_degraded());
    }
}

#[test]
fn damaged_padding_and_header_copies_cost_nothing() {
    let storage = two_segments();
    let path = segments(&storage).remove(0);
    let first_frame_end = frames(&file_bytes(&storage, &path))[0].0.end;
    storage.rot(&path, first_frame_end + 5, 1);
    storage.rot(&path, 4096 + 300, 1);
    let view = view(&storage);
    let options = ReaderOptions::default().check_digests();
    let mut reader = view.reader(Seq::FIRST, options).unwrap();
    let mut records = 0;
    while let Some(entry) = reader.next().unwrap() {
        assert!(matches!(entry, Entry::Record(_)));
        records += 1;
    }
    assert_eq!(records, 8);
    let notices: Vec<_> = reader.take_notices().iter().map(ToString::to_string).collect();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices[0].contains("offset 4096: one copy of the header"), "{notices:?}");
    assert!(notices[1].contains("padding is damaged, nothing is lost"), "{notices:?}");
}

#[test]
fn the_digest_finds_a_swapped_frame_with_valid_crcs() {
    // A segment restored from a different history: same name, same seqs, everything valid in itself.
    let history = |payload: &[u8]| {
        let storage = FaultyStorage::new();
        let clock = clock();
        let journal = Journal::open(ROOT, &options(&storage, &clock)).unwrap();
        append(&journal, payload);
        clock.advance(Duration::from_secs(86_400));
        append(&journal, b"next day");
        journal.close().unwrap();
        storage
    };
    let (one, other) = (history(b"one"), history(b"two"));
    let path = segments(&one).remove(0);
    write_bytes(&one, &path, &file_bytes(&other, &path));
    let view = view(&one);
    let mut reader = view.reader(Seq::FIRST, ReaderOptions::default().check_digests()).unwrap();
    while reader.next().unwrap().is_some() {}
    assert!(matches!(reader.take_notices()[..], [lenslog_journal::Notice::DigestDiffers { .. }]));
}

/// A journal whose last frame was handed to the operating system but never acknowledged, and where that stands.
fn with_unacknowledged_frame() -> (FaultyStorage, PathBuf, std::ops::Range<u64>) {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, b"acknowledged");
    append(&journal, b"acknowledged too");
    let _ = journal.append_unsynced(&[record(b"never acknowledged"), record(b"nor this")]).unwrap();
    let path = segments(&storage).remove(0);
    let range = frames(&file_bytes(&storage, &path)).pop().unwrap().0;
    (storage.snapshot(), path, range)
}

fn check_truncated(storage: &FaultyStorage, end: u64, range: &std::ops::Range<u64>) -> Recovered {
    assert_eq!(read_all(&view(storage)).lost, [], "cut at {end}");
    let journal = reopen(storage);
    let Opening::Recovered { recovered, gaps } = journal.opening().clone() else {
        panic!("cut at {end}: {:?}", journal.opening())
    };
    assert!(gaps.is_empty() && !recovered.damaged, "cut at {end}");
    let found = read_all(&journal.view());
    let mut expected = vec![&b"acknowledged"[..], b"acknowledged too"];
    if end >= range.end {
        expected.extend([&b"never acknowledged"[..], b"nor this"]);
    }
    assert_eq!(found.payloads(), expected, "cut at {end}");
    assert!(found.lost.is_empty() && !journal.health().is_degraded(), "cut at {end}");
    assert!(found.system.contains(&ControlRecord::Recovered(recovered)), "cut at {end}");
    recovered
}

#[test]
fn an_unacknowledged_frame_may_be_cut_at_every_byte() {
    let (original, path, range) = with_unacknowledged_frame();
    let bytes = file_bytes(&original, &path);
    for end in range.start..=range.end {
        let storage = original.snapshot();
        write_bytes(&storage, &path, &bytes[..end as usize]);
        let recovered = check_truncated(&storage, end, &range);
        if end == range.end {
            assert_eq!((recovered.bytes, recovered.records_salvaged), (0, 2));
        } else {
            // Trailing zeros cannot be distinguished from preallocated space.
            let written = &bytes[range.start as usize..end as usize];
            let written = written.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            assert_eq!(recovered.bytes, written as u64, "cut at {end}");
        }
        assert!(!recovered.proof_missing);
    }
}

#[test]
fn a_power_cut_at_each_operation_of_a_recovery_changes_nothing() {
    let (original, path, range) = with_unacknowledged_frame();
    let bytes = file_bytes(&original, &path);
    for end in [range.start, range.start + 60, range.end] {
        let cut = original.snapshot();
        write_bytes(&cut, &path, &bytes[..end as usize]);
        let whole = cut.snapshot();
        drop(reopen(&whole));
        let operations = whole.operations();
        assert!(operations > 10);
        for operation in 0..=operations {
            for seed in 0..8 {
                let storage = cut.snapshot();
                storage.inject(Fault::PowerCutAfter { operations: operation });
                let later = clock();
                drop(Journal::open(ROOT, &options(&storage, &later)));
                let storage = storage.power_cut(seed);
                let expected = if end == range.end { 4 } else { 2 };
                assert_eq!(read_all(&view(&storage)).records.len(), expected, "{operation} {seed}");
                let journal = reopen(&storage);
                let found = read_all(&journal.view());
                assert_eq!(found.records.len(), expected, "operation {operation} seed {seed}");
                assert!(found.lost.is_empty() && !journal.health().is_degraded());
            }
        }
    }
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let storage = two_segments();
    let path = segments(&storage).remove(1);
    for (field, value) in [(12, 2), (16, 1)] {
        let storage = storage.snapshot();
        let mut bytes = file_bytes(&storage, &path);
        for copy in [0, 4096] {
            bytes[copy + field] = value;
            let crc = crc32fast::hash(&bytes[copy + 12..copy + 4096]);
            bytes[copy + 8..copy + 12].copy_from_slice(&crc.to_le_bytes());
        }
        write_bytes(&storage, &path, &bytes);
        let before = storage.files();
        match Journal::open(ROOT, &options(&storage, &clock())) {
            Err(Error::Newer { path: named, .. }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
        assert_eq!(storage.files(), before);
        assert_eq!(file_bytes(&storage, &path), bytes);
    }
    let identity = Path::new("/data/IDENTITY");
    write_bytes(&storage, identity, b"Lenslog data directory\nlayout = 2\n");
    assert!(matches!(Journal::open(ROOT, &options(&storage, &clock())), Err(Error::Newer { .. })));
}

#[test]
fn a_compatible_flag_of_a_newer_version_is_read() {
    let storage = two_segments();
    let path = segments(&storage).remove(1);
    let mut bytes = file_bytes(&storage, &path);
    for copy in [0, 4096] {
        bytes[copy + 20] = 0xff;
        let crc = crc32fast::hash(&bytes[copy + 12..copy + 4096]);
        bytes[copy + 8..copy + 12].copy_from_slice(&crc.to_le_bytes());
    }
    write_bytes(&storage, &path, &bytes);
    assert_eq!(read_all(&view(&storage)).records.len(), 8);
}

#[test]
fn a_left_over_spare_is_zeroed_before_it_is_used() {
    let storage = two_segments();
    let old = file_bytes(&storage, &segments(&storage)[0]);
    write_bytes(&storage, Path::new("/data/journal/spare"), &old.repeat(20));
    let journal = reopen(&storage);
    append(&journal, b"nine");
    let found = read_all(&journal.view());
    assert_eq!(found.records.len(), 9);
    let mut reader = journal.view().reader(Seq::FIRST, Default::default()).unwrap();
    while reader.next().unwrap().is_some() {}
    assert!(reader.take_notices().is_empty());
    // Bytes left after the end would count as torn, and no clean shutdown would be believed.
    match open(&storage.snapshot()).opening() {
        Opening::Recovered { recovered, .. } => assert_eq!(recovered.bytes, 0),
        other => panic!("{other:?}"),
    }
    drop((reader, journal));
    assert_eq!(*open(&storage).opening(), Opening::Clean);
}

#[test]
fn a_wrong_kind_of_file_is_explained() {
    let storage = FaultyStorage::new();
    write_bytes(&storage, Path::new("/data"), b"not a directory");
    match Journal::open(ROOT, &options(&storage, &clock())) {
        Err(error @ Error::Unexpected { .. }) => {
            assert!(
                error.to_string().contains("/data: found a file; expected a directory"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
    let storage = FaultyStorage::new();
    let arc: Arc<dyn Storage> = Arc::new(storage.clone());
    let missing = lenslog_journal::JournalView::open(Path::new(ROOT), arc);
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

#[test]
fn trimming_releases_zeros_only() {
    let mut storage = FaultyStorage::new();
    for round in 0..6_u8 {
        let journal = Journal::open(ROOT, &options(&storage, &clock())).unwrap();
        append(&journal, &[round; 100]);
        let _ = journal.append_unsynced(&[record(b"torn by the next cut")]).unwrap();
        storage = storage.power_cut(u64::from(round));
    }
    let lens: Vec<_> =
        segments(&storage).iter().map(|path| file_bytes(&storage, path).len()).collect();
    assert!(lens.len() >= 5, "{lens:?}");
    let (newest, older) = lens.split_at(lens.len() - 2);
    assert!(newest.iter().all(|len| *len <= 8 * 4096), "{lens:?}");
    assert!(older.iter().all(|len| *len >= 256 << 10), "{lens:?}");
    assert!(read_all(&view(&storage)).lost.is_empty());
}

#[test]
fn later_frames_prove_damage_without_the_marker() {
    let storage = two_segments();
    let path = segments(&storage).remove(1);
    let six = frames(&file_bytes(&storage, &path))[1].0.start;
    storage.rot(&path, six + 50, 1);
    storage.remove(Path::new("/data/journal/WITNESS")).unwrap();
    assert_eq!(read_all(&view(&storage)).lost_seqs(), [6]);
    let journal = reopen(&storage);
    let Opening::Recovered { gaps, recovered } = journal.opening() else { panic!("no recovery") };
    assert!(recovered.damaged && recovered.proof_missing);
    assert_eq!(gaps.iter().map(|gap| gap.range.to_string()).collect::<Vec<_>>(), ["6"]);
    let found = read_all(&journal.view());
    assert_eq!(found.seqs(), [1, 2, 3, 4, 5, 7, 8]);
    assert!(journal.health().is_degraded());
}

#[test]
fn a_first_segment_that_holds_nothing_is_part_of_the_journal() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    // Killed before the first record is whole: the next segment names this one, which ends where it begins.
    let _ = journal.append_unsynced(&[record(b"one")]).unwrap();
    let killed = storage.snapshot();
    killed.rot(&segments(&killed)[0], 8192 + 50, 0xff);
    append(&open(&killed), b"two");
    assert_eq!(segments(&killed).len(), 2);
    assert_eq!(view(&killed).left_out().unwrap(), []);
}
