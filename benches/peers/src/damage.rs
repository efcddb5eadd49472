//! W10: what becomes of acknowledged events after damage. Everything that opens a damaged store is a process of its own.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Scale;
use crate::event::{Event, Filter, own_tag};
use crate::stores::{ALL, Kind, open};
use crate::table::Output;

/// Events of a store that is damaged.
const EVENTS: u64 = 1000;
/// What takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Refused appends in a row after which a child ends.
const REFUSED_MAX: u32 = 50;

/// What a reader found; its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Whole = 0,
    /// An error was returned.
    Reported = 3,
    /// Events are missing or other ones, and nothing was reported.
    Silent = 4,
    /// A panic, a signal, no end.
    Crashed = 5,
}

pub fn run(scale: &Scale, output: &mut Output) -> Result<()> {
    output.line("## W10: damage\n");
    output.line(&format!(
        "One byte of the files is flipped at each of {} places. Each time a copy of {EVENTS} events is opened and read, and 50 of them found by tag.\n",
        scale.flips
    ));
    output.line("| store | all there | loss reported | crashed or hung | **lost silently** | a failed sync | a failed write | a full disk |");
    output.line("|---|---|---|---|---|---|---|---|");
    for kind in ALL {
        let directory = crate::fresh(&scale.directory)?;
        let whole = directory.path().join("whole");
        std::fs::create_dir(&whole)?;
        child("make", kind, &whole, EVENTS, &[]).wait()?;
        ensure!(verdict(kind, &whole, EVENTS) == Verdict::Whole, "{}: not whole", kind.name());
        let mut counts = [0; 6];
        for place in places(&whole, scale.flips)? {
            let copy = directory.path().join("copy");
            ensure!(
                Command::new("cp")
                    .args(["-a", "--sparse=always"])
                    .arg(&whole)
                    .arg(&copy)
                    .status()?
                    .success(),
                "cp failed"
            );
            flip(&copy.join(&place.0), place.1)?;
            counts[verdict(kind, &copy, EVENTS) as usize] += 1;
            std::fs::remove_dir_all(&copy)?;
        }
        let sync = injected(kind, directory.path(), "fsync,fdatasync,msync,sync_file_range")?;
        let write = injected(kind, directory.path(), "write,pwrite64,writev,pwritev")?;
        let full = match kind {
            Kind::Okaywal => "not comparable: it discards what was checkpointed".to_owned(),
            _ => full_disk(kind, directory.path())?,
        };
        output.line(&format!(
            "| {} | {} | {} | {} | **{}** | {sync} | {write} | {full} |",
            kind.name(),
            counts[Verdict::Whole as usize],
            counts[Verdict::Reported as usize],
            counts[Verdict::Crashed as usize],
            counts[Verdict::Silent as usize],
        ));
    }
    output.line("");
    Ok(())
}

/// The bytes to flip: spread evenly over what the files hold, up to their last byte that is not zero.
fn places(directory: &Path, count: u64) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    list(directory, directory, &mut files)?;
    files.sort();
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    ensure!(total > 0, "the store has no files");
    let mut found = Vec::new();
    for index in 0..count {
        let mut at = index * total / count;
        for (path, bytes) in &files {
            if at < *bytes {
                found.push((path.clone(), at));
                break;
            }
            at -= bytes;
        }
    }
    Ok(found)
}

fn list(root: &Path, directory: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, files)?;
        } else {
            let bytes = std::fs::read(&path)?;
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            files.push((path.strip_prefix(root)?.to_owned(), used));
        }
    }
    Ok(())
}

fn flip(path: &Path, offset: u64) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    byte[0] ^= 1 << (offset % 8);
    Ok(file.write_all_at(&byte, offset)?)
}

fn child(what: &str, kind: Kind, directory: &Path, count: u64, before: &[&str]) -> Child {
    let program = std::env::current_exe().unwrap_or_else(|_| "lenslog-peers".into());
    let mut command = match before.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args([what, kind.name()]).arg(directory).args([count.to_string(), "0".to_owned()]);
    Child(command)
}

struct Child(Command);

impl Child {
    /// Waits for a good end.
    fn wait(mut self) -> Result<()> {
        ensure!(self.0.stdout(Stdio::null()).status()?.success(), "the child failed");
        Ok(())
    }
}

/// What a reader says of a store that should hold the first `count` events.
fn verdict(kind: Kind, directory: &Path, count: u64) -> Verdict {
    let mut command = child("probe", kind, directory, count, &[]).0;
    let Ok(mut child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return Verdict::Crashed;
    };
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return match status.code() {
                    Some(0) => Verdict::Whole,
                    Some(3) => Verdict::Reported,
                    Some(4) => Verdict::Silent,
                    _ => Verdict::Crashed,
                };
            }
            Ok(None) if begun.elapsed() < TIMEOUT => std::thread::sleep(Duration::from_micros(500)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Verdict::Crashed;
            }
        }
    }
}

