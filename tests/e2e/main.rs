//! The built programs, used as a person would: real files, real SQLite, real signals, real damage.

#![expect(clippy::unwrap_used, reason = "a test fails where anything does")]

mod agree;
mod bad_input;
mod beside;
mod clocks;
mod comes_back;
mod damage;
mod file_source;
mod full_disk;
mod harness;
mod killed;
mod memory;
mod metrics;
mod no_room;
mod rotation_killed;
mod scrape;
mod session;
mod small_disk;
mod sources;
mod storage;
mod virtual_camera;
