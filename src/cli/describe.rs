//! `lenslog describe`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use lenslog_engine::{Runner, Vocabulary};
use lenslog_events::RecorderVocabulary;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Clock, Journal, JournalView, Timestamp};
use lenslog_tools::control::{Client, Reply, Request};
use lenslog_tools::{Place, complain, counted, say};

use super::exit::{EXIT_FATAL, EXIT_OK, Unavailable};
use super::{quiet_configuration, require_mount, times};
use crate::config::Config;
use crate::description::{Places, backlog, work_off};
use crate::layout;
use crate::recorder::{clock, journal_options, report_losses};
use crate::storage::Reserve;

/// How long projections may stand still before they are left behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ask for sentences about the events that have none.
///
/// Every event with a picture is meant, whether a server was configured when it was seen or not. With a recorder running
/// it does it; else they are asked for here, newest first.
#[derive(Debug, Args)]
pub(super) struct Describe {
    /// Events from then on: "yesterday", "2026-11-23", "2h ago"
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Those too that were given up
    #[arg(long)]
    failed: bool,
}

impl Describe {
    pub(super) fn run(&self, place: &Place) -> Result<u8> {
        let config = quiet_configuration(place)?;
        if config.description.endpoint.is_empty() {
            bail!(
                "no language model is configured; set description.endpoint, such as \
                 \"http://127.0.0.1:11434/v1\" for Ollama on this machine"
            );
        }
        let since =
            times::parse(&self.since, chrono::Local::now()).map_err(|error| anyhow!(error))?;
        match Client::connect(&config.storage.data_dir)? {
            Some(client) => self.through_recorder(client, since),
            None => self.alone(&config, since),
        }
    }

    fn through_recorder(&self, mut client: Client, since: Timestamp) -> Result<u8> {
        client
            .send(&Request::Describe { since_utc_micros: since.utc_micros, failed: self.failed })?;
        while let Some(reply) = client.reply()? {
            if let Reply::Queued { events } = reply {
                let waiting = counted(events, "event");
                let wait = if events == 1 { "waits" } else { "wait" };
                say!("{waiting} {wait} for a sentence; `lenslog status` tells how many are left");
            }
        }
        Ok(EXIT_OK)
    }

    fn alone(&self, config: &Config, since: Timestamp) -> Result<u8> {
        require_mount(config)?;
        // Nothing is made where nothing is.
        JournalView::open(&config.storage.data_dir, Arc::new(RealStorage))?;
        let clock: Arc<dyn Clock> = clock(config);
        let journal = Journal::open(&config.storage.data_dir, &journal_options(config, &clock))?;
        Reserve::of(&config.storage).give_up_if_full(&journal);
        let (projections, queue) = layout::projections(config, &journal);
        let runner = Arc::new(Runner::start(&journal.view(), projections, report_losses(&journal)));
        let _ = runner.wait_for(journal.view().head()?, PATIENCE);
        // Of its own: what else waits goes on waiting.
        let queue = queue.beside(backlog(&journal.view(), since, self.failed)?);
        say!("{} to describe", counted(queue.len() as u64, "event"));
        let places = places(&journal, &config.storage.data_dir, queue, clock);
        let done = work_off(&config.description, places);
        let behind = runner.wait_for(journal.view().head()?, PATIENCE);
        runner.stop();
        journal.close()?;
        let done = done.map_err(|reason| anyhow!(reason))?;
        say!("{} described, {} given up, {} left", done.described, done.given_up, done.left);
        for name in &behind {
            complain!("lenslog: {name} is not up to date; it follows later");
        }
        match done.stopped {
            Some(reason) => Err(Unavailable(reason).into()),
            None if behind.is_empty() => Ok(EXIT_OK),
            None => Ok(EXIT_FATAL),
        }
    }
}

fn places<'a>(
    journal: &Journal,
    data: &'a Path,
    queue: lenslog_projections::DescriptionQueue,
    clock: Arc<dyn Clock>,
) -> Places<'a> {
    let writing = journal.clone();
    Places {
        view: journal.view(),
        data,
        queue,
        clock,
        write: Arc::new(move |event| {
            let record = RecorderVocabulary::encode(&event);
            if let Err(error) = writing.append_trusted(&[record.as_record()]) {
                let event = event.kind().name;
                tracing::error!(%error, event, "it is not journaled; it is asked for again next time");
            }
        }),
        measure: Arc::new(|_| ()),
    }
}
