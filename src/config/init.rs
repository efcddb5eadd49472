//! The commented file that `lenslog config init` writes.

use std::path::{Path, PathBuf};

use super::Description;

/// The camera device that is probably meant: the first under `/dev/v4l/by-id`, else `/dev/video0`.
#[must_use]
pub fn find_camera() -> Option<PathBuf> {
    let stable = std::fs::read_dir("/dev/v4l/by-id").ok().and_then(|entries| {
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.into_iter().find(|path| path.to_string_lossy().ends_with("-index0"))
    });
    stable.or_else(|| Some(PathBuf::from("/dev/video0")).filter(|path| path.exists()))
}

/// Whether a configuration there is the machine's: data does not belong below `/etc`.
#[must_use]
pub fn is_system_wide(file: &Path) -> bool {
    std::path::absolute(file).is_ok_and(|path| path.starts_with("/etc"))
}

/// The text of a configuration file with every key, its default and what it means.
///
/// `system_wide`: its data is in `/var/lib/lenslog`, not next to the file.
#[must_use]
pub fn example(camera: Option<&Path>, system_wide: bool) -> String {
    let (said, source) = match camera {
        Some(device) => (
            "# This camera was found. A path below /dev/v4l/by-id stays the same when cables change places.\n",
            format!("v4l2:{}", device.display()),
        ),
        None => (
            "# No camera device was found. This is a synthetic scene to try things with.\n",
            "test:".to_owned(),
        ),
    };
    let source = toml::Value::String(source).to_string();
    let prompt = toml::Value::String(Description::default().prompt).to_string();
    let state = if system_wide { "/var/lib/lenslog/" } else { "" };
    TEMPLATE
        .replace("{state}", state)
        .replace("{camera}", said)
        .replace("{source}", &source)
        .replace("{prompt}", &prompt)
}

const TEMPLATE: &str = r#"# Lenslog. Every key is here; those in comments have their defaults and need not be set.
# `lenslog config check` finds mistakes, `lenslog config show` prints what is in force.
# Any key can be overridden: LENSLOG__STORAGE__MAX_STORAGE_GB=2 lenslog record
# Relative paths are relative to this file. Lengths of time are seconds, or "500ms", "30s", "10m", "2h", "1d".

[storage]
data_dir = "{state}data"
# db_path = "{state}data/events.db"
# log_dir = "{state}logs"
max_storage_gb = 4.0                  # 1 GB = 1,000,000,000 bytes; 0.001 to 1,000,000
# min_retention_days = 7              # the newest days with events are kept
# max_retention_days = 0              # as many days are kept at most, whatever the disk says; 0: no upper bound
# images_retention_days = 0           # days with pictures; 0: as long as their events
# storage_check_interval = 100        # events, 1 or more; and once a minute at least
when_full = "overwrite_oldest"        # what `min_retention_days` keeps goes too, but no record of today; or "stop"
# require_mount = ""                  # a directory that must be mounted before anything is written

{camera}[cameras.camera_1]                    # 64 cameras at most, each with an id of its own: A-Z a-z 0-9 _ -
name = "front door"                   # as events.log shows it; empty: the id
source = {source}
# v4l2:/dev/video0, rtsp://USER:PASSWORD@HOST/PATH, http://HOST/PATH (MJPEG or a picture a request), rpicam:0,
# exec:COMMAND (MJPEG on its standard output), dir:PATH (pictures that appear), file:PATH (MJPEG), test: (a scene)
# fps = 5                             # frames a second that are looked at, 0.001 to 1000
# size = "640x480"                    # of v4l2: and rpicam:; the nearest that the camera has is taken
# controls = {}                       # of v4l2:, by the names that `v4l2-ctl -l` prints: { power_line_frequency = 1 }
# masks = [[[0.0, 0.0], [1.0, 0.0], [1.0, 0.2], [0.0, 0.2]]]   # polygons in fractions of the picture: ignored
# privacy_masks = []                  # painted over before anything is stored
# zones = []                          # where any are given, only motion that touches one counts
# time = "auto"                       # of dir:, what a picture claims while it is possible; "claimed", "arrival": always
# zone = ""                           # of dir:, where its clock does not show local time: "+00:00"
# late_by = "30d"                     # of dir:, pictures may arrive so late; never more than is kept; 0s to 3650d
# motion = { threshold_percent = 2.0 }                         # for this camera; also min_area_percent, learning_frames
# events = { deduplication_window = "30s" }                    # for this camera; also max_event, min_duration, split_on_new_object

[motion]
# threshold_percent = 2.0             # changed pixels, in per cent of the picture; 0.01 to 100
# min_area_percent = 0.1              # what is smaller does not count: insects, rain, leaves; 0 to 100
# learning_frames = 25                # at the beginning, of which the background is made; 1 to 100,000
# frozen_after = "5m"                 # the same picture for so long is a lost camera; 0: it is not
# blind_after = "10s"                 # a black or covered picture for so long, too

# Without a model, motion alone makes events. docs/operations/detection.md says where to get one.
[detector]
# model = ""                          # an ONNX file of the YOLOX or YOLOv8 family
# labels = ""                         # the names of its classes, one a line
# layout = "yolox"                    # or "yolov8"; `lenslog model check FILE` shows which
# track = ["person", "bicycle", "car", "motorcycle", "bus", "truck", "bird", "cat", "dog"]
# ignore = []                         # never an event, even where it is tracked
# min_object_confidence = 0.5         # 0 to 1
# required = true                     # end at the start without a detector; false: motion alone until it works
# onnxruntime = ""                    # path of libonnxruntime.so, which is faster; empty: the built-in one
# timeout = "20s"                     # of one picture, 100ms to 10m; then the detector is restarted

