//! The SQLite projection and the queries, with real database files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod queries;
mod replaced;
mod setting;
mod store_errors;
