//! [`Disk`]: a small file system of its own, made in an image and mounted: ext4, xfs, btrfs, or a tmpfs.
//!
//! Needs root, loop devices, and the programs that make file systems.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::lacks;

/// What is made where a test asks for every kind: about the smallest that each takes, and no smaller than 64 MB.
const KINDS: [(&str, u64); 4] =
    [("tmpfs", 64_000_000), ("ext4", 64_000_000), ("xfs", 300 << 20), ("btrfs", 128 << 20)];

/// A file system; unmounted when dropped.
pub struct Disk {
    directory: tempfile::TempDir,
    pub kind: &'static str,
    pub bytes: u64,
    /// Bytes that could be written when it was empty, as far as it says.
    pub room: u64,
    /// Where it is mounted.
    pub point: PathBuf,
    options: String,
}

impl Disk {
    /// Makes and mounts one; `None` where this machine does not let us, which CI does not accept.
    pub fn new(kind: &'static str, bytes: u64, make: &[&str], options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let point = directory.path().join("disk");
        fs::create_dir(&point).unwrap();
        let mut disk = Self { directory, kind, bytes, room: 0, point, options: options.to_owned() };
        let is_there = disk.make(make) && disk.mount();
        disk.room = disk.free_bytes();
        (!lacks(&format!("root, loop devices or mkfs.{kind}"), is_there)).then_some(disk)
    }

    /// One of every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().filter_map(|(kind, bytes)| Self::new(kind, bytes, &[], ""))
    }

    fn make(&self, options: &[&str]) -> bool {
        if self.kind == "tmpfs" {
            return true;
        }
        fs::File::create(self.image()).unwrap().set_len(self.bytes).unwrap();
        let quick: &[&str] = match self.kind {
            // Nothing is kept for root, who runs the tests.
            "ext4" => &["-q", "-m", "0"],
            _ => &["-q", "-K"],
        };
        let image = self.image();
        let args = [quick, options, &[image.to_str().unwrap()]].concat();
        did(&format!("mkfs.{}", self.kind), &args)
    }

    pub fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    pub fn mount(&self) -> bool {
        let (point, image) = (self.point.to_str().unwrap(), self.image());
        if self.kind == "tmpfs" {
            let size = format!("size={}", self.bytes);
            return did("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", point]);
        }
        let options = format!("loop,{}", self.options);
        did("mount", &["-o", options.trim_end_matches(','), image.to_str().unwrap(), point])
    }

    /// Mounts it there from now on.
    pub fn mount_at(&mut self, point: &Path) -> bool {
        self.unmount();
        fs::create_dir_all(point).unwrap();
        self.point = point.to_owned();
        self.mount()
    }

    /// Removes it while it is in use.
    pub fn unmount(&self) {
        assert!(did("umount", &["--lazy", self.point.to_str().unwrap()]));
    }

    /// Whether it is no longer in use.
    pub fn is_let_go(&self) -> bool {
        let output = Command::new("losetup").arg("-j").arg(self.image()).output().unwrap();
        output.stdout.is_empty()
    }

    /// Has an ext4 meet an error, after which it is read-only until it was repaired.
    pub fn break_down(&self) {
        let output = Command::new("losetup").arg("-j").arg(self.image()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let device = text.split(':').next().unwrap().trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    }

    /// Repairs an unused ext4.
    pub fn repair(&self) {
        let image = self.image();
        let status = Command::new("e2fsck").arg("-fy").arg(image).output().unwrap().status;
        // 1: errors were corrected.
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    }

    pub fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.point).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Leaves not a byte: what is made in `directory` stays.
    pub fn fill(&self, directory: &Path) {
        fs::create_dir(directory).unwrap();
        let sizes = [self.bytes as usize, 1 << 20, 64 << 10, 4 << 10, 512];
        for (number, bytes) in sizes.iter().enumerate() {
            for again in 0..4 {
                // What is written until it fails stays. A file system that allocates late needs to be asked twice.
                let path = directory.join(format!("{number}-{again}"));
                let _ = fs::write(&path, vec![1; *bytes]);
                let _ = fs::File::open(&path).and_then(|file| file.sync_all());
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        did("umount", &["--lazy", self.point.to_str().unwrap()]);
    }
}

/// Runs a program, and says whether it did what it should.
pub fn did(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}
