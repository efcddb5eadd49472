//! A data directory that goes away, or cannot be written any more, while the recorder records: events wait in memory,
//! nothing is made in its place, and what is back is gone on with.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::disk::Disk;
use crate::harness::{Recording, TestEnv, copy_tree};
use crate::scrape::Served;

/// A folder that pictures are put into: each one is an event.
struct Camera {
    env: TestEnv,
    recording: Recording,
    served: Served,
    /// Ids of the logged events, in order.
    ids: Vec<String>,
}

impl Camera {
    fn of(env: TestEnv) -> Self {
        let env = env
            .with("LENSLOG__METRICS__LISTEN", "127.0.0.1:0")
            .with("LENSLOG__METRICS__METRICS_INTERVAL", "1s");
        let pictures = env.path("pictures");
        fs::create_dir(&pictures).unwrap();
        let recording = env.record(&["--source", &format!("dir:{}", pictures.display())]);
        env.until_cameras_are_up();
        Self { served: Served::by(&recording), env, recording, ids: Vec::new() }
    }

    /// Puts a picture there and returns the event's id once it is logged. An hour lies between any two.
    fn shoot(&mut self) -> String {
        let number = self.ids.len();
        let beside = self.env.path("picture");
        let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([number as u8, 80, 160]));
        picture.save_with_format(&beside, image::ImageFormat::Jpeg).unwrap();
        let hours_ago = Duration::from_secs(3600 * (100 - number as u64));
        let file = fs::File::options().write(true).open(&beside).unwrap();
        file.set_modified(SystemTime::now() - hours_ago).unwrap();
        fs::rename(&beside, self.env.path(&format!("pictures/{number}.jpg"))).unwrap();
        let line = self.recording.wait_for("event=\"evt_");
        let (_, rest) = line.split_once("event=\"").unwrap();
        self.ids.push(rest.split('"').next().unwrap().to_owned());
        self.ids.last().unwrap().clone()
    }

    fn until_healthy(&self) {
        self.env.until("all is well", || (self.served.get("/healthz").status == 200).then_some(()));
    }

    fn until_ill(&self, text: &str) {
        self.env.until(text, || {
            let answer = self.served.get("/healthz");
            (answer.status == 503 && answer.body.contains(text)).then_some(())
        });
    }

    /// Waits until the recorder holds no file below a path.
    fn until_let_go(&self, path: &Path) {
        let pid = self.recording.child.id();
        self.env.until("every file is let go of", || {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
            let mut paths = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            (!paths.any(|open| open.starts_with(path))).then_some(())
        });
    }

    /// Ends well, with everything in the journal, and each change of state logged once.
    fn ends_whole(self, changes: usize) {
        let (env, ids) = (self.env, self.ids);
        let ran = self.recording.stop().expect(0);
        for text in ["events are kept in memory", "takes events again"] {
            assert_eq!(ran.err.matches(text).count(), changes, "{text}: {}", ran.err);
        }
        assert!(!ran.out.contains("LOST"), "{}", ran.out);
        assert_eq!(env.journaled_ids(), ids);
        env.verify();
        assert_eq!(env.projected().row_ids(), ids);
    }

    /// Is ended while events wait: they are counted and named, and it is no success.
    fn ends_with_losses(self, lost: &[String]) -> TestEnv {
        let ran = self.recording.stop().expect(1);
        let reported = format!("LOST: {} events", lost.len());
        assert!(ran.out.contains(&reported), "{reported}\n{}\n{}", ran.out, ran.err);
        for id in lost {
            assert!(ran.out.contains(id.as_str()), "{id}\n{}", ran.out);
        }
        self.env
    }
}

/// Everything below a directory.
fn names(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        names.push(entry.path().display().to_string());
        names.extend(names_below(&entry.path()));
    }
    names.sort();
    names
}

fn names_below(path: &Path) -> Vec<String> {
    if path.is_dir() { names(path) } else { Vec::new() }
}

