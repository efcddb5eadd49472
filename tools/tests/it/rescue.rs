//! The `replay` program on a medium that fails, and backups that are interrupted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lenslog_events::RecorderCodec;
use lenslog_journal::{Journal, Options};

use crate::common::{event, expect, replay};

const EVENTS: u64 = 400;

/// A journal of several sealed segments and an active one, closed cleanly, and its projections.
fn recorded(data: &Path) {
    let options = Options { segment_bytes_max: Some(48 << 10), ..Options::default() };
    let journal = Journal::open(data, &options).unwrap();
    for number in 0..EVENTS {
        let event = event(format!("evt_{number}"), number as i64);
        let _ = journal.append(&[RecorderCodec::encode(&event).as_record()]).unwrap();
    }
    journal.close().unwrap();
    expect(data, &["rebuild"], 0);
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    found.sort();
    found
}

/// The ids of the events in what `cat --json` or `export` prints.
fn ids(printed: &str) -> BTreeSet<&str> {
    let id = |line| Some(&line[str::find(line, "evt_")?..]);
    printed.lines().filter(|line| line.starts_with('{')).filter_map(id).map(first_word).collect()
}

fn first_word(text: &str) -> &str {
    text.split('"').next().unwrap_or_default()
}

/// A directory that is seen through a file system with unreadable stretches; unmounted when dropped.
struct Faulty {
    directory: tempfile::TempDir,
    server: Child,
}

impl Faulty {
    /// `None` where this machine has no FUSE for Python, which CI does not accept.
    fn new(prepare: impl FnOnce(&Path) -> String) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["root", "seen"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("control"), prepare(&at("root"))).unwrap();
        fs::write(at("root/is-mounted"), "").unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuse_faults.py");
        let arguments = [&script, &at("root"), &at("seen"), &at("control")];
        let python = ["/usr/bin/python3", "python3"].into_iter().find(|p| can_mount(p));
        let server = python.map(|python| {
            let mut command = Command::new(python);
            command.args(arguments).stderr(Stdio::inherit()).spawn().unwrap()
        });
        let Some(server) = server else {
            assert!(
                std::env::var_os("LENSLOG_TEST_ALL").is_none(),
                "LENSLOG_TEST_ALL is set, and FUSE for Python is missing"
            );
            eprintln!("skipped: FUSE for Python is missing");
            return None;
        };
        let mut faulty = Self { directory, server };
        let begun = Instant::now();
        while !faulty.seen("is-mounted").exists() {
            assert!(faulty.server.try_wait().unwrap().is_none(), "the file system has ended");
            assert!(begun.elapsed() < Duration::from_secs(60), "the file system is not mounted");
            std::thread::yield_now();
        }
        Some(faulty)
    }

    fn seen(&self, name: &str) -> PathBuf {
        self.directory.path().join("seen").join(name)
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").arg("-u").arg(self.seen("")).status();
        let _ = self.server.wait();
    }
}

fn can_mount(python: &str) -> bool {
    let test = "import importlib.util as u, os, sys; \
                sys.exit(not ((u.find_spec('fusepy') or u.find_spec('fuse')) and os.access('/dev/fuse', 6)))";
    let output = Command::new(python).args(["-c", test]).output();
    output.is_ok_and(|output| output.status.success())
}

