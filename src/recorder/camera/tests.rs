//! Cameras that come, go, and have a mistake in them.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32};

use lenslog_journal::SystemClock;

use super::*;
use crate::config::{Camera, Config, Images, KeepImages};
use crate::recorder::plan;
use crate::recorder::testing::TestEnv;
use crate::source::samples::jpeg;
use crate::util::PAUSE_MAX;

/// The plan of a camera called `door`.
fn plan_of(source: &str) -> CameraPlan {
    let mut config = Config::default();
    let camera = Camera { source: source.to_owned(), ..Camera::default() };
    config.cameras.insert("door".to_owned(), camera);
    let mut plan = plan::plans(&config, plan::SourceFlags::default()).remove(0);
    plan.options.memory = None;
    plan
}

fn start(env: &TestEnv, plan: CameraPlan, clock: Arc<dyn Clock>) -> CameraThread {
    let images = Images { keep: KeepImages::None, ..Images::default() };
    let pipeline = env.pipeline(plan.settings.clone(), images);
    let context = CameraContext {
        trust: Trust::default(),
        writer: Arc::clone(&env.writer),
        metrics: Arc::clone(&env.metrics),
        clock,
        fail_fast: false,
        detector: None,
        ended: Arc::default(),
    };
    CameraThread::start(plan, pipeline, context, &CancellationToken::new()).unwrap()
}

/// Waits, while the camera runs.
#[track_caller]
fn wait(camera: &CameraThread, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(!camera.is_done() && start.elapsed() < PAUSE_MAX, "{:?}", camera.state());
        std::thread::yield_now();
    }
}

/// A clock that panics once, in a thread of that name, when it is asked for so many times.
#[derive(Debug)]
struct Panics(AtomicU32);

impl Clock for Panics {
    fn read(&self) -> ClockReading {
        let is_camera = std::thread::current().name() == Some("camera door");
        if is_camera && self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            panic!("a mistake");
        }
        SystemClock::default().read()
    }
}

#[test]
fn a_panic_costs_a_camera_a_moment_and_is_journaled() {
    let env = TestEnv::new();
    let mut camera = start(&env, plan_of("test:"), Arc::new(Panics(10.into())));
    wait(&camera, || env.reported().len() == 2);
    let panicked = "lost: its thread panicked: a mistake; please report this";
    assert_eq!(env.reported(), [panicked, "found"]);
    assert_eq!(camera.state(), CameraState::Up);
    camera.stop();
    assert_eq!(camera.state(), CameraState::Ended);
}

/// A clock that goes ahead by so many seconds.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn read(&self) -> ClockReading {
        let reading = SystemClock::default().read();
        let ahead = self.0.load(Ordering::SeqCst) * 1_000_000;
        ClockReading { wall: reading.wall.plus_micros(ahead), ..reading }
    }
}

#[test]
fn a_camera_that_is_back_shows_the_same_picture_as_before_and_is_not_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.mjpeg");
    fs::write(&picture, jpeg(32, 24, 1)).unwrap();
    let (env, clock) = (TestEnv::new(), Arc::new(Ahead::default()));
    let plan = plan_of(&format!("exec:cat {}", picture.display()));
    let mut camera = start(&env, plan, Arc::clone(&clock) as _);
    wait(&camera, || !env.reported().is_empty());
    clock.0.store(1000, Ordering::SeqCst);
    wait(&camera, || env.reported().len() >= 3);
    camera.stop();
    let reported = env.reported();
    assert!(reported[0].starts_with("lost: ") && reported[1] == "found", "{reported:?}");
    assert!(!reported.iter().any(|reported| reported.contains("frozen")), "{reported:?}");
}

#[test]
fn a_folder_that_was_away_is_read_for_what_came_meanwhile_and_for_nothing_twice() {
    let place = tempfile::tempdir().unwrap();
    let (folder, away) = (place.path().join("uploads"), place.path().join("away"));
    fs::create_dir(&folder).unwrap();
    let put = |folder: &Path, name: &str| {
        fs::write(folder.join(".new"), jpeg(32, 24, 1)).unwrap();
        fs::rename(folder.join(".new"), folder.join(name)).unwrap();
    };
    let (env, clock) = (TestEnv::new(), Arc::new(SystemClock::default()));
    let mut plan = plan_of(&format!("dir:{}", folder.display()));
    plan.settings.policy.deduplication_window = Duration::ZERO;
    let mut camera = start(&env, plan, clock);
    let seen = || -> Vec<String> {
        let events = env.events().into_iter();
        let named = events.filter_map(|event| match event {
            Event::Detected(event) => Some(event.metadata["file"].as_str().unwrap().to_owned()),
            _ => None,
        });
        named.collect()
    };
    let wait_for = |name: &str| wait(&camera, || seen().iter().any(|seen| seen == name));
    wait(&camera, || camera.state() == CameraState::Up);
    put(&folder, "before.jpg");
    wait_for("before.jpg");
    fs::rename(&folder, &away).unwrap();
    wait(&camera, || env.reported().iter().any(|reported| reported.starts_with("lost: ")));
    put(&away, "meanwhile.jpg");
    fs::rename(&away, &folder).unwrap();
    wait_for("meanwhile.jpg");
    put(&folder, "now.jpg");
    wait_for("now.jpg");
    camera.stop();
    assert_eq!(seen(), ["before.jpg", "meanwhile.jpg", "now.jpg"]);
}
