//! [`Memory`], what is remembered of a folder across restarts: a file of lines, so that a restart misses no picture and
//! takes none twice.
//!
//! ```text
//! begun 1795424400000000        when the folder was watched first, in microseconds since 1970
//! mark 1795510800000000         what last changed before this was dealt with
//! clock 0 - - - 1795424411 0    see `SenderClock::to_text`
//! taken 5d0c… 91aa… 07fe…       see `Keys`
//! ```
//!
//! A line is written when the caller has come back for the next picture: a crash before costs no picture, and may have
//! one taken twice. Lines are not synced; after a power cut some are missing, and their pictures come once more. The file
//! is written again, shorter, when it has twice as many lines as are remembered.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::delivered::{DELIVERED_MAX, Delivered, Identity, Keys};
use super::sender_clock::SenderClock;
use super::walk::SLACK_MICROS;

/// A version without marks could be so far behind with what it took, in microseconds.
const LAG_MAX_MICROS: i64 = 3_600_000_000;
/// Lines after which the file is written again.
const LINES_MAX: usize = 2 * DELIVERED_MAX;
/// Lines that wait while the data directory is away.
const UNWRITTEN_MAX: usize = 16_384;

/// What is remembered of a folder.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    begun: i64,
    mark: Option<i64>,
    /// As it is in the file.
    clock: SenderClock,
    /// Lines in the file.
    lines: usize,
    /// Lines that could not be written yet.
    unwritten: VecDeque<String>,
    /// Handed over, and not come back from yet.
    pending: Option<(Keys, SenderClock)>,
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// From when on files may be new, in microseconds since 1970.
    pub(super) since: Option<i64>,
    /// What was handed over.
    pub(super) delivered: Delivered,
    /// What is known of the sender's clock.
    pub(super) clock: SenderClock,
}

impl Memory {
    /// Reads the memory at `path` and goes on with it; begins one where there is none.
    pub(super) fn open(path: &Path, now_micros: i64) -> io::Result<(Self, Remembered)> {
        let found = match File::open(path) {
            Ok(file) => read(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (begun, mark, remembered) = match found {
            Some(Found { begun, mark, last, delivered, clock }) => {
                // A clock that was ahead in an earlier run says nothing now.
                let mark = mark.filter(|mark| *mark <= now_micros);
                let written = last.min(now_micros).saturating_sub(LAG_MAX_MICROS);
                let since = begun.max(mark.unwrap_or(written)).saturating_sub(SLACK_MICROS);
                let since = Some(since.min(now_micros));
                (begun, mark, Remembered { since, delivered, clock })
            }
            // What is there already is not new, however roughly the file system dates it.
            None => (now_micros.saturating_add(SLACK_MICROS), None, Remembered::default()),
        };
        let clock = remembered.clock.clone();
        let path = path.to_owned();
        let (unwritten, pending) = (VecDeque::new(), None);
        let mut memory = Self { path, begun, mark, clock, lines: 0, unwritten, pending };
        memory.rewrite(&remembered.delivered)?;
        Ok((memory, remembered))
    }

    /// A file is handed over now; `clock` is what is known of its sender with it.
    pub(super) fn hand_over(&mut self, keys: Keys, clock: &SenderClock) {
        self.pending = Some((keys, clock.clone()));
    }

    /// The file that was handed over was dealt with.
    pub(super) fn confirm(&mut self, delivered: &Delivered) {
        let Some((keys, clock)) = self.pending.take() else { return };
        self.push(format!("taken {keys}\n"));
        if clock != self.clock {
            self.push(format!("clock {}\n", clock.to_text()));
            self.clock = clock;
        }
        self.write(delivered);
    }

    /// Everything that last changed before `mark` was dealt with.
    pub(super) fn mark(&mut self, mark: i64, delivered: &Delivered) {
        if self.mark != Some(mark) {
            self.mark = Some(mark);
            self.push(format!("mark {mark}\n"));
            self.write(delivered);
        }
    }

    fn push(&mut self, line: String) {
        if self.unwritten.len() == UNWRITTEN_MAX {
            self.unwritten.pop_front();
        }
        self.unwritten.push_back(line);
    }

    fn write(&mut self, delivered: &Delivered) {
        let mut written = self.append();
        if written.is_ok() && self.lines > LINES_MAX {
            written = self.rewrite(delivered);
        }
        if let Err(error) = written {
            let path = self.path.display();
            tracing::debug!(%path, %error, "memory of folder pictures: not written; retried with the next picture");
        }
    }

    /// Opens it again each time and never makes it: the data directory may go away, and nothing of it is held then.
    fn append(&mut self) -> io::Result<()> {
        let mut file = File::options().append(true).open(&self.path)?;
        while let Some(line) = self.unwritten.front() {
            file.write_all(line.as_bytes())?;
            self.unwritten.pop_front();
            self.lines += 1;
        }
        Ok(())
    }

    fn rewrite(&mut self, delivered: &Delivered) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut text = format!("begun {}\n", self.begun);
        text.extend(self.mark.map(|mark| format!("mark {mark}\n")));
        text += &format!("clock {}\n", self.clock.to_text());
        let mut lines = 3;
        for keys in delivered.all() {
            text += &format!("taken {keys}\n");
            lines += 1;
        }
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, &self.path)?;
        self.lines = lines;
        Ok(())
    }
}

