//! Real small file systems: recording until one is full, and several times its size through it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lenslog_journal::Random;
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::harness::{Ran, TestEnv};
use crate::storage::{date, days, env, lines, moment};

/// Events of a batch are that many, each with a picture.
const EVENTS: usize = 16;
/// Batches whose pictures fill an empty disk.
const DAYS_THAT_FIT: u64 = 16;

/// A test environment whose data lies on the disk. The file system is the limit, not what is configured.
fn on(disk: &Disk, keys: &[(&str, &str)]) -> TestEnv {
    let mut env = env(4_000_000_000, keys);
    env.data = disk.point.join("data");
    fs::create_dir_all(&env.data).unwrap();
    env.with("LENSLOG__STORAGE__LOG_DIR", disk.point.join("logs").to_str().unwrap())
}

/// Puts pictures of a day on the disk, as many as there is room for, and has their events ingested. `batch` gives
/// events of the same day apart; so many batches fill an empty disk.
fn ingested(env: &TestEnv, disk: &Disk, age: u64, batch: usize, parts: u64) -> Ran {
    let bytes = (disk.room / parts) as usize / EVENTS;
    let mut all = Vec::new();
    for line in lines(age, EVENTS) {
        let mut value: Value = serde_json::from_str(&line).unwrap();
        let id = format!("{batch}-{}", value["event_id"].as_str().unwrap());
        let day = value["timestamp"].as_str().unwrap()[..10].to_owned();
        let directory = env.data.join("events").join(&day);
        let file = format!("{id}.jpg");
        // A recorder's own pictures stop at the limit; these would go on to the last byte.
        if disk.free_bytes() > 2 * bytes as u64 + (2 << 20) {
            fs::create_dir_all(&directory).unwrap();
            // What a file system says is free, it does not always give.
            match fs::write(directory.join(&file), noise(bytes, age + batch as u64)) {
                Ok(()) => value["image_path"] = json!(format!("data/events/{day}/{file}")),
                Err(_) => drop(fs::remove_file(directory.join(&file))),
            }
        } else {
            value["llm_description"] = json!("x".repeat(16_000));
        }
        value["event_id"] = json!(id);
        all.push(value.to_string());
    }
    env.ingest(&all)
}

/// Bytes that no file system stores in less room.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = (0..bytes / 8).map(|_| random.below(u64::MAX).to_le_bytes());
    words.flatten().collect()
}

/// A recording whose every frame differs from the one before, and whose pictures are large.
fn recording(env: &TestEnv) -> PathBuf {
    let path = env.path("camera.mjpeg");
    let mut random = Random::new(7);
    let mut file = fs::File::create(&path).unwrap();
    let mut picture = image::RgbImage::from_fn(320, 240, |_, _| pixel(&mut random));
    for number in 0..45_u32 {
        if number > 8 {
            let (left, top) = (number * 37 % 200, number * 23 % 120);
            for (x, y) in (0..120).flat_map(|x| (0..120).map(move |y| (x, y))) {
                picture.put_pixel(left + x, top + y, pixel(&mut random));
            }
        }
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 97)
            .encode_image(&picture)
            .unwrap();
    }
    path
}

fn pixel(random: &mut Random) -> image::Rgb<u8> {
    let value = random.below(1 << 24).to_le_bytes();
    image::Rgb([value[0], value[1], value[2]])
}

/// Records a day from a file, a frame each minute.
fn recorded(env: &TestEnv, file: &Path, age: u64) -> Ran {
    let config = env.path("camera.toml");
    let text = format!(
        "[cameras.yard]\nsource = \"file:{}\"\nfps = 0.0166\n[motion]\nlearning_frames = 5\n[images]\nquality = 97\n",
        file.display()
    );
    fs::write(&config, text).unwrap();
    let start = moment(age, "08:00:00");
    env.run(&["record", "--config", config.to_str().unwrap(), "--no-pace", "--start", &start])
}

