//! Cameras that upload by FTP: files that grow slowly, are renamed into place, lie in subfolders, are deleted at once; a
//! recorder that is restarted and killed meanwhile. Each picture is recorded exactly once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use image::RgbImage;
use lenslog_journal::Timestamp;
use lenslog_vision::drawing::{Quality, Taken, encode_taken};

use crate::accidents::OtherHost;
use crate::harness::{Recording, TestEnv};

/// Picture of that number, taken that many times ten minutes after a moment in November 2026: an event of its own, in
/// whatever order they come.
fn picture(number: u32) -> Vec<u8> {
    let shade = [number as u8, (number >> 8) as u8, 90];
    let picture = RgbImage::from_pixel(64, 48, image::Rgb(shade));
    let utc_micros = (1_795_000_000 + i64::from(number) * 600) * 1_000_000;
    let taken = Taken { time: Timestamp { utc_micros, offset_minutes: 60 }, camera_name: "ftp" };
    encode_taken(&picture, Quality::default(), &taken).unwrap()
}

/// A file that is on its way.
struct Upload {
    file: File,
    rest: Vec<u8>,
}

impl Upload {
    fn begin(path: &Path, bytes: Vec<u8>) -> Self {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        Self { file: File::create(path).unwrap(), rest: bytes }
    }

    /// Writes a part of what is left.
    fn go_on(&mut self, bytes: usize) {
        let part: Vec<u8> = self.rest.drain(..bytes.min(self.rest.len())).collect();
        self.file.write_all(&part).unwrap();
    }
}

fn upload_at_once(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Uploads the pictures of a range: every second one slowly and side by side, the others at once, some of them under a
/// name for the time of the upload.
fn upload(folder: &Path, numbers: std::ops::Range<u32>) {
    let path = |number: u32| folder.join(format!("cam{}/{number}.jpg", number % 3));
    let mut slow = Vec::new();
    for number in numbers {
        let (path, bytes) = (path(number), picture(number));
        match number % 4 {
            0 | 2 => slow.push(Upload::begin(&path, bytes)),
            1 => upload_at_once(&path, &bytes),
            _ => {
                let beside = path.with_extension("jpg.part");
                upload_at_once(&beside, &bytes);
                fs::rename(&beside, &path).unwrap();
            }
        }
    }
    while slow.iter().any(|upload| !upload.rest.is_empty()) {
        slow.iter_mut().for_each(|upload| upload.go_on(300));
    }
}

/// Records the pictures of a folder.
fn configure(env: &TestEnv, folder: &str) {
    let config = format!(
        "[events]\ndeduplication_window = \"1s\"\n[cameras.ftp]\nsource = \"dir:{}\"\n",
        env.path(folder).display()
    );
    fs::write(env.path("lenslog.toml"), config).unwrap();
}

fn record(env: &TestEnv) -> Recording {
    configure(env, "in");
    let recording = env.record(&[]);
    env.until_cameras_are_up();
    recording
}

/// How many events there are of each file.
fn events_by_file(env: &TestEnv) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in env.journal().values().filter(|record| record["kind"] == "EventDetected") {
        let file = record["record"]["metadata"]["file"].as_str().unwrap().to_owned();
        *counts.entry(file).or_insert(0) += 1;
    }
    counts
}

fn until_recorded(env: &TestEnv, files: usize) {
    env.until("all are recorded", || (events_by_file(env).len() >= files).then_some(()));
}

#[test]
fn every_picture_of_an_ftp_camera_is_recorded_once_across_restarts() {
    let env = TestEnv::new();
    let folder = env.path("in");
    // Not recorded: they were there before the recorder.
    upload(&folder, 1000..1004);

    let recording = record(&env);
    upload(&folder, 0..80);
    until_recorded(&env, 80);
    recording.stop().expect(0);

    // While nothing runs.
    upload(&folder, 80..120);
    let mut recording = record(&env);
    upload(&folder, 120..160);
    until_recorded(&env, 160);
    recording.child.kill().unwrap();
    recording.child.wait().unwrap();

    upload(&folder, 160..180);
    let recording = record(&env);
    upload(&folder, 180..200);
    // The sender takes one away at once: it is there or not, but never half.
    let gone = folder.join("cam0/gone.jpg");
    upload_at_once(&gone, &picture(500));
    fs::remove_file(&gone).unwrap();
    until_recorded(&env, 200);
    recording.stop().expect(0);

    let counts = events_by_file(&env);
    let expected = (0..200).map(|number| (format!("{number}.jpg"), 1));
    let mut found = counts.clone();
    assert!(found.remove("gone.jpg").is_none_or(|count| count == 1));
    assert_eq!(found, expected.collect::<BTreeMap<_, _>>());
    env.verify();
}

#[test]
fn a_polled_folder_is_named_at_the_start_and_recorded() {
    let env = TestEnv::new();
    let inside = env.path("in");
    fs::create_dir(&inside).unwrap();
    // What is written beside it makes no events there.
    let Some(_mount) = OtherHost::mount(&inside, env.path("mounted")) else { return };
    configure(&env, "mounted");
    let recording = env.record_until("the folder is polled, every second or less often", &[]);
    env.until_cameras_are_up();
    upload(&inside, 0..8);
    until_recorded(&env, 8);
    assert!(events_by_file(&env).values().all(|count| *count == 1));
    recording.stop().expect(0);
}
