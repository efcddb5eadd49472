//! Prints an error and returns its exit code: the table of [`lenslog_tools`], and the errors of the recorder.

use std::process::ExitCode;

use lenslog_journal::Error;
use lenslog_tools::{EXIT_UNAVAILABLE, EXIT_USAGE, complain, exit_code, explained, is_broken_pipe};

use crate::config::ConfigError;
use crate::detector::DetectorError;
use crate::recorder::RecorderStartError;

/// Prints the error and returns its exit code.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
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
    if error.is::<ConfigError>() {
        return EXIT_USAGE;
    }
    let detector =
        error.downcast_ref::<DetectorError>().or_else(|| match error.downcast_ref()? {
            RecorderStartError::Detector(error) => Some(error),
            _ => None,
        });
    match detector {
        Some(DetectorError::Refused { .. }) => EXIT_USAGE,
        Some(_) => EXIT_UNAVAILABLE,
        None => exit_code(error),
    }
}
