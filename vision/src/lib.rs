//! What pictures mean and how they look. Pure: no I/O, no threads, no clock; time is that of the frames.
//!
//! | | |
//! |---|---|
//! | [`frame`] | a decoded picture and when it was taken |
//! | [`motion`] | which part of a picture moves |
//! | [`detection`] | from a picture to a model's input, and from its output to objects |
//! | [`policy`] | which frames begin, continue and end an event |
//! | [`drawing`] | annotated and masked pictures, as JPEG |
//! | [`scene`] | a synthetic place, drawn frame by frame |
//! | [`geometry`] | polygons in fractions of a picture |
//!
//! The recorder reads cameras, runs models and writes records; it calls this crate with what it has read.

pub mod detection;
pub mod drawing;
pub mod frame;
pub mod geometry;
pub mod motion;
pub mod policy;
pub mod scene;
#[cfg(test)]
mod testing;
