//! `replay`: rebuilds, verifies, prints, copies and repairs a data directory, or a copy of one.
//!
//! Links neither camera nor inference code. Where a recorder runs, `replay rebuild` asks it over the control socket.

#[macro_use]
mod exit;
#[macro_use]
mod say;

mod args;
mod backup;
mod cat;
mod discard_lost;
mod event_json;
mod export;
mod images;
mod progress;
mod rebuild;
mod repair;
mod stat;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use lenslog_journal::ReaderOptions;

pub use args::{
    GlobalArgs, LayoutKeys, VARIABLE_PREFIX, data_flag, find_config, override_key, read_config,
};
pub use exit::{
    EXIT_DAMAGED, EXIT_FAILED, EXIT_OK, EXIT_STORAGE_FULL, EXIT_UNAVAILABLE, EXIT_USAGE,
    Unavailable, Usage, exit_code, explained, is_broken_pipe,
};
pub use lenslog_control::counted;
pub use say::{StandardOutput, say_line, standard_output};
pub use stat::status_at_rest;

/// A command of `replay`, or of `lenslog replay`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rebuild the database and the files from the journal
    Rebuild(rebuild::Rebuild),
    /// Check the journal and compare the database and the files with it
    Verify(verify::Verify),
    /// Print the records of the journal
    Cat(cat::Cat),
    /// Print segments, days, sizes and checkpoints
    Stat(stat::Stat),
    /// Repair the journal's files without touching a record, then recover and catch up
    Repair(repair::RepairCommand),
    /// Copy everything to another directory, beside a running recorder too
    Backup(backup::Backup),
    /// Remove the files that rebuilds moved aside as .lost-N
    DiscardLost(discard_lost::DiscardLost),
    /// Print every event as a line of JSON that `lenslog ingest` takes
    Export(export::Export),
}

/// `lenslog replay`: the command without the flags that `lenslog` has already.
#[derive(Debug, Args)]
pub struct Replay {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How a tool reads the journal: without mapping, so that a bad sector is a loss to be named, unless `map` asks for it.
fn reader_options(map: bool) -> ReaderOptions {
    let options = ReaderOptions::default();
    if map { options.map_sealed() } else { options }
}

/// Runs the command and prints its error to standard error.
#[must_use]
pub fn run(args: &GlobalArgs, command: &Command) -> ExitCode {
    let result = match command {
        Command::Rebuild(rebuild) => rebuild.run(args),
        Command::Verify(verify) => verify.run(args),
        Command::Cat(cat) => cat.run(args),
        Command::Stat(stat) => stat.run(args),
        Command::Repair(repair) => repair.run(args),
        Command::Backup(backup) => backup.run(args),
        Command::DiscardLost(discard) => discard.run(args),
        Command::Export(export) => export.run(args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("replay: {}", explained(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}
