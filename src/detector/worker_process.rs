//! [`WorkerProcess`]: starts a worker, asks it, waits no longer than is set, and ends it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::DetectorError;
use super::wire::{Hello, ModelReport, Reply, read_line};
use crate::util::{BoundedQueue, CancellationToken, Taken};
use lenslog_vision::detection::Layout;

/// How long loading a model may take. A worker that takes longer is ended.
pub const LOADING_MAX: Duration = Duration::from_secs(120);

/// Lines of what a worker printed that are kept for a message about its end.
const LINES_KEPT_MAX: usize = 4;
/// Longest of them.
const LINE_BYTES_MAX: u64 = 400;

/// The arguments of a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub(super) program: &'a Path,
    pub(super) model: &'a Path,
    pub(super) layout: Option<Layout>,
    pub(super) onnxruntime: Option<&'a PathBuf>,
    pub(super) confidence_min: f64,
}

/// A process that runs a model. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    child: Child,
    pictures: Option<SyncSender<Vec<u8>>>,
    replies: Arc<BoundedQueue<Answer>>,
    printed: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
enum Answer {
    Hello(Hello),
    Reply(Reply),
}

/// Why a worker did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is broken and was ended.
    Broken(String),
    /// The recorder stops.
    Cancelled,
}

impl WorkerProcess {
    /// Starts a worker and waits until its model is loaded, at most [`LOADING_MAX`].
    ///
    /// # Errors
    ///
    /// What the worker said of the model; [`DetectorError::Unavailable`] where it says nothing.
    pub(super) fn start(
        arguments: Arguments<'_>,
        cancel: &CancellationToken,
    ) -> Result<(Self, ModelReport), DetectorError> {
        let unavailable = |what: String| DetectorError::Unavailable(what);
        let mut child = command(arguments).spawn().map_err(|error| {
            unavailable(format!("the detector's process cannot be started: {error}"))
        })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let replies = BoundedQueue::new(1, cancel.clone());
        let printed = Arc::default();
        let (pictures, jobs) = sync_channel(1);
        let (answers, lines) = (Arc::clone(&replies), Arc::clone(&printed));
        // From here on it is ended whatever fails.
        let mut worker = Self { child, pictures: Some(pictures), replies, printed };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(unavailable("the detector's process has no pipes".to_owned()));
        };
        let talk = move || talk(stdin, BufReader::new(stdout), &jobs, &answers);
        spawn("detector worker", talk).map_err(unavailable)?;
        spawn("detector stderr", move || listen(BufReader::new(stderr), &lines))
            .map_err(unavailable)?;
        match worker.wait(LOADING_MAX) {
            Ok(Answer::Hello(hello)) => hello.map(|report| (worker, report)),
            Ok(Answer::Reply(_)) => {
                Err(unavailable("the detector answered out of turn".to_owned()))
            }
            Err(Failure::Cancelled) => Err(unavailable("the recorder stops".to_owned())),
            Err(Failure::Broken(why)) => Err(unavailable(format!("the detector's process {why}"))),
        }
    }

    /// Asks what is on a canvas. After an error it is good for nothing more.
    pub(super) fn ask(&mut self, canvas: Vec<u8>, timeout: Duration) -> Result<Reply, Failure> {
        let sent = self.pictures.as_ref().is_some_and(|pictures| pictures.send(canvas).is_ok());
        if !sent {
            return Err(Failure::Broken(self.end()));
        }
        match self.wait(timeout)? {
            Answer::Reply(reply) => Ok(reply),
            Answer::Hello(_) => Err(Failure::Broken("answered out of turn".to_owned())),
        }
    }

    fn wait(&mut self, timeout: Duration) -> Result<Answer, Failure> {
        match self.replies.take(Instant::now().checked_add(timeout)) {
            Taken::Item { item, .. } => {
                self.printed.lock().clear();
                Ok(item)
            }
            Taken::Cancelled => Err(Failure::Cancelled),
            Taken::Closed => Err(Failure::Broken(self.end())),
            Taken::TimedOut => {
                self.kill();
                let seconds = timeout.as_secs_f64();
                Err(Failure::Broken(format!("did not answer within {seconds} s and was ended")))
            }
        }
    }

    fn kill(&mut self) {
        self.pictures = None;
        // Where it is gone already, there is nothing to be done.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended, and what it printed since it answered last.
    fn end(&mut self) -> String {
        self.pictures = None;
        let _ = self.child.kill();
        let status =
            self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let printed = self.printed.lock();
        let printed: Vec<&str> = printed.iter().map(String::as_str).collect();
        match printed.is_empty() {
            true => format!("ended: {status}"),
            false => format!("ended: {status}: {}", printed.join(" ")),
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(arguments: Arguments<'_>) -> Command {
    let mut command = Command::new(arguments.program);
    command.arg("detector-worker").arg("--model").arg(arguments.model);
    command.arg("--confidence-min").arg(arguments.confidence_min.to_string());
    if let Some(layout) = arguments.layout {
        command.args(["--layout", layout.name()]);
    }
    if let Some(library) = arguments.onnxruntime {
        command.arg("--onnxruntime").arg(library);
    }
    command.env("RUST_BACKTRACE", "0");
    // A Ctrl-C at the terminal reaches the recorder alone, which ends its worker when no one needs it any more.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map(drop).map_err(|error| format!("no thread can be started: {error}"))
}

/// Hands pictures to a worker and its answers back, until either is gone.
fn talk(
    mut stdin: ChildStdin,
    mut stdout: impl BufRead,
    jobs: &std::sync::mpsc::Receiver<Vec<u8>>,
    answers: &BoundedQueue<Answer>,
) {
    if let Ok(hello) = read_line(&mut stdout) {
        let _ = answers.offer(Answer::Hello(hello));
        while let Ok(canvas) = jobs.recv() {
            if stdin.write_all(&canvas).and_then(|()| stdin.flush()).is_err() {
                break;
            }
            let Ok(reply) = read_line(&mut stdout) else { break };
            let _ = answers.offer(Answer::Reply(reply));
        }
    }
    answers.close();
}

/// Keeps the first lines that a worker printed since it answered last: a panic's own words come before its backtrace.
fn listen(mut stderr: impl BufRead, printed: &Mutex<Vec<String>>) {
    loop {
        let mut line = Vec::new();
        let read = (&mut stderr).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if !matches!(read, Ok(bytes) if bytes > 0) {
            return;
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        tracing::debug!(line, "the detector's process says");
        let is_backtrace = line.starts_with(' ') || line.starts_with("stack backtrace");
        if is_backtrace || line.starts_with("note: ") || line.is_empty() {
            continue;
        }
        let mut printed = printed.lock();
        if printed.len() < LINES_KEPT_MAX {
            printed.push(line);
        }
    }
}
