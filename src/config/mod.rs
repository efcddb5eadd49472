//! The configuration: what can be set, its defaults, where it is found and what is wrong with it.
//!
//! TOML, overridden by the environment, overridden by flags. This module reads files and the environment once, at
//! start and on a reload; everything behind it gets plain values.

mod error;
mod init;
mod keys;
mod load;
mod notify;
mod seconds;
mod types;
mod validate;

pub use error::ConfigError;
pub use init::{example, find_camera, is_system_wide};
pub use load::{Overrides, load};
pub use notify::{NotifyBody, NotifyTarget};
pub use seconds::Seconds;
pub use types::{
    Camera, Config, Description, DetectorConfig, Images, KeepImages, Log, LogFormat, StorageConfig,
    WhenFull, offset_minutes,
};
pub(crate) use validate::PROXY_OF_ENVIRONMENT;
pub use validate::Warning;
