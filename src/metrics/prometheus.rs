//! Figures in Prometheus' text format, version 0.0.4. Pure: a snapshot in, text out.

use std::fmt::{self, Display, Write};

use super::CameraSnapshot;
use super::snapshot::MetricsSnapshot;
use super::timing::{BUCKETS_MICROS, Buckets};

/// What the text is, for the HTTP header.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes a snapshot as Prometheus reads it.
#[must_use]
pub fn render(snapshot: &MetricsSnapshot) -> String {
    let mut text = Text(String::new());
    text.build_info(&snapshot.version);
    text.cameras(snapshot);
    text.events(snapshot);
    text.timings(snapshot);
    text.projections(snapshot);
    text.storage(snapshot);
    text.errors(snapshot);
    text.process(snapshot);
    text.0
}

struct Text(String);

type Labels<'a> = [(&'a str, &'a str)];

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let opening = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{opening}{label}=\"{}\"", Escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }

    fn build_info(&mut self, version: &str) {
        let name = "lenslog_build_info";
        self.head(name, "gauge", "The version that runs; the value is always 1.");
        self.sample(name, &[("version", version)], 1);
    }

    fn cameras(&mut self, snapshot: &MetricsSnapshot) {
        let cameras = &snapshot.cameras;
        type Value = fn(&CameraSnapshot) -> Option<String>;
        let families: [(&str, &str, &str, Value); 6] = [
            ("lenslog_frames_total", "counter", "Frames looked at.", |camera| {
                Some(camera.frames_processed.to_string())
            }),
            (
                "lenslog_frames_dropped_total",
                "counter",
                "Frames dropped because the pipeline was slower than the camera.",
                |camera| Some(camera.frames_dropped.to_string()),
            ),
            ("lenslog_motion_total", "counter", "Frames in which something moved.", |camera| {
                Some(camera.motion_detected.to_string())
            }),
            ("lenslog_camera_up", "gauge", "Whether the camera delivers.", |camera| {
                Some(u8::from(camera.up).to_string())
            }),
            (
                "lenslog_camera_availability_ratio",
                "gauge",
                "Share of the time in which the camera delivered.",
                |camera| camera.availability.map(|share| share.to_string()),
            ),
            (
                "lenslog_camera_last_frame_timestamp_seconds",
                "gauge",
                "When the last frame came, in seconds since 1970.",
                last_frame,
            ),
        ];
        for (name, kind, help, value) in families {
            self.head(name, kind, help);
            for camera in cameras {
                if let Some(value) = value(camera) {
                    self.sample(name, &[("camera", &camera.id)], value);
                }
            }
        }
        let name = "lenslog_suppressed_total";
        self.head(name, "counter", "Sightings that made no event, by reason.");
        for camera in cameras {
            for (reason, count) in &camera.events_suppressed {
                self.sample(name, &[("camera", &camera.id), ("reason", reason)], count);
            }
        }
    }

    fn events(&mut self, snapshot: &MetricsSnapshot) {
        let name = "lenslog_events_total";
        self.head(name, "counter", "Events journaled, by camera and by what was seen best.");
        for event in &snapshot.events_by_label {
            let labels = [("camera", event.camera.as_str()), ("label", &event.label)];
            self.sample(name, &labels, event.count);
        }
        for (name, kind, help, value) in [
            (
                "lenslog_events_persisted_total",
                "counter",
                "Events of this session that the database has.",
                snapshot.events_persisted,
            ),
            (
                "lenslog_events_waiting",
                "gauge",
                "Events that wait in memory for the journal.",
                snapshot.events_waiting,
            ),
            (
                "lenslog_events_lost_total",
                "counter",
                "Events given up because too many waited.",
                snapshot.events_lost,
            ),
            (
                "lenslog_events_duplicate_total",
                "counter",
                "Events refused because they are known already.",
                snapshot.events_duplicate,
            ),
        ] {
            self.single(name, kind, help, value);
        }
    }

    fn timings(&mut self, snapshot: &MetricsSnapshot) {
        let all = &snapshot.buckets;
        for (name, help, buckets) in [
            ("lenslog_inference_seconds", "Recognising the objects of a frame.", &all.inference),
            ("lenslog_description_seconds", "A sentence about an event.", &all.description),
            (
                "lenslog_frame_latency_seconds",
                "From a frame to its event in the journal.",
                &all.frame_latency,
            ),
            ("lenslog_journal_sync_seconds", "Syncs of the journal.", &all.journal_sync),
        ] {
            self.histogram(name, help, buckets);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, buckets: &Buckets) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in BUCKETS_MICROS.iter().zip(buckets.up_to) {
            let bound = (*bound as f64 / 1e6).to_string();
            self.sample(&bucket, &[("le", &bound)], count);
        }
        self.sample(&bucket, &[("le", "+Inf")], buckets.count);
        self.sample(&format!("{name}_sum"), &[], buckets.sum_micros as f64 / 1e6);
        self.sample(&format!("{name}_count"), &[], buckets.count);
    }

    fn projections(&mut self, snapshot: &MetricsSnapshot) {
        let value = |figures: &super::ProjectionFigures| {
            [figures.lag_records, figures.parked, figures.errors]
        };
        for (index, (name, kind, help)) in [
            ("lenslog_projection_lag_records", "gauge", "Records it has not applied yet."),
            ("lenslog_projection_parked_records", "gauge", "Events that could not be applied."),
            ("lenslog_projection_errors_total", "counter", "Errors since the start."),
        ]
        .into_iter()
        .enumerate()
        {
            self.head(name, kind, help);
            for figures in &snapshot.projections {
                let labels = [("projection", figures.name.as_str())];
                self.sample(name, &labels, value(figures).get(index).copied().unwrap_or_default());
            }
        }
    }

    fn storage(&mut self, snapshot: &MetricsSnapshot) {
        let figures = snapshot.storage;
        for (name, help, bytes) in [
            ("lenslog_storage_bytes", "What everything stored takes.", figures.total_bytes),
            ("lenslog_storage_limit_bytes", "What it may take.", figures.limit_bytes),
        ] {
            self.head(name, "gauge", help);
            if let Some(bytes) = bytes {
                self.sample(name, &[], bytes);
            }
        }
    }

    fn errors(&mut self, snapshot: &MetricsSnapshot) {
        for (name, help, value) in [
            (
                "lenslog_db_write_errors_total",
                "Errors of the database's follower.",
                snapshot.db_write_errors,
            ),
            (
                "lenslog_file_write_errors_total",
                "Errors of writing text files, pictures and metrics.",
                snapshot.file_write_errors,
            ),
            (
                "lenslog_journal_write_errors_total",
                "Events that the journal could not take at once.",
                snapshot.journal_write_errors,
            ),
            (
                "lenslog_storage_warnings_total",
                "Warnings about storage.",
                snapshot.storage_warnings,
            ),
            (
                "lenslog_pictures_lost_total",
                "Pictures that could not be decoded.",
                snapshot.pictures_lost,
            ),
        ] {
            self.single(name, "counter", help, value);
        }
    }

    fn process(&mut self, snapshot: &MetricsSnapshot) {
        if let Some(seconds) = snapshot.cpu_seconds {
            let help = "Processor time, user and system.";
            self.single("process_cpu_seconds_total", "counter", help, seconds);
        }
        if let Some(bytes) = snapshot.memory_bytes {
            let name = "process_resident_memory_bytes";
            self.single(name, "gauge", "Memory that is resident.", bytes);
        }
        let help = "Seconds since the recorder started.";
        self.single("lenslog_uptime_seconds", "gauge", help, snapshot.uptime_s);
    }
}

