//! Each check and limit of watching, polling and comparing, on real folders. Nothing waits: time is set.

use std::fs::{File, Metadata};
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::super::walk::{SLACK_MICROS, changed_utc_micros};
use super::super::{DirOptions, DirSource, LocalOffset, delivered};
use super::*;
use crate::source::samples::jpeg;
use crate::source::{Source, SourceItem};

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MICROS: i64 = 3_600_000_000;

/// A folder, its watch, and what has arrived. Every file that is there at the start is old.
struct Watched {
    folder: TempDir,
    root: PathBuf,
    watch: FolderWatch,
    arrivals: Arrivals,
    delivered: Delivered,
}

impl Watched {
    /// Nothing is compared unless a test asks for it.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let mut watch =
            FolderWatch::open(folder.path(), first_new_micros(), HOUR, CancellationToken::new())
                .unwrap();
        assert!(watch.next_compare <= Instant::now(), "what came between reading and watching");
        watch.next_compare = Instant::now() + HOUR;
        let root = folder.path().canonicalize().unwrap();
        let arrivals = Arrivals::new(HOUR, HOUR);
        Self { folder, root, watch, arrivals, delivered: Delivered::default() }
    }

    /// Without events of the kernel, and with all known that is there.
    fn polled(prepare: impl FnOnce(&Path)) -> Self {
        let mut watched = Self::new(prepare);
        watched.watch.watcher = None;
        watched.watch.poll_from_now_on("a test asks for it");
        watched.compare();
        watched.poll();
        assert!(watched.arrivals.is_empty() && watched.watch.known.is_complete);
        watched
    }

    fn put(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, jpeg(8, 8, 1)).unwrap();
        path
    }

    /// Goes on until nothing is left to be read.
    fn work(&mut self) {
        loop {
            self.watch.work(&mut self.arrivals, &self.delivered).unwrap();
            let is_idle = self.watch.walk.is_none() && self.watch.scans.is_empty();
            if is_idle && self.watch.found.is_empty() {
                break;
            }
        }
    }

    fn poll(&mut self) {
        self.watch.next_poll = Instant::now();
        self.work();
    }

    fn compare(&mut self) {
        self.watch.next_poll = Instant::now() + HOUR;
        self.watch.next_compare = Instant::now();
        self.work();
    }

    /// The names of what has arrived since the last time.
    fn arrived(&mut self) -> Vec<String> {
        let paths = self.arrivals.paths();
        paths.iter().for_each(|path| self.arrivals.forget(path));
        let mut names: Vec<_> = paths
            .iter()
            .map(|path| path.strip_prefix(&self.root).unwrap().display().to_string())
            .collect();
        names.sort();
        names
    }

    fn known(&self, path: &Path) -> bool {
        self.watch.known.contains(path, &fs::symlink_metadata(path).unwrap())
    }

    fn attends(&self, name: &str) -> bool {
        self.watch.attended.get(&self.root.join(name)).is_some()
    }
}

fn set_modified(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn metadata(path: &Path) -> Metadata {
    fs::metadata(path).unwrap()
}

#[test]
fn a_poll_finds_new_files_and_folders_and_nothing_twice() {
    let mut watched = Watched::polled(|root| {
        fs::create_dir(root.join("day")).unwrap();
        fs::write(root.join("old.jpg"), jpeg(8, 8, 1)).unwrap();
        fs::write(root.join("day/old.jpg"), jpeg(8, 8, 1)).unwrap();
    });
    let new = watched.put("a.jpg");
    watched.put("day/b.jpg");
    watched.put("new/deep/c.jpg");
    watched.put("notes.txt");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("d.jpg"), jpeg(8, 8, 1)).unwrap();
    symlink(elsewhere.path(), watched.root.join("link")).unwrap();
    watched.watch.next_poll = Instant::now() + HOUR;
    watched.work();
    assert!(watched.arrived().is_empty(), "no poll is due");
    watched.poll();
    assert_eq!(watched.arrived(), ["a.jpg", "day/b.jpg", "new/deep/c.jpg"]);
    assert!(watched.known(&new) && watched.attends("new/deep") && !watched.attends("link"));
    watched.watch.poll(&mut watched.arrivals).unwrap();
    assert!(watched.arrived().is_empty() && watched.watch.scans.is_empty());
    fs::remove_dir_all(watched.root.join("new")).unwrap();
    watched.poll();
    assert!(!watched.attends("new") && !watched.attends("new/deep"));
}

