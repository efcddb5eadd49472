//! [`find`], where a picture begins: at the start marker of a JPEG or the signature of a PNG. Pure.

use crate::source::decode::{JPEG_MAGIC, PNG_MAGIC};

/// Where a picture begins in some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A JPEG, at this index.
    Jpeg(usize),
    /// A PNG, at this index.
    Png(usize),
}

/// Finds the first start of a picture.
pub(super) fn find(bytes: &[u8]) -> Option<Start> {
    bytes.windows(JPEG_MAGIC.len()).enumerate().find_map(|(index, window)| {
        if is_jpeg(window) {
            return Some(Start::Jpeg(index));
        }
        bytes.get(index..)?.starts_with(PNG_MAGIC).then_some(Start::Png(index))
    })
}

/// Whether three bytes begin a JPEG picture.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes == JPEG_MAGIC
}
