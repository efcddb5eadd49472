//! [`Memory`], which files were handed over in earlier runs: a file of lines, so that a restart misses none and takes
//! none twice.
//!
//! ```text
//! begun 1795424400000000                     when the folder was watched first, in microseconds since 1970
//! 64768 1234 5678 1795424411 0 cam/one.jpg   device, inode, bytes, modified (s, ns), path
//! ```
//!
//! A line is written when whoever takes the pictures has come back for the next one: a crash before costs no picture, and
//! may have one taken twice. Lines are not synced; after a power cut some are missing, and their pictures come once more.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::delivered::{DELIVERED_MAX, Delivered, Identity};
use super::watch::SCAN_SLACK;

/// Pictures may wait so long for the detector before they are handed over; what came earlier was handed over, or was
/// there before the folder was watched. In microseconds.
const LAG_MAX_MICROS: i64 = 3_600_000_000;
/// A folder is read for what has come a little before a time, too.
const SLACK_MICROS: i64 = SCAN_SLACK.as_micros() as i64;
/// Longest line that is read; a path has at most 4096 bytes, and some are written in three.
const LINE_BYTES_MAX: u64 = 16 << 10;

/// The files that were handed over in earlier runs.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    /// Lines that could not be written yet.
    unwritten: VecDeque<Vec<u8>>,
    /// Handed over, and not come back from yet.
    pending: Option<(PathBuf, Identity)>,
}

/// What an earlier run left.
#[derive(Debug)]
pub(super) struct Remembered {
    /// From when on files may be new, in microseconds since 1970.
    pub(super) since: Option<i64>,
    /// What was handed over.
    pub(super) delivered: Delivered,
}

impl Memory {
    /// Reads the memory at `path` and goes on with it; begins one where there is none.
    pub(super) fn open(path: &Path, now_micros: i64) -> io::Result<(Self, Remembered)> {
        let found = match File::open(path) {
            Ok(file) => read(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (begun, since, delivered) = match found {
            Some((begun, last, delivered)) => {
                (begun, Some(begun.max(last.saturating_sub(LAG_MAX_MICROS))), delivered)
            }
            // What is there already is not new, however roughly the file system dates it.
            None => (now_micros.saturating_add(SLACK_MICROS), None, Delivered::default()),
        };
        // Written anew at each start, so that it does not grow without end.
        let beside = path.with_extension("new");
        let mut text = format!("begun {begun}\n").into_bytes();
        for (path, identity) in delivered.all() {
            text.extend(line(path, identity));
        }
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, path)?;
        let memory = Self { path: path.to_owned(), unwritten: VecDeque::new(), pending: None };
        Ok((memory, Remembered { since, delivered }))
    }

    /// A file is handed over now.
    pub(super) fn hand_over(&mut self, path: &Path, identity: Identity) {
        self.pending = Some((path.to_owned(), identity));
    }

    /// The file that was handed over was dealt with.
    pub(super) fn confirm(&mut self) {
        let Some((path, identity)) = self.pending.take() else { return };
        if self.unwritten.len() == DELIVERED_MAX {
            self.unwritten.pop_front();
        }
        self.unwritten.push_back(line(&path, identity));
        if let Err(error) = self.write() {
            let path = self.path.display();
            tracing::debug!(%path, %error, "what was taken is not remembered yet");
        }
    }

    /// Opened anew each time and never made: the data directory may go away, and nothing of it is held then.
    fn write(&mut self) -> io::Result<()> {
        let mut file = File::options().append(true).open(&self.path)?;
        while let Some(line) = self.unwritten.front() {
            file.write_all(line)?;
            self.unwritten.pop_front();
        }
        Ok(())
    }
}

fn line(path: &Path, identity: Identity) -> Vec<u8> {
    let mut line = format!("{identity} ").into_bytes();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'\n' | b'%' => line.extend(format!("%{byte:02X}").into_bytes()),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

/// When it was begun, when it was written last, and what it holds; `None` where it is none of ours. Lines that a crash
/// cut off are passed over.
fn read(file: &File) -> io::Result<Option<(i64, i64, Delivered)>> {
    use std::io::Read;
    let metadata = file.metadata()?;
    let last = metadata.mtime().saturating_mul(1_000_000);
    let mut reader = BufReader::new(file);
    let (mut begun, mut delivered) = (None, Delivered::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let Some(whole) = line.strip_suffix(b"\n") else { continue };
        if let Some(micros) = whole.strip_prefix(b"begun ") {
            begun = std::str::from_utf8(micros).ok().and_then(|text| text.parse().ok());
        } else if let Some((path, identity)) = parse(whole) {
            delivered.remember(&path, identity);
        }
    }
    Ok(begun.map(|begun| (begun, last, delivered)))
}

fn parse(line: &[u8]) -> Option<(PathBuf, Identity)> {
    let mut parts = line.splitn(6, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok();
    let identity = Identity::from_words([number()?, number()?, number()?, number()?, number()?])?;
    let path = percent_encoding::percent_decode(parts.next()?).collect::<Vec<u8>>();
    Some((OsString::from_vec(path).into(), identity))
}

/// So many lines a memory holds after a start at most.
const _: () = assert!(DELIVERED_MAX <= 1 << 20);

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64) -> Identity {
        Identity::from_words(["1", &inode.to_string(), "5", "-7", "9"]).unwrap()
    }

    #[test]
    fn what_was_dealt_with_is_known_after_a_restart_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"a b%0A\n\xff.jpg"));
        let (mut memory, found) = Memory::open(&path, 42).unwrap();
        assert_eq!(found.since, None, "it is the first run");
        memory.hand_over(odd, identity(1));
        memory.confirm();
        memory.hand_over(Path::new("second"), identity(2));
        drop(memory);

        let (_, found) = Memory::open(&path, 99).unwrap();
        assert!(found.since.unwrap() >= 42);
        assert!(found.delivered.contains(odd, identity(1)));
        assert!(!found.delivered.contains(Path::new("second"), identity(2)), "nobody came back");
    }

    #[test]
    fn a_line_that_was_cut_off_or_is_nonsense_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        let good = line(Path::new("good"), identity(1));
        for rest in [&b"1 2 3"[..], b"1 2 3 4 5 cut off", b"x y z\n\xff\n", &[b'y'; 100_000]] {
            std::fs::write(&path, [b"begun 42\n", &good[..], rest].concat()).unwrap();
            let (_, found) = Memory::open(&path, 99).unwrap();
            assert!(found.delivered.contains(Path::new("good"), identity(1)));
        }
        std::fs::write(&path, "not a memory\n").unwrap();
        assert_eq!(Memory::open(&path, 99).unwrap().1.since, None);
    }
}
