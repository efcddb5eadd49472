//! [`MetricsFile`]: `metrics.json`, a line of JSON each time, in a bounded number of bounded files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the newest file; older ones are `metrics.json.1` and so on.
pub const METRICS_FILE: &str = "metrics.json";
/// Largest size of one file. About a day of lines, one a minute.
pub const METRICS_FILE_BYTES_MAX: u64 = 4 << 20;
/// No limit on storage makes files smaller than this.
const FILE_BYTES_MIN: u64 = 64 << 10;
/// Files kept, the newest included.
pub const METRICS_FILES_MAX: usize = 4;
/// One file takes no more than this part of the storage limit.
const STORAGE_PARTS: u64 = 256;

/// Appends lines to `metrics.json`.
///
/// Nothing is synced: these are figures about the recorder, not what it recorded. A power cut may cost some lines or
/// tear the last one; the next line begins on a line of its own.
pub struct MetricsFile {
    path: PathBuf,
    bytes_max: u64,
    check: Box<Check>,
}

/// Says what became of the place of a file.
type Check = dyn Fn() -> io::Result<()> + Send;

impl std::fmt::Debug for MetricsFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MetricsFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl MetricsFile {
    /// The file in `directory`, which is made when a line is written. Files are smaller where little may be stored.
    #[must_use]
    pub fn new(directory: &Path, storage_limit_bytes: u64) -> Self {
        let part = (storage_limit_bytes / STORAGE_PARTS).max(FILE_BYTES_MIN);
        let bytes_max = part.min(METRICS_FILE_BYTES_MAX);
        Self { path: directory.join(METRICS_FILE), bytes_max, check: Box::new(|| Ok(())) }
    }

    /// Writes nothing, and makes no directory, where that fails.
    #[must_use]
    pub fn while_there(self, check: impl Fn() -> io::Result<()> + Send + 'static) -> Self {
        Self { check: Box::new(check), ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line, given without its end. The file is opened each time: others may move or delete it.
    ///
    /// # Errors
    ///
    /// Those of the operating system. What was there stays; of the line, nothing is left.
    pub fn append(&self, line: &str) -> io::Result<()> {
        (self.check)()?;
        let mut bytes = format!("{line}\n").into_bytes();
        let mut file = self.open()?;
        let mut len = file.metadata()?.len();
        if len > 0 && len.saturating_add(bytes.len() as u64) > self.bytes_max {
            drop(file);
            self.rotate()?;
            file = self.open()?;
            len = file.metadata()?.len();
        }
        if len > 0 && last_byte(&mut file)? != b'\n' {
            bytes.insert(0, b'\n');
        }
        file.write_all(&bytes).inspect_err(|_| {
            // Half a line is worse than none; where it cannot be cut, a line break ends it.
            let _ = file.set_len(len);
        })
    }

    fn open(&self) -> io::Result<File> {
        // A pipe in its place blocks nothing, and a link in its place leads nowhere.
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o644).custom_flags(flags);
        let open = || options.open(&self.path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(directory) = self.path.parent() {
                    fs::create_dir_all(directory)?;
                }
                open()?
            }
            result => result?,
        };
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }

    /// Moves every file one number up; the last one goes.
    fn rotate(&self) -> io::Result<()> {
        for number in (1..METRICS_FILES_MAX).rev() {
            let from = self.numbered(number - 1);
            match fs::rename(&from, self.numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        self.path.with_file_name(format!("{METRICS_FILE}.{number}"))
    }
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_kept_in_a_bounded_number_of_bounded_files() {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("a/logs");
        let file = MetricsFile::new(&logs, 0);
        let padding = "x".repeat(6_000);
        for number in 0..100 {
            file.append(&format!("{number} {padding}")).unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["metrics.json", "metrics.json.1", "metrics.json.2", "metrics.json.3"]);
        let mut numbers = Vec::new();
        for number in (0..METRICS_FILES_MAX).rev() {
            let path = file.numbered(number);
            assert!(fs::metadata(&path).unwrap().len() <= FILE_BYTES_MIN);
            let number = |line: &String| line.split(' ').next().unwrap().parse::<u32>().unwrap();
            numbers.extend(lines(&path).iter().map(number));
        }
        // The newest ones, all of them, in order.
        let first = numbers[0];
        assert_eq!(numbers, (first..100).collect::<Vec<_>>());
        assert!(numbers.len() > 30, "{numbers:?}");
    }

    #[test]
    fn a_torn_line_does_not_take_the_next_one_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = MetricsFile::new(directory.path(), 0);
        fs::write(file.path(), "{\"a\":1}\n{\"b\":").unwrap();
        file.append("{\"c\":3}").unwrap();
        assert_eq!(lines(file.path()), ["{\"a\":1}", "{\"b\":", "{\"c\":3}"]);
        fs::remove_file(file.path()).unwrap();
        file.append("{}").unwrap();
        assert_eq!(lines(file.path()), ["{}"]);
    }

    #[test]
    fn a_directory_in_its_place_is_an_error_and_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = MetricsFile::new(directory.path(), 0);
        fs::create_dir(file.path()).unwrap();
        file.append("{}").unwrap_err();
        assert!(file.path().is_dir());
    }

    #[test]
    fn a_pipe_in_its_place_blocks_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let file = MetricsFile::new(directory.path(), 0);
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, file.path(), rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
        let error = file.append("{}").unwrap_err();
        assert!(error.to_string().contains("regular file"), "{error}");
    }

    #[test]
    fn nothing_is_left_of_a_line_that_could_not_be_written_whole() {
        if !crate::testing::files_are_small(
            "metrics::file::tests::nothing_is_left_of_a_line_that_could_not_be_written_whole",
        ) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = MetricsFile::new(directory.path(), 1 << 40);
        file.append("{}").unwrap();
        file.append(&"x".repeat(500_000)).unwrap_err();
        assert_eq!(fs::read(file.path()).unwrap(), b"{}\n");
    }

    #[test]
    fn files_are_small_where_little_may_be_stored() {
        let of = |limit| MetricsFile::new(Path::new("x"), limit).bytes_max;
        assert_eq!(of(1_000_000), FILE_BYTES_MIN);
        assert_eq!(of(512 << 20), 2 << 20);
        assert_eq!(of(1 << 40), METRICS_FILE_BYTES_MAX);
    }
}
