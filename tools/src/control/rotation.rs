//! [`RotationReport`]: what a rotation deleted, or would delete, and why the rest stays.

use serde::{Deserialize, Serialize};

/// What a rotation did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RotationReport {
    /// Nothing was done: this is what would be.
    pub dry_run: bool,
    /// Usage before, as `1.2GB / 4GB (30%)`.
    pub before: String,
    /// Usage after it; what is expected, in a dry run.
    pub after: String,
    /// More is used than may be, after it.
    pub is_over_limit: bool,
    /// What went, in this order.
    pub gone: Vec<GoneDay>,
    /// What stays, oldest first.
    pub kept: Vec<KeptDay>,
    /// What did not go as it should.
    pub problems: Vec<String>,
}

/// A day that went, or its pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneDay {
    /// The day.
    pub day: String,
    /// Bytes that came free, or would.
    pub bytes: u64,
    /// Only pictures went; the records of the events stay.
    pub pictures_only: bool,
    /// It went for its age, not for its room.
    pub too_old: bool,
}

/// A day that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDay {
    /// The day.
    pub day: String,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Why it stays.
    pub reason: String,
}
