//! Files that appear in a real folder, in all the ways they do.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::*;
use crate::source::FRAME_BYTES_MAX;
use crate::source::samples::{exif_segment, jpeg, with_segment};

/// A watched folder. The settling time and the stall timeout are short, so that tests do not wait for long; nothing depends on
/// how short.
fn watched() -> (TempDir, DirSource) {
    let folder = tempfile::tempdir().unwrap();
    let source = open(folder.path());
    (folder, source)
}

fn open(path: &Path) -> DirSource {
    open_with(path, options())
}

fn open_with(path: &Path, options: DirOptions) -> DirSource {
    DirSource::open(path, options, CancellationToken::new()).unwrap()
}

fn options() -> DirOptions {
    DirOptions {
        settle: Duration::from_millis(20),
        stall_timeout: Duration::from_millis(100),
        local_offset: LocalOffset::FixedMinutes(60),
        ..DirOptions::default()
    }
}

fn next(source: &mut DirSource) -> SourceItem {
    source.next_item().unwrap().expect("it waits for more")
}

fn next_frame(source: &mut DirSource) -> Frame {
    match next(source) {
        SourceItem::Frame(frame) => frame,
        SourceItem::Problem(problem) => panic!("{problem}"),
    }
}

/// The file name of the next frame.
fn next_name(source: &mut DirSource) -> String {
    let origin = next_frame(source).origin.unwrap();
    origin.file_name().unwrap().to_string_lossy().into_owned()
}

fn next_problem(source: &mut DirSource) -> FrameProblem {
    match next(source) {
        SourceItem::Problem(problem) => problem,
        SourceItem::Frame(frame) => panic!("{frame:?}"),
    }
}

#[test]
fn a_picture_that_is_written_is_handed_over_with_its_place() {
    let (folder, mut source) = watched();
    let path = folder.path().canonicalize().unwrap().join("a.JPG");
    fs::write(&path, jpeg(32, 24, 1)).unwrap();
    let frame = next_frame(&mut source);
    assert_eq!((frame.number, frame.picture.dimensions()), (0, (32, 24)));
    assert_eq!(frame.origin.as_deref(), Some(path.as_path()));
    fs::write(folder.path().join("b.jpeg"), jpeg(16, 24, 1)).unwrap();
    assert_eq!(next_frame(&mut source).number, 1);
}

#[test]
fn what_was_there_before_is_not_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old.jpg"), jpeg(32, 24, 1)).unwrap();
    let mut source = open(folder.path());
    fs::write(folder.path().join("new.jpg"), jpeg(32, 24, 1)).unwrap();
    assert_eq!(next_name(&mut source), "new.jpg");
}

#[test]
fn the_time_is_that_of_the_camera_or_else_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ClockSettings { time: PictureTime::Claimed, ..ClockSettings::default() };
    let mut source = open_with(folder.path(), DirOptions { clock, ..options() });
    let dated =
        with_segment(&jpeg(32, 24, 1), 0xE1, &exif_segment("2026:11:23 14:32:15", "", "+09:00"));
    fs::write(folder.path().join("a.jpg"), dated).unwrap();
    assert_eq!(next_frame(&mut source).time.to_string(), "2026-11-23T14:32:15+09:00");
    // Set before the file has its name.
    let hidden = folder.path().join("undated");
    fs::write(&hidden, jpeg(32, 24, 1)).unwrap();
    let modified = std::time::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
    File::options().write(true).open(&hidden).unwrap().set_modified(modified).unwrap();
    fs::rename(&hidden, folder.path().join("b.jpg")).unwrap();
    let time = loop {
        if let SourceItem::Frame(frame) = next(&mut source) {
            break frame.time;
        }
    };
    assert_eq!(time.to_string(), "2023-11-14T23:13:20.250+01:00");
}

#[test]
fn an_upload_under_a_temporary_name_is_handed_over_once_it_has_its_own() {
    let (folder, mut source) = watched();
    for (width, temporary) in (8..).zip(["a.jpg.part", ".a.jpg", ".in.a.jpg."]) {
        let path = folder.path().join(temporary);
        // Of another size each time: two uploads in the same tick of the file system's clock look alike.
        fs::write(&path, jpeg(8 * width, 24, 1)).unwrap();
        let problem = next_problem(&mut source);
        assert!(problem.place.ends_with(temporary) && !problem.is_lost_picture(), "{problem}");
        fs::rename(&path, folder.path().join("a.jpg")).unwrap();
        assert_eq!(next_name(&mut source), "a.jpg");
    }
}

