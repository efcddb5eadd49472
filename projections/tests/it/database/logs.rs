//! What was logged, from all threads of this process: tests look for lines that name their own directory.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, Once};

use tracing_subscriber::filter::LevelFilter;

static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep what is logged from WARN on.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::WARN);
        subscriber.with_writer(|| Sink).try_init().unwrap();
    });
}

/// Lines of this level (as it is printed) that name something in `directory`.
pub fn about(directory: &Path, level: &str) -> Vec<String> {
    let text = TEXT.lock().unwrap();
    let directory = directory.to_string_lossy();
    String::from_utf8_lossy(&text)
        .lines()
        .filter(|line| line.contains(&*directory) && line.contains(&format!(" {level} ")))
        .map(ToOwned::to_owned)
        .collect()
}
