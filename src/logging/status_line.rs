//! [`StatusLine`]: one line at the bottom of a terminal, below the log lines.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tracing_subscriber::fmt::MakeWriter;

/// To the first column, and clear to the end of the line.
const ERASE: &[u8] = b"\r\x1b[K";
/// Columns of a terminal of unknown width.
const COLUMNS: usize = 80;

/// Standard error of a terminal: log lines, and below them a line that changes.
#[derive(Debug, Clone, Default)]
pub struct StatusLine(Arc<Mutex<Option<String>>>);

impl StatusLine {
    /// Draws this in the place of what was drawn before. Cut to the width of the terminal.
    pub fn draw(&self, text: &str) {
        let mut shown = self.lock();
        let line = cut(text, columns());
        let bytes = [ERASE, line.as_bytes()].concat();
        *shown = Some(line);
        // A terminal that is gone sees nothing.
        let _ = io::stderr().write_all(&bytes);
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.lock().take().is_some() {
            let _ = io::stderr().write_all(ERASE);
        }
    }

    /// Returns a function that draws a text, or clears the line for `None`.
    pub fn into_sink(self) -> impl Fn(Option<&str>) + Send + 'static {
        move |text| match text {
            Some(text) => self.draw(text),
            None => self.clear(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock()
    }
}

/// Writes one log line above the status.
#[derive(Debug)]
pub struct AboveStatus(StatusLine);

impl Write for AboveStatus {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shown = self.0.lock();
        match shown.as_deref() {
            // One write, so that nothing flickers.
            Some(status) => {
                io::stderr().write_all(&[ERASE, line, status.as_bytes()].concat())?;
            }
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for StatusLine {
    type Writer = AboveStatus;

    fn make_writer(&self) -> AboveStatus {
        AboveStatus(self.clone())
    }
}

/// Columns of the terminal.
fn columns() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => COLUMNS,
    }
}

/// The beginning of a text, short enough that the cursor stays on its line. No control characters.
fn cut(text: &str, columns: usize) -> String {
    let plain = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    plain.take(columns.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_fits_on_one_line_and_moves_no_cursor() {
        assert_eq!(cut("up 3 min, front door", 9), "up 3 min");
        assert_eq!(cut("a\nb\x1b[31m", 80), "a b [31m");
        assert_eq!(cut("abc", 0), "");
    }
}
