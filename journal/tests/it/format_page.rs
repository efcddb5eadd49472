//! `docs/FORMAT.md` against the golden journals: every offset of the page, read without the crate's own decoders.

use std::fs;
use std::path::Path;

use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{Day, Entry, Error, ReaderOptions, Seq};

use crate::common::{append, file_bytes, open, segments, view, write_bytes};

/// A golden file, with the zeros at its end.
fn golden(journal: &str, name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(journal);
    let files = fs::read_to_string(directory.join("files.txt")).unwrap();
    let line = files.lines().find(|line| line.starts_with(name)).unwrap();
    let (name, len) = line.split_once(' ').unwrap();
    let mut bytes = fs::read(directory.join(name)).unwrap();
    bytes.resize(len.parse().unwrap(), 0);
    bytes
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(word)
}

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    number::<2>(bytes, at)
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    number::<4>(bytes, at)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    number::<8>(bytes, at)
}

fn day_at(bytes: &[u8], at: usize) -> Day {
    Day(u32_at(bytes, at) as u32 as i32)
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn crc(seed: &[u64], bytes: &[u8]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    for word in seed {
        hasher.update(&word.to_le_bytes());
    }
    hasher.update(bytes);
    u64::from(hasher.finalize())
}

const MORNING: u64 = 1_795_424_400_000_000;

#[test]
fn a_segment_header_stands_as_the_page_says() {
    let first = golden("clean", "journal+00000000000000000001-2026-11-23.seg");
    let second = golden("clean", "journal+00000000000000000005-2026-11-24.seg");
    for bytes in [&first, &second] {
        assert_eq!(&bytes[..8], b"LENSLOGJ");
        assert_eq!(u32_at(bytes, 8), crc(&[], &bytes[12..4096]));
        assert_eq!(bytes[..4096], bytes[4096..8192]);
        assert_eq!((u16_at(bytes, 12), u16_at(bytes, 14)), (1, 0));
        assert_eq!((u32_at(bytes, 16), u32_at(bytes, 20)), (0, 0));
        assert_eq!(u16_at(bytes, 76), 60);
        assert_eq!((u16_at(bytes, 172), u16_at(bytes, 174)), (0, 0));
        assert_eq!(u32_at(bytes, 168), u64::from(i32::MIN as u32));
        assert!(bytes[184..256].iter().all(|byte| *byte == 0), "nothing replaced, no ancestors");
    }
    let identity = String::from_utf8(golden("clean", "IDENTITY")).unwrap();
    let id: String = first[24..40].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(identity.contains(&format!("journal = {id}\n")) && identity.contains("layout = 1\n"));
    assert_eq!(first[24..56], second[24..56], "the journal and its incarnation");
    assert_ne!(u64_at(&first, 56), u64_at(&second, 56), "the salt");
    assert_eq!((u64_at(&first, 64), day_at(&first, 72)), (1, day("2026-11-23")));
    assert_eq!((u64_at(&second, 64), day_at(&second, 72)), (5, day("2026-11-24")));
    assert_eq!(u64_at(&first, 80), MORNING);
    assert_eq!((u32_at(&first, 88), u32_at(&second, 88)), (0, 1));
    assert_eq!((day_at(&second, 92), u64_at(&second, 96)), (day("2026-11-23"), 1));
    assert_eq!(u64_at(&second, 112), 5);
    assert_eq!((u64_at(&first, 176), u64_at(&second, 176)), (0, u64_at(&first, 56)));
    let newest = format!(
        "segment = 00000000000000000005-2026-11-24.seg\nsalt = {:016x}\nseq = {:020}\n",
        u64_at(&second, 56),
        5
    );
    assert!(identity.contains(&newest) && identity.contains("journal_is_mount = no\n"));
    let incarnation: String = first[40..56].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(identity.contains(&format!("incarnation = {incarnation}\n")));
    assert_eq!((u64_at(&first, 152), u64_at(&first, 160)), (8192, 1));
    // The previous segment's end and digest are those of its own footer.
    let footer = &first[first.len() - 4096..];
    assert_eq!(&footer[..8], b"LENSLOGF");
    assert_eq!(u32_at(footer, 8), crc(&[], &footer[12..]));
    assert_eq!(day_at(footer, 12), day("2026-11-23"));
    assert_eq!((u64_at(footer, 16), u64_at(footer, 24)), (u64_at(&first, 56), 1));
    assert_eq!((u64_at(footer, 32), u64_at(footer, 40)), (u64_at(&second, 104), 5));
    assert_eq!([48, 56, 64].map(|at| u64_at(footer, at)), [3, 4, 1]);
    assert_eq!([72, 76].map(|at| day_at(footer, at)), [day("2026-11-23"); 2]);
    assert_eq!(footer[80..112], second[120..152]);
    // And the digest is what the page says: one piece that is not whole, after 32 zero bytes.
    let end = u64_at(footer, 32) as usize;
    let content = [&[0; 32][..], &first[8192..end]].concat();
    assert_eq!(footer[80..112], blake3::hash(&content).as_bytes()[..]);
}

#[test]
fn frames_and_records_stand_as_the_page_says() {
    let bytes = golden("clean", "journal+00000000000000000001-2026-11-23.seg");
    let salt = u64_at(&bytes, 56);
    // One, then a batch of two, then one with a key; each sync begins a new block.
    for (at, first, synced, len, records) in
        [(8192, 1, 1, 32, 1), (12_288, 2, 2, 56, 2), (16_384, 4, 4, 64, 1)]
    {
        let frame = &bytes[at..];
        assert_eq!(&frame[..4], b"LFRM");
        let seed = [salt, at as u64, first];
        assert_eq!(u32_at(frame, 4), crc(&seed, &frame[8..48]));
        assert_eq!((u64_at(frame, 8), u64_at(frame, 16)), (first, synced));
        assert_eq!((u32_at(frame, 24), u32_at(frame, 28)), (len, records));
        assert_eq!(u32_at(frame, 32), crc(&seed, &frame[48..48 + len as usize]));
        assert_eq!([36, 40, 44].map(|at| u32_at(frame, at)), [0; 3]);
    }
    let record = &bytes[16_384 + 48..];
    assert_eq!((u32_at(record, 0), u16_at(record, 4), u16_at(record, 6)), (5, 1, 1));
    assert_eq!((u64_at(record, 8), day_at(record, 16)), (MORNING, day("2026-11-23")));
    assert_eq!((u16_at(record, 20), u16_at(record, 22)), (60, 3));
    assert_eq!((&record[24..40], u16_at(record, 40)), (&[0xaa; 16][..], 11));
    assert_eq!((&record[42..53], &record[53..56]), (&b"\x0aroom:attic"[..], &[0; 3][..]));
    assert_eq!(&record[56..64], b"keyed\0\0\0");
}

#[test]
fn tags_stand_as_the_page_says() {
    let bytes = golden("clean", "journal+00000000000000000005-2026-11-24.seg");
    let record = &bytes[8192 + 48..];
    assert_eq!((u32_at(record, 0), u16_at(record, 6)), (17, 3));
    assert_eq!((day_at(record, 16), u16_at(record, 22)), (day("2026-11-20"), 2));
    assert_eq!(u16_at(record, 24), 21);
    assert_eq!(&record[26..47], b"\x09account:7\x0aroom:attic");
    assert_eq!((record[47], &record[48..65]), (0, &b"of an earlier day"[..]));
}

/// Writes the only record of a segment again with extensions, as a later version may.
fn with_extensions(extensions: &[u8]) -> FaultyStorage {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    append(&journal, &[7; 64]);
    append(&journal, b"next");
    journal.close().unwrap();
    drop(journal);
    let path = segments(&storage).remove(0);
    let mut bytes = file_bytes(&storage, &path);
    let seed = [u64_at(&bytes, 56), 8192, 1];
    let record = &mut bytes[8192 + 48..][..88];
    let payload = 64 - (2 + extensions.len()).next_multiple_of(8);
    record[..4].copy_from_slice(&(payload as u32).to_le_bytes());
    record[22] = 4;
    record[24..26].copy_from_slice(&(extensions.len() as u16).to_le_bytes());
    record[26..26 + extensions.len()].copy_from_slice(extensions);
    let body = crc(&seed, record) as u32;
    bytes[8192 + 32..][..4].copy_from_slice(&body.to_le_bytes());
    let header = crc(&seed, &bytes[8192 + 8..8192 + 48]) as u32;
    bytes[8192 + 4..][..4].copy_from_slice(&header.to_le_bytes());
    write_bytes(&storage, &path, &bytes);
    storage
}

#[test]
fn an_unknown_extension_is_skipped() {
    let storage = with_extensions(&[9, 0, 2, 0, 1, 2]);
    let view = view(&storage);
    let mut reader = view.reader(Seq::FIRST, ReaderOptions::default()).unwrap();
    let Some(Entry::Record(record)) = reader.next().unwrap() else { panic!() };
    assert_eq!(
        (record.payload, record.extensions.iter().next()),
        (&[7; 56][..], Some((9, &[1, 2][..])))
    );
    assert!(matches!(reader.next(), Ok(Some(Entry::Record(record))) if record.payload == b"next"));
}

#[test]
fn a_required_extension_refuses_its_record_only() {
    let storage = with_extensions(&[0, 0x80, 0, 0]);
    let view = view(&storage);
    let mut reader = view.reader(Seq::FIRST, ReaderOptions::default()).unwrap();
    for _ in 0..2 {
        let error = reader.next().unwrap_err();
        assert!(
            matches!(error, Error::Newer { .. }) && error.to_string().contains("seq 1"),
            "{error}"
        );
    }
    let mut reader = view.reader(Seq(2), ReaderOptions::default()).unwrap();
    assert!(matches!(reader.next(), Ok(Some(Entry::Record(record))) if record.payload == b"next"));
}

#[test]
fn the_marker_stands_as_the_page_says() {
    let bytes = golden("clean", "journal+WITNESS");
    let segment = golden("clean", "journal+00000000000000000005-2026-11-24.seg");
    assert_eq!(bytes.len(), 12_288);
    let generations: Vec<u64> = [0, 4096]
        .map(|at| {
            let slot = &bytes[at..at + 4096];
            assert_eq!(&slot[..8], b"LENSLOGW");
            assert_eq!(u32_at(slot, 8), crc(&[], &slot[12..512]));
            assert_eq!(u64_at(slot, 16) % 2, at as u64 / 4096);
            u64_at(slot, 16)
        })
        .to_vec();
    let slot = &bytes[if generations[0] > generations[1] { 0 } else { 4096 }..];
    assert_eq!(u32_at(slot, 12), 1, "a clean end");
    assert_eq!(slot[24..40], segment[24..40]);
    assert_eq!((u64_at(slot, 40), u64_at(slot, 48)), (u64_at(&segment, 56), 5));
    assert_eq!(u64_at(slot, 56) % 4096, 0);
    assert_eq!(u64_at(slot, 64), 9);
    assert_eq!([72, 80, 88].map(|at| u64_at(slot, at)), [4, 4, 0]);
    assert_eq!(day_at(slot, 96), day("2026-11-24"));
    assert_eq!([100, 104].map(|at| day_at(slot, at)), [day("2026-11-20"), day("2026-11-24")]);
    assert_eq!(slot[112..144], [0; 32], "no piece is whole yet");
    assert_eq!(slot[144..160], segment[40..56], "the incarnation");
    let claim = &bytes[8192..];
    assert_eq!(&claim[..8], b"LENSLOGC");
    assert_eq!(u32_at(claim, 8), crc(&[], &claim[12..512]));
    assert_eq!(u32_at(claim, 12), 1, "released");
    assert_eq!(claim[16..32], slot[160..176], "the writer");
    assert_eq!(&claim[40..50], b"simulation");
}

#[test]
fn the_file_of_keys_stands_as_the_page_says() {
    let bytes = golden("clean", "journal+00000000000000000001-2026-11-23.keys");
    let segment = golden("clean", "journal+00000000000000000001-2026-11-23.seg");
    assert_eq!(&bytes[..8], b"LENSLOGK");
    assert_eq!(u32_at(&bytes, 8), crc(&[], &bytes[12..4096]));
    assert_eq!(day_at(&bytes, 12), day("2026-11-23"));
    assert_eq!((u64_at(&bytes, 16), u64_at(&bytes, 24)), (u64_at(&segment, 56), 1));
    assert_eq!(u64_at(&bytes, 32), 1);
    assert_eq!(u32_at(&bytes, 40), crc(&[], &bytes[4096..4104]));
    assert_eq!(bytes.len(), 3 * 4096);
    assert_eq!((&bytes[8192..8208], u64_at(&bytes, 8208)), (&[0xaa; 16][..], 4));
    assert_eq!(u32_at(&bytes, 12_284), crc(&[], &bytes[8192..12_284]));
}

#[test]
fn the_index_stands_as_the_page_says() {
    let bytes = golden("clean", "journal+00000000000000000001-2026-11-23.tags");
    let segment = golden("clean", "journal+00000000000000000001-2026-11-23.seg");
    assert_eq!(&bytes[..8], b"LENSLOGT");
    assert_eq!(u32_at(&bytes, 8), crc(&[], &bytes[12..4096]));
    assert_eq!(day_at(&bytes, 12), day("2026-11-23"));
    assert_eq!((u64_at(&bytes, 16), u64_at(&bytes, 24)), (u64_at(&segment, 56), 1));
    // One kind, and the tag of the third frame.
    let fields: Vec<u64> = (32..80).step_by(8).map(|at| u64_at(&bytes, at)).collect();
    assert_eq!(fields, [5, 2, 1, 1, 6, 3]);
    assert_eq!((u32_at(&bytes, 80), bytes.len()), (64, 4 * 4096));
    let mut key = [0; 32];
    key[..16].copy_from_slice(&segment[24..40]);
    let term = |bytes: &[u8]| u64_at(&blake3::keyed_hash(&key, bytes).as_bytes()[..], 0);
    let dictionary = &bytes[4096..8192];
    assert_eq!(u32_at(dictionary, 0), crc(&[], &dictionary[4..]));
    assert_eq!((u16_at(dictionary, 4), u16_at(dictionary, 6)), (2, 0));
    let entries = [8, 24].map(|at| {
        (u64_at(dictionary, at), u32_at(dictionary, at + 8), u32_at(dictionary, at + 12))
    });
    let (kind, tag) = (term(&[0, 1, 0]), term(b"\x01room:attic"));
    let mut expected = [(kind, 3, 0), (tag, 1, 16_384 / 8)];
    expected.sort_unstable();
    assert_eq!(entries, expected);
    let postings = &bytes[8192..12_288];
    assert_eq!(u32_at(postings, 4092), crc(&[], &postings[..4092]));
    // 1024, and two differences of 512.
    assert_eq!(postings[..6], [0x80, 0x08, 0x80, 0x04, 0x80, 0x04]);
    let places = &bytes[12_288..];
    assert_eq!(u32_at(places, 4092), crc(&[], &places[..4092]));
    let places: Vec<_> = [0, 8, 16].map(|at| (u32_at(places, at), u32_at(places, at + 4))).to_vec();
    assert_eq!(places, [(0, 1024), (1, 1536), (3, 2048)]);
}

#[test]
fn a_tombstone_names_segments_as_the_page_says() {
    let journal = "pruned";
    let files = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/v1")
            .join(journal)
            .join("files.txt"),
    )
    .unwrap();
    let newest = files.lines().rfind(|line| line.contains(".seg ")).unwrap();
    let bytes = golden(journal, newest.split(' ').next().unwrap());
    let kind = 0xFF02_u16.to_le_bytes();
    let at = (8192..bytes.len() - 100)
        .step_by(8)
        .find(|at| bytes[*at..].starts_with(b"LFRM") && bytes[at + 52..at + 54] == kind)
        .unwrap();
    let payload = &bytes[at + 48 + 24..];
    let pruned = golden("clean", "journal+00000000000000000001-2026-11-23.seg");
    assert_eq!((day_at(payload, 0), u32_at(payload, 4)), (day("2026-11-23"), 1));
    assert_eq!([8, 16, 24].map(|at| u64_at(payload, at)), [1, 5, 1]);
    assert_eq!(u64_at(payload, 32), u64_at(&pruned, 56));
    assert_eq!(day_at(payload, 40), day("2026-11-23"));
}
