//! What a Lenslog recorder makes of its journal for people and programs to read, and the queries.
//!
//! | | |
//! |---|---|
//! | [`sqlite`] | `events.db`: the events as rows, for queries |
//! | [`media`] | the pictures: deletes those that are gone |
//!
//! Every projection can be deleted at any moment: it comes back from the journal. None of them reads a clock, the
//! environment or the configuration while it applies records, and none ever writes to the journal.

mod data_dir;
mod layout;
pub mod media;
pub mod sqlite;
pub mod store;

pub use layout::Layout;
pub use store::{Cursor, EventQuery, EventStore, Page, StoreError, StoredEvent};
