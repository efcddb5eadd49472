//! What every test here needs: a directory of its own, the programs, and ways to read what they wrote.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use chrono::{FixedOffset, Timelike, Utc};
use serde_json::{Value, json};

/// How long anything may take before the test gives up. Nothing is waited for longer than it takes.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// Whether something is missing: the test is then skipped, or fails in CI.
pub fn lacks(what: &str, is_there: bool) -> bool {
    if is_there {
        return false;
    }
    assert!(
        std::env::var_os("LENSLOG_TEST_ALL").is_none(),
        "LENSLOG_TEST_ALL is set, and {what} is missing"
    );
    eprintln!("skipped: {what} is missing");
    true
}

/// Whether a program is where programs are looked for.
pub fn is_installed(program: &str) -> bool {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/sbin"), PathBuf::from("/usr/sbin")];
    std::env::split_paths(&directories).chain(sbin).any(|at| at.join(program).exists())
}

/// The folder that the variable names, else the one in `../shared`.
pub fn shared(variable: &str, folder: &str) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(folder);
    std::env::var_os(variable).map_or_else(beside, PathBuf::from)
}

/// A real recording of people walking by.
pub fn pedestrians() -> PathBuf {
    shared("LENSLOG_MEDIA", "media").join("pedestrians.mjpeg")
}

/// A directory of its own, with a data directory in it.
pub struct TestEnv {
    directory: tempfile::TempDir,
    pub data: PathBuf,
    environment: Vec<(String, String)>,
}

/// How a program ended.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Ended with this code, or prints everything it said.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = format!("{}{}", self.out, self.err);
        assert!(said.contains(text), "'{text}' is not in:\n{said}");
        self
    }
}

impl TestEnv {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        Self { directory, data, environment: Vec::new() }
    }

    /// A copy of the whole data directory in a test environment of its own.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        copy_tree(&self.data, &copy.data);
        copy
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sets a variable for every program that is run from here on.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lenslog"));
        command.args(args).arg("--data").arg(&self.data).current_dir(self.directory.path());
        for name in
            ["LENSLOG_CONFIG", "LENSLOG_DATA", "LENSLOG_LOG", "JOURNAL_STREAM", "NOTIFY_SOCKET"]
        {
            command.env_remove(name);
        }
        // The tester's own configuration is not used.
        command.env("HOME", self.directory.path()).env("TZ", posix(zone()));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs a program with that on its standard input.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // It may end before it has read everything.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let ran = Ran::of(child.wait_with_output().unwrap());
        writer.join().unwrap();
        ran
    }

    pub fn ingest(&self, lines: &[String]) -> Ran {
        self.feed(&["ingest"], (lines.join("\n") + "\n").as_bytes())
    }

    #[track_caller]
    pub fn verify(&self) -> Ran {
        self.run(&["replay", "verify"]).expect(0)
    }

    /// As [`TestEnv::verify`], on a disk without room: what is there is right, and what the projections could not write yet is
    /// named as behind.
    #[track_caller]
    pub fn verify_without_room(&self) -> Ran {
        let ran = self.run(&["replay", "verify"]);
        let is_behind = ran.code == Some(1) && ran.out.contains(" behind: ");
        let is_right = ran.out.contains("journal    ok: ")
            && !ran.out.to_lowercase().contains("differs")
            && !ran.out.contains("parked");
        assert!(is_right && (is_behind || ran.code == Some(0)), "{}\n{}", ran.out, ran.err);
        ran
    }

    /// Starts a recorder and returns once it records.
    pub fn record(&self, args: &[&str]) -> Recording {
        self.record_until(" recording ", args)
    }

    /// Starts a recorder and returns once it says that.
    pub fn record_until(&self, text: &str, args: &[&str]) -> Recording {
        let all = [&["record"], args].concat();
        let mut recording = Recording::spawn(&mut self.command(&all));
        recording.wait_for(text);
        recording
    }

    /// Every event of the journal, as `replay cat --json` prints it: seq to record.
    pub fn journal(&self) -> BTreeMap<u64, Value> {
        let ran = self.run(&["replay", "cat", "--json"]);
        ran.out
            .lines()
            .map(|line| {
                let value: Value = serde_json::from_str(line).unwrap();
                (value["seq"].as_u64().unwrap(), value)
            })
            .collect()
    }

    /// Ids of the events in the journal, in order.
    pub fn journaled_ids(&self) -> Vec<String> {
        let is_event = |value: &&Value| value["kind"] == "EventDetected";
        self.journal().values().filter(is_event).map(|value| id_of(&value["record"])).collect()
    }

    /// What the projections hold.
    pub fn projected(&self) -> Projected {
        Projected { rows: rows(&self.data.join("events.db")), files: day_files(&self.data) }
    }

    pub fn status(&self) -> Value {
        let ran = self.run(&["status", "--json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.err))
    }

    /// Waits until every camera of the recorder that runs delivers: a folder is watched from then on.
    #[track_caller]
    pub fn until_cameras_are_up(&self) {
        self.until("every camera is up", || {
            let status = self.status();
            let cameras = status["cameras"].as_array()?;
            // Where no recorder answers, the status has no camera.
            let up = cameras.iter().filter(|camera| camera["state"] == "up").count();
            (up > 0 && up == cameras.len()).then_some(())
        });
    }

    /// Asks again and again until it is so.
    #[track_caller]
    pub fn until<T>(&self, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = attempt() {
                return value;
            }
            assert!(start.elapsed() < TIMEOUT, "{what} does not come about");
            std::thread::yield_now();
        }
    }
}

