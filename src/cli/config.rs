//! `lenslog config`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use lenslog_tools::say;
use lenslog_tools::{GlobalArgs, find_config};

use super::configuration;
use crate::config::{example, find_camera, is_system_wide};
use crate::util::redact::redacted;
use lenslog_tools::{EXIT_OK, Usage};

/// Write, check or print the configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a commented file with every key, for the camera that is found
    Init {
        /// Where to write it
        #[arg(default_value = "lenslog.toml", value_name = "FILE")]
        file: PathBuf,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Check the configuration that would be used
    Check,
    /// Print what is in force: file, environment and flags together
    Show,
}

impl ConfigCommand {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        match &self.action {
            Action::Init { file, force } => init(file, *force),
            Action::Check => check(args),
            Action::Show => show(args),
        }
    }
}

fn init(file: &PathBuf, force: bool) -> Result<u8> {
    let mut options = OpenOptions::new();
    options.write(true).truncate(force).create(force).create_new(!force);
    let mut opened = match options.open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = format!("{} is there already; --force replaces it", file.display());
            return Err(Usage(text).into());
        }
        Err(error) => return Err(error).context(format!("cannot write {}", file.display())),
    };
    opened
        .write_all(example(find_camera().as_deref(), is_system_wide(file)).as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    // One in another place than those that are looked at has to be named.
    let flag = match find_config(None) {
        Some(found) if same_file(&found, file) => String::new(),
        _ => format!(" --config {}", file.display()),
    };
    say!("wrote {}; next: lenslog{flag} config check, then lenslog{flag} record", file.display());
    Ok(EXIT_OK)
}

fn same_file(one: &Path, other: &Path) -> bool {
    one.canonicalize().ok().is_some_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

fn check(args: &GlobalArgs) -> Result<u8> {
    let file = find_config(args.config.as_deref());
    let (config, warnings) = configuration(args, None)?;
    for warning in &warnings {
        say!("WARNING: {warning}");
    }
    let origin = file.map_or_else(
        || "there is no file: the defaults".to_owned(),
        |file| file.display().to_string(),
    );
    let cameras = match config.cameras.len() {
        0 => "no camera: `lenslog record` wants one, or --source".to_owned(),
        1 => "1 camera".to_owned(),
        count => format!("{count} cameras"),
    };
    say!("ok: {origin}, {cameras}");
    Ok(EXIT_OK)
}

fn show(args: &GlobalArgs) -> Result<u8> {
    let (mut config, _) = configuration(args, None)?;
    for camera in config.cameras.values_mut() {
        camera.source = redacted(&camera.source);
    }
    config.description.endpoint = redacted(&config.description.endpoint);
    config.description.proxy = redacted(&config.description.proxy);
    say!("{}", toml::to_string_pretty(&config)?.trim_end());
    Ok(EXIT_OK)
}
