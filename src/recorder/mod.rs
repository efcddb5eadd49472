//! The recorder.

mod camera;
mod counters;
mod images;
mod pipeline;
mod writer;
