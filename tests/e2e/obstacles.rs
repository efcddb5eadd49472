//! Something else in the place of a file of the data directory: no recording stops, no tool hangs, and what is in the way
//! stays.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::harness::{Ran, Recording, TestEnv, lacks};
use crate::storage::lines;

/// A program that takes longer hangs. An ingest waits twice for projections that cannot go on, 10 s each time.
const HANG: Duration = Duration::from_secs(60);
/// The user that runs the programs: root is refused nothing.
pub const USER: u32 = 65_534;

/// A file, and where that is named when something else is in its place.
struct Place {
    /// Below the env; `*` in a name is the first that fits.
    path: &'static str,
    /// What is said of it.
    named: &'static str,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Status,
    /// By the status where it stays in the way, by the log where the journal replaces it.
    StatusOrLog,
    /// Nothing that the status is about.
    Log,
    /// Nothing is lost by it.
    Nothing,
}

const fn place(path: &'static str, named: &'static str, by: By) -> Place {
    Place { path, named, by }
}

const PLACES: &[Place] = &[
    place("data/events.db", "events.db", By::Status),
    place("data/events.db-wal", "events.db-wal", By::Status),
    place("data/events.db-shm", "events.db-shm", By::Status),
    place("data/checkpoints/jsonl", "checkpoints/jsonl", By::Status),
    place("data/checkpoints/plaintext", "checkpoints/plaintext", By::Status),
    place("data/checkpoints/media", "checkpoints/media", By::Status),
    place("data/checkpoints/descriptions", "checkpoints/descriptions", By::Status),
    place("data/checkpoints", "checkpoints", By::Status),
    place("data/control.sock", "control.sock", By::Status),
    place("data/IDENTITY", "IDENTITY", By::StatusOrLog),
    place("data/reserve", "", By::Nothing),
    place("data/events/*", "events/", By::Status),
    place("data/events/*/events.json", "events.json", By::Status),
    place("data/events/*/events.log", "events.log", By::Status),
    place("data/events/*/amendments.json", "", By::Nothing),
    place("data/events/*/one.jpg", "", By::Nothing),
    place("logs/metrics.json", "metrics.json", By::Log),
    place("logs", "logs", By::Log),
    place("lenslog.toml", "lenslog.toml", By::Status),
    place("data/journal/spare", "", By::Nothing),
    place("data/journal/WITNESS", "WITNESS", By::StatusOrLog),
    place("data/journal/*.keys", "", By::Nothing),
    place("data/journal/*.seg", ".seg", By::Status),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Obstacle {
    Directory,
    Fifo,
    /// The same content, of another user.
    Unreadable,
    /// A link to a file elsewhere.
    Link,
}

const OBSTACLES: [Obstacle; 4] =
    [Obstacle::Directory, Obstacle::Fifo, Obstacle::Unreadable, Obstacle::Link];

/// A data directory of two days and some segments, stopped.
fn base() -> TestEnv {
    let env = env();
    let directory = env.data.join("events").join(day());
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("one.jpg"), "no picture, but a file").unwrap();
    let mut first = lines(2, 1500);
    first[0] =
        first[0].replacen('{', &format!("{{\"image_path\":\"data/events/{}/one.jpg\",", day()), 1);
    env.ingest(&first).expect(0);
    env.ingest(&lines(1, 1500)).expect(0);
    env
}

fn day() -> String {
    crate::storage::date(2).to_string()
}

fn env() -> TestEnv {
    // Small segments.
    TestEnv::new().with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.02")
}

/// The path of a place in a test environment.
fn resolved(env: &TestEnv, path: &str) -> PathBuf {
    let root = env.data.parent().unwrap().to_owned();
    path.split('/').fold(root, |parent, name| {
        let Some((before, after)) = name.split_once('*') else { return parent.join(name) };
        let mut names: Vec<_> = fs::read_dir(&parent)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(before) && name.ends_with(after))
            .collect();
        names.sort();
        parent.join(names.first().unwrap_or_else(|| panic!("there is no {path}")))
    })
}