#[test]
fn a_picture_moved_in_or_linked_in_from_elsewhere_is_handed_over() {
    let (folder, mut source) = watched();
    let elsewhere = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
    let made = elsewhere.path().join("made.jpg");
    fs::write(&made, jpeg(32, 24, 1)).unwrap();
    fs::hard_link(&made, folder.path().join("linked.jpg")).unwrap();
    assert_eq!(next_name(&mut source), "linked.jpg");
    let other = elsewhere.path().join("other.jpg");
    fs::write(&other, jpeg(32, 24, 3)).unwrap();
    fs::rename(&other, folder.path().join("moved.jpg")).unwrap();
    assert_eq!(next_name(&mut source), "moved.jpg");
}

#[test]
fn a_picture_that_arrives_in_parts_is_handed_over_when_it_is_whole() {
    let (folder, mut source) = watched();
    let bytes = jpeg(64, 48, 1);
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let mut upload = File::create(folder.path().join("a.jpg")).unwrap();
    upload.write_all(head).unwrap();
    // Whatever the source makes of the half, the other file comes first.
    fs::write(folder.path().join("b.jpg"), jpeg(32, 24, 1)).unwrap();
    assert_eq!(next_name(&mut source), "b.jpg");
    upload.write_all(tail).unwrap();
    drop(upload);
    let name = loop {
        // On a machine that stood still in between, the stall timeout of the half has passed.
        if let SourceItem::Frame(frame) = next(&mut source) {
            break frame.origin.unwrap();
        }
    };
    assert!(name.ends_with("a.jpg"));
}

#[test]
fn a_picture_whose_writer_never_closes_it_is_handed_over_when_it_has_settled() {
    let (folder, mut source) = watched();
    let mut upload = File::create(folder.path().join("a.jpg")).unwrap();
    upload.write_all(&jpeg(64, 48, 1)).unwrap();
    assert_eq!(next_name(&mut source), "a.jpg");
    // Closing it now makes no second one.
    drop(upload);
    fs::write(folder.path().join("b.jpg"), jpeg(32, 24, 1)).unwrap();
    assert_eq!(next_name(&mut source), "b.jpg");
}

