//! The projections into one text file a day, as others see them: with real files, and on a simulated disk that loses
//! power.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod follower;
mod laws;
mod machine;
mod power_cuts;
