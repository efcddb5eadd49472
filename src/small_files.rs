//! Tests of files that cannot be written to their end, in a process of their own: the limit counts for all of it.

use std::process::Command;

/// Tells the process with the limit.
const VARIABLE: &str = "LENSLOG_TEST_SMALL_FILES";
/// The limit is 64 KiB; what is beyond it is an error of that write and not the end of the process.
const SCRIPT: &str = r#"trap '' XFSZ; ulimit -f 128; exec "$0" --exact "$1""#;

/// Whether this is the process in which no file can be large. Elsewhere, runs the test of that name in one first.
pub(crate) fn is_here(test: &str) -> bool {
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", SCRIPT]).arg(own).arg(test).env(VARIABLE, "1");
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}
