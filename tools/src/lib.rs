//! `replay`: makes, checks and prints what follows from a journal. Works on any data directory, or a copy of one.
//!
//! Links neither camera nor inference code. The control socket's two ends are here as well, because `replay rebuild`
//! goes through it where a recorder runs.

#[macro_use]
mod say;

mod backup;
mod cat;
pub mod control;
mod discard_lost;
mod event_json;
mod export;
mod images;
mod place;
mod progress;
mod rebuild;
mod repair;
mod standard_output;
mod stat;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use lenslog_journal::ReaderOptions;

pub use place::{Place, find_config, read_config};
pub use say::counted;
pub use standard_output::{StandardOutput, say_line, standard_output};
pub use stat::{journal_status, status_at_rest};

/// Equal, or done.
pub const EXIT_OK: u8 = 0;
/// A projection differs from the journal.
pub const EXIT_DIFFERS: u8 = 1;
/// It cannot run.
pub const EXIT_CANNOT_RUN: u8 = 2;
/// The journal is damaged.
pub const EXIT_DAMAGED: u8 = 3;

/// What `replay`, or `lenslog replay`, does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the database and the files again from the journal
    Rebuild(rebuild::Rebuild),
    /// Check the journal and compare the database and the files with it
    Verify(verify::Verify),
    /// Print the records of the journal
    Cat(cat::Cat),
    /// Print what there is: segments, days, sizes, checkpoints
    Stat(stat::Stat),
    /// Mend what can be mended without touching a record, then recover and catch up
    Repair(repair::RepairCommand),
    /// Copy everything to another directory, beside a running recorder too
    Backup(backup::Backup),
    /// Remove what rebuilds moved aside as .lost-N
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

/// Does it, and says on standard error what stood in the way.
#[must_use]
pub fn run(place: &Place, command: &Command) -> ExitCode {
    let result = match command {
        Command::Rebuild(rebuild) => rebuild.run(place),
        Command::Verify(verify) => verify.run(place),
        Command::Cat(cat) => cat.run(place),
        Command::Stat(stat) => stat.run(place),
        Command::Repair(repair) => repair.run(place),
        Command::Backup(backup) => backup.run(place),
        Command::DiscardLost(discard) => discard.run(place),
        Command::Export(export) => export.run(place),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        // Whoever read our output has enough: `replay cat | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("replay: {}", explained(&error));
            ExitCode::from(EXIT_CANNOT_RUN)
        }
    }
}

/// Whether whoever read our output has closed it: he has enough.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_broken = |kind| kind == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| is_broken(error.kind()))
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|error| error.io_error_kind().is_some_and(is_broken))
    })
}

/// An error with its causes, in a line. A cause that the text before it tells already is not told twice.
#[must_use]
pub fn explained(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}
