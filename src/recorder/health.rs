//! The health check at the start: a line an item.

use std::fmt;

use lenslog_engine::{ProjectionState, Runner};
use lenslog_journal::{Journal, Opening};

use crate::config::Config;
use crate::detector::{Detector, ModelReport};
use crate::storage::StorageGuard;

/// How an item was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It is not known yet.
    Begun,
    /// Recording goes on, but somebody should look.
    Warning,
}

/// One item of the health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthItem {
    /// What was looked at.
    pub name: String,
    /// How it was found.
    pub verdict: Verdict,
    /// What there is to say.
    pub detail: String,
}

impl HealthItem {
    pub(super) fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, detail: detail.into() }
    }

    pub(super) fn begun(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Begun, detail: detail.into() }
    }

    pub(super) fn warning(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Warning, detail: detail.into() }
    }
}

impl fmt::Display for HealthItem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Begun => "is being opened",
            Verdict::Warning => "WARNING",
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
    let stats = storage.figures().stats;
    let forecast = match storage.days_until_full() {
        Some(0) => "full within a day at this pace".to_owned(),
        Some(1) => "full in 1 day at this pace".to_owned(),
        Some(days) => format!("full in {days} days at this pace"),
        None => "no whole day yet that tells when it is full".to_owned(),
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
            "recovered after an abnormal end: nothing acknowledged is lost, {} bytes never acknowledged are given up",
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
        problems
            .push(format!("degraded, seq {} lost (replay verify tells where)", gaps.join(", ")));
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

/// The name of the machine's time zone, as far as it can be told.
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
