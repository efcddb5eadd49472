//! The SQLite projection and the queries, with real database files.
mod backup;
mod blocked;
mod changes;
mod contents;
mod hard_links;
mod held;
mod laws;
mod logs;
mod queries;
mod rebuilt;
mod repaired;
mod replaced;
mod reported;
mod schema;
mod setting;
mod store_errors;
mod triggers;
