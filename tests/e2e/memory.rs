//! Memory stays flat however long the journal: the programs run in an address space that a copy of it would not fit.

use std::process::Stdio;

use crate::harness::{TestEnv, line};

/// Events; more with `LENSLOG_MEMORY_EVENTS=1000000`.
fn events() -> usize {
    let number = std::env::var("LENSLOG_MEMORY_EVENTS").ok().and_then(|text| text.parse().ok());
    number.unwrap_or(60_000)
}

/// Address space of a program, in KiB: its code, its threads' stacks, SQLite's cache, one mapped segment.
const ADDRESS_SPACE_KIB: u64 = 400 * 1024;

#[test]
fn rebuilding_verifying_and_following_a_long_journal_needs_no_more_memory_than_a_short_one() {
    let env = TestEnv::new();
    let input: String = (0..events()).map(|number| line(number) + "\n").collect();
    env.feed(&["ingest"], input.as_bytes()).expect(0);
    drop(input);
    for command in [
        &["replay", "verify"][..],
        &["replay", "rebuild"],
        &["replay", "cat", "--json"],
        &["replay", "export"],
        &["ingest"],
    ] {
        let program = env.command(command);
        let mut limited = std::process::Command::new("sh");
        limited
            .arg("-c")
            .arg(format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" \"$@\""))
            .arg(program.get_program())
            .args(program.get_args())
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let output = limited.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
    }
}
