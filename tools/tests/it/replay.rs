//! The `replay` program on journals that a recorder would not make in a minute: pruned ones, empty ones, none at all.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use lenslog_events::RecorderCodec;
use lenslog_journal::{Journal, Options, SimulatedClock};

use crate::common::{DAY, NOON, event, expect};

/// Four days with ten events each, of which the first two were pruned.
fn pruned(data: &Path) {
    let clock = Arc::new(SimulatedClock::new(NOON));
    let options = Options { clock: Arc::clone(&clock) as _, ..Options::default() };
    let journal = Journal::open(data, &options).unwrap();
    for number in 0..40_i64 {
        if number > 0 && number % 10 == 0 {
            clock.advance(DAY);
        }
        let after = number / 10 * DAY.as_micros() as i64 + number;
        let encoded = RecorderCodec::encode(&event(format!("evt_{number}"), after));
        let _ = journal.append(&[encoded.as_record()]).unwrap();
    }
    journal.prune_through("2026-11-21".parse().unwrap()).unwrap();
    journal.close().unwrap();
}

#[test]
fn a_pruned_journal_is_printed_from_its_floor_and_says_what_is_gone() {
    let data = tempfile::tempdir().unwrap();
    pruned(data.path());
    let all = expect(data.path(), &["cat"], 0);
    assert!(all.starts_with("21 2026-11-22"), "{all}");
    assert_eq!(all.lines().filter(|line| line.contains(" EventDetected ")).count(), 20);
    assert!(all.contains(" PrunedThrough "), "{all}");
    let gone = expect(data.path(), &["cat", "--from", "5"], 2);
    assert!(gone.contains("21"), "the first seq that is there is named: {gone}");
    let some = expect(data.path(), &["cat", "--from", "30", "--to", "33", "--json"], 0);
    assert_eq!(some.lines().count(), 3);
}

#[test]
fn what_was_pruned_stays_pruned_through_rebuild_export_and_verification() {
    let data = tempfile::tempdir().unwrap();
    pruned(data.path());
    expect(data.path(), &["rebuild"], 0);
    expect(data.path(), &["verify"], 0);
    let days: Vec<String> = fs::read_dir(data.path().join("events"))
        .unwrap()
        .map(|day| day.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !days.contains(&"2026-11-20".to_owned()) && days.contains(&"2026-11-22".to_owned()),
        "{days:?}"
    );
    let exported = expect(data.path(), &["export"], 0);
    assert_eq!(exported.lines().count(), 20);
    let one_day = expect(data.path(), &["export", "--from", "2026-11-23", "--to", "2026-11-23"], 0);
    assert_eq!(one_day.lines().count(), 10);
}

#[test]
fn whoever_reads_the_output_may_have_enough_of_it() {
    let data = tempfile::tempdir().unwrap();
    pruned(data.path());
    for args in [&["cat", "--json"][..], &["cat", "--json", "--follow"], &["export"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_replay"))
            .args(args)
            .arg("--data")
            .arg(data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with('{'), "{line}");
        if args.contains(&"--follow") {
            // The pipe is closed: it ends at its next line, which comes from a writer.
            let journal = Journal::open(data.path(), &Options::default()).unwrap();
            let encoded = RecorderCodec::encode(&event("evt_99".to_owned(), 0));
            let _ = journal.append(&[encoded.as_record()]).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn whoever_has_closed_the_output_hears_of_no_panic() {
    let data = tempfile::tempdir().unwrap();
    pruned(data.path());
    expect(data.path(), &["rebuild"], 0);
    let copy = data.path().with_extension("copy");
    let full = || fs::File::create("/dev/full").unwrap();
    let copying = ["backup", copy.to_str().unwrap()];
    for args in
        [&["verify"][..], &["stat"], &["stat", "--json"], &["rebuild"], &["repair"], &copying]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replay"));
        command.args(args).arg("--data").arg(data.path());
        // One output fails every write, the other has no reader.
        assert_eq!(
            command.stdout(full()).stderr(full()).status().unwrap().code(),
            Some(0),
            "{args:?}"
        );
        let _ = fs::remove_dir_all(&copy);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
    fs::remove_dir_all(&copy).unwrap();
}

#[test]
fn a_directory_without_a_journal_is_named_and_nothing_is_made_in_it() {
    let data = tempfile::tempdir().unwrap();
    for args in [&["verify"][..], &["rebuild"], &["cat"], &["stat"], &["repair"], &["export"]] {
        let said = expect(data.path(), args, 2);
        assert!(said.contains(data.path().to_str().unwrap()) && said.contains("--data"), "{said}");
    }
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn a_dry_repair_changes_nothing_and_a_wet_one_mends_a_header() {
    let data = tempfile::tempdir().unwrap();
    pruned(data.path());
    expect(data.path(), &["rebuild"], 0);
    let segment = fs::read_dir(data.path().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .min()
        .unwrap();
    let whole = fs::read(&segment).unwrap();
    let mut broken = whole.clone();
    broken[4096 + 100] ^= 1;
    fs::write(&segment, &broken).unwrap();
    let said = expect(data.path(), &["verify"], 0);
    assert!(said.contains("one copy of the header is damaged, nothing is lost"), "{said}");
    expect(data.path(), &["repair", "--dry-run"], 0);
    assert_eq!(fs::read(&segment).unwrap(), broken);
    expect(data.path(), &["repair"], 0);
    assert_eq!(fs::read(&segment).unwrap()[..8192], whole[..8192]);
    let said = expect(data.path(), &["verify"], 0);
    assert!(!said.contains("note"), "{said}");
}

#[test]
fn an_unknown_projection_is_named_with_those_that_there_are() {
    let data = tempfile::tempdir().unwrap();
    pruned(data.path());
    let said = expect(data.path(), &["rebuild", "--only", "sqlight"], 2);
    for name in ["sqlight", "sqlite", "jsonl", "plaintext", "media"] {
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn stat_tells_segments_days_and_how_far_everything_is() {
    let data = tempfile::tempdir().unwrap();
    pruned(data.path());
    expect(data.path(), &["rebuild"], 0);
    let said = expect(data.path(), &["stat", "--segments"], 0);
    for part in ["2026-11-22", "2026-11-23", "sqlite", "up to date"] {
        assert!(said.contains(part), "'{part}' is not in\n{said}");
    }
}

#[test]
fn nothing_is_made_inside_of_the_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    pruned(&data);
    expect(&data, &["rebuild"], 0);
    for inside in ["data", "data/copy", "data/journal/copy", "data/events/2026-11-22"] {
        let target = directory.path().join(inside);
        for args in [&["backup"][..], &["rebuild", "--out"]] {
            let said = expect(&data, &[args, &[target.to_str().unwrap()]].concat(), 2);
            assert!(said.contains("lies in the data directory"), "{inside}: {said}");
        }
    }
    assert!(!data.join("copy").exists());
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&data, &link).unwrap();
    expect(&data, &["backup", link.join("copy").to_str().unwrap()], 2);
    expect(&data, &["backup", directory.path().join("data-copy").to_str().unwrap()], 0);
}

#[test]
fn days_the_wrong_way_round_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    pruned(directory.path());
    let args = ["rebuild", "--from", "2026-11-23", "--to", "2026-11-22"];
    assert!(expect(directory.path(), &args, 2).contains("a later day than"));
}
