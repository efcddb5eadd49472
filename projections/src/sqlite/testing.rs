//! What unit tests outside of this module need of a database.

use rusqlite::Connection;

use super::migrations::{MIGRATIONS, migrate};

/// A database in memory with the newest schema and no events.
pub(crate) fn empty_database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    migrate(&connection, MIGRATIONS, 0).unwrap();
    connection
}
