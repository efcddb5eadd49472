//! [`Program`]: alarms for a program: the event as a line of JSON on its standard input, and in its environment.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lenslog_engine::delivery::DeliveryOutcome;
use rustix::process::{Pid, Signal, kill_process_group};

use super::alarm::plain;
use super::{Alarm, Channel};
use crate::config::NotifyTarget;
use crate::util::CancellationToken;

/// How often the program's end is looked for.
const POLL: Duration = Duration::from_millis(20);
/// How much of its last output is shown.
const COMPLAINT_BYTES_MAX: u64 = 400;
/// The variables that it gets besides its own.
const KEPT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "USER"];

/// A program that is started for each alarm.
pub(super) struct Program {
    name: String,
    argv: Vec<String>,
    timeout: Duration,
    data: PathBuf,
    cancel: CancellationToken,
}

impl Program {
    pub(super) fn new(
        name: &str,
        target: &NotifyTarget,
        data: PathBuf,
        cancel: CancellationToken,
    ) -> Self {
        let (name, argv) = (name.to_owned(), target.exec.clone());
        Self { name, argv, timeout: target.timeout.0, data, cancel }
    }

    fn command(&self, alarm: &Alarm) -> Option<Command> {
        let (program, arguments) = self.argv.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().process_group(0);
        command.stdout(Stdio::null());
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // Nothing of an event reaches the arguments; what reaches the environment has no control characters.
        let image = alarm.image.as_deref().and_then(|path| path.strip_prefix("data/"));
        let image = image.map(|path| self.data.join(path).display().to_string());
        for (name, value) in [
            ("LENSLOG_MESSAGE_ID", alarm.id.as_str()),
            ("LENSLOG_TYPE", alarm.kind),
            ("LENSLOG_EVENT_ID", alarm.event_id.as_str()),
            ("LENSLOG_CAMERA", alarm.camera.as_str()),
            ("LENSLOG_LABELS", &alarm.labels.join(",")),
            ("LENSLOG_TIME", alarm.time.as_str()),
            ("LENSLOG_TITLE", alarm.title.as_str()),
            ("LENSLOG_IMAGE", image.as_deref().unwrap_or_default()),
        ] {
            command.env(name, plain(value));
        }
        Some(command)
    }

    fn refused(&self, problem: &str) -> DeliveryOutcome {
        let program = self.argv.first().map_or("", String::as_str);
        DeliveryOutcome::Refused { reason: format!("{program}: {problem}") }
    }
}

impl Channel for Program {
    fn send(&mut self, alarm: &Alarm) -> DeliveryOutcome {
        let Some(mut command) = self.command(alarm) else {
            return self.refused(&format!("notify.{}.exec is empty", self.name));
        };
        // Files in memory: a program that does not read its input, or says a lot, blocks nothing.
        let mut started = || -> std::io::Result<(Child, File)> {
            let (mut input, errors) = (memory("event")?, memory("errors")?);
            input.write_all(format!("{}\n", alarm.event).as_bytes())?;
            input.rewind()?;
            let child = command.stdin(input).stderr(errors.try_clone()?).spawn()?;
            Ok((child, errors))
        };
        let (mut child, errors) = match started() {
            Ok(started) => started,
            Err(error) => {
                let program = self.argv.first().map_or("", String::as_str);
                let reason = format!("{program}: cannot be started: {error}");
                return DeliveryOutcome::Down { reason, retry_after: None };
            }
        };
        let begun = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return DeliveryOutcome::Delivered,
                Ok(Some(status)) => {
                    let ended = match (status.code(), status.signal()) {
                        (Some(code), _) => format!("exit code {code}"),
                        (_, Some(signal)) => format!("signal {signal}"),
                        _ => "an unknown end".to_owned(),
                    };
                    return self.refused(&format!("{ended}{}", complaint(errors)));
                }
                Ok(None) if self.cancel.is_cancelled() => {
                    end(&mut child);
                    let reason = "the recorder stops".to_owned();
                    return DeliveryOutcome::Down { reason, retry_after: None };
                }
                Ok(None) if begun.elapsed() < self.timeout => std::thread::sleep(POLL),
                Ok(None) => {
                    end(&mut child);
                    let seconds = self.timeout.as_secs();
                    return self.refused(&format!(
                        "it does not end within {seconds} s (notify.{}.timeout)",
                        self.name
                    ));
                }
                Err(error) => return self.refused(&error.to_string()),
            }
        }
    }

    fn takes_late(&self) -> bool {
        false
    }
}

/// Ends the program and all that it started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

fn memory(name: &str) -> std::io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?))
}

/// The beginning of what it said on its standard error.
fn complaint(mut errors: File) -> String {
    let mut bytes = Vec::new();
    if errors.rewind().is_ok() {
        let _ = errors.take(COMPLAINT_BYTES_MAX).read_to_end(&mut bytes);
    }
    let text = plain(&String::from_utf8_lossy(&bytes));
    if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) }
}