/// What the children do; returns the exit code.
pub fn in_child(what: &str, kind: Kind, directory: &Path, count: u64) -> Result<i32> {
    let store = match (what, open(kind, directory, true)) {
        ("probe", Err(_)) => return Ok(Verdict::Reported as i32),
        (_, opened) => opened?,
    };
    if what == "make" {
        for number in 0..count {
            store.append(&[Event::new(number)])?;
        }
        return Ok(0);
    }
    if what == "append" {
        let mut answers = String::new();
        let mut refused = 0;
        for number in 0..count {
            let acknowledged = store.append(&[Event::new(number)]).is_ok();
            answers.push(if acknowledged { '+' } else { '-' });
            refused = if acknowledged { 0 } else { refused + 1 };
            if refused == REFUSED_MAX {
                break;
            }
        }
        // In one call, and again if it is the one that was to fail.
        let line = format!("\nanswers {answers}\n");
        let _ = std::io::stderr()
            .write_all(line.as_bytes())
            .or_else(|_| std::io::stderr().write_all(line.as_bytes()));
        // What closes the store may fail for ever on a full disk.
        std::process::exit(0);
    }
    let mut seen = vec![0_u32; count as usize];
    let mut is_strange = false;
    let read = store.read_all(&mut |payload| match Event::number_of(payload)
        .and_then(|number| seen.get_mut(number as usize))
    {
        Some(seen) => *seen += 1,
        None => is_strange = true,
    });
    if read.is_err() {
        return Ok(Verdict::Reported as i32);
    }
    // More than what was acknowledged may be there, each event once.
    let missing = seen.iter().any(|times| *times != 1);
    if missing || (is_strange && count == EVENTS) {
        return Ok(Verdict::Silent as i32);
    }
    if let Some(events) = store.events() {
        for number in (0..count).step_by((count as usize / 50).max(1)) {
            let mut found = Vec::new();
            let query = Filter::tag(own_tag(number));
            match events.read(&query, 0, &mut |payload| found.push(Event::number_of(payload))) {
                Err(_) => return Ok(Verdict::Reported as i32),
                Ok(_) if found != [Some(number)] => return Ok(Verdict::Silent as i32),
                Ok(_) => {}
            }
        }
    }
    Ok(Verdict::Whole as i32)
}

/// The 30th of these system calls fails: whether a caller gets an error, and whether what was acknowledged is there.
fn injected(kind: Kind, parent: &Path, calls: &str) -> Result<String> {
    if Command::new("strace").arg("-V").output().is_err() {
        return Ok("not run: strace is missing".to_owned());
    }
    let directory = parent.join("injected");
    std::fs::create_dir(&directory)?;
    let inject = format!("inject={calls}:error=EIO:when=30");
    let (trace, log) = (format!("trace={calls}"), parent.join("strace").display().to_string());
    let strace =
        ["timeout", "-s", "KILL", "30", "strace", "-f", "-o", &log, "-e", &trace, "-e", &inject];
    let answers = answers(child("append", kind, &directory, 100, &strace).0)?;
    let text = match std::fs::read_to_string(&log)?.contains("INJECTED") {
        true => judged(kind, &directory, &answers),
        false => "no such call".to_owned(),
    };
    std::fs::remove_dir_all(&directory)?;
    Ok(text)
}

/// Appends to a disk of 12 MB until it is full, then gives it room.
fn full_disk(kind: Kind, parent: &Path) -> Result<String> {
    let disk = parent.join("disk");
    std::fs::create_dir(&disk)?;
    let mount = |options: &str| -> Result<bool> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&disk);
        Ok(command.stderr(Stdio::null()).status()?.success())
    };
    if !mount("size=12m")? {
        return Ok("not run: mount is not allowed".to_owned());
    }
    let answers =
        answers(child("append", kind, &disk, 60_000, &["timeout", "-s", "KILL", "120"]).0);
    mount("remount,size=64m")?;
    let text = answers.map(|answers| judged(kind, &disk, &answers));
    Command::new("umount").arg(&disk).status()?;
    text
}

/// Whether each append of a child was acknowledged.
fn answers(mut command: Command) -> Result<Vec<bool>> {
    let output = command.stdout(Stdio::null()).output()?;
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    let answers = output.lines().find_map(|line| line.strip_prefix("answers "));
    Ok(answers.unwrap_or_default().chars().map(|answer| answer == '+').collect())
}

fn judged(kind: Kind, directory: &Path, answers: &[bool]) -> String {
    let refused = answers.iter().filter(|acknowledged| !**acknowledged).count();
    // The events are numbered: those before the first refused one must be there.
    let certain = answers.iter().take_while(|acknowledged| **acknowledged).count() as u64;
    let after = answers.len() - refused - certain as usize;
    let there = match verdict(kind, directory, certain) {
        Verdict::Whole => "all there",
        Verdict::Reported => "then unreadable",
        Verdict::Silent => "**lost silently**",
        Verdict::Crashed => "then crashes",
    };
    match refused {
        0 if answers.is_empty() => "no answer: it ended or hung".to_owned(),
        0 => format!("{} acknowledged, none refused; {there}", answers.len()),
        _ => format!("{certain} acknowledged, {refused} refused, {after} after; {there}"),
    }
}
