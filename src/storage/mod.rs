//! Storage: how much everything takes, what may be deleted, and deleting it.
//!
//! | file | what it does |
//! |---|---|
//! | `monitor.rs`, `tree.rs`, `volume.rs` | count what is used and what is free |
//! | `stats.rs`, `units.rs` | usage, thresholds and their words; pure |
//! | `policy/` | what may go, in which order, and why the rest stays; pure |
//! | `clock_trust.rs`, `kernel_clock.rs` | whether the clock is to be believed |
//! | `retention.rs` | counts what each day takes, has the policy decide, and reports |
//! | `rotator.rs`, `pictures.rs` | delete step by step |
//! | `checker.rs` | one check: count, warn, rotate, report that all is full |
//! | `guard.rs` | the thread that checks, and admission of new events |
//! | `ballast.rs` | the ballast file: room that is kept back for deleting |
//! | `mount.rs` | whether a directory is a mount point |
//!
//! Nothing here ever unlinks a file of a recording: it journals tombstones, which the projections and the journal
//! apply.

mod ballast;
mod checker;
mod clock_trust;
mod guard;
mod kernel_clock;
mod monitor;
mod mount;
mod pictures;
mod policy;
mod retention;
mod rotator;
mod stats;
#[cfg(test)]
mod tests;
mod tree;
mod units;
mod volume;

pub use ballast::Ballast;
pub use guard::{Admission, StorageGuard};
pub use monitor::StorageMonitor;
pub use mount::missing_mount;
pub use policy::Mode;
pub use retention::RetentionPlanner;
pub use rotator::LogRotator;
pub use stats::StorageStats;
pub use units::{Gigabytes, Megabytes};
