//! Pictures on a real file system, with a real journal.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lenslog_engine::laws::{Subject, check_laws};
use lenslog_engine::{RebuildOptions, Runner, rebuild, verify_within};
use lenslog_events::{EventDetected, EventRef, ImagePurged, Metadata, testing};
use lenslog_journal::storage::{Access, FaultyStorage, RealStorage};
use lenslog_journal::{Journal, Options, ReaderOptions, Seq, SimulatedClock, Timestamp};
use proptest::prelude::*;

use super::*;

const DAY_MICROS: i64 = 86_400_000_000;
/// 2026-11-20T12:00:00Z.
const NOON: i64 = 1_795_176_000_000_000;

struct Setting {
    directory: tempfile::TempDir,
    clock: Arc<SimulatedClock>,
    journal: Journal,
}

fn at(days: i64) -> Timestamp {
    Timestamp { utc_micros: NOON + days * DAY_MICROS, offset_minutes: 0 }
}

impl Setting {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::new(at(0)));
        let options = Options { clock: Arc::clone(&clock) as _, ..Options::default() };
        let journal = Journal::open(directory.path(), &options).unwrap();
        Self { directory, clock, journal }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.strip_prefix("data/").unwrap_or(path))
    }

    fn write(&self, path: &str) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, path).unwrap();
    }

    /// An event of a day with a picture of that name.
    fn event(&self, day: i64, file: &str) -> (Seq, String) {
        let timestamp = at(day);
        let image_path = format!("data/events/{}/{file}", timestamp.day());
        self.write(&image_path);
        let event = Event::Detected(EventDetected {
            event_id: format!("{file}_{}", self.journal.next_seq()),
            timestamp,
            camera_id: "camera_1".to_owned(),
            camera_name: None,
            motion_confidence: None,
            detected_objects: Vec::new(),
            image_path: Some(image_path.clone()),
            llm_description: None,
            description_expected: false,
            metadata: Metadata::new(),
        });
        (self.append(&event), image_path)
    }

    fn append(&self, event: &Event) -> Seq {
        self.journal.append(&[RecorderCodec::encode(event).as_record()]).unwrap().seq()
    }

    fn media(&self) -> Media {
        Media::new(Arc::new(RealStorage), self.directory.path())
    }

    fn follow(&self) {
        let runner =
            Runner::start(&self.journal.view(), vec![Box::new(self.media())], Arc::new(|_| {}));
        runner.wait_for(self.journal.next_seq(), Duration::from_secs(10)).unwrap();
        runner.stop();
    }

    fn rebuild(&self) {
        let view = self.journal.view();
        rebuild(&mut self.media(), &view, &RebuildOptions::default(), &mut |_| true).unwrap();
    }

    fn differences(&self) -> Vec<String> {
        let media = self.media();
        let view = self.journal.view();
        let report = verify_within(
            &view,
            &[&media],
            ReaderOptions::default(),
            std::time::Duration::ZERO,
            &mut |_| true,
        )
        .unwrap();
        report.projections[0].differences.clone()
    }

    fn is_there(&self, path: &str) -> bool {
        fs::symlink_metadata(self.file(path)).is_ok()
    }
}

/// A picture's name with the time it was made, in UTC microseconds.
fn named(made_micros: i64, number: u32) -> String {
    let millis = made_micros / 1000;
    let (high, low) = (millis >> 16, millis & 0xffff);
    format!("evt_{high:08x}-{low:04x}-7000-8000-{number:012x}.jpg")
}

#[test]
fn a_purged_picture_goes_and_the_others_stay() {
    let setting = Setting::new();
    let (seq, purged) = setting.event(0, "a.jpg");
    let (_, kept) = setting.event(0, "b.jpg");
    setting.follow();
    assert!(setting.is_there(&purged) && setting.is_there(&kept));
    setting.append(&Event::ImagePurged(ImagePurged {
        event: EventRef { event_seq: seq, event_day: at(0).day(), event_id: "a.jpg".to_owned() },
        image_path: purged.clone(),
    }));
    setting.follow();
    assert!(!setting.is_there(&purged) && setting.is_there(&kept));
    assert_eq!(setting.differences(), Vec::<String>::new());
    setting.write(&purged);
    let differences = setting.differences();
    assert!(differences[0].contains("a.jpg was purged and is still there"), "{differences:?}");
    setting.rebuild();
    assert!(!setting.is_there(&purged));
}

