//! What can be set, and its defaults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{NotifyTarget, Seconds};
use crate::source::{ClockSettings, PictureSize, PictureTime};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where data is kept and how much of it.
    pub storage: StorageConfig,
    /// The cameras, by their ids.
    pub cameras: BTreeMap<String, Camera>,
    /// When a change of the picture is motion.
    pub motion: MotionSection,
    /// Which objects count.
    pub detector: DetectorConfig,
    /// When a sighting is a new event.
    pub events: EventsConfig,
    /// Which pictures are kept.
    pub images: Images,
    /// Sentences about events.
    pub description: Description,
    /// Who is notified of events, by names.
    pub notify: BTreeMap<String, NotifyTarget>,
    /// Figures about the recorder itself.
    pub metrics: Metrics,
    /// What is logged and how.
    pub log: Log,
    /// What local time is.
    pub time: Time,
}

/// Where data is kept and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The database; empty: `events.db` in the data directory.
    pub db_path: PathBuf,
    /// Figures about the recorder; empty: `logs` beside the data directory.
    pub log_dir: PathBuf,
    /// Most that everything may take, in GB (10⁹ bytes).
    pub max_storage_gb: f64,
    /// Days with data that rotation keeps.
    pub min_retention_days: u32,
    /// Days after which everything goes, whatever the disk says; 0: never.
    pub max_retention_days: u32,
    /// Days after which pictures go and records stay; 0: as long as their events.
    pub images_retention_days: u32,
    /// Events between two checks of the storage.
    pub storage_check_interval: u32,
    /// What happens when rotation cannot free enough.
    pub when_full: WhenFull,
    /// A directory that must be a mount point before anything is written.
    pub require_mount: PathBuf,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            db_path: PathBuf::new(),
            log_dir: PathBuf::new(),
            max_storage_gb: 4.0,
            min_retention_days: 7,
            max_retention_days: 0,
            images_retention_days: 0,
            storage_check_interval: 100,
            when_full: WhenFull::Stop,
            require_mount: PathBuf::new(),
        }
    }
}

/// What happens when rotation cannot free enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The recorder ends with exit code 3.
    Stop,
    /// The oldest goes, but never event records of today.
    OverwriteOldest,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Camera {
    /// What people call it.
    pub name: String,
    /// Where its frames come from.
    pub source: String,
    /// Frames a second that are looked at.
    pub fps: f64,
    /// The size to ask the camera for; the nearest that it has is taken.
    pub size: PictureSize,
    /// Controls of the camera by their names, and their values.
    pub controls: BTreeMap<String, i64>,
    /// Parts of the picture that are ignored: polygons in fractions of the frame.
    pub masks: Vec<Vec<(f64, f64)>>,
    /// Parts that are painted over before anything is stored or sent.
    pub privacy_masks: Vec<Vec<(f64, f64)>>,
    /// Where any are given, only motion that touches one counts.
    pub zones: Vec<Vec<(f64, f64)>>,
    /// Which time the pictures of a folder get.
    pub time: PictureTime,
    /// The offset from UTC of the clock of what sends them; empty: it shows local time.
    pub zone: String,
    /// How late they may arrive for the claimed time to be believed.
    pub late_by: Seconds,
    /// Overrides of `[motion]` for this camera.
    #[serde(skip_serializing_if = "CameraMotion::is_empty")]
    pub motion: CameraMotion,
    /// Overrides of `[events]` for this camera.
    #[serde(skip_serializing_if = "CameraEvents::is_empty")]
    pub events: CameraEvents,
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            name: String::new(),
            source: String::new(),
            fps: 5.0,
            size: PictureSize::default(),
            controls: BTreeMap::new(),
            masks: Vec::new(),
            privacy_masks: Vec::new(),
            zones: Vec::new(),
            time: PictureTime::default(),
            zone: String::new(),
            late_by: Seconds(ClockSettings::default().late_by),
            motion: CameraMotion::default(),
            events: CameraEvents::default(),
        }
    }
}

/// When a change of the picture is motion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MotionSection {
    /// Changed pixels, in per cent of the picture without its masks.
    pub threshold_percent: f64,
    /// What is smaller does not count, in per cent of the picture.
    pub min_area_percent: f64,
    /// Frames at the beginning from which the background is learned.
    pub learning_frames: u32,
    /// The same picture for so long is a lost camera; 0: it is not.
    pub frozen_after: Seconds,
    /// A black or covered picture for so long is a lost camera; 0: it is not.
    pub blind_after: Seconds,
}

impl Default for MotionSection {
    fn default() -> Self {
        Self {
            threshold_percent: 2.0,
            min_area_percent: 0.1,
            learning_frames: 25,
            frozen_after: Seconds::new(300),
            blind_after: Seconds::new(10),
        }
    }
}

/// [`MotionSection`] for one camera, where it differs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraMotion {
    /// See [`MotionSection::threshold_percent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold_percent: Option<f64>,
    /// See [`MotionSection::min_area_percent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_area_percent: Option<f64>,
    /// See [`MotionSection::learning_frames`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_frames: Option<u32>,
}