#[test]
fn a_poll_waits_until_what_is_there_is_known() {
    let mut watched = Watched::new(|root| fs::write(root.join("old.jpg"), b"").unwrap());
    watched.watch.poll_from_now_on("a test asks for it");
    watched.watch.poll(&mut watched.arrivals).unwrap();
    assert!(watched.arrivals.is_empty(), "what is there is not known");
    assert!(watched.watch.next_compare <= Instant::now());
    watched.work();
    assert!(watched.arrivals.is_empty() && watched.watch.known.is_complete, "it is old");
    watched.watch.poll_from_now_on("another reason");
    watched.watch.next_compare = Instant::now() + HOUR;
    watched.watch.poll_from_now_on("another reason");
    assert!(watched.watch.next_compare > Instant::now(), "it is polled already");
}

#[test]
fn a_poll_ends_when_cancelled_or_when_the_folder_is_replaced() {
    let mut watched = Watched::polled(|_| {});
    watched.put("a.jpg");
    watched.watch.cancel.cancel();
    watched.watch.poll(&mut watched.arrivals).unwrap();
    assert!(watched.arrivals.is_empty());
    fs::rename(&watched.root, watched.root.with_extension("away")).unwrap();
    fs::create_dir(&watched.root).unwrap();
    let polled = watched.watch.poll(&mut watched.arrivals);
    assert!(matches!(polled, Err(SourceError::FolderGone { .. })));
    fs::remove_dir_all(watched.root.with_extension("away")).unwrap();
    drop(watched.folder);
}

#[test]
fn a_large_folder_is_read_only_after_a_change_of_it() {
    let mut watched = Watched::polled(|root| {
        for index in 0..300 {
            fs::write(root.join(format!("{index}.jpg")), b"").unwrap();
        }
    });
    // It was read often enough since its last change.
    (0..4).for_each(|_| watched.poll());
    let path = watched.put("7.jpg");
    watched.poll();
    assert!(watched.arrived().is_empty(), "it is left to the comparison");
    // A file that is waited for is looked at all the same.
    let path = path.with_file_name("8.jpg");
    watched.arrivals.written(path.clone(), Instant::now());
    fs::write(&path, jpeg(8, 8, 1)).unwrap();
    watched.poll();
    assert!(watched.known(&path));
    watched.arrived();
    // Two changes in one tick of its clock are seen as one.
    watched.put("new.jpg");
    let modified = metadata(&watched.root).modified().unwrap();
    watched.poll();
    watched.put("newer.jpg");
    set_modified(&watched.root, modified);
    watched.poll();
    assert_eq!(watched.arrived(), ["7.jpg", "new.jpg", "newer.jpg"]);
}

#[test]
fn a_small_folder_is_read_at_every_poll() {
    let mut watched = Watched::polled(|root| fs::write(root.join("a.jpg"), b"").unwrap());
    (0..5).for_each(|_| watched.poll());
    watched.put("a.jpg");
    watched.poll();
    assert_eq!(watched.arrived(), ["a.jpg"]);
}

#[test]
fn a_poll_leaves_what_has_no_room_for_a_later_one() {
    let mut watched = Watched::polled(|_| {});
    let fill = |arrivals: &mut Arrivals| {
        (0..ARRIVALS_MAX).for_each(|index| {
            arrivals.written(watched_name(index), Instant::now());
        });
    };
    fill(&mut watched.arrivals);
    let new = watched.put("a.jpg");
    watched.watch.poll(&mut watched.arrivals).unwrap();
    assert!(!watched.known(&new) && !watched.arrivals.take_missed());
    let waited_for = watched.root.join("waited_for.jpg");
    watched.arrivals.forget(&watched_name(0));
    watched.arrivals.written(waited_for.clone(), Instant::now());
    watched.put("waited_for.jpg");
    watched.watch.poll(&mut watched.arrivals).unwrap();
    assert!(watched.known(&waited_for), "it has a place");
    (0..ARRIVALS_MAX).for_each(|index| watched.arrivals.forget(&watched_name(index)));
    watched.arrivals.forget(&waited_for);
    watched.poll();
    assert_eq!(watched.arrived(), ["a.jpg"]);
}

