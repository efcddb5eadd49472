//! Storage through the programs: limits, rotation by date, retention, and what stays pruned.

use std::fs;
use std::path::Path;

use chrono::{Days, NaiveDate, Utc};
use serde_json::{Value, json};

use crate::disk::did;
use crate::harness::{Lab, Recording, lacks, zone};

/// Local date of that many days ago.
pub fn date(age: u64) -> NaiveDate {
    Utc::now().with_timezone(&zone()).date_naive() - Days::new(age)
}

/// A time of that many days ago.
pub fn moment(age: u64, time: &str) -> String {
    format!("{}T{time}{}", date(age), zone())
}

/// A lab with a limit and further keys.
pub fn lab(limit_bytes: u64, keys: &[(&str, &str)]) -> Lab {
    let limit = (limit_bytes as f64 / 1e9).to_string();
    let mut lab = Lab::new().with("LENSLOG__STORAGE__MAX_STORAGE_GB", &limit);
    for (key, value) in keys {
        lab = lab.with(&format!("LENSLOG__STORAGE__{key}"), value);
    }
    lab
}

/// Lines of events at noon of that many days ago, about a kilobyte each.
pub fn lines(age: u64, count: usize) -> Vec<String> {
    let line = |number: usize| {
        let (minute, second) = (number / 60 % 60, number % 60);
        json!({
            "event_id": format!("day-{age}-{number}"),
            "timestamp": moment(age, &format!("12:{minute:02}:{second:02}")),
            "camera_id": "camera_1",
            "detected_objects": [{"label": "person", "confidence": 0.9,
                "bbox": {"x": 1, "y": 2, "width": 3, "height": 4}}],
            "llm_description": "x".repeat(500),
        })
        .to_string()
    };
    (0..count).map(line).collect()
}

/// A lab with events of the last `days` days before today.
fn with_days(days: u64) -> Lab {
    let lab = lab(1_000_000_000, &[]);
    for age in (1..=days).rev() {
        lab.ingest(&lines(age, 300)).expect(0);
    }
    lab
}

/// The same data, with other keys.
fn again(lab: &Lab, limit_bytes: u64, keys: &[(&str, &str)]) -> Lab {
    let other = self::lab(limit_bytes, keys);
    crate::harness::copy_tree(&lab.data, &other.data);
    // The copy is noticed and checked once here, not in what is tested.
    other.run(&["status"]);
    other
}

fn used(lab: &Lab) -> u64 {
    lab.status()["storage"]["total_bytes"].as_u64().unwrap()
}

/// The days that have a directory.
pub fn days(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.data.join("events")).into_iter().flatten().flatten();
    let mut days: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    days.sort();
    days
}

fn dates(ages: impl Iterator<Item = u64>) -> Vec<String> {
    ages.map(|age| date(age).to_string()).collect()
}

/// Days whose deletion was told, in the order in which it was.
fn told(text: &str) -> Vec<String> {
    let days = text.lines().filter_map(|line| line.split_once("deleting old logs: "));
    days.map(|(_, rest)| rest.split(' ').next().unwrap().to_owned()).collect()
}

/// What was pruned stays pruned, whatever is made again.
#[track_caller]
fn stays_pruned(lab: &Lab) {
    lab.verify();
    let (before, left) = (lab.projected(), days(lab));
    lab.run(&["replay", "rebuild"]).expect(0);
    assert_eq!((&lab.projected(), &days(lab)), (&before, &left), "after a rebuild");
    fs::remove_file(lab.data.join("events.db")).unwrap();
    fs::remove_dir_all(lab.data.join("checkpoints")).unwrap();
    lab.ingest(&[]).expect(0);
    assert_eq!((&lab.projected(), &days(lab)), (&before, &left), "after a new start");
    let oldest = left.first().cloned().unwrap_or_default();
    let (from, to) = (oldest.as_str(), date(0).to_string());
    if !from.is_empty() {
        lab.run(&["replay", "rebuild", "--from", from, "--to", &to]).expect(0);
        assert_eq!((&lab.projected(), &days(lab)), (&before, &left), "after a part of it");
    }
    lab.verify();
}

