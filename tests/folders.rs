//! Folders of cameras that make one a minute, for weeks: on a file system that reports changes, and on one that does not.
//!
//! Each picture is taken once, memory does not grow with the number of folders, and few of them are watched.

#![expect(clippy::unwrap_used, reason = "a test fails where anything does")]

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use image::{ExtendedColorType, ImageEncoder};
use lenslog::CancellationToken;
use lenslog::{DirOptions, DirSource, Source, SourceItem, WATCHED_FOLDERS_MAX};

const MINUTES_A_DAY: usize = 1440;
/// Days of pictures in order.
const DAYS: usize = 3;
/// More than the buffers and the memory of what was taken need.
const MEMORY_GROWTH_MAX: u64 = 24 << 20;

/// One at a time: memory and watches are those of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a Dahua camera puts the picture of a minute.
fn place(minute: usize) -> PathBuf {
    let (day, hour) = (minute / MINUTES_A_DAY, minute / 60 % 24);
    format!("ftp/ND0219/2026-day{day:02}/001/jpg/{hour:02}/{:02}/07[M][0@0][0].jpg", minute % 60)
        .into()
}

/// Where a GeoVision or a Reolink camera does: a folder a day, a name a picture.
fn flat_place(minute: usize) -> PathBuf {
    let (day, in_day) = (minute / MINUTES_A_DAY, minute % MINUTES_A_DAY);
    format!("cam/2026/11/{day:02}/Camera1_00_{in_day:04}.jpg").into()
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

fn picture() -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 80);
    encoder.write_image(&[90; 8 * 8 * 3], 8, 8, ExtendedColorType::Rgb8).unwrap();
    bytes
}

