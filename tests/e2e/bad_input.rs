//! Bad input: a clear error or warning each, nothing lost, nothing panics.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{TestEnv, line, lines};

/// Good lines around a bad one: the bad one is reported by its number, the good ones are events.
#[track_caller]
fn refused(bad: &[u8], because: &str) {
    let env = TestEnv::new();
    let input = [line(1).as_bytes(), b"\n", bad, b"\n", line(2).as_bytes(), b"\n"].concat();
    let ran = env.feed(&["ingest"], &input).expect(1).says("line 2: ").says(because);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    assert_eq!(env.journaled_ids(), ["test-1", "test-2"]);
    env.verify();
}

fn json(timestamp: &str, more: &str) -> Vec<u8> {
    format!(r#"{{"timestamp":"{timestamp}","camera_id":"door"{more}}}"#).into_bytes()
}

#[test]
fn a_line_that_is_not_json_is_refused() {
    refused(b"not json", "JSON");
    refused(br#"{"timestamp":"2026-11-23T10:00:00Z","#, "JSON");
    refused(b"[1,2]", "object");
}

#[test]
fn a_missing_field_is_named() {
    refused(br#"{"camera_id":"door"}"#, "timestamp");
    refused(br#"{"timestamp":"2026-11-23T10:00:00Z"}"#, "camera_id");
}

#[test]
fn a_number_out_of_range_is_named_with_its_range() {
    refused(&json("2026-11-23T10:00:00Z", r#","motion_confidence":1.5"#), "motion_confidence");
    refused(&json("2026-11-23T10:00:00Z", r#","motion_confidence":-0.1"#), "motion_confidence");
    let object = r#","detected_objects":[{"label":"dog","confidence":7}]"#;
    refused(&json("2026-11-23T10:00:00Z", object), "confidence");
}

#[test]
fn a_time_that_is_none_or_lies_in_the_future_is_refused() {
    refused(&json("yesterday", ""), "timestamp");
    refused(&json("2026-11-23T10:00:00", ""), "timestamp");
    let ahead = chrono::Utc::now() + chrono::TimeDelta::hours(25);
    refused(&json(&ahead.to_rfc3339(), ""), "24");
    let env = TestEnv::new();
    let soon = chrono::Utc::now() + chrono::TimeDelta::hours(23);
    env.feed(&["ingest"], &json(&soon.to_rfc3339(), "")).expect(0);
}

#[test]
fn bytes_that_are_no_text_and_lines_without_end_are_refused() {
    refused(b"{\"timestamp\":\"2026-11-23T10:00:00Z\",\"camera_id\":\"\xff\xfe\"}", "UTF-8");
    refused(&vec![b'x'; 100 << 20], "longer than");
    refused(&[b"[".repeat(100_000), b"]".repeat(100_000)].concat(), "line 2");
}

#[test]
fn an_unknown_field_is_told_once_and_kept() {
    let env = TestEnv::new();
    let bad = [
        json("2026-11-23T10:00:00Z", r#","zone":"porch""#),
        json("2026-11-23T10:00:01Z", r#","zone":"yard""#),
    ];
    let ran = env.feed(&["ingest"], &bad.join(&b'\n')).expect(0).says("WARNING").says("'zone'");
    assert_eq!(ran.err.matches("'zone'").count(), 1, "{}", ran.err);
    let events = env.journal().into_values().filter(|value| value["kind"] == "EventDetected");
    let zones: Vec<_> = events.map(|event| event["record"]["metadata"]["zone"].clone()).collect();
    assert_eq!(zones, ["porch", "yard"]);
}

#[test]
fn a_second_event_of_an_id_is_a_warning_and_in_no_projection_twice() {
    let env = TestEnv::new();
    let ran = env.ingest(&[line(1), line(1), line(2)]).expect(0).says("WARNING");
    assert!(ran.err.contains("2 events appended, 1 known already"), "{}", ran.err);
    env.ingest(&[line(2)]).expect(0).says("known already");
    let projected = env.projected();
    assert_eq!((projected.rows.len(), projected.json_ids().len(), projected.blocks()), (2, 2, 2));
}

#[test]
fn a_misspelt_key_is_named_with_file_line_and_the_nearest_one() {
    let env = TestEnv::new();
    let file = env.path("lenslog.toml");
    fs::write(&file, "[storage]\n\nmax_storage_gib = 2\n").unwrap();
    let ran = env.run(&["config", "check"]).expect(2);
    for part in ["lenslog.toml line 3", "max_storage_gib", "did you mean `", "max_storage_gb"] {
        assert!(ran.err.contains(part), "'{part}' is not in {}", ran.err);
    }
    fs::write(&file, "[storage]\nmax_storage_gb = \"two\"\n").unwrap();
    env.run(&["config", "check"]).expect(2).says("line 2");
    fs::write(&file, "[storage\n").unwrap();
    env.run(&["record", "--source", "test:"]).expect(2).says("lenslog.toml");
    assert!(!env.data.exists());
}

#[test]
fn a_data_directory_that_is_a_file_is_named() {
    let env = TestEnv::new();
    fs::write(&env.data, "mine").unwrap();
    for command in [&["ingest"][..], &["record", "--source", "test:"]] {
        let ran = env.run(command).expect(1);
        assert!(ran.err.contains(env.data.to_str().unwrap()), "{}", ran.err);
    }
    assert_eq!(fs::read_to_string(&env.data).unwrap(), "mine");
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let env = TestEnv::new();
    env.ingest(&lines(0..5)).expect(0);
    let identity = fs::read_to_string(env.data.join("IDENTITY")).unwrap();
    let newer = newer_identity(&identity);
    fs::write(env.data.join("IDENTITY"), &newer).unwrap();
    for command in [&["ingest"][..], &["record", "--source", "test:"]] {
        env.run(command).expect(1).says("newer");
    }
    env.run(&["replay", "verify"]).expect(1).says("newer");
    assert_eq!(fs::read_to_string(env.data.join("IDENTITY")).unwrap(), newer);
    fs::write(env.data.join("IDENTITY"), identity).unwrap();
    env.verify();
}

/// The same file as a later release might write it.
fn newer_identity(identity: &str) -> String {
    let changed: Vec<String> = identity
        .lines()
        .map(|line| match line.strip_prefix("layout = ") {
            Some(_) => "layout = 9999".to_owned(),
            None => line.to_owned(),
        })
        .collect();
    assert_ne!(changed.join("\n"), identity.trim_end(), "no layout line in:\n{identity}");
    changed.join("\n") + "\n"
}

#[test]
fn a_source_that_does_not_exist_is_named() {
    let env = TestEnv::new();
    env.run(&["record", "--source", "file:/nowhere/at/all.mjpeg"])
        .expect(1)
        .says("/nowhere/at/all.mjpeg");
    env.run(&["record", "--source", "nonsense:x"]).expect(2).says("nonsense");
    let ran = env.run(&["record", "--source", "dir:/nowhere/at/all", "--fail-fast"]).expect(4);
    assert!(ran.err.contains("/nowhere/at/all"), "{}", ran.err);
}

#[test]
fn pictures_that_are_none_are_skipped_and_told() {
    let env = TestEnv::new();
    let pictures = env.path("pictures");
    fs::create_dir(&pictures).unwrap();
    let mut recording = env.record(&["--source", &format!("dir:{}", pictures.display())]);
    env.until_cameras_are_up();
    fs::write(pictures.join("broken.jpg"), b"\xff\xd8\xff\xe0 this is no picture").unwrap();
    let good = image::RgbImage::from_pixel(64, 48, image::Rgb([9, 99, 200]));
    good.save(pictures.join("good.png")).unwrap();
    recording.wait_for(" event ");
    recording.stop().expect(0);
    assert_eq!(env.journaled_ids().len(), 1);
    let file = env.path("garbage.mjpeg");
    fs::write(&file, vec![0x5a; 100_000]).unwrap();
    let ran = env.run(&["record", "--source", &format!("file:{}", file.display()), "--no-pace"]);
    assert!(ran.code == Some(1) && ran.err.contains("garbage.mjpeg"), "{:?} {}", ran.code, ran.err);
}

#[test]
fn a_locked_database_is_told_and_gets_its_rows_when_the_lock_goes() {
    let env = TestEnv::new();
    env.ingest(&lines(0..3)).expect(0);
    let pictures = env.path("pictures");
    fs::create_dir(&pictures).unwrap();
    let mut recording = env.record(&["--source", &format!("dir:{}", pictures.display())]);
    let lock = rusqlite::Connection::open(env.data.join("events.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Acknowledged by the journal, reported as not up to date: nothing waits for SQLite.
    let ran = env.feed(&["ingest", "--ack"], (line(3) + "\n").as_bytes()).expect(1);
    assert!(
        ran.out.starts_with("test-3\t") && ran.err.contains("sqlite"),
        "{}{}",
        ran.out,
        ran.err
    );
    assert_eq!(env.projected().json_ids().len(), 4, "the files do not wait for SQLite");
    recording.wait_for("locked");
    lock.execute_batch("ROLLBACK").unwrap();
    env.until("the row appears", || (env.projected().rows.len() == 4).then_some(()));
    recording.stop().expect(0);
    env.verify();
}

#[test]
fn a_directory_in_place_of_a_projection_is_told_and_the_others_go_on() {
    let env = TestEnv::new();
    env.ingest(&lines(0..6)).expect(0);
    let before = env.projected();
    for name in ["events.db", "events/2026-11-20/events.json", "events/2026-11-20/events.log"] {
        let path = env.data.join(name);
        let kept = env.path("kept");
        fs::rename(&path, &kept).unwrap();
        fs::create_dir(&path).unwrap();
        let number = 100 + name.len();
        let ran = env.ingest(&[line(number)]).expect(1);
        assert!(ran.err.contains(name) && ran.err.contains("move it away"), "{}", ran.err);
        assert!(ran.err.contains("1 event appended"), "{}", ran.err);
        fs::remove_dir(&path).unwrap();
        env.ingest(&[]).expect(0);
        env.verify();
        fs::remove_file(kept).unwrap();
    }
    let after = env.projected();
    assert_eq!(after.rows.len(), before.rows.len() + 3);
    assert_eq!(after.blocks(), before.blocks() + 3);
}

#[test]
fn a_read_only_data_directory_is_told_with_the_remedy() {
    let env = TestEnv::new();
    env.ingest(&lines(0..3)).expect(0);
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // Permissions do not hold root back; a medium mounted read-only does.
        let mounted = std::process::Command::new("mount")
            .args(["--bind", "-o", "ro"])
            .args([&env.data, &env.data])
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: nothing can be mounted here");
            return;
        }
    } else {
        fs::set_permissions(&env.data, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let ran = env.ingest(&lines(3..4));
    let verified = env.run(&["replay", "verify"]);
    if is_root {
        std::process::Command::new("umount").arg(&env.data).status().unwrap();
    } else {
        fs::set_permissions(&env.data, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains(env.data.to_str().unwrap()), "{}", ran.err);
    assert_eq!(
        verified.code,
        Some(0),
        "reading needs no writing: {}{}",
        verified.out,
        verified.err
    );
    env.ingest(&lines(3..4)).expect(0);
    assert_eq!(env.projected().rows.len(), 4);
}

#[test]
fn what_the_environment_says_of_places_holds_for_replay_too() {
    let env = TestEnv::new();
    let database = env.path("elsewhere.db");
    let data = env.data.to_str().unwrap().to_owned();
    let env = env
        .with("LENSLOG__STORAGE__DATA_DIR", &data)
        .with("LENSLOG__STORAGE__DB_PATH", database.to_str().unwrap());
    env.ingest(&lines(0..3)).expect(0);
    assert!(database.exists());
    env.verify();
    fs::remove_file(&database).unwrap();
    env.run(&["replay", "rebuild"]).expect(0);
    assert!(database.exists() && !env.data.join("events.db").exists());
}

#[test]
fn another_data_directory_is_not_made_into_the_configured_database() {
    let env = TestEnv::new();
    let text =
        format!("[storage]\ndata_dir = {:?}\ndb_path = {:?}\n", env.data, env.path("elsewhere.db"));
    fs::write(env.path("lenslog.toml"), text).unwrap();
    env.ingest(&lines(0..3)).expect(0);
    let before = fs::read(env.path("elsewhere.db")).unwrap();
    let other = env.path("other");
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_lenslog"))
        .args(["ingest", "--data"])
        .arg(&other)
        .current_dir(env.data.parent().unwrap())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(ran.status.success());
    assert!(other.join("events.db").exists());
    assert_eq!(fs::read(env.path("elsewhere.db")).unwrap(), before);
    env.verify();
}

#[test]
fn an_ingest_whose_warnings_nobody_reads_goes_on() {
    let env = TestEnv::new();
    fs::write(env.path("input"), format!("{}\nno json\n{}\n", line(1), line(2))).unwrap();
    let mut command = env.command(&["ingest"]);
    command.stdin(fs::File::open(env.path("input")).unwrap());
    let status = command.stderr(fs::File::create("/dev/full").unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(env.journaled_ids().len(), 2);
    let full = fs::File::create("/dev/full").unwrap();
    let args = ["record", "--source", "test:", "--duration", "1s"];
    let ran = env.command(&args).stdout(full).output().unwrap();
    assert_eq!(ran.status.code(), Some(0));
    let named = "cannot write to standard output: No space left on device";
    assert!(String::from_utf8_lossy(&ran.stderr).contains(named));
    for args in [&["events", "--json"][..], &["replay", "cat"]] {
        let full = fs::File::create("/dev/full").unwrap();
        let ran = env.command(args).stdout(full).output().unwrap();
        assert_ne!(ran.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&ran.stderr).contains(named), "{args:?}");
    }
    env.verify();
}
