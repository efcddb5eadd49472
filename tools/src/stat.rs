//! `replay stat`: prints segments, days, sizes and checkpoints, without reading records.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use lenslog_control::{ProjectionReport, Status, journal_status, left_out, left_out_lines};
use lenslog_engine::ProjectionError;
use lenslog_journal::storage::{RealStorage, Storage};
use lenslog_journal::{Error, JournalView, Seq};
use lenslog_projections::DataLayout;

use crate::EXIT_OK;
use crate::args::GlobalArgs;

/// Print segments, days, sizes and checkpoints.
#[derive(Debug, Args)]
pub struct Stat {
    /// Print a line for every segment
    #[arg(long)]
    segments: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Stat {
    pub(crate) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let layout = args.existing()?;
        let status = status_at_rest(&layout)?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&status)?);
            return Ok(EXIT_OK);
        }
        say!("{status}");
        if self.segments {
            let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
            for segment in view.segments()? {
                let name = segment.name.file_name();
                let megabytes = segment.bytes as f64 / 1e6;
                match segment.sealed {
                    Some(sealed) => {
                        let days = sealed.days.map_or_else(
                            || "no record".to_owned(),
                            |(first, last)| format!("days {first} to {last}"),
                        );
                        let records = sealed.records;
                        say!("{name}  {megabytes:8.2} MB  {records:>9} records, {days}");
                    }
                    None => say!("{name}  {megabytes:8.2} MB  not sealed"),
                }
            }
        }
        Ok(EXIT_OK)
    }
}

/// The status of a data directory without a recorder, or with one that does not answer.
///
/// # Errors
///
/// Those of reading the journal.
pub fn status_at_rest(layout: &DataLayout) -> Result<Status, Error> {
    let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
    let mut journal = journal_status(&view)?;
    journal.files.extend(left_out_lines(&left_out(&view)?));
    let projections = layout
        .projections()
        .iter()
        .map(|projection| {
            let (state, next, parked, last_error) = match projection.verifier() {
                Ok(Some(verifier)) => {
                    let checkpoint = verifier.checkpoint();
                    ("stopped", checkpoint.position.next, checkpoint.parked_count, None)
                }
                Ok(None) => ("absent", Seq::FIRST, 0, None),
                Err(error) => {
                    let state = match error {
                        ProjectionError::Broken { .. } => "broken",
                        ProjectionError::Blocked { .. } => "blocked",
                        _ => "unreadable",
                    };
                    (state, Seq::FIRST, 0, Some(error.to_string()))
                }
            };
            ProjectionReport {
                name: projection.spec().name.to_owned(),
                state: state.to_owned(),
                lag_records: journal.next.saturating_sub(next.0),
                parked,
                errors: 0,
                last_error,
            }
        })
        .collect();
    Ok(Status {
        running: false,
        in_use: RealStorage.is_locked(&layout.data).unwrap_or(false),
        pid: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: None,
        data: layout.data.display().to_string(),
        journal,
        projections,
        cameras: Vec::new(),
        counters: None,
        detector: None,
        storage: None,
        descriptions: None,
        deliveries: Vec::new(),
    })
}