/// `0.0512GB / 0.064GB (80%)` behind a text in a line of the log with that level: the percentage.
#[track_caller]
fn percentage(said: &str, level: &str, before: &str, after: &str) -> u64 {
    let line = said.lines().find(|line| line.contains(before)).unwrap_or_else(|| panic!("{said}"));
    let (head, rest) = line.split_once(before).unwrap();
    assert!(head.contains(level), "{line}");
    let (total, rest) = rest.split_once(" / ").unwrap();
    let (limit, rest) = rest.split_once(" (").unwrap();
    let (percent, end) = rest.split_once("%)").unwrap();
    assert_eq!(end, after, "{line}");
    for amount in [total, limit] {
        amount.strip_suffix("GB").unwrap().parse::<f64>().unwrap();
    }
    percent.parse().unwrap()
}

#[test]
fn a_full_disk_ends_the_recorder_in_good_order() {
    for disk in Disk::all() {
        let kind = disk.kind;
        let ballast = disk.point.join("ballast");
        fs::write(&ballast, noise(disk.room as usize / 2, 1)).unwrap();
        let env = on(&disk, &[("STORAGE_CHECK_INTERVAL", "10")]);
        let recording = env.record(&["--source", "test:"]);
        // Six days are protected: seven are kept.
        let mut batch = 0;
        let refused = loop {
            let ran = ingested(&env, &disk, 300 - batch as u64 % 6, batch, 64);
            if ran.code != Some(0) {
                break ran;
            }
            batch += 1;
        };
        let ran = recording.ended();
        assert_eq!(ran.code, Some(3), "{kind}: {}", ran.err);
        let approaching = percentage(&ran.err, "WARN", "Storage at ", ", approaching limit");
        assert!((80..=90).contains(&approaching), "{kind}: {approaching}");
        let exceeded = percentage(&ran.err, "ERROR", "Storage limit exceeded: ", "");
        assert!(exceeded >= 100, "{kind}: {exceeded}");
        // The ingest was cut off, or got the reason.
        assert!(matches!(refused.code, Some(1 | 3)), "{kind}: {}", refused.err);
        env.verify_without_room();
        assert_eq!(days(&env).iter().filter(|day| **day < date(200).to_string()).count(), 6);
        fs::remove_file(&ballast).unwrap();
        env.record(&["--source", "test:"]).stop().expect(0);
        env.ingest(&lines(200, 1)).expect(0);
        env.verify();
    }
}

#[test]
fn a_small_disk_takes_three_times_its_size() {
    for disk in Disk::all() {
        let kind = disk.kind;
        let keys = [("WHEN_FULL", "overwrite_oldest"), ("STORAGE_CHECK_INTERVAL", "5")];
        let env = on(&disk, &keys);
        let file = recording(&env);
        let peak = Peak::of(&disk.point);
        let days_in_all = 3 * DAYS_THAT_FIT + 3;
        let mut recordings = 0;
        for age in (1..=days_in_all).rev() {
            let context = format!("{kind}, day -{age}");
            let ran = ingested(&env, &disk, age, 0, DAYS_THAT_FIT);
            assert_eq!(ran.code, Some(0), "{context}: {}", ran.err);
            if age % 10 == 1 {
                let ran = recorded(&env, &file, age);
                assert_eq!(ran.code, Some(0), "{context}: {}", ran.err);
                recordings += ran.err.matches("event=\"evt_").count();
            }
            let used = env.status()["storage"]["percentage_used"].as_f64().unwrap();
            assert!(used < 90.0, "{context}: {used}");
        }
        assert!(recordings >= 100, "{kind}: {recordings} events recorded");
        // Only a rotation that is on its way is beyond 90 %, by what came since the check before.
        let peak = peak.end();
        assert!(peak < 99.0 || kind == "btrfs", "{kind}: {peak}");
        println!("{kind}: at most {peak:.1} % used, {} days left", days(&env).len());
        let left = days(&env);
        assert!(left.contains(&date(1).to_string()), "{kind}: {left:?}");
        assert!(left.len() > 5 && left.len() < days_in_all as usize / 2, "{kind}: {left:?}");
        env.verify();
        env.run(&["replay", "rebuild", "--only", "jsonl"]).expect(0);
        assert_eq!(days(&env), left, "{kind}");
    }
}

