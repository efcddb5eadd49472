//! Which keys exist, where each one is set, and which one was probably meant.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::NotifyTarget;
use super::Seconds;
use super::error::{ConfigError, Origin};
use super::types::{Camera, CameraEvents, CameraMotion, Config};

/// Stands for the id of any camera in the names of keys.
const ANY: &str = "*";

/// Names that keys had before; the types read them as aliases.
pub(super) const OLD_NAMES: [&str; 3] =
    ["detector.blacklist", "events.newcomers", "cameras.*.events.newcomers"];

/// Every key there is, as `table.key`, cameras under `cameras.*`. Derived from the types, so that none is forgotten.
pub(super) fn known() -> Vec<String> {
    let camera = Camera {
        motion: CameraMotion {
            threshold_percent: Some(1.0),
            min_area_percent: Some(1.0),
            learning_frames: Some(1),
        },
        events: CameraEvents {
            deduplication_window: Some(Seconds::new(1)),
            max_event: Some(Seconds::new(1)),
            min_duration: Some(Seconds::new(1)),
            split_on_new_object: Some(true),
        },
        ..Camera::default()
    };
    let notify = [(ANY.to_owned(), NotifyTarget::default())].into();
    let cameras = [(ANY.to_owned(), camera)].into();
    let config = Config { cameras, notify, ..Config::default() };
    let mut keys = Vec::new();
    if let Ok(toml::Value::Table(table)) = toml::Value::try_from(&config) {
        collect(&table, "", &mut keys);
    }
    keys.extend(OLD_NAMES.map(str::to_owned));
    keys
}

fn collect(table: &toml::Table, prefix: &str, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            // The names of controls are the camera's.
            toml::Value::Table(inner) if name != "controls" => {
                collect(inner, &format!("{key}."), keys);
            }
            _ => keys.push(key),
        }
    }
}

/// The key as spelled in [`known`].
fn generic(path: &[&str]) -> String {
    let parts = path.iter().enumerate().map(|(index, part)| match (index, path.first()) {
        (1, Some(&("cameras" | "notify"))) => ANY,
        _ => part,
    });
    parts.collect::<Vec<_>>().join(".")
}

