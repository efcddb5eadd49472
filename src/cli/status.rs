//! `lenslog status`.

use anyhow::{Result, anyhow};
use clap::Args;
use lenslog_journal::Error;
use lenslog_tools::Place;
use lenslog_tools::control::{ANSWER_TIMEOUT, Client, Reply, Request, Status};
use lenslog_tools::say;

use super::exit::{EXIT_FATAL, EXIT_OK};
use super::quiet_configuration;
use crate::config::Config;
use crate::layout::layout;
use crate::recorder::storage_status;
use crate::storage::StorageMonitor;

/// Tell how the recorder fares.
#[derive(Debug, Args)]
pub(super) struct StatusCommand {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl StatusCommand {
    pub(super) fn run(&self, place: &Place) -> Result<u8> {
        let config = quiet_configuration(place)?;
        let status = status(&config)?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&status)?);
        } else {
            say!("{status}");
        }
        Ok(if status.problems().is_empty() { EXIT_OK } else { EXIT_FATAL })
    }
}

/// What the recorder says, or what reading the directory tells where none runs.
fn status(config: &Config) -> Result<Status> {
    if let Some(mut client) = Client::connect(&config.storage.data_dir)? {
        client.wait_at_most(ANSWER_TIMEOUT)?;
        client.send(&Request::Status)?;
        if let Some(Reply::Status(status)) = client.reply()? {
            return Ok(*status);
        }
    }
    let data = &config.storage.data_dir;
    let mut status = lenslog_tools::status_at_rest(&layout(config)).map_err(|error| {
        let is_known = || data.join("IDENTITY").symlink_metadata().is_ok();
        match error {
            Error::NotFound { .. } if is_known() => anyhow!(
                "{}: missing or without a segment, and IDENTITY says that there was a journal; put it back from a backup, or \
                 move {} away to begin a new one",
                data.join("journal").display(),
                data.display()
            ),
            error => error.into(),
        }
    })?;
    status.storage = Some(storage_status(StorageMonitor::new(config).check_usage(), None));
    Ok(status)
}
