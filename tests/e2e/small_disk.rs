//! Real small file systems: recording until one is full, and several times its size through it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Lab, lacks};
use crate::storage::{days, lab, lines};

const BYTES: u64 = 64_000_000;

/// A file system of its own; unmounted when dropped.
struct Disk {
    _directory: tempfile::TempDir,
    point: PathBuf,
}

impl Disk {
    /// `None` where this machine does not let us mount.
    fn new(kind: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let point = directory.path().join("disk");
        fs::create_dir(&point).unwrap();
        let run = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output();
            output.is_ok_and(|output| output.status.success())
        };
        let (at, size) = (point.to_str()?, format!("size={BYTES}"));
        let mounted = if kind == "tmpfs" {
            run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", at])
        } else {
            let image = directory.path().join("image");
            fs::File::create(&image).unwrap().set_len(BYTES).unwrap();
            let image = image.to_str()?;
            run("mkfs.ext4", &["-q", "-m", "0", image]) && run("mount", &["-o", "loop", image, at])
        };
        mounted.then_some(Self { _directory: directory, point })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.point).output();
    }
}

/// Every kind of file system that can be mounted here.
fn disks() -> Vec<(&'static str, Disk)> {
    let kinds = ["tmpfs", "ext4"].into_iter();
    let disks: Vec<_> = kinds.filter_map(|kind| Some((kind, Disk::new(kind)?))).collect();
    lacks("root, mount and mkfs.ext4", disks.len() == 2);
    disks
}

/// A lab whose data lies on the disk. The file system is the limit, not what is configured.
fn on(disk: &Disk, keys: &[(&str, &str)]) -> Lab {
    let mut lab = lab(4_000_000_000, keys);
    lab.data = disk.point.join("data");
    fs::create_dir_all(&lab.data).unwrap();
    lab.with("LENSLOG__STORAGE__LOG_DIR", disk.point.join("logs").to_str().unwrap())
}

/// Puts pictures of a day on the disk and their events through the recorder. `false`: there was no room.
fn recorded(lab: &Lab, age: u64, pictures: usize) -> bool {
    let mut all = Vec::new();
    for line in lines(age, pictures) {
        let mut value: Value = serde_json::from_str(&line).unwrap();
        let id = value["event_id"].as_str().unwrap().to_owned();
        let day = value["timestamp"].as_str().unwrap()[..10].to_owned();
        let directory = lab.data.join("events").join(&day);
        let file = format!("{id}.jpg");
        if fs::create_dir_all(&directory).is_err()
            || fs::write(directory.join(&file), vec![9; 100_000]).is_err()
        {
            return false;
        }
        value["image_path"] = json!(format!("data/events/{day}/{file}"));
        all.push(value.to_string());
    }
    lab.ingest(&all).code == Some(0)
}

fn used_on(disk: &Path) -> f64 {
    let stat = rustix::fs::statvfs(disk).unwrap();
    100.0 - 100.0 * stat.f_bavail as f64 / stat.f_blocks as f64
}

#[test]
fn a_disk_that_is_full_ends_the_recorder_in_good_order_and_it_starts_again_with_room() {
    for (kind, disk) in disks() {
        let ballast = disk.point.join("ballast");
        fs::write(&ballast, vec![0; 20_000_000]).unwrap();
        let lab = on(&disk, &[("STORAGE_CHECK_INTERVAL", "1")]);
        let recording = lab.record(&["--source", "test:"]);
        // Six days: all are protected, for seven are kept.
        for age in (295..=300).rev() {
            assert!(recorded(&lab, age, 20), "{kind}");
        }
        let filler = lab.data.join("events").join(days(&lab).last().unwrap()).join("filler");
        fill(&filler);
        // Not a byte is left; whatever comes now has it checked.
        lab.ingest(&lines(0, 1));
        let ran = recording.ended().expect(3);
        let exceeded = ran.err.lines().find(|line| line.contains("Storage limit exceeded: "));
        assert!(exceeded.is_some_and(|line| line.contains("ERROR")), "{kind}: {}", ran.err);
        assert!(ran.err.contains(", approaching limit"), "{kind}: {}", ran.err);
        let recent = day_of(&lines(200, 1)[0]);
        assert_eq!(days(&lab).iter().filter(|day| **day < recent).count(), 6, "{kind}");
        fs::remove_dir_all(&filler).unwrap();
        fs::remove_file(&ballast).unwrap();
        lab.record(&["--source", "test:"]).stop().expect(0);
        lab.verify();
    }
}

#[test]
fn three_times_its_size_goes_through_a_disk_that_overwrites() {
    for (kind, disk) in disks() {
        let keys = [("WHEN_FULL", "overwrite_oldest"), ("STORAGE_CHECK_INTERVAL", "10")];
        let lab = on(&disk, &keys);
        let mut recording = lab.record(&["--source", "test:"]);
        let days_in_all = 3 * BYTES / 2_500_000;
        for age in (1..=days_in_all).rev() {
            assert!(recorded(&lab, age, 25), "{kind}: there was no room for day -{age}");
            // Whoever writes pictures waits for nobody; a recorder's own cannot come this fast.
            lab.until("there is room again", || (used_on(&disk.point) < 90.0).then_some(()));
        }
        assert!(recording.child.try_wait().unwrap().is_none(), "{kind}: it stopped");
        recording.stop().expect(0);
        let left = days(&lab);
        let newest: Vec<_> = lines(1, 1).iter().map(|line| day_of(line)).collect();
        assert!(left.contains(&newest[0]), "{kind}: {left:?}");
        assert!(left.len() > 8 && left.len() < days_in_all as usize / 2, "{kind}: {left:?}");
        lab.verify();
        lab.run(&["replay", "rebuild", "--only", "jsonl"]).expect(0);
        assert_eq!(days(&lab), left, "{kind}");
    }
}

fn day_of(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    value["timestamp"].as_str().unwrap()[..10].to_owned()
}

#[test]
fn a_disk_without_a_byte_left_is_got_out_of_by_rotation() {
    for (kind, disk) in disks() {
        for has_reserve in [true, false] {
            let context = format!("{kind}, reserve {has_reserve}");
            let lab = on(&disk, &[]);
            // Text only: no picture gives room back before a checkpoint is written.
            for age in (1..=10).rev() {
                lab.ingest(&lines(age, 100)).expect(0);
            }
            assert!(lab.data.join("reserve").exists(), "{context}");
            if !has_reserve {
                fs::remove_file(lab.data.join("reserve")).unwrap();
            }
            fill(&disk.point.join("filler"));
            let ran = lab.run(&["rotate"]);
            let left = days(&lab).len();
            assert!((7..10).contains(&left), "{context}: {left} days left\n{}", ran.err);
            lab.verify();
            fs::remove_dir_all(disk.point.join("filler")).unwrap();
            fs::remove_dir_all(&lab.data).unwrap();
        }
    }
}

/// Leaves not a byte.
fn fill(directory: &Path) {
    fs::create_dir(directory).unwrap();
    for (number, bytes) in [BYTES as usize, 1 << 20, 64 << 10, 4 << 10, 512].iter().enumerate() {
        for again in 0..4 {
            // What is written until it fails stays. A file system that allocates late needs to be asked twice.
            let path = directory.join(format!("{number}-{again}"));
            let _ = fs::write(&path, vec![1; *bytes]);
            let _ = fs::File::open(&path).and_then(|file| file.sync_all());
        }
    }
}
