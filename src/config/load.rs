//! Finds the configuration, reads it, and lays the environment and the flags over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lenslog_tools::{LayoutKeys, VARIABLE_PREFIX as PREFIX};

use super::error::Origin;
use super::keys::{self, Origins};
use super::validate::{Warning, validate};
use super::{Camera, Config, ConfigError};

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
    /// `-v`, `-q`: the log level.
    pub log_level: Option<&'static str>,
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
    let data = lenslog_tools::data_flag(overrides.data.as_deref());
    let overrides = Overrides { data, ..overrides.clone() };
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
        place: Origin {
            origin: origin.clone(),
            line: error.span().map(|span| keys::line_of(text, span.start)),
        }
        .to_string(),
        message: with_key(error.span().and_then(|span| keys::key_at(text, span.start)), error),
    };
    keys::check(text, &origin)?;
    // Parsed alone first: an error of a type then names its line and key.
    let mut config: Config = toml::from_str(text).map_err(|error| syntax(&error))?;
    let mut origins = Origins { text, origin: &origin, elsewhere: BTreeMap::new() };
    if environment.keys().any(|name| name.starts_with(PREFIX)) {
        let mut table: toml::Table = toml::from_str(text).map_err(|error| syntax(&error))?;
        for (name, value) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            config = set(&mut table, name, value, &mut origins)?;
        }
    }
    resolve(&mut config, path.and_then(Path::parent).unwrap_or(Path::new("")), &overrides.data);
    if let Some(level) = environment.get(LEVEL).filter(|level| !level.is_empty()) {
        config.log.level.clone_from(level);
        origins.elsewhere.insert("log.level".to_owned(), format!("environment variable {LEVEL}"));
    }
    if let Some(level) = overrides.log_level {
        config.log.level = level.to_owned();
    }
    if let Some(source) = &overrides.source {
        let (id, mut camera) = config
            .cameras
            .pop_first()
            .filter(|_| config.cameras.is_empty())
            .unwrap_or_else(|| (CAMERA.to_owned(), Camera::default()));
        camera.source.clone_from(source);
        origins.elsewhere.insert(format!("cameras.{id}.source"), "flag --source".to_owned());
        config.cameras = BTreeMap::from([(id, camera)]);
    }
    let warnings = validate(&config, &origins)?;
    Ok((config, warnings))
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
    origins: &mut Origins<'_>,
) -> Result<Config, ConfigError> {
    let key = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
    let path: Vec<&str> = key.split("__").collect();
    let known = keys::known();
    if !keys::exists(&path, &known) {
        return Err(keys::unknown(&path, format!("environment variable {name}"), &known));
    }
    origins.elsewhere.insert(path.join("."), format!("environment variable {name}"));
    lenslog_tools::override_key(table, &path, value).map_err(|error| ConfigError::Syntax {
        place: format!("environment variable {name}"),
        message: with_key(Some(key.replace("__", ".")), &error),
    })
}

