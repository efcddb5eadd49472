//! Finds the configuration, reads it, and lays the environment and the flags over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::Place;
use super::keys;
use super::validate::{Warning, validate};
use super::{Camera, Config, ConfigError};

/// Prefix of environment variables that override a key: `LENSLOG__STORAGE__MAX_STORAGE_GB=2`.
const PREFIX: &str = "LENSLOG__";
/// Environment variable that names the data directory, as `--data` does.
const DATA: &str = "LENSLOG_DATA";
/// Environment variable that overrides `log.level`.
const LEVEL: &str = "LENSLOG_LOG";
/// Id of the camera that `--source` makes.
const CAMERA: &str = "camera_1";

/// What the command line sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data`, or else `LENSLOG_DATA`: the data directory.
    pub data: Option<PathBuf>,
    /// `--source`: a camera's source. It is `camera_1`, or takes the place of all that are configured.
    pub source: Option<String>,
}

/// Reads a configuration file, or none, and lays the environment and the flags over it.
///
/// # Errors
///
/// [`ConfigError`], naming file and line.
pub fn load(
    file: Option<&Path>,
    overrides: &Overrides,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let environment = environment()?;
    // A path need not be UTF-8.
    let data = std::env::var_os(DATA).filter(|value| !value.is_empty()).map(PathBuf::from);
    let overrides = Overrides { data: overrides.data.clone().or(data), ..overrides.clone() };
    let Some(path) = file else {
        return load_text("", None, &environment, &overrides);
    };
    let text = lenslog_tools::read_config(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    load_text(&text, Some(path), &environment, &overrides)
}

/// The variables that override something.
fn environment() -> Result<BTreeMap<String, String>, ConfigError> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX) || name == LEVEL)
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(ConfigError::Syntax {
                place: format!("environment variable {name}"),
                message: "it is not UTF-8".to_owned(),
            }),
        })
        .collect()
}

/// As [`load`], with everything given.
///
/// # Errors
///
/// [`ConfigError`], naming file and line.
pub fn load_text(
    text: &str,
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
    overrides: &Overrides,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let origin = path.map_or_else(|| "the defaults".to_owned(), |path| path.display().to_string());
    let syntax = |error: &toml::de::Error| ConfigError::Syntax {
        place: Place {
            origin: origin.clone(),
            line: error.span().map(|span| keys::line_of(text, span.start)),
        }
        .to_string(),
        message: with_key(error.span().and_then(|span| keys::key_at(text, span.start)), error),
    };
    keys::check(text, &origin)?;
    // Read alone first: types that are wrong are told with their line and key.
    let mut config: Config = toml::from_str(text).map_err(|error| syntax(&error))?;
    let mut places = Places { text, origin: &origin, elsewhere: BTreeMap::new() };
    if environment.keys().any(|name| name.starts_with(PREFIX)) {
        let mut table: toml::Table = toml::from_str(text).map_err(|error| syntax(&error))?;
        for (name, value) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            config = set(&mut table, name, value, &mut places)?;
        }
    }
    resolve(&mut config, path.and_then(Path::parent));
    let configured = config.storage.data_dir.clone();
    if let Some(level) = environment.get(LEVEL).filter(|level| !level.is_empty()) {
        config.log.level.clone_from(level);
        places.elsewhere.insert("log.level".to_owned(), format!("environment variable {LEVEL}"));
    }
    if let Some(data) = &overrides.data {
        config.storage.data_dir.clone_from(data);
    }
    // The database belongs to the directory it is configured with: another one must not be made into it.
    if config.storage.data_dir != configured {
        config.storage.db_path = PathBuf::new();
    }
    if let Some(source) = &overrides.source {
        let (id, mut camera) = config
            .cameras
            .pop_first()
            .filter(|_| config.cameras.is_empty())
            .unwrap_or_else(|| (CAMERA.to_owned(), Camera::default()));
        camera.source.clone_from(source);
        places.elsewhere.insert(format!("cameras.{id}.source"), "flag --source".to_owned());
        config.cameras = BTreeMap::from([(id, camera)]);
    }
    fill_in(&mut config);
    let warnings = validate(&config, &places)?;
    Ok((config, warnings))
}

/// Where each key was set.
pub(super) struct Places<'a> {
    text: &'a str,
    origin: &'a str,
    /// Keys set elsewhere than in the file, and where.
    elsewhere: BTreeMap<String, String>,
}

impl Places<'_> {
    /// Where the key was set, for a message.
    pub(super) fn of(&self, path: &[&str]) -> String {
        if let Some(place) = self.elsewhere.get(&path.join(".")) {
            return place.clone();
        }
        let line = keys::line_of_key(self.text, path);
        Place { origin: self.origin.to_owned(), line }.to_string()
    }
}

