//! Several processes on one journal, on the operating system's own files: who may write, what followers see, kills.
//!
//! The other process is this test program, run again for the test `child` with a role.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::hooked::{Hooked, Step};
use crate::common::{clock, read_all, record};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Entry, Error, Journal, JournalView, Options, Reader, Seq};

const ROLE: &str = "LENSLOG_TEST_ROLE";
const DIRECTORY: &str = "LENSLOG_TEST_DIRECTORY";
/// What a child says begins with this; the rest of its output is the test harness's.
const MARK: &str = "child: ";

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Box<dyn Iterator<Item = String>>,
}

impl Process {
    fn start(role: &str, directory: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::child", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The harness prints the name of the test in front of the first line.
        let output = lines
            .map_while(Result::ok)
            .filter_map(|line| line.split_once(MARK).map(|(_, said)| said.to_owned()));
        Self { input: child.stdin.take(), child, output: Box::new(output) }
    }

    fn hear(&mut self) -> String {
        self.output.next().unwrap()
    }

    fn ask(&mut self) -> String {
        writeln!(self.input.as_mut().unwrap()).unwrap();
        self.hear()
    }

    fn end(mut self) {
        self.input = None;
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.output.collect()
    }
}

fn say(what: &str) {
    println!("{MARK}{what}");
    std::io::stdout().flush().unwrap();
}

/// Waits for the parent; `false`: it wants no more.
fn asked() -> bool {
    std::io::stdin().read_line(&mut String::new()).unwrap() > 0
}

#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    match role.as_str() {
        "hold" => {
            let _journal = Journal::open(&directory, &Options::default()).unwrap();
            say("holding");
            while asked() {}
        }
        "try" => match Journal::open(&directory, &Options::default()) {
            Err(error @ Error::Locked { .. }) => say(&error.to_string()),
            other => say(&format!("{other:?}")),
        },
        "follow" => follow(&directory),
        "append" => append_for_ever(&directory),
        _ => panic!("no such role"),
    }
}

fn follow(directory: &Path) {
    let view = JournalView::open(directory, Arc::new(RealStorage)).unwrap();
    let mut reader = view.reader(Seq::FIRST, Default::default()).unwrap();
    say("following");
    while asked() {
        say(&look(&view, &mut reader));
    }
}

/// What can be read now, as numbers; the reader continues at the floor after a pruning.
fn look(view: &JournalView, reader: &mut Reader) -> String {
    let mut seen = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(Entry::Record(record))) if record.kind.is_reserved() => {}
            Ok(Some(Entry::Record(record))) => {
                seen.push(String::from_utf8_lossy(record.payload).trim().to_owned());
            }
            Ok(Some(Entry::Lost(lost))) => seen.push(lost.to_string()),
            Ok(None) => return seen.join(" "),
            Err(Error::Pruned { floor }) => {
                seen.push(format!("pruned-to-{floor}"));
                *reader = view.reader(floor, Default::default()).unwrap();
            }
            Err(error) => return error.to_string(),
        }
    }
}

/// Says each number once it is durable; three unsynced ones follow each.
fn append_for_ever(directory: &Path) {
    let options = Options { segment_bytes_max: Some(64 << 10), ..Options::default() };
    let journal = Journal::open(directory, &options).unwrap();
    let mut number = 0_u64;
    loop {
        let payload = format!("{number:0600}");
        let _ = journal.append(&[record(payload.as_bytes())]).unwrap();
        say(&number.to_string());
        for index in 1..4 {
            let payload = format!("{:0600}", number + index);
            let _ = journal.append_unsynced(&[record(payload.as_bytes())]).unwrap();
        }
        number += 4;
    }
}

/// A directory on the ordinary file system, and one in memory where there is such.
fn directories() -> Vec<tempfile::TempDir> {
    let mut all = vec![tempfile::tempdir().unwrap()];
    all.extend(tempfile::tempdir_in("/dev/shm"));
    all
}