/// Puts the obstacle in the place of a file; returns what must be true of it afterwards.
fn obstruct(env: &TestEnv, path: &Path, obstacle: Obstacle) -> impl Fn() -> bool + use<> {
    let aside = env.path("aside");
    if path.symlink_metadata().is_ok() {
        fs::rename(path, &aside).unwrap();
    } else {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&aside, "[log]\n").unwrap();
    }
    let victim = env.path("victim");
    fs::write(&victim, "another's").unwrap();
    match obstacle {
        Obstacle::Directory => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("inside"), "kept").unwrap();
        }
        Obstacle::Fifo => {
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            let cwd = rustix::fs::CWD;
            rustix::fs::mknodat(cwd, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        Obstacle::Unreadable => fs::rename(&aside, path).unwrap(),
        Obstacle::Link => symlink(&victim, path).unwrap(),
    }
    own(env.data.parent().unwrap());
    if obstacle == Obstacle::Unreadable {
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        chown(path, Some(0), Some(0)).unwrap();
    }
    let path = path.to_owned();
    move || {
        let found = path.symlink_metadata();
        let is_there = found.as_ref().is_ok_and(|found| match obstacle {
            Obstacle::Directory => found.is_dir() && path.join("inside").exists(),
            Obstacle::Fifo => !found.is_file() && !found.is_dir(),
            // A file of a kind of its own may be replaced.
            Obstacle::Unreadable => true,
            Obstacle::Link => found.is_symlink(),
        });
        let is_regular = found.is_ok_and(|found| found.is_file());
        // What gave way to a file of ours is beside it under another name.
        (is_there || is_regular) && fs::read(&victim).unwrap() == b"another's"
    }
}

/// Gives everything to the user, but what links lead to.
fn own(path: &Path) {
    let found = path.symlink_metadata().unwrap();
    if !found.is_symlink() {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    if found.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| own(&entry.unwrap().path()));
    }
}

/// Runs a program as the user; `None`: it hangs.
fn bounded(env: &TestEnv, args: &[&str], input: &[String]) -> Option<Ran> {
    let mut command = as_user(env.command(args));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let mut stdin = child.stdin.take().unwrap();
    let text = input.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
    let (done, ended) = channel();
    std::thread::spawn(move || {
        let _ = stdin.write_all(text.as_bytes());
        drop(stdin);
        let _ = done.send(child.wait_with_output().unwrap());
    });
    match ended.recv_timeout(HANG) {
        Ok(output) => Some(Ran::of(output)),
        Err(_) => {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            let _ = ended.recv();
            None
        }
    }
}

pub fn as_user(mut command: Command) -> Command {
    command.uid(USER).gid(USER);
    command
}