#[test]
fn a_picture_that_is_never_whole_is_reported_at_the_stall_timeout() {
    let (folder, mut source) = watched();
    let whole = jpeg(64, 48, 1);
    fs::write(folder.path().join("cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    let problem = next_problem(&mut source);
    assert!(problem.place.ends_with("cut.jpg") && problem.is_lost_picture(), "{problem}");
    assert!(matches!(problem.fault, PictureFault::Truncated { .. }), "{problem}");
    fs::write(folder.path().join("empty.png"), b"").unwrap();
    assert_eq!(next_problem(&mut source).fault, PictureFault::Truncated { bytes: 0 });
}

#[test]
fn what_is_no_picture_is_reported_at_once_with_a_reason() {
    let (folder, mut source) = watched();
    fs::write(folder.path().join("notes.txt"), b"hello").unwrap();
    let problem = next_problem(&mut source).to_string();
    assert!(problem.ends_with("notes.txt: ignored: its name does not end in .jpg, .jpeg or .png"));
    fs::write(folder.path().join("page.jpg"), b"<html>not found</html>").unwrap();
    let problem = next_problem(&mut source);
    assert!(problem.is_lost_picture());
    let problem = problem.to_string();
    let expected = "page.jpg: the picture cannot be decoded: neither JPEG nor PNG";
    assert!(problem.ends_with(expected), "{problem}");
    File::create(folder.path().join("huge.jpg"))
        .unwrap()
        .set_len(FRAME_BYTES_MAX as u64 + 1)
        .unwrap();
    assert_eq!(next_problem(&mut source).fault, PictureFault::TooManyBytes);
}

#[test]
fn a_picture_that_is_deleted_at_once_is_reported() {
    let (folder, mut source) = watched();
    let path = folder.path().join("a.jpg");
    fs::write(&path, jpeg(32, 24, 1)).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(next_problem(&mut source).fault, PictureFault::Vanished);
    fs::write(folder.path().join("b.jpg"), jpeg(32, 24, 1)).unwrap();
    assert_eq!(next_name(&mut source), "b.jpg");
}

#[test]
fn a_picture_is_handed_over_once_until_it_is_written_again() {
    let (folder, mut source) = watched();
    let (path, renamed) = (folder.path().join("a.jpg"), folder.path().join("z.jpg"));
    fs::write(&path, jpeg(32, 24, 1)).unwrap();
    assert_eq!(next_name(&mut source), "a.jpg");
    // Opened for writing and closed, and renamed: the same picture.
    drop(File::options().write(true).open(&path).unwrap());
    fs::rename(&path, &renamed).unwrap();
    fs::write(&path, jpeg(16, 12, 2)).unwrap();
    assert_eq!(next_frame(&mut source).picture.dimensions(), (16, 12));
    fs::write(&path, jpeg(8, 12, 3)).unwrap();
    assert_eq!(next_frame(&mut source).picture.dimensions(), (8, 12));
}

#[test]
fn subfolders_that_appear_later_are_watched_with_all_that_is_in_them() {
    let (folder, mut source) = watched();
    let day = folder.path().join("2026/11/23");
    fs::create_dir_all(&day).unwrap();
    fs::write(day.join("a.jpg"), jpeg(32, 24, 1)).unwrap();
    assert_eq!(next_name(&mut source), "a.jpg");
    fs::write(day.join("b.jpg"), jpeg(32, 24, 1)).unwrap();
    assert_eq!(next_name(&mut source), "b.jpg");
    let elsewhere = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
    fs::create_dir(elsewhere.path().join("in")).unwrap();
    fs::write(elsewhere.path().join("in/c.jpg"), jpeg(32, 24, 1)).unwrap();
    fs::rename(elsewhere.path().join("in"), folder.path().join("in")).unwrap();
    assert_eq!(next_name(&mut source), "c.jpg");
    fs::remove_dir_all(folder.path().join("in")).unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("in/d.jpg"), jpeg(32, 24, 1)).unwrap();
    let name = loop {
        if let SourceItem::Frame(frame) = next(&mut source) {
            break frame.origin.unwrap();
        }
    };
    assert!(name.ends_with("d.jpg"));
}

#[test]
fn more_pictures_than_are_kept_are_all_handed_over_once() {
    let (folder, mut source) = watched();
    let count = arrivals::ARRIVALS_MAX * 2 + 100;
    let bytes = jpeg(8, 8, 1);
    for index in 0..count {
        fs::write(folder.path().join(format!("{index:05}.jpg")), &bytes).unwrap();
    }
    let mut names: Vec<_> = (0..count).map(|_| next_name(&mut source)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    fs::write(folder.path().join("last.jpg"), &bytes).unwrap();
    assert_eq!(next_name(&mut source), "last.jpg");
}

#[test]
fn a_picture_whose_news_was_lost_among_too_many_is_found() {
    let (folder, mut source) = watched();
    let mut others =
        ["one.txt", "two.txt"].map(|name| File::create(folder.path().join(name)).unwrap());
    // No one hears it meanwhile.
    while !source.watch.missed.load(Ordering::Acquire) {
        others.iter_mut().for_each(|other| other.write_all(b"x").unwrap());
    }
    fs::write(folder.path().join("lost.jpg"), jpeg(32, 24, 1)).unwrap();
    let name = loop {
        if let SourceItem::Frame(frame) = next(&mut source) {
            break frame.origin.unwrap();
        }
    };
    assert!(name.ends_with("lost.jpg"));
}

#[test]
fn a_folder_that_goes_away_ends_the_source() {
    for rename in [false, true] {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("in");
        fs::create_dir(&folder).unwrap();
        let mut source = open(&folder);
        if rename {
            fs::rename(&folder, parent.path().join("out")).unwrap();
        } else {
            fs::remove_dir(&folder).unwrap();
        }
        assert!(matches!(source.next_item(), Err(SourceError::FolderGone { .. })));
        assert!(matches!(source.next_item(), Ok(None)));
    }
}

#[test]
fn what_comes_while_the_folder_is_away_is_handed_over_once_it_is_back_and_nothing_twice() {
    for replace in [false, true] {
        let parent = tempfile::tempdir().unwrap();
        let (folder, away) = (parent.path().join("in"), parent.path().join("away"));
        fs::create_dir(&folder).unwrap();
        let mut source = open(&folder);
        fs::write(folder.join("one.jpg"), jpeg(32, 24, 1)).unwrap();
        assert_eq!(next_name(&mut source), "one.jpg");
        fs::rename(&folder, &away).unwrap();
        assert!(source.next_item().is_err());
        assert!(source.reopen().is_err(), "it is not back");
        if replace {
            fs::create_dir(&folder).unwrap();
            // A copy that keeps its times, as `cp -a` makes it, is no other picture.
            let copy = folder.join("one.jpg");
            fs::copy(away.join("one.jpg"), &copy).unwrap();
            let modified = away.join("one.jpg").metadata().unwrap().modified().unwrap();
            File::options().write(true).open(copy).unwrap().set_modified(modified).unwrap();
            fs::create_dir(folder.join("deeper")).unwrap();
            fs::write(folder.join("deeper/two.jpg"), jpeg(48, 24, 1)).unwrap();
        } else {
            fs::create_dir(away.join("deeper")).unwrap();
            fs::write(away.join("deeper/two.jpg"), jpeg(48, 24, 1)).unwrap();
            fs::rename(&away, &folder).unwrap();
        }
        assert!(source.reopen().unwrap());
        assert_eq!(next_name(&mut source), "two.jpg");
        fs::write(folder.join("three.jpg"), jpeg(32, 48, 1)).unwrap();
        assert_eq!(next_name(&mut source), "three.jpg");
    }
}

#[test]
fn what_has_come_into_a_folder_since_a_time_is_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jpg"), jpeg(32, 24, 1)).unwrap();
    let changed = fs::metadata(folder.path().join("a.jpg")).unwrap();
    let changed = changed.ctime() * 1_000_000;
    let open = |since| {
        let options =
            DirOptions { since: Some(since), settle: Duration::ZERO, ..DirOptions::default() };
        DirSource::open(folder.path(), options, CancellationToken::new()).unwrap()
    };
    assert_eq!(next_name(&mut open(changed)), "a.jpg");
    let mut source = open(changed + 3_600_000_000);
    fs::write(folder.path().join("b.jpg"), jpeg(32, 24, 1)).unwrap();
    assert_eq!(next_name(&mut source), "b.jpg");
}

#[test]
fn a_folder_that_was_replaced_is_noticed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("in");
    fs::create_dir(&folder).unwrap();
    let source = open(&folder);
    assert!(source.watch.check_folder().is_ok());
    fs::rename(&folder, parent.path().join("out")).unwrap();
    fs::create_dir(&folder).unwrap();
    assert!(matches!(source.watch.check_folder(), Err(SourceError::FolderGone { .. })));
}