#[test]
fn the_second_opener_is_refused_with_the_holders_name() {
    for directory in directories() {
        let data = directory.path().join("data");
        let mut holder = Process::start("hold", &data);
        assert_eq!(holder.hear(), "holding");
        let pid = holder.child.id();
        match Journal::open(&data, &Options::default()) {
            Err(error @ Error::Locked { .. }) => {
                assert!(error.to_string().contains(&format!("process {pid} (")), "{error}");
            }
            other => panic!("{other:?}"),
        }
        holder.end();
        let journal = Journal::open(&data, &Options::default()).unwrap();
        let mut second = Process::start("try", &data);
        let refused = second.hear();
        assert!(refused.contains(&format!("process {} (", std::process::id())), "{refused}");
        second.end();
        journal.close().unwrap();
        let mut third = Process::start("hold", &data);
        assert_eq!(third.hear(), "holding");
        // A holder that is killed holds nothing any more.
        third.kill();
        Journal::open(&data, &Options::default()).unwrap();
    }
}

fn numbers(from: usize, to: usize) -> String {
    (from..to).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_follower_sees_exactly_the_durable_records() {
    for directory in directories() {
        let data = directory.path().join("data");
        let failing = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&failing);
        let storage = Hooked::new(RealStorage, move |step, path| {
            // The active segment was opened under its temporary name.
            if step == Step::Sync && path.ends_with("spare") && fails.swap(false, Ordering::Relaxed)
            {
                return Err(rustix::io::Errno::IO.into());
            }
            Ok(())
        });
        let clock = clock();
        let mut options = crate::common::hooked_options(&storage, &clock);
        options.segment_bytes_max = Some(64 << 10);
        let journal = Journal::open(&data, &options).unwrap();
        let mut follower = Process::start("follow", &data);
        assert_eq!(follower.hear(), "following");
        for number in 0..120 {
            let payload = format!("{number:>2000}");
            let _ = journal.append_unsynced(&[record(payload.as_bytes())]).unwrap();
            assert_eq!(follower.ask(), "", "{number} is not durable yet");
            failing.store(number % 7 == 3, Ordering::Relaxed);
            journal.sync().unwrap();
            assert_eq!(follower.ask(), number.to_string());
            if number % 20 == 19 {
                clock.advance(Duration::from_secs(86_400));
            }
        }
        assert!(journal.stats().relocations >= 15, "{:?}", journal.stats());
        assert!(journal.stats().segments_begun >= 20, "{:?}", journal.stats());
        // One that falls asleep while what it has not read is pruned.
        let mut sleeper = Process::start("follow", &data);
        assert_eq!(sleeper.hear(), "following");
        let through = lenslog_journal::Clock::read(&*clock).wall.day().previous().previous();
        let pruned = journal.prune_through(through.previous()).unwrap();
        assert!(pruned.segments.len() > 5);
        journal.unlink_pruned().unwrap();
        assert_eq!(follower.ask(), "");
        let floor = journal.view().floor().unwrap();
        assert!(floor > Seq(60));
        let answer = sleeper.ask();
        let kept = read_all(&journal.view()).records.len();
        let rest = numbers(120 - kept, 120);
        assert_eq!(answer, format!("pruned-to-{floor} {rest}"));
        // The writer closes, another process writes, and both readers continue.
        journal.close().unwrap();
        let journal = Journal::open(&data, &options).unwrap();
        let _ = journal.append(&[record(b"120")]).unwrap();
        journal.close().unwrap();
        for mut process in [follower, sleeper] {
            assert_eq!(process.ask(), "120");
            process.end();
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    for directory in directories() {
        let mut expected = 0;
        for round in 0..6_usize {
            let mut writer = Process::start("append", directory.path());
            let mut acknowledged = Vec::new();
            while acknowledged.len() < 10 + round * 17 {
                acknowledged.push(writer.hear());
            }
            acknowledged.extend(writer.kill());
            let last: u64 = acknowledged.last().unwrap().parse().unwrap();
            let view = JournalView::open(directory.path(), Arc::new(RealStorage)).unwrap();
            let at_rest = read_all(&view);
            let journal = Journal::open(directory.path(), &Options::default()).unwrap();
            let found = read_all(&journal.view());
            assert!(found.lost.is_empty() && !journal.health().is_degraded());
            assert_eq!(found.records, at_rest.records);
            let own: Vec<u64> = found.records[expected..]
                .iter()
                .map(|(_, payload)| String::from_utf8_lossy(payload).parse().unwrap())
                .collect();
            // Every number up to the last acknowledged one, and what the operating system had by then.
            assert!(own.len() as u64 > last, "round {round}: {} of {last}", own.len());
            assert_eq!(own, (0..own.len() as u64).collect::<Vec<_>>());
            expected = found.records.len();
            journal.close().unwrap();
        }
    }
}
