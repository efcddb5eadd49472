//! `lenslog why`: what a camera saw at a moment, and what became of it.

mod findings;
mod spans;
mod table;
mod words;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use chrono::Local;
use clap::Args;
use lenslog_control::{ANSWER_TIMEOUT, Client, ControlRequest, Reply};
use lenslog_events::CameraMinute;
use lenslog_journal::JournalView;
use lenslog_journal::storage::RealStorage;
use lenslog_tools::{GlobalArgs, say};

use super::quiet_configuration;
use super::times::{self, Repeated};
use crate::config::{Config, Seconds};
use findings::Findings;
use lenslog_tools::{EXIT_OK, Usage};
use spans::Span;
use words::Answer;

/// The longest span at once, to each side.
const AROUND_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Explain why an event was or was not created.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// Only this camera, by its id
    #[arg(long, value_name = "ID")]
    camera: Option<String>,
    /// The moment: now, "10m ago", 14:32, "yesterday 14:32", 2026-11-23 14:32 or RFC 3339
    #[arg(long, value_name = "TIME")]
    at: String,
    /// A table of the minutes so far around it, such as 10m
    #[arg(long, value_name = "TIME")]
    around: Option<Seconds>,
}

impl Why {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let config = quiet_configuration(args)?;
        let at = times::parse(&self.at, Local::now(), Repeated::First).map_err(Usage)?;
        let around = self.around.map_or(Duration::ZERO, |around| around.0);
        if around > AROUND_MAX {
            let most = AROUND_MAX.as_secs() / 3600;
            return Err(Usage(format!("--around: at most {most}h at once")).into());
        }
        let span = Span::around(at, around);
        let view = JournalView::open(&config.storage.data_dir, Arc::new(RealStorage))?;
        let mut findings = Findings::read(&view, span, self.camera.as_deref())?;
        let minutes = running_minutes(&config, span, self.camera.as_deref())?;
        findings.add_minutes(minutes.iter().flatten().cloned());
        let answer = Answer {
            config: &config,
            findings: &findings,
            span,
            at,
            camera: self.camera.as_deref(),
            is_running: minutes.is_some(),
        };
        let text = if self.around.is_some() { table::table(&answer) } else { answer.text() };
        say!("{}", text.trim_end());
        Ok(EXIT_OK)
    }
}

/// The minutes that a running recorder has not journaled yet; `None` where none runs.
fn running_minutes(
    config: &Config,
    span: Span,
    camera: Option<&str>,
) -> Result<Option<Vec<CameraMinute>>> {
    let Some(mut client) = Client::connect(&config.storage.data_dir)? else {
        return Ok(None);
    };
    client.wait_at_most(ANSWER_TIMEOUT)?;
    client.send(&ControlRequest::Minutes)?;
    let mut found = Vec::new();
    while let Some(reply) = client.reply()? {
        if let Reply::Minutes { minutes } = reply {
            found.extend(minutes.into_iter().map(CameraMinute::from).filter(|minute| {
                span.contains(minute.minute)
                    && camera.is_none_or(|camera| camera == minute.camera_id)
            }));
        }
    }
    Ok(Some(found))
}
