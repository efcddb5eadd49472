//! Journals of small segments on the operating system's own files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{append, clock, read_all};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Journal, JournalView, Options};

pub const SEGMENT_BYTES: u64 = 32 << 10;

pub fn options() -> Options {
    Options { clock: clock(), segment_bytes_max: Some(SEGMENT_BYTES), ..Options::default() }
}

pub fn open(root: &Path) -> Journal {
    Journal::open(root, &options()).unwrap()
}

pub fn view(root: &Path) -> JournalView {
    JournalView::open(root, Arc::new(RealStorage)).unwrap()
}

/// Records of this many bytes roll the segment every few.
pub fn fill(journal: &Journal, from: u32, to: u32) {
    for number in from..to {
        append(journal, &payload(number));
    }
}

pub fn payload(number: u32) -> Vec<u8> {
    format!("{number:06}").into_bytes().repeat(400)
}

/// Asserts that records with these numbers are all there, in order, and nothing is lost.
#[track_caller]
pub fn assert_whole(root: &Path, to: u32) {
    let found = read_all(&view(root));
    assert_eq!(found.lost, []);
    let numbers: Vec<u32> = found
        .payloads()
        .iter()
        .map(|payload| String::from_utf8_lossy(&payload[..6]).parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..to).collect::<Vec<_>>());
}

pub fn segments(root: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(root.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

pub fn active(root: &Path) -> PathBuf {
    segments(root).pop().unwrap()
}

pub fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// `cp -r`.
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("journal")).unwrap();
    for directory in ["", "journal"] {
        for path in contents(&from.join(directory)).into_keys() {
            fs::copy(&path, to.join(directory).join(path.file_name().unwrap())).unwrap();
        }
    }
}
