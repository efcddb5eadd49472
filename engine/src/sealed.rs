//! Sealed text: the content of a small file after a line with its checksum. Checkpoints are kept in such files.
//!
//! ```text
//! lenslog sealed 1 9f3a12bc        version, CRC-32 of everything after this line
//! {"journal":"…","position":…}     what a projection keeps, usually one line of JSON
//! ```

use std::io;

use lenslog_journal::{Day, FrameHint, LastRecord, Position, SegmentName, Seq, Timestamp};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const HEADER: &str = "lenslog sealed 1 ";
/// How checkpoints began before they were sealed files. Such a file counts as missing.
const HEADER_OLD: &str = "lenslog checkpoint 1\n";

/// Why a sealed text cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// An older version wrote it: it counts as missing.
    Old,
    /// Its bytes are not those that were written.
    Damaged,
}

/// The text after its seal.
#[must_use]
pub fn seal(text: &str) -> String {
    format!("{HEADER}{:08x}\n{text}", crc32fast::hash(text.as_bytes()))
}

/// The text without its seal.
///
/// # Errors
///
/// [`SealError`].
pub fn unseal(bytes: Vec<u8>) -> Result<String, SealError> {
    const CRC_DIGITS: usize = 8;
    let mut text = String::from_utf8(bytes).map_err(|_| SealError::Damaged)?;
    if text.starts_with(HEADER_OLD) {
        return Err(SealError::Old);
    }
    let body = HEADER.len() + CRC_DIGITS + 1;
    let expected = text.get(body..).map(|text| format!("{:08x}", crc32fast::hash(text.as_bytes())));
    let header = expected.map(|crc| format!("{HEADER}{crc}\n"));
    match header {
        Some(header) if text.starts_with(&header) => Ok(text.split_off(body)),
        _ => Err(SealError::Damaged),
    }
}

/// A value as one line of JSON, sealed.
///
/// # Errors
///
/// A value that JSON cannot hold.
pub fn seal_json(value: &impl Serialize) -> io::Result<String> {
    Ok(seal(&(serde_json::to_string(value)? + "\n")))
}

/// The value that [`seal_json`] sealed.
///
/// # Errors
///
/// [`SealError`]; JSON of another form is [`SealError::Damaged`].
pub fn unseal_json<T: DeserializeOwned>(bytes: Vec<u8>) -> Result<T, SealError> {
    serde_json::from_str(&unseal(bytes)?).map_err(|_| SealError::Damaged)
}

/// The journal's types in JSON, for `#[serde(with = "…")]`: the journal knows no serde.
macro_rules! in_json {
    ($(#[$doc:meta])* $name:ident, $type:ty as $stored:ty, $store:expr, $load:expr) => {
        $(#[$doc])*
        pub mod $name {
            use super::*;

            /// Writes the value.
            ///
            /// # Errors
            ///
            /// Those of the serializer.
            pub fn serialize<S: Serializer>(value: &$type, to: S) -> Result<S::Ok, S::Error> {
                let store: fn(&$type) -> $stored = $store;
                store(value).serialize(to)
            }

            /// Reads the value.
            ///
            /// # Errors
            ///
            /// Those of the deserializer; what is no such value.
            pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                let load: fn($stored) -> Option<$type> = $load;
                load(<$stored>::deserialize(from)?)
                    .ok_or_else(|| D::Error::custom(concat!("no ", stringify!($name))))
            }
        }
    };
}

in_json!(
    /// A [`Seq`] as a number.
    seq, Seq as u64, |seq| seq.0, |number| Some(Seq(number))
);
in_json!(
    /// A [`Day`] as text.
    day, Day as String, |day| day.to_string(), |text| text.parse().ok()
);
in_json!(
    /// A [`Timestamp`] as UTC microseconds and the offset in minutes.
    time, Timestamp as (i64, i16), |time| (time.utc_micros, time.offset_minutes),
    |(utc_micros, offset_minutes)| Some(Timestamp { utc_micros, offset_minutes })
);
in_json!(
    /// The id of a journal, or a digest, as 32 hexadecimal digits.
    id, [u8; 16] as String,
    |id| format!("{:032x}", u128::from_be_bytes(*id)),
    |text| {
        let number = u128::from_str_radix(&text, 16).ok()?;
        (text.len() == 32).then(|| number.to_be_bytes())
    }
);
in_json!(
    /// A [`Position`] as the next seq and the record before it.
    position, Position as StoredPosition,
    |position| StoredPosition {
        next: position.next,
        last: position.last.as_ref().map(|last| StoredLast {
            seq: last.seq,
            digest: last.digest,
            segment: last.hint.segment.file_name(),
            offset: last.hint.offset,
        }),
    },
    |stored| {
        let last = match stored.last {
            None => None,
            Some(StoredLast { seq, digest, segment, offset }) => {
                let segment = SegmentName::parse(&segment)?;
                let hint = FrameHint { segment, offset };
                Some(LastRecord { seq, digest, hint })
            }
        };
        Some(Position { next: stored.next, last })
    }
);

#[derive(Serialize, Deserialize)]
struct StoredPosition {
    #[serde(with = "seq")]
    next: Seq,
    last: Option<StoredLast>,
}

#[derive(Serialize, Deserialize)]
struct StoredLast {
    #[serde(with = "seq")]
    seq: Seq,
    #[serde(with = "id")]
    digest: [u8; 16],
    segment: String,
    offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_text_round_trips() {
        for text in ["one line\n", "", "lenslog sealed 1 00000000\n---\n", "ä"] {
            assert_eq!(unseal(seal(text).into_bytes()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn any_changed_byte_or_length_breaks_the_seal() {
        let sealed = seal("{\"next\":42}\n").into_bytes();
        for at in 0..sealed.len() {
            assert_eq!(unseal(sealed[..at].to_vec()), Err(SealError::Damaged), "cut at {at}");
            for flip in [1, 0x20, 0x80] {
                let mut damaged = sealed.clone();
                damaged[at] ^= flip;
                assert_eq!(unseal(damaged), Err(SealError::Damaged), "byte {at} ^ {flip}");
            }
        }
        assert_eq!(unseal([&sealed[..], b"\n"].concat()), Err(SealError::Damaged));
    }

    #[test]
    fn a_checkpoint_of_an_older_version_counts_as_missing() {
        let old = b"lenslog checkpoint 1\nnext 42\ncrc32 00000000\n";
        assert_eq!(unseal(old.to_vec()), Err(SealError::Old));
    }
}
