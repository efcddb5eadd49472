//! The `lenslog` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A file beyond the limit on file sizes is an error of the write, not the end of the process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    lenslog::main()
}
