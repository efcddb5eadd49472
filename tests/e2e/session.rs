//! `lenslog record` from start to end: what it prints, what it leaves, how it stops and reloads.

use std::fs;

use rustix::process::Signal;

use crate::harness::{TestEnv, lines};

#[test]
fn a_first_session_ends_by_telling_what_there_is_to_look_at() {
    let env = TestEnv::new();
    let ran = env.run(&["record", "--source", "test:", "--duration", "12s"]).expect(0);
    let projected = env.projected();
    assert!(!projected.rows.is_empty(), "{}", ran.err);
    for name in ["events.db", "events.json", "events.log"] {
        let line = ran.out.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        let path = line.split_whitespace().nth(1).unwrap();
        assert!(fs::metadata(path).unwrap().len() > 0, "{path}");
    }
    let block =
        ran.out.split("The last event:\n\n").nth(1).unwrap().split("\n\nNext").next().unwrap();
    let log = projected.files.iter().find(|(path, _)| path.ends_with("events.log")).unwrap().1;
    assert!(log.trim_end().ends_with(block), "{block}\nis not the end of\n{log}");
    assert!(ran.out.contains("Next: "), "{}", ran.out);
    env.verify();
    env.run(&["events", "--limit", "5"]).expect(0).says("evt_");
}

#[test]
fn every_item_of_the_health_check_is_a_line() {
    let env = TestEnv::new();
    let ran = env.run(&["record", "--source", "test:", "--duration", "1s"]).expect(0);
    for item in ["data directory", "journal", "sqlite", "jsonl", "plaintext", "media"] {
        assert!(ran.err.contains(&format!("health: {item}: ok")), "{item} is not in\n{}", ran.err);
    }
    let camera = ["health: camera camera_1: is being opened", "camera connected"];
    assert!(camera.iter().all(|line| ran.err.contains(line)), "{}", ran.err);
}

#[test]
fn a_signal_ends_it_in_good_order_and_everything_is_up_to_date() {
    for signal in [Signal::TERM, Signal::INT] {
        let env = TestEnv::new();
        let mut recording = env.record(&["--source", "test:"]);
        recording.wait_for(" event ");
        recording.signal(signal);
        let ran = recording.ended().expect(0).says("ended by a signal");
        assert!(ran.out.contains("The last event:"), "{}", ran.out);
        let status = env.status();
        for projection in status["projections"].as_array().unwrap() {
            assert_eq!(projection["lag_records"], 0, "{status:#}");
        }
        env.verify();
        env.record(&["--source", "test:"]).stop().says("health: journal: ok, closed cleanly");
    }
}

#[test]
fn an_invalid_configuration_is_not_reloaded_and_a_valid_one_is() {
    let env = TestEnv::new();
    let file = env.path("lenslog.toml");
    let config = |name: &str, more: &str| {
        let text = format!("[cameras.door]\nname = \"{name}\"\nsource = \"test:\"\n{more}");
        fs::write(&file, text).unwrap();
    };
    config("front door", "");
    let mut recording = env.record(&[]);
    config("front door", "sauce = 1\n");
    recording.signal(Signal::HUP);
    let line = recording.wait_for("is not reloaded");
    assert!(line.contains("sauce") && line.contains("source"), "{line}");
    // An editor may have emptied the file and not written it yet.
    fs::write(&file, "").unwrap();
    recording.signal(Signal::HUP);
    recording.wait_for("no camera is configured");
    config("back door", "");
    recording.signal(Signal::HUP);
    recording.wait_for("the configuration is reloaded");
    recording.wait_for(" event ");
    let ran = recording.stop().expect(0);
    assert!(ran.out.contains("at back door"), "{}", ran.out);
    env.verify();
}

#[test]
fn two_cameras_record_side_by_side() {
    let env = TestEnv::new();
    let text = "[cameras.one]\nsource = \"test:\"\n[cameras.two]\nsource = \"test:\"\nfps = 10\n";
    fs::write(env.path("lenslog.toml"), text).unwrap();
    let recording = env.record(&[]);
    let cameras = env.until("an event of each camera", || {
        let out = env.run(&["events", "--json"]).out;
        (out.contains("\"one\"") && out.contains("\"two\"")).then_some(out)
    });
    assert!(cameras.lines().count() >= 2);
    let status = env.status();
    assert_eq!(status["cameras"].as_array().unwrap().len(), 2, "{status:#}");
    recording.stop().expect(0);
    env.verify();
}

#[test]
fn a_moved_data_directory_goes_on_as_if_nothing_had_happened() {
    let env = TestEnv::new();
    env.ingest(&lines(0..20)).expect(0);
    let before = env.projected();
    let copy = env.copy();
    let ran = copy.verify();
    assert!(!ran.out.contains("differs"), "{}", ran.out);
    copy.ingest(&[]).expect(0);
    assert_eq!(copy.projected(), before);
}
