//! [`GlobalArgs`]: the flags of every command, and the data layout that they, the environment and the configuration give.
//!
//! Both programs resolve the layout with [`LayoutKeys::resolve`], so that they never disagree on where the data is. `replay`
//! reads only those keys of a configuration: a mistake elsewhere in the file must not keep it from a rescue.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Args};
use lenslog_projections::DataLayout;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::exit::Usage;

/// Prefix of environment variables that override a key: `LENSLOG__STORAGE__MAX_STORAGE_GB=2`.
pub const VARIABLE_PREFIX: &str = "LENSLOG__";
const FILE: &str = "lenslog.toml";

/// The flags that every command has.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArgs {
    /// Configuration file [default: $LENSLOG_CONFIG, ./lenslog.toml, ~/.config/lenslog/, /etc/lenslog/]
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Data directory [default: storage.data_dir of the configuration, else ./data]
    #[arg(short, long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Log more: -v debug, -vv trace
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log warnings and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The configuration file to read: the first that is named or exists of `flag`, `$LENSLOG_CONFIG`, `./lenslog.toml`,
/// `~/.config/lenslog/` and `/etc/lenslog/`.
#[must_use]
pub fn find_config(flag: Option<&Path>) -> Option<PathBuf> {
    let variable = std::env::var_os("LENSLOG_CONFIG").filter(|value| !value.is_empty());
    flag.map(Path::to_owned).or_else(|| variable.map(PathBuf::from)).or_else(|| {
        let home = std::env::home_dir().map(|home| home.join(".config/lenslog").join(FILE));
        let places = [Some(PathBuf::from(FILE)), home, Some(Path::new("/etc/lenslog").join(FILE))];
        places.into_iter().flatten().find(|path| path.exists())
    })
}

/// Reads a configuration file. A named pipe that no program writes to would be waited for without end.
///
/// # Errors
///
/// Those of the operating system; [`ErrorKind::InvalidInput`] where it is a named pipe or a socket.
pub fn read_config(path: &Path) -> std::io::Result<String> {
    let kind = std::fs::metadata(path)?.file_type();
    // The pipe of a shell's `<(…)` has its writer.
    let is_given = path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd");
    if kind.is_socket() || (kind.is_fifo() && !is_given) {
        return Err(std::io::Error::new(
            ErrorKind::InvalidInput,
            "not a regular file; move it away",
        ));
    }
    std::fs::read_to_string(path)
}

/// Sets a key of a configuration to the value of an environment variable, and reads the configuration then.
///
/// `2`, `true` and `["a"]` are TOML; anything else is a string, and so is what only looks like TOML: whichever the type
/// of the key takes.
///
/// # Errors
///
/// That of the first attempt. `table` is then as it was.
pub fn override_key<T: DeserializeOwned>(
    table: &mut toml::Table,
    path: &[&str],
    value: &str,
) -> Result<T, toml::de::Error> {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
    let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
    let with = |value: toml::Value| {
        let mut changed = table.clone();
        insert(&mut changed, path, value);
        changed.clone().try_into().map(|config| (changed, config))
    };
    let string = || toml::Value::String(value.to_owned());
    let (changed, config) = match parsed.map(&with) {
        Some(Ok(done)) => done,
        Some(Err(error)) => with(string()).map_err(|_| error)?,
        None => with(string())?,
    };
    *table = changed;
    Ok(config)
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

/// The keys of a configuration that decide where the data is and how it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayoutKeys {
    /// `storage.data_dir`; empty: `data`.
    pub data_dir: PathBuf,
    /// `storage.db_path`; empty: in the data directory.
    pub db_path: PathBuf,
    /// `log.plaintext_metadata`.
    pub plaintext_metadata: bool,
}

impl LayoutKeys {
    /// Resolves the layout. `base`: the directory of the file that has the keys. `data`: see [`data_flag`].
    #[must_use]
    pub fn resolve(&self, base: &Path, data: Option<&Path>) -> DataLayout {
        let is_set = !self.data_dir.as_os_str().is_empty();
        let configured = base.join(if is_set { &self.data_dir } else { Path::new("data") });
        let mut layout = DataLayout::of(data.unwrap_or(&configured));
        // A database elsewhere belongs to the directory it is configured with: another one must not be made into it.
        if !self.db_path.as_os_str().is_empty() && layout.data == configured {
            layout.database = base.join(&self.db_path);
        }
        layout.plaintext_metadata = self.plaintext_metadata;
        layout
    }

