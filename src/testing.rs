//! What tests of several modules share: what others do is waited for, what is logged is read, and a process is a test's own.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits for what another thread does.
#[track_caller]
pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never comes");
        std::thread::yield_now();
    }
}

/// What this thread logs meanwhile is in that file at once.
pub(crate) fn logging_to<T>(path: &Path, act: impl FnOnce() -> T) -> T {
    let writer = Arc::new(File::create(path).unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, act)
}

/// Set in the process that is a test's own.
const VARIABLE: &str = "LENSLOG_TEST_OWN_PROCESS";

/// `None` in a process of that test's own. Elsewhere, runs the test of that name in one, behind these commands of a shell,
/// and returns how that ended.
pub(crate) fn own_process(test: &str, commands: &str) -> Option<Output> {
    if std::env::var_os(VARIABLE).is_some() {
        return None;
    }
    let script = format!(r#"{commands} exec "$0" --exact "$1""#);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(std::env::current_exe().unwrap()).arg(test);
    Some(shell.env(VARIABLE, "1").output().unwrap())
}

/// Whether this is a process in which no file can be large. Elsewhere, the test of that name passes in one.
pub(crate) fn files_are_small(test: &str) -> bool {
    // The limit is 64 KiB; what is beyond it is an error of that write and not the end of the process.
    let Some(output) = own_process(test, "trap '' XFSZ; ulimit -f 128;") else { return true };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}
