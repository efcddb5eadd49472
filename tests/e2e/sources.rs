//! Sources that go away, come back, end and are reloaded: nothing is recorded twice, and nothing is missed in silence.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, RgbImage};
use rustix::process::Signal;

use crate::harness::TestEnv;

fn jpeg(shade: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = RgbImage::from_pixel(64, 48, image::Rgb([shade, 90, 200]));
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// Frames of a camera in the journal.
fn frames(env: &TestEnv, camera: &str) -> u64 {
    let journal = env.journal();
    let minutes = journal.values().filter(|value| value["kind"] == "CameraMinute");
    let of_camera = minutes.filter(|value| value["record"]["camera_id"] == camera);
    of_camera.map(|value| value["record"]["frames"].as_u64().unwrap()).sum()
}

#[test]
fn pictures_that_come_while_their_folder_is_away_are_recorded_once_it_is_back() {
    let env = TestEnv::new();
    let (folder, away) = (env.path("pictures"), env.path("away"));
    let put = |folder: &Path, name: &str, shade| fs::write(folder.join(name), jpeg(shade)).unwrap();
    // Absent at the start, it is looked for; what is in it by then came after the start.
    let source = format!("dir:{}", folder.display());
    let mut recording = env.record_until("camera lost", &["--source", &source]);
    fs::create_dir(&away).unwrap();
    put(&away, "one.jpg", 1);
    fs::rename(&away, &folder).unwrap();
    recording.wait_for("camera reconnected");
    let taken = |count: u64| {
        env.until("the picture is taken", || {
            (env.status()["counters"]["frames"] == count).then_some(())
        });
    };
    taken(1);
    put(&folder, "two.jpg", 60);
    taken(2);
    fs::rename(&folder, &away).unwrap();
    recording.wait_for("camera lost");
    put(&away, "three.jpg", 120);
    fs::rename(&away, &folder).unwrap();
    recording.wait_for("camera reconnected");
    taken(3);
    put(&folder, "four.jpg", 180);
    taken(4);
    recording.stop().expect(0);
    assert_eq!(frames(&env, "camera_1"), 4);
    env.verify();
}

#[test]
fn a_reload_reads_no_recording_twice() {
    const FRAMES: u8 = 30;
    let env = TestEnv::new();
    let film: Vec<u8> = (0..FRAMES).flat_map(jpeg).collect();
    fs::write(env.path("film.mjpeg"), film).unwrap();
    let config = |more: &str| {
        let text = format!(
            "[cameras.film]\nsource = \"file:film.mjpeg\"\nfps = 100\n[cameras.door]\nsource = \"test:\"\n{more}"
        );
        fs::write(env.path("lenslog.toml"), text).unwrap();
    };
    config("");
    let mut recording = env.record(&[]);
    env.until("the film is at its end", || {
        let status = env.status();
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
    assert_eq!(frames(&env, "film"), u64::from(FRAMES));
    assert!(frames(&env, "door") > 0);
    env.verify();
}

/// A camera's program that ends well only where another one gets SIGTERM, too, before it is killed.
const SOCIABLE: &str = "\
trap 'touch asked.$1; while [ ! -e asked.$2 ]; do sleep 0.02; done; touch met.$1; exit' TERM
while :; do cat picture.jpg; sleep 0.05; done
";

#[test]
fn cameras_that_are_stopped_are_stopped_together() {
    let env = TestEnv::new();
    fs::write(env.path("picture.jpg"), jpeg(1)).unwrap();
    fs::write(env.path("sociable.sh"), SOCIABLE).unwrap();
    let config = |fps: u32, more: &str| {
        let camera = |name: &str, other: &str| {
            format!(
                "[cameras.{name}]\nsource = \"exec:sh sociable.sh {name} {other}\"\nfps = {fps}\n"
            )
        };
        let text = format!("{}{}{more}", camera("door", "yard"), camera("yard", "door"));
        fs::write(env.path("lenslog.toml"), text).unwrap();
    };
    let met = || {
        let names = ["met.door", "met.yard"];
        let all = names.iter().all(|name| env.path(name).exists());
        for name in names.into_iter().chain(["asked.door", "asked.yard"]) {
            let _ = fs::remove_file(env.path(name));
        }
        all
    };
    config(5, "");
    let mut recording = env.record(&[]);
    for (fps, more) in [(4, ""), (4, "[images]\nquality = 50\n")] {
        env.until_cameras_are_up();
        config(fps, more);
        recording.signal(Signal::HUP);
        recording.wait_for("the configuration is reloaded");
        assert!(met(), "one after the other: {fps} {more}");
    }
    env.until_cameras_are_up();
    recording.stop().expect(0);
    assert!(met(), "one after the other at the end");
}