#[test]
fn above_90_per_cent_the_oldest_days_go_until_less_than_80_are_used() {
    let lab = with_days(6);
    let limit = used(&lab) * 100 / 93;
    let lab = again(&lab, limit, &[("MIN_RETENTION_DAYS", "2")]);
    let dry = lab.run(&["rotate", "--dry-run"]).expect(0);
    assert_eq!(days(&lab), dates((1..=6).rev()), "nothing goes in a dry run");
    let would: Vec<_> = dry.out.lines().filter(|line| line.contains("would go")).collect();
    assert!(!would.is_empty() && would[0].starts_with(&date(6).to_string()), "{}", dry.out);
    assert!(dry.out.contains("among the newest 2 days with events (min_retention_days)"));
    let ran = lab.run(&["rotate"]).expect(0);
    let gone = told(&ran.err);
    assert_eq!(gone, dates((1..=6).rev())[..gone.len()], "oldest first");
    assert!(ran.err.contains("(freed 0.") && ran.err.contains("MB)"), "{}", ran.err);
    assert_eq!(days(&lab), dates((1..=6).rev())[gone.len()..]);
    let status = lab.status();
    assert!(status["storage"]["percentage_used"].as_f64().unwrap() < 80.0, "{status}");
    let expected = format!("Storage: {} / {}", gigabytes(used(&lab)), gigabytes(limit));
    lab.run(&["status"]).expect(0).says(&expected);
    // Nothing more goes: there is room.
    lab.run(&["rotate"]).expect(0).says("nothing is gone");
    stays_pruned(&lab);
}

fn gigabytes(bytes: u64) -> lenslog::storage::Gigabytes {
    lenslog::storage::Gigabytes(bytes)
}

#[test]
fn a_recorder_warns_rotates_and_ends_with_3_when_nothing_else_may_go() {
    let original = with_days(4);
    let all = used(&original);
    // 85 %: a warning, once, and recording goes on.
    let lab = again(&original, all * 100 / 85, &[]);
    let mut recording = lab.record(&["--source", "test:"]);
    lab.run(&["rotate"]).expect(0).says("nothing is gone");
    let status = lab.status();
    assert_eq!(status["storage"]["warnings"], 1, "{status}");
    recording.wait_for(" event ");
    let ran = recording.stop().expect(0);
    let percent = (all * 100 / (all * 100 / 85)).to_string();
    let warnings: Vec<_> =
        ran.err.lines().filter(|line| line.contains("approaching limit")).collect();
    assert_eq!(warnings.len(), 1, "{}", ran.err);
    assert!(warnings[0].contains("WARN") && warnings[0].contains("Storage at 0.0"), "{percent}");
    assert_eq!(levels(&lab), ["approaching"]);
    // 110 %, and everything protected: an error, an orderly end, exit code 3.
    let lab = again(&original, all * 100 / 110, &[]);
    let ran = lab.run(&["record", "--source", "test:"]).expect(3);
    let error = format!(" / {} (1", gigabytes(all * 100 / 110));
    let line = ran.err.lines().find(|line| line.contains("Storage limit exceeded: ")).unwrap();
    assert!(line.contains("ERROR") && line.contains(&error), "{line}");
    assert_eq!(days(&lab), dates((1..=4).rev()), "nothing protected goes");
    assert_eq!(levels(&lab), ["approaching", "rotating", "exceeded"]);
    let records = lab.journal();
    let last = records.values().next_back().unwrap();
    assert_eq!(last["kind"], "RecorderStopped");
    assert_eq!(last["record"]["reason"], "the storage limit");
    lab.verify();
    // What is ingested is refused, and told why.
    lab.ingest(&lines(0, 1)).expect(3).says("the storage limit is exceeded");
    // Space is made, and it starts again.
    let lab = again(&lab, all * 2, &[]);
    let ran = lab.record(&["--source", "test:"]).stop().expect(0);
    assert!(ran.err.contains("health: storage: ok"), "{}", ran.err);
    assert!(ran.err.contains("full in 3 days at this pace"), "{}", ran.err);
    lab.verify();
}

