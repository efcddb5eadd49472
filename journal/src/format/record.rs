//! One record: what a caller appends ([`NewRecord`]), what a reader gets ([`Record`]), and its bytes.

use super::{Put, Take};
use crate::{Day, Seq, Timestamp};

/// An idempotency key: a record whose key a retained segment holds already is a duplicate.
pub type Key = [u8; 16];

/// What a record is about. Kinds from [`Kind::RESERVED`] on are the journal's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// First of the kinds that only the journal itself appends.
    pub const RESERVED: Self = Self(0xFF00);

    /// Whether only the journal itself appends records of this kind.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 >= Self::RESERVED.0
    }
}

/// A record to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// What it is about; not a reserved one.
    pub kind: Kind,
    /// Version of the payload's form.
    pub version: u16,
    /// Local day of the fact it tells; the day of appending where it is `None`.
    pub day: Option<Day>,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Opaque bytes, at most [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX).
    pub payload: &'a [u8],
}

/// A record as it stands in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its position.
    pub seq: Seq,
    /// When it was appended, by the journal's clock.
    pub time: Timestamp,
    /// Local day of the fact it tells.
    pub day: Day,
    /// What it is about.
    pub kind: Kind,
    /// Version of the payload's form.
    pub version: u16,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Opaque bytes.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// A digest of everything in the record, its seq included, that does not depend on where it is stored.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut head = [0; HEADER_BYTES + 8 + 16];
        let mut put = Put::new(&mut head);
        put.u64(self.seq.0);
        put_header(&mut put, &self.parts());
        put.bytes(&self.key.unwrap_or_default());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head).update(self.payload);
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
            payload: self.payload,
        }
    }
}

/// Everything of a record but its seq, which follows from its place in the frame.
pub(crate) struct Parts<'a> {
    pub(crate) time: Timestamp,
    pub(crate) day: Day,
    pub(crate) kind: Kind,
    pub(crate) version: u16,
    pub(crate) key: Option<Key>,
    pub(crate) payload: &'a [u8],
}

/// payload_len u32 · kind u16 · version u16 · time i64 · day i32 · offset i16 · flags u16
const HEADER_BYTES: usize = 24;
const KEY_BYTES: usize = 16;
const ALIGNMENT: usize = 8;
const FLAG_KEY: u16 = 1;

/// Bytes of the smallest possible record.
pub(crate) const RECORD_BYTES_MIN: u64 = HEADER_BYTES as u64;

const _: () = assert!(HEADER_BYTES == 4 + 2 + 2 + 8 + 4 + 2 + 2);
const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(KEY_BYTES.is_multiple_of(ALIGNMENT));

/// Bytes a record takes in a frame.
pub(crate) const fn record_len(payload: usize, has_key: bool) -> usize {
    let key = if has_key { KEY_BYTES } else { 0 };
    HEADER_BYTES + key + payload.next_multiple_of(ALIGNMENT)
}

fn put_header(put: &mut Put<'_>, parts: &Parts<'_>) {
    let flags = if parts.key.is_some() { FLAG_KEY } else { 0 };
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
    buffer.extend_from_slice(parts.payload);
    let padding = parts.payload.len().next_multiple_of(ALIGNMENT) - parts.payload.len();
    buffer.extend_from_slice(&[0; ALIGNMENT][..padding]);
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

    /// The next record of `body`; `None` at its end and where its bytes make no sense.
    pub(crate) fn next<'a>(&mut self, body: &'a [u8]) -> Option<Record<'a>> {
        let rest = body.get(self.at..)?;
        let mut take = Take::new(rest);
        let payload_len = take.u32() as usize;
        let (kind, version) = (Kind(take.u16()), take.u16());
        let (utc_micros, day, offset_minutes) = (take.i64(), Day(take.i32()), take.i16());
        let flags = take.u16();
        if flags & !FLAG_KEY != 0 || !day.is_valid() {
            return None;
        }
        let key = (flags & FLAG_KEY != 0).then(|| take.array::<KEY_BYTES>());
        let payload = take.slice(payload_len);
        take.skip(payload_len.next_multiple_of(ALIGNMENT) - payload_len);
        if take.is_short() {
            return None;
        }
        self.at += rest.len() - take.rest().len();
        let seq = self.seq;
        self.seq = seq.next();
        let time = Timestamp { utc_micros, offset_minutes };
        Some(Record { seq, time, day, kind, version, key, payload })
    }

    /// Whether `body` was walked to its very end.
    pub(crate) const fn is_at_end(self, body: &[u8]) -> bool {
        self.at == body.len()
    }
}
