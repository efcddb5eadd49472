//! Bytes that carry right checksums and say nonsense: no panic, no endless loop, no memory without bound.
//!
//! Random damage never passes a CRC; a hostile or a broken writer does. `LENSLOG_CASES=100000` runs longer.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use crate::common::{KIND, ROOT, clock, file_bytes, frames, options, record, write_bytes};
use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{Journal, JournalView, Options, Query, ReaderOptions, Seq, Tags};
use proptest::prelude::*;

/// Longest that one case may take: far beyond what a slow machine needs, far below for ever.
const CASE_TIME_MAX: Duration = Duration::from_secs(60);

/// Two sealed segments and an active one, with keys and a tombstone; closed or killed.
fn journal(clean: bool) -> FaultyStorage {
    let storage = FaultyStorage::new();
    let clock = clock();
    let options = Options { segment_bytes_max: Some(64 << 10), ..options(&storage, &clock) };
    let journal = Journal::open(ROOT, &options).unwrap();
    let tags = Tags::new(["tag"]).unwrap();
    for index in 0..9_u8 {
        let payload = vec![index; usize::from(index) * 37];
        let _ = journal.append(&[record(&payload).key([index; 16]).tags(tags.list())]).unwrap();
        if index % 3 == 2 {
            clock.advance(Duration::from_secs(86_400));
        }
    }
    journal.prune_through(crate::common::morning().day()).unwrap();
    if clean {
        journal.close().unwrap();
    }
    storage.snapshot()
}

/// A structure whose checksum is made right again after a field of it was overwritten.
#[derive(Debug, Clone, Copy)]
enum Structure {
    Headers,
    Footer,
    Witness,
    Keys,
    Tags,
    /// A block of the dictionary, the postings or the places.
    TagsBlock,
    Frame {
        number: usize,
    },
}

fn structure() -> impl Strategy<Value = Structure> {
    prop_oneof![
        3 => Just(Structure::Headers),
        1 => Just(Structure::Footer),
        2 => Just(Structure::Witness),
        1 => Just(Structure::Keys),
        1 => Just(Structure::Tags),
        2 => Just(Structure::TagsBlock),
        2 => (0..9_usize).prop_map(|number| Structure::Frame { number }),
    ]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 7),
        Just(i64::MAX as u64),
        Just(u64::from(u32::MAX) << 32),
        Just(1 << 40),
        0..100_000_u64,
        any::<u64>(),
    ]
}

/// Writes the CRC of `bytes[from..to]` at `bytes[at]`.
fn seal(bytes: &mut [u8], at: usize, from: usize, to: usize, seed: &[u8]) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(seed);
    hasher.update(&bytes[from..to]);
    bytes[at..at + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
}