#[test]
fn what_is_no_folder_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.mjpeg");
    fs::write(&file, b"x").unwrap();
    let message = |path: &Path| {
        let opened = DirSource::open(path, DirOptions::default(), CancellationToken::new());
        opened.unwrap_err().to_string()
    };
    let found = message(&file);
    assert!(found.contains("is a file") && found.contains("file:PATH"), "{found}");
    let found = message(&folder.path().join("missing"));
    assert!(found.contains("missing does not exist") && found.contains("a folder"), "{found}");
}

#[test]
fn a_source_that_waits_ends_when_it_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let mut source = DirSource::open(folder.path(), DirOptions::default(), cancel.clone()).unwrap();
    let waiting = std::thread::spawn(move || source.next_item().unwrap().is_none());
    cancel.cancel();
    assert!(waiting.join().unwrap());
}

/// A picture whose EXIF says that it was taken so long before now, in seconds.
fn taken_before(seconds: i64, seed: u8) -> Vec<u8> {
    let at = LocalOffset::FixedMinutes(0).at(watch::utc_micros_now() - seconds * 1_000_000);
    let text = at.to_local().format("%Y:%m:%d %H:%M:%S").to_string();
    with_segment(&jpeg(32, 24, seed), 0xE1, &exif_segment(&text, "", "+00:00"))
}