/// Whether a key, or a table of keys, exists.
pub(super) fn exists(path: &[&str], known: &[String]) -> bool {
    let key = generic(path);
    known.iter().any(|name| {
        name.strip_prefix(&key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            || (name.ends_with(".controls") && key.starts_with(name.as_str()))
    })
}

/// Finds the first key in a file that does not exist.
pub(super) fn check(text: &str, origin: &str) -> Result<(), ConfigError> {
    let Ok(table) = DeTable::parse(text) else { return Ok(()) };
    check_table(table.get_ref(), &mut Vec::new(), text, origin, &known())
}

fn check_table(
    table: &DeTable<'_>,
    path: &mut Vec<String>,
    text: &str,
    origin: &str,
    known: &[String],
) -> Result<(), ConfigError> {
    for (name, value) in table {
        path.push(name.get_ref().to_string());
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        if !exists(&parts, known) {
            let line = line_of(text, name.span().start);
            return Err(unknown(&parts, format!("{origin} line {line}"), known));
        }
        if let DeValue::Table(inner) = value.get_ref() {
            check_table(inner, path, text, origin, known)?;
        }
        path.pop();
    }
    Ok(())
}

/// The error of a key that does not exist, with the one that was probably meant.
pub(super) fn unknown(path: &[&str], place: String, known: &[String]) -> ConfigError {
    let key = generic(path);
    // The right key in the wrong table comes first; tables can be misspelt, too.
    let elsewhere = known.iter().find(|name| {
        path.last().is_some_and(|last| {
            !last.is_empty() && name.rsplit('.').next() == Some(*last) && !name.contains(ANY)
        })
    });
    let tables = known.iter().filter_map(|name| name.split_once('.')).map(|(table, _)| table);
    let nearest = elsewhere.map(String::as_str).or_else(|| {
        known
            .iter()
            .map(String::as_str)
            .chain(tables)
            .map(|name| (strsim::levenshtein(&key, name), name))
            .min()
            .filter(|(distance, name)| *distance <= (name.len() / 3).max(2))
            .map(|(_, name)| name)
    });
    let nearest = nearest.map(|name| match path {
        ["cameras" | "notify", id, ..] => name.replacen(ANY, id, 1),
        _ => name.to_owned(),
    });
    ConfigError::UnknownKey { place, key: path.join("."), nearest }
}

/// Line of a byte offset, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// The key whose value a byte offset lies in.
pub(super) fn key_at(text: &str, offset: usize) -> Option<String> {
    fn find(table: &DeTable<'_>, offset: usize) -> Option<Vec<String>> {
        table.iter().find_map(|(name, value)| {
            let is_here = value.span().contains(&offset) || name.span().contains(&offset);
            let mut path = match value.get_ref() {
                DeValue::Table(inner) => find(inner, offset),
                _ => None,
            };
            if path.is_none() && is_here {
                path = Some(Vec::new());
            }
            path.map(|inner| [vec![name.get_ref().to_string()], inner].concat())
        })
    }
    let table = DeTable::parse(text).ok()?;
    Some(find(table.get_ref(), offset)?.join("."))
}

/// The line on which a key is set.
pub(super) fn line_of_key(text: &str, path: &[&str]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut table = table.get_ref();
    let (last, tables) = path.split_last()?;
    for name in tables {
        let (_, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
        let DeValue::Table(inner) = value.get_ref() else { return None };
        table = inner;
    }
    let (key, _) = table.iter().find(|(key, _)| key.get_ref() == last)?;
    Some(line_of(text, key.span().start))
}

/// Where each key was set.
pub(super) struct Origins<'a> {
    pub(super) text: &'a str,
    pub(super) origin: &'a str,
    /// Keys set elsewhere than in the file, and where.
    pub(super) elsewhere: BTreeMap<String, String>,
}

impl Origins<'_> {
    /// Where the key was set, for a message.
    pub(super) fn of(&self, path: &[&str]) -> String {
        if let Some(place) = self.elsewhere.get(&path.join(".")) {
            return place.clone();
        }
        let line = line_of_key(self.text, path);
        Origin { origin: self.origin.to_owned(), line }.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_design_is_known() {
        let known = known();
        for key in [
            "storage.max_storage_gb",
            "storage.when_full",
            "cameras.*.controls",
            "cameras.*.motion.threshold_percent",
            "motion.learning_frames",
            "detector.min_object_confidence",
            "events.max_event",
            "images.keep",
            "description.hold",
            "metrics.metrics_interval",
            "log.plaintext_metadata",
            "time.zone",
        ] {
            assert!(known.contains(&key.to_owned()), "{key}");
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_the_nearest_one() {
        let check = |text: &str| check(text, "lenslog.toml").unwrap_err().to_string();
        assert_eq!(
            check("[motion]\n\nthreshhold_percent = 3\n"),
            "lenslog.toml line 3: there is no key `motion.threshhold_percent`; \
             did you mean `motion.threshold_percent`?"
        );
        assert_eq!(
            check("[cameras.door]\nname = 'x'\nsuorce = 'test:'\n"),
            "lenslog.toml line 3: there is no key `cameras.door.suorce`; \
             did you mean `cameras.door.source`?"
        );
        assert!(check("[unheard_of_section]\nx = 1\n").ends_with("`unheard_of_section`"));
        assert!(check("[strage]\nx = 1\n").ends_with("did you mean `storage`?"));
        for text in ["max_storage_gb = 4\n", "[motion]\nmax_storage_gb = 4\n"] {
            assert!(check(text).ends_with("did you mean `storage.max_storage_gb`?"), "{text}");
        }
    }

    #[test]
    fn names_of_controls_are_free() {
        let text = "[cameras.door]\ncontrols = { power_line_frequency = 1 }\n";
        assert!(check(text, "x").is_ok());
    }
}