#[test]
fn a_pruned_day_goes_with_everything_in_it_but_the_files_of_others() {
    let setting = Setting::new();
    let (_, old) = setting.event(0, "a.jpg");
    let (_, newer) = setting.event(1, "b.jpg");
    let day = at(0).day();
    let outside = setting.directory.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    for name in [
        "notes.txt",
        "events.log.gz",
        "events.json.old-x",
        "sub/deep/x.jpg",
        "events.json",
        "events.log",
    ] {
        setting.write(&format!("data/events/{day}/{name}"));
    }
    let link = format!("data/events/{day}/link.jpg");
    std::os::unix::fs::symlink(&outside, setting.file(&link)).unwrap();
    setting.clock.advance(Duration::from_secs(2 * 86_400));
    setting.follow();
    setting.journal.prune_through(day).unwrap();
    setting.follow();
    for gone in [old.as_str(), &link] {
        assert!(!setting.is_there(gone), "{gone}");
    }
    for gone in ["notes.txt", "events.log.gz", "events.json.old-x"] {
        assert!(!setting.is_there(&format!("data/events/{day}/{gone}")), "{gone}");
    }
    assert!(!setting.is_there(&format!("data/events/{day}/sub")));
    assert!(setting.is_there(&format!("data/events/{day}/events.json")), "it is another's");
    assert!(outside.exists() && setting.is_there(&newer));
    assert_eq!(setting.differences(), Vec::<String>::new());
    fs::remove_file(setting.file(&format!("data/events/{day}/events.json"))).unwrap();
    fs::remove_file(setting.file(&format!("data/events/{day}/events.log"))).unwrap();
    setting.rebuild();
    assert!(!setting.is_there(&format!("data/events/{day}")), "an empty day goes");
}

#[test]
fn what_stands_behind_the_tombstone_stays_through_every_rebuild() {
    let setting = Setting::new();
    let (_, old) = setting.event(0, "a.jpg");
    setting.clock.advance(Duration::from_secs(2 * 86_400));
    setting.journal.prune_through(at(0).day()).unwrap();
    setting.follow();
    assert!(!setting.is_there(&old));
    let (_, late) = setting.event(0, "late.jpg");
    setting.write(&format!("data/events/{}/notes.txt", at(0).day()));
    for _ in 0..2 {
        setting.rebuild();
        assert!(setting.is_there(&late));
        assert_eq!(setting.differences(), Vec::<String>::new());
    }
    fs::remove_file(setting.directory.path().join("checkpoints/media")).unwrap();
    setting.follow();
    assert!(setting.is_there(&late));
}

#[test]
fn days_of_a_wrong_clock_go_with_a_tombstone_that_takes_them() {
    let setting = Setting::new();
    let (_, old) = setting.event(0, "a.jpg");
    let wrong_micros = NOON + 4_000 * DAY_MICROS;
    let (_, wrong) = setting.event(4_000, "b.jpg");
    let (_, named_wrong) = setting.event(4_000, &named(wrong_micros, 1));
    setting.clock.advance(Duration::from_secs(2 * 86_400));
    let (_, young) = setting.event(2, "c.jpg");
    let (day, wrong_from) = (at(0).day(), at(4).day());
    assert_eq!(setting.journal.prune_around(day, wrong_from).unwrap().wrong_from, Some(wrong_from));
    // A later tombstone of ordinary days leaves nothing of them to a rebuild.
    setting.journal.prune_through(day).unwrap();
    setting.rebuild();
    for gone in [&old, &wrong, &named_wrong] {
        assert!(!setting.is_there(gone), "{gone}");
    }
    assert!(setting.is_there(&young));
    let (_, late) = setting.event(4_000, "late.jpg");
    setting.follow();
    setting.rebuild();
    assert!(setting.is_there(&late), "an event behind the tombstone keeps its picture");
    assert_eq!(setting.differences(), Vec::<String>::new());
}