/// Watches how much of a file system is used, all the time.
struct Peak {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<f64>,
}

impl Peak {
    fn of(point: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, point) = (Arc::clone(&stop), point.to_owned());
        let thread = std::thread::spawn(move || {
            let mut peak = 0_f64;
            while !stopped.load(Ordering::Acquire) {
                let stat = rustix::fs::statvfs(&point).unwrap();
                // What is free, not what is available: a btrfs says none is where metadata is short of room.
                peak = peak.max(100.0 - 100.0 * stat.f_bfree as f64 / stat.f_blocks as f64);
                std::thread::park_timeout(std::time::Duration::from_millis(5));
            }
            peak
        });
        Self { stop, thread }
    }

    fn end(self) -> f64 {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

#[test]
fn a_day_that_fills_a_disk_loses_pictures_only() {
    for disk in Disk::all() {
        let kind = disk.kind;
        let env = on(&disk, &[("WHEN_FULL", "overwrite_oldest"), ("STORAGE_CHECK_INTERVAL", "5")]);
        let batches = DAYS_THAT_FIT as usize * 3 / 2;
        for batch in 0..batches {
            let ran = ingested(&env, &disk, 0, batch, DAYS_THAT_FIT);
            assert_eq!(ran.code, Some(0), "{kind}, batch {batch}: {}", ran.err);
        }
        let ids = env.journaled_ids();
        assert_eq!(ids.len(), batches * EVENTS, "{kind}: no record goes");
        assert_eq!(env.projected().row_ids(), ids, "{kind}");
        let today = env.data.join("events").join(&days(&env)[0]);
        let pictures = |batch: usize| {
            let names = fs::read_dir(&today).unwrap().flatten().map(|entry| entry.file_name());
            let prefix = format!("{batch}-");
            names
                .filter(|name| {
                    let name = name.to_str().unwrap();
                    name.starts_with(&prefix) && name.ends_with(".jpg")
                })
                .count()
        };
        assert_eq!(pictures(0), 0, "{kind}: the oldest go");
        assert!(pictures(batches - 1) > 0, "{kind}: the newest stay");
        let used = env.status()["storage"]["percentage_used"].as_f64().unwrap();
        assert!(used < 95.0, "{kind}: {used}");
        env.verify();
    }
}

#[test]
fn rotation_recovers_a_disk_without_a_byte_left() {
    for disk in Disk::all() {
        for has_reserve in [true, false] {
            let context = format!("{}, reserve {has_reserve}", disk.kind);
            let env = on(&disk, &[]);
            // Text only: no picture gives room back before a checkpoint is written.
            for age in (1..=10).rev() {
                env.ingest(&lines(age, 100)).expect(0);
            }
            assert!(env.data.join("reserve").exists(), "{context}");
            if !has_reserve {
                fs::remove_file(env.data.join("reserve")).unwrap();
            }
            disk.fill(&disk.point.join("filler"));
            let ran = env.run(&["rotate"]);
            let left = days(&env).len();
            assert!((7..10).contains(&left), "{context}: {left} days left\n{}", ran.err);
            env.verify_without_room();
            fs::remove_dir_all(disk.point.join("filler")).unwrap();
            fs::remove_dir_all(&env.data).unwrap();
        }
    }
}

#[test]
fn a_killed_recorders_database_is_readable_on_a_full_disk() {
    for disk in Disk::all() {
        let kind = disk.kind;
        let env = on(&disk, &[]);
        let recording = env.record(&["--source", "test:"]);
        env.ingest(&lines(3, 100)).expect(0);
        recording.signal(rustix::process::Signal::KILL);
        recording.ended();
        let log = env.data.join("events.db-wal");
        assert!(fs::metadata(&log).unwrap().len() > 0, "{kind}: rows wait in the log");
        fs::remove_file(env.data.join("events.db-shm")).unwrap();
        disk.fill(&disk.point.join("filler"));
        let before = fs::read(&log).unwrap();
        env.verify_without_room();
        assert_eq!(fs::read(&log).unwrap(), before, "{kind}: a reader leaves the log as it is");
    }
}