fn watched_name(index: usize) -> PathBuf {
    format!("/elsewhere/{index}.jpg").into()
}

#[test]
fn a_folder_is_new_by_its_own_clock_with_some_slack() {
    let folder = tempfile::tempdir().unwrap();
    // Moved in: its content is old, its place is new.
    set_modified(folder.path(), UNIX_EPOCH);
    let found = metadata(folder.path());
    let changed = changed_utc_micros(&found) * 1000;
    let is_new = |before| poll::is_new_folder(&found, before);
    assert!(is_new(Some(changed)) && is_new(Some(changed + SLACK_MICROS * 1000)));
    assert!(!is_new(Some(changed + 2 * SLACK_MICROS * 1000)) && !is_new(None));
}

#[test]
fn old_folders_are_not_taken_up_by_a_poll() {
    let mut watched = Watched::polled(|root| fs::create_dir(root.join("old")).unwrap());
    watched.watch.attended.forget(&watched.root.join("old"));
    set_modified(&watched.root, SystemTime::now() + 10 * HOUR);
    let changed = changed_ns(&metadata(&watched.root));
    watched.watch.attended.get_mut(&watched.root).unwrap().changed = Some(changed);
    watched.poll();
    assert!(!watched.attends("old"));
    // A folder in one that was attended just now is new.
    let new = watched.root.join("new");
    fs::create_dir(&new).unwrap();
    watched.watch.attend(&new).unwrap();
    fs::create_dir(new.join("deep")).unwrap();
    watched.watch.poll(&mut watched.arrivals).unwrap();
    assert!(watched.attends("new/deep"));
}

#[test]
fn pauses_grow_with_the_time_that_reading_takes() {
    assert_eq!(pause_after_poll(Duration::ZERO), POLL_INTERVAL);
    assert_eq!(pause_after_poll(Duration::from_secs(2)), Duration::from_secs(20));
    let mut watched = Watched::new(|_| {});
    assert_eq!(watched.watch.pause_after_walk(Duration::ZERO), HOUR);
    assert_eq!(watched.watch.pause_after_walk(HOUR), 20 * HOUR);
    watched.watch.poll_from_now_on("a test asks for it");
    assert_eq!(watched.watch.pause_after_walk(Duration::ZERO), HOUR / 10);
    // Work is due at once, or when there is room, or at the next poll.
    let now = Instant::now();
    watched.watch.next_compare = now + HOUR;
    watched.watch.next_poll = now + HOUR / 2;
    assert_eq!(watched.watch.next_work(&watched.arrivals), now + HOUR / 2);
    watched.watch.found.push_back("a.jpg".into());
    assert!(watched.watch.next_work(&watched.arrivals) <= Instant::now());
    (0..ARRIVALS_MAX).for_each(|index| watched.arrivals.written(watched_name(index), now));
    let next = watched.watch.next_work(&watched.arrivals);
    assert!(next > now + POLL_INTERVAL / 2 && next < now + HOUR / 2);
    watched.watch.work(&mut watched.arrivals, &watched.delivered).unwrap();
    assert_eq!(watched.watch.found.len(), 1, "there is no room");
}

#[test]
fn folders_are_attended_where_something_happens_within_the_limit() {
    let mut watched = Watched::new(|root| fs::create_dir_all(root.join("day/hour")).unwrap());
    assert!(watched.attends("day/hour"), "it is there at the start");
    let gone = watched.root.join("gone");
    watched.watch.attend(&gone).unwrap();
    assert!(!watched.attends("gone"), "it was removed since it was reported");
    watched.watch.forget(&watched.root.join("day"));
    assert!(!watched.attends("day") && !watched.attends("day/hour"));
    watched.watch.touch(&watched.root.join("day/a.jpg")).unwrap();
    assert!(watched.attends("day") && !watched.attends("day/hour"));
    // With a file that a comparison finds.
    watched.put("day/hour/a.jpg");
    watched.compare();
    assert!(watched.attends("day/hour"));
    for index in 0..2 * POLLED_FOLDERS_MAX {
        let path = watched.root.join(index.to_string());
        fs::create_dir(&path).unwrap();
        watched.watch.attend(&path).unwrap();
    }
    assert!(watched.watch.watched() > POLLED_FOLDERS_MAX);
    watched.watch.poll_from_now_on("a test asks for it");
    watched.watch.attend(&watched.root.clone()).unwrap();
    assert_eq!(watched.watch.watched(), POLLED_FOLDERS_MAX);
}

