//! The `replay` program.

use std::process::ExitCode;

use clap::Parser;
use lenslog_tools::{Command, GlobalArgs, run};

/// Rebuilds, verifies, prints and copies what a Lenslog recorder wrote
///
/// Exit codes: 0 done or equal, 1 failed or differs, 2 usage or configuration, 3 storage full, 4 a dependency is
/// unavailable, 5 the journal is damaged.
#[derive(Debug, Parser)]
#[command(name = "replay", version)]
struct Cli {
    #[command(flatten)]
    args: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // A file beyond the limit on file sizes is an error of the write, not the end of the process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    let cli = Cli::parse();
    let level = cli.args.log_level().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(tracing::Level::WARN))
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    run(&cli.args, &cli.command)
}
