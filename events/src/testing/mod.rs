//! Events for tests and benches, behind the feature `testing`: any valid event by [strategies], and a
//! deterministic [`sample`] of ordinary days.
//!
//! Published for the crates that build on these events; nothing of it belongs into a program.

mod sample;
pub mod strategies;

pub use sample::sample;
pub use strategies::{detected, event};

use proptest::test_runner::{Config, RngSeed};

/// How property tests run here: this many cases, the same at every run.
///
/// `PROPTEST_RNG_SEED=7` runs others; a failure prints the smallest case, and a new test keeps it.
#[must_use]
pub fn config(cases: u32) -> Config {
    let environment = Config::default();
    let rng_seed = match environment.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    Config { cases, rng_seed, failure_persistence: None, ..environment }
}
