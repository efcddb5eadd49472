//! Opening what `file:` and `dir:` name, with errors that say what is there instead.

use std::fs::{File, FileType, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::SourceError;

/// What a source needs to find at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

impl Expected {
    const fn describe(self) -> &'static str {
        match self {
            Self::File => "a file of JPEG pictures one after another (MJPEG)",
            Self::Folder => "a folder in which pictures appear",
        }
    }

    fn fits(self, file_type: FileType) -> bool {
        match self {
            Self::File => file_type.is_file(),
            Self::Folder => file_type.is_dir(),
        }
    }

    const fn remedy(self, found: &str) -> &'static str {
        match (self, found.as_bytes()) {
            (Self::File, b"a folder") => "for the pictures that appear in a folder write dir:PATH",
            (Self::Folder, b"a file") => "for a recording write file:PATH",
            _ => "check the path",
        }
    }
}

/// Checks what is at `path` and opens it.
pub(super) fn open(path: &Path, expected: Expected) -> Result<(File, Metadata), SourceError> {
    // Looked at before it is opened: opening a pipe waits for its writer.
    check(
        path,
        &std::fs::metadata(path).map_err(|error| refused(path, expected, error))?,
        expected,
    )?;
    let file = File::open(path).map_err(|error| refused(path, expected, error))?;
    let metadata = file.metadata().map_err(|error| refused(path, expected, error))?;
    check(path, &metadata, expected)?;
    Ok((file, metadata))
}

fn check(path: &Path, metadata: &Metadata, expected: Expected) -> Result<(), SourceError> {
    if expected.fits(metadata.file_type()) {
        return Ok(());
    }
    let found = describe(metadata.file_type());
    Err(SourceError::WrongType {
        path: path.to_path_buf(),
        found,
        expected: expected.describe(),
        remedy: expected.remedy(found),
    })
}

fn refused(path: &Path, expected: Expected, source: std::io::Error) -> SourceError {
    let path = path.to_path_buf();
    match source.kind() {
        ErrorKind::NotFound => SourceError::NotFound { path, expected: expected.describe() },
        _ => SourceError::Open { path, source },
    }
}

fn describe(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a folder"
    } else if file_type.is_file() {
        "a file"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "a device"
    } else {
        "a pipe or socket"
    }
}

/// When a file was last modified, in microseconds since 1970, rounded down; files older than that included.
pub(super) fn modified_utc_micros(metadata: &Metadata) -> i64 {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => {
            let micros = before.duration().as_nanos().div_ceil(1000);
            i64::try_from(micros).map_or(i64::MIN, |micros| -micros)
        }
    }
}
