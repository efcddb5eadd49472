//! [`open`]: opens databases so that SQLite stores nothing to the index of a log that the file system has no room for.
//!
//! SQLite maps the index (`-shm`) into memory. Where a page of it needs room that the file system does not give, a store
//! to it is no error but a SIGBUS: a full disk, a quota on btrfs, a quota on blocks smaller than a page. `statvfs` knows
//! of no quota. So the kernel is asked to make the pages writable (`MADV_POPULATE_WRITE`) as late as possible before
//! each store: before a lock under which SQLite stores, before a new part is used, and after each write to the log and
//! the database, since a write that meets a quota takes the pages away again. Kernels before 5.14 cannot be asked.
//!
//! This is a shim of SQLite's own VFS: everything else goes through as it is.
#![expect(
    unsafe_code,
    reason = "SQLite shows its mapping to nothing but a VFS; see the SAFETY comments"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::OnceLock;

use rusqlite::{Connection, OpenFlags, Result, ffi};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use super::files::DatabaseFiles;

/// Name of the VFS.
const NAME: &CStr = c"lenslog";
/// Bytes of a part of the index, as SQLite maps them.
const REGION_BYTES: c_int = 32 << 10;
/// The lock of the first reader; those before it are held by processes that write.
const READ_LOCK_FIRST: c_int = 3;

/// So often the pages are made writable until all of them are at once.
const PASSES_MAX: u32 = 4;

type File = ffi::sqlite3_file;
type Open = unsafe extern "C" fn(
    *mut ffi::sqlite3_vfs,
    *const c_char,
    *mut File,
    c_int,
    *mut c_int,
) -> c_int;

/// SQLite's own VFS.
struct Original {
    open: Open,
    file_bytes: usize,
}

/// SQLite's own calls for a kind of file, and ours.
struct Table {
    original: &'static ffi::sqlite3_io_methods,
    methods: ffi::sqlite3_io_methods,
}

/// What is kept behind SQLite's own data of an open file.
union Slot {
    /// Of a database: whether its index is mapped.
    has_index: bool,
    /// Of a log: its database.
    database: *mut File,
}

static ORIGINAL: OnceLock<Option<Original>> = OnceLock::new();
static DATABASE: OnceLock<Table> = OnceLock::new();
static LOG: OnceLock<Table> = OnceLock::new();

/// Opens a database.
///
/// # Errors
///
/// Those of SQLite; `SQLITE_CANTOPEN` where something else has the name of a log or an index.
pub(super) fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    if let Some(foreign) = DatabaseFiles::at(path).foreign_companion() {
        let problem = format!("{} is no regular file; move it away", foreign.display());
        let error = ffi::Error::new(ffi::SQLITE_CANTOPEN);
        return Err(rusqlite::Error::SqliteFailure(error, Some(problem)));
    }
    match ORIGINAL.get_or_init(register) {
        Some(_) => Connection::open_with_flags_and_vfs(path, flags, NAME),
        None => Connection::open_with_flags(path, flags),
    }
}

/// Whether the index of the log can be written, where it is mapped.
///
/// # Errors
///
/// Those of SQLite.
pub(super) fn index_has_room(connection: &Connection) -> Result<bool> {
    let mut file: *mut File = null_mut();
    // SAFETY: the handle is that of an open connection, and the operation stores one pointer at the address given.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        )
    };
    if code != ffi::SQLITE_OK {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    }
    // SAFETY: SQLite returned it for an open connection; the table is compared before the file is taken for ours.
    unsafe {
        let is_ours = file.as_ref().is_some_and(|file| {
            DATABASE
                .get()
                .is_some_and(|table| std::ptr::eq(file.pMethods, &raw const table.methods))
        });
        Ok(!is_ours || has_room(file))
    }
}

/// Registers the VFS, for as long as the process lives.
fn register() -> Option<Original> {
    // SAFETY: the default VFS is a constant of SQLite's; the copy is never freed.
    unsafe {
        let default = ffi::sqlite3_vfs_find(std::ptr::null()).as_ref()?;
        let original =
            Original { open: default.xOpen?, file_bytes: default.szOsFile.try_into().ok()? };
        let shim = Box::leak(Box::new(ffi::sqlite3_vfs {
            szOsFile: default.szOsFile + size_of::<Slot>() as c_int,
            pNext: null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open_file),
            ..*default
        }));
        (ffi::sqlite3_vfs_register(shim, 0) == ffi::SQLITE_OK).then_some(original)
    }
}

fn original() -> Option<&'static Original> {
    ORIGINAL.get().and_then(Option::as_ref)
}

