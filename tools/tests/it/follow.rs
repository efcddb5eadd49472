//! `replay cat --follow` beside prunings and restores.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use lenslog_events::RecorderCodec;
use lenslog_journal::{Journal, Options, SimulatedClock};

use crate::common::{DAY, NOON, event};

fn open(data: &Path, clock: &Arc<SimulatedClock>) -> Journal {
    let clock = Arc::clone(clock) as _;
    let options = Options { segment_bytes_max: Some(48 << 10), clock, ..Options::default() };
    Journal::open(data, &options).unwrap()
}

/// Appends events of this many days after the first.
fn append(journal: &Journal, day: i64, name: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let event = event(format!("{name}_{number}"), day * DAY.as_micros() as i64);
        let encoded = RecorderCodec::encode(&event);
        let _ = journal.append(&[encoded.as_record()]).unwrap();
    }
}

fn follow(data: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replay"));
    command.args(["cat", "--follow", "--json", "--data"]).arg(data).env_remove("LENSLOG_CONFIG");
    command.env("HOME", data).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads lines until one contains `text`.
fn read_until(lines: &mut impl BufRead, text: &str) -> Vec<String> {
    let mut read = Vec::new();
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "no '{text}' in {read:?}");
        let is_last = line.contains(text);
        read.push(line);
        if is_last {
            return read;
        }
    }
}

/// Ends it, and returns what else it said on standard error.
fn end(mut child: Child, mut errors: impl Read) -> String {
    child.kill().unwrap();
    child.wait().unwrap();
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn following_goes_on_past_a_pruning_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(SimulatedClock::new(NOON));
    let journal = open(directory.path(), &clock);
    append(&journal, 0, "first", 0..1);
    let mut child = follow(directory.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let errors = child.stderr.take().unwrap();
    read_until(&mut lines, "first_0");
    // The output is not read: it can print no more than the pipe holds.
    append(&journal, 0, "pruned", 0..1000);
    clock.advance(DAY);
    append(&journal, 1, "kept", 0..10);
    journal.prune_through("2026-11-20".parse().unwrap()).unwrap();
    journal.unlink_pruned().unwrap();
    append(&journal, 1, "last", 0..1);
    let printed = read_until(&mut lines, "last_0");
    let count = |name: &str| printed.iter().filter(|line| line.contains(name)).count();
    assert!(count("pruned_") < 1000 && count("kept_") == 10, "{}", count("pruned_"));
    let said = end(child, errors);
    assert!(said.contains("were pruned before they were printed"), "{said}");
    assert!(!said.contains("lost"), "{said}");
}

#[test]
fn a_restored_journal_is_followed_and_nothing_counts_as_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
    let clock = Arc::new(SimulatedClock::new(NOON));
    let journal = open(&data, &clock);
    append(&journal, 0, "first", 0..200);
    journal.close().unwrap();
    let copied = Command::new("cp").arg("-a").args([&data, &copy]).status().unwrap();
    assert!(copied.success());
    let journal = open(&data, &clock);
    append(&journal, 0, "given_up", 0..200);
    let mut child = follow(&data);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    read_until(&mut lines, "given_up_199");
    journal.close().unwrap();
    fs::rename(data.join("journal"), directory.path().join("old")).unwrap();
    fs::rename(copy.join("journal"), data.join("journal")).unwrap();
    // With the newer `IDENTITY` it would be the same journal, of which the newest segment is lost.
    fs::rename(copy.join("IDENTITY"), data.join("IDENTITY")).unwrap();
    let journal = open(&data, &clock);
    append(&journal, 0, "restored", 0..10);
    let said = read_until(&mut errors, "was replaced").concat();
    append(&journal, 1, "last", 0..400);
    let printed = read_until(&mut lines, "last_399");
    assert_eq!(printed.iter().filter(|line| line.contains("last_")).count(), 400);
    let said = said + &end(child, errors);
    assert!(!said.contains("lost") && said.lines().count() == 1, "{said}");
}
