//! [`Live`]: the database that is followed into. One connection, one transaction at a time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use lenslog_engine::{Checkpoint, Inspection, ProjectionError, Scope};
use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, FileControl, MAIN_DB};

use super::change::Change;
use super::connect::{self, CALM_CHECKPOINT_PAGES, WRITER_TIMEOUT};
use super::examine::{Check, Found, Usable, examine};
use super::fault::{Explain, Fault, broken, fault};
use super::files::{DatabaseFiles, Place};
use super::log_holders::{HeldLog, LOG_BYTES_MAX, LOG_BYTES_REPORTED, log_bytes};
use super::migrations::{Applied, MIGRATIONS, SCHEMA_VERSION, applied, migrate};
use super::room::{room_to_commit, room_to_write};
use super::stored_checkpoint::{self, stored_inode};
use super::write::{Written, write};

/// Looks at a log that cannot be cut, one every few seconds, before it is reported: a reader may be there for a moment.
const HELD_LOOKS_MIN: u32 = 3;
/// Of so many looks one waits for readers that take turns, so that there is always one; the others do not wait.
const LOOKS_PER_WAIT: u32 = 15;

/// The open database.
#[derive(Debug)]
pub(super) struct Live {
    files: DatabaseFiles,
    connection: Connection,
    inode: u64,
    /// Size of the file when it was last looked at.
    bytes: u64,
    /// Inode of the log, once it was seen.
    log_inode: Option<u64>,
    in_transaction: bool,
    /// Looks at a log that was large and could not be cut.
    held_looks: u32,
    /// What the database holds.
    committed: Option<Checkpoint>,
}

impl Live {
    /// Goes on with a database that was examined.
    pub(super) fn resume(files: DatabaseFiles, usable: Usable) -> Result<Self, ProjectionError> {
        let Usable { connection, checkpoint, inode } = usable;
        Self::new(files, connection, inode, Some(checkpoint))
    }

    /// Makes an empty database, or completes one that nothing was committed to.
    pub(super) fn create(files: DatabaseFiles) -> Result<Self, ProjectionError> {
        files.create_directory()?;
        if files.place()? == Place::Empty {
            files.remove_companions()?;
        }
        let connection = connect::writer(&files, true).explain("cannot make", &files)?;
        let version = match applied(&connection).explain("cannot read", &files)? {
            Applied::Nothing => 0,
            Applied::Through(version) if version <= SCHEMA_VERSION => version,
            other => return Err(broken(&files, format!("its versions are {other:?}"))),
        };
        migrate(&connection, MIGRATIONS, version)
            .map_err(|error| error.source)
            .explain("cannot make", &files)?;
        let Place::File { inode, .. } = files.place()? else {
            return Err(broken(&files, "it was deleted while it was made"));
        };
        Self::new(files, connection, inode, None)
    }

    fn new(
        files: DatabaseFiles,
        connection: Connection,
        inode: u64,
        committed: Option<Checkpoint>,
    ) -> Result<Self, ProjectionError> {
        let in_transaction = false;
        let mut live = Self {
            files,
            connection,
            inode,
            bytes: 0,
            log_inode: None,
            in_transaction,
            held_looks: 0,
            committed,
        };
        live.look()?;
        Ok(live)
    }

    /// Whether the file is still the one that was opened, and none of its companions was taken away.
    pub(super) fn inspect(&mut self) -> Result<Inspection, ProjectionError> {
        let tampered = |reason: &str| {
            let reason = format!("{} {reason}", self.files.path().display());
            Ok(Inspection::Tampered { reason, scope: Scope::All })
        };
        let mut moved = 0;
        self.connection
            .file_control(Some(MAIN_DB), FileControl::HasMoved(&mut moved))
            .explain("cannot look at", &self.files)?;
        match self.files.place()? {
            Place::Empty => return tampered("was deleted"),
            Place::File { .. } if moved != 0 => return tampered("was replaced by another file"),
            Place::File { bytes, .. } if bytes < self.bytes => return self.inspect_cut(),
            Place::File { .. } => {}
        }
        if self.log_inode.is_some() && self.log_inode != self.found_log() {
            let source = std::io::Error::other("it was taken away or replaced");
            let path = self.files.wal();
            return Err(ProjectionError::Retry { what: "cannot go on with", path, source });
        }
        if !self.in_transaction {
            self.unshare()?;
        }
        self.look()?;
        self.limit_log();
        Ok(Inspection::Intact)
    }

    /// Replaces a database with hard links by a copy of it, and goes on in the copy.
    fn unshare(&mut self) -> Result<(), ProjectionError> {
        // What has the name now and is not what is open is left to the next inspection.
        if !self.files.is_shared() || !self.is_in_place() {
            return Ok(());
        }
        self.leave_log().explain("cannot close", &self.files)?;
        // An error from here on leaves an empty database in memory, in which every statement fails.
        let empty = Connection::open_in_memory().explain("cannot make", &self.files)?;
        let shared = std::mem::replace(&mut self.connection, empty);
        shared.close().map_err(|(_, error)| error).explain("cannot close", &self.files)?;
        self.files.unshare()?;
        self.connection =
            connect::writer(&self.files, false).explain("cannot open", &self.files)?;
        if let Place::File { inode, .. } = self.files.place()? {
            self.inode = inode;
        }
        self.look()
    }