/// How many seconds before now a time is.
fn age(time: Timestamp) -> i64 {
    (watch::utc_micros_now() - time.utc_micros) / 1_000_000
}

const DAY: i64 = 86_400;

#[test]
fn a_possible_claim_is_the_time_of_a_picture_and_another_is_not() {
    let (folder, mut source) = watched();
    for (seed, (lag, is_believed)) in (1..).zip([
        (3 * DAY, true),
        (29 * DAY, true),
        (26 * 365 * DAY, false),
        (60, true),
        (-11 * 365 * DAY, false),
        (-300, false),
    ]) {
        fs::write(folder.path().join("a.jpg"), taken_before(lag, seed)).unwrap();
        let frame = next_frame(&mut source);
        let (used, claimed) = if is_believed { (lag, None) } else { (0, Some(lag)) };
        // Slow machines are late, and never early.
        assert!((used..used + 100).contains(&age(frame.time)), "{lag}: {frame:?}");
        let found = frame.claimed.map(age);
        assert_eq!(found.is_some(), claimed.is_some(), "{lag}: {frame:?}");
        assert!(found.zip(claimed).is_none_or(|(age, lag)| (lag..lag + 100).contains(&age)));
        assert_eq!(source.clock_fault().is_none(), is_believed);
    }
}

#[test]
fn a_wrong_clock_is_logged_once_and_remembered_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir().unwrap();
    let options = DirOptions { memory: Some(memory.path().join("a.taken")), ..options() };
    let mut source = open_with(folder.path(), options.clone());
    let put = |name: &str, seed| {
        fs::write(folder.path().join(name), taken_before(9000 * DAY, seed)).unwrap();
    };
    put("a.jpg", 1);
    next_frame(&mut source);
    let fault = source.take_clock_news().unwrap().fault.unwrap();
    assert!(fault.describe("door").contains("24 years"), "{}", fault.describe("door"));
    for (name, seed) in [("b.jpg", 2), ("c.jpg", 3)] {
        put(name, seed);
        next_frame(&mut source);
        assert_eq!(source.take_clock_news(), None);
    }
    drop(source);
    let mut source = open_with(folder.path(), options);
    assert!(source.clock_fault().is_some());
    // The last one was handed over, and not confirmed.
    assert_eq!(next_name(&mut source), "c.jpg");
    put("d.jpg", 4);
    assert_eq!(next_name(&mut source), "d.jpg");
    assert_eq!(source.take_clock_news(), None, "it was logged before");
}

#[test]
fn a_zone_fault_names_the_key_only_where_the_key_helps() {
    let (folder, mut source) = watched();
    // Two hours ahead, by EXIF with an offset of its own, then without.
    fs::write(folder.path().join("a.jpg"), taken_before(-7200, 1)).unwrap();
    next_frame(&mut source);
    let fault = source.clock_fault().unwrap();
    assert!((fault.lag_micros + 7_200_000_000).abs() < 60_000_000, "{fault:?}");
    assert_eq!(fault.zone_minutes, None);
    let at = LocalOffset::FixedMinutes(180).at(watch::utc_micros_now());
    let text = at.to_local().format("%Y:%m:%d %H:%M:%S").to_string();
    let picture = with_segment(&jpeg(32, 24, 2), 0xE1, &exif_segment(&text, "", ""));
    fs::write(folder.path().join("b.jpg"), picture).unwrap();
    next_frame(&mut source);
    assert_eq!(source.clock_fault().unwrap().zone_minutes, Some(180));
    // What an earlier run found says nothing where the clock is not judged.
    source.options.clock.time = PictureTime::Claimed;
    assert_eq!(source.clock_fault(), None);
}

#[test]
fn pictures_on_a_share_arrive_when_they_are_picked_up() {
    let (folder, mut source) = watched();
    let path = folder.path().join("a.jpg");
    fs::write(&path, jpeg(32, 24, 1)).unwrap();
    source.options.clock.time = PictureTime::Arrival;
    let found = fs::metadata(&path).unwrap();
    let changed = walk::changed_utc_micros(&found);
    assert_eq!(source.date(None, &found).0.utc_micros, changed);
    source.watch.pretend_share();
    while watch::utc_micros_now() == changed {}
    assert!(source.date(None, &found).0.utc_micros > changed);
}