#[test]
fn a_folder_that_appears_is_read_with_all_below_it() {
    let mut watched = Watched::new(|_| {});
    watched.put("new/deep/a.jpg");
    let new = watched.root.join("new");
    watched.watch.add(&new).unwrap();
    watched.watch.add(&new).unwrap();
    assert!(watched.attends("new") && watched.watch.scans.len() == 1);
    watched.work();
    assert!(watched.attends("new/deep"));
    assert_eq!(watched.arrived(), ["new/deep/a.jpg"]);
    // More than are kept are found by reading everything.
    let scan = |index: usize| Scan {
        folder: watched_name(index),
        since: None,
        is_full: false,
        is_first: false,
    };
    watched.watch.scans.extend((0..SCANS_MAX).map(scan));
    watched.watch.add(&new).unwrap();
    assert_eq!(watched.watch.scans.len(), SCANS_MAX);
    assert!(watched.watch.missed.load(Ordering::Acquire));
}

#[test]
fn everything_is_read_once_at_a_time() {
    let mut watched = Watched::new(|_| {});
    watched.watch.scan_all(false);
    watched.watch.scan_all(false);
    assert_eq!(watched.watch.scans.len(), 1);
    let scan = watched.watch.scans.pop_front().unwrap();
    // A walk is under way, or a folder waits: no comparison begins.
    watched.watch.next_compare = Instant::now();
    (0..ARRIVALS_MAX)
        .for_each(|index| watched.arrivals.written(watched_name(index), Instant::now()));
    watched.watch.walk = Some(Walk::begin(scan.clone(), 0));
    watched.watch.work(&mut watched.arrivals, &watched.delivered).unwrap();
    assert!(watched.watch.scans.is_empty());
    watched.watch.walk = None;
    watched.watch.scans.push_back(Scan { is_full: false, ..scan });
    watched.watch.work(&mut watched.arrivals, &watched.delivered).unwrap();
    assert_eq!(watched.watch.scans.len(), 1);
}

#[test]
fn what_the_kernel_did_not_report_means_polling() {
    let is_polled = |act: &dyn Fn(&mut Watched, &Path)| {
        let mut watched = Watched::new(|_| {});
        watched.watch.unheard = 0;
        let path = watched.root.join("a.jpg");
        act(&mut watched, &path);
        // The clock of files is coarse.
        while changed_utc_micros(&metadata(&watched.root)) >= utc_micros_now() - 1 {}
        watched.compare();
        watched.watch.is_polled
    };
    let put = |path: &Path| fs::write(path, jpeg(8, 8, 1)).unwrap();
    let attended_before = |watched: &mut Watched| {
        watched.watch.attended.get_mut(&watched.root).unwrap().since = 0;
    };
    assert!(is_polled(&|watched, path| {
        attended_before(watched);
        put(path);
    }));
    assert!(!is_polled(&|watched, path| {
        put(path);
        watched.watch.attended.get_mut(&watched.root).unwrap().since = i64::MAX;
    }));
    assert!(!is_polled(&|watched, path| {
        attended_before(watched);
        put(path);
        watched.arrivals.written(path.into(), Instant::now());
    }));
    assert!(!is_polled(&|watched, path| {
        attended_before(watched);
        put(path);
        watched.watch.unheard = UNHEARD_MICROS;
    }));
    assert!(!is_polled(&|watched, path| {
        attended_before(watched);
        put(path);
        let identity = delivered::Identity::of(&metadata(path));
        watched.delivered.remember(delivered::Keys::of(path, identity));
    }));
    assert!(!is_polled(&|watched, path| {
        attended_before(watched);
        symlink("/no/such/picture.jpg", path).unwrap();
    }));
}

