//! An embedded event store for Linux on a Lenslog journal: typed events, decisions, projections.
//!
//! A program journals facts and derives everything else from them. Its [`EventCodec`] says what the facts mean. An
//! [`EventLog`] appends and reads them by [query](lenslog_journal::Query). A [`Decision`] reads the events that it depends on
//! and is appended only if it still holds. [`Projection`]s follow the journal, each in a thread of its own ([`Runner`]). They can
//! be deleted and are rebuilt ([`rebuild()`]); they can be compared with the journal at any time ([`verify()`]). The engine
//! knows no cameras, no SQLite and no file formats, and uses no async runtime.
//!
//! # A thermometer
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::time::Duration;
//!
//! use lenslog_engine::{CodecError, Encoded, EventCodec, EventLog, Fact, Recorded, Reducer};
//! use lenslog_journal::{Kind, Query, Tags};
//!
//! /// What this program journals: readings in tenths of a degree.
//! #[derive(Debug, Clone, PartialEq)]
//! struct Reading { room: String, tenths: i16 }
//!
//! struct Thermometer;
//!
//! impl EventCodec for Thermometer {
//!     type Event = Reading;
//!
//!     fn encode(reading: &Reading) -> Result<Encoded, CodecError> {
//!         let mut payload = reading.tenths.to_le_bytes().to_vec();
//!         payload.extend_from_slice(reading.room.as_bytes());
//!         let tags = Tags::new([format!("room:{}", reading.room)])?;
//!         Ok(Encoded::new(Kind(1), 1, payload).tags(tags))
//!     }
//!
//!     fn decode(kind: Kind, _version: u16, payload: &[u8]) -> Result<Option<Reading>, CodecError> {
//!         if kind != Kind(1) {
//!             return Ok(None); // of another program, or of a newer version
//!         }
//!         let (tenths, room) = payload.split_first_chunk().ok_or("shorter than two bytes")?;
//!         let room = std::str::from_utf8(room)?.to_owned();
//!         Ok(Some(Reading { room, tenths: i16::from_le_bytes(*tenths) }))
//!     }
//! }
//!
//! /// Derived from the readings: the highest of each room.
//! #[derive(Debug, Default, PartialEq)]
//! struct Highs(BTreeMap<String, i16>);
//!
//! impl Reducer<Thermometer> for Highs {
//!     const NAME: &'static str = "highs";
//!     const VERSION: u32 = 1;
//!
//!     fn add(&mut self, record: &Recorded<Reading>) {
//!         if let Fact::Event(reading) = &record.fact {
//!             let high = self.0.entry(reading.room.clone()).or_insert(reading.tenths);
//!             *high = reading.tenths.max(*high);
//!         }
//!     }
//!
//!     fn to_text(&self) -> String {
//!         self.0.iter().map(|(room, tenths)| format!("{tenths} {room}\n")).collect()
//!     }
//!
//!     fn from_text(text: &str) -> Option<Self> {
//!         let line = |line: &str| {
//!             let (tenths, room) = line.split_once(' ')?;
//!             Some((room.to_owned(), tenths.parse().ok()?))
//!         };
//!         text.lines().map(line).collect::<Option<_>>().map(Highs)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let (log, highs) = EventLog::<Thermometer>::open(directory)?.reduce::<Highs>("highs.txt").start()?;
//! let mut last = None;
//! for (room, tenths) in [("attic", 312), ("cellar", 118), ("attic", 305)] {
//!     last = Some(log.append(&Reading { room: room.to_owned(), tenths })?); // survives a power cut
//! }
//! let seq = last.ok_or("nothing was appended")?;
//! assert_eq!(highs.at_least(seq, Duration::from_secs(10))?.read(|highs| highs.0["attic"]), 312);
//! assert_eq!(log.read(&Query::tag("room:attic"), ..)?.count(), 2);
//! log.close()?;
//! assert!(std::fs::read_to_string(directory.join("highs.txt"))?.ends_with("---\n312 attic\n118 cellar\n"));
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! | module | task |
//! |---|---|
//! | `event_log`, `submit` | the handle of an embedder; appends that are synced later |
//! | `codec`, `read` | events and their bytes; events of a query, decoded |
//! | `decision`, `testkit` | commands and their consistency boundary; scenarios and laws of commands |
//! | `projection`, `snapshot`, `handle` | the trait; a value in one file; reading it live |
//! | `runner`, `follow`, `status` | a thread a projection: following, backing off, waiting |
//! | [`delivery`] | effects outside of the program, sent at least once |
//! | `rebuild`, `verify`, `laws` | rebuilding, comparing, the laws of projections |
//! | `checkpoint`, `sealed`, `aside` | how far a projection is; small files with a checksum; replaced files |

mod aside;
mod checkpoint;
mod codec;
mod decision;
pub mod delivery;
mod event_log;
mod follow;
mod handle;
#[cfg(feature = "simulation")]
pub mod laws;
mod projection;
mod read;
mod rebuild;
mod runner;
pub mod sealed;
mod snapshot;
mod status;
mod submit;
#[cfg(feature = "simulation")]
pub mod testkit;
mod verify;

pub use aside::{Aside, OLD_MAX, is_aside, next_number};
pub use checkpoint::{Checkpoint, PARKED_MAX, PARKED_REASON_CHARS_MAX, Parked};
pub use codec::{AppendError, CodecError, Encoded, EventCodec};
pub use decision::{DecideError, Decided, Decision, Retries};
pub use event_log::{EventLog, EventLogBuilder, Handles, StartError};
pub use handle::{Behind, Handle, Reading};
pub use projection::{
    CommitKind, DIFFERENCES_MAX, Inspection, Opened, Projection, ProjectionError, Scope, Spec,
    Verifier,
};
pub use read::{Events, Fact, ReadError, Recorded, SequencedEvent};
pub use rebuild::{Progress, RebuildError, RebuildOptions, Rebuilt, rebuild};
pub use runner::{OnLost, Runner, RunnerOptions};
pub use snapshot::{Reducer, SNAPSHOT_BYTES_MAX, Snapshot};
pub use status::{ProjectionState, ProjectionStatus};
pub use submit::Submitted;
pub use verify::{Verdict, VerifiedProjection, VerifyReport, verify, verify_within};

/// The examples of docs/EMBEDDING.md are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/EMBEDDING.md")]
struct Embedding;
