//! [`Answer`], what was found, in plain words with numbers. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::Local;
use lenslog_events::{CameraMinute, EventDetected};
use lenslog_journal::Timestamp;

use super::findings::Findings;
use super::spans::{Outage, Span};
use crate::cli::times;
use crate::config::Config;
use crate::source::SourceSpec;
use lenslog_vision::policy::MOTION_LABEL;

/// Characters of a reason that are printed.
const REASON_CHARS_MAX: usize = 300;

/// What is answered, and of what.
pub(super) struct Answer<'a> {
    pub(super) config: &'a Config,
    pub(super) findings: &'a Findings,
    pub(super) span: Span,
    pub(super) at: Timestamp,
    pub(super) camera: Option<&'a str>,
    /// A recorder runs now.
    pub(super) is_running: bool,
}

impl Answer<'_> {
    /// The cameras to explain: the requested one, else all.
    pub(super) fn cameras(&self) -> BTreeSet<&str> {
        match self.camera {
            Some(camera) => BTreeSet::from([camera]),
            None => {
                let configured = self.config.cameras.keys().map(String::as_str);
                configured.chain(self.findings.cameras.iter().map(String::as_str)).collect()
            }
        }
    }

    /// Whether nothing is known of a camera of that name.
    pub(super) fn is_unknown(&self, camera: &str) -> bool {
        let minutes = &self.findings.minutes;
        !self.config.cameras.contains_key(camera)
            && !self.findings.cameras.contains(camera)
            && minutes.iter().all(|minute| minute.camera_id != camera)
    }

    /// The answer about a single minute.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let cameras = self.cameras();
        for camera in &cameras {
            self.write_camera(&mut text, camera);
        }
        if cameras.is_empty() {
            line(&mut text, &format!("{}  No camera is known.", minute(self.at)));
        }
        if let Some(why_not) = self.outside() {
            line(&mut text, &format!("  {why_not}"));
        }
        text
    }

    fn write_camera(&self, text: &mut String, camera: &str) {
        let findings = self.findings;
        let mut minutes = findings.minutes.iter().filter(|minute| minute.camera_id == camera);
        match minutes.next() {
            Some(found) => self.write_minute(text, found),
            None => {
                let name = plain(camera);
                line(text, &format!("{}  {name}: no frame was looked at.", minute(self.at)));
            }
        }
        for (seq, event) in findings.events_of(camera, self.span) {
            write_event(text, seq.0, event);
        }
        let lost = findings.lost.get(camera).into_iter().flatten();
        for outage in lost.filter(|outage| outage.touches(self.span)) {
            let until = until(outage, "and it is not back");
            line(
                text,
                &format!(
                    "  The camera was away from {} {until}: {}",
                    second(outage.from),
                    sentence(&outage.reason)
                ),
            );
        }
        for (at, reason) in &findings.detector_failures {
            let (at, reason) = (second(*at), sentence(reason));
            line(
                text,
                &format!("  The detector failed at {at}, and motion alone made events: {reason}"),
            );
        }
        if self.is_unknown(camera) {
            let known: Vec<&str> =
                self.config.cameras.keys().chain(&findings.cameras).map(String::as_str).collect();
            let known: BTreeSet<String> = known.into_iter().map(plain).collect();
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            line(text, &format!("  There is no camera of that id. Known are: {known}"));
        }
    }

    fn write_minute(&self, text: &mut String, found: &CameraMinute) {
        let dropped = match found.dropped {
            0 => String::new(),
            1 => ", 1 was dropped because this machine was too slow".to_owned(),
            count => format!(", {count} were dropped because this machine was too slow"),
        };
        let frames = if found.frames == 1 { "frame was" } else { "frames were" };
        line(
            text,
            &format!(
                "{}  {}: {} {frames} looked at{dropped}.",
                minute(found.minute),
                plain(&found.camera_id),
                found.frames
            ),
        );
        self.write_motion(text, found);
        self.write_best(text, found);
        for suppressed in &found.suppressed {
            let frames = if suppressed.count == 1 { "frame" } else { "frames" };
            let reason = explained(&suppressed.reason);
            line(text, &format!("  {} {frames} made no event: {reason}.", suppressed.count));
        }
    }

    fn write_motion(&self, text: &mut String, found: &CameraMinute) {
        if !self.looks_for_motion(&found.camera_id) {
            return line(text, "  Every picture of its source counts; motion is not looked for.");
        }
        let threshold = self.threshold(&found.camera_id);
        let relation = if found.max_motion < threshold { "too little" } else { "enough" };
        line(
            text,
            &format!(
                "  At most {:.2} % of the picture changed, {relation} for motion: the threshold is {threshold} %.",
                found.max_motion
            ),
        );
    }

    /// Whether that camera's pictures follow each other, as far as it is configured.
    fn looks_for_motion(&self, camera: &str) -> bool {
        let camera = self.config.cameras.get(camera);
        let spec = camera.and_then(|camera| camera.source.parse::<SourceSpec>().ok());
        spec.is_none_or(|spec| spec.has_motion_stage())
    }

    fn write_best(&self, text: &mut String, found: &CameraMinute) {
        let (Some(label), Some(confidence)) = (&found.best_label, found.best_confidence) else {
            return line(text, "  Nothing was seen in it.");
        };
        let percent = confidence * 100.0;
        if label == MOTION_LABEL {
            line(text, &format!("  The best sighting was motion, {percent:.0} % sure."));
            return;
        }
        let least = self.config.detector.min_object_confidence;
        let relation = if confidence < least { "too unsure" } else { "sure enough" };
        line(
            text,
            &format!(
                "  The best sighting was {}, {percent:.0} % sure, {relation}: the minimum is {:.0} %.",
                plain(label),
                least * 100.0
            ),
        );
    }

    /// What makes motion of that camera, as it is configured now.
    fn threshold(&self, camera: &str) -> f64 {
        let camera = self.config.cameras.get(camera);
        let own = camera.and_then(|camera| camera.motion.threshold_percent);
        own.unwrap_or(self.config.motion.threshold_percent)
    }

    /// Why there may be nothing at that time: it lies before the recorder began, or it did not run.
    pub(super) fn outside(&self) -> Option<String> {
        let findings = self.findings;
        let Some(first) = findings.first_start else {
            return Some("The recorder has never run here, as far as its journal goes.".to_owned());
        };
        if self.at.utc_micros < first.utc_micros && self.span.to <= first.utc_micros {
            let pruned = if findings.was_pruned { "; older days were deleted" } else { "" };
            return Some(format!(
                "That is before the recorder began: it was first started on {}{pruned}.",
                second(first)
            ));
        }
        let stopped: Vec<String> = findings
            .stopped
            .iter()
            .filter(|outage| outage.touches(self.span))
            // What runs now has not written yet that it does.
            .filter(|outage| outage.to.is_some() || !self.is_running)
            .map(|outage| {
                let until = until(outage, "and was not started again");
                format!(
                    "The recorder did not run from {} {until}: {}",
                    second(outage.from),
                    sentence(&outage.reason)
                )
            })
            .collect();
        if !stopped.is_empty() {
            return Some(stopped.join("\n  "));
        }
        let is_silent = findings.minutes.is_empty() && findings.events.is_empty();
        if is_silent && !self.is_running && findings.last_sign_before(self.span) {
            return Some(
                "The recorder does not run, and its last record is older: it was killed, or the power went."
                    .to_owned(),
            );
        }
        None
    }
}

