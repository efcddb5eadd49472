//! Damage and torn ends on the operating system's own files: the same verdicts as on the simulated disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::common::{append, clock, frames, read_all, record};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Journal, JournalView, Opening, Options};

fn options(days: u64) -> Options {
    let clock = clock();
    clock.advance(Duration::from_secs(days * 86_400));
    Options { clock, segment_bytes_max: Some(32 << 10), ..Options::default() }
}

fn directories() -> Vec<tempfile::TempDir> {
    let mut all = vec![tempfile::tempdir().unwrap()];
    all.extend(tempfile::tempdir_in("/dev/shm"));
    all
}

/// A copy of a data directory, as a killed process leaves it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("journal")).unwrap();
    for directory in ["", "journal"] {
        for entry in fs::read_dir(from.join(directory)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), to.join(directory).join(entry.file_name())).unwrap();
            }
        }
    }
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(root.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

fn view(root: &Path) -> JournalView {
    JournalView::open(root, Arc::new(RealStorage)).unwrap()
}

/// Seqs 1 to 3 in a sealed segment, 4 to 6 in the active one, killed.
fn two_days(root: &Path) {
    let first = Journal::open(root, &options(0)).unwrap();
    for payload in [&b"one"[..], b"two", b"three"] {
        append(&first, payload);
    }
    first.close().unwrap();
    let second = Journal::open(root, &options(1)).unwrap();
    for payload in [&b"four"[..], b"five", b"six"] {
        append(&second, payload);
    }
    assert_eq!(segments(root).len(), 2);
    let killed = root.with_extension("killed");
    copy(root, &killed);
    second.close().unwrap();
}

#[test]
fn a_flipped_byte_in_a_real_file_costs_the_frame_it_hits() {
    for directory in directories() {
        let root = directory.path().join("data");
        two_days(&root);
        let original = root.with_extension("killed");
        for number in 0..2 {
            let path = segments(&original).remove(number);
            let bytes = fs::read(&path).unwrap();
            for (range, seqs) in frames(&bytes) {
                for offset in range.clone().step_by(7).chain([range.end + 100]) {
                    let copied = directory.path().join(format!("{number}-{offset}"));
                    copy(&original, &copied);
                    let mut damaged = bytes.clone();
                    damaged[offset as usize] ^= 0x10;
                    fs::write(copied.join("journal").join(path.file_name().unwrap()), damaged)
                        .unwrap();
                    let lost = if range.contains(&offset) { seqs.clone() } else { vec![] };
                    assert_eq!(read_all(&view(&copied)).lost_seqs(), lost, "offset {offset}");
                    let journal = Journal::open(&copied, &options(1)).unwrap();
                    append(&journal, b"seven");
                    let found = read_all(&journal.view());
                    for lost in &found.lost {
                        journal.report_lost(lost).unwrap();
                    }
                    assert_eq!(found.records.len(), 7 - lost.len(), "offset {offset}");
                    assert_eq!(journal.health().is_degraded(), !lost.is_empty());
                    drop(journal);
                    fs::remove_dir_all(copied).unwrap();
                }
            }
        }
    }
}

#[test]
fn the_last_frame_of_a_real_file_may_be_cut_at_every_byte() {
    for directory in directories() {
        let root = directory.path().join("data");
        let journal = Journal::open(&root, &options(0)).unwrap();
        append(&journal, b"acknowledged");
        let _ = journal.append_unsynced(&[record(b"never acknowledged")]).unwrap();
        let killed = root.with_extension("killed");
        copy(&root, &killed);
        let path = segments(&killed).remove(0);
        let last = frames(&fs::read(&path).unwrap()).pop().unwrap().0;
        for end in last.clone().chain([last.end]) {
            let copied = directory.path().join(end.to_string());
            copy(&killed, &copied);
            let file = fs::File::options().write(true).open(&segments(&copied)[0]).unwrap();
            file.set_len(end).unwrap();
            let journal = Journal::open(&copied, &options(0)).unwrap();
            let Opening::Recovered { recovered, gaps } = journal.opening() else { panic!("{end}") };
            assert!(gaps.is_empty() && !recovered.damaged && !recovered.proof_missing);
            let whole = end == last.end;
            assert_eq!(recovered.records_salvaged, u64::from(whole), "cut at {end}");
            assert!(recovered.bytes <= end - last.start);
            let found = read_all(&journal.view());
            assert_eq!(found.records.len(), 1 + usize::from(whole), "cut at {end}");
            drop(journal);
            fs::remove_dir_all(copied).unwrap();
        }
    }
}
