//! [`ChildSource`], `exec:COMMAND`: the pictures that another program writes to its standard output. `rtsp:` and
//! `rpicam:` are such programs, too.
//!
//! It owns the program: its last output, its end, and that it and all that it started end with the recorder. It starts
//! no shell and never restarts anything by itself.

mod commands;
mod death_signal;
mod stderr;
mod version;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lenslog_journal::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::stall_timeout::{self, StallTimeout};
use super::stream::PictureStream;
use super::{FrameRate, Source, SourceError, SourceItem};
use crate::util::CancellationToken;
pub(super) use commands::{Program, exec, rpicam, rtsp};
use stderr::ChildStderr;
pub(super) use version::FfmpegVersion;

/// How long a program may take to end after SIGTERM before SIGKILL.
const END_MAX: Duration = Duration::from_secs(2);

/// The pictures of a program.
#[derive(Debug)]
pub(super) struct ChildSource {
    program: String,
    // Ends before the pipe that it writes into is closed.
    child: Running,
    stream: PictureStream<Output>,
    stall_timeout: StallTimeout,
    stderr: ChildStderr,
}

impl ChildSource {
    /// Starts the program. `name` is that of the source, `camera` that of the camera, for messages.
    pub(super) fn start(
        name: String,
        camera: &str,
        program: &Program,
        fps: FrameRate,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Self, SourceError> {
        let refused =
            |reason: String| SourceError::Program { program: program.name.clone(), reason };
        let mut command = Command::new(&program.name);
        command.args(&program.arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            Running::spawn(&mut command).map_err(|error| refused(program.not_started(&error)))?;
        let (input, output) = (child.child.stdin.take(), child.take_output());
        let errors = child.child.stderr.take();
        if let Some(warning) = &program.warning {
            tracing::warn!(camera, "{warning}");
        }
        let stderr = ChildStderr::default();
        if let Some(errors) = errors {
            let (stderr, program) = (stderr.clone(), program.clone());
            let errors = Errors { errors, is_over: Arc::clone(&child.is_over) };
            let camera = camera.to_owned();
            let listen = move || {
                stderr.listen(errors, &camera, &program.name, &program.all_words());
            };
            let listener =
                std::thread::Builder::new().name("program's stderr".into()).spawn(listen);
            child.listener = Some(listener.map_err(|error| refused(error.to_string()))?);
        }
        if let Some(mut input) = input {
            // It fits into the pipe; a program that ends before it reads says so itself.
            let _ = input.write_all(program.input.as_bytes());
        }
        let output = output.ok_or_else(|| refused("it has no standard output".to_owned()))?;
        let stall_timeout = StallTimeout::for_first(program.first_max, fps, cancel);
        let output = Output { output, stall_timeout: stall_timeout.clone() };
        let stream = PictureStream::new(name, output, fps, stall_timeout.clone(), clock);
        Ok(Self { program: program.name.clone(), stream, stall_timeout, child, stderr })
    }

    /// Why there is nothing more to read.
    fn over(&mut self, error: Option<io::Error>) -> SourceError {
        let status = self.child.end(error.is_none());
        let mut reason = match (error, status) {
            (Some(error), _) if error.kind() == io::ErrorKind::TimedOut => {
                "it sends no picture; expected JPEG pictures one after another (MJPEG) on its standard output"
                    .to_owned()
            }
            (Some(error), _) => error.to_string(),
            (None, Some(status)) => format!("it ended: {}", ending(status)),
            (None, None) => "it closed its standard output".to_owned(),
        };
        let last = self.stderr.last();
        if !last.is_empty() {
            reason = format!("{reason}; last output: {last}");
        }
        SourceError::Program { program: self.program.clone(), reason }
    }
}

impl Source for ChildSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        match self.stream.next_item() {
            Ok(Some(item)) => Ok(Some(item)),
            _ if self.stall_timeout.is_cancelled() => Ok(None),
            Ok(None) => Err(self.over(None)),
            Err(error) => Err(self.over(Some(error))),
        }
    }
}

/// The standard output of a program, read until the stall timeout.
#[derive(Debug)]
struct Output {
    output: ChildStdout,
    stall_timeout: StallTimeout,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stall_timeout.check()?;
            if has_something(&self.output)? {
                return self.output.read(buffer);
            }
        }
    }
}

/// The standard error of a program. It ends when the program is over, even where something that the program started has
/// left its group and holds it open: such a listener would stay for each time the program is started.
struct Errors {
    errors: process::ChildStderr,
    is_over: Arc<AtomicBool>,
}

impl Read for Errors {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let is_over = self.is_over.load(Ordering::Acquire);
            if has_something(&self.errors)? {
                return if is_over { Ok(0) } else { self.errors.read(buffer) };
            }
            if is_over {
                return Ok(0);
            }
        }
    }
}

/// Whether a read returns at once, now or within a moment.
fn has_something(pipe: &impl AsFd) -> io::Result<bool> {
    let step = Timespec { tv_sec: 0, tv_nsec: i64::from(stall_timeout::STEP.subsec_nanos()) };
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&step)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A program that runs, and all that it started.
#[derive(Debug)]
struct Running {
    child: Child,
    listener: Option<JoinHandle<()>>,
    /// No one is listened to any more.
    is_over: Arc<AtomicBool>,
}

impl Running {
    fn spawn(command: &mut Command) -> io::Result<Self> {
        // A group of its own: what it starts ends with it, and a Ctrl-C at the terminal reaches the recorder alone.
        command.process_group(0);
        death_signal::end_with_parent(command);
        Ok(Self { child: command.spawn()?, listener: None, is_over: Arc::default() })
    }

    /// Its standard output, where that is a pipe.
    fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Ends it and whatever it started. Returns how it ended by itself, given `is_ending` it may take a moment to.
    fn end(&mut self, is_ending: bool) -> Option<ExitStatus> {
        let group = Pid::from_child(&self.child);
        let ended_itself = self.ends_within(if is_ending { END_MAX } else { Duration::ZERO });
        if !ended_itself {
            let _ = kill_process_group(group, Signal::TERM);
            self.ends_within(END_MAX);
        }
        // Until it is waited for, its number cannot be another's.
        let _ = kill_process_group(group, Signal::KILL);
        let status = self.child.wait().ok();
        let is_heard = || self.listener.as_ref().is_none_or(JoinHandle::is_finished);
        // The pipe ends with the last process that has it; one that has left the group is not waited for.
        within(END_MAX, is_heard);
        self.is_over.store(true, Ordering::Release);
        within(END_MAX, is_heard);
        status.filter(|_| ended_itself)
    }

    /// Whether it has ended, or does so in time. It is not waited for in the sense of the kernel.
    fn ends_within(&self, time: Duration) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error means that there is nothing to wait for.
        within(time, || {
            !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
        })
    }
}

/// Whether `holds`, now or within `time`.
fn within(time: Duration, holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over.load(Ordering::Acquire) {
            self.end(false);
        }
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "nothing went wrong as it says, exit code 0".to_owned(),
        (Some(127), _) => "exit code 127: a program it starts is not installed".to_owned(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_to_which_nobody_listens_ends_with_its_source() {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").process_group(0).spawn().unwrap();
        let pid = child.id();
        drop(Running { child, listener: None, is_over: Arc::default() });
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