fn write_event(text: &mut String, seq: u64, event: &EventDetected) {
    let objects: Vec<String> = event
        .detected_objects
        .iter()
        .map(|object| format!("{} {:.0} %", plain(&object.label), object.confidence * 100.0))
        .collect();
    let objects = if objects.is_empty() { "nothing named".to_owned() } else { objects.join(", ") };
    let time = event.timestamp.to_local().format("%H:%M:%S");
    let id = plain(&event.event_id);
    line(text, &format!("  {time}  There was an event: {objects}; {id}, seq {seq}."));
}

/// A reason of a suppression in plain words.
pub(super) fn explained(reason: &str) -> String {
    match reason {
        "deduplicated" => "it belongs to an event that was going on",
        "learning" => "the background was being learned",
        "light_change" => "the light changed",
        "below_threshold" => "too little of the picture changed",
        "masked" => "what moved lies under a mask",
        "outside_zones" => "what moved lies outside of the zones",
        "blacklisted" => "what was seen is on the blacklist",
        "not_tracked" => "what was seen is not tracked",
        "low_confidence" => "the detector was not sure enough",
        "no_object" => "the detector recognised nothing",
        "blind" => "the picture was black or covered",
        "too_short" => "it was not seen for long enough (events.min_duration)",
        "too_small" => "everything that changed is too small (motion.min_area_percent)",
        "not_moving" => "what was seen did not move",
        other => return plain(&other.replace('_', " ")),
    }
    .to_owned()
}

/// How an outage ended.
pub(super) fn until(outage: &Outage, otherwise: &str) -> String {
    outage.to.map_or_else(|| format!("on, {otherwise}"), |to| format!("to {}", second(to)))
}

pub(super) fn minute(time: Timestamp) -> String {
    times::shown(&Local, time.to_local(), "%Y-%m-%d %H:%M")
}

pub(super) fn second(time: Timestamp) -> String {
    times::shown(&Local, time.to_local(), "%Y-%m-%d %H:%M:%S")
}

/// A text of others, without what a terminal would act on.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(REASON_CHARS_MAX).collect()
}

fn sentence(reason: &str) -> String {
    let reason = plain(reason);
    if reason.ends_with('.') { reason } else { format!("{reason}.") }
}

/// Adds a line.
pub(super) fn line(text: &mut String, words: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{words}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use lenslog_vision::policy::Suppression;

    #[test]
    fn every_suppression_is_explained_in_words_of_its_own() {
        for reason in Suppression::ALL {
            let name = reason.name();
            assert_ne!(explained(name), name.replace('_', " "), "{name}");
        }
        assert_eq!(explained("of_a_newer\u{1b} version"), "of a newer version");
    }
}
