//! One record: what a caller appends ([`NewRecord`]), what a reader gets ([`Record`]), and its bytes.

use super::{Extensions, Put, TagList, Tags, Take};
use crate::{Day, Seq, Timestamp};

/// An idempotency key: a record with the key of a retained record is a duplicate.
pub type Key = [u8; 16];

/// The type of a record. Kinds from [`Kind::RESERVED`] on are control records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// First kind of control records, which only the journal appends.
    pub const RESERVED: Self = Self(0xFF00);

    /// Whether this is the kind of a control record.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 >= Self::RESERVED.0
    }
}

/// A record to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewRecord<'a> {
    /// Its type; not a reserved one.
    pub kind: Kind,
    /// Version of the payload's form.
    pub version: u16,
    /// Local day of the recorded fact; `None`: the day of appending.
    pub day: Option<Day>,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Names by which it is found.
    pub tags: TagList<'a>,
    /// Opaque bytes, at most [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX).
    pub payload: &'a [u8],
}

impl<'a> NewRecord<'a> {
    /// A record of the day of appending, without key and tags.
    #[must_use]
    pub const fn new(kind: Kind, version: u16, payload: &'a [u8]) -> Self {
        Self { kind, version, day: None, key: None, tags: TagList::NONE, payload }
    }

    /// Sets the local day of the recorded fact.
    #[must_use]
    pub fn day(self, day: impl Into<Option<Day>>) -> Self {
        Self { day: day.into(), ..self }
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn key(self, key: impl Into<Option<Key>>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// Sets the tags.
    #[must_use]
    pub const fn tags(self, tags: TagList<'a>) -> Self {
        Self { tags, ..self }
    }
}

/// A record of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// Its position.
    pub seq: Seq,
    /// When it was appended, by the journal's clock.
    pub time: Timestamp,
    /// Local day of the recorded fact.
    pub day: Day,
    /// Its type.
    pub kind: Kind,
    /// Version of the payload's form.
    pub version: u16,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Names by which it is found.
    pub tags: TagList<'a>,
    /// Parts that this version may not know.
    pub extensions: Extensions<'a>,
    /// Opaque bytes.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// A copy that can be kept.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            seq: self.seq,
            time: self.time,
            day: self.day,
            kind: self.kind,
            version: self.version,
            key: self.key,
            tags: self.tags.to_owned(),
            extensions: self.extensions.as_bytes().to_vec(),
            payload: self.payload.to_vec(),
        }
    }

    /// A digest of everything in the record, its seq included, that does not depend on where it is stored.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut head = [0; HEADER_BYTES + 8 + 16];
        let mut put = Put::new(&mut head);
        put.u64(self.seq.0);
        put_header(&mut put, &self.parts());
        put.bytes(&self.key.unwrap_or_default());
        let (tags, extensions) = (self.tags.as_bytes(), self.extensions.as_bytes());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head).update(self.payload);
        for area in [tags, extensions] {
            hasher.update(&(area.len() as u64).to_le_bytes()).update(area);
        }
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        digest
    }

    const fn parts(&self) -> Parts<'_> {
        Parts {
            time: self.time,
            day: self.day,
            kind: self.kind,
            version: self.version,
            key: self.key,
            tags: self.tags,
            extensions: self.extensions,
            payload: self.payload,
        }
    }
}

/// A [`Record`] that can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// Its position.
    pub seq: Seq,
    /// When it was appended, by the journal's clock.
    pub time: Timestamp,
    /// Local day of the recorded fact.
    pub day: Day,
    /// Its type.
    pub kind: Kind,
    /// Version of the payload's form.
    pub version: u16,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Names by which it is found.
    pub tags: Tags,
    extensions: Vec<u8>,
    /// Opaque bytes.
    pub payload: Vec<u8>,
}

impl OwnedRecord {
    /// The record, borrowed.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        Record {
            seq: self.seq,
            time: self.time,
            day: self.day,
            kind: self.kind,
            version: self.version,
            key: self.key,
            tags: self.tags.list(),
            extensions: Extensions::decode(&self.extensions).unwrap_or_default(),
            payload: &self.payload,
        }
    }
}

/// A record without its seq, which follows from its place in the frame.
pub(crate) struct Parts<'a> {
    pub(crate) time: Timestamp,
    pub(crate) day: Day,
    pub(crate) kind: Kind,
    pub(crate) version: u16,
    pub(crate) key: Option<Key>,
    pub(crate) tags: TagList<'a>,
    pub(crate) extensions: Extensions<'a>,
    pub(crate) payload: &'a [u8],
}

/// payload_len u32 · kind u16 · version u16 · time i64 · day i32 · offset i16 · flags u16
const HEADER_BYTES: usize = 24;
const KEY_BYTES: usize = 16;
const ALIGNMENT: usize = 8;
/// Bytes of the length before the tags, and before the extensions.
const LENGTH_BYTES: usize = 2;
const FLAG_KEY: u16 = 1;
const FLAG_TAGS: u16 = 2;
const FLAG_EXTENSIONS: u16 = 4;