fn levels(lab: &Lab) -> Vec<String> {
    let warnings = lab.journal().into_values().filter(|record| record["kind"] == "StorageWarning");
    warnings.map(|record| record["record"]["level"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_recorder_over_its_limit_rotates_at_once_and_records_on() {
    let original = with_days(6);
    let limit = used(&original) * 100 / 104;
    let lab = again(&original, limit, &[("MIN_RETENTION_DAYS", "2")]);
    let recording = lab.record(&["--source", "test:"]);
    assert!(!told(&recording.said).is_empty(), "{}", recording.said);
    let status = lab.status();
    assert!(status["storage"]["percentage_used"].as_f64().unwrap() < 80.0, "{status}");
    lab.verify();
    // Through the recorder: its rotation prints what the command's does.
    let ran = lab.run(&["rotate", "--force"]).expect(0);
    assert!(
        ran.out.contains("is gone") && ran.out.contains("today is never deleted") || {
            // The synthetic scene may have made no event of today yet.
            ran.out.contains("is gone")
        }
    );
    let ran = recording.stop().expect(0);
    assert_eq!(days(&lab)[0], date(6 - told(&ran.err).len() as u64).to_string());
    stays_pruned(&lab);
}

#[test]
fn force_deletes_one_day_where_there_is_room_and_never_a_protected_one() {
    let original = with_days(4);
    let lab = again(&original, 1_000_000_000, &[("MIN_RETENTION_DAYS", "3")]);
    lab.run(&["rotate"]).expect(0).says("nothing is gone");
    let dry = lab.run(&["rotate", "--force", "--dry-run"]).expect(0);
    assert_eq!(dry.out.matches("would go").count(), 1, "{}", dry.out);
    lab.run(&["rotate", "--force"]).expect(0);
    assert_eq!(days(&lab), dates((1..=3).rev()));
    lab.run(&["rotate", "--force"]).expect(0).says("nothing is gone");
    assert_eq!(days(&lab), dates((1..=3).rev()));
    stays_pruned(&lab);
}

#[test]
fn overwriting_goes_as_far_as_today_and_never_takes_its_records() {
    let original = with_days(3);
    original.ingest(&lines(0, 300)).expect(0);
    let keys = [("WHEN_FULL", "overwrite_oldest")];
    let lab = again(&original, used(&original) * 100 / 150, &keys);
    let ran = lab.run(&["rotate"]);
    assert_eq!(told(&ran.err), dates((1..=3).rev()));
    assert_eq!(days(&lab), dates(std::iter::once(0)));
    let today: Vec<_> =
        lab.journaled_ids().into_iter().filter(|id| id.starts_with("day-0-")).collect();
    assert_eq!(today.len(), 300);
    assert_eq!(lab.projected().rows.len(), 300);
    stays_pruned(&lab);
}

/// Puts pictures of that many bytes beside events of a day, as a recorder does.
fn with_pictures(lab: &Lab, age: u64, count: usize, bytes: usize) {
    let directory = lab.data.join("events").join(date(age).to_string());
    fs::create_dir_all(&directory).unwrap();
    let lines: Vec<_> = lines(age, count)
        .into_iter()
        .enumerate()
        .map(|(number, line)| {
            let mut value: Value = serde_json::from_str(&line).unwrap();
            let file = format!("picture-{age}-{number}.jpg");
            fs::write(directory.join(&file), vec![7; bytes]).unwrap();
            value["event_id"] = json!(format!("picture-{age}-{number}"));
            value["image_path"] = json!(format!("data/events/{}/{file}", date(age)));
            value.to_string()
        })
        .collect();
    lab.ingest(&lines).expect(0);
}

fn pictures(lab: &Lab, age: u64) -> Vec<usize> {
    let directory = lab.data.join("events").join(date(age).to_string());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut numbers: Vec<_> = names
        .filter_map(|name| name.strip_suffix(".jpg")?.rsplit('-').next()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_day_that_fills_everything_loses_its_oldest_pictures_and_no_record() {
    let original = lab(1_000_000_000, &[]);
    with_pictures(&original, 0, 100, 100_000);
    let keys = [("WHEN_FULL", "overwrite_oldest")];
    let lab = again(&original, used(&original) * 100 / 95, &keys);
    let ran = lab.run(&["rotate"]).expect(0);
    assert!(ran.out.contains("pictures"), "{}", ran.out);
    let left = pictures(&lab, 0);
    assert!(!left.is_empty() && left.len() < 90, "{left:?}");
    assert_eq!(left, (100 - left.len()..100).collect::<Vec<_>>(), "the oldest go");
    assert_eq!(lab.projected().rows.len(), 100);
    assert!(lab.status()["storage"]["percentage_used"].as_f64().unwrap() < 80.0);
    stays_pruned(&lab);
    assert_eq!(pictures(&lab, 0), left);
    // With "stop" nothing of today goes.
    let lab = again(&original, used(&original) * 100 / 95, &[]);
    lab.run(&["rotate"]).expect(0).says("nothing is gone");
    assert_eq!(pictures(&lab, 0).len(), 100);
}

#[test]
fn what_is_too_old_goes_whatever_the_disk_says() {
    let original = with_days(6);
    let keys = [("MAX_RETENTION_DAYS", "3"), ("MIN_RETENTION_DAYS", "3")];
    let lab = again(&original, 1_000_000_000, &keys);
    let mut recording = lab.record(&["--source", "test:"]);
    assert_eq!(days(&lab)[..2], dates((1..=2).rev()), "today and two days before it are three");
    assert!(recording.said.contains("Retention limit reached, deleting old logs: "));
    // History that is ingested later is too old as well.
    lab.ingest(&lines(40, 150)).expect(0);
    recording.wait_for(&format!("deleting old logs: {}", date(40)));
    recording.stop().expect(0);
    stays_pruned(&lab);
    // Pictures go before their events.
    let original = self::lab(1_000_000_000, &[]);
    for age in [3, 1, 0] {
        with_pictures(&original, age, 3, 10_000);
    }
    let lab = again(&original, 1_000_000_000, &[("IMAGES_RETENTION_DAYS", "2")]);
    lab.run(&["rotate"]).expect(0);
    assert_eq!([3, 1, 0].map(|age| pictures(&lab, age).len()), [0, 3, 3]);
    assert_eq!(lab.projected().rows.len(), 9);
    stays_pruned(&lab);
}

#[test]
fn history_that_shares_a_segment_with_today_goes_by_its_own_day() {
    let lab = lab(1_000_000_000, &[("MIN_RETENTION_DAYS", "1")]);
    let mixed: Vec<_> = lines(0, 50).into_iter().chain(lines(200, 50)).collect();
    lab.ingest(&mixed).expect(0);
    lab.run(&["rotate", "--force"]).expect(0);
    assert_eq!(days(&lab), dates(std::iter::once(0)), "today's stay");
    assert_eq!(lab.projected().rows.len(), 50);
    // The journal still holds them; nothing brings them back.
    stays_pruned(&lab);
    // Another import of the same days is new data, until the next pruning.
    let renamed: Vec<_> =
        lines(200, 10).iter().map(|line| line.replace("\"day-200-", "\"again-200-")).collect();
    lab.ingest(&renamed).expect(0);
    assert_eq!(lab.projected().rows.len(), 60);
    lab.run(&["rotate", "--force"]).expect(0);
    assert_eq!(lab.projected().rows.len(), 50);
    stays_pruned(&lab);
}

#[test]
fn what_a_day_gives_back_is_told_with_pictures_that_came_just_now() {
    let lab = lab(1_000_000_000, &[("MIN_RETENTION_DAYS", "1")]);
    let mut all = Vec::new();
    for age in [2, 1] {
        let directory = lab.data.join("events").join(date(age).to_string());
        fs::create_dir_all(&directory).unwrap();
        for line in lines(age, 5) {
            let mut value: Value = serde_json::from_str(&line).unwrap();
            let file = format!("{}.jpg", value["event_id"].as_str().unwrap());
            fs::write(directory.join(&file), vec![1; 200_000]).unwrap();
            value["image_path"] = json!(format!("data/events/{}/{file}", date(age)));
            all.push(value.to_string());
        }
    }
    lab.ingest(&all).expect(0);
    let ran = lab.run(&["rotate", "--force"]).expect(0);
    let told = ran.out.lines().find(|line| line.contains("is gone")).unwrap();
    let mut words = told.split_whitespace().skip_while(|word| *word != "all").skip(1);
    let freed: f64 = words.next().unwrap().strip_suffix("MB").unwrap().parse().unwrap();
    assert!(told.starts_with(&date(2).to_string()) && freed >= 1.0, "{told}");
}

#[test]
fn contradictory_settings_are_errors_of_the_configuration() {
    for (keys, name) in [
        (vec![("MAX_RETENTION_DAYS", "3"), ("MIN_RETENTION_DAYS", "7")], "max_retention_days"),
        (
            vec![("MAX_RETENTION_DAYS", "7"), ("IMAGES_RETENTION_DAYS", "9")],
            "images_retention_days",
        ),
        (vec![("STORAGE_CHECK_INTERVAL", "0")], "storage_check_interval"),
    ] {
        lab(1_000_000_000, &keys).run(&["config", "check"]).expect(2).says(name);
    }
}

#[test]
fn a_missing_mount_is_waited_for_and_nothing_is_written_in_its_place() {
    let lab = lab(1_000_000_000, &[]);
    let mount = lab.path("mount");
    fs::create_dir(&mount).unwrap();
    let data = lab.path("mount/data");
    let lab = lab.with("LENSLOG__STORAGE__REQUIRE_MOUNT", mount.to_str().unwrap());
    let moved = |args: &[&str]| {
        let mut command = lab.command(args);
        command.env("LENSLOG_DATA", &data);
        command
    };
    let output = moved(&["ingest"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let mut recording: Recording = lab.record_until("require_mount", &["--source", "test:"]);
    assert!(recording.child.try_wait().unwrap().is_none());
    assert!(!lab.data.exists() && fs::read_dir(&mount).unwrap().next().is_none());
    recording.stop().expect(0);
    assert!(!lab.data.exists());
}

#[test]
fn what_is_not_ours_is_left_alone_told_once_and_stops_nothing() {
    let original = with_days(3);
    let lab = again(&original, 1_000_000_000, &[("MIN_RETENTION_DAYS", "1")]);
    let events = lab.data.join("events");
    let outside = lab.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious.jpg"), "precious").unwrap();
    std::os::unix::fs::symlink(&outside, events.join("2001-01-01")).unwrap();
    fs::create_dir_all(events.join("2025-13-45")).unwrap();
    fs::create_dir_all(events.join(format!("{}.bak", date(3)))).unwrap();
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe");
    fs::create_dir_all(events.join::<&std::ffi::OsStr>(odd)).unwrap();
    fs::write(events.join("2001-01-02"), "a file").unwrap();
    // Inside a day everything goes, links as links.
    let oldest = events.join(date(3).to_string());
    std::os::unix::fs::symlink(&outside, oldest.join("link")).unwrap();
    fs::create_dir_all(oldest.join("deeper/still")).unwrap();
    fs::write(oldest.join("deeper/still/x"), "x").unwrap();
    let ran = lab.run(&["rotate", "--force"]).expect(0);
    assert!(!oldest.exists());
    let ran = format!("{}{}", ran.err, lab.run(&["rotate", "--force"]).expect(0).err);
    assert!(outside.join("precious.jpg").exists());
    for name in ["2001-01-01", "2025-13-45", "2001-01-02"] {
        assert!(events.join(name).symlink_metadata().is_ok(), "{name}");
        assert!(ran.contains(name), "{name} is told: {ran}");
    }
    assert_eq!(days(&lab).len(), 1 + 5);
    lab.verify();
}

fn chattr(flag: &str, path: &Path) -> bool {
    did("chattr", &[flag, path.to_str().unwrap()])
}

#[test]
fn a_file_that_cannot_be_deleted_stops_nothing_and_goes_later() {
    let original = with_days(4);
    let lab = again(&original, 1_000_000_000, &[("MIN_RETENTION_DAYS", "1")]);
    let stuck = lab.data.join("events").join(date(4).to_string()).join("stuck.jpg");
    fs::write(&stuck, vec![1; 300_000]).unwrap();
    if lacks("root, and a file system with immutable files", chattr("+i", &stuck)) {
        return;
    }
    let ran = lab.run(&["rotate", "--force"]);
    let next = lab.run(&["rotate", "--force"]);
    let existed = stuck.exists();
    assert!(chattr("-i", &stuck));
    assert!(existed);
    assert!(ran.err.contains("stuck.jpg") || ran.err.contains("cannot be emptied"), "{}", ran.err);
    assert!(!lab.data.join("events").join(date(3).to_string()).exists(), "{}", next.err);
    // The next tombstone takes it.
    lab.run(&["rotate", "--force"]).expect(0);
    assert!(!stuck.exists());
    stays_pruned(&lab);
}

#[test]
fn a_pruned_day_that_somebody_puts_back_is_told_and_goes_with_the_next_one() {
    let original = with_days(4);
    let lab = again(&original, 1_000_000_000, &[("MIN_RETENTION_DAYS", "1")]);
    let oldest = lab.data.join("events").join(date(4).to_string());
    let copy = lab.path("copy");
    crate::harness::copy_tree(&oldest, &copy);
    lab.run(&["rotate", "--force"]).expect(0);
    assert!(!oldest.exists());
    crate::harness::copy_tree(&copy, &oldest);
    let told = lab.run(&["replay", "verify"]).expect(1);
    assert!(told.out.contains("jsonl      DIFFERS"), "{}", told.out);
    assert!(told.out.contains("plaintext  DIFFERS"), "{}", told.out);
    lab.run(&["rotate", "--force"]).expect(0);
    assert_eq!(days(&lab), dates((1..=3).rev()));
    stays_pruned(&lab);
}

#[test]
fn old_days_that_cannot_be_deleted_do_not_end_a_rotation() {
    let original = with_days(8);
    let lab = again(&original, 1_000_000_000, &[("MIN_RETENTION_DAYS", "1")]);
    let stuck = lab.data.join("events").join(date(8).to_string()).join("stuck.jpg");
    fs::write(&stuck, vec![1; 8_000_000]).unwrap();
    if lacks("root, and a file system with immutable files", chattr("+i", &stuck)) {
        return;
    }
    // Only most of the other days make less than 80 % of that.
    let limit = (used(&lab) as f64 - 2_600_000.0) / 0.8 / 1e9;
    let lab = lab.with("LENSLOG__STORAGE__MAX_STORAGE_GB", &limit.to_string());
    let ran = lab.run(&["rotate", "--force"]);
    assert!(chattr("-i", &stuck));
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains(&format!("{} could not be deleted", date(8))), "{}", ran.err);
    assert!(!ran.err.contains("rotation ends"), "{}", ran.err);
    assert!(lab.status()["storage"]["percentage_used"].as_f64().unwrap() < 80.0, "{}", ran.out);
    assert!(days(&lab).len() <= 5, "{:?}", days(&lab));
}

#[test]
fn what_lies_elsewhere_is_counted_and_goes_too() {
    let other = tempfile::tempdir().unwrap();
    let original = with_days(3);
    let keys = [("MIN_RETENTION_DAYS", "1")];
    let lab = again(&original, 1_000_000_000, &keys);
    let before = used(&lab);
    // The pictures on another disk, behind a link.
    let events = other.path().join("events");
    crate::harness::copy_tree(&lab.data.join("events"), &events);
    fs::remove_dir_all(lab.data.join("events")).unwrap();
    std::os::unix::fs::symlink(&events, lab.data.join("events")).unwrap();
    let after = used(&lab);
    assert!(after.abs_diff(before) < before / 20, "{before} and {after}");
    lab.run(&["rotate", "--force"]).expect(0);
    assert!(!Path::new(&events).join(date(3).to_string()).exists());
    assert_eq!(days(&lab), dates((1..=2).rev()));
}
