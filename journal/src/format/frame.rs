//! A frame: a header and one atomic batch of records.
//!
//! Both CRCs are seeded with the segment's salt, the frame's offset and its first seq. A frame left over from an earlier use
//! of the file, written to the wrong place, or copied is therefore never valid.

use super::record::{Parts, encode_record};
use super::{Extensions, NewRecord, Put, RecordsCursor, Take, record_len};
use crate::limits::{BATCH_RECORDS_MAX, FRAME_BYTES_MAX, SEQ_MAX};
use crate::{Seq, Timestamp};

/// "LFRM" in the order of the bytes.
const MAGIC: u32 = u32::from_le_bytes(*b"LFRM");

/// magic u32 · header CRC u32 · first seq u64 · synced seq u64 · body length u32 · records u32 · body CRC u32 ·
/// skipped u32 · flags u32 · reserved u32
pub(crate) const FRAME_HEADER_BYTES: usize = 48;
/// Where the bytes that the header's CRC covers begin.
const COVERED_FROM: usize = 8;

const _: () = assert!(FRAME_HEADER_BYTES == 4 + 4 + 8 + 8 + 4 + 4 + 4 + 4 + 4 + 4);
const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(8));

/// The random seed of a segment's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u64);

impl Salt {
    fn seeded(self, offset: u64, first_seq: Seq) -> crc32fast::Hasher {
        let mut seed = [0; 24];
        Put::new(&mut seed).u64(self.0).u64(offset).u64(first_seq.0);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&seed);
        hasher
    }
}

/// The decoded header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Seq of its first record.
    pub(crate) first_seq: Seq,
    /// The durable end of the journal when the frame was encoded.
    pub(crate) synced_seq: Seq,
    /// Bytes of the records.
    pub(crate) body_len: u32,
    /// Number of records.
    pub(crate) records: u32,
    /// CRC of the records, seeded.
    body_crc: u32,
    /// Seqs deliberately left out before the first one.
    pub(crate) skipped: u32,
}

impl FrameHeader {
    /// Reads a header; `None` for any bytes that are not one written for this very place.
    pub(crate) fn decode(bytes: &[u8], salt: Salt, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        let mut take = Take::new(bytes);
        if take.u32() != MAGIC {
            return None;
        }
        let crc = take.u32();
        let first_seq = Seq(take.u64());
        let mut hasher = salt.seeded(offset, first_seq);
        hasher.update(bytes.get(COVERED_FROM..)?);
        if hasher.finalize() != crc {
            return None;
        }
        let header = Self {
            first_seq,
            synced_seq: Seq(take.u64()),
            body_len: take.u32(),
            records: take.u32(),
            body_crc: take.u32(),
            skipped: take.u32(),
        };
        let flags = take.u32();
        let sane = flags == 0
            && header.len() <= FRAME_BYTES_MAX as u64
            && (1..=BATCH_RECORDS_MAX as u32).contains(&header.records)
            && u64::from(header.skipped) <= first_seq.0
            && first_seq.0 <= SEQ_MAX
            && header.synced_seq.0 <= SEQ_MAX;
        sane.then_some(header)
    }

    /// Bytes of the whole frame.
    pub(crate) const fn len(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + self.body_len as u64
    }

    /// The seq after its last record.
    pub(crate) const fn end_seq(&self) -> Seq {
        self.first_seq.plus(self.records as u64)
    }

    /// The seq that must have come before: the first one less those left out.
    pub(crate) const fn follows(&self) -> Seq {
        Seq(self.first_seq.0 - self.skipped as u64)
    }

    /// Whether `body` is the one that was written with this header.
    pub(crate) fn matches_body(&self, body: &[u8], salt: Salt, offset: u64) -> bool {
        let mut hasher = salt.seeded(offset, self.first_seq);
        hasher.update(body);
        hasher.finalize() == self.body_crc && self.records_make_sense(body)
    }