struct Found {
    begun: i64,
    mark: Option<i64>,
    /// When it was written last.
    last: i64,
    delivered: Delivered,
    clock: SenderClock,
}

/// What a file holds; `None` where it is none of ours. Lines that a crash cut off are passed over.
fn read(file: &File) -> io::Result<Option<Found>> {
    let last = file.metadata()?.mtime().saturating_mul(1_000_000);
    let mut reader = BufReader::new(file);
    let (mut begun, mut mark) = (None, None);
    let (mut delivered, mut clock) = (Delivered::default(), SenderClock::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let Some(whole) = line.strip_suffix(b"\n") else { continue };
        let text = std::str::from_utf8(whole).unwrap_or_default();
        match text.split_once(' ') {
            Some(("begun", micros)) => begun = micros.parse().ok(),
            Some(("mark", micros)) => mark = micros.parse().ok().or(mark),
            Some(("clock", text)) => clock = SenderClock::from_text(text).unwrap_or(clock),
            Some(("taken", keys)) => {
                let mut words = keys.split(' ').map(Some).chain(std::iter::repeat(None));
                let mut word = || words.next().flatten().unwrap_or_default();
                if let Some(keys) = Keys::from_words([word(), word(), word()]) {
                    delivered.remember(keys);
                }
            }
            _ => parse_older(whole).into_iter().for_each(|keys| delivered.remember(keys)),
        }
    }
    Ok(begun.map(|begun| Found { begun, mark, last, delivered, clock }))
}

