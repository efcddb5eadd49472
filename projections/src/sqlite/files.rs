//! [`DatabaseFiles`]: the database file, its companion files, the shadow, and the copies moved aside. Names only
//! and operations of the file system; a database is never opened here.
//!
//! Only SQLite opens database files in this crate: closing any descriptor of a file drops every POSIX lock
//! that this process holds on it, those of SQLite in other threads included.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use lenslog_engine::{Aside, ProjectionError, next_number};
use lenslog_journal::{Day, Timestamp};
use rustix::fs::Access;
use rustix::io::Errno;

/// What SQLite keeps beside a database: the write-ahead log, its index, a rollback journal.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// What is appended to the name while a database is made that is not whole yet.
const PARTIAL: &str = ".partial";
/// What stands at the path of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Empty,
    File { bytes: u64, inode: u64 },
}

/// A database and the files around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DatabaseFiles {
    path: PathBuf,
}

impl DatabaseFiles {
    /// The files of the database at `path`; a symbolic link is followed, so that everything lies beside the file
    /// itself.
    pub(super) fn at(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if let Ok(real) = fs::canonicalize(&path) {
            return Self { path: real };
        }
        let target = fs::read_link(&path).ok().and_then(|target| Some(path.parent()?.join(target)));
        Self { path: target.unwrap_or(path) }
    }

    /// The database.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the database.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Where a rebuild makes its copy.
    pub(super) fn shadow(&self) -> Self {
        self.beside(".rebuild")
    }

    /// Where a copy is made that will be set aside once it is whole.
    pub(super) fn partial(&self) -> Self {
        self.beside(PARTIAL)
    }

    /// The write-ahead log.
    pub(super) fn wal(&self) -> PathBuf {
        self.beside(COMPANIONS[0]).path
    }

    /// The index of the write-ahead log, which all who have the database open share.
    pub(super) fn index(&self) -> PathBuf {
        self.beside(COMPANIONS[1]).path
    }

    /// The log, its index, and the rollback journal.
    pub(super) fn companions(&self) -> [PathBuf; 3] {
        COMPANIONS.map(|suffix| self.beside(suffix).path)
    }

    fn beside(&self, suffix: &str) -> Self {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        Self { path: name.into() }
    }

    /// What stands at the path.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Blocked`] where it, or what has the name of a companion, is no file;
    /// [`ProjectionError::Retry`] where the path cannot be read.
    pub(super) fn place(&self) -> Result<Place, ProjectionError> {
        if let Some(path) = self.foreign_companion() {
            return Err(ProjectionError::Blocked {
                path,
                problem: "is no regular file".to_owned(),
                remedy: "move it away: SQLite then makes its own",
            });
        }
        match fs::metadata(&self.path) {
            Ok(found) if found.is_file() => {
                Ok(Place::File { bytes: found.len(), inode: found.ino() })
            }
            Ok(found) => Err(ProjectionError::Blocked {
                path: self.path.clone(),
                problem: if found.is_dir() { "is a directory" } else { "is no regular file" }
                    .into(),
                remedy: "move it away: the database is then made from the journal",
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Empty),
            Err(error) => Err(ProjectionError::retry("cannot look at", &self.path)(error)),
        }
    }

    /// What has the name of a companion and is no file. SQLite would open it, and remove it with the last connection.
    pub(super) fn foreign_companion(&self) -> Option<PathBuf> {
        self.companions()
            .into_iter()
            .find(|path| fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()))
    }

    /// What the file system has against reading and writing the database, where it has something.
    pub(super) fn obstacle(&self) -> Option<ProjectionError> {
        if let Err(error @ ProjectionError::Blocked { .. }) = self.place() {
            return Some(error);
        }
        let companions = self.companions();
        let files = std::iter::once(&self.path).chain(&companions);
        let wanted = files.map(|file| (file.as_path(), Access::READ_OK | Access::WRITE_OK));
        let directory = (self.directory(), Access::WRITE_OK | Access::EXEC_OK);
        for (path, access) in wanted.chain([directory]) {
            let (problem, remedy) = match rustix::fs::access(path, access) {
                Err(Errno::ROFS) => (
                    "lies on a read-only medium",
                    "remount it read-write, or set storage.db_path to another place",
                ),
                Err(Errno::ACCESS | Errno::PERM) => (
                    "cannot be written by this user",
                    "give this user read and write permission for it and its directory (chown, chmod, chattr)",
                ),
                _ => continue,
            };
            let (path, problem) = (path.to_owned(), problem.to_owned());
            return Some(ProjectionError::Blocked { path, problem, remedy });
        }
        None
    }