/// A bad sector in the first segment, and one in a picture.
fn with_bad_sectors() -> Option<Faulty> {
    Faulty::new(|root| {
        let data = root.join("data");
        recorded(&data);
        let day = data.join("events/2026-11-20");
        fs::write(day.join("evt_1.jpg"), vec![7; 10_000]).unwrap();
        fs::write(day.join("evt_2.jpg"), vec![8; 10_000]).unwrap();
        let first = segments(&data).remove(0);
        let first = first.file_name().unwrap().to_str().unwrap();
        format!(r#"{{"eio_read": [["*/{first}", 16384, 20480], ["*/evt_2.jpg", 0, 4096]]}}"#)
    })
}

#[test]
fn a_bad_sector_costs_the_records_in_it_and_no_tool() {
    let Some(faulty) = with_bad_sectors() else { return };
    let data = faulty.seen("data");
    for command in [&["cat", "--json"][..], &["export"]] {
        let printed = expect(&data, command, 5);
        let count = ids(&printed).len() as u64;
        assert!((EVENTS - 20..EVENTS).contains(&count), "{command:?}: {count} events");
        assert!(printed.contains("offset 1"), "the loss is named: {printed}");
    }
    let out = faulty.beside("out");
    let out = out.to_str().unwrap();
    expect(&data, &["rebuild", "--out", out], 5);
    assert!(
        !Path::new(out).join("events.db").exists(),
        "nothing is made where records are missing"
    );
    expect(&data, &["rebuild", "--accept-loss", "--out", out], 5);
    assert!(Path::new(out).join("events.db").exists());
}

#[test]
fn a_backup_of_a_bad_sector_has_everything_else_and_says_what_is_missing() {
    let Some(faulty) = with_bad_sectors() else { return };
    let (data, copy) = (faulty.seen("data"), faulty.beside("copy"));
    let said = expect(&data, &["backup", copy.to_str().unwrap()], 5);
    assert_eq!(said.matches("4096 bytes cannot be read").count(), 2, "{said}");
    assert!(said.contains("evt_2.jpg") && said.contains("lost"), "{said}");
    assert!(!faulty.beside("copy.partial").exists() && !copy.join("COPYING").exists());
    expect(&copy, &["verify"], 5);
    let (original, copied) = (replay(&data, &["export"]), replay(&copy, &["export"]));
    assert_eq!(original.stdout, copied.stdout);
    let day = copy.join("events/2026-11-20");
    assert_eq!(fs::read(day.join("evt_1.jpg")).unwrap(), vec![7; 10_000]);
    let damaged = fs::read(day.join("evt_2.jpg")).unwrap();
    assert_eq!((damaged.len(), &damaged[..4096], damaged[4096]), (10_000, &[0; 4096][..], 8));
}

#[test]
fn the_root_of_a_file_system_is_no_place_for_a_backup() {
    let Some(faulty) = Faulty::new(|_| "{}".to_owned()) else { return };
    let data = faulty.beside("data");
    recorded(&data);
    fs::remove_file(faulty.beside("root/is-mounted")).unwrap();
    let said = expect(&data, &["backup", faulty.seen("").to_str().unwrap()], 2);
    assert!(said.contains("root of a file system"), "{said}");
    expect(&data, &["backup", faulty.seen("copy").to_str().unwrap()], 0);
    expect(&faulty.seen("copy"), &["verify"], 0);
}

#[test]
fn an_interrupted_backup_is_absent_under_its_name_and_continued() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    recorded(&at("data"));
    let day = at("data/events/2026-11-20");
    for name in ["evt_1.jpg", "evt_2.jpg"] {
        fs::write(day.join(name), name).unwrap();
    }
    let target = at("copy");
    let target = target.to_str().unwrap();
    // Stopped before anything was copied.
    fs::create_dir_all(at("copy.partial/journal")).unwrap();
    expect(&at("data"), &["backup", target, "--no-images"], 0);
    fs::remove_dir_all(at("copy")).unwrap();
    // The database cannot be made: something else is in its place.
    let block = || {
        fs::remove_file(at("copy.partial/events.db")).unwrap();
        fs::create_dir_all(at("copy.partial/events.db/in the way")).unwrap();
    };
    // Stopped where the journal and a picture are copied.
    interrupted(&at("data"), &at("copy"));
    assert!(!at("copy").exists() && at("copy.partial/COPYING").exists());
    block();
    let said = expect(&at("data"), &["backup", target], 1);
    assert!(said.contains("events.db") && !at("copy").exists(), "{said}");
    fs::remove_dir_all(at("copy.partial/events.db")).unwrap();
    let said = expect(&at("data"), &["backup", target], 0);
    assert!(said.contains("from the interrupted copy"), "{said}");
    assert!(!at("copy.partial").exists());
    expect(&at("copy"), &["verify"], 0);
    assert_eq!(fs::read(at("copy/events/2026-11-20/evt_2.jpg")).unwrap(), b"evt_2.jpg");
    let beside: BTreeSet<_> = fs::read_dir(at("copy"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        beside.iter().all(|name| !name.contains(".old-") && !name.contains(".lost-")),
        "{beside:?}"
    );
    // It is complete: it is never written to again.
    let said = expect(&at("data"), &["backup", target], 2);
    assert!(said.contains("entries"), "{said}");
}

/// Leaves what a backup leaves that was stopped before it renamed its directory.
fn interrupted(data: &Path, target: &Path) {
    let partial = target.with_extension("partial");
    expect(data, &["backup", target.to_str().unwrap()], 0);
    fs::rename(target, &partial).unwrap();
    let view = lenslog_journal::JournalView::open(
        data,
        std::sync::Arc::new(lenslog_journal::storage::RealStorage),
    );
    let journal = view.unwrap().journal_id();
    let marker = format!("journal = {:032x}\n", u128::from_be_bytes(journal));
    fs::write(partial.join("COPYING"), marker).unwrap();
    fs::remove_file(partial.join("events/2026-11-20/evt_2.jpg")).unwrap();
}

#[test]
fn an_unfinished_directory_of_another_program_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    recorded(&at("data"));
    fs::create_dir(at("copy.partial")).unwrap();
    fs::write(at("copy.partial/mine"), "mine").unwrap();
    let said = expect(&at("data"), &["backup", at("copy").to_str().unwrap()], 1);
    assert!(said.contains("copy.partial"), "{said}");
    assert_eq!(fs::read_dir(at("copy.partial")).unwrap().count(), 1);
}