    fn is_in_place(&self) -> bool {
        matches!(self.files.place(), Ok(Place::File { inode, .. }) if inode == self.inode)
    }

    /// Has the last connection that closes leave the log as it is, instead of copying it into the database.
    fn leave_log(&self) -> rusqlite::Result<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
    }

    /// Cuts a log that has grown. A permanent reader is reported once.
    fn limit_log(&mut self) {
        if log_bytes(&self.files) <= LOG_BYTES_REPORTED {
            self.held_looks = 0;
            return;
        }
        let waits = self.held_looks.is_multiple_of(LOOKS_PER_WAIT);
        if self.cut_log(if waits { WRITER_TIMEOUT } else { Duration::ZERO }) {
            self.held_looks = 0;
            return;
        }
        self.held_looks = self.held_looks.saturating_add(1);
        if self.held_looks == HELD_LOOKS_MIN {
            let log = HeldLog::of(&self.files, log_bytes(&self.files));
            let (path, bytes) = (log.path.display(), log.bytes);
            tracing::warn!(%path, bytes, "the database's log grows: {log}");
        }
    }

    /// Copies the log into the database and cuts it to nothing; says whether that could be done.
    fn cut_log(&self, timeout: Duration) -> bool {
        let cut = || {
            self.connection.busy_timeout(timeout)?;
            self.connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE)
        };
        let result = cut();
        // What stays wrong with the database is met by the next write.
        let restored = self.connection.busy_timeout(WRITER_TIMEOUT);
        if let Err(error) = result.as_ref().map(drop).and(restored.as_ref().map(drop)) {
            tracing::debug!(path = %self.files.path().display(), %error, "database log cannot be cut now; the next inspection retries");
        }
        result.is_ok()
    }

    /// Whether the log may grow further.
    fn check_log(&self) -> Result<(), ProjectionError> {
        if log_bytes(&self.files) <= LOG_BYTES_MAX || self.cut_log(WRITER_TIMEOUT) {
            return Ok(());
        }
        let log = HeldLog::of(&self.files, LOG_BYTES_MAX);
        let source = std::io::Error::new(std::io::ErrorKind::ResourceBusy, log.to_string());
        Err(ProjectionError::Retry { what: "cannot go on with", path: log.path, source })
    }

    /// The file has become smaller: `VACUUM` does that, and so does damage.
    fn inspect_cut(&mut self) -> Result<Inspection, ProjectionError> {
        match examine(&self.files, Check::AsNeeded) {
            Ok(Found::Usable(_)) => {
                self.look()?;
                Ok(Inspection::Intact)
            }
            Ok(Found::Nothing) => {
                let reason = format!("{} was emptied", self.files.path().display());
                Ok(Inspection::Tampered { reason, scope: Scope::All })
            }
            Err(ProjectionError::Broken { reason }) => {
                Ok(Inspection::Tampered { reason, scope: Scope::All })
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers what the files look like.
    fn look(&mut self) -> Result<(), ProjectionError> {
        if let Place::File { bytes, .. } = self.files.place()? {
            self.bytes = bytes;
        }
        self.log_inode = self.found_log();
        Ok(())
    }

    fn found_log(&self) -> Option<u64> {
        fs::metadata(self.files.wal()).ok().map(|log| log.ino())
    }

    /// Applies a change within the transaction, all of it or nothing.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Written, ProjectionError> {
        if *change == Change::Nothing {
            return Ok(Written::Done);
        }
        // Before each change: many of them may be one transaction, and take what room there was.
        room_to_write(&self.files).explain("cannot write", &self.files)?;
        self.begin()?;
        let savepoint = self.savepoint("SAVEPOINT change");
        savepoint.explain("cannot write", &self.files)?;
        let result = write(&self.connection, change).explain_record("cannot write", &self.files);
        if let Err(ProjectionError::Rejected { .. }) = &result {
            self.savepoint("ROLLBACK TO change").explain("cannot write", &self.files)?;
        }
        if matches!(result, Ok(_) | Err(ProjectionError::Rejected { .. })) {
            self.savepoint("RELEASE change").explain("cannot write", &self.files)?;
        }
        result
    }

    /// Whether a change could be applied now. Nothing of it stays.
    pub(super) fn would_apply(&mut self, change: &Change) -> Result<bool, ProjectionError> {
        if self.in_transaction {
            return Ok(false);
        }
        self.begin()?;
        let result = write(&self.connection, change).explain_record("cannot write", &self.files);
        self.savepoint("ROLLBACK").explain("cannot write", &self.files)?;
        self.in_transaction = false;
        match result {
            Ok(_) => Ok(true),
            Err(ProjectionError::Rejected { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn savepoint(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn begin(&mut self) -> Result<(), ProjectionError> {
        if !self.in_transaction {
            self.unshare()?;
            self.check_log()?;
            // At once for writing, so that another connection's lock is met here and not halfway.
            self.savepoint("BEGIN IMMEDIATE").explain("cannot write", &self.files)?;
            self.in_transaction = true;
        }
        Ok(())
    }

    /// Commits what was applied, together with the checkpoint.
    pub(super) fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), ProjectionError> {
        if !self.in_transaction && self.committed.as_ref() == Some(checkpoint) {
            return Ok(());
        }
        room_to_commit(&self.files, &self.connection).explain("cannot write", &self.files)?;
        self.begin()?;
        stored_checkpoint::write(&self.connection, checkpoint, stored_inode(self.inode))
            .explain("cannot write", &self.files)?;
        self.savepoint("COMMIT").explain("cannot write", &self.files)?;
        self.in_transaction = false;
        self.committed = Some(checkpoint.clone());
        Ok(())
    }

    /// Copies the log into the database where it has grown: called when there is time, so that no event waits for it.
    pub(super) fn tidy(&self) -> Result<(), ProjectionError> {
        if self.files.is_shared() {
            return Ok(());
        }
        let copied = self.copy_log();
        match copied.as_ref().map_err(fault) {
            // Whatever the obstacle, committed rows are in the log and stay there.
            Err(Fault::Passing(_)) => Ok(()),
            _ => copied.explain("cannot write", &self.files),
        }
    }

    fn copy_log(&self) -> rusqlite::Result<()> {
        let (pages, _) = self.connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::NOOP)?;
        if pages >= CALM_CHECKPOINT_PAGES {
            self.connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)?;
        }
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.files.is_shared() && self.is_in_place() {
            // Where this fails, the copies get the content of the log that they have anyway.
            let _ = self.leave_log();
        }
    }
}

#[cfg(test)]
mod tests {
    use lenslog_journal::Position;

    use super::*;

    /// A database with a log.
    fn live(directory: &tempfile::TempDir) -> Live {
        let files = DatabaseFiles::at(&directory.path().join("events.db"));
        let mut live = Live::create(files).unwrap();
        commit(&mut live, 1).unwrap();
        live
    }

    fn commit(live: &mut Live, parked_count: u64) -> Result<(), ProjectionError> {
        let checkpoint = Checkpoint {
            journal: [7; 16],
            position: Position::START,
            version: 1,
            options: String::new(),
            codec: 1,
            parked: Vec::new(),
            parked_count,
        };
        live.commit(&checkpoint)
    }

    /// Nothing is written to what is added.
    fn lengthen_log(live: &Live, bytes: u64) {
        fs::File::options().write(true).open(live.files.wal()).unwrap().set_len(bytes).unwrap();
    }

    fn timeout(live: &Live) -> i64 {
        live.connection.pragma_query_value(None, "busy_timeout", |row| row.get(0)).unwrap()
    }

    fn reader(live: &Live) -> Connection {
        let reader = Connection::open(live.files.path()).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM events;").unwrap();
        reader
    }

    #[test]
    fn looks_at_a_log_that_is_held_count_until_it_is_cut_or_short() {
        let directory = tempfile::tempdir().unwrap();
        let mut live = live(&directory);
        for is_cut in [true, false] {
            lengthen_log(&live, LOG_BYTES_REPORTED + 1);
            let reader = reader(&live);
            for look in 1..=HELD_LOOKS_MIN {
                assert_eq!(live.inspect().unwrap(), Inspection::Intact);
                assert_eq!(live.held_looks, look);
                assert_eq!(timeout(&live), WRITER_TIMEOUT.as_millis() as i64);
            }
            if is_cut {
                drop(reader);
            } else {
                lengthen_log(&live, LOG_BYTES_REPORTED);
            }
            live.inspect().unwrap();
            assert_eq!((live.held_looks, log_bytes(&live.files) == 0), (0, is_cut));
            commit(&mut live, 2).unwrap();
        }
    }

    #[test]
    fn a_log_that_is_held_is_told_at_the_third_look_and_not_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut live = live(&directory);
        lengthen_log(&live, LOG_BYTES_REPORTED + 1);
        let _reader = reader(&live);
        let lines = directory.path().join("lines");
        let writer = std::sync::Arc::new(fs::File::create(&lines).unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        let reports = || fs::read_to_string(&lines).unwrap().matches("log grows").count();
        tracing::subscriber::with_default(subscriber, || {
            let counts = [1, 2, 3, 4, 5].map(|_| live.inspect().map(|_| reports()).unwrap());
            assert_eq!(counts, [0, 0, 1, 1, 1]);
        });
    }

    #[test]
    fn a_log_beyond_its_limit_is_cut_before_anything_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut live = live(&directory);
        lengthen_log(&live, LOG_BYTES_MAX + 1);
        let reader = reader(&live);
        assert!(matches!(commit(&mut live, 2), Err(ProjectionError::Retry { .. })));
        drop(reader);
        commit(&mut live, 2).unwrap();
        assert!(log_bytes(&live.files) < LOG_BYTES_MAX);
    }
}
