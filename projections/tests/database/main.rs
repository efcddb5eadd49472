//! The SQLite projection and the queries, with real database files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contents;
mod laws;
mod logs;
mod mended;
mod queries;
mod replaced;
mod schema;
mod setting;
mod store_errors;
