//! [`Tags`]: the names by which records are found; [`Extensions`]: parts of a record that later versions may add.

use std::fmt;

use super::Take;
use crate::limits::{RECORD_TAGS_MAX, TAG_BYTES_MAX};
use crate::{Error, Seq};

/// The tags of a record: sorted, each once.
///
/// At most [`RECORD_TAGS_MAX`] tags of 1 to [`TAG_BYTES_MAX`] bytes. A tag names what a record is about, such as
/// `account:7`; records are found by it. Tags outlive the erasure of a payload: use pseudonyms, never personal data.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Tags {
    /// Each tag with its length before it.
    bytes: Vec<u8>,
}

impl Tags {
    /// Sorts these tags; the same tag may be given twice.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] for too many tags or a tag that is too long; [`Error::Refused`] for an empty tag.
    pub fn new<T: AsRef<[u8]>>(tags: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let mut tags: Vec<T> = tags.into_iter().take(10 * RECORD_TAGS_MAX).collect();
        tags.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        tags.dedup_by(|one, other| one.as_ref() == other.as_ref());
        if tags.len() > RECORD_TAGS_MAX {
            let (found, limit) = (tags.len() as u64, RECORD_TAGS_MAX as u64);
            return Err(Error::TooLarge { what: "number of tags", found, limit });
        }
        let mut bytes = Vec::new();
        for tag in &tags {
            let tag = tag.as_ref();
            check_tag(tag)?;
            bytes.push(tag.len() as u8);
            bytes.extend_from_slice(tag);
        }
        Ok(Self { bytes })
    }

    /// These tags and another one.
    ///
    /// # Errors
    ///
    /// The errors of [`Tags::new`].
    pub fn with(&self, tag: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::new(self.list().iter().chain([tag.as_ref()]))
    }

    /// These tags and the one that names the record that caused this one: `cause:SEQ`.
    ///
    /// # Errors
    ///
    /// The errors of [`Tags::new`].
    pub fn caused_by(&self, seq: Seq) -> Result<Self, Error> {
        self.with(format!("cause:{seq}"))
    }

    /// As a record takes them.
    #[must_use]
    pub fn list(&self) -> TagList<'_> {
        TagList { bytes: &self.bytes }
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list().fmt(formatter)
    }
}

/// Checks the length of a tag.
pub(crate) fn check_tag(tag: &[u8]) -> Result<(), Error> {
    match tag.len() {
        0 => Err(Error::Refused { reason: "a tag is empty" }),
        len if len > TAG_BYTES_MAX => {
            Err(Error::TooLarge { what: "tag", found: len as u64, limit: TAG_BYTES_MAX as u64 })
        }
        _ => Ok(()),
    }
}

/// The borrowed tags of a record, sorted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct TagList<'a> {
    bytes: &'a [u8],
}

impl<'a> TagList<'a> {
    pub(crate) const NONE: Self = Self { bytes: &[] };

    /// Reads the tags of a record; `None` unless they are sorted, each once, and within the limits.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let list = Self { bytes };
        let (mut rest, mut last, mut count) = (bytes, &[][..], 0);
        while !rest.is_empty() {
            let (tag, after) = split(rest)?;
            if tag <= last {
                return None;
            }
            (last, rest, count) = (tag, after, count + 1);
        }
        (count <= RECORD_TAGS_MAX).then_some(list)
    }

    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The tags in order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (tag, after) = split(rest)?;
            rest = after;
            Some(tag)
        })
    }

    /// Whether this tag is one of them.
    #[must_use]
    pub fn contains(self, tag: impl AsRef<[u8]>) -> bool {
        self.iter().any(|known| known == tag.as_ref())
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// A copy that can be kept.
    #[must_use]
    pub fn to_owned(self) -> Tags {
        Tags { bytes: self.bytes.to_vec() }
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

impl fmt::Debug for TagList<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// Parts of a record that this version may not know.
///
/// Each has a number. A reader skips a part that it does not know, unless the number is at least
/// [`Extensions::REQUIRED`]: then it refuses the record with [`Error::Newer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// First number of the parts that a reader must know.
    pub const REQUIRED: u16 = 0x8000;

    /// `None` unless the parts fill the bytes exactly.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let list = Self { bytes };
        let len: usize = list.iter().map(|(_, content)| HEAD_BYTES + content.len()).sum();
        (len == bytes.len()).then_some(list)
    }

    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The number and the content of each part.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut take = Take::new(self.bytes);
        std::iter::from_fn(move || {
            let (id, len) = (take.u16(), take.u16());
            let content = take.slice(usize::from(len));
            (!take.is_short()).then_some((id, content))
        })
    }

    /// A part that must be known and is not. This version knows none.
    pub(crate) fn unknown(self) -> Option<u16> {
        self.iter().map(|(id, _)| id).find(|id| *id >= Self::REQUIRED)
    }
}

/// number u16 · length u16
const HEAD_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_and_unique() {
        let tags = Tags::new(["b", "a", "ab", "a"]).unwrap();
        let list: Vec<_> = tags.list().iter().collect();
        assert_eq!(list, [&b"a"[..], b"ab", b"b"]);
        assert_eq!(TagList::decode(tags.list().as_bytes()), Some(tags.list()));
        assert!(tags.list().contains("ab") && !tags.list().contains("abc"));
        assert_eq!(format!("{tags:?}"), r#"["a", "ab", "b"]"#);
    }

    #[test]
    fn tags_beyond_a_limit_are_refused() {
        assert!(Tags::new([""]).is_err());
        assert!(Tags::new([vec![b'x'; 256]]).is_err());
        assert!(Tags::new([vec![b'x'; 255]]).is_ok());
        assert!(Tags::new((0..65).map(|number| number.to_string())).is_err());
        assert!(Tags::new((0..64).map(|number| number.to_string())).is_ok());
    }

    #[test]
    fn bytes_that_are_no_tags_are_refused() {
        for bytes in [&b"\x00"[..], b"\x02a", b"\x01b\x01a", b"\x01a\x01a"] {
            assert_eq!(TagList::decode(bytes), None, "{bytes:?}");
        }
        let many: Vec<u8> = (0..65).flat_map(|number| [1, number]).collect();
        assert_eq!(TagList::decode(&many), None);
    }

    #[test]
    fn extensions_fill_their_area() {
        let bytes = [1, 0, 2, 0, 7, 8, 0, 0x80, 0, 0];
        let list = Extensions::decode(&bytes).unwrap();
        assert_eq!(list.iter().collect::<Vec<_>>(), [(1, &[7, 8][..]), (0x8000, &[])]);
        assert_eq!(list.unknown(), Some(0x8000));
        assert_eq!(Extensions::decode(&bytes[..9]), None);
        assert_eq!(Extensions::decode(&bytes[..6]).unwrap().unknown(), None);
    }
}