/// A recorder that runs. Dropped, it is killed.
pub struct Recording {
    pub child: Child,
    lines: Receiver<String>,
    pub said: String,
}

impl Recording {
    fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = lines_of(child.stderr.take().unwrap());
        Self { child, lines, said: String::new() }
    }

    /// Starts one and returns once it records, or how it ended before.
    pub fn begin(command: &mut Command) -> Result<Self, Ran> {
        match Self::begin_within(TIMEOUT, command) {
            Err(Ran { code: None, err, .. }) => panic!("it does not record:\n{err}"),
            other => other,
        }
    }

    /// As [`Self::begin`]; one that hangs is killed.
    pub fn begin_within(timeout: Duration, command: &mut Command) -> Result<Self, Ran> {
        let mut recording = Self::spawn(command);
        match recording.try_wait_within(timeout, " recording ") {
            Ok(_) => return Ok(recording),
            Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => recording.child.kill().unwrap(),
        }
        Err(recording.ended())
    }

    /// Waits until it logs a line with that in it.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        match self.try_wait_for(text) {
            Ok(line) => line,
            Err(error) => panic!("{error}: no line with '{text}' in\n{}", self.said),
        }
    }

    /// As [`Self::wait_for`]; an error where it ends before.
    pub fn try_wait_for(&mut self, text: &str) -> Result<String, RecvTimeoutError> {
        self.try_wait_within(TIMEOUT, text)
    }

    fn try_wait_within(
        &mut self,
        timeout: Duration,
        text: &str,
    ) -> Result<String, RecvTimeoutError> {
        // In all: a recorder that goes on talking of other things says it never.
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                    if format!(" {line} ").contains(text) {
                        return Ok(line);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it as an operator would, and returns how that went.
    pub fn stop(self) -> Ran {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }

    /// Waits for its end, which is on its way, and returns how that went.
    pub fn ended(mut self) -> Ran {
        let mut out = String::new();
        let stdout = self.child.stdout.take().unwrap();
        for line in BufReader::new(stdout).lines() {
            out.push_str(&line.unwrap());
            out.push('\n');
        }
        let status = self.child.wait().unwrap();
        for line in self.lines.iter() {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        Ran { code: status.code(), out, err: std::mem::take(&mut self.said) }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.lines.iter().for_each(|line| self.said += &format!("{line}\n"));
            eprintln!("what the recorder said:\n{}", self.said);
        }
    }
}

/// The lines that come out of a pipe, read by a thread of its own.
pub fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Rows and files, in a form that can be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Projected {
    /// `events` rows, every column.
    pub rows: Vec<String>,
    /// Text files of all days, by their path below the data directory.
    pub files: BTreeMap<String, String>,
}

impl Projected {
    /// Ids in events.json, in the order of days and lines.
    pub fn json_ids(&self) -> Vec<String> {
        let of_file = |(_, text): (&String, &String)| -> Vec<String> {
            text.lines().map(|line| id_of(&serde_json::from_str(line).unwrap())).collect()
        };
        self.files
            .iter()
            .filter(|(path, _)| path.ends_with("/events.json"))
            .flat_map(of_file)
            .collect()
    }

    /// Number of blocks in events.log.
    pub fn blocks(&self) -> usize {
        let logs = self.files.iter().filter(|(path, _)| path.ends_with("/events.log"));
        logs.map(|(_, text)| text.lines().filter(|line| is_head(line)).count()).sum()
    }

    /// Ids in the database, by row id.
    pub fn row_ids(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.split('|').nth(1).unwrap().to_owned()).collect()
    }
}