/// Bytes of the smallest possible record.
pub(crate) const RECORD_BYTES_MIN: u64 = HEADER_BYTES as u64;

const _: () = assert!(HEADER_BYTES == 4 + 2 + 2 + 8 + 4 + 2 + 2);
const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(KEY_BYTES.is_multiple_of(ALIGNMENT));

/// Length of a record in a frame, in bytes. `tags` is the length of all tags.
pub(crate) const fn record_len(payload: usize, has_key: bool, tags: usize) -> usize {
    let key = if has_key { KEY_BYTES } else { 0 };
    let tags = if tags > 0 { (LENGTH_BYTES + tags).next_multiple_of(ALIGNMENT) } else { 0 };
    HEADER_BYTES + key + tags + payload.next_multiple_of(ALIGNMENT)
}

fn put_header(put: &mut Put<'_>, parts: &Parts<'_>) {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let flags = flag(parts.key.is_some(), FLAG_KEY)
        | flag(!parts.tags.is_empty(), FLAG_TAGS)
        | flag(!parts.extensions.as_bytes().is_empty(), FLAG_EXTENSIONS);
    put.u32(u32::try_from(parts.payload.len()).unwrap_or(u32::MAX))
        .u16(parts.kind.0)
        .u16(parts.version)
        .i64(parts.time.utc_micros)
        .i32(parts.day.0)
        .i16(parts.time.offset_minutes)
        .u16(flags);
}

/// Appends a record's bytes, padded to the alignment.
pub(crate) fn encode_record(parts: &Parts<'_>, buffer: &mut Vec<u8>) {
    let mut head = [0; HEADER_BYTES];
    put_header(&mut Put::new(&mut head), parts);
    buffer.extend_from_slice(&head);
    if let Some(key) = &parts.key {
        buffer.extend_from_slice(key);
    }
    for area in [parts.tags.as_bytes(), parts.extensions.as_bytes()] {
        if !area.is_empty() {
            buffer.extend_from_slice(&(area.len() as u16).to_le_bytes());
            buffer.extend_from_slice(area);
            pad(LENGTH_BYTES + area.len(), buffer);
        }
    }
    buffer.extend_from_slice(parts.payload);
    pad(parts.payload.len(), buffer);
}

fn pad(len: usize, buffer: &mut Vec<u8>) {
    let padding = len.next_multiple_of(ALIGNMENT) - len;
    buffer.extend_from_slice(&[0; ALIGNMENT][..padding]);
}

/// Takes a length, as many bytes, and their padding.
fn take_area<'a>(take: &mut Take<'a>) -> &'a [u8] {
    let len = usize::from(take.u16());
    let area = take.slice(len);
    take.skip((LENGTH_BYTES + len).next_multiple_of(ALIGNMENT) - LENGTH_BYTES - len);
    area
}

/// Walks the records of a frame's body without holding on to it, so that a reader can keep both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordsCursor {
    seq: Seq,
    at: usize,
}

impl RecordsCursor {
    pub(crate) const fn new(first_seq: Seq) -> Self {
        Self { seq: first_seq, at: 0 }
    }

    /// The next record of `body`; `None` at its end and at invalid bytes.
    pub(crate) fn next<'a>(&mut self, body: &'a [u8]) -> Option<Record<'a>> {
        let rest = body.get(self.at..)?;
        let mut take = Take::new(rest);
        let payload_len = take.u32() as usize;
        let (kind, version) = (Kind(take.u16()), take.u16());
        let (utc_micros, day, offset_minutes) = (take.i64(), Day(take.i32()), take.i16());
        let flags = take.u16();
        let known = FLAG_KEY | FLAG_TAGS | FLAG_EXTENSIONS;
        if flags & !known != 0 || !day.is_valid() {
            return None;
        }
        let area = |flag, take: &mut Take<'a>| match flags & flag != 0 {
            true => take_area(take),
            false => &[],
        };
        let key = (flags & FLAG_KEY != 0).then(|| take.array::<KEY_BYTES>());
        let tags = TagList::decode(area(FLAG_TAGS, &mut take))?;
        let extensions = Extensions::decode(area(FLAG_EXTENSIONS, &mut take))?;
        let payload = take.slice(payload_len);
        take.skip(payload_len.next_multiple_of(ALIGNMENT) - payload_len);
        if take.is_short() {
            return None;
        }
        self.at += rest.len() - take.rest().len();
        let seq = self.seq;
        self.seq = seq.next();
        let time = Timestamp { utc_micros, offset_minutes };
        Some(Record { seq, time, day, kind, version, key, tags, extensions, payload })
    }

    /// Whether `body` was walked to its very end.
    pub(crate) const fn is_at_end(self, body: &[u8]) -> bool {
        self.at == body.len()
    }
}