fn put(bytes: &mut [u8], at: usize, value: u64, len: usize) {
    bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Overwrites `len` bytes at `field` (taken modulo the structure's size), and makes the checksum right.
fn forge(bytes: &mut [u8], structure: Structure, field: usize, value: u64, len: usize) {
    match structure {
        Structure::Headers if bytes.len() >= 8192 => {
            for copy in [0, 4096] {
                let place = copy + 12 + field % (400 - 12);
                put(bytes, place, value, len);
                seal(bytes, copy + 8, copy + 12, copy + 4096, b"");
            }
        }
        Structure::TagsBlock if bytes.len() >= 8192 => {
            let blocks = bytes.len() / 4096 - 1;
            let start = 4096 * (1 + value as usize % blocks);
            put(bytes, start + 4 + field % 92, value, len);
            match bytes[start + 4092..start + 4096] {
                // The CRC of a block of the dictionary is at its beginning.
                [0, 0, 0, 0] => seal(bytes, start, start + 4, start + 4096, b""),
                _ => seal(bytes, start + 4092, start, start + 4092, b""),
            }
        }
        Structure::Footer | Structure::Keys | Structure::Tags if bytes.len() >= 4096 => {
            let is_footer = matches!(structure, Structure::Footer);
            let start = if is_footer { bytes.len() - 4096 } else { 0 };
            put(bytes, start + 12 + field % 92, value, len);
            seal(bytes, start + 8, start + 12, start + 4096, b"");
        }
        Structure::Witness => {
            for slot in [0, 4096] {
                put(bytes, slot + 12 + field % 136, value, len);
                seal(bytes, slot + 8, slot + 12, slot + 160, b"");
            }
        }
        Structure::Frame { number } => {
            let frames = frames(bytes);
            let Some((range, _)) = frames.get(number % frames.len().max(1)) else { return };
            let (start, end) = (range.start as usize, range.end as usize);
            // The header's fields, or the records'.
            let size = (end - start).min(48 + 40) - 16;
            put(bytes, start + 8 + field % size, value, len);
            let seed = [word(bytes, 56), range.start, word(bytes, start + 8)];
            let seed: Vec<u8> = seed.iter().flat_map(|word| word.to_le_bytes()).collect();
            let body = (start + 48 + word(bytes, start + 24) as u32 as usize).min(bytes.len());
            if body > start + 48 {
                seal(bytes, start + 32, start + 48, body, &seed);
            }
            seal(bytes, start + 4, start + 8, start + 48, &seed);
        }
        _ => {}
    }
}

fn candidates(storage: &FaultyStorage, structure: Structure) -> Vec<std::path::PathBuf> {
    let wanted = match structure {
        Structure::Witness => "WITNESS",
        Structure::Keys => ".keys",
        Structure::Tags | Structure::TagsBlock => ".tags",
        _ => ".seg",
    };
    let is_wanted = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(wanted);
    storage.files().into_iter().filter(is_wanted).collect()
}

/// Reads and writes as a recorder would; errors are fine.
fn use_it(storage: &FaultyStorage) {
    let arc = std::sync::Arc::new(storage.clone());
    if let Ok(view) = JournalView::open(Path::new(ROOT), arc) {
        read(&view);
    }
    let clock = clock();
    clock.advance(Duration::from_secs(10 * 86_400));
    let options = Options { segment_bytes_max: Some(64 << 10), ..options(storage, &clock) };
    let Ok(journal) = Journal::open(ROOT, &options) else { return };
    for index in [1, 8, 77_u8] {
        let _ = journal.append(&[record(b"afterwards").key([index; 16])]);
    }
    read(&journal.view());
    let _ = journal.prune_through(crate::common::morning().day().next());
    let _ = journal.unlink_pruned();
    let _ = journal.close();
    read(&journal.view());
}

fn read(view: &JournalView) {
    let options = ReaderOptions::default().check_digests();
    let Ok(mut reader) = view.reader(Seq::FIRST, options.clone()) else { return };
    for _ in 0..1000 {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    if let Ok(position) = reader.position() {
        let _ = view.resume(&position, options);
    }
    let _ = view.segments();
    let query = Query::tag("tag").or(Query::kinds([KIND]));
    let _ = (view.count(query.clone()), view.last(query), view.get(Seq(3)));
}

fn check(clean: bool, forgeries: Vec<(usize, Structure, usize, u64, usize)>) {
    let (done, finished) = mpsc::channel();
    let case = format!("{clean} {forgeries:?}");
    let thread = std::thread::spawn(move || {
        let storage = journal(clean);
        for (file, structure, field, value, len) in forgeries {
            let files = candidates(&storage, structure);
            if files.is_empty() {
                continue;
            }
            let path = &files[file % files.len()];
            let mut bytes = file_bytes(&storage, path);
            forge(&mut bytes, structure, field, value, len);
            write_bytes(&storage, path, &bytes);
        }
        use_it(&storage);
        let _ = done.send(());
    });
    match finished.recv_timeout(CASE_TIME_MAX) {
        Ok(()) => {}
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("endless: {case}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("a panic: {case}"),
    }
    thread.join().unwrap();
}

fn cases() -> u32 {
    std::env::var("LENSLOG_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None, max_shrink_iters: 30,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nonsense_with_right_checksums_is_survived(
        clean in any::<bool>(),
        forgeries in prop::collection::vec(
            (
                any::<usize>(),
                structure(),
                any::<usize>(),
                value(),
                prop_oneof![Just(8_usize), Just(4), Just(2)],
            ),
            1..4,
        ),
    ) {
        check(clean, forgeries);
    }
}
