//! Lenslog.

pub mod frame;
pub mod motion;
pub mod source;
