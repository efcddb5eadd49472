//! Event sourcing on a Lenslog journal: projections that follow it, checkpoints, rebuild and verify.
//!
//! A program journals facts and makes everything else from them. What the facts mean is its [`Vocabulary`]; what is
//! made from them are its [`Projection`]s: each follows the journal in a thread of its own ([`Runner`]), can be deleted
//! and is made again ([`rebuild`]), and can be compared with the journal at any time ([`verify`]). The engine knows no
//! cameras, no SQLite and no file formats.
//!
//! # A thermometer
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use lenslog_engine::{DecodeError, Encoded, Fact, Recorded, Runner, Snapshot, Summary, Vocabulary};
//! use lenslog_journal::storage::RealStorage;
//! use lenslog_journal::{Journal, Kind, Options};
//!
//! /// What this program journals: readings in tenths of a degree.
//! #[derive(Debug, Clone, PartialEq)]
//! struct Reading { room: String, tenths: i16 }
//!
//! struct Thermometer;
//!
//! impl Vocabulary for Thermometer {
//!     type Event = Reading;
//!
//!     fn encode(reading: &Reading) -> Encoded {
//!         let mut payload = reading.tenths.to_le_bytes().to_vec();
//!         payload.extend_from_slice(reading.room.as_bytes());
//!         Encoded { kind: Kind(1), version: 1, day: None, key: None, payload }
//!     }
//!
//!     fn decode(kind: Kind, _version: u16, payload: &[u8]) -> Result<Option<Reading>, DecodeError> {
//!         if kind != Kind(1) {
//!             return Ok(None); // somebody else's, or a newer program's
//!         }
//!         let (tenths, room) = payload.split_first_chunk().ok_or("shorter than two bytes")?;
//!         let room = std::str::from_utf8(room)?.to_owned();
//!         Ok(Some(Reading { room, tenths: i16::from_le_bytes(*tenths) }))
//!     }
//! }
//!
//! /// What is made from the readings: the highest of each room.
//! #[derive(Debug, Default, PartialEq)]
//! struct Highs(BTreeMap<String, i16>);
//!
//! impl Summary<Thermometer> for Highs {
//!     const NAME: &'static str = "highs";
//!     const LOGIC: u32 = 1;
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
//! let directory = tempfile::tempdir()?;
//! let journal = Journal::open(directory.path(), &Options::default())?;
//! let file = directory.path().join("highs.txt");
//! let highs = Snapshot::<Highs>::new(Arc::new(RealStorage), &file);
//! let runner = Runner::start::<Thermometer>(&journal.view(), vec![Box::new(highs)], Arc::new(|_| {}));
//!
//! for (room, tenths) in [("attic", 312), ("cellar", 118), ("attic", 305)] {
//!     let reading = Reading { room: room.to_owned(), tenths };
//!     journal.append(&[Thermometer::encode(&reading).as_record()])?; // survives a power cut
//! }
//! let behind = runner.wait_for(journal.next_seq(), Duration::from_secs(10));
//! assert!(behind.is_empty());
//! runner.stop();
//! assert!(std::fs::read_to_string(&file)?.ends_with("---\n312 attic\n118 cellar\n"));
//! # Ok(())
//! # }
//! ```

mod backoff;
mod checkpoint;
mod follow;
pub mod laws;
mod projection;
mod rebuild;
mod recorded;
mod runner;
mod snapshot;
mod status;
mod verify;
mod vocabulary;

pub use checkpoint::{Checkpoint, PARKED_MAX, PARKED_REASON_CHARS_MAX, Parked};
pub use projection::{
    CommitKind, DIFFERENCES_MAX, Inspection, KeepOld, Opened, Projection, ProjectionError, Scope,
    Spec, Verifier,
};
pub use rebuild::{Progress, RebuildError, RebuildOptions, Rebuilt, rebuild};
pub use recorded::{Fact, Recorded};
pub use runner::{OnLost, Runner};
pub use snapshot::{SNAPSHOT_ASIDES_MAX, SNAPSHOT_BYTES_MAX, Snapshot, Summary};
pub use status::{ProjectionState, ProjectionStatus};
pub use verify::{ProjectionReport, Verdict, VerifyReport, verify, verify_within};
pub use vocabulary::{DecodeError, Encoded, Vocabulary};
