//! `lenslog rotate`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use lenslog_engine::Runner;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Clock, Journal, JournalView};
use lenslog_tools::Place;
use lenslog_tools::control::{Client, GoneDay, Reply, Request, RotationReport};
use lenslog_tools::{complain, say};

use super::exit::{EXIT_FATAL, EXIT_OK, EXIT_STORAGE_FULL};
use super::{quiet_configuration, require_mount};
use crate::config::Config;
use crate::layout;
use crate::recorder::{clock, journal_options, report_losses};
use crate::storage::{LogRotator, Megabytes, Mode, Reserve, StorageMonitor, Surveyor, dry_run};

/// How long projections may stand still before the rotation begins without them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Delete the oldest days where there is no more room.
///
/// What is too old (max_retention_days, images_retention_days) goes, and above 90 % the oldest days until less than
/// 80 % are used. Never today, never what min_retention_days protects. With a recorder running it does it.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Begin below 90 % too; where less than 80 % are used already, delete one day
    #[arg(long)]
    force: bool,
    /// Delete nothing: print what would go, how much that frees, and what protects the rest
    #[arg(long)]
    dry_run: bool,
}

impl Rotate {
    pub(super) fn run(&self, place: &Place) -> Result<u8> {
        let config = quiet_configuration(place)?;
        let report = match Client::connect(&config.storage.data_dir)? {
            Some(client) => self.through_recorder(client)?,
            None if self.dry_run => self.look(&config)?,
            None => self.alone(&config)?,
        };
        print(&report);
        for problem in &report.problems {
            complain!("lenslog: {problem}");
        }
        Ok(match (report.is_over_limit, report.problems.is_empty()) {
            (true, _) => EXIT_STORAGE_FULL,
            (false, true) => EXIT_OK,
            (false, false) => EXIT_FATAL,
        })
    }

    fn through_recorder(&self, mut client: Client) -> Result<RotationReport> {
        client.send(&Request::Rotate { force: self.force, dry_run: self.dry_run })?;
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

    fn look(&self, config: &Config) -> Result<RotationReport> {
        require_mount(config)?;
        let view = JournalView::open(&config.storage.data_dir, Arc::new(RealStorage))?;
        let opened = view.head()?;
        let monitor = Arc::new(StorageMonitor::new(config));
        let surveyor = Surveyor::new(config, monitor, view, clock(config), opened);
        let mode = if self.force { Mode::Forced } else { Mode::Check };
        Ok(dry_run(&surveyor.survey(mode, None, &Default::default())?))
    }

    fn alone(&self, config: &Config) -> Result<RotationReport> {
        require_mount(config)?;
        // Nothing is made where nothing is.
        JournalView::open(&config.storage.data_dir, Arc::new(RealStorage))?;
        let clock: Arc<dyn Clock> = clock(config);
        let options = journal_options(config, &clock);
        let journal = Reserve::of(&config.storage)
            .open(|| Journal::open(&config.storage.data_dir, &options))?;
        let opened = journal.next_seq();
        let (projections, _) = layout::projections(config, &journal);
        let runner = Arc::new(Runner::start(&journal.view(), projections, report_losses(&journal)));
        let head = journal.view().head()?;
        for name in runner.wait_for(head, PATIENCE) {
            tracing::warn!(projection = name, "it is not up to date; it follows later");
        }
        let monitor = Arc::new(StorageMonitor::new(config));
        let surveyor = Surveyor::new(config, monitor, journal.view(), clock, opened);
        let (storage, stop) = (&config.storage, Arc::new(AtomicBool::new(false)));
        let rotator =
            LogRotator::new(journal.clone(), Arc::clone(&runner), surveyor, storage, stop);
        let report = rotator.rotate_logs(self.force)?;
        runner.stop();
        journal.close()?;
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
