//! `replay cat`: prints the records of the journal.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use lenslog_engine::Recorded;
use lenslog_events::RecorderVocabulary;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Entry, JournalView, Seq};

use crate::event_json::record_json;
use crate::place::Place;
use crate::{EXIT_DAMAGED, EXIT_OK, reader_options};

/// How long to wait for a record before looking again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Print the records of the journal.
#[derive(Debug, Args)]
pub struct Cat {
    /// Begin with this seq [default: the first that is retained]
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// End before this seq
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Go on with what is appended from now on
    #[arg(long)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Map sealed segments into memory: faster, but a bad sector ends the program (SIGBUS)
    #[arg(long)]
    map: bool,
}

impl Cat {
    pub(crate) fn run(&self, place: &Place) -> Result<u8> {
        let layout = place.existing()?;
        let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
        let from = self.from.map_or(Ok(Seq::FIRST), |from| {
            // What was pruned cannot be printed; the reader says so.
            Ok::<_, lenslog_journal::Error>(Seq(from.max(1)))
        })?;
        let mut reader = view.reader(from, reader_options(self.map))?;
        let mut out = crate::standard_output();
        let mut buffer = Vec::new();
        let mut code = EXIT_OK;
        while self.to.is_none_or(|to| reader.next_seq().0 < to) {
            match reader.next()? {
                Some(Entry::Record(record)) => {
                    let recorded = Recorded::decode::<RecorderVocabulary>(&record);
                    let value = record_json(&recorded, &mut buffer);
                    if self.json {
                        serde_json::to_writer(&mut out, &value)?;
                        out.write_all(b"\n")?;
                    } else {
                        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                        let (time, kind) = (text("time"), text("kind"));
                        let version = recorded.version;
                        writeln!(
                            out,
                            "{} {time} {kind} v{version} {}",
                            recorded.seq, value["record"]
                        )?;
                    }
                }
                Some(Entry::Lost(lost)) => {
                    code = EXIT_DAMAGED;
                    out.flush()?;
                    complain!("replay: {lost}");
                }
                None if self.follow => {
                    out.flush()?;
                    reader.wait(PATIENCE);
                }
                None => break,
            }
        }
        out.flush()?;
        Ok(code)
    }
}