#[test]
fn nothing_is_disbelieved_while_this_machines_clock_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::new(|| false);
    let mut source = open_with(folder.path(), DirOptions { trust, ..options() });
    fs::write(folder.path().join("a.jpg"), taken_before(-400 * DAY, 1)).unwrap();
    let frame = next_frame(&mut source);
    assert!(age(frame.time) < -399 * DAY && frame.claimed.is_none(), "{frame:?}");
}

#[test]
fn what_is_uploaded_again_with_the_same_bytes_is_not_handed_over_again() {
    let folder = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir().unwrap();
    let options = DirOptions { memory: Some(memory.path().join("a.taken")), ..options() };
    let names = ["a.jpg", "deep/b.jpg", "c.jpg"];
    fs::create_dir(folder.path().join("deep")).unwrap();
    let upload = || {
        for (name, seed) in names.iter().zip(1..) {
            let path = folder.path().join(name);
            let _ = fs::remove_file(&path);
            fs::write(&path, jpeg(32, 24, seed)).unwrap();
            let modified = std::time::SystemTime::now() - Duration::from_secs(seed.into());
            File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
        }
    };
    let mut source = open_with(folder.path(), options.clone());
    upload();
    let mut found: Vec<_> = (0..3).map(|_| next_name(&mut source)).collect();
    found.sort();
    assert_eq!(found, ["a.jpg", "b.jpg", "c.jpg"]);
    let put_last = |name: &str| fs::write(folder.path().join(name), jpeg(48, 24, 1)).unwrap();
    upload();
    put_last("last.jpg");
    assert_eq!(next_name(&mut source), "last.jpg");
    put_last("confirms.jpg");
    assert_eq!(next_name(&mut source), "confirms.jpg");
    drop(source);
    upload();
    fs::remove_file(folder.path().join("confirms.jpg")).unwrap();
    let mut source = open_with(folder.path(), options);
    put_last("after.jpg");
    assert_eq!(next_name(&mut source), "after.jpg");
}

#[test]
fn a_picture_cut_in_half_with_an_end_marker_is_refused() {
    let (folder, mut source) = watched();
    let whole = jpeg(160, 120, 1);
    let cut = [&whole[..whole.len() * 2 / 3], &[0xFF, 0xD9]].concat();
    fs::write(folder.path().join("cut.jpg"), cut).unwrap();
    let problem = next_problem(&mut source);
    assert!(matches!(problem.fault, PictureFault::Undecodable { .. }), "{problem}");
    assert!(problem.is_lost_picture());
    // What a camera writes after the end of a picture makes it no worse.
    fs::write(folder.path().join("more.jpg"), [&whole[..], b"a trailer"].concat()).unwrap();
    assert_eq!(next_name(&mut source), "more.jpg");
}

#[test]
fn a_picture_without_its_end_marker_is_taken_once_if_it_is_whole() {
    let (folder, mut source) = watched();
    let whole = jpeg(160, 120, 1);
    let unended = &whole[..whole.len() - 2];
    // Its end marker comes with the next write: it is one picture.
    let mut upload = File::create(folder.path().join("a.jpg")).unwrap();
    upload.write_all(unended).unwrap();
    upload.write_all(&whole[whole.len() - 2..]).unwrap();
    drop(upload);
    assert_eq!(next_name(&mut source), "a.jpg");
    let expected = crate::source::decode::decode_file(&whole).unwrap();
    for (name, rest) in [("b.jpg", &b""[..]), ("c.jpg", b"\xFF"), ("d.jpg", &[0; 500])] {
        fs::write(folder.path().join(name), [unended, rest].concat()).unwrap();
        let frame = next_frame(&mut source);
        assert!(frame.origin.unwrap().ends_with(name) && frame.picture == expected);
    }
    let upload = File::create(folder.path().join("open.jpg")).unwrap();
    (&upload).write_all(unended).unwrap();
    assert_eq!(next_name(&mut source), "open.jpg");
    // Taken already: its end marker makes no second picture.
    (&upload).write_all(&whole[whole.len() - 2..]).unwrap();
    drop(upload);
    fs::write(folder.path().join("cut.jpg"), &whole[..whole.len() * 9 / 10]).unwrap();
    let problem = next_problem(&mut source);
    assert!(problem.place.ends_with("cut.jpg"), "{problem}");
    assert!(matches!(problem.fault, PictureFault::Truncated { .. }), "{problem}");
}