#[test]
fn times_are_right_where_the_clock_was_set() {
    let mut watched = Watched::new(|_| {});
    let now = utc_micros_now();
    watched.watch.caught_up_at = (now + HOUR_MICROS, Instant::now());
    assert!(watched.watch.since() <= utc_micros_now(), "set back since");
    watched.watch.caught_up_at = (now - HOUR_MICROS, Instant::now());
    assert_eq!(watched.watch.since(), now - HOUR_MICROS);
    (watched.watch.floor, watched.watch.opened_at) = (5_000_000, 1);
    assert_eq!(watched.watch.scanned_since(9_000_000), 9_000_000 - SLACK_MICROS);
    assert_eq!(watched.watch.scanned_since(6_000_000), 5_000_000, "what was there before");
    watched.watch.opened_at = now + HOUR_MICROS;
    assert_eq!(watched.watch.scanned_since(6_000_000), 6_000_000 - SLACK_MICROS);
}

#[test]
fn a_file_that_comes_after_the_start_is_dated_after_it() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..20 {
        let first = first_new_micros();
        let path = folder.path().join(index.to_string());
        fs::write(&path, b"").unwrap();
        assert!(changed_utc_micros(&metadata(&path)) >= first);
    }
}

#[test]
fn files_of_a_share_are_new_by_either_of_their_times() {
    let mut watched = Watched::new(|_| {});
    watched.watch.poll_from_now_on("a test asks for it");
    let path = watched.put("a.jpg");
    let since = Some(utc_micros_now() + HOUR_MICROS);
    let scan = Scan { folder: watched.root.clone(), since, is_full: true, is_first: true };
    set_modified(&path, SystemTime::now() + 2 * HOUR);
    assert!(!watched.watch.wants_first(&scan, &path, &metadata(&path)), "dated here");
    assert!(watched.known(&path), "what is not new is known");
    watched.watch.file_system.is_dated_here = false;
    assert!(watched.watch.wants_first(&scan, &path, &metadata(&path)));
}

#[test]
fn a_share_below_the_folder_is_polled() {
    let mut watched = Watched::new(|_| {});
    watched.watch.check_file_system(&watched.root.clone());
    assert!(!watched.watch.is_polled && watched.watch.is_dated_here());
    // A file system that every Linux has, and of which nothing is known.
    watched.watch.check_file_system(Path::new("/proc/self"));
    assert!(watched.watch.is_polled && !watched.watch.is_dated_here());
}

#[test]
fn a_walk_that_ends_says_up_to_when_all_was_found() {
    let mut watched = Watched::new(|root| fs::write(root.join("a.jpg"), b"").unwrap());
    let walk = |watched: &Watched| {
        let folder = watched.root.clone();
        let scan = Scan { folder, since: None, is_full: true, is_first: false };
        let mut walk = Walk::begin(scan, 1234);
        assert!(walk.step(Instant::now() + HOUR, &mut |_, _| true));
        walk
    };
    // Some of it could not be read, or the folder is another one now: nothing is certain.
    let mut failed = walk(&watched);
    failed.has_failed = true;
    watched.watch.mark = None;
    let caught_up_at = watched.watch.caught_up_at;
    watched.watch.compare = Duration::ZERO;
    let root_file = std::mem::take(&mut watched.watch.root_file);
    let replaced = walk(&watched);
    watched.watch.finish_walk(replaced);
    watched.watch.root_file = root_file;
    watched.watch.finish_walk(failed);
    assert_eq!((watched.watch.mark, watched.watch.caught_up_at), (None, caught_up_at));
    assert!(watched.watch.next_compare > Instant::now() + POLL_INTERVAL / 2, "not at once");

    let whole = walk(&watched);
    let (newest, began) = (whole.newest, whole.began);
    watched.watch.finish_walk(whole);
    assert_eq!((watched.watch.take_mark(), watched.watch.mark), (None, Some(1234)), "not yet");
    watched.watch.found.clear();
    assert_eq!((watched.watch.take_mark(), watched.watch.caught_up_at), (Some(1234), began));

    // Of a share whose clock is behind.
    watched.watch.file_system.is_dated_here = false;
    let mut late = walk(&watched);
    late.began.0 = i64::MAX;
    watched.watch.finish_walk(late);
    assert_eq!(watched.watch.mark, Some(newest));

    // More than one walk finds: it goes on after the last one.
    watched.watch.file_system.is_dated_here = true;
    watched.watch.mark = None;
    let mut cut = walk(&watched);
    cut.is_cut = true;
    watched.watch.finish_walk(cut);
    assert_eq!(watched.watch.mark, Some(newest));
    assert!(watched.watch.walk.take().is_some());
    watched.watch.mark = None;
    watched.watch.is_polled = true;
    let mut cut = walk(&watched);
    cut.is_cut = true;
    watched.watch.finish_walk(cut);
    assert_eq!(watched.watch.mark, None, "the order is not that of changes");
    assert!(!watched.watch.known.is_complete);
    let later = walk(&watched);
    watched.watch.finish_walk(later);
    assert!(!watched.watch.known.is_complete, "only a first walk knows what is old");
}

