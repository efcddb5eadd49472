//! Tests of the journal through its public API, and of the bytes that it writes.
//!
//! One program for all: `cargo test -p lenslog-journal --test it power_cuts` runs one module. A campaign's module says
//! which variable makes it longer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod conditions;

mod accidents;
mod append_and_read;
mod branches;
mod clean_ends;
mod copy_and_repair;
mod copying;
mod damage;
mod decisions;
mod failures;
mod forged_bytes;
mod format_page;
mod golden;
mod hostile_bytes;
mod index;
mod keys;
mod large_journals;
mod many_segments;
#[cfg(shuttle)]
mod model;
mod moved_files;
mod power_cuts;
mod processes;
mod pruning;
mod readers;
mod real_files;
mod two_writers;
mod vanished;
