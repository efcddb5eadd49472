//! What a child process says on its standard error: into the log, a bounded part of it, without passstderr.
//!
//! What is said again and again, or is a warning of ffmpeg, is noise: it is counted, and does not hide what else is said.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::spec::joined;
use crate::util::redact::{hidden, secrets};

/// Longest line that is kept; the rest of it is left out.
const LINE_BYTES_MAX: usize = 400;
/// Lines that are logged in a minute; the others are counted.
const LINES_A_MINUTE_MAX: u32 = 20;
/// Last lines that are kept for the message about its end.
const LAST_LINES: usize = 2;
/// Kinds of lines that are distinguished in a minute; further ones count as said before.
const SHAPES_MAX: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);

/// The last lines of a child on its standard error.
#[derive(Debug, Clone, Default)]
pub(super) struct ChildStderr(Arc<Mutex<Last>>);

/// The last lines.
#[derive(Debug, Default)]
struct Last {
    /// Those that may say why it ended, and when they came.
    reasons: VecDeque<(Instant, String)>,
    noise: VecDeque<String>,
}

impl ChildStderr {
    /// The last lines of the last minute that are no noise, as one; else the last of all. Empty where it said nothing.
    pub(super) fn last(&self) -> String {
        let last = self.0.lock();
        let recent = last.reasons.iter().filter(|(said, _)| said.elapsed() < MINUTE);
        let reasons: Vec<&str> = recent.map(|(_, line)| line.as_str()).collect();
        let noise = || last.noise.iter().map(String::as_str).collect();
        let lines: Vec<&str> = if reasons.is_empty() { noise() } else { reasons };
        lines.join("; ")
    }

    fn keep(&self, line: String, is_noise: bool) {
        fn push<T>(lines: &mut VecDeque<T>, line: T) {
            if lines.len() == LAST_LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
        let mut last = self.0.lock();
        if is_noise {
            push(&mut last.noise, line);
        } else {
            push(&mut last.reasons, (Instant::now(), line));
        }
    }

    /// Logs what `output` says until it ends, as that of the program of a camera. `arguments` are those of the child:
    /// passwords in them are hidden.
    pub(super) fn listen(
        &self,
        output: impl Read,
        camera: &str,
        program: &str,
        arguments: &[String],
    ) {
        // Together: a password may stand behind the word that says so.
        let arguments = joined(arguments.iter().map(String::as_str));
        let secrets: Vec<&str> = secrets(&arguments).collect();
        let mut reader = BufReader::new(output);
        let mut minute = Minute::default();
        while let Some(line) = next_line(&mut reader) {
            let line = Line::new(&hidden(&line, &secrets));
            if line.text.is_empty() {
                continue;
            }
            if minute.began.elapsed() >= MINUTE {
                minute.end(camera, program);
            }
            let is_noise = match minute.note(&line) {
                Noted::Logged => {
                    tracing::info!(camera, program, "says: {}", line.text);
                    false
                }
                Noted::LeftOut => false,
                Noted::Noise => true,
            };
            if is_noise {
                tracing::debug!(camera, program, "says: {}", line.text);
            }
            self.keep(line.text, is_noise);
        }
        minute.end(camera, program);
    }
}

/// A line, and what makes it another one than those before it.
struct Line {
    text: String,
    /// The line without its numbers.
    shape: String,
    /// ffmpeg calls it a warning.
    is_warning: bool,
}

impl Line {
    /// Takes the addresses out that ffmpeg writes after the names of its parts: `[h264 @ 0x5581a0]`.
    fn new(line: &str) -> Self {
        let mut text = String::new();
        let mut rest = line;
        while let Some((before, after)) = rest.split_once(" @ 0x") {
            text.push_str(before);
            rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        }
        text.push_str(rest);
        let mut shape = String::new();
        for character in text.chars() {
            match (character.is_ascii_digit(), shape.ends_with('#')) {
                (true, true) => {}
                (true, false) => shape.push('#'),
                (false, _) => shape.push(character),
            }
        }
        let is_warning = text.starts_with('[') && text.contains("[warning] ");
        Self { text, shape, is_warning }
    }
}

/// What was said in a minute.
struct Minute {
    began: Instant,
    shapes: HashMap<String, u32>,
    logged: u32,
    left_out: u64,
    repeated: u64,
}

impl Default for Minute {
    fn default() -> Self {
        let (began, shapes) = (Instant::now(), HashMap::new());
        Self { began, shapes, logged: 0, left_out: 0, repeated: 0 }
    }
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Noted {
    Logged,
    /// It is new, but too much was logged.
    LeftOut,
    /// It was said before, but for its numbers, or is a warning.
    Noise,
}

impl Minute {
    fn note(&mut self, line: &Line) -> Noted {
        let is_full = self.shapes.len() >= SHAPES_MAX;
        let is_new = match self.shapes.get_mut(&line.shape) {
            Some(count) => {
                *count = count.saturating_add(1);
                false
            }
            None if is_full => false,
            None => self.shapes.insert(line.shape.clone(), 1).is_none(),
        };
        if !is_new || line.is_warning {
            self.repeated += 1;
            return Noted::Noise;
        }
        if self.logged >= LINES_A_MINUTE_MAX {
            self.left_out += 1;
            return Noted::LeftOut;
        }
        self.logged += 1;
        Noted::Logged
    }

