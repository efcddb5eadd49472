//! The `replay` program.

use std::process::ExitCode;

use clap::Parser;
use lenslog_tools::{Command, Place, run};

/// Rebuilds, verifies, prints and copies what a Lenslog recorder wrote
///
/// Exit codes: 0 equal or done, 1 a projection differs, 2 cannot run, 3 the journal is damaged.
#[derive(Debug, Parser)]
#[command(name = "replay", version)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // A file beyond the limit on file sizes is an error of the write, not the end of the process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    run(&cli.place, &cli.command)
}