#[test]
fn a_moved_data_directory_is_waited_for() {
    let mut camera = Camera::of(TestEnv::new());
    let (data, moved) = (camera.env.data.clone(), camera.env.path("moved"));
    for round in 1..=2 {
        camera.shoot();
        fs::rename(&data, &moved).unwrap();
        camera.shoot();
        camera.until_ill("is gone");
        camera.until_let_go(&moved);
        camera.shoot();
        assert!(!data.exists(), "round {round}");
        // An empty directory in its place is not it.
        fs::create_dir(&data).unwrap();
        camera.shoot();
        assert_eq!(names(&data), [""; 0], "round {round}");
        fs::remove_dir(&data).unwrap();
        fs::rename(&moved, &data).unwrap();
        camera.until_healthy();
        camera.shoot();
    }
    camera.ends_whole(2);
}

#[test]
fn waiting_events_are_counted_and_named_at_the_end() {
    let mut camera = Camera::of(TestEnv::new());
    let (data, moved) = (camera.env.data.clone(), camera.env.path("moved"));
    let kept = camera.shoot();
    fs::rename(&data, &moved).unwrap();
    let lost = [camera.shoot(), camera.shoot()];
    let env = camera.ends_with_losses(&lost);
    assert!(!data.exists());
    fs::rename(&moved, &data).unwrap();
    env.ingest(&[]).expect(0);
    env.verify();
    assert_eq!(env.journaled_ids(), [kept]);
}

#[test]
fn a_removed_disk_is_waited_for_and_nothing_written_there() {
    let Some(disk) = Disk::new("ext4", 64_000_000, &[], "") else { return };
    let point = disk.point.to_str().unwrap();
    let mut env = TestEnv::new()
        .with("LENSLOG__STORAGE__LOG_DIR", disk.point.join("logs").to_str().unwrap())
        .with("LENSLOG__STORAGE__REQUIRE_MOUNT", point);
    env.data = disk.point.join("data");
    let mut camera = Camera::of(env);
    camera.shoot();
    // What lies below the mount point is a copy of it, to make it worse.
    let copy = camera.env.path("copy");
    copy_tree(&camera.env.data, &copy);
    disk.unmount();
    copy_tree(&copy, &camera.env.data);
    let before = names(&disk.point);
    camera.shoot();
    camera.until_ill("is gone");
    camera.env.until("the disk is let go of", || disk.is_let_go().then_some(()));
    for _ in 0..3 {
        // Metrics are served, and not written to another place.
        camera.recording.wait_for("status: ");
    }
    camera.shoot();
    assert_eq!(names(&disk.point), before);
    fs::remove_dir_all(&camera.env.data).unwrap();
    assert!(disk.mount());
    camera.until_healthy();
    camera.shoot();
    camera.ends_whole(1);
}

#[test]
fn a_read_only_disk_is_waited_for_until_repaired() {
    let Some(disk) = Disk::new("ext4", 64_000_000, &[], "errors=remount-ro") else { return };
    let mut env = TestEnv::new();
    env.data = disk.point.join("data");
    let mut camera = Camera::of(env);
    camera.shoot();
    disk.break_down();
    for _ in 0..5 {
        camera.shoot();
    }
    camera.until_ill("Read-only file system");
    let status = camera.env.run(&["status"]);
    assert_eq!(status.code, Some(1), "{}{}", status.out, status.err);
    assert!(status.out.contains("wait in memory"), "{}{}", status.out, status.err);
    for _ in 0..3 {
        camera.recording.wait_for("status: ");
    }
    let reported = camera.recording.said.matches("the journal cannot write").count();
    assert_eq!(reported, 1, "{}", camera.recording.said);
    // Every part that cannot write says so once.
    let errors = camera.recording.said.matches("ERROR").count();
    assert!(errors <= 8, "{}", camera.recording.said);
    // It cannot be repaired as long as it is in use.
    disk.unmount();
    camera.env.until("the disk is let go of", || disk.is_let_go().then_some(()));
    disk.repair();
    assert!(disk.mount());
    camera.until_healthy();
    camera.shoot();
    camera.ends_whole(1);
}

