//! The `replay` program: on pruned and empty journals, beside writers, and on media that fail.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod follow;
mod replay;
mod rescue;
