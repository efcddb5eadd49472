//! What a long history costs: events of 400 days through the built program, the oldest 100 of them deleted, and as much
//! again brought in. Run with `LENSLOG_BENCH_EVENTS=10000000 cargo bench --bench history`, with `LENSLOG_BENCH_DIR` where
//! there are 2 KB of room for each event.
#![expect(clippy::unwrap_used, reason = "a benchmark ends where anything fails")]

use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use chrono::{DateTime, Days, NaiveTime, Utc};

const DAYS: u64 = 400;
const DELETED_DAYS: u64 = 100;
const EVENTS: u64 = 200_000;
const SECONDS_A_DAY: u64 = 86_400;

/// A data directory and the program that works on it.
struct TestEnv {
    directory: tempfile::TempDir,
}

/// Bytes of everything, in blocks as `du` counts them.
#[derive(Clone, Copy)]
struct Sizes {
    journal: u64,
    database: u64,
    log: u64,
    texts: u64,
    free_pages: u64,
}

fn main() {
    let set = std::env::var("LENSLOG_BENCH_EVENTS").ok();
    let events: u64 = set.and_then(|text| text.parse().ok()).unwrap_or(EVENTS);
    let directory = std::env::var_os("LENSLOG_BENCH_DIR").map(PathBuf::from);
    let env = TestEnv {
        directory: tempfile::tempdir_in(directory.unwrap_or(std::env::temp_dir())).unwrap(),
    };
    let a_day = events / DAYS;
    let started = Instant::now();
    env.ingest("first", (0..DAYS).rev(), a_day);
    let took = started.elapsed().as_secs_f64();
    let all = a_day * DAYS;
    println!(
        "{all} events of {DAYS} days ingested in {took:.0} s, {:.0} a second",
        all as f64 / took
    );
    let full = env.sizes();
    full.print("then", all);

    let started = Instant::now();
    let status = env.command(&["rotate"], DAYS - DELETED_DAYS).status().unwrap();
    println!("{DELETED_DAYS} days deleted in {:.1} s, {status}", started.elapsed().as_secs_f64());
    let pruned = env.sizes();
    pruned.print("then", a_day * (DAYS - DELETED_DAYS));
    println!(
        "  freed: {} MB of files, {} MB of free pages in the database",
        full.on_disk().saturating_sub(pruned.on_disk()) / 1_000_000,
        pruned.free_pages.saturating_sub(full.free_pages) / 1_000_000
    );

    let started = Instant::now();
    env.ingest("second", (0..DELETED_DAYS).rev(), a_day);
    println!("{} events more in {:.0} s", a_day * DELETED_DAYS, started.elapsed().as_secs_f64());
    let again = env.sizes();
    again.print("then", all);
    println!(
        "  the database grew by {} MB, its free pages are {} MB fewer",
        again.database.saturating_sub(pruned.database) / 1_000_000,
        pruned.free_pages.saturating_sub(again.free_pages) / 1_000_000
    );
    let started = Instant::now();
    env.run(&["replay", "verify"], DAYS - DELETED_DAYS);
    println!("verified in {:.0} s", started.elapsed().as_secs_f64());
}

impl TestEnv {
    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, args: &[&str], days_kept: u64) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lenslog"));
        command.args(args).arg("--data").arg(self.data()).current_dir(self.directory.path());
        command
            .env("LENSLOG__TIME__ZONE", "+00:00")
            .env("LENSLOG__STORAGE__MAX_STORAGE_GB", "1000");
        command.env("LENSLOG__STORAGE__MAX_RETENTION_DAYS", days_kept.to_string());
        command.stdout(Stdio::null());
        command
    }

    fn run(&self, args: &[&str], days_kept: u64) {
        assert!(self.command(args, days_kept).status().unwrap().success(), "{args:?}");
    }

    /// Events of days so many days ago, spread evenly.
    fn ingest(&self, prefix: &str, ages: impl Iterator<Item = u64>, a_day: u64) {
        let mut child = self.command(&["ingest"], 0).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = BufWriter::with_capacity(1 << 20, child.stdin.take().unwrap());
        let today = Utc::now().date_naive();
        for age in ages {
            let day = today.checked_sub_days(Days::new(age)).unwrap();
            let midnight = day.and_time(NaiveTime::MIN).and_utc();
            for number in 0..a_day {
                let second = number * SECONDS_A_DAY / a_day;
                let line = line(prefix, midnight, second, number);
                input.write_all(line.as_bytes()).unwrap();
            }
        }
        input.into_inner().unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn sizes(&self) -> Sizes {
        let data = self.data();
        let sum = |names: &[&str]| names.iter().map(|name| blocks(&data.join(name))).sum();
        let connection = rusqlite::Connection::open(data.join("events.db")).unwrap();
        let pragma = |name: &str| {
            let sql = format!("PRAGMA {name}");
            connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64
        };
        Sizes {
            journal: sum(&["journal"]),
            database: sum(&["events.db"]),
            log: sum(&["events.db-wal"]),
            texts: sum(&["events"]),
            free_pages: pragma("freelist_count") * pragma("page_size"),
        }
    }
}

impl Sizes {
    const fn on_disk(&self) -> u64 {
        self.journal + self.database + self.log + self.texts
    }

    fn print(&self, when: &str, events: u64) {
        for (what, bytes) in [
            ("journal", self.journal),
            ("database", self.database),
            ("of it free pages", self.free_pages),
            ("the database's log", self.log),
            ("text files", self.texts),
        ] {
            let each = bytes as f64 / events as f64;
            println!(
                "  {when}: {what:<18} {:>8.1} MB, {each:>6.1} bytes an event",
                bytes as f64 / 1e6
            );
        }
    }
}

/// About 600 bytes of JSON, as a detector would write it.
fn line(prefix: &str, midnight: DateTime<Utc>, second: u64, number: u64) -> String {
    let time = midnight + std::time::Duration::from_secs(second);
    let (camera, x) = (number % 4, number % 500);
    let label = ["person", "car", "dog", "bicycle"][(number % 7 % 4) as usize];
    let day = midnight.format("%Y-%m-%d");
    format!(
        "{{\"event_id\":\"{prefix}-{day}-{number}\",\"timestamp\":\"{}\",\"camera_id\":\"camera_{camera}\",\
         \"camera_name\":\"front door\",\"motion_confidence\":0.8,\"detected_objects\":[{{\"label\":\"{label}\",\
         \"confidence\":0.91,\"bbox\":{{\"x\":{x},\"y\":20,\"width\":120,\"height\":260}}}}],\
         \"llm_description\":\"A {label} comes up to the door from the left, stops beside the mat for a moment, looks \
         around and goes away again towards the street; number {number} of this day.\",\
         \"image_path\":\"data/events/{day}/{prefix}-{number}.jpg\",\
         \"metadata\":{{\"frame_number\":{number},\"inference_ms\":160}}}}\n",
        time.format("%Y-%m-%dT%H:%M:%SZ")
    )
}

fn blocks(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    let own = found.blocks() * 512;
    if !found.is_dir() {
        return own;
    }
    fs::read_dir(path).unwrap().flatten().map(|entry| blocks(&entry.path())).sum::<u64>() + own
}
