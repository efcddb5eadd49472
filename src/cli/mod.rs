//! The command line: one file per command.

mod config;
mod describe;
mod detector_worker;
mod events;
mod exit;
mod ingest;
mod model;
mod notify;
mod record;
mod rotate;
mod status;
mod times;
mod why;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use lenslog_tools::{EXIT_OK, GlobalArgs, find_config, standard_output};

use crate::config::{Config, Overrides, Warning, load};

/// An always-on camera recorder whose only source of truth is a checksummed append-only journal
///
/// Exit codes: 0 done or equal, 1 failed or differs, 2 usage or configuration, 3 storage full, 4 a dependency is
/// unavailable, 5 the journal is damaged.
#[derive(Debug, Parser)]
#[command(name = "lenslog", version)]
struct Cli {
    #[command(flatten)]
    args: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record from the configured cameras, or from one source
    Record(record::Record),
    /// Append events from lines of JSON on standard input
    Ingest(ingest::Ingest),
    /// Print events
    Events(events::Events),
    /// Explain why an event was or was not created
    Why(why::Why),
    /// Show recorder status
    Status(status::StatusCommand),
    /// Delete the oldest days until the storage limit holds
    Rotate(rotate::Rotate),
    /// Inspect and time a model
    Model(model::ModelCommand),
    /// Request sentences for events without one
    Describe(describe::Describe),
    /// List, test or replay notifications
    Notify(notify::NotifyCommand),
    /// Write, check or print the configuration
    Config(config::ConfigCommand),
    #[command(flatten)]
    Tool(lenslog_tools::Command),
    /// Run a command of the `replay` program
    Replay(lenslog_tools::Replay),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one per command into a directory
    Man {
        /// The directory
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Run a model for a recorder
    #[command(hide = true)]
    DetectorWorker(detector_worker::DetectorWorker),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Record(record) => record.run(&cli.args),
        Command::Ingest(ingest) => ingest.run(&cli.args),
        Command::Events(events) => events.run(&cli.args),
        Command::Why(why) => why.run(&cli.args),
        Command::Status(status) => status.run(&cli.args),
        Command::Rotate(rotate) => rotate.run(&cli.args),
        Command::Model(model) => model.run(&cli.args),
        Command::DetectorWorker(worker) => worker.run(),
        Command::Describe(describe) => describe.run(&cli.args),
        Command::Notify(notify) => notify.run(&cli.args),
        Command::Config(config) => config.run(&cli.args),
        Command::Tool(command) | Command::Replay(lenslog_tools::Replay { command }) => {
            init_logging(&Config::default());
            return lenslog_tools::run(&cli.args, command);
        }
        Command::Completions { shell } => {
            // Into memory first: the generator panics where its output is a closed pipe.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "lenslog", &mut script);
            print_all(&script)
        }
        Command::Man { directory } => man(directory.as_deref()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => exit::report(&error),
    }
}

/// Prints the manual page of the program, or writes one per command into `directory`.
fn man(directory: Option<&Path>) -> anyhow::Result<u8> {
    let command = Cli::command();
    match directory {
        Some(directory) => clap_mangen::generate_to(command, directory)
            .with_context(|| format!("cannot write manual pages to {}", directory.display()))?,
        None => clap_mangen::Man::new(command).render(&mut standard_output())?,
    }
    Ok(EXIT_OK)
}

fn print_all(text: &[u8]) -> anyhow::Result<u8> {
    let mut out = standard_output();
    out.write_all(text)?;
    out.flush()?;
    Ok(EXIT_OK)
}

/// Begins to log; a second call changes nothing.
fn init_logging(config: &Config) -> Option<crate::logging::Logging> {
    crate::logging::init(&config.log)
}

/// Reads the configuration that is meant.
fn configuration(
    args: &GlobalArgs,
    source: Option<&str>,
) -> Result<(Config, Vec<Warning>), crate::config::ConfigError> {
    let file = find_config(args.config.as_deref());
    let overrides = Overrides {
        data: args.data.clone(),
        source: source.map(ToOwned::to_owned),
        log_level: args.log_level(),
    };
    load(file.as_deref(), &overrides)
}

/// As [`configuration`], for commands that only look: logging on, warnings left to `config check`.
fn quiet_configuration(args: &GlobalArgs) -> anyhow::Result<Config> {
    let (mut config, _) = configuration(args, None)?;
    if std::env::var_os("LENSLOG_LOG").is_none() && args.log_level().is_none() {
        config.log.level = "warn".to_owned();
    }
    init_logging(&config);
    Ok(config)
}

/// Nothing is written while a mount that is required is missing.
fn require_mount(config: &Config) -> anyhow::Result<()> {
    match crate::storage::missing_mount(&config.storage.require_mount) {
        Some(missing) => Err(lenslog_tools::Unavailable(missing).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page of the commands.
    const COMMANDS: &str = include_str!("../../docs/operations/commands.md");

    fn undocumented(command: &clap::Command, name: &str, missing: &mut Vec<String>) {
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            if !matches!(option, "help" | "version") && !COMMANDS.contains(&format!("--{option}")) {
                missing.push(format!("{name} --{option}"));
            }
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let name = format!("{name} {}", inner.get_name());
            if inner.get_name() != "help"
                && !COMMANDS.contains(name.trim().trim_start_matches("replay "))
            {
                missing.push(name.clone());
            }
            undocumented(inner, &name, missing);
        }
    }

    /// The long help of a command and of those below it.
    fn help_of(command: &mut clap::Command, name: &str, pages: &mut String) {
        let help = command.render_long_help();
        pages.push_str(&format!("# {name}\n\n{help}\n"));
        for inner in command.get_subcommands_mut().filter(|inner| !inner.is_hide_set()) {
            let name = format!("{name} {}", inner.get_name());
            help_of(inner, &name, pages);
        }
    }

    #[test]
    fn the_help_pages_are_those_that_were_read_last() {
        let mut pages = String::new();
        help_of(&mut Cli::command().term_width(100), "lenslog", &mut pages);
        let pages: String = pages.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/help.txt");
        if std::env::var_os("LENSLOG_BLESS").is_some() {
            std::fs::write(golden, &pages).unwrap();
        }
        let expected = std::fs::read_to_string(golden).unwrap();
        assert!(pages == expected, "read the new pages, then set LENSLOG_BLESS=1:\n{pages}");
    }

    #[test]
    fn every_command_and_every_option_is_documented() {
        let mut missing = Vec::new();
        undocumented(&Cli::command(), "", &mut missing);
        assert_eq!(missing, [""; 0]);
    }
}
