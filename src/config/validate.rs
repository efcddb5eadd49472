//! Checks values that are of the right type and still make no sense.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys::Origins;
use super::notify::{NOTIFY_MAX, NOTIFY_NAME_CHARS_MAX, NotifyTarget};
use super::{Camera, Config, ConfigError, DetectorConfig, KeepImages, offset_minutes};
use crate::source::{FrameRate, SourceSpec};
use lenslog_vision::detection::Layout;
use lenslog_vision::drawing::Quality;
use lenslog_vision::geometry::Polygon;
use lenslog_vision::motion::{LEARNING_FRAMES_MAX, THRESHOLD_PERCENT_MIN};

/// Most cameras one recorder takes.
const CAMERAS_MAX: usize = 64;
/// Longest id of a camera, in characters.
const CAMERA_ID_CHARS_MAX: usize = lenslog_events::limits::CAMERA_ID_BYTES_MAX;

/// How long one picture may take the detector.
const DETECTOR_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);
/// Longest prompt.
const PROMPT_BYTES_MAX: usize = 10_000;
/// How long a sentence can be waited for.
const DESCRIPTION_TIMES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// How late a picture can be.
const LATE_BY_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// How often metrics can be written.
const METRICS_INTERVALS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// How long one attempt of a notification may take.
const NOTIFY_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// How long a camera may be silent after a notification.
const NOTIFY_COOLDOWNS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);
/// From which age on a notification is late.
const NOTIFY_AGES: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(365 * 86_400);

/// A key that is set and has no effect, or not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it was set.
    pub place: String,
    /// The key.
    pub key: &'static str,
    /// What about it.
    pub problem: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.place, self.key, self.problem)
    }
}

pub(super) fn validate(
    config: &Config,
    origins: &Origins<'_>,
) -> Result<Vec<Warning>, ConfigError> {
    let check = Check { origins };
    let storage = &config.storage;
    check.range(&["storage", "max_storage_gb"], storage.max_storage_gb, 0.001, 1_000_000.0)?;
    let max = storage.max_retention_days;
    check.that(
        max == 0 || max >= storage.min_retention_days,
        &["storage", "max_retention_days"],
        max,
        "0, or no less than storage.min_retention_days",
    )?;
    let images = storage.images_retention_days;
    check.that(
        images == 0 || max == 0 || images <= max,
        &["storage", "images_retention_days"],
        images,
        "0, or no more than storage.max_retention_days: pictures go with their events",
    )?;
    check.that(
        storage.storage_check_interval > 0,
        &["storage", "storage_check_interval"],
        storage.storage_check_interval,
        "1 or more events",
    )?;
    check.that(
        config.cameras.len() <= CAMERAS_MAX,
        &["cameras"],
        format!("{} cameras", config.cameras.len()),
        format!("at most {CAMERAS_MAX}"),
    )?;
    for (id, camera) in &config.cameras {
        check.camera(id, camera)?;
    }
    check.that(
        config.notify.len() <= NOTIFY_MAX,
        &["notify"],
        format!("{} receivers", config.notify.len()),
        format!("at most {NOTIFY_MAX}"),
    )?;
    for (name, target) in &config.notify {
        check.notify(name, target, config)?;
    }
    check.threshold(&["motion", "threshold_percent"], config.motion.threshold_percent)?;
    check.range(&["motion", "min_area_percent"], config.motion.min_area_percent, 0.0, 100.0)?;
    check.learning(&["motion", "learning_frames"], config.motion.learning_frames)?;
    let confidence = config.detector.min_object_confidence;
    check.range(&["detector", "min_object_confidence"], confidence, 0.0, 1.0)?;
    check.detector(&config.detector)?;
    check.that(
        Quality::new(config.images.quality).is_some(),
        &["images", "quality"],
        config.images.quality,
        "1 to 100",
    )?;
    let endpoint = &config.description.endpoint;
    check.that(
        endpoint.is_empty() || is_endpoint(endpoint),
        &["description", "endpoint"],
        // It may hold a password.
        format!("'{}'", crate::util::redact::redacted(endpoint)),
        "empty, or http://HOST/v1 or https://HOST/v1 without a password (keys come from api_key_file)",
    )?;
    let proxy = &config.description.proxy;
    check.that(
        is_proxy(proxy),
        &["description", "proxy"],
        format!("'{}'", crate::util::redact::redacted(proxy)),
        "empty, 'environment', or http://HOST:PORT",
    )?;
    let prompt = &config.description.prompt;
    check.that(
        !prompt.trim().is_empty() && prompt.len() <= PROMPT_BYTES_MAX,
        &["description", "prompt"],
        format!("{} bytes", prompt.len()),
        format!("1 to {PROMPT_BYTES_MAX} bytes"),
    )?;
    for (name, value) in
        [("hold", config.description.hold), ("timeout", config.description.timeout)]
    {
        check.that(
            DESCRIPTION_TIMES.contains(&value.0),
            &["description", name],
            value,
            "1s to 1h",
        )?;
    }
    let interval = config.metrics.metrics_interval;
    check.that(
        METRICS_INTERVALS.contains(&interval.0),
        &["metrics", "metrics_interval"],
        interval,
        "1s to 1d",
    )?;
    check.that(
        config.metrics.listen.is_empty() || config.metrics.address().is_some(),
        &["metrics", "listen"],
        format!("'{}'", config.metrics.listen),
        "empty, or an address with a port such as 127.0.0.1:9747 or [::1]:9747",
    )?;
    check.that(
        matches!(config.log.level.as_str(), "error" | "warn" | "info" | "debug" | "trace"),
        &["log", "level"],
        format!("'{}'", config.log.level),
        "error, warn, info, debug or trace",
    )?;
    check.that(
        config.time.zone.is_empty() || config.time.offset_minutes().is_some(),
        &["time", "zone"],
        format!("'{}'", config.time.zone),
        "empty for the machine's time zone, or an offset such as +01:00",
    )?;
    Ok(not_yet(config, origins))
}

