//! `replay repair`: repairs the journal's files without touching a record, then recovers and catches up.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use lenslog_engine::{Behind, Runner};
use lenslog_journal::storage::{RealStorage, Storage};
use lenslog_journal::{Journal, Opening, Options, repair};

use crate::args::GlobalArgs;
use crate::{EXIT_DAMAGED, EXIT_FAILED, EXIT_OK};

/// Longest time without progress of the projections.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Repair the journal's files without touching a record, then recover and catch up.
#[derive(Debug, Args)]
pub struct RepairCommand {
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl RepairCommand {
    pub(crate) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let layout = args.existing()?;
        let storage: Arc<dyn Storage> = Arc::new(RealStorage);
        let repairs = repair(&layout.data, &storage, self.dry_run)?;
        for repair in &repairs {
            say!("{}: {}", repair.path.display(), repair.action);
        }
        if repairs.is_empty() {
            say!("the journal's files need no repair");
        }
        if self.dry_run {
            say!("the next start recovers the journal and catches up; nothing was changed now");
            return Ok(EXIT_OK);
        }
        let journal = Journal::open(&layout.data, &Options::default())?;
        if let Opening::Recovered { recovered, .. } = journal.opening() {
            say!(
                "recovered after an abnormal end: {} records salvaged, {} torn bytes dropped",
                recovered.records_salvaged,
                recovered.bytes
            );
        }
        let report = journal.clone();
        let runner = Runner::start(
            &journal.view(),
            layout.projections(),
            Arc::new(move |lost| {
                if let Err(error) = report.report_lost(lost) {
                    tracing::error!(%error, "the loss cannot be journaled; the next start reports it again");
                }
            }),
        );
        let behind = Behind::names_in(runner.wait_for(journal.view().head()?, STALL_TIMEOUT));
        for status in runner.stop() {
            let verdict = match status.last_error {
                Some(error) if behind.contains(&status.name) => error,
                _ if status.rebuilds > 0 => "rebuilt from the journal".to_owned(),
                _ => "up to date".to_owned(),
            };
            say!("{:<10} {verdict}", status.name);
        }
        drop(runner);
        let degraded = journal.health().is_degraded();
        for gap in journal.health().gaps {
            say!("journal    seq {gap} stays lost; it is reported until its segment is pruned");
        }
        journal.close()?;
        Ok(if degraded {
            EXIT_DAMAGED
        } else if behind.is_empty() {
            EXIT_OK
        } else {
            EXIT_FAILED
        })
    }
}
