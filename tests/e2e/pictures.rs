//! The pictures of events: their content, and those that a crash left without an event.

use std::fs;
use std::path::PathBuf;

use exif::{In, Tag};
use uuid::Uuid;

use crate::harness::TestEnv;

/// Every picture below the data directory, by its name.
fn pictures(env: &TestEnv) -> Vec<PathBuf> {
    let days = fs::read_dir(env.data.join("events")).into_iter().flatten().flatten();
    let files = days.flat_map(|day| fs::read_dir(day.path()).unwrap().flatten());
    let mut found: Vec<_> = files.map(|file| file.path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "jpg"));
    found.sort();
    found
}

#[test]
fn a_pictures_file_tells_when_and_by_which_camera_it_was_taken() {
    let env = TestEnv::new();
    let config =
        "[images]\nkeep = \"both\"\n[cameras.yard]\nname = \"back yard\"\nsource = \"test:\"\n";
    fs::write(env.path("lenslog.toml"), config).unwrap();
    let config = env.path("lenslog.toml");
    let mut recording = env.record(&["--config", config.to_str().unwrap()]);
    recording.wait_for(" event ");
    recording.stop().expect(0);
    let found = pictures(&env);
    assert!(found.len() >= 2, "{found:?}");
    let event = &env
        .projected()
        .files
        .into_iter()
        .find(|(path, _)| path.ends_with("events.json"))
        .unwrap()
        .1;
    let event: serde_json::Value = serde_json::from_str(event.lines().next().unwrap()).unwrap();
    let timestamp = event["timestamp"].as_str().unwrap();
    for path in found.iter().take(2) {
        let bytes = fs::read(path).unwrap();
        let exif =
            exif::Reader::new().read_from_container(&mut std::io::Cursor::new(bytes)).unwrap();
        let text = |tag| exif.get_field(tag, In::PRIMARY).unwrap().display_value().to_string();
        let taken = text(Tag::DateTimeOriginal).replace(' ', "T");
        assert!(timestamp.starts_with(&taken), "{timestamp} {taken}");
        assert!(text(Tag::ImageDescription).contains("back yard"));
    }
}

#[test]
fn a_picture_that_a_crash_left_without_an_event_is_removed_and_no_other() {
    let env = TestEnv::new();
    let mut recording = env.record(&["--source", "test:"]);
    recording.wait_for(" event ");
    recording.child.kill().unwrap();
    recording.child.wait().unwrap();
    // The crash may have left one of its own.
    let journaled = env.journaled_ids();
    let kept: Vec<_> = pictures(&env)
        .into_iter()
        .filter(|path| journaled.iter().any(|id| path.to_string_lossy().contains(id)))
        .collect();
    assert!(!kept.is_empty());
    let day = kept[0].parent().unwrap();
    let orphan = day.join(format!("evt_{}.jpg", Uuid::now_v7()));
    let somebody_elses = day.join("holiday.jpg");
    fs::write(&orphan, "a picture").unwrap();
    fs::write(&somebody_elses, "a picture").unwrap();

    let recording = env.record(&["--source", "test:"]);
    env.until("it is removed", || (!orphan.exists()).then_some(()));
    recording.stop().expect(0);
    assert!(kept.iter().all(|path| path.exists()) && somebody_elses.exists());

    // After a clean end nothing is looked for.
    fs::write(&orphan, "a picture").unwrap();
    env.record(&["--source", "test:"]).stop().expect(0);
    assert!(orphan.exists());
}
