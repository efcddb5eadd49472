//! Storage: how much everything takes, what may be deleted, and deleting it.
//!
//! | file | what it does |
//! |---|---|
//! | `monitor.rs`, `tree.rs`, `volume.rs` | count what is used and what is free |
//! | `stats.rs`, `amount.rs`, `level.rs` | figures, words, thresholds; pure |
//! | `policy/` | what may go, in which order, and why the rest stays; pure |
//! | `clock_trust.rs`, `kernel_clock.rs` | whether the clock is to be believed |
//! | `surveyor.rs` | looks at what there is and asks the policy |
//! | `rotator.rs`, `pictures.rs`, `report.rs` | delete step by step, and report |
//! | `guard.rs` | the thread that checks, warns, rotates and says when all is full |
//! | `reserve.rs` | room that is kept back for deleting |
//! | `mount.rs` | whether a directory is a mount point |
//!
//! Nothing here ever unlinks a file of a recording: it journals tombstones, which the projections and the journal
//! apply.

mod amount;
mod clock_trust;
mod guard;
mod kernel_clock;
mod level;
mod monitor;
mod mount;
mod pictures;
mod policy;
mod report;
mod reserve;
mod rotator;
mod stats;
mod surveyor;
#[cfg(test)]
mod tests;
mod tree;
mod volume;

pub use amount::{Gigabytes, Megabytes};
pub use guard::{StorageFigures, StorageGuard, Tell};
pub use level::Levels;
pub use monitor::StorageMonitor;
pub use mount::{is_mounted, missing_mount};
pub use policy::{DayData, Mode, Plan, Protection, Rules, Situation, Step, Why, plan};
pub use report::dry_run;
pub use reserve::Reserve;
pub use rotator::LogRotator;
pub use stats::{ROTATION_PERCENT, StorageStats, TARGET_PERCENT, WARNING_PERCENT};
pub use surveyor::{Survey, Surveyor};
