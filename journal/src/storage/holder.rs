//! Finds out who holds the lock of a directory, for the error message that names them.

use std::fs;
use std::path::Path;

/// Describes the process that holds an flock on `directory`: `process 4711 (lenslog record --data data)`.
///
/// Best effort, from `/proc`: `None` where the holder lives in another container or belongs to somebody whose
/// open files we may not see.
pub(super) fn holder_of(directory: &Path, inode: u64) -> Option<String> {
    let canonical = directory.canonicalize().ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let holder = locks
        .lines()
        .filter_map(|line| flock_holder(line, inode))
        .find(|process| has_open(*process, &canonical))?;
    Some(describe(holder))
}

/// The process id of a line of `/proc/locks` that tells of an flock on `inode`.
fn flock_holder(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? != "FLOCK" {
        return None;
    }
    let process = words.nth(2)?.parse().ok()?;
    let locked: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
    (locked == inode).then_some(process)
}

fn has_open(process: u32, canonical: &Path) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == canonical))
}

fn describe(process: u32) -> String {
    const COMMAND_CHARS_MAX: usize = 120;
    let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let command: String = String::from_utf8_lossy(&command)
        .trim_end_matches('\0')
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(COMMAND_CHARS_MAX)
        .collect();
    if command.is_empty() {
        format!("process {process}")
    } else {
        format!("process {process} ({command})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_locks_names_its_process() {
        let line = "1: FLOCK  ADVISORY  WRITE 4711 fd:00:123456 0 EOF";
        assert_eq!(flock_holder(line, 123_456), Some(4711));
        assert_eq!(flock_holder(line, 99), None);
        assert_eq!(flock_holder("2: POSIX  ADVISORY  READ 1 00:16:123456 0 EOF", 123_456), None);
        assert_eq!(flock_holder("", 1), None);
    }
}