    /// Makes the directory of the database, and those above it.
    pub(super) fn create_directory(&self) -> Result<(), ProjectionError> {
        let directory = self.directory();
        fs::create_dir_all(directory)
            .map_err(ProjectionError::retry("cannot make the directory", directory))
    }

    /// Removes the database and what belongs to it, as far as they are there.
    pub(super) fn remove(&self) -> Result<(), ProjectionError> {
        remove_file(&self.path)?;
        self.remove_companions()
    }

    /// Removes what SQLite keeps beside a database. What is left of a database that is gone would be applied to the
    /// next one of its name.
    pub(super) fn remove_companions(&self) -> Result<(), ProjectionError> {
        self.companions().iter().try_for_each(|path| remove_file(path))
    }

    /// Removes what a rebuild or a copy left behind when it was cut off.
    pub(super) fn remove_leftovers(&self) -> Result<(), ProjectionError> {
        self.shadow().remove()?;
        self.partial().remove()
    }

    /// Renames this database, which no process has open, to the free name of `target`.
    pub(super) fn rename_to(&self, target: &Self) -> Result<(), ProjectionError> {
        target.remove_companions()?;
        target.sync_directory()?;
        rename(&self.path, &target.path)?;
        target.sync_directory()
    }

    /// Moves the database aside with everything that belongs to it, and says where to.
    pub(super) fn move_aside(&self, aside: Aside) -> Result<PathBuf, ProjectionError> {
        let target = self.free_aside(aside)?;
        rename(&self.path, &target.path)?;
        for suffix in COMPANIONS {
            match fs::rename(self.beside(suffix).path, target.beside(suffix).path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = self.beside(suffix).path;
                    return Err(ProjectionError::retry("cannot move aside", &path)(error));
                }
                _ => {}
            }
        }
        self.sync_directory()?;
        Ok(target.path)
    }

    /// A name that no database was moved aside under.
    pub(super) fn free_aside(&self, aside: Aside) -> Result<Self, ProjectionError> {
        Ok(self.aside(aside, next_number(&self.asides(aside)?)))
    }

    /// Removes the oldest of those that were moved aside, where there are too many.
    pub(super) fn limit_asides(&self, aside: Aside) -> Result<(), ProjectionError> {
        let numbers = self.asides(aside)?;
        let surplus = aside.surplus(&numbers).iter();
        surplus.map(|number| self.aside(aside, *number)).try_for_each(|old| old.remove())
    }

    /// Removes what was set aside because the journal lost records: all of it, or what was written to up to a day only,
    /// so that it holds no later record. Returns how many databases.
    pub(super) fn remove_lost(&self, through: Option<Day>) -> Result<u64, ProjectionError> {
        let mut removed = 0;
        for number in self.asides(Aside::Lost)? {
            let lost = self.aside(Aside::Lost, number);
            if through.is_some_and(|through| lost.last_day().is_none_or(|day| day > through)) {
                continue;
            }
            lost.remove()?;
            removed += 1;
        }
        Ok(removed)
    }

    /// The last day on which the database was written to, in any time zone.
    fn last_day(&self) -> Option<Day> {
        const EARLIEST_ZONE_MICROS: i64 = 14 * 3600 * 1_000_000;
        let written = fs::metadata(&self.path).ok()?.modified().ok()?;
        let micros = written.duration_since(UNIX_EPOCH).ok()?.as_micros();
        let utc_micros = i64::try_from(micros).ok()?.saturating_add(EARLIEST_ZONE_MICROS);
        Some(Timestamp { utc_micros, offset_minutes: 0 }.day())
    }

    fn aside(&self, aside: Aside, number: u64) -> Self {
        Self { path: aside.path(&self.path, number) }
    }

    /// The numbers of those that were moved aside, oldest first.
    fn asides(&self, aside: Aside) -> Result<Vec<u64>, ProjectionError> {
        let directory = self.directory();
        let listing = || -> io::Result<Vec<OsString>> {
            fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
        };
        let names = listing().map_err(ProjectionError::retry("cannot list", directory))?;
        let name = self.path.file_name().unwrap_or_default();
        Ok(aside.numbers(name, names.iter().map(OsString::as_os_str)))
    }

    /// Makes renames and removals survive a power cut.
    pub(super) fn sync_directory(&self) -> Result<(), ProjectionError> {
        let directory = self.directory();
        File::open(directory)
            .and_then(|opened| opened.sync_all())
            .map_err(ProjectionError::retry("cannot sync", directory))
    }

    /// Makes the content of a database that no process has open survive a power cut.
    pub(super) fn sync_content(&self) -> Result<(), ProjectionError> {
        File::open(&self.path)
            .and_then(|opened| opened.sync_all())
            .map_err(ProjectionError::retry("cannot sync", &self.path))
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), ProjectionError> {
    fs::rename(from, to).map_err(ProjectionError::retry("cannot rename", from))
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove_file(path: &Path) -> Result<(), ProjectionError> {
    // A read-only file system refuses to remove even what is not there.
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ProjectionError::retry("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        fs::write(path, path.to_string_lossy().as_bytes()).unwrap();
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_set_aside_keeps_its_companions_and_overwrites_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let files = DatabaseFiles::at(&directory.path().join("events.db"));
        for _ in 0..2 {
            write(files.path());
            write(&files.wal());
            files.move_aside(Aside::Old).unwrap();
        }
        write(files.path());
        files.move_aside(Aside::Old).unwrap();
        assert_eq!(
            names(directory.path()),
            [
                "events.db.old-1",
                "events.db.old-1-wal",
                "events.db.old-2",
                "events.db.old-2-wal",
                "events.db.old-3"
            ]
        );
    }

    #[test]
    fn the_newest_few_of_those_set_aside_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let files = DatabaseFiles::at(&directory.path().join("events.db"));
        for other in ["events.db.old-x", "events.db.old-", "other.db.old-1"] {
            write(&directory.path().join(other));
        }
        for _ in 0..12 {
            write(files.path());
            write(&files.wal());
            files.move_aside(Aside::Old).unwrap();
            files.limit_asides(Aside::Old).unwrap();
        }
        let numbered: Vec<_> = names(directory.path())
            .into_iter()
            .filter(|name| name.starts_with("events.db.old-1"))
            .collect();
        let expected = [10, 11, 12].map(|number| format!("events.db.old-{number}"));
        let expected: Vec<_> =
            expected.iter().flat_map(|name| [name.clone(), format!("{name}-wal")]).collect();
        assert_eq!(numbered, expected);
        assert!(directory.path().join("events.db.old-x").exists());
        assert!(directory.path().join("other.db.old-1").exists());
    }

    #[test]
    fn a_link_is_followed_even_where_it_leads_to_nothing_yet() {
        let directory = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(directory.path()).unwrap().join("real.db");
        let link = directory.path().join("events.db");
        std::os::unix::fs::symlink("real.db", &link).unwrap();
        assert_eq!(
            fs::canonicalize(DatabaseFiles::at(&link).directory()).unwrap().join("real.db"),
            real
        );
        write(&real);
        assert_eq!(DatabaseFiles::at(&link).path(), real);
    }

    #[test]
    fn what_is_no_file_beside_the_database_blocks_it_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let files = DatabaseFiles::at(&directory.path().join("events.db"));
        write(files.path());
        for path in [files.wal(), files.index()] {
            std::os::unix::fs::symlink("elsewhere", &path).unwrap();
            let error = files.place().unwrap_err();
            assert!(matches!(error, ProjectionError::Blocked { .. }), "{error:?}");
            assert!(error.to_string().contains("is no regular file; move it away"), "{error}");
            fs::remove_file(path).unwrap();
        }
        assert!(matches!(files.place().unwrap(), Place::File { .. }));
    }

    #[test]
    fn a_directory_in_the_place_of_the_database_blocks_it() {
        let directory = tempfile::tempdir().unwrap();
        let files = DatabaseFiles::at(&directory.path().join("events.db"));
        assert_eq!(files.place().unwrap(), Place::Empty);
        fs::create_dir(files.path()).unwrap();
        let error = files.place().unwrap_err();
        assert!(matches!(error, ProjectionError::Blocked { .. }), "{error:?}");
        assert!(error.to_string().contains("is a directory; move it away"), "{error}");
    }
}
