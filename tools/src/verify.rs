//! `replay verify`: checks the journal and compares every projection with it.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use lenslog_engine::{Projection, VerifyReport, verify};
use lenslog_events::RecorderCodec;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{JournalView, ReaderOptions, Standing};
use serde_json::json;

use crate::args::GlobalArgs;
use crate::progress::Bars;
use crate::{EXIT_DAMAGED, EXIT_FAILED, EXIT_OK};

/// Check the journal and compare the database and the files with it.
///
/// Each projection is equal, behind (it lacks records from before the command began), parked (it lacks events that
/// cannot be applied) or differs. Files in journal/ that are no part of the journal are named: foreign, superseded,
/// forked, misnamed. Exit code 0: all are equal; 1: one is not, or there is such a file; 5: the journal is damaged, or
/// a file is forked.
#[derive(Debug, Args)]
pub struct Verify {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let layout = args.existing()?;
        let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
        let projections = layout.projections();
        let all: Vec<&dyn Projection<RecorderCodec>> =
            projections.iter().map(|projection| &**projection).collect();
        let bars = Bars::new();
        let bar = bars.records("verify");
        // Read, not mapped: a bad block is reported, and does not end this program.
        let report = verify(&view, &all, ReaderOptions::default(), &mut |progress| {
            bar.at(progress);
            true
        })?;
        bar.finish();
        if self.json {
            print_json(&report)?
        } else {
            print(&report)
        }
        Ok(if report.is_damaged() {
            EXIT_DAMAGED
        } else if !report.is_equal() {
            EXIT_FAILED
        } else {
            EXIT_OK
        })
    }
}

fn print(report: &VerifyReport) {
    for notice in &report.notices {
        say!("journal    note: {notice}");
    }
    for lost in &report.lost {
        say!("journal    DAMAGED: {lost}");
    }
    for file in &report.left_out {
        say!("journal    NOT PART OF IT: {file}");
    }
    let (from, end) = report.range;
    let is_forked = report.left_out.iter().any(|file| file.standing == Standing::Forked);
    let verdict = match (report.is_damaged(), report.left_out.is_empty()) {
        (true, false) if report.lost.is_empty() && is_forked => "whole, beside a fork of it",
        (true, _) => "damaged",
        (false, true) => "ok",
        (false, false) => "whole, beside other files",
    };
    say!(
        "journal    {verdict}: {} records, seq {from} to {}",
        report.records,
        end.0.saturating_sub(1)
    );
    for projection in &report.projections {
        for difference in &projection.differences {
            say!("{:<10} DIFFERS: {difference}", projection.name);
        }
        let behind = match projection.behind {
            0 => String::new(),
            count => format!(", lacks {}", crate::counted(count, "record")),
        };
        let parked = match projection.parked {
            0 => String::new(),
            count => format!(", {} parked", crate::counted(count, "event")),
        };
        let verdict = projection.verdict();
        say!(
            "{:<10} {verdict}: {} records, up to seq {}{behind}{parked}",
            projection.name,
            projection.records,
            projection.next.0.saturating_sub(1)
        );
    }
}

fn print_json(report: &VerifyReport) -> Result<()> {
    let lost: Vec<_> = report
        .lost
        .iter()
        .map(|lost| {
            json!({
                "segment": lost.segment.file_name(),
                "offset": lost.offset,
                "first": lost.range.from.0,
                "last": lost.range.to.0.saturating_sub(1),
                "cause": format!("{:?}", lost.cause),
            })
        })
        .collect();
    let left_out: Vec<_> = report
        .left_out
        .iter()
        .map(|file| {
            json!({
                "path": file.path,
                "standing": format!("{:?}", file.standing).to_lowercase(),
                "real_name": file.real_name.map(lenslog_journal::SegmentName::file_name),
                "text": file.to_string(),
            })
        })
        .collect();
    let projections: Vec<_> = report
        .projections
        .iter()
        .map(|projection| {
            json!({
                "name": projection.name,
                "records": projection.records,
                "verdict": projection.verdict().to_string(),
                "next": projection.next.0,
                "behind": projection.behind,
                "parked": projection.parked,
                "differences": projection.differences,
            })
        })
        .collect();
    let value = json!({
        "damaged": report.is_damaged(),
        "differs": report.differs(),
        "records": report.records,
        "first": report.range.0.0,
        "last": report.range.1.0.saturating_sub(1),
        "lost": lost,
        "left_out": left_out,
        "notices": report.notices.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "projections": projections,
    });
    say!("{}", serde_json::to_string_pretty(&value)?);
    Ok(())
}
