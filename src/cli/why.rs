//! `lenslog why`: what a camera saw at a moment, and what became of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Result;
use chrono::Local;
use clap::Args;
use lenslog_engine::{Fact, Recorded};
use lenslog_events::{CameraMinute, Event, EventDetected, RecorderVocabulary};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Day, Entry, JournalView, ReaderOptions, Seq, Timestamp};
use lenslog_tools::Place;
use lenslog_tools::control::{Client, Reply, Request};
use lenslog_tools::{complain, say};

use super::exit::{EXIT_OK, Usage};
use super::{quiet_configuration, times};
use crate::config::{Config, Seconds};

const MINUTE_MICROS: i64 = 60_000_000;

/// Tell why there was, or was not, an event.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// Only this camera, by its id
    #[arg(long, value_name = "ID")]
    camera: Option<String>,
    /// The moment: now, "10m ago", 14:32, 2026-11-23 14:32 or RFC 3339
    #[arg(long, value_name = "TIME")]
    at: String,
    /// The minutes so far around it, such as 10m
    #[arg(long, value_name = "TIME", default_value = "0s")]
    around: Seconds,
}

/// What the journal tells of the time that was asked for.
#[derive(Default)]
struct Findings {
    minutes: Vec<CameraMinute>,
    events: Vec<(Seq, EventDetected)>,
    /// When and why cameras went and came, and the recorder started and stopped, up to the end of that time.
    history: Vec<(Timestamp, Option<String>, String)>,
    /// When the recorder was started first, in what was read.
    first_start: Option<Timestamp>,
}

/// The minutes that were asked for, in UTC microseconds.
#[derive(Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
}

impl Why {
    pub(super) fn run(&self, place: &Place) -> Result<u8> {
        let config = quiet_configuration(place)?;
        let at = times::parse(&self.at, Local::now()).map_err(Usage)?;
        let around = i64::try_from(self.around.0.as_micros()).unwrap_or(i64::MAX / 4);
        let floor = |micros: i64| micros.div_euclid(MINUTE_MICROS) * MINUTE_MICROS;
        let span = Span {
            from: floor(at.utc_micros.saturating_sub(around)),
            to: floor(at.utc_micros.saturating_add(around)).saturating_add(MINUTE_MICROS),
        };
        let view = JournalView::open(&config.storage.data_dir, Arc::new(RealStorage))?;
        let mut findings = read(&view, span, at.day(), self.camera.as_deref())?;
        findings.minutes.extend(running_minutes(&config, span, self.camera.as_deref())?);
        say!("{}", answer(&config, &findings, span, at, self.camera.as_deref()).trim_end());
        Ok(EXIT_OK)
    }
}

/// Reads every segment that may tell of that day.
fn read(view: &JournalView, span: Span, day: Day, camera: Option<&str>) -> Result<Findings> {
    let mut findings = Findings::default();
    let segments = view.segments()?;
    let floor = view.floor()?;
    for (index, segment) in segments.iter().enumerate() {
        let days = segment.sealed.and_then(|sealed| sealed.days);
        let elsewhere = segment.sealed.is_some()
            && days.is_none_or(|(first, last)| last < day.previous() || first > day.next());
        if elsewhere {
            continue;
        }
        let end = segments.get(index + 1).map_or(Seq(u64::MAX), |next| next.name.base);
        let mut reader = view.reader(segment.name.base.max(floor), ReaderOptions::default())?;
        while reader.next_seq() < end {
            match reader.next()? {
                Some(Entry::Record(record)) => {
                    findings.take(Recorded::decode::<RecorderVocabulary>(&record), span, camera);
                }
                Some(Entry::Lost(lost)) => complain!("lenslog: WARNING: {lost}"),
                None => break,
            }
        }
    }
    Ok(findings)
}

impl Findings {
    fn take(&mut self, recorded: Recorded<Event>, span: Span, camera: Option<&str>) {
        let wanted = |id: &str| camera.is_none_or(|camera| camera == id);
        let inside = |time: &Timestamp| (span.from..span.to).contains(&time.utc_micros);
        let Fact::Event(event) = recorded.fact else { return };
        match event {
            Event::CameraMinute(minute) if wanted(&minute.camera_id) && inside(&minute.minute) => {
                self.minutes.push(minute);
            }
            Event::Detected(event) if wanted(&event.camera_id) && inside(&event.timestamp) => {
                self.events.push((recorded.seq, event));
            }
            Event::CameraLost(lost) if wanted(&lost.camera_id) => {
                self.note(
                    lost.at,
                    Some(lost.camera_id),
                    format!("was lost: {}", lost.reason),
                    span,
                );
            }
            Event::CameraFound(found) if wanted(&found.camera_id) => {
                self.note(found.at, Some(found.camera_id), "was back".to_owned(), span);
            }
            Event::RecorderStarted(started) => {
                self.first_start = self.first_start.min(Some(started.at)).or(Some(started.at));
                self.note(started.at, None, "the recorder started".to_owned(), span);
            }
            Event::RecorderStopped(stopped) => {
                let text = format!("the recorder stopped ({})", stopped.reason);
                self.note(stopped.at, None, text, span);
            }
            _ => {}
        }
    }

    fn note(&mut self, at: Timestamp, camera: Option<String>, text: String, span: Span) {
        if at.utc_micros < span.to {
            self.history.push((at, camera, text));
        }
    }
}