#[test]
fn padding_between_segments_of_a_picture_is_passed_over() {
    let (folder, mut source) = watched();
    let whole = jpeg(160, 120, 1);
    let expected = crate::source::decode::decode_file(&whole).unwrap();
    for (name, padding) in
        [("a.jpg", vec![0; 608]), ("b.jpg", vec![0; 9000]), ("c.jpg", vec![9; 31])]
    {
        let padded = [&whole[..20], &padding, &whole[20..]].concat();
        fs::write(folder.path().join(name), padded).unwrap();
        let frame = next_frame(&mut source);
        assert!(frame.origin.unwrap().ends_with(name) && frame.picture == expected);
    }
}

#[test]
fn a_local_file_system_that_reports_nothing_is_polled() {
    let folder = tempfile::tempdir().unwrap();
    let compare = Duration::ZERO;
    let log = tempfile::NamedTempFile::new().unwrap();
    crate::testing::logging_to(log.path(), || {
        let mut source = open_with(folder.path(), DirOptions { compare, ..options() });
        source.watch.deafen();
        let opened = watch::utc_micros_now();
        let path = folder.path().join("a.jpg");
        fs::write(&path, jpeg(32, 24, 1)).unwrap();
        // Its change is later than the start, however coarse the clock of the file system is.
        while walk::changed_utc_micros(&fs::metadata(&path).unwrap()) <= opened {
            fs::set_permissions(&path, fs::metadata(&path).unwrap().permissions()).unwrap();
        }
        assert_eq!(next_name(&mut source), "a.jpg");
        fs::write(folder.path().join("b.jpg"), jpeg(32, 24, 2)).unwrap();
        assert_eq!(next_name(&mut source), "b.jpg");
        assert!(source.watch.is_polled());
    });
    let text = fs::read_to_string(log.path()).unwrap();
    assert_eq!(text.matches("the folder is polled").count(), 1, "{text}");
    assert!(text.contains("of which the kernel reported nothing"), "{text}");
}

#[test]
fn the_start_says_that_a_folder_is_polled_and_why() {
    let log = tempfile::NamedTempFile::new().unwrap();
    // On a file system that every Linux has, and of which nothing is known.
    crate::testing::logging_to(log.path(), || open(Path::new("/proc/sys/kernel/random")));
    let text = fs::read_to_string(log.path()).unwrap();
    assert!(text.contains("the folder is polled, every second or less often"), "{text}");
    assert!(text.contains("on an unknown file system, where changes by others"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    crate::testing::logging_to(log.path(), || open(folder.path()));
    assert_eq!(fs::read_to_string(log.path()).unwrap(), "", "the kernel reports all of it");
}

#[test]
fn folders_in_which_nothing_happened_for_long_are_looked_into_when_all_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = |minute: usize| folder.path().join(format!("day/{minute:05}/a.jpg"));
    let put = |minute: usize, seed| {
        fs::create_dir_all(path(minute).parent().unwrap()).unwrap();
        fs::write(path(minute), jpeg(8, 8, seed)).unwrap();
    };
    // Long enough that comparing is not all that happens.
    let compare = Duration::from_secs(1);
    let mut source = open_with(
        folder.path(),
        DirOptions { compare, settle: Duration::from_millis(1), ..options() },
    );
    let count = WATCHED_FOLDERS_MAX + 100;
    let mut found = Vec::new();
    for minute in 0..count {
        put(minute, 1);
        found.push(next_frame(&mut source).origin.unwrap());
    }
    assert!(found.into_iter().eq((0..count).map(|minute| path(minute).canonicalize().unwrap())));
    assert_eq!(source.watch.watched(), WATCHED_FOLDERS_MAX);
    put(3, 2);
    let found = next_frame(&mut source).origin.unwrap();
    assert!(found.ends_with("day/00003/a.jpg"), "{}", found.display());
    assert_eq!(source.watch.watched(), WATCHED_FOLDERS_MAX);
}
