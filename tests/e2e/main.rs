//! The built programs, used as a person would: real files, real SQLite, real signals, real damage.

#![expect(clippy::unwrap_used, reason = "a test fails where anything does")]

mod accidents;
mod agree;
mod away;
mod bad_input;
mod beside;
mod clocks;
mod comes_back;
mod damage;
mod descriptions;
mod detected_clip;
mod detector;
mod disk;
mod ends;
mod file_source;
mod full_disk;
mod harness;
mod killed;
mod limits;
mod memory;
mod metrics;
mod model_server;
mod models;
mod network_cameras;
mod no_room;
mod notify;
mod objects;
mod obstacles;
mod onnx;
mod pictures;
mod programs;
mod quota;
mod rotation_killed;
mod rotation_steps;
mod rtsp_camera;
mod scrape;
mod sender_clocks;
mod session;
mod small_disk;
mod sources;
mod storage;
mod two_disks;
mod uploads;
mod virtual_camera;
mod why;
