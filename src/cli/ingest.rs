//! `lenslog ingest`.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use lenslog_control::{Client, ControlRequest, IngestOutcome, Reply, Totals};
use lenslog_journal::Opening;
use lenslog_tools::{GlobalArgs, complain, counted};

use super::{quiet_configuration, require_mount};
use crate::config::Config;
use crate::description;
use crate::ingest::Ingestor;
use crate::storage::{Admission, StorageGuard};
use crate::store::{Store, degraded};
use lenslog_tools::{EXIT_FAILED, EXIT_OK, EXIT_STORAGE_FULL};

/// The longest wait for the projections before the first line is read.
const START_WAIT_MAX: Duration = Duration::from_secs(1);

/// Append events from lines of JSON on standard input.
///
/// Each line needs a timestamp (RFC 3339 with offset) and a camera_id. Optional: event_id, camera_name,
/// motion_confidence, detected_objects, llm_description, image_path, metadata. Lines of events.json are accepted.
/// A running recorder appends them. Without one, the command opens the directory, recovers it and brings its
/// projections up to date: `lenslog ingest </dev/null` does just that.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// Print event_id and seq of every event once it is durable
    #[arg(long)]
    ack: bool,
}

impl Ingest {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let config = quiet_configuration(args)?;
        match Client::connect(&config.storage.data_dir)? {
            Some(client) => self.through_recorder(client),
            None => self.offline(&config),
        }
    }

    fn through_recorder(&self, mut client: Client) -> Result<u8> {
        client.send(&ControlRequest::Ingest)?;
        client.stream(io::stdin())?;
        let mut out = lenslog_tools::standard_output();
        let mut code = EXIT_OK;
        while let Some(reply) = client.reply()? {
            match reply {
                Reply::Lines { outcomes } => self.report(&mut out, &outcomes)?,
                Reply::Ingested { totals, behind, degraded } => {
                    let behind: Vec<&str> = behind.iter().map(String::as_str).collect();
                    code = conclude(totals, &behind, degraded);
                }
                _ => {}
            }
        }
        Ok(code)
    }

    fn offline(&self, config: &Config) -> Result<u8> {
        require_mount(config)?;
        let store = Store::open_offline(config)?;
        if let Opening::Recovered { recovered, .. } = store.journal.opening() {
            tracing::warn!(
                torn_bytes = recovered.bytes,
                records_salvaged = recovered.records_salvaged,
                "journal: recovered after an abnormal end"
            );
        }
        // Up-to-date projections know what may be deleted. That is worth a moment, but no line waits for them.
        let _ = store.runner.wait_at_most(store.view.head()?, START_WAIT_MAX);
        let append = store.append_or_log();
        // Events without a sentence are written to the files once their time is over.
        let (now, hold) = (store.clock.read().wall, config.description.hold.0);
        description::deferrals(&store.queue, now, hold).iter().for_each(&append);
        let storage = StorageGuard::start(
            config,
            &store.journal,
            (&store.runner, store.opened),
            &store.clock,
            Arc::new(append),
            || (),
        );
        let mut out = lenslog_tools::standard_output();
        let totals = Ingestor::new(store.journal.clone(), Arc::clone(&store.clock), &storage)
            .run(io::stdin().lock(), &mut |outcomes| self.report(&mut out, &outcomes))?;
        store.journal.sync()?;
        let mut behind = store.catch_up()?;
        let makes_room = behind.is_empty();
        if makes_room {
            let _ = storage.make_room();
        }
        drop(storage);
        if makes_room {
            behind = store.catch_up()?;
        }
        let code = conclude(totals, &behind, degraded(&store.journal));
        for status in store.runner.stop() {
            if let Some(error) = status.last_error.filter(|_| behind.contains(&status.name)) {
                complain!("lenslog: {}: {error}", status.name);
            }
        }
        let journal = store.journal.clone();
        drop(store);
        journal.close()?;
        Ok(code)
    }

    fn report(&self, out: &mut impl Write, outcomes: &[IngestOutcome]) -> io::Result<()> {
        for outcome in outcomes {
            match outcome {
                IngestOutcome::Accepted { line, event_id, seq, duplicate } => {
                    if *duplicate {
                        complain!(
                            "lenslog: WARNING: line {line}: duplicate of {event_id}, seq {seq}"
                        );
                    }
                    if self.ack {
                        writeln!(out, "{event_id}\t{seq}")?;
                    }
                }
                IngestOutcome::Refused { line, reason, .. } => {
                    complain!("lenslog: line {line}: {reason}")
                }
                IngestOutcome::UnknownField { line, name } => complain!(
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
        EXIT_FAILED
    } else {
        EXIT_OK
    }
}
