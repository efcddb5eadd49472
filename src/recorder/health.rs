//! The health check at the start, an item a line, and the check of the journal's files in the background.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use lenslog_control::{left_out, left_out_lines, obstructed_lines};
use lenslog_engine::{ProjectionState, Runner};
use lenslog_journal::{Entry, Error, Journal, LeftOut, Opening, ReaderOptions};

use crate::config::Config;
use crate::detector::{Detector, ModelReport};
use crate::storage::StorageGuard;

/// How an item was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthVerdict {
    /// As it should be.
    Ok,
    /// It is not known yet.
    Begun,
    /// Recording goes on, but the operator should look.
    Warning,
}

/// One item of the health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthItem {
    /// What was looked at.
    pub name: String,
    /// How it was found.
    pub verdict: HealthVerdict,
    /// What there is to say.
    pub detail: String,
}

impl HealthItem {
    pub(super) fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: HealthVerdict::Ok, detail: detail.into() }
    }

    pub(super) fn begun(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: HealthVerdict::Begun, detail: detail.into() }
    }

    pub(super) fn warning(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: HealthVerdict::Warning, detail: detail.into() }
    }
}

impl fmt::Display for HealthItem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            HealthVerdict::Ok => "ok",
            HealthVerdict::Begun => "is being opened",
            HealthVerdict::Warning => "WARNING",
        };
        write!(formatter, "health: {}: {verdict}, {}", self.name, self.detail)
    }
}

pub(super) fn data_directory(config: &Config) -> HealthItem {
    let data = &config.storage.data_dir;
    let name = "data directory";
    match rustix::fs::statvfs(data) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize) as f64 / 1e9;
            HealthItem::ok(name, format!("{}, {free:.1} GB free", data.display()))
        }
        Err(error) => HealthItem::warning(name, format!("{}: {error}", data.display())),
    }
}

pub(super) fn storage(storage: &StorageGuard) -> HealthItem {
    let stats = storage.stats();
    let forecast = match storage.days_until_full() {
        Some(0) => "full within a day at this pace".to_owned(),
        Some(1) => "full in 1 day at this pace".to_owned(),
        Some(days) => format!("full in {days} days at this pace"),
        None => "no forecast before the first whole day".to_owned(),
    };
    let detail = format!("{stats}, {forecast}");
    match stats.is_over_limit {
        true => HealthItem::warning("storage", detail),
        false => HealthItem::ok("storage", detail),
    }
}

pub(super) fn journal(journal: &Journal) -> HealthItem {
    let name = "journal";
    let next = journal.next_seq();
    let found = match journal.opening() {
        Opening::Created => "new".to_owned(),
        Opening::Clean => "closed cleanly".to_owned(),
        Opening::Recovered { recovered, gaps } if gaps.is_empty() => format!(
            "recovered after an abnormal end: nothing acknowledged is lost, {} unacknowledged bytes dropped",
            recovered.bytes
        ),
        Opening::Recovered { gaps, .. } => {
            let lost: Vec<_> = gaps.iter().map(|gap| gap.range.to_string()).collect();
            format!("DAMAGED, seq {} lost", lost.join(", "))
        }
        _ => "opened".to_owned(),
    };
    let health = journal.health();
    let detail = format!("{found}, next seq {next}");
    if !health.is_degraded() {
        return HealthItem::ok(name, detail);
    }
    let gaps: Vec<_> = health.gaps.iter().map(ToString::to_string).collect();
    let mut problems = Vec::new();
    if !gaps.is_empty() {
        problems.push(format!(
            "degraded, seq {} lost (`lenslog verify` names the place)",
            gaps.join(", ")
        ));
    }
    problems.extend(health.suspended.map(|reason| format!("cannot write: {reason}")));
    HealthItem::warning(name, format!("{detail}; {}", problems.join("; ")))
}

pub(super) fn detector(detector: Option<&Detector>) -> Option<HealthItem> {
    let detector = detector?;
    let name = "detector";
    Some(match detector.report() {
        Some(report) => {
            let ModelReport { backend, model, width, height, first_ms, .. } = report;
            let detail =
                format!("{model}, {width} x {height}, by {backend}, {first_ms:.0} ms a picture");
            HealthItem::ok(name, detail)
        }
        None => {
            let why = detector.problem().unwrap_or_default();
            HealthItem::warning(name, format!("{why}; motion alone makes events until it works"))
        }
    })
}

pub(super) fn projections(runner: &Runner, behind: &[&str]) -> Vec<HealthItem> {
    runner
        .status()
        .into_iter()
        .map(|status| {
            let error = status.last_error.unwrap_or_default();
            match status.state {
                state if state.is_degraded() => HealthItem::warning(status.name, error),
                ProjectionState::Stopped => HealthItem::warning(status.name, error),
                _ if behind.contains(&status.name) => {
                    HealthItem::ok(status.name, format!("catching up from seq {}", status.next))
                }
                _ if status.rebuilds > 0 => HealthItem::ok(status.name, "made from the journal"),
                _ => HealthItem::ok(status.name, "up to date"),
            }
        })
        .collect()
}

/// The name of the machine's time zone, or its offset.
pub(super) fn time_zone() -> String {
    if let Ok(zone) = std::env::var("TZ")
        && !zone.is_empty()
    {
        return zone;
    }
    let link = std::fs::read_link("/etc/localtime").ok();
    let zone = link
        .as_deref()
        .and_then(|path| path.to_str())
        .and_then(|path| path.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned()));
    zone.unwrap_or_else(|| "UTC".to_owned())
}

/// Checks a journal on a thread of its own. Journals what is lost in the newest segment.
///
/// After an abnormal end the opening has done this already. After a clean one it read nothing, and the projections
/// may be past what has rotted since. `stop` ends it early.
pub(super) fn scrub(
    journal: &Journal,
    found: &Arc<OnceLock<Vec<LeftOut>>>,
    stop: &Arc<AtomicBool>,
) {
    let (journal, found, stop) = (journal.clone(), Arc::clone(found), Arc::clone(stop));
    let thread = std::thread::Builder::new().name("scrub".to_owned());
    let started = thread.spawn(move || {
        if let Err(error) = check_files(&journal, &found) {
            tracing::warn!(%error, "the files of the journal cannot be checked");
        }
        if let Err(error) = read_newest(&journal, &stop) {
            tracing::warn!(%error, "the newest segment cannot be checked");
        }
    });
    if let Err(error) = started {
        tracing::warn!(%error, "the journal is not checked");
    }
}

fn check_files(journal: &Journal, found: &OnceLock<Vec<LeftOut>>) -> Result<(), Error> {
    let view = journal.view();
    let files = left_out(&view)?;
    let mut lines = obstructed_lines(&view, &view.segments()?);
    lines.extend(left_out_lines(found.get_or_init(|| files)));
    for line in lines {
        tracing::warn!("{}", HealthItem::warning("journal", line));
    }
    Ok(())
}

fn read_newest(journal: &Journal, stop: &AtomicBool) -> Result<(), Error> {
    let view = journal.view();
    let end = view.head()?;
    let Some(newest) = view.segments()?.pop() else { return Ok(()) };
    let mut reader = view.reader(newest.name.base.max(view.floor()?), ReaderOptions::default())?;
    while reader.next_seq() < end && !stop.load(Ordering::Acquire) {
        match reader.next()? {
            Some(Entry::Lost(lost)) => {
                journal.report_lost(&lost)?;
            }
            Some(Entry::Record(_)) => {}
            None => break,
        }
    }
    for notice in reader.take_notices() {
        tracing::warn!(%notice, "the journal is damaged");
    }
    Ok(())
}