#[test]
fn stat_says_why_it_cannot_read() {
    let Some(mut faulty) = Faulty::new(|root| {
        recorded(&root.join("data"));
        r#"{"eio_read": [["*/events.db", 0, 1000000000]]}"#.to_owned()
    }) else {
        return;
    };
    let data = faulty.seen("data");
    let said = expect(&data, &["stat", "--json"], 0);
    assert!(said.contains("\"unreadable\"") && !said.contains("\"broken\""), "{said}");
    faulty.server.kill().unwrap();
    faulty.server.wait().unwrap();
    let said = expect(&data, &["stat"], 1);
    assert!(said.contains("cannot look at") && !said.contains("there is no journal"), "{said}");
    expect(faulty.directory.path(), &["stat"], 2);
}

#[test]
fn a_fifo_or_a_directory_in_the_place_of_a_file_hangs_no_tool() {
    let directory = tempfile::tempdir().unwrap();
    for fifo in [true, false] {
        let data = directory.path().join(if fifo { "fifo" } else { "directory" });
        recorded(&data);
        for name in ["events.db", "checkpoints/jsonl", "events/2026-11-20/events.log"] {
            let path = data.join(name);
            fs::remove_file(&path).unwrap();
            if fifo {
                assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            } else {
                fs::create_dir(&path).unwrap();
            }
        }
        fs::remove_file(data.join("checkpoints/media")).unwrap();
        let said = expect(&data, &["stat", "--json"], 0);
        assert_eq!(said.matches("\"blocked\"").count(), 2, "{said}");
        expect(&data, &["verify"], 1);
        expect(&data, &["rebuild"], 1);
        expect(&data, &["export"], 0);
        let copy = directory.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        expect(&data, &["backup", copy.to_str().unwrap()], 0);
        expect(&copy, &["verify"], 0);
    }
}

#[test]
fn lost_copies_go_by_command() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    recorded(&data);
    let first = segments(&data).remove(0);
    let mut bytes = fs::read(&first).unwrap();
    bytes[16_384 + 60] ^= 1;
    fs::write(&first, bytes).unwrap();
    expect(&data, &["rebuild"], 5);
    assert!(!data.join("events.db.lost-1").exists());
    expect(&data, &["rebuild", "--accept-loss"], 5);
    let text = data.join("events/2026-11-20/events.json.lost-1");
    assert!(data.join("events.db.lost-1").exists() && text.exists());
    let said = expect(&data, &["discard-lost"], 0);
    assert!(said.contains("sqlite") && said.contains("jsonl"), "{said}");
    assert!(!data.join("events.db.lost-1").exists() && !text.exists());
}
