//! [`say!`](crate::say) and [`complain!`](crate::complain): printing that never panics.
//!
//! `println!` and `eprintln!` panic where the reader has closed the output: `lenslog status | head -1` would end in a
//! panic, and an ingest would end halfway because its warnings have nowhere to go.
//!
//! The errors of [`standard_output`] say what could not be written: "No space left on device" alone sends people to look
//! at the disk of the journal.

use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

/// A line on standard output, as `println!` prints it. A closed output is no error.
#[macro_export]
macro_rules! say {
    ($($part:tt)*) => {
        $crate::say_line(format_args!($($part)*))
    };
}

/// A line on standard error, as `eprintln!` prints it. Where it is closed, what is done goes on.
#[macro_export]
macro_rules! complain {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

/// Standard output, buffered.
#[must_use]
pub fn standard_output() -> BufWriter<StandardOutput> {
    BufWriter::new(StandardOutput(io::stdout().lock()))
}

/// Standard output.
#[derive(Debug)]
pub struct StandardOutput(StdoutLock<'static>);

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

/// The error, of the same kind, with the name of what it is about.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        // Is tried again.
        io::ErrorKind::Interrupted => error,
        kind => io::Error::new(kind, format!("cannot write to standard output: {error}")),
    }
}

/// A line on standard output. A closed output is no error; any other write error is reported.
pub fn say_line(line: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    let Err(error) = written else { return };
    if error.kind() != io::ErrorKind::BrokenPipe {
        complain!("lenslog: {}", named(error));
    }
}