/// An error of a value's type, in words, with the key that has it.
fn with_key(key: Option<String>, error: &toml::de::Error) -> String {
    // Those who write a configuration do not know our types by their names.
    let words = [
        ("expected f64", "expected a number without a unit, such as 4.0"),
        ("expected i64", "expected a whole number"),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected u8", "expected a whole number"),
        ("expected path string", "expected a path in quotes"),
        ("expected a sequence", "expected a list such as [\"person\", \"cat\"]"),
        ("expected a map", "expected a table such as [cameras.front_door]"),
        ("expected a tuple of size 2", "expected polygons of corners: [[[0, 0], [1, 0], [1, 1]]]"),
    ];
    let message = words.iter().fold(error.message().to_owned(), |message, (ours, theirs)| {
        match message.strip_suffix(ours) {
            Some(before) => format!("{before}{theirs}"),
            None => message,
        }
    });
    key.map_or_else(|| message.clone(), |key| format!("{key}: {message}"))
}

/// Sets the key that an environment variable names, and reads what there is then.
fn set(
    table: &mut toml::Table,
    name: &str,
    value: &str,
    places: &mut Places<'_>,
) -> Result<Config, ConfigError> {
    let key = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
    let path: Vec<&str> = key.split("__").collect();
    let known = keys::known();
    if !keys::exists(&path, &known) {
        return Err(keys::unknown(&path, format!("environment variable {name}"), &known));
    }
    places.elsewhere.insert(path.join("."), format!("environment variable {name}"));
    // `2`, `true` and `["a"]` are TOML; anything else is a string, and so is what only looks like TOML.
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
    let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
    let string = toml::Value::String(value.to_owned());
    let mut first_error = None;
    for value in parsed.into_iter().chain([string]) {
        let mut changed = table.clone();
        insert(&mut changed, &path, value);
        match changed.clone().try_into() {
            Ok(config) => {
                *table = changed;
                return Ok(config);
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(ConfigError::Syntax {
        place: format!("environment variable {name}"),
        message: first_error
            .map_or_else(String::new, |error| with_key(Some(key.replace("__", ".")), &error)),
    })
}

/// Sets a key of a table, and makes the tables above it.
fn insert(table: &mut toml::Table, path: &[&str], value: toml::Value) {
    let Some((last, tables)) = path.split_last() else { return };
    let mut table = table;
    for part in tables {
        let inner = table
            .entry((*part).to_owned())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let toml::Value::Table(inner) = inner else { return };
        table = inner;
    }
    table.insert((*last).to_owned(), value);
}

/// Relative paths in a file are relative to it.
fn resolve(config: &mut Config, directory: Option<&Path>) {
    let Some(directory) = directory.filter(|directory| !directory.as_os_str().is_empty()) else {
        return;
    };
    let storage = &mut config.storage;
    for path in [
        &mut storage.data_dir,
        &mut storage.db_path,
        &mut storage.log_dir,
        &mut storage.require_mount,
        &mut config.detector.model,
        &mut config.detector.labels,
        &mut config.detector.onnxruntime,
        &mut config.description.api_key_file,
    ] {
        if !path.as_os_str().is_empty() {
            *path = directory.join(&*path);
        }
    }
    for camera in config.cameras.values_mut() {
        for kind in ["file:", "dir:"] {
            if let Some(path) = camera.source.strip_prefix(kind)
                && !path.is_empty()
            {
                camera.source = format!("{kind}{}", directory.join(path).display());
                break;
            }
        }
    }
}

/// Paths that follow from others.
fn fill_in(config: &mut Config) {
    let storage = &mut config.storage;
    if storage.db_path.as_os_str().is_empty() {
        storage.db_path = storage.data_dir.join("events.db");
    }
    if storage.log_dir.as_os_str().is_empty() {
        let parent = storage.data_dir.parent().unwrap_or(Path::new(""));
        storage.log_dir = parent.join("logs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Seconds;

    fn read(text: &str) -> Result<Config, String> {
        read_with(text, &[], &Overrides::default())
    }

    fn read_with(
        text: &str,
        environment: &[(&str, &str)],
        overrides: &Overrides,
    ) -> Result<Config, String> {
        let environment =
            environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        load_text(text, Some(Path::new("/etc/lenslog/lenslog.toml")), &environment, overrides)
            .map(|(config, _)| config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_at_all_is_the_defaults() {
        let (config, _) = load_text("", None, &BTreeMap::new(), &Overrides::default()).unwrap();
        assert_eq!(config.storage.data_dir, Path::new("data"));
        assert_eq!(config.storage.db_path, Path::new("data/events.db"));
        assert_eq!(config.storage.log_dir, Path::new("logs"));
        assert_eq!(config.events.deduplication_window, Seconds::new(30));
        assert!(config.cameras.is_empty());
    }

    #[test]
    fn relative_paths_are_the_files() {
        let config = read("[storage]\ndata_dir = 'd'\n[cameras.a]\nsource = 'file:clip.mjpeg'\n");
        let config = config.unwrap();
        assert_eq!(config.storage.data_dir, Path::new("/etc/lenslog/d"));
        assert_eq!(config.storage.db_path, Path::new("/etc/lenslog/d/events.db"));
        assert_eq!(config.cameras["a"].source, "file:/etc/lenslog/clip.mjpeg");
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let text = "[storage]\nmax_storage_gb = 1\n[events]\nmax_event = '1m'\n";
        let environment =
            [("LENSLOG__STORAGE__MAX_STORAGE_GB", "2"), ("LENSLOG__EVENTS__MAX_EVENT", "2m")];
        let config = read_with(text, &environment, &Overrides::default()).unwrap();
        assert_eq!(config.storage.max_storage_gb, 2.0);
        assert_eq!(config.events.max_event, Seconds::new(120));
        let environment = [("LENSLOG_LOG", "debug")];
        let overrides = Overrides { data: Some("/flag".into()), source: None };
        let config = read_with(text, &environment, &overrides).unwrap();
        assert_eq!(config.storage.data_dir, Path::new("/flag"));
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.storage.db_path, Path::new("/flag/events.db"));
    }

    #[test]
    fn a_source_flag_makes_a_camera_or_takes_the_place_of_the_only_one() {
        let overrides = Overrides { data: None, source: Some("test:".into()) };
        let config = read_with("", &[], &overrides).unwrap();
        assert_eq!(config.cameras["camera_1"].source, "test:");
        let text = "[cameras.door]\nname = 'front door'\nsource = 'file:x'\n";
        let config = read_with(text, &[], &overrides).unwrap();
        assert_eq!(config.cameras["door"].name, "front door");
        assert_eq!(config.cameras["door"].source, "test:");
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        for (text, expected) in [
            ("[storage\n", "/etc/lenslog/lenslog.toml line 1: "),
            (
                "[motion]\nlearning_frames = 'many'\n",
                "line 2: motion.learning_frames: invalid type: string \"many\", expected a whole number",
            ),
            (
                "[storage]\nmax_storage_gb = '4GB'\n",
                "line 2: storage.max_storage_gb: invalid type: string \"4GB\", expected a number without",
            ),
            (
                "[detector]\ntrack = 'cat'\n",
                "line 2: detector.track: invalid type: string \"cat\", expected a list",
            ),
            (
                "[[cameras]]\nsource = 'test:'\n",
                "line 1: cameras: invalid type: sequence, expected a table such",
            ),
            (
                "[events]\nmax_event = 'soon'\n",
                "line 2: events.max_event: 'soon' is not a length of time",
            ),
            ("[images]\nkeep = 'some'\n", "line 2: images.keep: unknown variant `some`"),
            ("[metrics]\nmetrics_interval = 0\n", "line 2: metrics.metrics_interval is 0s"),
            ("[metrics]\nlisten = '9747'\n", "line 2: metrics.listen is '9747', expected empty"),
            ("[motion]\nthreshold_percent = 500.0\n", "line 2: motion.threshold_percent is 500"),
            ("[cameras.a]\nsource = 'tset:'\n", "line 2: cameras.a.source: 'tset' names no source"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}\n{error}");
        }
        let error =
            read_with("", &[("LENSLOG__MOTION__TRESHOLD_PERCENT", "1")], &Overrides::default());
        let error = error.unwrap_err();
        assert!(error.contains("LENSLOG__MOTION__TRESHOLD_PERCENT"), "{error}");
        assert!(error.contains("did you mean `motion.threshold_percent`"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_variable_is_told_with_its_name() {
        for (name, value, expected) in [
            ("LENSLOG__STORAGE__MAX_STORAGE_GB", "4GB", "storage.max_storage_gb: invalid type"),
            ("LENSLOG__EVENTS__MAX_EVENT", "soon", "events.max_event: 'soon' is not a length"),
            ("LENSLOG__DETECTOR__TRACK", "cat", "detector.track: invalid type: string"),
            ("LENSLOG_LOG", "loud", "log.level is 'loud', expected error"),
        ] {
            let error = read_with("", &[(name, value)], &Overrides::default()).unwrap_err();
            let expected = format!("environment variable {name}: {expected}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn what_looks_like_a_number_or_a_day_can_be_a_text() {
        let environment = [
            ("LENSLOG__DESCRIPTION__MODEL", "7"),
            ("LENSLOG__STORAGE__DATA_DIR", "2026-11-23"),
            ("LENSLOG_LOG", ""),
        ];
        let config = read_with("", &environment, &Overrides::default()).unwrap();
        assert_eq!(config.description.model, "7");
        assert_eq!(config.storage.data_dir, Path::new("/etc/lenslog/2026-11-23"));
        assert_eq!(config.log.level, "info");
    }

    #[test]
    fn metrics_that_others_can_read_are_told() {
        for (listen, address, warnings) in [
            ("", None, 0),
            ("127.0.0.1:9747", Some("127.0.0.1:9747"), 0),
            ("localhost:80", Some("127.0.0.1:80"), 0),
            ("[::1]:9747", Some("[::1]:9747"), 0),
            ("0.0.0.0:9747", Some("0.0.0.0:9747"), 1),
            ("192.168.1.7:9747", Some("192.168.1.7:9747"), 1),
        ] {
            let text = format!("[metrics]\nlisten = '{listen}'\n");
            let loaded = load_text(&text, None, &BTreeMap::new(), &Overrides::default());
            let (config, told) = loaded.unwrap();
            let found = config.metrics.address().map(|address| address.to_string());
            assert_eq!(found.as_deref(), address, "{listen}");
            assert_eq!(told.len(), warnings, "{listen} {told:?}");
        }
    }
}
