//! [`say!`](crate::say) and [`complain!`](crate::complain): printing that stops nothing.
//!
//! `println!` and `eprintln!` panic where whoever read the output has gone: `lenslog status | head -1` would end in a
//! panic, and an ingest would end halfway because its warnings have nowhere to go.

/// So many of something: `1 event`, `2 events`.
///
/// ```
/// assert_eq!(lenslog_tools::counted(1, "event"), "1 event");
/// assert_eq!(lenslog_tools::counted(0, "event"), "0 events");
/// ```
#[must_use]
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// A line on standard output, as `println!` prints it. Whoever has closed it has enough.
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
