//! [`LineError`]: why a line of `lenslog ingest` is no event.

use lenslog_journal::Timestamp;

use crate::InvalidEvent;
use crate::limits::{FUTURE_HOURS_MAX, LINE_BYTES_MAX, LINE_DEPTH_MAX, LINE_VALUES_MAX};

/// Why a line is no event. Prints as one line, to stand behind `line 17: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The line is longer than [`LINE_BYTES_MAX`]; who reads lines reports it without keeping the rest.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// A byte of the line begins nothing that is UTF-8.
    #[error("not UTF-8 at column {column}")]
    NotUtf8 {
        /// Where, in bytes from 1.
        column: usize,
    },
    /// The line is not one JSON value, or a number is too large for one.
    #[error("not JSON at column {column}: {reason}")]
    NotJson {
        /// Where, in bytes from 1.
        column: usize,
        /// What the parser met there.
        reason: String,
    },
    /// The line is JSON, but no object.
    #[error("the line is {found}; expected a JSON object")]
    NotAnObject {
        /// What it is.
        found: String,
    },
    /// An object in the line has a key twice.
    #[error("the field {field} occurs twice")]
    DuplicateField {
        /// The key, quoted and shortened.
        field: String,
    },
    /// The line holds more JSON values than an event can.
    #[error("the line holds more than {LINE_VALUES_MAX} values")]
    TooManyValues,
    /// The line is nested deeper than an event can be.
    #[error("the line is nested more than {LINE_DEPTH_MAX} deep")]
    TooDeep,
    /// A required field is not there.
    #[error("{field} is missing; expected {expected}")]
    Missing {
        /// The field, as a path.
        field: String,
        /// What it must hold.
        expected: String,
    },
    /// A field has the wrong type or is beyond its limit.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// The timestamp lies more than [`FUTURE_HOURS_MAX`] hours ahead of the clock.
    #[error(
        "timestamp is {found}; expected at most {FUTURE_HOURS_MAX} hours ahead of the clock ({now})"
    )]
    InTheFuture {
        /// The timestamp.
        found: Timestamp,
        /// What the clock showed.
        now: Timestamp,
    },
}