/// Warns of keys that have no effect with the others as they are.
fn not_yet(config: &Config, origins: &Origins<'_>) -> Vec<Warning> {
    let default = Config::default();
    let mut warnings = Vec::new();
    let mut warn = |differs: bool, key: &'static str, problem: &'static str| {
        if differs {
            let path: Vec<&str> = key.split('.').collect();
            warnings.push(Warning { place: origins.of(&path), key, problem });
        }
    };
    let has_model = !config.detector.model.as_os_str().is_empty();
    let no_detector = "without detector.model motion alone makes events, and the rest of [detector] has no effect";
    warn(!has_model && config.detector != default.detector, "detector.model", no_detector);
    let unkept = !config.description.endpoint.is_empty() && config.images.keep == KeepImages::None;
    let no_picture = "no picture is kept, so that there is nothing to describe; set images.keep";
    warn(unkept, "description.endpoint", no_picture);
    let open = config.metrics.address().is_some_and(|address| !address.ip().is_loopback());
    let problem = "everybody who reaches this address can read the metrics, unencrypted";
    warn(open, "metrics.listen", problem);
    warnings
}

struct Check<'a> {
    origins: &'a Origins<'a>,
}

impl Check<'_> {
    fn that(
        &self,
        holds: bool,
        path: &[&str],
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Result<(), ConfigError> {
        if holds {
            return Ok(());
        }
        Err(ConfigError::Value {
            place: self.origins.of(path),
            key: path.join("."),
            found: found.to_string(),
            expected: expected.to_string(),
        })
    }

    fn refused(&self, path: &[&str], problem: impl fmt::Display) -> ConfigError {
        let (place, key) = (self.origins.of(path), path.join("."));
        ConfigError::Refused { place, key, problem: problem.to_string() }
    }

    fn range(&self, path: &[&str], found: f64, min: f64, max: f64) -> Result<(), ConfigError> {
        self.that((min..=max).contains(&found), path, found, format!("{min} to {max}"))
    }

    fn threshold(&self, path: &[&str], percent: f64) -> Result<(), ConfigError> {
        self.range(path, percent, THRESHOLD_PERCENT_MIN, 100.0)
    }

    fn learning(&self, path: &[&str], frames: u32) -> Result<(), ConfigError> {
        self.that(
            (1..=LEARNING_FRAMES_MAX).contains(&frames),
            path,
            frames,
            format!("1 to {LEARNING_FRAMES_MAX}"),
        )
    }

    fn detector(&self, detector: &DetectorConfig) -> Result<(), ConfigError> {
        let key = |name| ["detector", name];
        if let Err(problem) = detector.layout.parse::<Layout>() {
            return Err(self.refused(&key("layout"), problem));
        }
        let timeout = detector.timeout;
        let fits = DETECTOR_TIMEOUTS.contains(&timeout.0);
        self.that(fits, &key("timeout"), timeout, "100ms to 10m")?;
        let needs_labels = !detector.model.as_os_str().is_empty();
        self.that(
            !needs_labels || !detector.labels.as_os_str().is_empty(),
            &key("labels"),
            "empty",
            "the file with the names of the model's classes, one a line",
        )
    }

    fn notify(
        &self,
        name: &str,
        target: &NotifyTarget,
        config: &Config,
    ) -> Result<(), ConfigError> {
        let key = |last| ["notify", name, last];
        self.that(
            !name.is_empty() && name.len() <= NOTIFY_NAME_CHARS_MAX && name.chars().all(is_plain),
            &["notify", name],
            format!("'{name}'"),
            format!("1 to {NOTIFY_NAME_CHARS_MAX} of the characters A-Z a-z 0-9 _ -"),
        )?;
        let url = format!("'{}'", crate::util::redact::redacted(&target.url));
        self.that(
            target.url.is_empty() != target.exec.is_empty(),
            &["notify", name],
            format!("url {url} and {} words of exec", target.exec.len()),
            "either url or exec",
        )?;
        self.that(
            target.url.is_empty() || is_endpoint(&target.url),
            &key("url"),
            url,
            "http://HOST/… or https://HOST/… without a password (secrets come from secret_file)",
        )?;
        self.that(
            target.exec.first().is_none_or(|program| !program.is_empty()),
            &key("exec"),
            "an empty program",
            "a program and its arguments, such as [\"/usr/local/bin/alarm\", \"--loud\"]",
        )?;
        for (last, value, range, words) in [
            ("timeout", target.timeout, NOTIFY_TIMEOUTS, "1s to 5m"),
            ("cooldown", target.cooldown, NOTIFY_COOLDOWNS, "0s to 1d"),
            ("max_age", target.max_age, NOTIFY_AGES, "10s to 365d"),
        ] {
            self.that(range.contains(&value.0), &key(last), value, words)?;
        }
        let unknown = target.cameras.iter().find(|id| !config.cameras.contains_key(*id));
        self.that(
            config.cameras.is_empty() || unknown.is_none(),
            &key("cameras"),
            format!("'{}'", unknown.map_or("", String::as_str)),
            "ids of [cameras.ID]",
        )
    }

    fn camera(&self, id: &str, camera: &Camera) -> Result<(), ConfigError> {
        self.that(
            !id.is_empty() && id.len() <= CAMERA_ID_CHARS_MAX && id.chars().all(is_plain),
            &["cameras", id],
            format!("'{id}'"),
            format!("1 to {CAMERA_ID_CHARS_MAX} of the characters A-Z a-z 0-9 _ -"),
        )?;
        let key = |name| ["cameras", id, name];
        if let Err(error) = camera.source.parse::<SourceSpec>() {
            // A misspelt URL may still hold a password.
            let problem = crate::util::redact::redacted(&error.to_string());
            return Err(self.refused(&key("source"), problem));
        }
        self.that(
            FrameRate::from_fps(camera.fps).is_some(),
            &key("fps"),
            camera.fps,
            format!("{} to {}", FrameRate::MIN.fps(), FrameRate::MAX.fps()),
        )?;
        self.that(
            camera.zone.is_empty() || offset_minutes(&camera.zone).is_some(),
            &key("zone"),
            format!("'{}'", camera.zone),
            "empty where its clock shows local time, or an offset such as +01:00",
        )?;
        let late_by = camera.late_by;
        self.that(LATE_BY_MAX >= late_by.0, &key("late_by"), late_by, "0s to 3650d")?;
        let name_max = lenslog_events::limits::CAMERA_NAME_BYTES_MAX;
        let name = format!("{} bytes long", camera.name.len());
        let short = format!("at most {name_max} bytes");
        self.that(camera.name.len() <= name_max, &key("name"), name, short)?;
        for (name, polygons) in [
            ("masks", &camera.masks),
            ("privacy_masks", &camera.privacy_masks),
            ("zones", &camera.zones),
        ] {
            for polygon in polygons {
                if let Err(error) = Polygon::new(polygon.clone()) {
                    return Err(self.refused(&key(name), error));
                }
            }
        }
        if let Some(percent) = camera.motion.threshold_percent {
            self.threshold(&["cameras", id, "motion", "threshold_percent"], percent)?;
        }
        if let Some(percent) = camera.motion.min_area_percent {
            self.range(&["cameras", id, "motion", "min_area_percent"], percent, 0.0, 100.0)?;
        }
        if let Some(frames) = camera.motion.learning_frames {
            self.learning(&["cameras", id, "motion", "learning_frames"], frames)?;
        }
        Ok(())
    }
}
/// Whether an id may have this character.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-".contains(character)
}

/// Whether `text` is an http or https address without a password.
fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains('@') && rest.chars().all(|c| c.is_ascii_graphic())
    })
}

/// The proxy that the environment variables name.
pub(crate) const PROXY_OF_ENVIRONMENT: &str = "environment";

/// Whether `text` is a valid `proxy` key: empty, `environment`, or an http address.
pub(crate) fn is_proxy(text: &str) -> bool {
    let is_address = || text.starts_with("http://") && ureq::Proxy::new(text).is_ok();
    text.is_empty() || text == PROXY_OF_ENVIRONMENT || is_address()
}
