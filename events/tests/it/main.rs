//! Events on the wire, in JSON, and their limits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod codec;
mod decoding;
mod golden;
mod ingest;
mod json_lines;
mod limits;
