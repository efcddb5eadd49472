//! A small parser of `docs/FORMAT.md` that shares no code with the journal: headers, frames, records, footers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_journal::storage::{FaultyStorage, Storage, read_file};
use lenslog_journal::{Day, Key, SegmentName, Seq};

use crate::common::ROOT;

pub const BLOCK: usize = 4096;
const FRAMES_OFFSET: usize = 2 * BLOCK;
const FRAME_HEADER: usize = 48;
const HEADER_MAGIC: &[u8] = b"LENSLOGJ";
const CRC_FROM: usize = 12;

/// What the tests need of a segment's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub journal: [u8; 16],
    pub salt: u64,
    pub name: SegmentName,
    /// First seq of the previous segment's name, and the seq after its last record.
    pub previous: Option<(u64, u64)>,
    /// Where the previous segment ends, if it could be read.
    pub previous_end: Option<u64>,
}

impl Header {
    /// The seq with which the segment begins, records that were skipped included.
    pub fn start(&self) -> u64 {
        self.previous.map_or(self.name.base.0, |(_, seq)| seq)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRecord {
    pub seq: u64,
    pub is_system: bool,
    pub key: Option<Key>,
    pub payload: Vec<u8>,
}

/// A frame whose two CRCs are right.
#[derive(Debug, Clone)]
pub struct Frame {
    pub offset: u64,
    pub crc: u32,
    pub records: Vec<FoundRecord>,
}

impl Frame {
    fn records(&self) -> impl Iterator<Item = &FoundRecord> {
        self.records.iter()
    }
}

/// What the bytes of a segment file hold.
#[derive(Debug, Clone, Default)]
pub struct Segment {
    pub header: Option<Header>,
    pub frames: Vec<Frame>,
    /// The seq after the last record, as the footer says it.
    pub sealed_to: Option<u64>,
}

impl Segment {
    pub fn records(&self) -> impl Iterator<Item = &FoundRecord> {
        self.frames.iter().flat_map(|frame| &frame.records)
    }

    pub fn framed_records(&self) -> impl Iterator<Item = (&Frame, &FoundRecord)> {
        let of = |frame| Frame::records(frame).map(move |record| (frame, record));
        self.frames.iter().flat_map(of)
    }

    pub fn salt(&self) -> Option<u64> {
        self.header.as_ref().map(|header| header.salt)
    }
}

/// A file of `journal/`.
#[derive(Debug, Clone)]
pub struct Found {
    pub path: PathBuf,
    /// The name, where it is one of a segment.
    pub name: Option<SegmentName>,
    /// Length and CRC of the whole file.
    pub content: (usize, u32),
    pub segment: Arc<Segment>,
}

impl Found {
    /// The header, where the file's name is the one that the header names.
    pub fn right_named(&self) -> Option<&Header> {
        self.segment.header.as_ref().filter(|header| Some(header.name) == self.name)
    }

    pub fn file_name(&self) -> String {
        file_name(&self.path)
    }
}

pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Parses files once for each content.
#[derive(Debug, Default)]
pub struct Scanner(HashMap<(usize, u32), Arc<Segment>>);

impl Scanner {
    /// The segment files in `journal/`, whatever they are named.
    pub fn scan(&mut self, storage: &FaultyStorage) -> Vec<Found> {
        let mut found = Vec::new();
        for path in storage.files() {
            let name = file_name(&path);
            if !path.starts_with(Path::new(ROOT).join("journal")) || name == "spare" {
                continue;
            }
            let bytes = bytes_of(storage, &path);
            if !name.ends_with(".seg") && !bytes.starts_with(HEADER_MAGIC) {
                continue;
            }
            let content = (bytes.len(), crc32fast::hash(&bytes));
            let segment = self.0.entry(content).or_insert_with(|| Arc::new(parse(&bytes)));
            let (segment, name) = (Arc::clone(segment), SegmentName::parse(&name));
            found.push(Found { path, name, content, segment });
        }
        found
    }
}

pub fn bytes_of(storage: &dyn Storage, path: &Path) -> Vec<u8> {
    read_file(storage, path, usize::MAX).unwrap()
}

/// The slots of a marker, newer first: a salt, and the seq after the last durable record.
pub fn slots(bytes: &[u8]) -> Vec<(u64, u64)> {
    let slots = bytes.chunks(BLOCK).filter(|slot| slot.starts_with(b"LENSLOGW"));
    let mut slots: Vec<_> = slots.filter(|slot| slot.len() >= 72).collect();
    slots.sort_by_key(|slot| std::cmp::Reverse(u64_at(slot, 16)));
    slots.iter().map(|slot| (u64_at(slot, 40), u64_at(slot, 64))).collect()
}

/// The newer slot of a marker.
pub fn marked(bytes: &[u8]) -> Option<(u64, u64)> {
    slots(bytes).first().copied()
}

fn parse(bytes: &[u8]) -> Segment {
    let Some(header) = [0, BLOCK].iter().find_map(|at| parse_header(bytes.get(*at..*at + BLOCK)?))
    else {
        return Segment::default();
    };
    let mut frames = Vec::new();
    let mut at = FRAMES_OFFSET;
    while at + FRAME_HEADER <= bytes.len() {
        if &bytes[at..at + 4] == b"LFRM"
            && let Some((frame, end)) = parse_frame(bytes, at, header.salt)
        {
            frames.push(frame);
            at = end.next_multiple_of(8);
        } else {
            at += 8;
        }
    }
    let sealed_to = parse_footer(bytes, &header);
    Segment { header: Some(header), frames, sealed_to }
}

fn parse_header(block: &[u8]) -> Option<Header> {
    if !block.starts_with(HEADER_MAGIC) || u32_at(block, 8) != crc32fast::hash(&block[CRC_FROM..]) {
        return None;
    }
    let (has_previous, is_read) = (u32_at(block, 88) & 1 != 0, u32_at(block, 88) & 3 == 1);
    Some(Header {
        journal: block[24..40].try_into().unwrap(),
        salt: u64_at(block, 56),
        name: SegmentName {
            base: Seq(u64_at(block, 64)),
            day: Day(u32_at(block, 72).cast_signed()),
        },
        previous: has_previous.then(|| (u64_at(block, 96), u64_at(block, 112))),
        previous_end: is_read.then(|| u64_at(block, 104)),
    })
}

fn parse_footer(bytes: &[u8], header: &Header) -> Option<u64> {
    let block = bytes.get(bytes.len().checked_sub(BLOCK)?..)?;
    let is_right = bytes.len() > FRAMES_OFFSET
        && &block[..8] == b"LENSLOGF"
        && u32_at(block, 8) == crc32fast::hash(&block[CRC_FROM..])
        && u64_at(block, 16) == header.salt;
    is_right.then(|| u64_at(block, 40))
}

fn parse_frame(bytes: &[u8], at: usize, salt: u64) -> Option<(Frame, usize)> {
    let frame = &bytes[at..];
    let (first, len, count) = (u64_at(frame, 8), u32_at(frame, 24), u32_at(frame, 28));
    let body = frame.get(FRAME_HEADER..FRAME_HEADER + len as usize)?;
    let seed = [salt.to_le_bytes(), (at as u64).to_le_bytes(), first.to_le_bytes()].concat();
    let header_crc = crc32fast::hash(&[&seed, &frame[8..FRAME_HEADER]].concat());
    let body_crc = crc32fast::hash(&[&seed, body].concat());
    if header_crc != u32_at(frame, 4) || body_crc != u32_at(frame, 32) {
        return None;
    }
    let mut records = Vec::new();
    let mut from = 0;
    for seq in first..first + u64::from(count) {
        let record = body.get(from..)?;
        let (payload_len, flags) = (u32_at(record, 0) as usize, u16_at(record, 22));
        let payload_at = if flags & 1 == 0 { 24 } else { 40 };
        records.push(FoundRecord {
            seq,
            is_system: u16_at(record, 4) >= 0xFF00,
            key: (flags & 1 != 0).then(|| record[24..40].try_into().unwrap()),
            payload: record.get(payload_at..payload_at + payload_len)?.to_vec(),
        });
        from += (payload_at + payload_len).next_multiple_of(8);
    }
    let crc = header_crc ^ body_crc.rotate_left(1);
    Some((Frame { offset: at as u64, crc, records }, at + FRAME_HEADER + len as usize))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
