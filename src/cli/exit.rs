//! Exit codes, and which error has which.

use std::process::ExitCode;

use lenslog_journal::Error;
use lenslog_tools::complain;
use lenslog_tools::{explained, is_broken_pipe};

use crate::config::ConfigError;
use crate::detector::DetectorError;
use crate::recorder::StartError;

/// Clean.
pub const EXIT_OK: u8 = 0;
/// Fatal, or something asked for was not done.
pub const EXIT_FATAL: u8 = 1;
/// Configuration or usage.
pub const EXIT_CONFIGURATION: u8 = 2;
/// No room.
pub const EXIT_STORAGE_FULL: u8 = 3;
/// A camera or another dependency is not there.
pub const EXIT_UNAVAILABLE: u8 = 4;

/// Says what went wrong and returns its code.
pub(super) fn tell(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let remedy = match error.downcast_ref() {
        Some(Error::NotFound { .. }) => "; name it with --data DIR",
        _ => "",
    };
    complain!("lenslog: {}{remedy}", explained(error));
    ExitCode::from(code_of(error))
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<ConfigError>().is_some() || error.downcast_ref::<Usage>().is_some() {
        return EXIT_CONFIGURATION;
    }
    if error.downcast_ref::<Unavailable>().is_some() {
        return EXIT_UNAVAILABLE;
    }
    let detector =
        error.downcast_ref::<DetectorError>().or_else(|| match error.downcast_ref()? {
            StartError::Detector(error) => Some(error),
            _ => None,
        });
    match detector {
        Some(DetectorError::Refused { .. }) => return EXIT_CONFIGURATION,
        Some(_) => return EXIT_UNAVAILABLE,
        None => {}
    }
    match error.downcast_ref::<Error>() {
        Some(error) if error.is_storage_full() => EXIT_STORAGE_FULL,
        _ => EXIT_FATAL,
    }
}

/// Something that has to be there is not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unavailable(pub(super) String);

/// The command was called in a way that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);
