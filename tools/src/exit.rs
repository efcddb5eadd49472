//! The exit codes of `lenslog` and `replay`, and which error has which.

use std::io::ErrorKind;

use lenslog_control::ClientError;
use lenslog_engine::{ProjectionError, RebuildError};
use lenslog_journal::Error;

/// Done, or equal.
pub const EXIT_OK: u8 = 0;
/// The command failed, or a projection differs from the journal.
pub const EXIT_FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const EXIT_USAGE: u8 = 2;
/// The storage is full.
pub const EXIT_STORAGE_FULL: u8 = 3;
/// A dependency is unavailable: a camera, a detector, a recorder that does not answer.
pub const EXIT_UNAVAILABLE: u8 = 4;
/// The journal is damaged.
pub const EXIT_DAMAGED: u8 = 5;

/// The error of a wrong command line or configuration: [`EXIT_USAGE`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Returns from the function with a [`Usage`] error.
macro_rules! usage {
    ($($part:tt)*) => {
        return Err($crate::Usage(format!($($part)*)).into())
    };
}

/// The error of a missing dependency: [`EXIT_UNAVAILABLE`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// The exit code of an error.
///
/// Where several commands run, the highest code of them counts: damage hides no other failure.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(EXIT_FAILED)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<Usage>() {
        return Some(EXIT_USAGE);
    }
    if cause.is::<Unavailable>() {
        return Some(EXIT_UNAVAILABLE);
    }
    if let Some(ClientError::Connect { .. } | ClientError::Silent(_)) = cause.downcast_ref() {
        return Some(EXIT_UNAVAILABLE);
    }
    if let Some(error) = cause.downcast_ref::<RebuildError>() {
        return Some(rebuild_code(error));
    }
    match cause.downcast_ref::<Error>()? {
        error if error.is_storage_full() => Some(EXIT_STORAGE_FULL),
        Error::Pruned { .. } => Some(EXIT_USAGE),
        _ => None,
    }
}

/// The exit code of a rebuild that failed.
pub(crate) fn rebuild_code(error: &RebuildError) -> u8 {
    let is_full = |error: &std::io::Error| {
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    };
    match error {
        RebuildError::Damaged { .. } | RebuildError::Ahead { .. } => EXIT_DAMAGED,
        RebuildError::Journal(error) if error.is_storage_full() => EXIT_STORAGE_FULL,
        RebuildError::Projection(ProjectionError::Retry { source, .. }) if is_full(source) => {
            EXIT_STORAGE_FULL
        }
        _ => EXIT_FAILED,
    }
}

/// Whether the reader of our output has closed it, as `replay cat | head` does.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_broken = |kind| kind == ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| is_broken(error.kind()))
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|error| error.io_error_kind().is_some_and(is_broken))
    })
}

/// An error with its causes in one line. A cause that the text before it contains is not repeated.
#[must_use]
pub fn explained(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyhow::Context as _;
    use lenslog_journal::Seq;

    use super::*;

    #[test]
    fn each_error_has_its_code_with_or_without_context() {
        let full = || std::io::Error::from(ErrorKind::StorageFull);
        let denied = || std::io::Error::from(ErrorKind::PermissionDenied);
        let io =
            |source| Error::Io { operation: "write", path: "a".into(), source: Arc::new(source) };
        let projection = |source| {
            RebuildError::from(ProjectionError::Retry { what: "write", path: "a".into(), source })
        };
        let cases: [(anyhow::Error, u8); 9] = [
            (Usage("a".to_owned()).into(), EXIT_USAGE),
            (Error::Pruned { floor: Seq(7) }.into(), EXIT_USAGE),
            (io(full()).into(), EXIT_STORAGE_FULL),
            (io(denied()).into(), EXIT_FAILED),
            (projection(full()).into(), EXIT_STORAGE_FULL),
            (projection(denied()).into(), EXIT_FAILED),
            (RebuildError::Damaged { lost: Vec::new() }.into(), EXIT_DAMAGED),
            (Unavailable("a".to_owned()).into(), EXIT_UNAVAILABLE),
            (anyhow::anyhow!("a"), EXIT_FAILED),
        ];
        for (error, code) in cases {
            assert_eq!(exit_code(&error), code, "{error:?}");
            let wrapped = Err::<(), _>(error).context("while trying").unwrap_err();
            assert_eq!(exit_code(&wrapped), code, "{wrapped:?}");
        }
    }
}
