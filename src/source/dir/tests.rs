//! Files that appear in a real folder, in all the ways they do.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::*;
use crate::source::FRAME_BYTES_MAX;
use crate::source::samples::{exif_segment, jpeg, with_segment};

/// A watched folder. Settling and patience are short, so that tests do not wait for long; nothing depends on
/// how short.
fn watched() -> (TempDir, DirSource) {
    let folder = tempfile::tempdir().unwrap();
    let source = open(folder.path());
    (folder, source)
}

fn open(path: &Path) -> DirSource {
    let options = DirOptions {
        settle: Duration::from_millis(20),
        patience: Duration::from_millis(100),
        since: None,
        memory: None,
        local_offset: LocalOffset::FixedMinutes(60),
    };
    DirSource::open(path, options, Cancel::new()).unwrap()
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
    let (folder, mut source) = watched();
    let told =
        with_segment(&jpeg(32, 24, 1), 0xE1, &exif_segment("2026:11:23 14:32:15", "", "+09:00"));
    fs::write(folder.path().join("a.jpg"), told).unwrap();
    assert_eq!(next_frame(&mut source).time.to_string(), "2026-11-23T14:32:15+09:00");
    // Set before the file has its name.
    let hidden = folder.path().join("untold");
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
        // On a machine that stood still in between, patience with the half has ended.
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
fn a_picture_that_is_never_whole_is_reported_when_patience_ends() {
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
    let problem = next_problem(&mut source).to_string();
    assert!(problem.ends_with("page.jpg: ignored: neither JPEG nor PNG"), "{problem}");
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
fn a_picture_is_handed_over_once_until_it_is_written_anew() {
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
    // Nobody hears it meanwhile.
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
        DirSource::open(folder.path(), options, Cancel::new()).unwrap()
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
    let mut source = open(&folder);
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
        let opened = DirSource::open(path, DirOptions::default(), Cancel::new());
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
    let cancel = Cancel::new();
    let mut source = DirSource::open(folder.path(), DirOptions::default(), cancel.clone()).unwrap();
    let waiting = std::thread::spawn(move || source.next_item().unwrap().is_none());
    cancel.cancel();
    assert!(waiting.join().unwrap());
}