#[test]
fn a_recorder_on_a_read_only_disk_reports_what_is_lost() {
    let Some(disk) = Disk::new("ext4", 64_000_000, &[], "errors=remount-ro") else { return };
    let mut env = TestEnv::new();
    env.data = disk.point.join("data");
    let mut camera = Camera::of(env);
    let kept = camera.shoot();
    disk.break_down();
    let lost = [camera.shoot(), camera.shoot(), camera.shoot()];
    let env = camera.ends_with_losses(&lost);
    disk.unmount();
    env.until("the disk is let go of", || disk.is_let_go().then_some(()));
    disk.repair();
    assert!(disk.mount());
    env.ingest(&[]).expect(0);
    env.verify();
    assert_eq!(env.journaled_ids(), [kept]);
}

#[test]
fn a_moved_journal_is_waited_for() {
    let mut camera = Camera::of(TestEnv::new());
    let (journal, moved) = (camera.env.data.join("journal"), camera.env.data.join("journal.bak"));
    camera.shoot();
    fs::rename(&journal, &moved).unwrap();
    camera.shoot();
    camera.until_ill("is gone");
    let status = camera.env.run(&["status"]);
    let status = status.expect(1).says("is gone").says("wait in memory");
    assert!(status.err.contains("journal is gone"), "{}", status.err);
    camera.shoot();
    camera.until_let_go(&moved);
    assert!(!journal.exists());
    // What was put into it meanwhile is named when it is back.
    let segment = names(&moved).into_iter().find(|name| name.ends_with(".seg")).unwrap();
    let stray = moved.join("00000000000000000001-2026-11-01.seg");
    fs::copy(segment, stray).unwrap();
    fs::rename(&moved, &journal).unwrap();
    camera.recording.wait_for("2026-11-01.seg: superseded");
    camera.until_ill("2026-11-01.seg: superseded");
    fs::remove_file(journal.join("00000000000000000001-2026-11-01.seg")).unwrap();
    camera.until_healthy();
    camera.shoot();
    camera.ends_whole(1);
}

#[test]
fn events_after_the_journal_is_removed_are_counted_as_lost() {
    let mut camera = Camera::of(TestEnv::new());
    camera.shoot();
    fs::remove_dir_all(camera.env.data.join("journal")).unwrap();
    let lost = [camera.shoot(), camera.shoot()];
    camera.until_ill("is gone");
    let acknowledged = camera.env.feed(&["ingest", "--ack"], crate::harness::line(1).as_bytes());
    assert_eq!(acknowledged.out, "", "nothing is acknowledged into nothing");
    let env = camera.ends_with_losses(&lost);
    // Without a recorder, IDENTITY says that there was a journal.
    env.run(&["status"]).expect(1).says("data/journal: missing or without a segment");
}

#[test]
fn a_removed_active_segment_loses_no_acknowledged_event() {
    let mut camera = Camera::of(TestEnv::new());
    camera.shoot();
    let mut segments = names(&camera.env.data.join("journal"));
    segments.retain(|name| name.ends_with(".seg"));
    fs::remove_file(segments.last().unwrap()).unwrap();
    camera.shoot();
    camera.shoot();
    camera.ends_whole(0);
}

/// `journal/` is a disk of its own, which is taken out and put back.
fn journal_disk_goes_away(requires_mount: bool) {
    let Some(mut disk) = Disk::new("ext4", 64_000_000, &[], "") else { return };
    let mut env = TestEnv::new();
    assert!(disk.mount_at(&env.data.join("journal")));
    if requires_mount {
        env = env.with("LENSLOG__STORAGE__REQUIRE_MOUNT", disk.point.to_str().unwrap());
    }
    let mut camera = Camera::of(env);
    camera.shoot();
    disk.unmount();
    camera.shoot();
    camera.until_ill("is gone");
    camera.env.until("the disk is let go of", || disk.is_let_go().then_some(()));
    camera.shoot();
    assert_eq!(names(&disk.point), [""; 0], "nothing is made in its place");
    assert!(disk.mount());
    camera.until_healthy();
    camera.shoot();
    camera.ends_whole(1);
}

#[test]
fn a_journal_disk_that_is_taken_out_is_waited_for() {
    journal_disk_goes_away(false);
}

#[test]
fn a_journal_disk_that_is_required_is_waited_for() {
    journal_disk_goes_away(true);
}
