//! Sources that go away, come back, end and are reloaded: nothing is recorded twice, and nothing is missed in silence.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, RgbImage};
use rustix::process::Signal;

use crate::harness::Lab;

fn jpeg(shade: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = RgbImage::from_pixel(64, 48, image::Rgb([shade, 90, 200]));
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// Frames of a camera that the journal tells of.
fn frames(lab: &Lab, camera: &str) -> u64 {
    let journal = lab.journal();
    let minutes = journal.values().filter(|value| value["kind"] == "CameraMinute");
    let of_camera = minutes.filter(|value| value["record"]["camera_id"] == camera);
    of_camera.map(|value| value["record"]["frames"].as_u64().unwrap()).sum()
}

#[test]
fn pictures_that_come_while_their_folder_is_away_are_recorded_once_it_is_back() {
    let lab = Lab::new();
    let (folder, away) = (lab.path("pictures"), lab.path("away"));
    let put = |folder: &Path, name: &str, shade| fs::write(folder.join(name), jpeg(shade)).unwrap();
    // Absent at the start, it is looked for; what is in it by then came after the start.
    let source = format!("dir:{}", folder.display());
    let mut recording = lab.record_until("the camera is lost", &["--source", &source]);
    fs::create_dir(&away).unwrap();
    put(&away, "one.jpg", 1);
    fs::rename(&away, &folder).unwrap();
    recording.wait_for("the camera is back");
    let taken = |count: u64| {
        lab.until("the picture is taken", || {
            (lab.status()["counters"]["frames"] == count).then_some(())
        });
    };
    taken(1);
    put(&folder, "two.jpg", 60);
    taken(2);
    fs::rename(&folder, &away).unwrap();
    recording.wait_for("the camera is lost");
    put(&away, "three.jpg", 120);
    fs::rename(&away, &folder).unwrap();
    recording.wait_for("the camera is back");
    taken(3);
    put(&folder, "four.jpg", 180);
    taken(4);
    recording.stop().expect(0);
    assert_eq!(frames(&lab, "camera_1"), 4);
    lab.verify();
}

#[test]
fn a_reload_reads_no_recording_twice() {
    const FRAMES: u8 = 30;
    let lab = Lab::new();
    let film: Vec<u8> = (0..FRAMES).flat_map(jpeg).collect();
    fs::write(lab.path("film.mjpeg"), film).unwrap();
    let config = |more: &str| {
        let text = format!(
            "[cameras.film]\nsource = \"file:film.mjpeg\"\nfps = 100\n[cameras.door]\nsource = \"test:\"\n{more}"
        );
        fs::write(lab.path("lenslog.toml"), text).unwrap();
    };
    config("");
    let mut recording = lab.record(&[]);
    lab.until("the film is at its end", || {
        let status = lab.status();
        let mut cameras = status["cameras"].as_array()?.iter();
        cameras.any(|camera| camera["state"] == "ended").then_some(())
    });
    for more in ["[images]\nquality = 50\n", "[motion]\nthreshold_percent = 3.0\n"] {
        config(more);
        recording.signal(Signal::HUP);
        recording.wait_for("the configuration is reloaded");
    }
    recording.wait_for(" event ");
    recording.stop().expect(0);
    assert_eq!(frames(&lab, "film"), u64::from(FRAMES));
    assert!(frames(&lab, "door") > 0);
    lab.verify();
}

/// A camera's program that ends well only where another one is told to end, too, before it is killed.
const SOCIABLE: &str = "\
trap 'touch told.$1; while [ ! -e told.$2 ]; do sleep 0.02; done; touch met.$1; exit' TERM
while :; do cat picture.jpg; sleep 0.05; done
";

#[test]
fn cameras_that_are_stopped_are_stopped_together() {
    let lab = Lab::new();
    fs::write(lab.path("picture.jpg"), jpeg(1)).unwrap();
    fs::write(lab.path("sociable.sh"), SOCIABLE).unwrap();
    let config = |fps: u32, more: &str| {
        let camera = |name: &str, other: &str| {
            format!(
                "[cameras.{name}]\nsource = \"exec:sh sociable.sh {name} {other}\"\nfps = {fps}\n"
            )
        };
        let text = format!("{}{}{more}", camera("door", "yard"), camera("yard", "door"));
        fs::write(lab.path("lenslog.toml"), text).unwrap();
    };
    let met = || {
        let names = ["met.door", "met.yard"];
        let all = names.iter().all(|name| lab.path(name).exists());
        for name in names.into_iter().chain(["told.door", "told.yard"]) {
            let _ = fs::remove_file(lab.path(name));
        }
        all
    };
    config(5, "");
    let mut recording = lab.record(&[]);
    for (fps, more) in [(4, ""), (4, "[images]\nquality = 50\n")] {
        lab.until_cameras_are_up();
        config(fps, more);
        recording.signal(Signal::HUP);
        recording.wait_for("the configuration is reloaded");
        assert!(met(), "one after the other: {fps} {more}");
    }
    lab.until_cameras_are_up();
    recording.stop().expect(0);
    assert!(met(), "one after the other at the end");
}