#[test]
fn files_that_are_gone_are_no_longer_known() {
    let mut watched = Watched::polled(|root| {
        fs::write(root.join("old.jpg"), b"").unwrap();
        fs::write(root.join("stays.jpg"), b"").unwrap();
    });
    let (old, stays) = (watched.root.join("old.jpg"), watched.root.join("stays.jpg"));
    let found = metadata(&old);
    fs::remove_file(&old).unwrap();
    watched.put("new.jpg");
    // What is not known is new, whatever its times say.
    watched.watch.floor = i64::MAX;
    watched.compare();
    assert!(!watched.watch.known.contains(&old, &found) && watched.known(&stays));
    assert!(watched.known(&watched.root.join("new.jpg")));
    assert_eq!(watched.arrived(), ["new.jpg"], "what is known is not found again");
}

#[test]
fn a_file_that_found_no_room_is_found_by_reading_everything() {
    let mut watched = Watched::new(|_| {});
    (0..ARRIVALS_MAX)
        .for_each(|index| watched.arrivals.written(watched_name(index), Instant::now()));
    let path = watched.put("a.jpg");
    watched.arrivals.written(path, Instant::now());
    (0..ARRIVALS_MAX).for_each(|index| watched.arrivals.forget(&watched_name(index)));
    // Time is up: reading waits, so that news is heard.
    watched.watch.scan_all(false);
    watched.watch.search(Instant::now(), &mut watched.arrivals, &watched.delivered).unwrap();
    assert_eq!(watched.watch.scans.len(), 1);
    watched.watch.scans.clear();
    watched.work();
    assert_eq!(watched.arrived(), ["a.jpg"]);
}

#[test]
fn the_last_of_more_than_fit_are_kept() {
    let mut kept = std::collections::BTreeSet::new();
    [3, 9, 1, 7].into_iter().for_each(|one| compare::keep_last(&mut kept, one, 2));
    assert!(kept.into_iter().eq([7, 9]));
}

#[test]
fn a_kernel_without_watches_means_polling() {
    let mut watched = Watched::new(|_| {});
    watched.watch.use_watcher(Err(notify::Error::generic("too many instances")));
    assert!(watched.watch.is_polled);
    let mut watched = Watched::new(|_| {});
    let no_room = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
    watched.watch.refused_watch(&watched.root.clone(), &no_room).unwrap();
    assert!(watched.watch.is_polled);
    let other = notify::Error::generic("it fails");
    assert!(watched.watch.refused_watch(&watched.root.clone(), &other).is_err());
    assert!(watched.watch.queue.offer(Heard::Failed(other)).is_ok());
    assert!(watched.watch.news(Some(Instant::now())).is_err());
}

/// A source of that folder, which takes files after an hour.
fn source(folder: &Path, options: DirOptions) -> DirSource {
    let mut source = DirSource::open(folder, options, CancellationToken::new()).unwrap();
    source.watch.next_compare = Instant::now() + HOUR;
    source
}

fn options(memory: Option<PathBuf>) -> DirOptions {
    let local_offset = LocalOffset::FixedMinutes(60);
    DirOptions { settle: HOUR, compare: HOUR, memory, local_offset, ..DirOptions::default() }
}

