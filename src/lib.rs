//! Lenslog.

pub mod frame;
pub mod source;
