//! Quotas: the file system says that it has room, and takes nothing more.

use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, did};
use crate::harness::TestEnv;
use crate::small_disk::noise;
use crate::storage::{days, env, lines};

/// Bytes that a quota allows: no more than a journal, a database and some days take.
const QUOTA_BYTES: u64 = 48 << 20;

/// A btrfs with a quota on a subvolume: also what is written over needs room.
struct Quota {
    disk: Disk,
}

impl Quota {
    fn new() -> Option<Self> {
        let quota = Self { disk: Disk::new("btrfs", 300 << 20, &[], "")? };
        let directory = quota.directory();
        let path = directory.to_str().unwrap();
        assert!(did("btrfs", &["subvolume", "create", path]));
        assert!(did("btrfs", &["quota", "enable", path]));
        quota.set(QUOTA_BYTES);
        Some(quota)
    }

    /// The directory that the quota counts.
    fn directory(&self) -> PathBuf {
        self.disk.point.join("limited")
    }

    fn set(&self, bytes: u64) {
        let directory = self.directory();
        let path = directory.to_str().unwrap();
        assert!(did("btrfs", &["qgroup", "limit", &bytes.to_string(), path]));
    }

    /// A test environment below the quota, which is the limit: not what is configured.
    fn env(&self, keys: &[(&str, &str)]) -> TestEnv {
        let mut env = env(4_000_000_000, keys);
        env.data = self.directory().join("data");
        fs::create_dir_all(&env.data).unwrap();
        env.with("LENSLOG__STORAGE__LOG_DIR", self.directory().join("logs").to_str().unwrap())
    }

    /// Leaves nothing of the quota.
    fn exhaust(&self, path: &Path) {
        fs::create_dir(path).unwrap();
        for (number, bytes) in [QUOTA_BYTES as usize, 1 << 20, 64 << 10, 4 << 10].iter().enumerate()
        {
            for again in 0..4 {
                let path = path.join(format!("{number}-{again}"));
                let _ = fs::write(&path, noise(*bytes, again));
                let _ = fs::File::open(&path).and_then(|file| file.sync_all());
            }
        }
        let error = fs::write(path.join("more"), noise(64 << 10, 9)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::QuotaExceeded);
        let _ = fs::remove_file(path.join("more"));
    }
}

#[test]
fn a_reached_quota_ends_the_recorder_in_good_order() {
    let Some(quota) = Quota::new() else { return };
    let env = quota.env(&[("STORAGE_CHECK_INTERVAL", "10")]);
    let recording = env.record(&["--source", "test:"]);
    let mut acknowledged = 0;
    // Six days are protected: seven are kept.
    let refused = (0..).find_map(|batch: u64| {
        let ran = env.ingest(&text(batch));
        acknowledged += 100 * u64::from(ran.code == Some(0));
        (ran.code != Some(0)).then_some(ran)
    });
    let refused = refused.unwrap();
    let ran = recording.ended();
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(matches!(refused.code, Some(1 | 3)), "{}", refused.err);
    assert!(ran.err.contains("quota: reached"), "{}", ran.err);
    assert!(env.journaled_ids().len() as u64 >= acknowledged);
    env.verify_without_room();
    quota.set(2 * QUOTA_BYTES);
    env.record(&["--source", "test:"]).stop().expect(0);
    env.ingest(&lines(200, 1)).expect(0);
    env.verify();
}

#[test]
fn a_quota_exhausted_by_others_loses_nothing() {
    let Some(quota) = Quota::new() else { return };
    // Later than anybody looks at how much room there is.
    let env = quota.env(&[("STORAGE_CHECK_INTERVAL", "1000000")]);
    let recording = env.record(&["--source", "test:"]);
    env.ingest(&lines(3, 500)).expect(0);
    let filler = quota.directory().join("filler");
    quota.exhaust(&filler);
    let ran = env.ingest(&lines(2, 500));
    assert!(matches!(ran.code, Some(1 | 3)), "{:?} {}", ran.code, ran.err);
    for args in [&["events", "--limit", "3"][..], &["status"], &["replay", "verify"]] {
        let ran = env.run(args);
        assert!(ran.code.is_some(), "{args:?} was killed\n{}", ran.err);
    }
    let ran = recording.stop();
    assert!(matches!(ran.code, Some(0 | 1 | 3)), "{:?}\n{}", ran.code, ran.err);
    for args in [&["events", "--limit", "3"][..], &["status"], &["ingest"], &["replay", "rebuild"]]
    {
        // Microseconds remain between the check and the store, in which another write may take the last room
        // (docs/RELIABILITY.md): that one program is killed is rare, and repeated it is not.
        let ran = env.run(args);
        let ran = if ran.code.is_none() { env.run(args) } else { ran };
        assert!(ran.code.is_some(), "{args:?} was killed twice\n{}", ran.err);
    }
    let journaled = env.journaled_ids();
    assert!(journaled.len() >= 500);
    fs::remove_dir_all(filler).unwrap();
    env.ingest(&[]).expect(0);
    env.verify();
    assert_eq!(env.projected().row_ids(), env.journaled_ids());
}

#[test]
fn a_quota_takes_three_times_its_size() {
    let Some(quota) = Quota::new() else { return };
    let env = quota.env(&[("WHEN_FULL", "overwrite_oldest"), ("STORAGE_CHECK_INTERVAL", "5")]);
    for age in (1..=40).rev() {
        let day = lines(age, 1)[0].clone();
        let directory = env.data.join("events").join(day_of(&day));
        fs::create_dir_all(&directory).unwrap();
        let mut written = Vec::new();
        for number in 0..16 {
            let file = format!("{age}-{number}.jpg");
            let path = directory.join(&file);
            if fs::write(&path, noise(256 << 10, age + number)).is_ok() {
                written.push(file);
            } else {
                let _ = fs::remove_file(path);
            }
        }
        let events = lines(age, 16).into_iter().enumerate().map(|(number, line)| {
            let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
            if let Some(file) = written.get(number) {
                value["image_path"] = format!("data/events/{}/{file}", day_of(&day)).into();
            }
            value.to_string()
        });
        let ran = env.ingest(&events.collect::<Vec<_>>());
        assert_eq!(ran.code, Some(0), "day -{age}: {}", ran.err);
    }
    let left = days(&env);
    assert!(left.len() > 2 && left.len() < 30, "{left:?}");
    env.verify();
}

#[test]
fn rotation_recovers_a_reached_quota() {
    let Some(quota) = Quota::new() else { return };
    let env = quota.env(&[]);
    // Text only: no picture gives room back before a checkpoint is written.
    for age in (1..=10).rev() {
        env.ingest(&lines(age, 100)).expect(0);
    }
    assert!(env.data.join("reserve").exists());
    quota.exhaust(&quota.directory().join("filler"));
    let ran = env.run(&["rotate"]);
    let left = days(&env).len();
    assert!((7..10).contains(&left), "{left} days left\n{}", ran.err);
    assert!(!env.data.join("reserve").exists(), "{}", ran.err);
    env.verify();
}

/// A hundred events of long texts, of one of six days.
fn text(batch: u64) -> Vec<String> {
    let events = lines(300 - batch % 6, 100).into_iter().map(|line| {
        let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
        value["event_id"] = format!("{batch}-{}", value["event_id"].as_str().unwrap()).into();
        value["llm_description"] = "x".repeat(8_000).into();
        value.to_string()
    });
    events.collect()
}

fn day_of(line: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["timestamp"].as_str().unwrap()[..10].to_owned()
}
