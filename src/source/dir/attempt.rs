//! [`attempt`], one look at a file that may be a picture, and may still be written.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::Path;

use image::RgbImage;

use super::arrivals::Stage;
use super::delivered::{Delivered, Identity, Keys};
use super::taken::Claim;
use crate::source::decode::{
    END_OF_IMAGE, JPEG_MAGIC, PNG_MAGIC, alone, decode_file, decode_unended_file,
};
use crate::source::mjpeg::{MjpegReader, Piece};
use crate::source::{FRAME_BYTES_MAX, PictureFault};

/// What a look at a file came to.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is a whole picture.
    Picture {
        /// The picture.
        picture: Box<RgbImage>,
        /// When it says that it was taken.
        claim: Option<Claim>,
        /// The file, as it was read.
        metadata: Box<Metadata>,
        /// What it is known by.
        keys: Keys,
    },
    /// It was handed over before, or is no file. With keys: it lies there in another version, with the same bytes.
    Known(Option<Keys>),
    /// It may become a picture; this is what keeps it from being one now.
    NotYet {
        /// What that is.
        fault: PictureFault,
        /// The file, if it could be read.
        keys: Option<Keys>,
    },
    /// It is no picture that is ever handed over.
    Never {
        /// Why.
        fault: PictureFault,
        /// The file, if it is still there.
        keys: Option<Keys>,
    },
}

/// Looks at a file.
pub(super) fn attempt(path: &Path, delivered: &Delivered, stage: Stage) -> Attempt {
    let (bytes, metadata) = match read(path, delivered) {
        Ok(read) => read,
        Err(outcome) => return outcome,
    };
    // An upload that was taken without its end marker, and then got it, is the same picture.
    let content = bytes.strip_suffix(END_OF_IMAGE).unwrap_or(&bytes);
    let keys = Keys::of(path, Identity::of(&metadata)).with_content(path, content);
    if delivered.contains_content(keys) {
        return Attempt::Known(Some(keys));
    }
    judge(&bytes, metadata, keys, stage)
}

/// The bytes of a file that did not change while they were read.
fn read(path: &Path, delivered: &Delivered) -> Result<(Vec<u8>, Metadata), Attempt> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Attempt::Never { fault: PictureFault::Vanished, keys: None },
        // Permissions may still be set.
        _ => {
            let fault = PictureFault::Unreadable { reason: error.to_string() };
            Attempt::NotYet { fault, keys: None }
        }
    };
    // Looked at before it is opened: opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || delivered.contains(Keys::of(path, Identity::of(&metadata))) {
        return Err(Attempt::Known(None));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.len() > FRAME_BYTES_MAX as u64 {
        let keys = Some(Keys::of(path, Identity::of(&metadata)));
        return Err(Attempt::Never { fault: PictureFault::TooManyBytes, keys });
    }
    let mut bytes = Vec::new();
    let mut limited = (&file).take(FRAME_BYTES_MAX as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    let after = file.metadata().map_err(unreadable)?;
    if Identity::of(&after) != Identity::of(&metadata) || bytes.len() as u64 != after.len() {
        let fault = PictureFault::Truncated { bytes: bytes.len() as u64 };
        return Err(Attempt::NotYet { fault, keys: None });
    }
    Ok((bytes, metadata))
}

fn judge(bytes: &[u8], metadata: Metadata, keys: Keys, stage: Stage) -> Attempt {
    let not_yet = |fault| Attempt::NotYet { fault, keys: Some(keys) };
    if [JPEG_MAGIC, PNG_MAGIC].iter().any(|magic| magic.starts_with(bytes)) {
        return not_yet(PictureFault::Truncated { bytes: bytes.len() as u64 });
    }
    match decode(bytes, stage) {
        Ok(picture) => {
            let claim = Claim::of(bytes);
            Attempt::Picture {
                picture: Box::new(picture),
                claim,
                metadata: Box::new(metadata),
                keys,
            }
        }
        // By its name it is one: a picture is lost, and the log says so.
        Err(PictureFault::NotAPicture { reason }) => {
            let fault = PictureFault::Undecodable { reason: reason.to_owned() };
            Attempt::Never { fault, keys: Some(keys) }
        }
        Err(fault @ PictureFault::TooManyPixels { .. }) => {
            Attempt::Never { fault, keys: Some(keys) }
        }
        Err(fault) => not_yet(fault),
    }
}

/// Decodes a picture without what is after its end. One without an end may still be written, until it has settled.
fn decode(bytes: &[u8], stage: Stage) -> Result<RgbImage, PictureFault> {
    if !bytes.starts_with(JPEG_MAGIC) {
        return decode_file(bytes);
    }
    // Reading from memory cannot fail.
    match MjpegReader::new(bytes, FRAME_BYTES_MAX).next_piece() {
        Ok(Some(Piece::Picture { bytes, .. })) => decode_file(&bytes),
        Ok(Some(Piece::Unended { bytes, .. })) if stage >= Stage::Settled => {
            decode_unended_file(&bytes)
        }
        Ok(Some(Piece::Unended { .. })) => {
            Err(PictureFault::Truncated { bytes: bytes.len() as u64 })
        }
        Ok(None) | Err(_) => decode_file(bytes),
        // Between the segments of a file there may be anything.
        Ok(Some(Piece::Fault { fault, .. })) => {
            alone(bytes).map_or(Err(fault), |jpeg| decode_file(&jpeg))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::source::samples::jpeg;

    #[test]
    fn a_file_is_taken_refused_or_left_by_how_far_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut delivered = Delivered::default();
        let put = |name: &str, bytes: &[u8]| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let whole = jpeg(32, 24, 1);
        let unended = put("unended.jpg", &whole[..whole.len() - 2]);
        let early = attempt(&unended, &delivered, Stage::Early);
        assert!(matches!(early, Attempt::NotYet { .. }), "its end may come: {early:?}");
        let settled = attempt(&unended, &delivered, Stage::Settled);
        assert!(matches!(settled, Attempt::Picture { .. }), "{settled:?}");

        let mut huge = jpeg(16, 16, 1);
        let header = huge.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
        huge[header + 5..header + 9].fill(0xFF);
        let never =
            |path: &Path, delivered: &Delivered| match attempt(path, delivered, Stage::Early) {
                Attempt::Never { keys, .. } => keys,
                other => panic!("{other:?}"),
            };
        never(&put("pixels.jpg", &huge), &delivered).unwrap();
        let large = put("bytes.jpg", b"");
        let opened = File::options().write(true).open(&large).unwrap();
        opened.set_len(FRAME_BYTES_MAX as u64 + 1).unwrap();
        delivered.remember(never(&large, &delivered).unwrap());
        let again = attempt(&large, &delivered, Stage::Early);
        assert!(matches!(again, Attempt::Known(None)), "said once, and not read: {again:?}");

        // What is no file is not opened: opening a pipe waits for its writer.
        let folder = attempt(folder.path(), &delivered, Stage::Last);
        assert!(matches!(folder, Attempt::Known(None)), "{folder:?}");

        // A file of another length than it said when it was opened: it is being written.
        let grown = attempt(Path::new("/proc/self/status"), &delivered, Stage::Last);
        assert!(matches!(grown, Attempt::NotYet { keys: None, .. }), "{grown:?}");
    }
}
