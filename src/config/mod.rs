//! The configuration: what can be set, its defaults, where it is found and what is wrong with it.
//!
//! TOML, overridden by the environment, overridden by flags. This module reads files and the environment once, at
//! start and on a reload; everything behind it gets plain values.

mod error;
mod init;
mod keys;
mod load;
mod seconds;
mod types;
mod validate;

pub use error::ConfigError;
pub use init::{example, find_camera};
pub use load::{Overrides, load, load_text};
pub use seconds::Seconds;
pub use types::{
    Camera, CameraEvents, CameraMotion, Config, Description, Detector, Events, Images, KeepImages,
    Log, LogFormat, Metrics, Motion, Storage, Time, WhenFull,
};
pub use validate::Warning;