    fn records_make_sense(&self, body: &[u8]) -> bool {
        let mut cursor = RecordsCursor::new(self.first_seq);
        let count = std::iter::from_fn(|| cursor.next(body)).take(BATCH_RECORDS_MAX + 1).count();
        count == self.records as usize && cursor.is_at_end(body)
    }

    fn write(&self, body: &[u8], salt: Salt, offset: u64, target: &mut [u8]) {
        let mut hasher = salt.seeded(offset, self.first_seq);
        hasher.update(body);
        let body_crc = hasher.finalize();
        let mut bytes = [0; FRAME_HEADER_BYTES];
        Put::new(&mut bytes)
            .u32(MAGIC)
            .skip(4)
            .u64(self.first_seq.0)
            .u64(self.synced_seq.0)
            .u32(self.body_len)
            .u32(self.records)
            .u32(body_crc)
            .u32(self.skipped);
        let mut hasher = salt.seeded(offset, self.first_seq);
        hasher.update(&bytes[COVERED_FROM..]);
        Put::new(&mut bytes).skip(4).u32(hasher.finalize());
        target.copy_from_slice(&bytes);
    }
}

/// Length of a frame of these records, in bytes; `None` if they exceed a limit.
pub(crate) fn frame_len(records: &[NewRecord<'_>]) -> Option<usize> {
    if records.is_empty() || records.len() > BATCH_RECORDS_MAX {
        return None;
    }
    let mut len = FRAME_HEADER_BYTES;
    for record in records {
        len = len.checked_add(record_len(
            record.payload.len(),
            record.key.is_some(),
            record.tags.as_bytes().len(),
        ))?;
    }
    (len <= FRAME_BYTES_MAX).then_some(len)
}

/// What a frame says of its place in the order, before it has a place in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameSpan {
    pub(crate) first_seq: Seq,
    pub(crate) synced_seq: Seq,
    pub(crate) skipped: u32,
}

/// Appends a frame to `buffer`, stamped for `offset` of the segment with this salt.
pub(crate) fn encode_frame(
    records: &[NewRecord<'_>],
    time: Timestamp,
    span: FrameSpan,
    salt: Salt,
    offset: u64,
    buffer: &mut Vec<u8>,
) {
    let start = buffer.len();
    buffer.resize(start + FRAME_HEADER_BYTES, 0);
    for record in records {
        let parts = Parts {
            time,
            day: record.day.unwrap_or_else(|| time.day()),
            kind: record.kind,
            version: record.version,
            key: record.key,
            tags: record.tags,
            extensions: Extensions::default(),
            payload: record.payload,
        };
        encode_record(&parts, buffer);
    }
    let (header, body) = buffer[start..].split_at_mut(FRAME_HEADER_BYTES);
    let frame = FrameHeader {
        first_seq: span.first_seq,
        synced_seq: span.synced_seq,
        body_len: body.len() as u32,
        records: records.len() as u32,
        body_crc: 0,
        skipped: span.skipped,
    };
    frame.write(body, salt, offset, header);
}

/// Walks consecutive frames in memory, stamped for `salt` from `offset` on.
pub(crate) fn frames_in(
    bytes: &[u8],
    salt: Salt,
    offset: u64,
) -> impl Iterator<Item = (FrameHeader, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..)?;
        let header = FrameHeader::decode(rest, salt, offset + at as u64)?;
        let body = rest.get(FRAME_HEADER_BYTES..header.len() as usize)?;
        at += header.len() as usize;
        Some((header, body))
    })
}

/// What both CRCs of a frame are seeded with, next to its first seq.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) salt: Salt,
    pub(crate) offset: u64,
}