impl CameraMotion {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which objects count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorConfig {
    /// The model, an ONNX file; empty: motion alone makes events.
    pub model: PathBuf,
    /// The names of its classes, one a line.
    pub labels: PathBuf,
    /// Form of its output: `yolox` or `yolov8`.
    pub layout: String,
    /// Classes that count.
    pub track: Vec<String>,
    /// Classes that never count.
    #[serde(alias = "blacklist")]
    pub ignore: Vec<String>,
    /// Least confidence of an object that counts, 0 to 1.
    pub min_object_confidence: f64,
    /// Whether recording without a working detector is an error.
    pub required: bool,
    /// Path of libonnxruntime.so; empty: the built-in one.
    pub onnxruntime: PathBuf,
    /// How long one picture may take before the detector is restarted.
    pub timeout: Seconds,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        let policy = lenslog_vision::policy::PolicyConfig::default();
        Self {
            model: PathBuf::new(),
            labels: PathBuf::new(),
            layout: "yolox".to_owned(),
            track: policy.track,
            ignore: policy.ignore,
            min_object_confidence: policy.min_object_confidence,
            required: true,
            onnxruntime: PathBuf::new(),
            timeout: Seconds::new(20),
        }
    }
}

/// When a sighting is a new event.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// A sighting within this time of the last one continues its event.
    pub deduplication_window: Seconds,
    /// An event that lasts this long is ended; the next sighting begins another.
    pub max_event: Seconds,
    /// What is not seen for so long begins no event.
    pub min_duration: Seconds,
    /// Whether more objects at once than an event has had so far begin another event.
    #[serde(alias = "newcomers")]
    pub split_on_new_object: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            deduplication_window: Seconds::new(30),
            max_event: Seconds::new(600),
            min_duration: Seconds::new(0),
            split_on_new_object: true,
        }
    }
}

/// [`EventsConfig`] for one camera, where it differs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraEvents {
    /// See [`EventsConfig::deduplication_window`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deduplication_window: Option<Seconds>,
    /// See [`EventsConfig::max_event`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_event: Option<Seconds>,
    /// See [`EventsConfig::min_duration`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<Seconds>,
    /// See [`EventsConfig::split_on_new_object`].
    #[serde(skip_serializing_if = "Option::is_none", alias = "newcomers")]
    pub split_on_new_object: Option<bool>,
}

impl CameraEvents {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which pictures are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// Which.
    pub keep: KeepImages,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

impl Default for Images {
    fn default() -> Self {
        Self { keep: KeepImages::Annotated, quality: 85 }
    }
}

/// Which pictures of an event are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepImages {
    /// With boxes, labels, camera and time drawn in.
    Annotated,
    /// As the camera saw it.
    Clean,
    /// One of each.
    Both,
    /// None.
    None,
}

/// Sentences about events, by a language model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Description {
    /// URL of an OpenAI-compatible server; empty: off.
    pub endpoint: String,
    /// The model to ask for.
    pub model: String,
    /// How long the file projections wait for a sentence.
    pub hold: Seconds,
    /// How long one request may take.
    pub timeout: Seconds,
    /// What the model is asked.
    pub prompt: String,
    /// Requests a day at most; 0: as many as there are events.
    pub daily_budget: u32,
    /// A file that holds the key; empty: `description_api_key` in the credentials directory, if there is one.
    pub api_key_file: PathBuf,
    /// Proxy of the requests; empty: none. `environment`: the one that `HTTPS_PROXY` and the like name.
    pub proxy: String,
}

impl Default for Description {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            model: "llava".to_owned(),
            hold: Seconds::new(10),
            timeout: Seconds::new(120),
            prompt:
                "Describe in one sentence what happens in this picture of a surveillance camera: \
                     who or what is there, and what they do."
                    .to_owned(),
            daily_budget: 0,
            api_key_file: PathBuf::new(),
            proxy: String::new(),
        }
    }
}

/// Figures about the recorder itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// How often they are written.
    pub metrics_interval: Seconds,
    /// Address that serves them, such as `127.0.0.1:9747`; empty: none.
    pub listen: String,
}

impl Metrics {
    /// The address to listen on; `None` where there is none, or what is set is none. `localhost` is that of IPv4.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let port = self.listen.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .or_else(|| self.listen.parse().ok())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { metrics_interval: Seconds::new(60), listen: String::new() }
    }
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
    /// Whether events.log has a line with frame number and the like.
    pub plaintext_metadata: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto, plaintext_metadata: false }
    }
}

/// The form of a logged line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people; with `<N>` prefixes under systemd.
    Auto,
    /// A JSON object a line.
    Json,
}

/// What local time is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Time {
    /// A fixed offset from UTC such as `+01:00`; empty: the machine's time zone.
    pub zone: String,
}

impl Time {
    /// The fixed offset from UTC, in minutes; `None` for the machine's time zone, and for what is no offset.
    #[must_use]
    pub fn offset_minutes(&self) -> Option<i16> {
        offset_minutes(&self.zone)
    }
}

/// An offset from UTC such as `+01:00`, `Z` or `UTC`, in minutes; `None` for what is none.
#[must_use]
pub fn offset_minutes(text: &str) -> Option<i16> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return (text == "Z" || text == "UTC").then_some(0),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i16>().ok()).flatten()
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}