/// What is wrong where an obstacle is in a place.
fn complaints(base: &TestEnv, place: &Place, obstacle: Obstacle) -> Vec<String> {
    let mut env = env();
    crate::harness::copy_tree(&base.data, &env.data);
    let config = env.path("lenslog.toml");
    if place.path != "lenslog.toml" {
        fs::write(&config, "[log]\n").unwrap();
    }
    fs::create_dir_all(env.path("logs")).unwrap();
    fs::create_dir(env.path("pictures")).unwrap();
    let path = resolved(&env, place.path);
    let stays = obstruct(&env, &path, obstacle);
    env = env.with("RUST_BACKTRACE", "0");
    let mut wrong = Vec::new();
    let run = |wrong: &mut Vec<String>, args: &[&str], input: &[String]| {
        let ran = bounded(&env, args, input);
        match &ran {
            None => wrong.push(format!("{args:?} hangs")),
            Some(ran) if ran.code.is_none() => wrong.push(format!("{args:?} is killed")),
            Some(ran) if ran.err.contains("panicked") => wrong.push(format!("{args:?} panics")),
            Some(_) => {}
        }
        ran
    };
    let acknowledged = |ran: &Option<Ran>| {
        ran.as_ref().map_or(0, |ran| ran.out.lines().filter(|line| line.contains('\t')).count())
    };
    let said = |ran: &Option<Ran>| {
        ran.as_ref().map_or_else(String::new, |ran| format!("{}{}", ran.out, ran.err))
    };
    if place.path == "lenslog.toml" {
        // Without a configuration that can be read nothing begins; it says which one, and hangs nowhere.
        for args in [&["record", "--source", "test:"][..], &["status"], &["ingest"]] {
            let ran = run(&mut wrong, args, &[]);
            let is_told = said(&ran).contains(place.named);
            if ran.is_some_and(|ran| ran.code != Some(2)) || !is_told {
                wrong.push(format!("{args:?} does not say what is wrong with the configuration"));
            }
        }
        if !stays() {
            wrong.push("the obstacle is gone".to_owned());
        }
        return wrong;
    }
    let source = format!("dir:{}", env.path("pictures").display());
    let mut command = as_user(env.command(&["record", "--source", &source]));
    match Recording::begin_within(HANG, &mut command) {
        Err(ran) if ran.code.is_none() => wrong.push("record hangs".to_owned()),
        Err(ran) => wrong.push(format!("record ends with {:?}: {}", ran.code, last(&ran.err))),
        Ok(recording) => {
            if place.path != "data/control.sock" {
                let ran = run(&mut wrong, &["ingest", "--ack"], &lines(0, 3));
                if acknowledged(&ran) != 3 {
                    wrong.push(format!("ingest beside record: {}", last(&said(&ran))));
                }
            }
            let status = said(&run(&mut wrong, &["status"], &[]));
            for args in
                [&["events", "--limit", "1"][..], &["replay", "verify"], &["replay", "stat"]]
            {
                run(&mut wrong, args, &[]);
            }
            let log = recording.stop();
            if !matches!(log.code, Some(0 | 1)) {
                wrong.push(format!("record ends with {:?}: {}", log.code, last(&log.err)));
            }
            let said = match place.by {
                By::StatusOrLog if is_usable(&path) => &log.err,
                By::Status | By::StatusOrLog => &status,
                By::Log => &log.err,
                By::Nothing => "",
            };
            if place.by != By::Nothing && !said.contains(place.named) {
                let logged = if log.err.contains(place.named) { ", the log does" } else { "" };
                wrong.push(format!("{:?} does not name it{logged}", place.by));
            }
        }
    }
    let ran = run(&mut wrong, &["ingest", "--ack"], &lines(0, 6));
    if acknowledged(&ran) != 6 {
        wrong.push(format!("ingest alone: {}", last(&said(&ran))));
    }
    for args in [
        &["status"][..],
        &["events", "--limit", "1"],
        &["replay", "verify"],
        &["replay", "stat"],
        &["replay", "cat"],
        &["rotate", "--dry-run"],
        &["rotate"],
    ] {
        run(&mut wrong, args, &[]);
    }
    if !stays() {
        wrong.push("the obstacle is gone".to_owned());
    }
    wrong
}

/// Whether the user has a file there.
fn is_usable(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file() && found.uid() == USER)
}

/// A directory is none in the place of a directory, and a link to a database is followed.
fn is_in_the_way(place: &Place, obstacle: Obstacle) -> bool {
    match obstacle {
        Obstacle::Directory => !["data/checkpoints", "data/events/*", "logs"].contains(&place.path),
        Obstacle::Link => place.path != "data/events.db",
        _ => true,
    }
}

fn last(text: &str) -> &str {
    let mut lines = text.lines().filter(|line| line.contains("ERROR") || line.contains("lenslog:"));
    lines.next_back().or(text.lines().next_back()).unwrap_or("nothing is said")
}

/// Tries what a filter lets through, several cases at a time.
fn try_places(wanted: impl Fn(&str) -> bool) {
    let is_root = rustix::process::geteuid().is_root();
    if lacks("root", is_root) {
        return;
    }
    let base = base();
    let cases: Vec<_> = PLACES
        .iter()
        .filter(|place| wanted(place.path))
        .flat_map(|place| OBSTACLES.map(|obstacle| (place, obstacle)))
        .filter(|(place, obstacle)| is_in_the_way(place, *obstacle))
        .collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some((place, obstacle)) = cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let wrong = complaints(&base, place, *obstacle);
                    let wrong = wrong
                        .into_iter()
                        .map(|wrong| format!("{obstacle:?} at {}: {wrong}", place.path));
                    found.lock().unwrap().extend(wrong);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort();
    assert!(found.is_empty(), "{} of {} cases:\n{}", found.len(), cases.len(), found.join("\n"));
}

#[test]
fn an_obstacle_outside_of_the_journal_stops_no_recording_and_hangs_no_tool() {
    try_places(|path| !path.starts_with("data/journal") && path != "data/IDENTITY");
}

#[test]
fn an_obstacle_in_the_journal_stops_no_recording_and_hangs_no_tool() {
    try_places(|path| path.starts_with("data/journal") || path == "data/IDENTITY");
}
