//! Whether a directory is a mount point: `require_mount` keeps a recorder off the disk behind it.

use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Whether something is mounted on this directory now.
///
/// # Errors
///
/// Those of reading the kernel's list of mounts.
pub fn is_mounted(directory: &Path) -> io::Result<bool> {
    let Ok(wanted) = fs::canonicalize(directory) else { return Ok(false) };
    Ok(mount_points(&fs::read("/proc/self/mountinfo")?).any(|point| point == wanted))
}

/// The mount points in the text of `mountinfo`: the fifth word of each line, its special characters in octal.
fn mount_points(text: &[u8]) -> impl Iterator<Item = PathBuf> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let word = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(unescaped(word))))
    })
}

fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.get(..3).filter(|_| *first == b'\\');
        let value = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match value.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

/// The directory that has to be a mount point and is none; `None` where all is well or nothing is required.
#[must_use]
pub fn missing_mount(required: &Path) -> Option<String> {
    if required.as_os_str().as_bytes().is_empty() {
        return None;
    }
    let path = required.display();
    match is_mounted(required) {
        Ok(true) => None,
        Ok(false) => Some(format!("nothing is mounted on {path} (storage.require_mount)")),
        Err(error) => Some(format!("cannot find out whether {path} is mounted: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_told_from_directories() {
        assert!(is_mounted(Path::new("/proc")).unwrap());
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_mounted(directory.path()).unwrap());
        assert!(!is_mounted(Path::new("/no/such/place")).unwrap());
        assert_eq!(missing_mount(Path::new("")), None);
        assert!(missing_mount(directory.path()).unwrap().contains("require_mount"));
    }

    #[test]
    fn names_with_blanks_are_read_back() {
        let text = b"36 35 98:0 / /mnt/a\\040b\\134c rw - ext4 /dev/x rw\n37 35 98:0 / /mnt rw\n";
        let points: Vec<_> = mount_points(text).collect();
        assert_eq!(points, [Path::new("/mnt/a b\\c"), Path::new("/mnt")]);
    }
}