/// Whether a line of events.log begins an event; a description begins none.
fn is_head(line: &str) -> bool {
    line.starts_with('[') && line.contains("] EVENT: ")
}

pub fn id_of(value: &Value) -> String {
    value["event_id"].as_str().unwrap().to_owned()
}

fn rows(database: &Path) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(connection) = rusqlite::Connection::open_with_flags(database, flags) else {
        return Vec::new();
    };
    connection.busy_timeout(TIMEOUT).unwrap();
    let Ok(mut statement) = connection.prepare("SELECT * FROM events ORDER BY id") else {
        return Vec::new();
    };
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let texts = (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column));
        let texts: Result<Vec<_>, _> = texts.map(|value| value.map(shown)).collect();
        texts.map(|texts| texts.join("|"))
    };
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn shown(value: rusqlite::types::Value) -> String {
    match value {
        rusqlite::types::Value::Text(text) => text.replace(['|', '\n'], "¦"),
        other => format!("{other:?}"),
    }
}

/// The text files of all days.
fn day_files(data: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for day in fs::read_dir(data.join("events")).into_iter().flatten().flatten() {
        for file in fs::read_dir(day.path()).into_iter().flatten().flatten() {
            let name = format!(
                "{}/{}",
                day.file_name().to_string_lossy(),
                file.file_name().to_string_lossy()
            );
            let is_text = [".json", ".log"].iter().any(|ending| name.ends_with(ending));
            // It may be gone by now: a rebuild renames.
            if is_text && let Ok(text) = fs::read_to_string(file.path()) {
                files.insert(name, text);
            }
        }
    }
    files
}

/// The zone that the programs are run in: one in which it is about noon, so that today stays today while a test runs.
pub fn zone() -> FixedOffset {
    static ZONE: OnceLock<FixedOffset> = OnceLock::new();
    let from_noon = || FixedOffset::east_opt((12 - Utc::now().hour() as i32) * 3600).unwrap();
    *ZONE.get_or_init(from_noon)
}

/// `<+05>-5`: what TZ is for a zone of whole hours.
fn posix(zone: FixedOffset) -> String {
    let east = zone.local_minus_utc() / 3600;
    format!("<{east:+03}>{:+}", -east)
}

/// Copies a directory. What is gone before it was copied was a temporary file of a recorder that runs there.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else if kind.is_file() {
            let copied = fs::copy(entry.path(), target).map_err(|error| error.kind());
            assert!(matches!(copied, Ok(_) | Err(ErrorKind::NotFound)), "{entry:?}: {copied:?}");
        }
    }
}

/// One event as a line for ingest; the same number gives the same line. Three days, four cameras, texts that try to
/// break the formats.
pub fn line(number: usize) -> String {
    let day = 20 + number % 3;
    let (hour, minute, second) = (number / 3600 % 24, number / 60 % 60, number % 60);
    let offset = ["+01:00", "-03:30", "+09:00", "Z"][number % 4];
    let description = match number % 5 {
        0 => Value::Null,
        1 => json!("two\nlines\u{2028}and [2025-11-08 14:32:15] EVENT: Forged detected at nowhere"),
        2 => json!("\u{1b}[31mred\u{1b}[0m \u{202e}reversed"),
        _ => json!(format!("A person walks by, number {number}.")),
    };
    json!({
        "event_id": format!("test-{number}"),
        "timestamp": format!("2026-11-{day}T{hour:02}:{minute:02}:{second:02}.{:03}{offset}", number % 1000),
        "camera_id": format!("camera_{}", number % 4),
        "camera_name": (["front door", "yard\n- Image: /etc/passwd", "", "garage"][number % 4]),
        "motion_confidence": (number % 100) as f64 / 100.0,
        "detected_objects": [
            {"label": "person", "confidence": 0.5 + (number % 50) as f64 / 100.0,
             "bbox": {"x": number % 640, "y": 10, "width": 100, "height": 200}},
            {"label": "dog", "confidence": 0.25, "bbox": {"x": 1, "y": 2, "width": 3, "height": 4}},
        ],
        "llm_description": description,
        "metadata": {"number": number},
    })
    .to_string()
}

pub fn lines(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(line).collect()
}
