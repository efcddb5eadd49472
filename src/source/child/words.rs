//! What a child process says on its standard error: into the log, a bounded part of it, without passwords.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::words::joined;
use crate::redact::{hidden, secrets};

/// Longest line that is kept; the rest of it is left out.
const LINE_BYTES_MAX: usize = 400;
/// Lines that are logged in a minute; the others are counted.
const LINES_A_MINUTE_MAX: u32 = 20;
/// Last lines that are kept for the message about its end.
const LAST_LINES: usize = 2;

/// The last words of a child.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(Arc<Mutex<VecDeque<String>>>);

impl Words {
    /// The last lines, as one; empty where it said nothing.
    pub(super) fn last(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    fn keep(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Logs what `output` says until it ends. `arguments` are those of the child: passwords in them are hidden.
    pub(super) fn listen(&self, output: impl Read, program: &str, arguments: &[String]) {
        // Together: a password may stand behind the word that says so.
        let arguments = joined(arguments.iter().map(String::as_str));
        let secrets: Vec<&str> = secrets(&arguments).collect();
        let mut reader = BufReader::new(output);
        let (mut minute, mut logged, mut left_out) = (Instant::now(), 0, 0_u32);
        while let Some(line) = next_line(&mut reader) {
            let line = hidden(&line, &secrets);
            if line.is_empty() {
                continue;
            }
            if minute.elapsed() >= Duration::from_secs(60) {
                if left_out > 0 {
                    tracing::info!(program, lines = left_out, "more was said, and left out");
                }
                (minute, logged, left_out) = (Instant::now(), 0, 0);
            }
            if logged < LINES_A_MINUTE_MAX {
                logged += 1;
                tracing::info!(program, "says: {line}");
            } else {
                left_out = left_out.saturating_add(1);
            }
            self.keep(line);
        }
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

    #[test]
    fn the_last_lines_are_kept_whatever_is_said() {
        let words = Words::default();
        let said =
            [b"one\ntwo\r\nthr\x1b[31mee\n".as_slice(), &[b'x'; 10_000], b"\nfour\xff"].concat();
        words.listen(&said[..], "test", &[]);
        let last = words.last();
        let (long, four) = last.split_once("; ").unwrap();
        assert_eq!(long.len(), LINE_BYTES_MAX);
        assert_eq!(four, "four\u{fffd}");
    }

    #[test]
    fn passwords_of_the_command_line_are_hidden() {
        let words = Words::default();
        let arguments = ["-i".to_owned(), "rtsp://joe:hunter2@door/1".to_owned()];
        words.listen(
            &b"rtsp://joe:hunter2@door/1: 401\nbad login hunter2"[..],
            "ffmpeg",
            &arguments,
        );
        assert_eq!(words.last(), "rtsp://***@door/1: 401; bad login ***");
    }
}
