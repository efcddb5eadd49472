//! The SQLite projection and the queries, with real database files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup;
mod blocked;
mod changes;
mod contents;
mod hard_links;
mod held;
mod laws;
mod logs;
mod mended;
mod queries;
mod rebuilt;
mod replaced;
mod schema;
mod setting;
mod store_errors;
mod told;
mod triggers;
