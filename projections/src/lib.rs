//! What a Lenslog recorder makes of its journal for people and programs to read, and the queries.
//!
//! | | |
//! |---|---|
//! | [`sqlite`] | `events.db`: the events as rows, for queries |
//! | [`jsonl`] | `events.json`, `amendments.json`: one JSON object a line, for each local day |
//! | [`plaintext`] | `events.log`: the events of a day, for people to read |
//! | [`day_files`] | what these two have in common, for other formats too |
//! | [`store`] | [`EventStore`]: typed queries of that database |
//! | [`descriptions`] | the queue of events that wait for a description |
//! | [`media`] | the pictures: deletes those that are gone |
//!
//! Every projection can be deleted at any moment: it comes back from the journal. None of them reads a clock, the
//! environment or the configuration while it applies records, and none ever writes to the journal.

mod data_dir;
pub mod day_files;
pub mod descriptions;
pub mod jsonl;
mod layout;
pub mod media;
pub mod plaintext;
mod printable;
mod probe;
pub mod sqlite;
pub mod store;

pub use descriptions::{DescriptionQueue, Descriptions, Waiting};
pub use layout::DataLayout;
pub use plaintext::plaintext_block;
pub use printable::printable;
pub use probe::{lacks_room, room_refused};
pub use sqlite::{free_database_bytes, held_database_log, shorten_database_log};
pub use store::{Cursor, EventQuery, EventStore, Page, StoreError, StoredEvent};
