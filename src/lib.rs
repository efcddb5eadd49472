//! Lenslog.

pub mod frame;
pub mod motion;
pub mod picture;
pub mod policy;
pub mod source;