#[test]
fn news_moves_folders_up_and_forgets_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for name in ["one", "other"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let mut source = source(folder.path(), options(None));
    for (name, news) in [
        ("one", News::Written as fn(PathBuf) -> News),
        ("other", News::Written),
        ("one", News::Finished),
    ] {
        source.hear(news(root.join(name).join("a.jpg"))).unwrap();
        let paths = source.watch.attended.paths();
        assert_eq!(paths[paths.len() - 2], root.join(name), "the folder is last, then the root");
    }
    let path = root.join("one/a.jpg");
    source.hear(News::Renamed(path.clone())).unwrap();
    source.hear(News::Gone(root.join("other"))).unwrap();
    assert!(!source.arrivals.contains(&path));
    assert!(source.watch.attended.get(&root.join("other")).is_none());
}

#[test]
fn a_folder_that_was_replaced_without_news_ends_the_source() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("in");
    fs::create_dir(&folder).unwrap();
    let mut source = source(&folder, options(None));
    source.watch.watcher = None;
    fs::rename(&folder, parent.path().join("away")).unwrap();
    fs::create_dir(&folder).unwrap();
    // Nothing that the kernel may still report is heard.
    source.watch.queue = BoundedQueue::new(1, CancellationToken::new());
    source.next_check = Instant::now();
    source.watch.next_compare = Instant::now() + HOUR;
    assert!(matches!(source.next_item(), Err(SourceError::FolderGone { .. })));
}

#[test]
fn memory_says_up_to_when_all_was_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let memory = folder.path().join("memory");
    let mut source = source(folder.path(), options(Some(memory.clone())));
    let marks = || fs::read_to_string(&memory).unwrap().matches("\nmark ").count();
    source.watch.mark = Some(5);
    source.arrivals.written("a.jpg".into(), Instant::now());
    source.remember_mark();
    assert_eq!(marks(), 0, "a file is waited for");
    source.arrivals.forget(Path::new("a.jpg"));
    source.remember_mark();
    source.watch.mark = Some(5);
    source.remember_mark();
    assert_eq!(marks(), 1, "it is said once");
}

#[test]
fn the_older_of_two_times_to_go_on_from_counts() {
    let folder = tempfile::tempdir().unwrap();
    let memory = folder.path().join("memory");
    let floor = |since: Option<i64>, mark: i64| {
        fs::write(&memory, format!("begun 42\nmark {mark}\n")).unwrap();
        source(folder.path(), DirOptions { since, ..options(Some(memory.clone())) }).watch.floor
    };
    assert_eq!(floor(Some(9_000_000), 5_000_000), 5_000_000 - SLACK_MICROS);
    assert_eq!(floor(Some(9_000_000), 50_000_000), 9_000_000 - SLACK_MICROS);
    assert_eq!(floor(None, 50_000_000), 50_000_000 - SLACK_MICROS);
}

#[test]
fn what_was_handed_over_is_remembered_when_the_next_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let memory = folder.path().join("memory");
    let taken = || fs::read_to_string(&memory).unwrap().matches("\ntaken ").count();
    let mut source = source(folder.path(), options(Some(memory.clone())));
    let path = folder.path().join("a.jpg");
    fs::write(&path, jpeg(8, 8, 1)).unwrap();
    let early = super::super::arrivals::Stage::Early;
    let found = source.try_file(path.clone(), early);
    assert!(matches!(found, Some(SourceItem::Frame(_))));
    assert_eq!(taken(), 0);
    // The same bytes in a new version: known, and not read again.
    set_modified(&path, UNIX_EPOCH);
    assert!(source.try_file(path.clone(), early).is_none());
    let keys = delivered::Keys::of(&path, delivered::Identity::of(&metadata(&path)));
    assert!(source.delivered.contains(keys));
    assert_eq!(taken(), 1, "the first");
    source.cancel.cancel();
    assert!(source.next_item().unwrap().is_none());
    assert_eq!(taken(), 2);
    // A picture that is refused is not reported twice.
    fs::write(&path, b"no picture").unwrap();
    let found = source.try_file(path.clone(), early);
    assert!(matches!(found, Some(SourceItem::Problem(_))));
    assert!(source.try_file(path, early).is_none());
}