#[test]
fn an_old_picture_of_an_event_behind_the_tombstone_stays_until_the_next_one() {
    let setting = Setting::new();
    setting.event(0, "a.jpg");
    setting.clock.advance(Duration::from_secs(2 * 86_400));
    setting.journal.prune_through(at(0).day()).unwrap();
    setting.follow();
    // Made long before the tombstone, as its name says.
    let (_, late) = setting.event(0, &named(NOON, 1));
    setting.rebuild();
    assert!(setting.is_there(&late));
    assert_eq!(setting.differences(), Vec::<String>::new());
    let (_, unnamed) = setting.event(0, "late.jpg");
    setting.journal.prune_through(at(0).day()).unwrap();
    setting.rebuild();
    assert!(!setting.is_there(&late) && !setting.is_there(&unnamed));
}

#[test]
fn a_picture_whose_event_is_on_the_way_stays_when_its_day_is_pruned() {
    let setting = Setting::new();
    setting.clock.advance(Duration::from_secs(2 * 86_400));
    let now = NOON + 2 * DAY_MICROS;
    let day = at(0).day();
    let on_the_way = format!("data/events/{day}/{}", named(now - 1_000_000, 1));
    let old = format!("data/events/{day}/{}", named(now - 3_600_000_000, 2));
    setting.write(&on_the_way);
    setting.write(&old);
    setting.follow();
    setting.journal.prune_through(day).unwrap();
    setting.follow();
    assert!(setting.is_there(&on_the_way) && !setting.is_there(&old));
}

#[test]
fn a_link_in_place_of_a_day_is_left_alone_and_what_it_leads_to_too() {
    let setting = Setting::new();
    let elsewhere = setting.directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("a.jpg"), "mine").unwrap();
    fs::create_dir(setting.directory.path().join("events")).unwrap();
    let day = at(0).day();
    let link = setting.directory.path().join(format!("events/{day}"));
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    setting.append(&Event::ImagePurged(ImagePurged {
        event: EventRef { event_seq: Seq(1), event_day: day, event_id: "a".to_owned() },
        image_path: format!("data/events/{day}/a.jpg"),
    }));
    setting.clock.advance(Duration::from_secs(2 * 86_400));
    setting.follow();
    setting.journal.prune_through(day).unwrap();
    setting.follow();
    assert!(elsewhere.join("a.jpg").exists());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn what_cannot_be_deleted_is_noted_and_deleted_later() {
    let setting = Setting::new();
    let (_, stuck) = setting.event(0, "a.jpg");
    let (_, other) = setting.event(0, "b.jpg");
    // A directory is no picture: it is not deleted as one.
    fs::remove_file(setting.file(&stuck)).unwrap();
    fs::create_dir(setting.file(&stuck)).unwrap();
    let mut media = setting.media();
    for path in [&stuck, &other] {
        media.purge(path);
    }
    assert!(!setting.is_there(&other));
    assert!(media.state.pictures.contains(&stuck));
    fs::remove_dir(setting.file(&stuck)).unwrap();
    setting.write(&stuck);
    for _ in 0..INSPECTIONS_PER_ATTEMPT {
        media.inspect().unwrap();
    }
    assert!(!setting.is_there(&stuck) && media.state.is_empty());
}

#[test]
fn a_picture_that_came_behind_the_tombstone_stays_when_its_day_is_tried_again() {
    [false, true].into_iter().for_each(late_picture_stays);
}

fn late_picture_stays(rebuilt: bool) {
    let setting = Setting::new();
    let day = at(0).day();
    let (_, old) = setting.event(0, "a.jpg");
    // Deeper than anything is emptied.
    let stuck = format!("data/events/{day}/{}x", "deep/".repeat(20));
    setting.write(&stuck);
    setting.clock.advance(Duration::from_secs(2 * 86_400));
    setting.follow();
    setting.journal.prune_through(day).unwrap();
    setting.follow();
    assert!(!setting.is_there(&old) && setting.is_there(&stuck));
    let (_, late) = setting.event(0, "late.jpg");
    let (purged, gone) = setting.event(0, "gone.jpg");
    setting.append(&Event::ImagePurged(ImagePurged {
        event: EventRef { event_seq: purged, event_day: day, event_id: "gone.jpg".to_owned() },
        image_path: gone.clone(),
    }));
    setting.follow();
    if rebuilt {
        setting.rebuild();
    }
    let mut media = setting.media();
    assert!(matches!(media.open().unwrap(), Opened::At { .. }));
    let mut try_again =
        || (0..INSPECTIONS_PER_ATTEMPT).for_each(|_| drop(media.inspect().unwrap()));
    try_again();
    assert!(setting.is_there(&late) && setting.is_there(&stuck) && !setting.is_there(&gone));
    fs::remove_dir_all(setting.file(&format!("data/events/{day}/deep"))).unwrap();
    try_again();
    assert!(setting.is_there(&late));
    assert!(media.state.is_empty() && media.state.kept.is_empty(), "{:?}", media.state);
}

