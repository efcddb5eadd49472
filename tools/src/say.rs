//! [`say!`](crate::say) and [`complain!`](crate::complain): printing that stops nothing.
//!
//! `println!` and `eprintln!` panic where whoever read the output has gone: `lenslog status | head -1` would end in a
//! panic, and an ingest would end halfway because its warnings have nowhere to go.

/// A line on standard output, as `println!` prints it. Whoever has closed it has enough.
#[macro_export]
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        // There is nobody left to be told.
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

/// A line on standard error, as `eprintln!` prints it. Where it is closed, what is done goes on.
#[macro_export]
macro_rules! complain {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}
