//! The engine with a ledger: projections, laws, runners, verification.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod contract;
mod decisions;
mod deliveries;
mod event_log;
mod laws;
mod runner;
mod storms;
mod verdicts;