fn last_frame(camera: &CameraSnapshot) -> Option<String> {
    let micros = camera.last_frame_utc_micros?;
    // Not through a float's own printing: all digits are there.
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    Some(format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000))
}

/// A label's value: backslash, quote and newline are escaped, nothing else.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => formatter.write_str("\\\\")?,
                '"' => formatter.write_str("\\\"")?,
                '\n' => formatter.write_str("\\n")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lenslog_journal::{Seq, SimulatedClock, Timestamp};

    use super::*;
    use crate::metrics::{MetricsCollector, StorageMetrics};

    #[test]
    fn hostile_names_stay_within_their_quotes() {
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let collector = MetricsCollector::new(clock);
        collector.event_ingested("a\"} 9\nlenslog_build_info 7", "back\\slash", Seq(1));
        let text = render(&collector.collect());
        let line = "lenslog_events_total{camera=\"a\\\"} 9\\nlenslog_build_info 7\",label=\"back\\\\slash\"} 1\n";
        assert!(text.contains(line), "{text}");
        assert_eq!(text.matches("\nlenslog_build_info").count(), 1);
    }

    #[test]
    fn every_figure_is_documented() {
        let operations = include_str!("../../docs/operations/metrics.md");
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let text = render(&MetricsCollector::new(clock).collect());
        let names = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
        let missing: Vec<_> =
            names.filter(|name| !operations.contains(&format!("`{name}`"))).collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn every_sample_stands_below_the_head_of_its_family() {
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let collector = MetricsCollector::new(clock);
        let camera = collector.camera("door");
        camera.frame(Timestamp { utc_micros: 1_500_000, offset_minutes: 60 }, 2);
        camera.suppressed("learning");
        collector.inference(Duration::from_millis(160));
        collector.set_storage(StorageMetrics {
            total_bytes: Some(5),
            limit_bytes: Some(10),
            warnings: 0,
        });
        let text = render(&collector.collect());
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} below {family}");
            }
        }
        for line in [
            "lenslog_frames_total{camera=\"door\"} 1",
            "lenslog_frames_dropped_total{camera=\"door\"} 2",
            "lenslog_suppressed_total{camera=\"door\",reason=\"learning\"} 1",
            "lenslog_camera_up{camera=\"door\"} 0",
            "lenslog_camera_last_frame_timestamp_seconds{camera=\"door\"} 1.500000",
            "lenslog_inference_seconds_bucket{le=\"0.1\"} 0",
            "lenslog_inference_seconds_bucket{le=\"0.25\"} 1",
            "lenslog_inference_seconds_bucket{le=\"+Inf\"} 1",
            "lenslog_inference_seconds_sum 0.16",
            "lenslog_storage_bytes 5",
            "lenslog_storage_limit_bytes 10",
        ] {
            assert!(text.lines().any(|found| found == line), "no '{line}' in\n{text}");
        }
    }
}
