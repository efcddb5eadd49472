//! The `lenslog` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lenslog::cli::main()
}