    /// Says how much was left out, and begins a minute.
    fn end(&mut self, camera: &str, program: &str) {
        let (lines, repeated) = (self.left_out, self.repeated);
        if lines > 0 {
            tracing::info!(camera, program, lines, repeated, "more was said, and left out");
        } else if repeated > 0 {
            tracing::debug!(camera, program, repeated, "warnings and repetitions were left out");
        }
        *self = Self::default();
    }
}

/// The next line in plain characters; `None` at the end. Progress that is drawn over itself ends in a carriage return.
fn next_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    loop {
        let available = reader.fill_buf().ok()?;
        if available.is_empty() {
            return (!line.is_empty()).then(|| plain(&line));
        }
        let end = available.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Some(plain(&line));
        }
    }
}

/// Text without what a terminal would act on.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_of(said: &[u8]) -> String {
        let stderr = ChildStderr::default();
        stderr.listen(said, "door", "test", &[]);
        stderr.last()
    }

    #[test]
    fn the_last_lines_are_kept_whatever_is_said() {
        let said =
            [b"one\ntwo\r\nthr\x1b[31mee\n".as_slice(), &[b'x'; 10_000], b"\nfour\xff"].concat();
        let last = last_of(&said);
        let (long, four) = last.split_once("; ").unwrap();
        assert_eq!(long.len(), LINE_BYTES_MAX);
        assert_eq!(four, "four\u{fffd}");
    }

    #[test]
    fn noise_hides_no_last_words() {
        let mut said = String::new();
        for number in 0..1000 {
            said += &format!("[h264 @ 0x55a1{number:x}] [error] concealing {number} errors\n");
            if number == 500 {
                said += "[rtsp @ 0x1] [error] method PLAY failed: 453 Not Enough Bandwidth\n";
            }
            said += &format!(
                "[swscaler @ 0x55a1{number:x}] [warning] deprecated pixel format used\n[warning] {number}\n"
            );
        }
        let last = last_of(said.as_bytes());
        assert!(last.ends_with("[rtsp] [error] method PLAY failed: 453 Not Enough Bandwidth"));
        assert_eq!(last_of(b"[warning] a\n[warning] b\n"), "[warning] a; [warning] b");
    }

    #[test]
    fn noise_leaves_the_allowance_to_others() {
        let mut minute = Minute::default();
        let mut note = |text: &str| minute.note(&Line::new(text));
        assert_eq!(note("[h264 @ 0x5] [error] concealing 5 errors"), Noted::Logged);
        for number in 0..1000 {
            assert_eq!(
                note(&format!("[h264 @ 0x{number:x}] [error] concealing {number} errors")),
                Noted::Noise
            );
            assert_eq!(note("[swscaler @ 0x5] [warning] x"), Noted::Noise);
        }
        let letter = |number: u32| format!("line {}", char::from_u32(0x61 + number).unwrap());
        for number in 1..LINES_A_MINUTE_MAX {
            assert_eq!(note(&letter(number)), Noted::Logged, "{number}");
        }
        assert_eq!(note("something else"), Noted::LeftOut);
        for number in 0..1000 {
            let word = "x".repeat(number);
            note(&word);
        }
        assert!(minute.shapes.len() <= SHAPES_MAX);
    }

    #[test]
    fn passwords_of_the_command_line_are_hidden() {
        let stderr = ChildStderr::default();
        let arguments = ["-i".to_owned(), "rtsp://joe:hunter2@door/1".to_owned()];
        stderr.listen(
            &b"rtsp://joe:hunter2@door/1: 401\nbad login hunter2"[..],
            "door",
            "ffmpeg",
            &arguments,
        );
        assert_eq!(stderr.last(), "rtsp://***@door/1: 401; bad login ***");
    }
}
