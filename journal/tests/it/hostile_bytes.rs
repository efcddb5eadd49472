//! Any bytes on disk: no panic, no record that was never appended, and the recorder starts.
//!
//! `LENSLOG_CASES=100000 cargo test -p lenslog-journal --release --test it hostile_bytes` runs longer.

use std::path::Path;
use std::time::Duration;

use crate::common::{
    ROOT, append, clock, file_bytes, options, read_all, record, view, write_bytes,
};
use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{Journal, JournalView, Options};
use proptest::prelude::*;

/// Three segments with keyed records of many sizes, closed or killed.
fn journal(clean: bool) -> FaultyStorage {
    let storage = FaultyStorage::new();
    let clock = clock();
    let options = Options { segment_bytes_max: Some(64 << 10), ..options(&storage, &clock) };
    let journal = Journal::open(ROOT, &options).unwrap();
    for index in 0..30_u8 {
        let payload = vec![index; usize::from(index) * 37];
        let _ = journal.append(&[record(&payload).key([index; 16])]).unwrap();
        if index % 10 == 9 {
            clock.advance(Duration::from_secs(86_400));
        }
    }
    let _ = journal.append_unsynced(&[record(b"unsynced")]).unwrap();
    if clean {
        journal.close().unwrap();
    }
    storage.snapshot()
}

/// Something done to the bytes of one file.
#[derive(Debug, Clone)]
enum Mutation {
    Overwrite { at: usize, with: Vec<u8> },
    Truncate { at: usize },
    Extend { with: Vec<u8> },
    CopyBlock { from: usize, to: usize },
    CopyFrom { other: usize },
    Remove,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = || 0..100_000_usize;
    let bytes = || prop::collection::vec(any::<u8>(), 1..200);
    prop_oneof![
        4 => (place(), bytes()).prop_map(|(at, with)| Mutation::Overwrite { at, with }),
        1 => place().prop_map(|at| Mutation::Truncate { at }),
        1 => bytes().prop_map(|with| Mutation::Extend { with }),
        1 => (place(), place()).prop_map(|(from, to)| Mutation::CopyBlock { from, to }),
        1 => any::<usize>().prop_map(|other| Mutation::CopyFrom { other }),
        1 => Just(Mutation::Remove),
    ]
}

fn apply(storage: &FaultyStorage, path: &Path, mutation: &Mutation) {
    let mut bytes = file_bytes(storage, path);
    let len = bytes.len().max(1);
    match mutation {
        Mutation::Overwrite { at, with } => {
            let at = at % len;
            let end = (at + with.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
        Mutation::Truncate { at } => bytes.truncate(at % len),
        Mutation::Extend { with } => bytes.extend_from_slice(with),
        Mutation::CopyBlock { from, to } => {
            let blocks = (bytes.len() / 4096).max(1);
            let (from, to) = (from % blocks * 4096, to % blocks * 4096);
            if bytes.len() >= 4096 {
                bytes.copy_within(from..from + 4096, to);
            }
        }
        Mutation::CopyFrom { other } => {
            let files = storage.files();
            bytes = file_bytes(storage, &files[other % files.len()]);
        }
        Mutation::Remove => {
            lenslog_journal::storage::Storage::remove(storage, path).unwrap();
            return;
        }
    }
    write_bytes(storage, path, &bytes);
}

/// Whether a record is one of those that `journal` appended.
fn is_genuine(payload: &[u8]) -> bool {
    payload == b"unsynced"
        || payload == b"afterwards"
        || payload.is_empty()
        || (payload.iter().all(|byte| *byte == payload[0])
            && payload.len() == usize::from(payload[0]) * 37)
}

fn check(clean: bool, mutations: &[(usize, Mutation)]) {
    let storage = journal(clean);
    let files = storage.files();
    let mut touched = Vec::new();
    for (file, mutation) in mutations {
        let path = &files[file % files.len()];
        if storage.files().contains(path) {
            apply(&storage, path, mutation);
            touched.push(path.clone());
        }
    }
    touched.dedup();
    let arc = std::sync::Arc::new(storage.clone());
    if let Ok(view) = JournalView::open(ROOT.as_ref(), arc) {
        for (_, payload) in &read_all(&view).records {
            assert!(is_genuine(payload), "never appended: {payload:?}");
        }
    }
    let clock = clock();
    clock.advance(Duration::from_secs(10 * 86_400));
    let opened = Journal::open(ROOT, &options(&storage, &clock));
    // One damaged file never keeps the recorder from starting; garbage in several may say it is a newer version's.
    let journal = match opened {
        Ok(journal) => journal,
        Err(error) if touched.len() > 1 => {
            assert!(!error.to_string().is_empty());
            return;
        }
        Err(error) => panic!("{error}"),
    };
    append(&journal, b"afterwards");
    let found = read_all(&journal.view());
    assert!(found.payloads().contains(&&b"afterwards"[..]));
    for (_, payload) in &found.records {
        assert!(is_genuine(payload), "never appended: {payload:?}");
    }
    let mut seqs: Vec<_> = found.records.iter().map(|(seq, _)| *seq).collect();
    let count = seqs.len();
    seqs.dedup();
    assert_eq!(seqs.len(), count);
    journal.close().unwrap();
    assert_eq!(read_all(&view(&storage)).records, found.records);
}

fn cases() -> u32 {
    std::env::var("LENSLOG_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(600)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn one_mutated_file_is_survived(
        clean in any::<bool>(),
        file in any::<usize>(),
        mutation in mutation(),
    ) {
        check(clean, &[(file, mutation)]);
    }

    #[test]
    fn many_mutations_are_survived_or_explained(
        clean in any::<bool>(),
        mutations in prop::collection::vec((any::<usize>(), mutation()), 2..12),
    ) {
        check(clean, &mutations);
    }
}
