//! Journals of every released version, good and damaged, are read for ever; today's writer writes the same bytes.
//!
//! `tests/golden/README.md` says how to add one. None is ever regenerated.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::{
    KIND, ROOT, append, clock, options, read_all, record, segments, view, write_bytes,
};
use lenslog_journal::storage::{FaultyStorage, Storage};
use lenslog_journal::{Day, Journal, NewRecord, Options, ReaderOptions, Seq, Tags};

const VERSION: &str = "v1";

/// The journals that are kept, by name.
fn journals() -> Vec<(&'static str, FaultyStorage)> {
    let torn = history(false);
    let damaged = history(true);
    let first = segments(&damaged).remove(0);
    damaged.rot(&first, 8192 + 60, 0x01);
    let recovered = history(false).snapshot();
    drop(reopen(&recovered));
    let pruned = history(true);
    let journal = reopen(&pruned);
    journal.prune_through("2026-11-23".parse().unwrap()).unwrap();
    journal.unlink_pruned().unwrap();
    journal.close().unwrap();
    vec![
        ("clean", history(true)),
        ("torn", torn.snapshot()),
        ("damaged", damaged),
        ("recovered", recovered),
        ("pruned", pruned),
    ]
}

fn reopen(storage: &FaultyStorage) -> Journal {
    let later = clock();
    later.advance(Duration::from_secs(3 * 86_400));
    let options = Options { segment_bytes_max: Some(32 << 10), ..options(storage, &later) };
    Journal::open(ROOT, &options).unwrap()
}

/// Two days: batches, a key, an empty and an odd payload, a day of its own, an unsynced record at the end.
fn history(close: bool) -> FaultyStorage {
    let storage = FaultyStorage::new();
    let clock = clock();
    let options = Options { segment_bytes_max: Some(32 << 10), ..options(&storage, &clock) };
    let journal = Journal::open(ROOT, &options).unwrap();
    let attic = Tags::new(["room:attic"]).unwrap();
    append(&journal, b"one");
    let _ = journal.append(&[record(b"two"), record(b"")]).unwrap();
    let _ = journal.append(&[record(b"keyed").key([0xaa; 16]).tags(attic.list())]).unwrap();
    clock.advance(Duration::from_secs(86_400));
    let day: Day = "2026-11-20".parse().unwrap();
    let tags = Tags::new(["room:attic", "account:7"]).unwrap();
    let earlier = NewRecord::new(KIND, 3, b"of an earlier day").day(day);
    let _ = journal.append(&[earlier.tags(tags.list())]).unwrap();
    clock.step_to(crate::common::morning().plus_micros(90_000_000_000));
    append(&journal, &[0x5a; 300]);
    let _ = journal.append_unsynced(&[record(b"never synced")]).unwrap();
    if close {
        journal.close().unwrap();
        drop(journal);
        return storage;
    }
    storage.snapshot()
}

/// Everything a reader finds, in words.
fn found_in(storage: &FaultyStorage) -> String {
    let view = view(storage);
    let found = read_all(&view);
    let mut text = String::new();
    for (seq, payload) in &found.records {
        writeln!(text, "{seq} {}", String::from_utf8_lossy(payload)).unwrap();
    }
    for system in &found.system {
        writeln!(text, "{system:?}").unwrap();
    }
    for lost in &found.lost {
        writeln!(text, "{lost}").unwrap();
    }
    let mut reader =
        view.reader(view.floor().unwrap(), ReaderOptions::default().check_digests()).unwrap();
    while reader.next().unwrap().is_some() {}
    for notice in reader.take_notices() {
        writeln!(text, "{notice}").unwrap();
    }
    text
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Zeros at the end of a file are not kept: a line of `files.txt` has the length.
fn save(directory: &Path, storage: &FaultyStorage) {
    fs::create_dir_all(directory).unwrap();
    let mut files = String::new();
    for path in storage.files() {
        let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().replace('/', "+");
        let bytes = crate::common::file_bytes(storage, &path);
        let kept = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        fs::write(directory.join(&name), &bytes[..kept]).unwrap();
        writeln!(files, "{name} {}", bytes.len()).unwrap();
    }
    fs::write(directory.join("files.txt"), files).unwrap();
    fs::write(directory.join("expected.txt"), found_in(storage)).unwrap();
}

fn load(directory: &Path) -> FaultyStorage {
    let storage = FaultyStorage::new();
    storage.create_directory(&Path::new(ROOT).join("journal")).unwrap();
    for line in fs::read_to_string(directory.join("files.txt")).unwrap().lines() {
        let (name, len) = line.split_once(' ').unwrap();
        let mut bytes = fs::read(directory.join(name)).unwrap();
        bytes.resize(len.parse().unwrap(), 0);
        write_bytes(&storage, &Path::new(ROOT).join(name.replace('+', "/")), &bytes);
    }
    storage
}

#[test]
fn journals_of_every_version_are_read_as_they_always_were() {
    let mut count = 0;
    for version in fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(journals) = fs::read_dir(&version) else { continue };
        for directory in journals.map(|entry| entry.unwrap().path()) {
            let storage = load(&directory);
            let expected = fs::read_to_string(directory.join("expected.txt")).unwrap();
            assert_eq!(found_in(&storage), expected, "{}", directory.display());
            // Opening and appending keeps everything that could be read.
            let before = read_all(&view(&storage)).records;
            let journal = reopen(&storage);
            let seq = append(&journal, b"appended by today's program");
            assert!(before.iter().all(|(earlier, _)| *earlier < seq));
            assert!(
                read_all(&journal.view()).records.starts_with(&before),
                "{}",
                directory.display()
            );
            assert!(journal.view().reader(Seq::FIRST, Default::default()).is_ok());
            count += 1;
        }
    }
    assert!(count >= 5, "the golden journals are missing");
}

#[test]
fn todays_writer_writes_the_bytes_of_its_version() {
    let missing: Vec<_> = journals()
        .into_iter()
        .filter(|(name, storage)| {
            let directory = golden().join(VERSION).join(name);
            if !directory.exists() {
                if std::env::var_os("LENSLOG_GOLDEN_ADD").is_some() {
                    save(&directory, storage);
                }
                return true;
            }
            let kept = load(&directory);
            assert_eq!(kept.files(), storage.files(), "{name}");
            for path in storage.files() {
                let (was, is) = (
                    crate::common::file_bytes(&kept, &path),
                    crate::common::file_bytes(storage, &path),
                );
                let differs = was.iter().zip(&is).position(|(was, is)| was != is);
                assert_eq!((differs, was.len()), (None, is.len()), "{name}: {}", path.display());
            }
            false
        })
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "no golden journal for {missing:?}; see tests/golden/README.md");
}