/// `64768 1234 5678 1795424411 0 cam/one.jpg`: device, inode, bytes, modified (s, ns), path.
fn parse_older(line: &[u8]) -> Option<Keys> {
    let mut parts = line.splitn(6, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok();
    let identity = Identity::from_words([number()?, number()?, number()?, number()?, number()?])?;
    let path = percent_encoding::percent_decode(parts.next()?).collect::<Vec<u8>>();
    Some(Keys::of(Path::new(&OsString::from_vec(path)), identity))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn keys(path: &Path, inode: u64) -> Keys {
        let identity = Identity::from_words(["1", &inode.to_string(), "5", "-7", "9"]).unwrap();
        Keys::of(path, identity).with_content(path, b"x")
    }

    #[test]
    fn what_was_dealt_with_is_known_after_a_restart_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"a b%0A\n\xff.jpg"));
        let (mut memory, found) = Memory::open(&path, 42).unwrap();
        assert_eq!(found.since, None, "it is the first run");
        let clock = SenderClock::from_text("1 5 6 7 8 - 9 10").unwrap();
        memory.hand_over(keys(odd, 1), &clock);
        memory.confirm(&found.delivered);
        memory.mark(5_000_000, &found.delivered);
        memory.hand_over(keys(Path::new("second"), 2), &SenderClock::default());
        drop(memory);

        let (_, found) = Memory::open(&path, 9_000_000).unwrap();
        assert_eq!(found.since, Some(5_000_000 - SLACK_MICROS));
        assert_eq!(found.clock, clock);
        assert!(found.delivered.contains(keys(odd, 1)));
        assert!(found.delivered.contains_content(keys(odd, 1)));
        assert!(!found.delivered.contains(keys(Path::new("second"), 2)), "not confirmed");
    }

    #[test]
    fn a_restart_at_once_takes_nothing_that_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        let begun = 1_796_000_000_000_000;
        drop(Memory::open(&path, begun).unwrap());
        let (_, found) = Memory::open(&path, begun + 1000).unwrap();
        assert_eq!(found.since, Some(begun));
    }

    #[test]
    fn a_memory_of_an_older_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        std::fs::write(&path, "begun 42\n1 1 5 -7 9 a%0A.jpg\n").unwrap();
        let (_, found) = Memory::open(&path, 99).unwrap();
        assert!(found.since.is_some());
        assert!(found.delivered.contains(keys(Path::new("a\n.jpg"), 1)));
    }

    #[test]
    fn a_line_that_was_cut_off_or_is_nonsense_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        let good = keys(Path::new("good"), 1);
        let line = format!("taken {good}\n");
        let rests =
            [&b"taken 2 3"[..], b"1 2 3 4 5 cut", b"x y z\n\xff\nclock 2\n", &[b'y'; 100_000]];
        for rest in rests {
            std::fs::write(&path, [b"begun 42\n", line.as_bytes(), rest].concat()).unwrap();
            let (_, found) = Memory::open(&path, 99).unwrap();
            assert!(found.delivered.contains(good));
        }
        std::fs::write(&path, "not a memory\n").unwrap();
        assert_eq!(Memory::open(&path, 99).unwrap().1.since, None);
    }

    #[test]
    fn a_run_goes_on_where_the_last_one_ended_whatever_the_clock_showed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        let since = |lines: &str, written_s: u64, now_s: i64| {
            std::fs::write(&path, lines).unwrap();
            let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(written_s);
            File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
            let (_, found) = Memory::open(&path, now_s * 1_000_000).unwrap();
            (found.since.unwrap() + SLACK_MICROS) / 1_000_000
        };
        assert_eq!(since("begun 0\nmark 50000000\n", 60, 90), 50);
        assert_eq!(since("begun 0\nmark 50000000\nmark x\nmark 1", 60, 90), 50, "cut off");
        assert_eq!(since("begun 70000000\nmark 50000000\n", 60, 90), 70, "not what was there");
        let hour = LAG_MAX_MICROS / 1_000_000;
        assert_eq!(since("begun 0\n", 9000, 9900), 9000 - hour, "without a mark");
        assert_eq!(since("begun 0\nmark 9950000000\n", 9000, 9900), 9000 - hour, "from ahead");
        assert_eq!(since("begun 0\n", 9990, 9900), 9900 - hour, "written ahead");
        assert_eq!(since("begun 9950000000\n", 9990, 9900), 9902, "begun ahead");
    }

    #[test]
    fn a_memory_keeps_what_it_knows_and_says_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        let known = "begun 42\nmark 50\nclock 1 5 6 7 8 - 9 10\n";
        std::fs::write(&path, format!("{known}clock nonsense\n")).unwrap();
        let (mut memory, found) = Memory::open(&path, 99).unwrap();
        let text = || std::fs::read_to_string(&path).unwrap();
        assert_eq!(text(), known);
        for number in 0..3 {
            memory.hand_over(keys(Path::new("a"), number), &found.clock);
            memory.confirm(&found.delivered);
        }
        assert_eq!((text().matches("taken").count(), text().matches("clock").count()), (3, 1));
        // The data directory is away: nothing is made there, and memory is bounded.
        std::fs::remove_file(&path).unwrap();
        for number in 0..UNWRITTEN_MAX as u64 + 5 {
            memory.hand_over(keys(Path::new("a"), number), &found.clock);
            memory.confirm(&found.delivered);
        }
        assert!(!path.exists());
        assert_eq!(memory.unwritten.len(), UNWRITTEN_MAX);
        std::fs::write(&path, known).unwrap();
        memory.mark(60, &found.delivered);
        assert_eq!(
            (text().matches("taken").count(), memory.unwritten.len()),
            (UNWRITTEN_MAX - 1, 0)
        );
    }

    #[test]
    fn a_memory_does_not_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.taken");
        let (mut memory, mut found) = Memory::open(&path, 42).unwrap();
        let line =
            std::mem::size_of_val("taken 0123456789abcdef 0123456789abcdef 0123456789abcdef\n")
                as u64;
        let largest = (0..3 * DELIVERED_MAX as u64).map(|index| {
            let keys = keys(Path::new(&index.to_string()), index);
            found.delivered.remember(keys);
            memory.hand_over(keys, &SenderClock::default());
            memory.confirm(&found.delivered);
            if index % 1000 == 0 { std::fs::metadata(&path).unwrap().len() } else { 0 }
        });
        assert!(largest.max().unwrap() <= (LINES_MAX as u64 + 1) * line);
        let (_, again) = Memory::open(&path, 43).unwrap();
        assert!(again.delivered.all().eq(found.delivered.all()));
    }
}