fn put(folder: &Path, place: &Path, bytes: &[u8]) {
    let path = folder.join(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A folder that is watched, and its memory.
struct Watched {
    /// Where senders put pictures.
    inside: PathBuf,
    /// Where they are watched.
    outside: PathBuf,
    options: DirOptions,
    source: DirSource,
    /// Hashes of their paths: what is measured is the memory of the source.
    taken: HashSet<u64>,
    /// The picture that was taken last.
    last: u64,
    _directory: tempfile::TempDir,
    _mount: Option<Mount>,
}

impl Watched {
    /// `None` where no bindfs is there to mount.
    fn new(is_mounted: bool) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut outside = at("in");
        fs::create_dir(&outside).unwrap();
        let inside = outside.clone();
        let mut mount = None;
        if is_mounted {
            outside = at("mounted");
            fs::create_dir(&outside).unwrap();
            mount = Some(Mount::new(&inside, &outside)?);
        }
        let options = DirOptions {
            memory: Some(at("memory")),
            settle: Duration::from_millis(20),
            compare: Duration::from_secs(5),
            ..DirOptions::default()
        };
        let source = DirSource::open(&outside, options.clone(), CancellationToken::new()).unwrap();
        let (taken, last) = (HashSet::new(), 0);
        Some(Self {
            inside,
            outside,
            options,
            source,
            taken,
            last,
            _directory: directory,
            _mount: mount,
        })
    }

    /// The picture that was taken last comes again: that it was dealt with was never said.
    fn restart(&mut self) {
        self.taken.remove(&self.last);
        self.source =
            DirSource::open(&self.outside, self.options.clone(), CancellationToken::new()).unwrap();
    }

    /// Takes pictures until there are so many in all, each once.
    #[track_caller]
    fn take_until(&mut self, count: usize) {
        while self.taken.len() < count {
            match self.source.next_item().unwrap().unwrap() {
                SourceItem::Frame(frame) => {
                    let path = frame.origin.unwrap();
                    self.last = hash(&path);
                    assert!(self.taken.insert(self.last), "{} came twice", path.display());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Nothing comes any more but what is put now.
    #[track_caller]
    fn expect_no_more(&mut self) {
        let name = format!("last{}.jpg", self.taken.len());
        put(&self.inside, Path::new(&name), &picture());
        self.take_until(self.taken.len() + 1);
        assert_eq!(self.last, hash(&self.outside.canonicalize().unwrap().join(name)));
    }
}

/// A file system without events of what happens below it.
struct Mount(PathBuf);

impl Mount {
    fn new(from: &Path, to: &Path) -> Option<Self> {
        let mounted = Command::new("bindfs").arg(from).arg(to).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(to.to_owned()));
        }
        let all = std::env::var_os("LENSLOG_TEST_ALL").is_some();
        assert!(!all, "LENSLOG_TEST_ALL is set, and bindfs, or the right to mount, is missing");
        eprintln!("skipped: bindfs, or the right to mount, is missing");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.0).status();
    }
}

/// Resident bytes of this process.
fn memory() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Folders that this process watches.
fn watches() -> usize {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    // A descriptor may be closed meanwhile.
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    texts.map(|text| text.lines().filter(|line| line.starts_with("inotify ")).count()).sum()
}

/// The number of days that `LENSLOG_FOLDER_DAYS` sets, else `days`.
fn days_or(days: usize) -> usize {
    std::env::var("LENSLOG_FOLDER_DAYS").map_or(days, |set| set.parse().unwrap())
}

/// Minutes of so many days in an order of their own: the next one is always far away.
fn shuffled(days: usize) -> impl Iterator<Item = usize> {
    let count = days * MINUTES_A_DAY;
    // Prime to 1440 times any of the numbers of days used here.
    (0..count).map(move |index| index * 7919 % count)
}

/// Pictures of `days` days in the order of `minutes`, in portions that are each taken before the next one comes; now
/// and then a restart, and days that are over are removed.
#[track_caller]
fn run(
    is_mounted: bool,
    place: fn(usize) -> PathBuf,
    minutes: impl Iterator<Item = usize>,
    removes: bool,
) {
    let _alone = alone();
    let Some(mut watched) = Watched::new(is_mounted) else { return };
    let bytes = picture();
    let (mut count, mut start) = (0, None);
    for minute in minutes {
        put(&watched.inside, &place(minute), &bytes);
        count += 1;
        if count % 240 == 0 {
            watched.take_until(count);
        }
        // In the middle of every fifth day.
        if count % (5 * MINUTES_A_DAY) == 720 {
            watched.restart();
        }
        if count % MINUTES_A_DAY == 0 {
            if removes && let Some(day) = (count / MINUTES_A_DAY).checked_sub(3) {
                let day = place(day * MINUTES_A_DAY).ancestors().nth(4).unwrap().to_owned();
                fs::remove_dir_all(watched.inside.join(day)).unwrap();
            }
            assert!(watches() <= WATCHED_FOLDERS_MAX, "{} watches", watches());
            // After the first days every buffer has its size.
            let start = *start.get_or_insert_with(memory);
            let growth = memory().saturating_sub(start);
            assert!(growth < MEMORY_GROWTH_MAX, "{} MB more after {count}", growth >> 20);
        }
    }
    watched.take_until(count);
    watched.expect_no_more();
    println!("{count} pictures, {} watches, {} MB", watches(), memory() >> 20);
}

#[test]
fn days_of_a_folder_a_minute_are_taken_in_order() {
    run(false, place, 0..days_or(DAYS) * MINUTES_A_DAY, false);
}

#[test]
fn days_that_are_removed_meanwhile_do_no_harm() {
    run(false, place, 0..4 * MINUTES_A_DAY, true);
}

#[test]
fn a_folder_a_minute_is_taken_out_of_order() {
    run(false, place, shuffled(2), false);
}

#[test]
fn a_folder_a_day_is_taken() {
    run(false, flat_place, 0..2 * MINUTES_A_DAY, false);
}

#[test]
fn a_folder_a_minute_is_taken_where_changes_are_not_reported() {
    run(true, place, 0..days_or(2) * MINUTES_A_DAY, false);
}

#[test]
fn a_folder_a_minute_is_taken_out_of_order_where_changes_are_not_reported() {
    run(true, place, shuffled(1), false);
}

#[test]
fn what_came_while_nothing_ran_is_taken_once_across_restarts() {
    // Six days are more than one walk finds.
    for (is_mounted, days) in [(false, 6), (true, 1)] {
        let _alone = alone();
        let Some(mut watched) = Watched::new(is_mounted) else { continue };
        let count = days * MINUTES_A_DAY;
        (0..count).for_each(|minute| put(&watched.inside, &place(minute), &picture()));
        for part in 1..=4 {
            watched.restart();
            watched.take_until(count * part / 4);
        }
        watched.expect_no_more();
    }
}

#[test]
fn a_share_below_a_local_folder_is_polled_and_its_old_pictures_stay() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (local, elsewhere) = (directory.path().join("in"), directory.path().join("elsewhere"));
    let share = local.join("share");
    fs::create_dir_all(&share).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    // On both sides of the share in whatever order they are read.
    for name in ["a", "b", "y", "z"] {
        put(&local, &Path::new(name).join("old.jpg"), &picture());
    }
    put(&elsewhere, Path::new("deep/old.jpg"), &picture());
    let Some(_mount) = Mount::new(&elsewhere, &share) else { return };
    let options = DirOptions { settle: Duration::from_millis(20), ..DirOptions::default() };
    let mut source = DirSource::open(&local, options, CancellationToken::new()).unwrap();
    let mut next = || match source.next_item().unwrap().unwrap() {
        SourceItem::Frame(frame) => frame.origin.unwrap(),
        other => panic!("{other:?}"),
    };
    for name in ["deep/new.jpg", "deeper/new.jpg"] {
        put(&elsewhere, Path::new(name), &picture());
        assert_eq!(next(), share.canonicalize().unwrap().join(name));
    }
    put(&local, Path::new("a/new.jpg"), &picture());
    assert!(next().ends_with("in/a/new.jpg"));
}

#[test]
fn slow_uploads_are_taken_whole_where_changes_are_not_reported() {
    let _alone = alone();
    let Some(mut watched) = Watched::new(true) else { return };
    let bytes = picture();
    let folder = watched.inside.clone();
    let uploads = thread::spawn(move || {
        let mut files: Vec<_> = (0..20)
            .map(|index| {
                let path = folder.join(format!("day/{index}.jpg"));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                File::create(path).unwrap()
            })
            .collect();
        for part in bytes.chunks(bytes.len() / 5 + 1) {
            for file in &mut files {
                file.write_all(part).unwrap();
                file.sync_all().unwrap();
            }
            // An upload takes as long as it takes: nothing waits for this.
            thread::sleep(Duration::from_millis(300));
        }
    });
    watched.take_until(20);
    uploads.join().unwrap();
    watched.expect_no_more();
}