/// The minutes that a running recorder has not journaled yet.
fn running_minutes(config: &Config, span: Span, camera: Option<&str>) -> Result<Vec<CameraMinute>> {
    let Some(mut client) = Client::connect(&config.storage.data_dir)? else {
        return Ok(Vec::new());
    };
    client.send(&Request::Minutes)?;
    let mut found = Vec::new();
    while let Some(reply) = client.reply()? {
        if let Reply::Minutes { minutes } = reply {
            found.extend(minutes.into_iter().map(CameraMinute::from).filter(|minute| {
                (span.from..span.to).contains(&minute.minute.utc_micros)
                    && camera.is_none_or(|camera| camera == minute.camera_id)
            }));
        }
    }
    Ok(found)
}

fn answer(
    config: &Config,
    findings: &Findings,
    span: Span,
    at: Timestamp,
    camera: Option<&str>,
) -> String {
    let mut text = String::new();
    let mut minutes = findings.minutes.clone();
    minutes.sort_by(|one, other| {
        (one.minute.utc_micros, &one.camera_id).cmp(&(other.minute.utc_micros, &other.camera_id))
    });
    let cameras: BTreeSet<&str> = minutes
        .iter()
        .map(|minute| minute.camera_id.as_str())
        .chain(findings.events.iter().map(|(_, event)| event.camera_id.as_str()))
        .collect();
    for camera in &cameras {
        for minute in minutes.iter().filter(|minute| minute.camera_id == **camera) {
            tell_minute(&mut text, config, minute);
            let end = minute.minute.utc_micros.saturating_add(MINUTE_MICROS);
            tell_events(&mut text, findings, camera, minute.minute.utc_micros, end);
        }
        if minutes.iter().all(|minute| minute.camera_id != **camera) {
            tell_events(&mut text, findings, camera, span.from, span.to);
        }
    }
    if cameras.is_empty() {
        tell_nothing(&mut text, findings, at, camera);
    }
    text
}

fn tell_minute(text: &mut String, config: &Config, minute: &CameraMinute) {
    let threshold = config
        .cameras
        .get(&minute.camera_id)
        .and_then(|camera| camera.motion.threshold_percent)
        .unwrap_or(config.motion.threshold_percent);
    let time = minute.minute.to_local().format("%Y-%m-%d %H:%M");
    let dropped = match minute.dropped {
        0 => String::new(),
        count => format!(", {count} were dropped"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{time}  {}: {} frames were looked at{dropped}. At most {:.2} % of the picture changed; {threshold} % \
         makes motion.",
        minute.camera_id, minute.frames, minute.max_motion
    );
    if let (Some(label), Some(confidence)) = (&minute.best_label, minute.best_confidence) {
        let percent = (confidence * 100.0).round();
        let minimum = match config.detector.model.as_os_str().is_empty() {
            true => String::new(),
            false => format!("; {} % counts", config.detector.min_object_confidence * 100.0),
        };
        let _ = writeln!(text, "  The best sighting was {label} ({percent} %{minimum}).");
    }
    for suppressed in &minute.suppressed {
        let frames = if suppressed.count == 1 { "frame" } else { "frames" };
        let reason = explained(&suppressed.reason);
        let _ = writeln!(text, "  {} {frames} made no event: {reason}.", suppressed.count);
    }
    if minute.suppressed.is_empty() && minute.frames > 0 {
        let _ = writeln!(text, "  Nothing moved that could have made an event.");
    }
}

fn tell_events(text: &mut String, findings: &Findings, camera: &str, from: i64, to: i64) {
    for (seq, event) in findings.events.iter().filter(|(_, event)| {
        event.camera_id == camera && (from..to).contains(&event.timestamp.utc_micros)
    }) {
        let labels: Vec<&str> =
            event.detected_objects.iter().map(|object| object.label.as_str()).collect();
        let time = event.timestamp.to_local().format("%H:%M:%S");
        let labels = if labels.is_empty() { "nothing named".to_owned() } else { labels.join(", ") };
        let _ = writeln!(
            text,
            "  {time}  There was an event: {} (seq {seq}), {labels}.",
            event.event_id.escape_debug()
        );
    }
}

fn tell_nothing(text: &mut String, findings: &Findings, at: Timestamp, camera: Option<&str>) {
    let time = at.to_local().format("%Y-%m-%d %H:%M");
    let who = camera.unwrap_or("no camera");
    let verb = if camera.is_some() { "looked at no frame" } else { "looked at a frame" };
    let _ = writeln!(text, "{time}  {who} {verb} in this minute.");
    let is_before = |time: &Timestamp| at.utc_micros < time.utc_micros;
    if findings.first_start.is_none_or(|first| is_before(&first)) && findings.history.is_empty() {
        let _ = writeln!(text, "  It lies before the recorder began, or its records were pruned.");
        return;
    }
    match findings.history.iter().max_by_key(|(time, ..)| time.utc_micros) {
        Some((when, camera, what)) => {
            let when = when.to_local().format("%Y-%m-%d %H:%M:%S");
            let who = camera.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "  The last thing before: {when} {who} {what}.",
                what = what.escape_debug()
            );
        }
        None => {
            let _ = writeln!(text, "  Nothing is known of the time before.");
        }
    }
}

/// A reason in plain words.
fn explained(reason: &str) -> String {
    match reason {
        "deduplicated" => "they continued an event that was going on",
        "learning" => "the background was being learned",
        "light_change" => "the light changed",
        "below_threshold" => "too little of the picture changed",
        "masked" => "what moved lies under a mask",
        "outside_zones" => "what moved lies outside of the zones",
        "blacklisted" => "what was seen is on the blacklist",
        "not_tracked" => "what was seen is not tracked",
        "low_confidence" => "the detector was not sure enough",
        "no_object" => "the detector recognised nothing",
        "not_moving" => "what was seen did not move",
        "too_small" => "everything that changed was too small",
        "too_short" => "it was not seen for long enough",
        "blind" => "the picture was black or covered",
        other => return other.replace('_', " "),
    }
    .to_owned()
}
