//! What watching the storage costs: a check with 100,000 files in 400 days, and how long an append is kept waiting
//! while 200 of the days are deleted. Run with `cargo bench --bench storage`.
#![expect(clippy::unwrap_used, reason = "a benchmark ends where anything fails")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lenslog::{
    Config, LogRotator, RetentionPlanner, StorageMonitor, Store, clock, journal_options,
};
use lenslog_engine::Runner;
use lenslog_events::{Event, EventDetected, RecorderCodec};
use lenslog_journal::{Clock, Day, Journal, Timestamp};

const DAYS: i32 = 400;
const PICTURES_A_DAY: usize = 248;
const MICROS_A_DAY: i64 = 86_400_000_000;

fn event(day: Day, number: usize) -> EventDetected {
    let utc_micros = i64::from(day.0) * MICROS_A_DAY + 3_600_000_000 + number as i64 * 1_000_000;
    EventDetected {
        event_id: format!("bench-{day}-{number}"),
        timestamp: Timestamp { utc_micros, offset_minutes: 0 },
        image_path: Some(format!("data/events/{day}/bench-{number}.jpg")),
        ..lenslog_events::parse_line(
            br#"{"timestamp":"2020-01-01T00:00:00Z","camera_id":"camera_1"}"#,
            Timestamp { utc_micros: i64::MAX / 2, offset_minutes: 0 },
        )
        .unwrap()
        .into_event(String::new)
    }
}

/// Runs something a few times and returns the longest and the usual time.
fn timed(count: usize, mut run: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[count - 1], times[count / 2])
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.storage.data_dir = directory.path().join("data");
    config.storage.db_path = config.storage.data_dir.join("events.db");
    config.storage.log_dir = directory.path().join("logs");
    config.storage.min_retention_days = (DAYS / 2) as u32;
    config.time.zone = "+00:00".to_owned();
    let clock: Arc<dyn Clock> = clock(&config);
    let today = clock.read().wall.day();
    let store = Store::open(&config, &journal_options(&config, &clock)).unwrap();
    let (journal, runner) = (store.journal.clone(), Arc::clone(&store.runner));
    for age in (1..=DAYS).rev() {
        let day = Day(today.0 - age);
        let encoded: Vec<_> = (0..PICTURES_A_DAY)
            .map(|number| RecorderCodec::encode(&Event::Detected(event(day, number))))
            .collect();
        let records: Vec<_> = encoded.iter().map(|encoded| encoded.as_record()).collect();
        assert!(journal.append_each(&records).iter().all(Result::is_ok));
        let path = config.storage.data_dir.join("events").join(day.to_string());
        fs::create_dir_all(&path).unwrap();
        for number in 0..PICTURES_A_DAY {
            fs::write(path.join(format!("bench-{number}.jpg")), [0; 5000]).unwrap();
        }
    }
    let head = journal.view().head().unwrap();
    assert_eq!(runner.wait_for(head, Duration::from_secs(60)), Ok(()));
    println!("{} files", files(directory.path()));
    check(&config, today);
    rotate(&config, &journal, &runner, &clock);
}

fn check(config: &Config, today: Day) {
    let (first, _) = timed(1, || {
        StorageMonitor::new(config).check_usage();
    });
    println!("first check, every file looked at:  {first:?}");
    let monitor = StorageMonitor::new(config);
    monitor.check_usage();
    // Directories that were made just now are listed each time until their times can be relied on.
    std::thread::sleep(Duration::from_secs(3));
    monitor.check_usage();
    let busy = config.storage.data_dir.join("events").join(today.previous().to_string());
    let mut number = 0;
    let (longest, usual) = timed(200, || {
        number += 1;
        fs::write(busy.join(format!("new-{number}.jpg")), [0; 5000]).unwrap();
        monitor.check_usage();
    });
    println!("check, a picture written before it: {usual:?} usually, {longest:?} at most");
}

fn rotate(config: &Config, journal: &Journal, runner: &Arc<Runner>, clock: &Arc<dyn Clock>) {
    let mut config = config.clone();
    // Full, so that every day that may go goes.
    config.storage.max_storage_gb = 0.001;
    let monitor = Arc::new(StorageMonitor::new(&config));
    let opened = journal.next_seq();
    let planner =
        RetentionPlanner::new(&config, monitor, journal.view(), Arc::clone(clock), opened);
    let (storage, stop) = (&config.storage, Arc::new(AtomicBool::new(false)));
    let rotator = LogRotator::new(journal.clone(), Arc::clone(runner), planner, storage, stop);
    let done = Arc::new(AtomicBool::new(false));
    let (until, appending, now) = (Arc::clone(&done), journal.clone(), clock.read().wall.day());
    let appender = std::thread::spawn(move || {
        let (mut longest, mut count) = (Duration::ZERO, 0);
        while !until.load(Ordering::Acquire) {
            let event = Event::Detected(EventDetected { image_path: None, ..event(now, count) });
            let encoded = RecorderCodec::encode(&event);
            let start = Instant::now();
            let _ = appending.append(&[encoded.as_record()]).unwrap();
            longest = longest.max(start.elapsed());
            count += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        (longest, count)
    });
    let start = Instant::now();
    let report = rotator.rotate_logs(true).unwrap();
    let took = start.elapsed();
    done.store(true, Ordering::Release);
    let (longest, count) = appender.join().unwrap();
    let days = report.gone.len();
    println!("{days} days deleted in {took:?}, from {} to {}", report.before, report.after);
    println!("{count} appends beside it, the longest {longest:?}");
}

fn files(path: &Path) -> usize {
    let entries = fs::read_dir(path).unwrap().flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}
