//! Event sourcing on a Lenslog journal.

mod checkpoint;
mod follow;
pub mod laws;
mod projection;
mod rebuild;
mod recorded;
mod runner;
mod verify;
mod vocabulary;

pub use checkpoint::{Checkpoint, PARKED_MAX, PARKED_REASON_CHARS_MAX, Parked};
pub use projection::{
    CommitKind, DIFFERENCES_MAX, Inspection, Opened, Projection, ProjectionError, Scope, Spec,
    Verifier,
};
pub use rebuild::{Progress, RebuildError, RebuildOptions, Rebuilt, rebuild};
pub use recorded::{Fact, Recorded};
pub use runner::{OnLost, ProjectionState, ProjectionStatus, Runner};
pub use verify::{ProjectionReport, VerifyReport, verify};
pub use vocabulary::{DecodeError, Encoded, Vocabulary};