#[test]
fn a_picture_made_anew_under_a_purged_name_stays() {
    let setting = Setting::new();
    let (seq, path) = setting.event(0, "a.jpg");
    setting.append(&Event::ImagePurged(ImagePurged {
        event: EventRef { event_seq: seq, event_day: at(0).day(), event_id: "a.jpg".to_owned() },
        image_path: path.clone(),
    }));
    setting.follow();
    assert!(!setting.is_there(&path));
    setting.event(0, "a.jpg");
    setting.follow();
    assert_eq!(setting.differences(), Vec::<String>::new());
    setting.rebuild();
    assert!(setting.is_there(&path));
}

#[test]
fn a_picture_that_was_purged_does_not_come_back_with_a_power_cut() {
    let disk = FaultyStorage::new();
    let directory = Path::new("/events/2026-11-20");
    for path in [Path::new("/events"), directory] {
        disk.create_directory(path).unwrap();
    }
    disk.open(&directory.join("a.jpg"), Access::Create).unwrap();
    disk.open(&directory.join("b.jpg"), Access::Create).unwrap();
    for path in [Path::new("/"), Path::new("/events"), directory] {
        disk.sync_directory(path).unwrap();
    }
    let mut media = Media::new(Arc::new(disk.clone()), "/");
    assert_eq!(media.open().unwrap(), Opened::Absent);
    media.purge("data/events/2026-11-20/a.jpg");
    let checkpoint = Checkpoint::at_start([7; 16], &media.spec());
    media.commit(&checkpoint, CommitKind::Durable).unwrap();
    for seed in 0..16 {
        let after = disk.fork().power_cut(seed);
        assert!(after.stat(&directory.join("a.jpg")).is_err(), "seed {seed}");
        assert!(after.stat(&directory.join("b.jpg")).is_ok());
        // The checkpoint is there, too, with its directory.
        let mut media = Media::new(Arc::new(after), "/");
        assert!(matches!(media.open().unwrap(), Opened::At { .. }), "seed {seed}");
    }
}

struct Pictures;

impl Subject<RecorderCodec> for Pictures {
    fn projection(&self, directory: &Path) -> Box<dyn Projection<RecorderCodec>> {
        let marker = directory.join("pictures-made");
        if !marker.exists() {
            for number in 0..8 {
                let day = directory.join(format!("events/2026-11-2{number}"));
                fs::create_dir_all(&day).unwrap();
                for file in ["a.jpg", "b.jpg", "c.jpg"] {
                    fs::write(day.join(file), "picture").unwrap();
                }
            }
            fs::write(marker, "").unwrap();
        }
        Box::new(Media::new(Arc::new(RealStorage), directory))
    }

    fn contents(&self, directory: &Path) -> String {
        let mut found = Vec::new();
        for day in fs::read_dir(directory.join("events")).unwrap() {
            for file in fs::read_dir(day.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                found.push(path.strip_prefix(directory).unwrap().display().to_string());
            }
        }
        found.sort();
        found.join("\n")
    }
}

fn purged() -> impl Strategy<Value = Event> {
    let file = prop::sample::select(vec!["a.jpg", "b.jpg", "c.jpg", "d.jpg", "events.json"]);
    (0..9_i64, file).prop_map(|(day, file)| {
        Event::ImagePurged(ImagePurged {
            event: EventRef {
                event_seq: Seq(1),
                event_day: at(day).day(),
                event_id: "evt_1".to_owned(),
            },
            image_path: format!("data/events/2026-11-2{day}/{file}"),
        })
    })
}

proptest! {
    #![proptest_config(testing::config(24))]

    #[test]
    fn the_laws_hold(events in prop::collection::vec(purged(), 0..12)) {
        let scratch = tempfile::tempdir().unwrap();
        check_laws(&Pictures, &events, scratch.path()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    }
}
