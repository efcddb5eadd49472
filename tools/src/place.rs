//! Which data directory is meant: by flag, by environment, by configuration file.

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use lenslog_projections::Layout;

const FILE: &str = "lenslog.toml";

/// The flags that every command has.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// Configuration file [default: $LENSLOG_CONFIG, ./lenslog.toml, ~/.config/lenslog/, /etc/lenslog/]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Data directory [default: storage.data_dir of the configuration, else ./data]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
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

/// What the environment says instead of a key of the configuration, as the recorder reads it.
fn overridden(section: &str, name: &str) -> Option<toml::Value> {
    let wanted = format!("lenslog__{section}__{name}");
    let (_, value) = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .find(|(name, _)| name.to_lowercase() == wanted)?;
    // `true` and `"a"` are TOML; anything else is a string.
    let parsed = format!("value = {value}").parse::<toml::Table>().ok();
    Some(parsed.and_then(|mut table| table.remove("value")).unwrap_or(toml::Value::String(value)))
}

impl Place {
    /// Where the projections are. Reads no more of a configuration than that.
    ///
    /// # Errors
    ///
    /// A configuration file that was named and cannot be read, or is not TOML.
    pub fn layout(&self) -> Result<Layout> {
        let found = find_config(self.config.as_deref());
        let (table, base) = match &found {
            Some(path) => {
                let text = read_config(path)
                    .with_context(|| format!("cannot read the configuration {}", path.display()))?;
                let table = text
                    .parse::<toml::Table>()
                    .with_context(|| format!("{} is not TOML", path.display()))?;
                (table, path.parent().map(Path::to_owned).unwrap_or_default())
            }
            None => (toml::Table::new(), PathBuf::new()),
        };
        let key = |section: &str, name: &str| {
            let in_file = || table.get(section).and_then(|table| table.get(name)).cloned();
            overridden(section, name).or_else(in_file)
        };
        let path = |section, name| {
            let value = key(section, name)?;
            let text = value.as_str()?;
            (!text.is_empty()).then(|| base.join(text))
        };
        let from_environment = std::env::var_os("LENSLOG_DATA").filter(|value| !value.is_empty());
        let data = self
            .data
            .clone()
            .or_else(|| from_environment.map(PathBuf::from))
            .or_else(|| path("storage", "data_dir"))
            .unwrap_or_else(|| base.join("data"));
        let mut layout = Layout::of(&data);
        // A database elsewhere belongs to the directory it is configured with, not to another one named by a flag.
        let configured = path("storage", "data_dir").unwrap_or_else(|| base.join("data"));
        if let Some(database) = path("storage", "db_path").filter(|_| data == configured) {
            layout.database = database;
        }
        let metadata = key("log", "plaintext_metadata").and_then(|value| value.as_bool());
        layout.plaintext_metadata = metadata.unwrap_or(false);
        Ok(layout)
    }

    /// As [`Place::layout`], of a directory that is there.
    ///
    /// # Errors
    ///
    /// As there, and where it is not there.
    pub fn existing(&self) -> Result<Layout> {
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
            _ => bail!(
                "there is no journal in {}; name the data directory with --data DIR",
                layout.data.display()
            ),
        }
    }
}

/// Refuses a directory to be made that lies in a data directory: whatever is in there is the recorder's, to count, to
/// rotate, or to take for a day.
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
        bail!(
            "{} lies in the data directory {}; name a directory outside of it",
            target.display(),
            data.display()
        );
    }
    Ok(())
}