[events]
# deduplication_window = "30s"        # begins again at every sighting
# max_event = "10m"                   # then it ends, and the next sighting is a new one; 0: every sighting is
# min_duration = "0s"                 # what is not seen for so long begins no event: headlights, birds
# split_on_new_object = true          # more things at once than before are a new event

[images]
# keep = "annotated"                  # "clean", "both", "none"
# quality = 85                        # of JPEG, 1 to 100

[description]                         # a sentence about each event, by a language model; off without an endpoint
# endpoint = ""                       # any OpenAI-compatible server: "http://127.0.0.1:11434/v1" is Ollama on this machine
# model = "llava"
# hold = "10s"                        # events.log and events.json wait so long for the sentence; then it comes later
# timeout = "120s"                    # of one request; both 1s to 1h
# prompt = {prompt}
# daily_budget = 0                    # requests a day; 0: as many as there are events
# api_key_file = ""                   # a file that holds the key, where the server wants one
# proxy = ""                          # "http://HOST:PORT"; "environment": as HTTPS_PROXY says. Cameras use none

# Notifications: a table for each receiver, with a name of its own. docs/operations/notifications.md has examples.
# [notify.phone]
#   url = "https://ntfy.sh/TOPIC"     # http or https; or instead of it a program:
#   exec = []                         # ["/usr/local/bin/alarm", "--loud"]: the event as a line of JSON on standard input
#   body = "standard-webhooks"        # signed JSON; "ntfy": a title and a text
#   secret_file = ""                  # the secret `whsec_…`, or the token of ntfy; mode 0600
#   picture = true                    # ntfy gets the picture of the event, if it has at most 500 KB
#   cameras = []                      # only these; none: all
#   labels = []                       # only events with one of them; none: all, motion too
#   cooldown = "0s"                   # after a notification of a camera, no other one for so long
#   max_age = "10m"                   # what is older when it can be sent at last comes as `event.late`, or in a summary
#   timeout = "20s"                   # of one attempt

[metrics]
# metrics_interval = "60s"            # a line in logs/metrics.json, the status line; 1s to 1d
# listen = ""                         # "127.0.0.1:9747" serves GET /metrics (Prometheus) and GET /healthz

[log]
# level = "info"                      # "error", "warn", "debug", "trace"
# format = "auto"                     # "json"
# plaintext_metadata = false          # frame numbers and the like in events.log

[time]
# zone = ""                           # "+01:00" instead of the machine's time zone
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::load::load_text;
    use crate::config::{Overrides, WhenFull};

    #[test]
    fn the_example_names_every_key_in_its_table() {
        let text = example(None, false);
        let known = super::super::keys::known().into_iter();
        for key in known.filter(|key| !super::super::keys::OLD_NAMES.contains(&key.as_str())) {
            let (table, rest) = key.split_once('.').unwrap();
            let head = match table {
                "cameras" => "\n[cameras.".to_owned(),
                "notify" => "\n# [notify.".to_owned(),
                _ => format!("\n[{table}]"),
            };
            let (_, section) = text.split_once(&head).unwrap();
            let section = section.split("\n[").next().unwrap();
            let name = rest.rsplit('.').next().unwrap();
            let is_word = |word: &str| word == name;
            let words =
                |line: &str| line.split(|c: char| !c.is_ascii_lowercase() && c != '_').any(is_word);
            assert!(section.lines().any(words), "{key}");
        }
    }

    #[test]
    fn a_configuration_below_etc_keeps_its_data_elsewhere() {
        let file = Path::new("/etc/lenslog/lenslog.toml");
        assert!(is_system_wide(file) && !is_system_wide(Path::new("lenslog.toml")));
        let uncommented =
            example(None, true).replace("# db_path", "db_path").replace("# log_dir", "log_dir");
        for text in [example(None, true), uncommented] {
            let loaded = load_text(&text, Some(file), &BTreeMap::new(), &Overrides::default());
            let storage = loaded.unwrap().0.storage;
            for path in [storage.data_dir, storage.db_path, storage.log_dir] {
                assert!(path.starts_with("/var/lib/lenslog"), "{}", path.display());
            }
        }
    }

    #[test]
    fn the_page_of_the_configuration_has_the_example() {
        let page = include_str!("../../docs/operations/configuration.md");
        let (_, block) = page.split_once("```toml\n").unwrap();
        let block = block.split("```").next().unwrap();
        assert_eq!(
            block,
            example(None, false),
            "write the output of `lenslog config init` to the page"
        );
    }

    #[test]
    fn the_example_is_valid_and_its_commented_values_are_the_defaults() {
        for camera in [None, Some(Path::new("/dev/video0"))] {
            let text = example(camera, false);
            let uncommented: String = text
                .lines()
                .map(|line| match line.strip_prefix("# ") {
                    Some(rest)
                        if rest.split(" = ").next().is_some_and(|key| {
                            rest.contains(" = ")
                                && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                        }) =>
                    {
                        format!("{rest}\n")
                    }
                    _ => format!("{line}\n"),
                })
                .collect();
            for text in [&text, &uncommented] {
                let read = |text: &str| {
                    load_text(text, None, &BTreeMap::new(), &Overrides::default()).unwrap()
                };
                let (mut config, warnings) = read(text);
                assert!(warnings.is_empty(), "{warnings:?}");
                assert_eq!(config.cameras.len(), 1);
                config.cameras.clear();
                let (mut expected, _) = read("");
                // The default of the code is the mission's; a new configuration overwrites.
                expected.storage.when_full = WhenFull::OverwriteOldest;
                assert_eq!(config, expected);
            }
        }
    }
}
