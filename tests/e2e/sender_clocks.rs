//! Folder cameras whose clocks are wrong, and honest ones whose pictures come late, with every bound on what is kept: no
//! time is falsified, and nothing recent is deleted because of what a sender claims.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use image::RgbImage;
use lenslog_journal::Timestamp;
use lenslog_vision::drawing::{Quality, Taken, encode_taken};
use serde_json::Value;

use crate::clocks::Clocks;
use crate::disk::Disk;
use crate::harness::{Recording, TestEnv, zone};
use crate::scrape::Served;
use crate::small_disk::noise;
use crate::storage::lines;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A small picture that claims to be of that second.
fn picture(second: i64, number: u32) -> Vec<u8> {
    let color = image::Rgb([number as u8, (number >> 8) as u8, 90]);
    encoded(&RgbImage::from_pixel(64, 48, color), second)
}

/// A picture of a camera whose clock has that offset from UTC.
fn picture_shown(second: i64, offset_minutes: i16, number: u32) -> Vec<u8> {
    let picture = RgbImage::from_pixel(64, 48, image::Rgb([number as u8, 90, 90]));
    encoded_at(&picture, second, offset_minutes)
}

/// Makes the offset in a picture that of another time, which says nothing.
fn forget_offset(picture: &mut [u8]) {
    let offset = picture.windows(4).position(|tag| tag == [0x90, 0x11, 0, 2]).unwrap();
    picture[offset + 1] = 0x12;
}

fn encoded(picture: &RgbImage, second: i64) -> Vec<u8> {
    encoded_at(picture, second, (zone().local_minus_utc() / 60) as i16)
}

fn encoded_at(picture: &RgbImage, second: i64, offset_minutes: i16) -> Vec<u8> {
    let time = Timestamp { utc_micros: second * 1_000_000, offset_minutes };
    encode_taken(picture, Quality::default(), &Taken { time, camera_name: "yard" }).unwrap()
}

fn upload(folder: &Path, name: &str, bytes: &[u8]) {
    let beside = folder.join(format!("{name}.part"));
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, folder.join(name)).unwrap();
}

/// A test environment with folder cameras, in which every picture is an event.
fn env(cameras: &[&str], storage: &str) -> TestEnv {
    let env = TestEnv::new();
    configure(&env, cameras, storage);
    env
}

fn configure(env: &TestEnv, cameras: &[&str], storage: &str) {
    let mut config = format!(
        "[storage]\nstorage_check_interval = 1\n{storage}\n[metrics]\nlisten = \"127.0.0.1:0\"\n[images]\nkeep = \"clean\"\n\
         [events]\nmax_event = \"0s\"\ndeduplication_window = \"0s\"\n"
    );
    for camera in cameras {
        let folder = env.path(camera);
        fs::create_dir(&folder).unwrap();
        config += &format!("[cameras.{camera}]\nsource = \"dir:{}\"\n", folder.display());
    }
    fs::write(env.path("lenslog.toml"), config).unwrap();
}

fn record(env: &TestEnv) -> Recording {
    let recording = env.record(&[]);
    env.until_cameras_are_up();
    recording
}

