//! `lenslog ingest`.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use lenslog_engine::{Runner, Vocabulary};
use lenslog_events::{Event, RecorderVocabulary};
use lenslog_journal::{Clock, Journal, Opening};
use lenslog_tools::control::{Client, Outcome, Reply, Request, Totals};
use lenslog_tools::{Place, complain, counted};

use super::exit::{EXIT_FATAL, EXIT_OK, EXIT_STORAGE_FULL};
use super::{quiet_configuration, require_mount};
use crate::config::Config;
use crate::description;
use crate::ingest::{Admission, Ingestor};
use crate::layout;
use crate::recorder::{clock, journal_options, report_losses};
use crate::storage::{Reserve, StorageGuard};

/// How long projections may stand still before they are named and left behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest wait for the projections before the first line is read.
const START_WAIT_MAX: Duration = Duration::from_secs(1);

/// Make events of lines of JSON on standard input.
///
/// Each line needs a timestamp (RFC 3339 with offset) and a camera_id; event_id, camera_name, motion_confidence,
/// detected_objects, llm_description, image_path and metadata may follow. Lines of events.json are accepted. With a
/// recorder running they go through it; otherwise the directory is opened, recovered and brought up to date, so that
/// `lenslog ingest </dev/null` does just that.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// Print event_id and seq of every event once it survives a power cut
    #[arg(long)]
    ack: bool,
}

impl Ingest {
    pub(super) fn run(&self, place: &Place) -> Result<u8> {
        let config = quiet_configuration(place)?;
        match Client::connect(&config.storage.data_dir)? {
            Some(client) => self.through_recorder(client),
            None => self.alone(&config),
        }
    }

    fn through_recorder(&self, mut client: Client) -> Result<u8> {
        client.send(&Request::Ingest)?;
        client.stream(io::stdin())?;
        let mut out = lenslog_tools::standard_output();
        let mut code = EXIT_OK;
        while let Some(reply) = client.reply()? {
            match reply {
                Reply::Lines { outcomes } => self.tell(&mut out, &outcomes)?,
                Reply::Ingested { totals, behind, degraded } => {
                    let behind: Vec<&str> = behind.iter().map(String::as_str).collect();
                    code = conclude(totals, &behind, degraded);
                }
                _ => {}
            }
        }
        Ok(code)
    }

    fn alone(&self, config: &Config) -> Result<u8> {
        require_mount(config)?;
        let clock: Arc<dyn Clock> = clock(config);
        let options = journal_options(config, &clock);
        let journal = Reserve::of(&config.storage)
            .open(|| Journal::open(&config.storage.data_dir, &options))?;
        if let Opening::Recovered { recovered, .. } = journal.opening() {
            tracing::warn!(
                torn_bytes = recovered.bytes,
                records_carried = recovered.records_carried,
                "the journal was recovered after an abnormal end"
            );
        }
        let opened = journal.next_seq();
        let (projections, queue) = layout::projections(config, &journal);
        let runner = Arc::new(Runner::start(&journal.view(), projections, report_losses(&journal)));
        // What may be deleted is known when the projections are up to date.
        // It is worth a moment, no more: no line waits for a projection.
        let _ = runner.wait_at_most(journal.view().head()?, START_WAIT_MAX);
        let telling = journal.clone();
        let tell = move |event: &Event| {
            let encoded = RecorderVocabulary::encode(event);
            if let Err(error) = telling.append_trusted(&[encoded.as_record()]) {
                let event = event.kind().name;
                tracing::error!(%error, event, "an event is not journaled");
            }
        };
        // What nobody described in time is written into the files all the same.
        let (now, hold) = (clock.read().wall, config.description.hold.0);
        description::deferrals(&queue, now, hold).iter().for_each(&tell);
        let storage =
            StorageGuard::start(config, &journal, (&runner, opened), &clock, Arc::new(tell), || ());
        let mut out = lenslog_tools::standard_output();
        let totals = Ingestor::new(journal.clone(), clock, &storage)
            .run(io::stdin().lock(), &mut |outcomes| self.tell(&mut out, &outcomes))?;
        journal.sync()?;
        let mut behind = runner.wait_for(journal.view().head()?, PATIENCE);
        let makes_room = behind.is_empty();
        if makes_room {
            let _ = storage.make_room();
        }
        drop(storage);
        if makes_room {
            behind = runner.wait_for(journal.view().head()?, PATIENCE);
        }
        let code = conclude(totals, &behind, layout::degraded(&journal));
        for status in runner.stop() {
            if let Some(error) = status.last_error.filter(|_| behind.contains(&status.name)) {
                complain!("lenslog: {}: {error}", status.name);
            }
        }
        drop(runner);
        journal.close()?;
        Ok(code)
    }

    fn tell(&self, out: &mut impl Write, outcomes: &[Outcome]) -> io::Result<()> {
        for outcome in outcomes {
            match outcome {
                Outcome::Accepted { line, event_id, seq, duplicate } => {
                    if *duplicate {
                        complain!(
                            "lenslog: WARNING: line {line}: {event_id} is known already, as seq {seq}"
                        );
                    }
                    if self.ack {
                        writeln!(out, "{event_id}\t{seq}")?;
                    }
                }
                Outcome::Refused { line, reason, .. } => {
                    complain!("lenslog: line {line}: {reason}")
                }
                Outcome::UnknownField { line, name } => complain!(
                    "lenslog: WARNING: line {line}: the field '{}' is not known; it is kept in metadata",
                    name.escape_debug()
                ),
            }
        }
        out.flush()
    }
}

/// Says what is left to say and returns the exit code.
fn conclude(totals: Totals, behind: &[&str], degraded: Option<String>) -> u8 {
    let Totals { accepted, duplicates, refused, storage_full } = totals;
    let (accepted, lines) = (counted(accepted, "event"), counted(refused, "line"));
    complain!("lenslog: {accepted} appended, {duplicates} known already, {lines} refused");
    if let Some(problem) = degraded {
        complain!("lenslog: WARNING: {problem}");
    }
    if !behind.is_empty() {
        complain!(
            "lenslog: not up to date: {}; nothing is lost, they catch up later",
            behind.join(", ")
        );
    }
    if storage_full > 0 {
        EXIT_STORAGE_FULL
    } else if refused > 0 || !behind.is_empty() {
        EXIT_FATAL
    } else {
        EXIT_OK
    }
}