/// Stamps frames in memory for another salt, offset and synced seq; the records and their seqs stay.
pub(crate) fn restamp(bytes: &mut [u8], from: Stamp, to: Stamp, synced_seq: Seq) -> usize {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..) {
        let Some(mut header) = FrameHeader::decode(rest, from.salt, from.offset + at as u64) else {
            break;
        };
        let len = header.len() as usize;
        let Some((head, body)) =
            rest.get_mut(..len).map(|frame| frame.split_at_mut(FRAME_HEADER_BYTES))
        else {
            break;
        };
        header.synced_seq = synced_seq;
        header.write(body, to.salt, to.offset + at as u64, head);
        at += len;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const SALT: Salt = Salt(0x1234_5678_9abc_def0);

    fn frame(payloads: &[&[u8]], first: u64, offset: u64) -> Vec<u8> {
        let records: Vec<_> = payloads
            .iter()
            .map(|payload| {
                NewRecord::new(Kind(7), 1, payload).key(payload.first().map(|byte| [*byte; 16]))
            })
            .collect();
        let mut buffer = Vec::new();
        let span = FrameSpan { first_seq: Seq(first), synced_seq: Seq(first), skipped: 0 };
        encode_frame(&records, Timestamp::default(), span, SALT, offset, &mut buffer);
        assert_eq!(Some(buffer.len()), frame_len(&records));
        buffer
    }

    fn valid(bytes: &[u8], salt: Salt, offset: u64) -> bool {
        FrameHeader::decode(bytes, salt, offset).is_some_and(|header| {
            bytes
                .get(FRAME_HEADER_BYTES..header.len() as usize)
                .is_some_and(|body| header.matches_body(body, salt, offset))
        })
    }

    #[test]
    fn a_frame_gives_its_records_back() {
        let bytes = frame(&[b"one", b"", b"three..."], 42, 8192);
        let header = FrameHeader::decode(&bytes, SALT, 8192).unwrap();
        assert_eq!((header.first_seq, header.end_seq()), (Seq(42), Seq(45)));
        let body = &bytes[FRAME_HEADER_BYTES..];
        assert!(header.matches_body(body, SALT, 8192));
        let mut cursor = RecordsCursor::new(header.first_seq);
        let one = cursor.next(body).unwrap();
        assert_eq!((one.seq, one.payload, one.key), (Seq(42), &b"one"[..], Some([b'o'; 16])));
        assert_eq!(cursor.next(body).unwrap().key, None);
        assert_eq!(cursor.next(body).unwrap().payload, b"three...");
        assert!(cursor.next(body).is_none() && cursor.is_at_end(body));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = frame(&[b"payload", b"another"], 42, 8192);
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[index] ^= 1 << bit;
                assert!(!valid(&damaged, SALT, 8192), "byte {index} bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_is_valid_only_in_its_own_segment_at_its_own_offset() {
        let bytes = frame(&[b"payload"], 42, 8192);
        assert!(valid(&bytes, SALT, 8192));
        assert!(!valid(&bytes, SALT, 8200));
        assert!(!valid(&bytes, Salt(SALT.0 ^ 1), 8192));
    }

    #[test]
    fn a_moved_frame_is_valid_at_its_new_place_only() {
        let mut bytes = frame(&[b"one"], 42, 8192);
        let second = frame(&[b"two"], 43, 8192 + bytes.len() as u64);
        bytes.extend_from_slice(&second);
        let to = Stamp { salt: Salt(99), offset: 4096 };
        assert_eq!(
            restamp(&mut bytes, Stamp { salt: SALT, offset: 8192 }, to, Seq(40)),
            bytes.len()
        );
        assert!(!valid(&bytes, SALT, 8192));
        let seqs: Vec<_> = frames_in(&bytes, to.salt, to.offset)
            .map(|(header, body)| {
                assert!(header.synced_seq == Seq(40));
                assert!(header.matches_body(
                    body,
                    to.salt,
                    to.offset + (header.first_seq.0 - 42) * 96
                ));
                header.first_seq
            })
            .collect();
        assert_eq!(seqs, [Seq(42), Seq(43)]);
    }
}
