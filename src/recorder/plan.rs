//! From the configuration to how each camera is read.

use std::path::PathBuf;
use std::time::Duration;

use lenslog_journal::Timestamp;

use super::camera::CameraPlan;
use super::pipeline::CameraSettings;
use crate::config::{Camera, Config, offset_minutes};
use crate::source::{ClockSettings, FrameRate, LocalOffset, SourceOptions};
use lenslog_vision::geometry::Polygon;
use lenslog_vision::motion::{MotionConfig, TamperConfig};
use lenslog_vision::policy::PolicyConfig;

/// How long a thing stands still before it belongs to the background.
const ABSORB: Duration = Duration::from_secs(30);

/// What the command line says about how sources are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceFlags {
    /// Frames of files come in real time.
    pub pace: bool,
    /// When the first frame of a file was taken.
    pub start: Option<Timestamp>,
}

impl Default for SourceFlags {
    fn default() -> Self {
        Self { pace: true, start: None }
    }
}

/// How every camera is read. The configuration was validated: what still does not fit is left out and logged.
#[must_use]
pub fn plans(config: &Config, flags: SourceFlags) -> Vec<CameraPlan> {
    config
        .cameras
        .iter()
        .filter_map(|(id, camera)| match camera.source.parse() {
            Ok(spec) => {
                let settings = settings(config, id, camera);
                let fps = FrameRate::from_fps(camera.fps).unwrap_or_default();
                let local_offset = match config.time.offset_minutes() {
                    Some(minutes) => LocalOffset::FixedMinutes(minutes),
                    None => LocalOffset::System,
                };
                let SourceFlags { pace, start } = flags;
                let options = SourceOptions {
                    camera: id.clone(),
                    fps,
                    size: camera.size,
                    controls: camera.controls.clone(),
                    pace,
                    start,
                    local_offset,
                    zone_minutes: offset_minutes(&camera.zone),
                    clock: ClockSettings { time: camera.time, late_by: late_by(config, camera) },
                    memory: Some(memory(config, id)),
                    ..SourceOptions::default()
                };
                Some(CameraPlan { settings, spec, options })
            }
            Err(error) => {
                tracing::error!(camera = id, %error, "camera left out");
                None
            }
        })
        .collect()
}

/// How late a picture of a folder may arrive: what is kept for days must not be deleted at once because of the time that
/// its sender claims.
fn late_by(config: &Config, camera: &Camera) -> Duration {
    const DAY: Duration = Duration::from_secs(86_400);
    /// Less is no lag.
    const MIN: Duration = Duration::from_secs(600);
    let storage = &config.storage;
    let bounds = [storage.max_retention_days, storage.images_retention_days];
    // Today is one of the days that are kept.
    let bounds = bounds.into_iter().filter(|days| *days > 0).map(|days| DAY * (days - 1));
    bounds.fold(camera.late_by.0, |late_by, bound| late_by.min(bound.max(MIN)))
}

/// Where it is remembered which pictures of a folder were recorded.
fn memory(config: &Config, id: &str) -> PathBuf {
    config.storage.data_dir.join("checkpoints").join(format!("{id}.taken"))
}

fn settings(config: &Config, id: &str, camera: &Camera) -> CameraSettings {
    let polygons = |all: &[Vec<(f64, f64)>]| -> Vec<Polygon> {
        all.iter().filter_map(|corners| Polygon::new(corners.clone()).ok()).collect()
    };
    let motion = MotionConfig {
        threshold_percent: camera
            .motion
            .threshold_percent
            .unwrap_or(config.motion.threshold_percent),
        min_area_percent: camera.motion.min_area_percent.unwrap_or(config.motion.min_area_percent),
        learning_frames: camera.motion.learning_frames.unwrap_or(config.motion.learning_frames),
        absorb_frames: (ABSORB.as_secs_f64() * camera.fps).ceil().max(1.0) as u32,
        masks: polygons(&camera.masks),
        zones: polygons(&camera.zones),
    };
    let events = &camera.events;
    let policy = PolicyConfig {
        deduplication_window: events
            .deduplication_window
            .unwrap_or(config.events.deduplication_window)
            .0,
        max_event: events.max_event.unwrap_or(config.events.max_event).0,
        min_duration: events.min_duration.unwrap_or(config.events.min_duration).0,
        split_on_new_object: events
            .split_on_new_object
            .unwrap_or(config.events.split_on_new_object),
        track: config.detector.track.clone(),
        ignore: config.detector.ignore.clone(),
        min_object_confidence: config.detector.min_object_confidence,
    };
    CameraSettings {
        id: id.to_owned(),
        name: Some(camera.name.clone()).filter(|name| !name.is_empty()),
        motion,
        tamper_detector: TamperConfig {
            frozen_after: config.motion.frozen_after.0,
            blind_after: config.motion.blind_after.0,
        },
        policy,
        privacy: polygons(&camera.privacy_masks),
        model: model_name(config),
        is_described: !config.description.endpoint.is_empty(),
    }
}

/// What events call the model: its file without folder and ending.
fn model_name(config: &Config) -> Option<String> {
    let name = config.detector.model.file_stem()?.to_string_lossy();
    Some(name.into_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_may_arrive_no_later_than_they_are_kept() {
        const DAY: u64 = 86_400;
        for (records, pictures, expected) in
            [(0, 0, 30 * DAY), (60, 0, 30 * DAY), (8, 0, 7 * DAY), (8, 3, 2 * DAY), (0, 1, 600)]
        {
            let mut config = Config::default();
            config.storage.max_retention_days = records;
            config.storage.images_retention_days = pictures;
            let found = late_by(&config, &Camera::default());
            assert_eq!(found, Duration::from_secs(expected), "{records} {pictures}");
        }
    }
}