fn own(table: &'static OnceLock<Table>) -> Option<&'static ffi::sqlite3_io_methods> {
    table.get().map(|table| table.original)
}

/// What is kept of a file that [`open_file`] opened.
unsafe fn slot(file: *mut File) -> *mut Slot {
    let bytes = original().map_or(0, |original| original.file_bytes);
    // SAFETY: SQLite makes each file as large as the shim says, which is so much larger.
    unsafe { file.cast::<u8>().add(bytes).cast() }
}

/// `xOpen`: replaces the calls of databases and logs.
unsafe extern "C" fn open_file(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut File,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(original) = original() else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: SQLite's own arguments, given on to its own function.
    let code = unsafe { (original.open)(vfs, name, file, flags, out_flags) };
    if code != ffi::SQLITE_OK {
        return code;
    }
    let (table, content) = if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
        (&DATABASE, Slot { has_index: false })
    } else if flags & ffi::SQLITE_OPEN_WAL != 0 {
        // SAFETY: the name is that of a log, as SQLite gives it to its VFS.
        (&LOG, Slot { database: unsafe { ffi::sqlite3_database_file_object(name) } })
    } else {
        return code;
    };
    // SAFETY: the file is open: its methods are one of SQLite's constant tables. The slot is ours.
    unsafe {
        slot(file).write_unaligned(content);
        let Some(methods) = (*file).pMethods.as_ref() else { return code };
        let table = table.get_or_init(|| replaced(table, methods));
        // Any other table is that of files that are not locked, and are read alone.
        if std::ptr::eq(methods, table.original) {
            (*file).pMethods = &raw const table.methods;
        }
    }
    code
}

fn replaced(table: &'static OnceLock<Table>, original: &'static ffi::sqlite3_io_methods) -> Table {
    let methods = if std::ptr::eq(table, &raw const DATABASE) {
        ffi::sqlite3_io_methods {
            xWrite: Some(write_database),
            xSync: Some(sync_database),
            xLock: Some(lock_database),
            xShmMap: Some(map_index),
            xShmLock: Some(lock_index),
            xShmUnmap: Some(unmap_index),
            ..*original
        }
    } else {
        ffi::sqlite3_io_methods { xWrite: Some(write_log), ..*original }
    };
    Table { original, methods }
}

/// `xShmMap`: a part of the index that is new is not used before it can be written.
unsafe extern "C" fn map_index(
    file: *mut File,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    at: *mut *mut c_void,
) -> c_int {
    let Some(map) = own(&DATABASE).and_then(|methods| methods.xShmMap) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    // SAFETY: SQLite's own arguments, given on to its own function; the slot is ours.
    unsafe {
        let code = map(file, region, bytes, extend, at);
        if code == ffi::SQLITE_OK {
            slot(file).write_unaligned(Slot { has_index: true });
        }
        // A reader that only looks at it stores nothing.
        if extend == 0 { code } else { with_room(code, file) }
    }
}

/// `xShmLock`: no lock under which SQLite stores is taken while the index cannot be written.
unsafe extern "C" fn lock_index(
    file: *mut File,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let Some(lock) = own(&DATABASE).and_then(|methods| methods.xShmLock) else {
        return ffi::SQLITE_IOERR_SHMLOCK;
    };
    let stores = flags == ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_EXCLUSIVE;
    // SAFETY: SQLite calls this with an open database.
    if stores && !unsafe { has_room(file) } {
        // A reader that cannot move a mark goes on with one that is there.
        let is_mark = offset >= READ_LOCK_FIRST;
        return if is_mark { ffi::SQLITE_BUSY } else { ffi::SQLITE_FULL };
    }
    // SAFETY: SQLite's own arguments, given on to its own function.
    unsafe { lock(file, offset, count, flags) }
}

/// `xShmUnmap`.
unsafe extern "C" fn unmap_index(file: *mut File, delete: c_int) -> c_int {
    let Some(unmap) = own(&DATABASE).and_then(|methods| methods.xShmUnmap) else {
        return ffi::SQLITE_IOERR;
    };
    // SAFETY: SQLite's own arguments, given on to its own function; the slot is ours.
    unsafe {
        slot(file).write_unaligned(Slot { has_index: false });
        unmap(file, delete)
    }
}

/// `xLock`: a connection that closes last locks the whole database, and then no part of its index.
unsafe extern "C" fn lock_database(file: *mut File, level: c_int) -> c_int {
    let Some(lock) = own(&DATABASE).and_then(|methods| methods.xLock) else {
        return ffi::SQLITE_IOERR_LOCK;
    };
    // SAFETY: SQLite calls this with an open database, and its own arguments are given on to its own function.
    unsafe {
        match level == ffi::SQLITE_LOCK_EXCLUSIVE && !has_room(file) {
            // The log stays as it is, for the next one that opens it.
            true => ffi::SQLITE_BUSY,
            false => lock(file, level),
        }
    }
}