/// The events of a camera in the database: what is there to look at.
fn events(env: &TestEnv, camera: &str) -> Vec<Value> {
    let ran = env.run(&["events", "--json", "--limit", "1000", "--camera", camera]).expect(0);
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn until_events(env: &TestEnv, camera: &str, count: usize) -> Vec<Value> {
    env.until("all are events", || Some(events(env, camera)).filter(|found| found.len() >= count))
}

/// The second that an event is dated.
fn second(event: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(event["timestamp"].as_str().unwrap()).unwrap().timestamp()
}

#[test]
fn wrong_clocks_delete_nothing_and_are_named() {
    let bounds = [
        "max_retention_days = 30",
        "max_retention_days = 7\nimages_retention_days = 2",
        "images_retention_days = 1\nwhen_full = \"overwrite_oldest\"",
    ];
    for storage in bounds {
        let env = env(&["fine", "past", "epoch", "future", "fast"], storage);
        let recording = record(&env);
        let start = now();
        // 1970 at each wake, 2000, 2037, five minutes fast.
        let claims = [
            ("fine", start),
            ("epoch", 2 * DAY),
            ("past", 946_684_800),
            ("future", 2_114_380_800),
            ("fast", start + 300),
        ];
        for number in 0..3 {
            for (camera, second) in claims {
                let name = format!("{number}.jpg");
                upload(&env.path(camera), &name, &picture(second + i64::from(number), number));
            }
        }
        for (camera, claim) in claims {
            for event in until_events(&env, camera, 3) {
                let metadata = &event["metadata"];
                let claimed = metadata["claimed_time"].as_str();
                assert_eq!(claimed.is_none(), camera == "fine", "{event}");
                let image = event["image_path"].as_str().unwrap();
                assert!(env.path(image).exists(), "its picture is kept: {event}");
                if let Some(claimed) = claimed {
                    let claimed = chrono::DateTime::parse_from_rfc3339(claimed).unwrap();
                    assert!((0..3).contains(&(claimed.timestamp() - claim)), "{event}");
                    assert!((start - 5..=now()).contains(&second(&event)), "{event}");
                }
            }
        }
        let status = env.run(&["status"]).expect(1);
        assert!(!status.out.contains("camera fine: the sender"), "{}", status.out);
        for (camera, off) in
            [("past", "26 years"), ("epoch", "56 years"), ("future", "ahead"), ("fast", "min")]
        {
            let line = format!("camera {camera}: the sender's clock is ");
            let found = status.out.lines().find(|found| found.contains(&line));
            assert!(found.is_some_and(|found| found.contains(off)), "{}", status.out);
        }
        assert_eq!(Served::by(&recording).get("/healthz").status, 200);
        let ran = recording.stop().expect(0);
        let warnings =
            ran.err.lines().filter(|line| line.contains("the sender's clock is ")).count();
        assert_eq!(warnings, 4, "one each:\n{}", ran.err);
        env.verify();
    }
}

#[test]
fn a_camera_in_2037_costs_others_nothing_on_a_disk_that_overwrites() {
    // The recorder believes the claims of "future" only where the configuration says so.
    for (time, key) in
        [("auto", "max_retention_days = 7"), ("claimed", "images_retention_days = 2")]
    {
        let Some(disk) = Disk::new("tmpfs", 64_000_000, &[], "") else { return };
        let storage = format!("when_full = \"overwrite_oldest\"\n{key}");
        let mut env = env(&["fine", "future"], &storage);
        let config = fs::read_to_string(env.path("lenslog.toml")).unwrap();
        fs::write(env.path("lenslog.toml"), format!("{config}time = \"{time}\"\n")).unwrap();
        env.data = disk.point.join("data");
        fs::create_dir(&env.data).unwrap();
        // A record of yesterday vouches for this machine's clock.
        env.ingest(&lines(1, 1)).expect(0);
        let recording = record(&env);
        // The path goes with the picture.
        let stored = |event: &Value| event["image_path"].is_string();
        // One and a half times the disk: a fifth by the camera that is right.
        for number in 0..60_u32 {
            let (camera, second) = match number % 5 {
                0 => ("fine", now()),
                _ => ("future", 2_114_380_800 + i64::from(number) * 60),
            };
            let pixels = noise(1280 * 1000 * 3, u64::from(number));
            let picture = RgbImage::from_raw(1280, 1000, pixels).unwrap();
            upload(&env.path(camera), &format!("{number}.jpg"), &encoded(&picture, second));
            // The disk rotates as it fills, not at the end.
            until_events(&env, camera, 1 + number as usize / 5);
        }
        let (fine, future) = (until_events(&env, "fine", 12), until_events(&env, "future", 48));
        assert!(stored(&fine[0]) && future.iter().any(|event| !stored(event)), "{time}");
        let in_2037 = future.iter().filter(|event| second(event) > now() + DAY).count();
        assert_eq!(in_2037, if time == "claimed" { 48 } else { 0 });
        if time == "claimed" {
            assert!(fine.iter().all(stored), "what is dated after today goes first");
        }
        assert_eq!(env.journaled_ids().len(), 1 + 60, "{time}: no record goes");
        recording.stop().expect(0);
        env.verify();
    }
}

#[test]
fn a_clock_that_jumps_costs_no_honest_time_and_warns_once() {
    let storage = "when_full = \"overwrite_oldest\"\nmax_retention_days = 30";
    let env = env(&["yard"], storage);
    let recording = record(&env);
    let start = now();
    // How far each picture's clock is off, and whether its time is possible.
    let jumps = [
        (0, true),
        (HOUR, false),
        (-HOUR, true),
        (-40 * DAY, false),
        (-2 * HOUR, true),
        (11 * 365 * DAY, false),
        (-20 * 365 * DAY, false),
        (-3 * HOUR, true),
    ];
    for (number, (off, is_possible)) in (0..).zip(jumps) {
        let claim = now() + off;
        upload(&env.path("yard"), &format!("{number}.jpg"), &picture(claim, number));
        let name = Value::from(format!("{number}.jpg"));
        let event = env.until("the picture is an event", || {
            events(&env, "yard").into_iter().find(|event| event["metadata"]["file"] == name)
        });
        assert_eq!(event["metadata"]["claimed_time"].is_null(), is_possible, "{event}");
        if is_possible {
            assert_eq!(second(&event), claim, "{event}");
        } else {
            assert!((start - 1..=now()).contains(&second(&event)), "{event}");
        }
        assert!(env.path(event["image_path"].as_str().unwrap()).exists(), "{event}");
        let code = env.run(&["status"]).code;
        assert_eq!(code, Some(i32::from(!is_possible)), "degraded while it is wrong: {event}");
    }
    let ran = recording.stop().expect(0);
    assert_eq!(ran.err.matches("the sender's clock is ").count(), 1, "once a day:\n{}", ran.err);
    env.verify();
}

#[test]
fn a_camera_in_utc_at_two_hours_east_is_named_with_its_key() {
    let Some(clocks) = Clocks::at("2026-07-01T12:00:00Z", "Europe/Berlin") else { return };
    configure(&clocks.env, &["yard"], "max_retention_days = 30");
    let recording = record(&clocks.env);
    let start = chrono::DateTime::parse_from_rfc3339("2026-07-01T12:00:00Z").unwrap();
    let send = |number: u32| {
        let at = start + chrono::TimeDelta::minutes(2 * i64::from(number));
        clocks.set(&at.to_rfc3339());
        let mut bytes = picture_shown(at.timestamp(), 0, number);
        forget_offset(&mut bytes);
        upload(&clocks.env.path("yard"), &format!("{number}.jpg"), &bytes);
        let name = Value::from(format!("{number}.jpg"));
        let event = clocks.env.until("the picture is an event", || {
            events(&clocks.env, "yard").into_iter().find(|event| event["metadata"]["file"] == name)
        });
        second(&event) - at.timestamp()
    };
    // Twenty that came singly show that it is not late, but wrong.
    let offs: Vec<_> = (0..23).map(send).collect();
    assert!(offs[..20].iter().all(|off| *off == -2 * HOUR), "{offs:?}");
    assert!(offs[21..].iter().all(|off| (0..100).contains(off)), "{offs:?}");
    let status = clocks.env.run(&["status"]).expect(1);
    let key = "cameras.yard.zone = \"+00:00\"";
    assert!(status.out.contains("2 h 0 min behind") && status.out.contains(key), "{}", status.out);
    let ran = recording.stop().expect(0);
    assert_eq!(ran.err.matches(key).count(), 1, "{}", ran.err);
    // With the key, its times are right.
    let path = clocks.env.path("lenslog.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(path, config + "zone = \"+00:00\"\n").unwrap();
    let recording = record(&clocks.env);
    assert_eq!(send(30), 0);
    clocks.env.run(&["status"]).expect(0);
    recording.stop().expect(0);
    clocks.env.verify();
}

#[test]
fn pictures_of_three_days_keep_their_times_recorder_on_and_off() {
    for is_newest_first in [false, true] {
        for is_on in [true, false] {
            let env = env(&["yard"], "max_retention_days = 30");
            let folder = env.path("yard");
            let mut recording = Some(record(&env));
            if let Some(recording) = recording.take_if(|_| !is_on) {
                recording.stop().expect(0);
            }
            let start = now();
            let claims: Vec<_> =
                (0..500).map(|number| start - number * 3 * DAY / 500 - 60).collect();
            let mut order: Vec<_> = claims.iter().copied().zip(0..).collect();
            if !is_newest_first {
                order.reverse();
            }
            for (second, number) in order {
                upload(&folder, &format!("{number}.jpg"), &picture(second, number));
            }
            if !is_on {
                recording = Some(record(&env));
            }
            let mut found: Vec<_> = until_events(&env, "yard", 500).iter().map(second).collect();
            found.sort_unstable_by(|one, other| other.cmp(one));
            assert_eq!(found, claims, "newest first: {is_newest_first}, on: {is_on}");
            env.run(&["status"]).expect(0);
            recording.unwrap().stop().expect(0);
        }
    }
}

#[test]
fn copies_of_fourteen_days_keep_their_times() {
    let env = env(&["exif", "plain"], "");
    let recording = record(&env);
    let source = env.path("card");
    fs::create_dir(&source).unwrap();
    let start = now();
    let claims: Vec<_> = (0..28).map(|number| start - 60 - number * DAY / 2).collect();
    for (number, second) in (0..).zip(&claims) {
        // What was written by a trail camera, and by one without EXIF.
        fs::write(source.join(format!("exif{number}.jpg")), picture(*second, number)).unwrap();
        let plain = source.join(format!("plain{number}.jpg"));
        RgbImage::from_pixel(32, 24, image::Rgb([number as u8; 3])).save(&plain).unwrap();
        let modified = UNIX_EPOCH + std::time::Duration::from_secs(*second as u64);
        fs::File::options().write(true).open(plain).unwrap().set_modified(modified).unwrap();
    }
    let copy = |script: &str, camera: &str| {
        let script = script.replace("FROM", source.to_str().unwrap());
        let script = script.replace("TO", env.path(camera).to_str().unwrap());
        let status = std::process::Command::new("sh").args(["-c", &script]).status();
        assert!(status.unwrap().success());
    };
    copy("cp FROM/exif* TO", "exif");
    copy("cp -p FROM/plain* TO", "plain");
    for camera in ["exif", "plain"] {
        let mut found: Vec<_> = until_events(&env, camera, 28).iter().map(second).collect();
        found.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(found, claims, "{camera}");
    }
    env.run(&["status"]).expect(0);
    recording.stop().expect(0);
}

#[test]
fn both_nights_that_change_the_clocks_are_read_as_pictures_arrive() {
    for (now, shown, expected) in [
        // 02:30 comes twice.
        ("2026-10-25T00:30:30Z", "2026-10-25T02:30:00Z", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T01:30:30Z", "2026-10-25T02:30:00Z", "2026-10-25T02:30:00+01:00"),
        // 02:30 does not come; the camera has missed the change.
        ("2026-03-29T01:30:30Z", "2026-03-29T02:30:00Z", "2026-03-29T02:30:00+01:00"),
    ] {
        let Some(clocks) = Clocks::at(now, "Europe/Berlin") else { return };
        configure(&clocks.env, &["yard"], "");
        let recording = record(&clocks.env);
        let instant = |text| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        let mut bytes = picture_shown(instant(shown), 0, 0);
        forget_offset(&mut bytes);
        upload(&clocks.env.path("yard"), "a.jpg", &bytes);
        let found = until_events(&clocks.env, "yard", 1);
        assert_eq!(second(&found[0]), instant(expected), "{now}: {}", found[0]);
        recording.stop().expect(0);
    }
}

#[test]
fn a_recorder_in_1970_believes_its_cameras() {
    let Some(clocks) = Clocks::at("1970-01-01T00:10:00Z", "UTC") else { return };
    configure(&clocks.env, &["yard"], "max_retention_days = 30");
    let recording = record(&clocks.env);
    let claim = now() - 3 * HOUR;
    upload(&clocks.env.path("yard"), "a.jpg", &picture(claim, 1));
    let found = until_events(&clocks.env, "yard", 1);
    assert_eq!(second(&found[0]), claim);
    assert!(found[0]["metadata"]["claimed_time"].is_null());
    recording.stop().expect(0);
}
