//! The projections as their readers see them: the database and its queries, and the text files of days.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod database;
mod day_files;