/// `xWrite` of a database.
unsafe extern "C" fn write_database(
    file: *mut File,
    bytes: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let Some(write) = own(&DATABASE).and_then(|methods| methods.xWrite) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: SQLite's own arguments, given on to its own function.
    unsafe { with_room(write(file, bytes, count, offset), file) }
}

/// `xSync` of a database: then SQLite notes in the index how much of the log it has copied.
unsafe extern "C" fn sync_database(file: *mut File, flags: c_int) -> c_int {
    let Some(sync) = own(&DATABASE).and_then(|methods| methods.xSync) else {
        return ffi::SQLITE_IOERR_FSYNC;
    };
    // SAFETY: SQLite's own arguments, given on to its own function.
    unsafe { with_room(sync(file, flags), file) }
}

/// `xWrite` of a log: then SQLite enters in the index what it has written. What is not entered does not count.
unsafe extern "C" fn write_log(
    file: *mut File,
    bytes: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let Some(write) = own(&LOG).and_then(|methods| methods.xWrite) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: SQLite's own arguments, given on to its own function. A log is closed before its database.
    unsafe { with_room(write(file, bytes, count, offset), (*slot(file)).database) }
}

/// What a call returned; where it succeeded and the index cannot be written any more, that.
unsafe fn with_room(code: c_int, database: *mut File) -> c_int {
    // SAFETY: the database is open.
    let lacks_room = code == ffi::SQLITE_OK && !unsafe { has_room(database) };
    if lacks_room { ffi::SQLITE_FULL } else { code }
}

/// Whether every part of the index that is mapped can be written.
///
/// Making one page writable may take it from another: a quota has the file system write out what is there. So all of
/// them are writable only once the kernel had nothing to do.
unsafe fn has_room(database: *mut File) -> bool {
    // SAFETY: the database is open and ours.
    if !unsafe { (*slot(database)).has_index } {
        return true;
    }
    for _ in 0..PASSES_MAX {
        let before = page_faults();
        // SAFETY: as above.
        if !unsafe { is_populated(database) } {
            return false;
        }
        if page_faults() == before {
            return true;
        }
    }
    false
}

/// Has the kernel make every part of the index writable that is mapped, and says whether it could.
unsafe fn is_populated(database: *mut File) -> bool {
    let Some(map) = own(&DATABASE).and_then(|methods| methods.xShmMap) else { return true };
    for region in 0.. {
        let mut at = null_mut();
        // SAFETY: the database is open and ours; nothing is made longer.
        let code = unsafe { map(database, region, REGION_BYTES, 0, &raw mut at) };
        if code != ffi::SQLITE_OK || at.is_null() {
            break;
        }
        // SAFETY: SQLite keeps the part mapped as a whole, and no byte of it changes.
        let populated = unsafe { madvise(at, REGION_BYTES as usize, Advice::LinuxPopulateWrite) };
        // Any other error means that the kernel cannot be asked, or that the mapping is read-only.
        if populated == Err(Errno::FAULT) {
            return false;
        }
    }
    true
}

/// How often the kernel has made a page usable for this thread.
fn page_faults() -> libc::c_long {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills what is given to it; where it fails, all of it is zero.
    unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        let usage = usage.assume_init();
        usage.ru_minflt + usage.ru_majflt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarded_database_works_as_any_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        let connection = open(&path, OpenFlags::default()).unwrap();
        assert!(index_has_room(&connection).unwrap(), "there is none yet");
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE x (y);").unwrap();
        let other = open(&path, OpenFlags::default()).unwrap();
        for value in 0..6000 {
            connection.execute("INSERT INTO x VALUES (?)", [value]).unwrap();
        }
        let count = |connection: &Connection| -> i64 {
            connection.query_row("SELECT count(*) FROM x", [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count(&connection), count(&other)), (6000, 6000));
        assert!(index_has_room(&connection).unwrap());
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = other.query_row(checkpoint, [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
        drop((connection, other));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_index_that_cannot_be_written_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        let connection = open(&path, OpenFlags::default()).unwrap();
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE x (y);").unwrap();
        let reader = open(&path, OpenFlags::default()).unwrap();
        let count = || reader.query_row("SELECT count(*) FROM x", [], |row| row.get::<_, i64>(0));
        assert_eq!(count().unwrap(), 0);
        // Pages behind the end of a file are pages that the file system has no room for.
        let index = directory.path().join("events.db-shm");
        let content = std::fs::read(&index).unwrap();
        let file =
            std::mem::ManuallyDrop::new(std::fs::File::options().write(true).open(&index).unwrap());
        file.set_len(4096).unwrap();
        assert!(!index_has_room(&connection).unwrap());
        let error = connection.execute("INSERT INTO x VALUES (1)", []).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
        file.set_len(content.len() as u64).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&*file, &content, 0).unwrap();
        assert_eq!(connection.execute("INSERT INTO x VALUES (1)", []).unwrap(), 1);
        assert_eq!(count().unwrap(), 1);
    }
}
