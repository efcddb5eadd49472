//! `lenslog rotate`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use clap::Args;
use lenslog_control::{Client, ControlRequest, GoneDay, Reply, RotationReport};
use lenslog_journal::JournalView;
use lenslog_journal::storage::RealStorage;
use lenslog_tools::GlobalArgs;
use lenslog_tools::{complain, say};

use super::{quiet_configuration, require_mount};
use crate::config::Config;
use crate::storage::{LogRotator, Megabytes, Mode, RetentionPlanner, StorageMonitor};
use crate::store::{Store, clock};
use lenslog_tools::{EXIT_FAILED, EXIT_OK, EXIT_STORAGE_FULL};

/// Delete the oldest days until the storage limit holds.
///
/// Days older than max_retention_days and pictures older than images_retention_days are deleted. Above 90 % of the
/// limit, the oldest days are deleted until less than 80 % is used. Today and the days that min_retention_days
/// protects stay. A running recorder does the work.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Rotate below 90 % too; below 80 %, delete one day
    #[arg(long)]
    force: bool,
    /// Delete nothing; print the plan, the room it frees, and why other days stay
    #[arg(long)]
    dry_run: bool,
}

impl Rotate {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let config = quiet_configuration(args)?;
        let report = match Client::connect(&config.storage.data_dir)? {
            Some(client) => self.through_recorder(client)?,
            None if self.dry_run => self.plan(&config)?,
            None => self.offline(&config)?,
        };
        print(&report);
        for problem in &report.problems {
            complain!("lenslog: {problem}");
        }
        Ok(match (report.is_over_limit, report.problems.is_empty()) {
            (true, _) => EXIT_STORAGE_FULL,
            (false, true) => EXIT_OK,
            (false, false) => EXIT_FAILED,
        })
    }

    fn through_recorder(&self, mut client: Client) -> Result<RotationReport> {
        client.send(&ControlRequest::Rotate { force: self.force, dry_run: self.dry_run })?;
        let mut found = None;
        while let Some(reply) = client.reply()? {
            if let Reply::Rotated { report } = reply {
                found = Some(report);
            }
        }
        match found {
            Some(report) => Ok(report),
            None => bail!("the recorder did not say what became of it"),
        }
    }

    fn plan(&self, config: &Config) -> Result<RotationReport> {
        require_mount(config)?;
        let view = JournalView::open(&config.storage.data_dir, Arc::new(RealStorage))?;
        let opened = view.head()?;
        let monitor = Arc::new(StorageMonitor::new(config));
        let planner = RetentionPlanner::new(config, monitor, view, clock(config), opened);
        let mode = if self.force { Mode::Forced } else { Mode::Check };
        Ok(planner.plan(mode, None, &Default::default())?.dry_run())
    }

    fn offline(&self, config: &Config) -> Result<RotationReport> {
        require_mount(config)?;
        let store = Store::open_existing(config)?;
        for name in store.catch_up()? {
            tracing::warn!("projection {name}: behind; it catches up later");
        }
        let monitor = Arc::new(StorageMonitor::new(config));
        let clock = Arc::clone(&store.clock);
        let planner =
            RetentionPlanner::new(config, monitor, store.view.clone(), clock, store.opened);
        let (journal, runner) = (store.journal.clone(), Arc::clone(&store.runner));
        let stop = Arc::new(AtomicBool::new(false));
        let rotator = LogRotator::new(journal, runner, planner, &config.storage, stop);
        let report = rotator.rotate_logs(self.force)?;
        store.runner.stop();
        store.journal.close()?;
        Ok(report)
    }
}

fn print(report: &RotationReport) {
    let (would, is) = if report.dry_run { ("would go", "would be") } else { ("is gone", "is") };
    say!("Storage: {}", report.before);
    for GoneDay { day, bytes, pictures_only, too_old } in &report.gone {
        let what = if *pictures_only { "pictures" } else { "all" };
        let why = if *too_old { ", for its age" } else { "" };
        say!("{day}  {would:<8}  {what:<8}  {:>9} free{why}", Megabytes(*bytes).to_string());
    }
    for kept in &report.kept {
        let bytes = Megabytes(kept.bytes).to_string();
        say!("{}  stays     {bytes:>9}: {}", kept.day, kept.reason);
    }
    if report.gone.is_empty() {
        say!("nothing {would}");
    } else {
        say!("Storage {is}: {}", report.after);
    }
}