    /// Reads the keys from the text of a configuration and from the environment.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or one of the keys has a value of another type.
    pub fn read(text: &str, environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|error| format!("not TOML: {error}"))?;
        let mut keys: Sections = table.clone().try_into().map_err(|error| error.to_string())?;
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(VARIABLE_PREFIX).map(str::to_lowercase) else {
                continue;
            };
            let path: Vec<_> = key.split("__").collect();
            if matches!(
                path[..],
                ["storage", "data_dir" | "db_path"] | ["log", "plaintext_metadata"]
            ) {
                keys = override_key(&mut table, &path, value)
                    .map_err(|error| format!("environment variable {name}: {}", error.message()))?;
            }
        }
        Ok(Self {
            data_dir: keys.storage.data_dir,
            db_path: keys.storage.db_path,
            plaintext_metadata: keys.log.plaintext_metadata,
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sections {
    storage: StorageSection,
    log: LogSection,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StorageSection {
    data_dir: PathBuf,
    db_path: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LogSection {
    plaintext_metadata: bool,
}

/// The data directory that `--data` names, or else `$LENSLOG_DATA`. A path need not be UTF-8.
#[must_use]
pub fn data_flag(flag: Option<&Path>) -> Option<PathBuf> {
    let variable = || std::env::var_os("LENSLOG_DATA").filter(|value| !value.is_empty());
    flag.map(Path::to_owned).or_else(|| variable().map(PathBuf::from))
}

impl GlobalArgs {
    /// The log level that `-v` and `-q` ask for.
    #[must_use]
    pub const fn log_level(&self) -> Option<&'static str> {
        match (self.quiet, self.verbose) {
            (true, _) => Some("warn"),
            (false, 0) => None,
            (false, 1) => Some("debug"),
            (false, _) => Some("trace"),
        }
    }

    /// The paths of the data directory. Reads no other key of a configuration.
    ///
    /// # Errors
    ///
    /// A configuration file that was named and cannot be read, is not TOML, or has a path that is none.
    pub fn layout(&self) -> Result<DataLayout> {
        let found = find_config(self.config.as_deref());
        let text = found.as_deref().map(read_config).transpose().map_err(|error| {
            let path = found.as_deref().unwrap_or(Path::new("")).display();
            Usage(format!("cannot read the configuration {path}: {error}"))
        })?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let origin = found.as_deref().unwrap_or(Path::new("the defaults"));
        let keys = LayoutKeys::read(&text.unwrap_or_default(), &environment)
            .map_err(|error| Usage(format!("{}: {error}", origin.display())))?;
        let base = found.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        Ok(keys.resolve(base, data_flag(self.data.as_deref()).as_deref()))
    }

    /// As [`GlobalArgs::layout`], of a directory that is there.
    ///
    /// # Errors
    ///
    /// As there, and where it is not there.
    pub fn existing(&self) -> Result<DataLayout> {
        let layout = self.layout()?;
        let journal = layout.data.join("journal");
        match journal.metadata() {
            Ok(found) if found.is_dir() => Ok(layout),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => bail!(
                "cannot look at {}: {error}; run this as the user who owns the data directory",
                journal.display()
            ),
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(error).with_context(|| format!("cannot look at {}", journal.display()))
            }
            _ => usage!(
                "there is no journal in {}; name the data directory with --data DIR",
                layout.data.display()
            ),
        }
    }
}

/// Refuses a target inside a data directory, where the recorder counts, prunes and reads every file.
///
/// # Errors
///
/// Where it does, and where the data directory cannot be looked at.
pub(crate) fn outside(target: &Path, data: &Path) -> Result<()> {
    let data = data.canonicalize().with_context(|| format!("cannot find {}", data.display()))?;
    let target = std::path::absolute(target)?;
    // What is not there yet lies where the nearest directory above it lies.
    let existing = target.ancestors().find_map(|path| path.canonicalize().ok());
    if existing.is_some_and(|path| path.starts_with(&data)) {
        usage!(
            "{} lies in the data directory {}; name a directory outside of it",
            target.display(),
            data.display()
        );
    }
    Ok(())
}
