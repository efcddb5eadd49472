//! `lenslog status`.

use anyhow::{Result, anyhow};
use clap::Args;
use lenslog_control::{ANSWER_TIMEOUT, Client, ControlRequest, Reply, Status};
use lenslog_journal::Error;
use lenslog_tools::GlobalArgs;
use lenslog_tools::say;

use super::quiet_configuration;
use crate::config::Config;
use crate::recorder::storage_status;
use crate::storage::StorageMonitor;
use crate::store::layout;
use lenslog_tools::{EXIT_FAILED, EXIT_OK};

/// Show recorder status.
#[derive(Debug, Args)]
pub(super) struct StatusCommand {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl StatusCommand {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let config = quiet_configuration(args)?;
        let status = status(&config)?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&status)?);
        } else {
            say!("{status}");
        }
        Ok(if status.problems().is_empty() { EXIT_OK } else { EXIT_FAILED })
    }
}

/// The status of the running recorder; without one, that of the data directory.
fn status(config: &Config) -> Result<Status> {
    if let Some(mut client) = Client::connect(&config.storage.data_dir)? {
        client.wait_at_most(ANSWER_TIMEOUT)?;
        client.send(&ControlRequest::Status)?;
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
