//! What network cameras do: requests that fail now and then, clocks that step, streams that freeze, and the versions of
//! ffmpeg that read them.

use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::{ImageFormat, RgbImage};

use crate::harness::{TestEnv, lacks};
use crate::rtsp_camera::{Quirk, RtspCamera};

/// A camera that sends a picture a request, and of each `nth` request an error. Returns its address.
fn snapshots(nth: u64) -> (String, Arc<AtomicU64>) {
    let mut picture = Cursor::new(Vec::new());
    RgbImage::from_pixel(64, 48, image::Rgb([9, 90, 200]))
        .write_to(&mut picture, ImageFormat::Jpeg)
        .unwrap();
    let picture = picture.into_inner();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/snapshot", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if head.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
            }
            let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
            let (status, body) = if number.is_multiple_of(nth) {
                ("503 Busy", &[][..])
            } else {
                ("200 OK", &picture[..])
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    (address, asked)
}

#[test]
fn a_failed_snapshot_loses_no_camera_and_no_proxy_is_asked() {
    // Nothing listens there: a camera is not read through it.
    let env = TestEnv::new()
        .with("HTTP_PROXY", "http://127.0.0.1:1")
        .with("http_proxy", "http://127.0.0.1:1");
    let (address, asked) = snapshots(5);
    std::fs::write(
        env.path("lenslog.toml"),
        format!("[cameras.door]\nsource = \"{address}\"\nfps = 20\n"),
    )
    .unwrap();
    let config = env.path("lenslog.toml");
    let recording = env.record(&["--config", config.to_str().unwrap()]);
    env.until("requests fail", || (asked.load(Ordering::Relaxed) > 30).then_some(()));
    let ran = recording.stop().expect(0);
    assert!(ran.err.contains("no picture came: it answers 503"), "{}", ran.err);
    let journal = env.journal();
    assert!(journal.values().all(|record| record["kind"] != "CameraLost"), "{}", ran.err);
    env.verify();
}

/// The versions of ffmpeg that are there: the installed one, and a 4.x that a Python package brings.
fn ffmpegs() -> Option<[PathBuf; 2]> {
    const FIND: &str = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&directories).map(|at| at.join("ffmpeg"));
    let installed = programs.find(|program| program.exists());
    let found = Command::new("python3").args(["-c", FIND]).output().ok();
    let found = found.filter(|output| output.status.success()).map(|output| output.stdout);
    let old = found.map(|path| PathBuf::from(String::from_utf8_lossy(&path).trim()));
    let is_old = |path: &PathBuf| {
        let version = Command::new(path).arg("-version").output().unwrap().stdout;
        String::from_utf8_lossy(&version).starts_with("ffmpeg version 4.")
    };
    let lacking = lacks("ffmpeg", installed.is_some())
        || lacks("ffmpeg 4 (pip install imageio-ffmpeg==0.4.5)", old.as_ref().is_some_and(is_old));
    if lacking { None } else { Some([installed?, old?]) }
}

/// A test environment in which `ffmpeg` is that program, and what it hands over is kept in a file.
fn env_with(ffmpeg: &Path) -> TestEnv {
    let env = TestEnv::new();
    let programs = env.path("programs");
    std::fs::create_dir(&programs).unwrap();
    let kept = env.path("handed_over");
    let script =
        format!("#!/bin/sh\n'{}' \"$@\" | tee -a '{}'\n", ffmpeg.display(), kept.display());
    let program = programs.join("ffmpeg");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    env.with("PATH", &format!("{}:{path}", programs.display()))
}

/// How many pictures ffmpeg has handed over.
fn handed_over(env: &TestEnv) -> u64 {
    let bytes = std::fs::read(env.path("handed_over")).unwrap();
    bytes.windows(2).filter(|window| *window == [0xFF, 0xD9]).count() as u64
}

#[test]
fn an_rtp_clock_that_steps_makes_no_copies_and_no_gap() {
    const STEP_AFTER: u64 = 40;
    let Some(ffmpegs) = ffmpegs() else { return };
    for ffmpeg in &ffmpegs {
        for seconds in [3600, -3600] {
            let env = env_with(ffmpeg);
            let camera = RtspCamera::start(&env.path(""), Quirk::Step(STEP_AFTER, seconds));
            let recording = env.record(&["--source", &camera.address]);
            env.until("the clock steps", || (camera.sent() > STEP_AFTER + 10).then_some(()));
            let before = handed_over(&env);
            env.until("pictures come after the step", || {
                (handed_over(&env) >= before + 20).then_some(())
            });
            let handed_over = handed_over(&env);
            assert!(handed_over <= camera.sent(), "{handed_over}: {ffmpeg:?} {seconds}");
            recording.stop().expect(0);
            let journal = env.journal();
            assert!(journal.values().all(|record| record["kind"] != "CameraLost"));
            env.verify();
        }
    }
}

#[test]
fn an_rtsp_stream_that_freezes_is_a_lost_camera() {
    let Some(ffmpegs) = ffmpegs() else { return };
    for ffmpeg in &ffmpegs {
        let env = env_with(ffmpeg);
        let camera = RtspCamera::start(&env.path(""), Quirk::Silence(40));
        let mut recording = env.record(&["--source", &camera.address]);
        recording.wait_for("camera connected");
        let line = recording.wait_for("camera lost");
        assert!(line.contains("it sends no picture"), "{line}");
        recording.stop().expect(0);
        env.verify();
    }
}

#[test]
fn the_first_of_rare_key_frames_is_waited_for() {
    let Some([ffmpeg, _]) = ffmpegs() else { return };
    let env = env_with(&ffmpeg);
    let camera = RtspCamera::start(&env.path(""), Quirk::RareKeyFrames);
    let mut recording = env.record(&["--source", &camera.address]);
    recording.wait_for("camera connected");
    // It came in the middle of the first twenty.
    assert!(camera.sent() >= 19, "{}", camera.sent());
    recording.stop().expect(0);
    assert!(env.journal().values().all(|record| record["kind"] != "CameraLost"));
    env.verify();
}
