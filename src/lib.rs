//! Lenslog, the recorder: camera pictures become events in a journal, and everything else is made from that.
//!
//! ```text
//! source ─→ motion ─→ detector ─→ policy ─→ picture on disk ─→ recorder::EventWriter ─→ journal ─→ projections
//! ```
//!
//! | | |
//! |---|---|
//! | [`source`], [`frame`] | where pictures come from |
//! | [`motion`], [`policy`], [`picture`] | what they mean and how they look; pure |
//! | [`detector`] | what is in them, by a model in a process of its own |
//! | [`recorder`] | the threads, the control socket, the start and the end |
//! | [`ingest`] | events that others saw |
//! | [`metrics`] | figures about all of it, and who reads them |
//! | [`storage`] | how much everything takes, what may be deleted, and deleting it |
//! | [`config`], [`logging`], [`redact`] | what it is told, what it tells, what it never tells |
//! | [`cli`] | a file per command of the `lenslog` program |

pub mod cli;
pub mod config;
pub mod description;
pub mod detector;
pub mod frame;
pub mod ingest;
pub mod interrupt;
pub mod layout;
pub mod logging;
pub mod metrics;
pub mod motion;
pub mod picture;
pub mod policy;
pub mod recorder;
pub mod redact;
pub mod source;
pub mod storage;
#[cfg(test)]
mod testing;

/// The examples of the README and of docs/EMBEDDING.md are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/EMBEDDING.md")]
struct Examples;
