//! [`attempt`], one look at a file that may be a picture, and may still be written.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::Path;

use image::RgbImage;
use lenslog_journal::Timestamp;

use super::delivered::{Delivered, Identity};
use super::taken;
use crate::source::decode::{JPEG_MAGIC, PNG_MAGIC, decode_file};
use crate::source::mjpeg::{MjpegReader, Piece};
use crate::source::open::modified_utc_micros;
use crate::source::{FRAME_BYTES_MAX, LocalOffset, PictureFault};

/// What a look at a file came to.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is a whole picture.
    Picture {
        /// The picture.
        picture: Box<RgbImage>,
        /// When it was taken.
        time: Timestamp,
        /// The file.
        identity: Identity,
    },
    /// It was handed over before, or is no file.
    Known,
    /// It may become a picture; this is what keeps it from being one now.
    NotYet(PictureFault),
    /// It is no picture that is ever handed over.
    Never {
        /// Why.
        fault: PictureFault,
        /// The file, if it is still there.
        identity: Option<Identity>,
    },
}

/// Looks at a file.
pub(super) fn attempt(path: &Path, delivered: &Delivered, local_offset: LocalOffset) -> Attempt {
    match read(path, delivered) {
        Ok((bytes, metadata)) => judge(&bytes, &metadata, local_offset),
        Err(outcome) => outcome,
    }
}

/// The bytes of a file that did not change while they were read.
fn read(path: &Path, delivered: &Delivered) -> Result<(Vec<u8>, Metadata), Attempt> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Attempt::Never { fault: PictureFault::Vanished, identity: None },
        // Permissions may still be set.
        _ => Attempt::NotYet(PictureFault::Unreadable { reason: error.to_string() }),
    };
    // Looked at before it is opened: opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || delivered.contains(path, Identity::of(&metadata)) {
        return Err(Attempt::Known);
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.len() > FRAME_BYTES_MAX as u64 {
        let identity = Some(Identity::of(&metadata));
        return Err(Attempt::Never { fault: PictureFault::TooManyBytes, identity });
    }
    let mut bytes = Vec::new();
    let mut limited = (&file).take(FRAME_BYTES_MAX as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    let after = file.metadata().map_err(unreadable)?;
    if Identity::of(&after) != Identity::of(&metadata) || bytes.len() as u64 != after.len() {
        return Err(Attempt::NotYet(PictureFault::Truncated { bytes: bytes.len() as u64 }));
    }
    Ok((bytes, metadata))
}

fn judge(bytes: &[u8], metadata: &Metadata, local_offset: LocalOffset) -> Attempt {
    let never = |fault| Attempt::Never { fault, identity: Some(Identity::of(metadata)) };
    if [JPEG_MAGIC, PNG_MAGIC].iter().any(|magic| magic.starts_with(bytes)) {
        return Attempt::NotYet(PictureFault::Truncated { bytes: bytes.len() as u64 });
    }
    if let Some(fault) = cut_off(bytes) {
        return Attempt::NotYet(fault);
    }
    match decode_file(bytes) {
        Ok(picture) => {
            let modified = || local_offset.at(modified_utc_micros(metadata));
            let time = taken::time(bytes, local_offset).unwrap_or_else(modified);
            Attempt::Picture { picture: Box::new(picture), time, identity: Identity::of(metadata) }
        }
        Err(fault @ PictureFault::Undecodable { .. }) => Attempt::NotYet(fault),
        Err(fault) => never(fault),
    }
}

/// What is missing of a JPEG picture that breaks off. A decoder may take one without an end for whole.
fn cut_off(bytes: &[u8]) -> Option<PictureFault> {
    if !bytes.starts_with(JPEG_MAGIC) {
        return None;
    }
    // Reading from memory cannot fail.
    match MjpegReader::new(bytes, FRAME_BYTES_MAX).next_piece() {
        Ok(Some(Piece::Picture { .. }) | None) | Err(_) => None,
        Ok(Some(Piece::Fault { fault, .. })) => Some(fault),
    }
}