/// Resolves the paths: relative ones in a file are relative to its directory `base`. `data`: the flag.
fn resolve(config: &mut Config, base: &Path, data: &Option<PathBuf>) {
    let storage = &mut config.storage;
    let layout = LayoutKeys {
        data_dir: storage.data_dir.clone(),
        db_path: storage.db_path.clone(),
        plaintext_metadata: config.log.plaintext_metadata,
    }
    .resolve(base, data.as_deref());
    (storage.data_dir, storage.db_path) = (layout.data, layout.database);
    let secrets = config.notify.values_mut().map(|target| &mut target.secret_file);
    for path in [
        &mut storage.log_dir,
        &mut storage.require_mount,
        &mut config.detector.model,
        &mut config.detector.labels,
        &mut config.detector.onnxruntime,
        &mut config.description.api_key_file,
    ]
    .into_iter()
    .chain(secrets)
    {
        if !path.as_os_str().is_empty() {
            *path = base.join(&*path);
        }
    }
    if storage.log_dir.as_os_str().is_empty() {
        storage.log_dir = storage.data_dir.parent().unwrap_or(Path::new("")).join("logs");
    }
    if base.as_os_str().is_empty() {
        return;
    }
    for camera in config.cameras.values_mut() {
        for kind in ["file:", "dir:"] {
            if let Some(path) = camera.source.strip_prefix(kind)
                && !path.is_empty()
            {
                camera.source = format!("{kind}{}", base.join(path).display());
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let overrides = Overrides { data: Some("/flag".into()), ..Overrides::default() };
        let config = read_with(text, &environment, &overrides).unwrap();
        assert_eq!(config.storage.data_dir, Path::new("/flag"));
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.storage.db_path, Path::new("/flag/events.db"));
    }

    #[test]
    fn a_source_flag_makes_a_camera_or_takes_the_place_of_the_only_one() {
        let overrides = Overrides { source: Some("test:".into()), ..Overrides::default() };
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
            let (config, found_warnings) = loaded.unwrap();
            let found = config.metrics.address().map(|address| address.to_string());
            assert_eq!(found.as_deref(), address, "{listen}");
            assert_eq!(found_warnings.len(), warnings, "{listen} {found_warnings:?}");
        }
    }

    /// A value of a path, as a file or a variable may have it.
    fn path_text() -> impl Strategy<Value = String> {
        let texts = vec![
            "",
            "d",
            "/srv/d",
            "a b",
            "7",
            "true",
            "2026-11-23",
            "'q'",
            "[1]",
            "x = 1",
            "d/",
            "é",
        ];
        prop::sample::select(texts).prop_map(str::to_owned)
    }

    proptest! {
        /// `lenslog` and `replay` find the data in the same place.
        #[test]
        fn both_programs_resolve_the_same_layout(
            data_dir in prop::option::of(path_text()),
            db_path in prop::option::of(path_text()),
            metadata in any::<bool>(),
            variables in prop::collection::btree_map(
                prop::sample::select(vec!["STORAGE__DATA_DIR", "STORAGE__DB_PATH", "storage__data_dir"]),
                path_text(),
                0..3,
            ),
            metadata_variable in prop::option::of(any::<bool>()),
            flag in prop::option::of(prop::sample::select(vec!["d", "/etc/lenslog/d", "/srv/d", "7"])),
            base in prop::sample::select(vec!["/etc/lenslog", ""]),
        ) {
            let line = |name: &str, value: &Option<String>| {
                value.as_ref().map_or_else(String::new, |value| {
                    format!("{name} = {}\n", toml::Value::String(value.clone()))
                })
            };
            let text = format!(
                "[storage]\n{}{}[log]\nplaintext_metadata = {metadata}\n",
                line("data_dir", &data_dir),
                line("db_path", &db_path),
            );
            let mut environment: BTreeMap<String, String> = variables
                .into_iter()
                .map(|(name, value)| (format!("{PREFIX}{name}"), value))
                .collect();
            if let Some(metadata) = metadata_variable {
                let name = format!("{PREFIX}LOG__PLAINTEXT_METADATA");
                environment.insert(name, metadata.to_string());
            }
            let (base, flag) = (Path::new(base), flag.map(PathBuf::from));
            let overrides = Overrides { data: flag.clone(), ..Overrides::default() };
            let file = base.join("lenslog.toml");
            let (config, _) = load_text(&text, Some(&file), &environment, &overrides).unwrap();
            let keys = LayoutKeys::read(&text, &environment).unwrap();
            let layout = keys.resolve(base, flag.as_deref());
            prop_assert_eq!(&layout.data, &config.storage.data_dir);
            prop_assert_eq!(&layout.database, &config.storage.db_path);
            prop_assert_eq!(layout.plaintext_metadata, config.log.plaintext_metadata);
        }
    }
}
