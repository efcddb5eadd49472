//! The command line: one file a command.

mod config;
mod describe;
mod detector_worker;
mod events;
mod exit;
mod ingest;
mod model;
mod record;
mod rotate;
mod status;
mod times;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lenslog_tools::{Place, find_config};

use crate::config::{Config, Overrides, Warning, load};

pub use exit::{EXIT_CONFIGURATION, EXIT_FATAL, EXIT_OK, EXIT_STORAGE_FULL, EXIT_UNAVAILABLE};

/// An always-on camera recorder whose only source of truth is a checksummed append-only journal
///
/// Exit codes: 0 clean, 1 fatal, 2 configuration or usage, 3 storage full, 4 a dependency unavailable.
#[derive(Debug, Parser)]
#[command(name = "lenslog", version)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record from the configured cameras, or from one source
    Record(record::Record),
    /// Make events of lines of JSON on standard input
    Ingest(ingest::Ingest),
    /// Print events
    Events(events::Events),
    /// Tell why there was, or was not, an event
    Why(why::Why),
    /// Tell how the recorder fares
    Status(status::StatusCommand),
    /// Delete the oldest days where there is no more room
    Rotate(rotate::Rotate),
    /// Tell what a model is, and how long it takes
    Model(model::ModelCommand),
    /// Ask for sentences about the events that have none
    Describe(describe::Describe),
    /// Write, check or print the configuration
    Config(config::ConfigCommand),
    /// Rebuild, verify, print and copy what was recorded: the `replay` program
    Replay(lenslog_tools::Replay),
    /// Run a model for a recorder
    #[command(hide = true)]
    DetectorWorker(detector_worker::DetectorWorker),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Record(record) => record.run(&cli.place),
        Command::Ingest(ingest) => ingest.run(&cli.place),
        Command::Events(events) => events.run(&cli.place),
        Command::Why(why) => why.run(&cli.place),
        Command::Status(status) => status.run(&cli.place),
        Command::Rotate(rotate) => rotate.run(&cli.place),
        Command::Model(model) => model.run(&cli.place),
        Command::DetectorWorker(worker) => worker.run(),
        Command::Describe(describe) => describe.run(&cli.place),
        Command::Config(config) => config.run(&cli.place),
        Command::Replay(replay) => {
            init_logging(&Config::default());
            return lenslog_tools::run(&cli.place, &replay.command);
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => exit::tell(&error),
    }
}

/// Begins to log; a second call changes nothing.
fn init_logging(config: &Config) -> Option<crate::logging::Logging> {
    crate::logging::init(&config.log)
}

/// Reads the configuration that is meant.
fn configuration(
    place: &Place,
    source: Option<&str>,
) -> Result<(Config, Vec<Warning>), crate::config::ConfigError> {
    let file = find_config(place.config.as_deref());
    let overrides = Overrides { data: place.data.clone(), source: source.map(ToOwned::to_owned) };
    load(file.as_deref(), &overrides)
}

/// As [`configuration`], for commands that only look: logging on, warnings left to `config check`.
fn quiet_configuration(place: &Place) -> anyhow::Result<Config> {
    let (mut config, _) = configuration(place, None)?;
    if std::env::var_os("LENSLOG_LOG").is_none() {
        config.log.level = "warn".to_owned();
    }
    init_logging(&config);
    Ok(config)
}

/// Nothing is written while a mount that is required is missing.
fn require_mount(config: &Config) -> anyhow::Result<()> {
    match crate::storage::missing_mount(&config.storage.require_mount) {
        Some(missing) => Err(exit::Unavailable(missing).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What people read about the commands, the configuration and the figures.
    const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

    fn undocumented(command: &clap::Command, name: &str, missing: &mut Vec<String>) {
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            if !matches!(option, "help" | "version") && !OPERATIONS.contains(&format!("--{option}"))
            {
                missing.push(format!("{name} --{option}"));
            }
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let name = format!("{name} {}", inner.get_name());
            if inner.get_name() != "help" && !OPERATIONS.contains(name.trim()) {
                missing.push(name.clone());
            }
            undocumented(inner, &name, missing);
        }
    }

    #[test]
    fn every_command_and_every_option_is_documented() {
        let mut missing = Vec::new();
        undocumented(&Cli::command(), "", &mut missing);
        assert_eq!(missing, [""; 0]);
    }
}
