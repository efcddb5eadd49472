//! The built programs, used as a person would: real files, real SQLite, real signals, real damage.

#![expect(clippy::unwrap_used, reason = "a test fails where anything does")]

mod bad_input;
mod beside;
mod comes_back;
mod damage;
mod detected_clip;
mod detector;
mod file_source;
mod full_disk;
mod harness;
mod killed;
mod memory;
mod metrics;
mod models;
mod objects;
mod onnx;
mod rotation_killed;
mod scrape;
mod session;
mod small_disk;
mod storage;
mod virtual_camera;
