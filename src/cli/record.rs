//! `lenslog record`.

use anyhow::Result;
use clap::Args;
use lenslog_journal::Timestamp;
use lenslog_tools::GlobalArgs;
use lenslog_tools::{complain, say};

use super::times::{self, Repeated};
use super::{configuration, init_logging};
use crate::config::Seconds;
use crate::recorder::{
    HealthVerdict, RecordOptions, Recorder, RecorderStartError, STORAGE_LIMIT, Signals,
    SourceFlags, summary, wait_for_mount,
};
use lenslog_tools::{EXIT_FAILED, EXIT_OK, EXIT_STORAGE_FULL, EXIT_UNAVAILABLE, Usage};

/// Record from the configured cameras, or from one source.
#[derive(Debug, Args)]
pub(super) struct Record {
    /// Record from this instead of the configured cameras: v4l2:DEVICE, rtsp://…, http://…, rpicam:0, exec:COMMAND,
    /// dir:PATH, file:PATH or test:
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// End after this time, such as 20s or 10m
    #[arg(long, value_name = "TIME")]
    duration: Option<Seconds>,
    /// Take the frames of a file as fast as possible instead of in real time
    #[arg(long)]
    no_pace: bool,
    /// When the first frame of a file was taken: today, 14:32, 2026-11-23 14:32 or RFC 3339 [default: its last modification]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// End at once if a camera cannot be opened at the start (exit code 4)
    #[arg(long)]
    fail_fast: bool,
}

impl Record {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let start = self.start.as_deref().map(parse_start).transpose()?;
        let (config, warnings) = configuration(args, self.source.as_deref())?;
        let logging = init_logging(&config);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        if config.cameras.is_empty() {
            let text = "no camera is configured; name one with --source, such as --source test:, or write a \
                        configuration with `lenslog config init`";
            return Err(Usage(text.to_owned()).into());
        }
        let signals =
            Signals::listen(logging.as_ref().and_then(|logging| logging.status_line.clone()))?;
        if !wait_for_mount(&config.storage.require_mount, &signals) {
            return Ok(EXIT_OK);
        }
        let (args, source, stop) = (args.clone(), self.source.clone(), signals.clone());
        let options = RecordOptions {
            sources: SourceFlags { pace: !self.no_pace, start },
            duration: self.duration.map(|duration| duration.0),
            fail_fast: self.fail_fast,
            logging,
            reload: Box::new(move || configuration(&args, source.as_deref())),
            signals,
            program: std::env::current_exe()?,
        };
        let started = Recorder::start(config.clone(), options, &mut |item| match item.verdict {
            HealthVerdict::Warning => tracing::warn!("{item}"),
            _ => tracing::info!("{item}"),
        });
        let recorder = match started {
            Ok(recorder) => recorder,
            // It was cut off while it loaded a model.
            Err(RecorderStartError::Detector(_)) if stop.is_stopped() => return Ok(EXIT_OK),
            Err(RecorderStartError::Journal(error)) => return Err(error.into()),
            Err(error) => return Err(error.into()),
        };
        let session = recorder.run();
        say!("{}", summary(&config, &session).trim_end());
        for name in &session.behind {
            tracing::warn!(
                projection = name,
                "projection is behind; it catches up at the next start"
            );
        }
        for (camera, reason) in &session.failed {
            complain!("lenslog: camera {camera}: {reason}");
        }
        if session.reason == STORAGE_LIMIT {
            return Ok(EXIT_STORAGE_FULL);
        }
        if let Some(error) = session.unclosed {
            return Err(error.into());
        }
        if session.lost.is_any() {
            return Ok(EXIT_FAILED);
        }
        Ok(match session.failed.is_empty() {
            true => EXIT_OK,
            false if self.fail_fast => EXIT_UNAVAILABLE,
            // A camera that is lost when the recorder is stopped is no failure of the recorder.
            false if session.reason == "the end of all sources" => EXIT_FAILED,
            false => EXIT_OK,
        })
    }
}

fn parse_start(text: &str) -> Result<Timestamp, Usage> {
    times::parse(text, chrono::Local::now(), Repeated::First)
        .map_err(|error| Usage(format!("--start: {error}")))
}
