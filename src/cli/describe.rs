//! `lenslog describe`.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use lenslog_control::{Client, ControlRequest, Reply};
use lenslog_journal::Timestamp;
use lenslog_tools::{GlobalArgs, complain, counted, say};

use super::times::{self, Repeated};
use super::{quiet_configuration, require_mount};
use crate::config::Config;
use crate::description::{DescriberContext, backlog, work_off};
use crate::store::Store;
use lenslog_tools::{EXIT_FAILED, EXIT_OK, Unavailable};

/// Request sentences for events without one.
///
/// Every event with a picture counts, whether a server was configured at its time or not. A running recorder does the
/// work; without one, this command requests them, newest first.
#[derive(Debug, Args)]
pub(super) struct Describe {
    /// Only events at or after this time: "yesterday", "2026-11-23", "2h ago"
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Events too whose requests failed for good
    #[arg(long)]
    failed: bool,
}

impl Describe {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let config = quiet_configuration(args)?;
        if config.description.endpoint.is_empty() {
            bail!(
                "no language model is configured; set description.endpoint, such as \
                 \"http://127.0.0.1:11434/v1\" for Ollama on this machine"
            );
        }
        let since = times::parse(&self.since, chrono::Local::now(), Repeated::First)
            .map_err(|error| anyhow!(error))?;
        match Client::connect(&config.storage.data_dir)? {
            Some(client) => self.through_recorder(client, since),
            None => self.offline(&config, since),
        }
    }

    fn through_recorder(&self, mut client: Client, since: Timestamp) -> Result<u8> {
        client.send(&ControlRequest::Describe {
            since_utc_micros: since.utc_micros,
            failed: self.failed,
        })?;
        while let Some(reply) = client.reply()? {
            if let Reply::Queued { events } = reply {
                let waiting = counted(events, "event");
                let wait = if events == 1 { "waits" } else { "wait" };
                say!("{waiting} {wait} for a sentence; `lenslog status` shows how many are left");
            }
        }
        Ok(EXIT_OK)
    }

    fn offline(&self, config: &Config, since: Timestamp) -> Result<u8> {
        require_mount(config)?;
        let store = Store::open_existing(config)?;
        store.catch_up()?;
        // A queue of its own: other events without a sentence stay queued.
        let queue = store.queue.beside(backlog(&store.view, since, self.failed)?);
        say!("{} to describe", counted(queue.len() as u64, "event"));
        let append = store.append_or_log();
        let context = DescriberContext {
            view: store.view.clone(),
            data: config.storage.data_dir.clone(),
            queue,
            clock: Arc::clone(&store.clock),
            write: Arc::new(move |event| append(&event)),
            measure: Arc::new(|_| ()),
        };
        let done = work_off(&config.description, context);
        let behind = store.catch_up()?;
        store.runner.stop();
        store.journal.close()?;
        let done = done.map_err(|reason| anyhow!(reason))?;
        say!("{} described, {} failed, {} left", done.described, done.dropped, done.left);
        for name in &behind {
            complain!("lenslog: projection {name}: behind; it catches up later");
        }
        match done.stopped {
            Some(reason) => Err(Unavailable(reason).into()),
            None if behind.is_empty() => Ok(EXIT_OK),
            None => Ok(EXIT_FAILED),
        }
    }
}
