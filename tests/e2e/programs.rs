//! Cameras that other programs read: `exec:` and `rtsp:`, with real ffmpeg and a real RTSP server, and what becomes of
//! those programs.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Recording, TestEnv, is_installed, lacks, lines_of, pedestrians};

/// Debian's own Python, which has the bindings to its libraries.
const PYTHON: &str = "/usr/bin/python3";

/// The recording of people who walk by as an H.264 film, at five times its speed; `None` where that is impossible.
fn film(env: &TestEnv) -> Option<String> {
    let media = pedestrians();
    let lacking = lacks("ffmpeg", is_installed("ffmpeg"))
        || lacks(&media.display().to_string(), media.exists());
    if lacking {
        return None;
    }
    let film = env.path("people.mp4");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-r", "25", "-i"])
        .arg(&media)
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25"])
        .arg(&film)
        .status()
        .unwrap();
    assert!(status.success());
    Some(film.display().to_string())
}

/// Ends a program with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A recorder of that source which looks at 25 frames a second.
fn record(env: &TestEnv, source: &str) -> Recording {
    let config = env.path("lenslog.toml");
    let text = format!(
        "[motion]\nlearning_frames = 5\n[cameras.door]\nsource = {}\nfps = 25\n",
        serde_json::to_string(source).unwrap()
    );
    fs::write(&config, text).unwrap();
    env.record(&["--config", config.to_str().unwrap()])
}

fn kinds(env: &TestEnv, kind: &str) -> usize {
    env.journal().values().filter(|record| record["kind"] == kind).count()
}

#[test]
fn a_real_film_becomes_events_through_ffmpeg_and_is_begun_again_at_its_end() {
    let env = TestEnv::new();
    let Some(film) = film(&env) else { return };
    let mut recording =
        record(&env, &format!("exec:ffmpeg -v error -re -i {film} -c:v mjpeg -f mjpeg -"));
    recording.wait_for(" event ");
    recording.wait_for("camera lost");
    recording.wait_for("camera reconnected");
    let ran = recording.stop().expect(0);
    assert!(ran.err.contains("it ended"), "{}", ran.err);
    assert!((kinds(&env, "CameraLost"), kinds(&env, "CameraFound")) >= (1, 1));
    env.verify();
}

#[test]
fn an_rtsp_camera_is_recorded_and_its_password_is_nowhere_to_be_read() {
    let bindings = "import gi; gi.require_version('GstRtspServer', '1.0')";
    let has_server = Command::new(PYTHON)
        .args(["-c", bindings])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if lacks("the RTSP server of GStreamer", has_server) {
        return;
    }
    for method in ["basic", "digest"] {
        let env = TestEnv::new();
        let Some(film) = film(&env) else { return };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/rtsp_server.py");
        let mut server = Command::new(PYTHON);
        server.arg(script).args([&film, method]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Ends(server.spawn().unwrap());
        let port = lines_of(server.0.stdout.take().unwrap()).recv().unwrap();

        let mut recording = record(&env, &format!("rtsp://joe:hunter2@127.0.0.1:{port}/door"));
        recording.wait_for(" event ");
        let arguments = arguments_of_children(recording.child.id());
        assert!(arguments.contains("ffmpeg") && !arguments.contains("hunter2"), "{arguments}");
        drop(server);
        recording.wait_for("camera lost");
        let ran = recording.stop().expect(0);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        let journal = env.run(&["replay", "cat", "--json"]).expect(0).out;
        assert!(!journal.contains("hunter2"), "{journal}");
        env.verify();
    }
}

/// The command lines of the processes that a process has started.
fn arguments_of_children(parent: u32) -> String {
    let listed = Command::new("ps").args(["-o", "args=", "--ppid", &parent.to_string()]).output();
    String::from_utf8_lossy(&listed.unwrap().stdout).into_owned()
}

#[test]
fn a_program_and_what_it_started_end_with_the_recorder() {
    for (command, is_killed) in [
        // What it starts ends with it where the recorder is ended in order.
        ("tail -f /dev/null & echo $! > pid.new; mv pid.new pid; wait", false),
        ("echo $$ > pid.new; mv pid.new pid; exec tail -f /dev/null", false),
        // The program itself ends even where the recorder was killed.
        ("echo $$ > pid.new; mv pid.new pid; exec tail -f /dev/null", true),
    ] {
        let env = TestEnv::new();
        let mut recording = record(&env, &format!("exec:sh -c '{command}'"));
        let pid = env.until("it runs", || fs::read_to_string(env.path("pid")).ok());
        let process = Path::new("/proc").join(pid.trim());
        assert!(process.exists());
        if is_killed {
            recording.child.kill().unwrap();
            recording.child.wait().unwrap();
        } else {
            recording.stop().expect(0);
        }
        env.until("the program ends", || is_over(&process).then_some(()));
    }
}

/// Whether a process is gone, or dead and not waited for yet.
fn is_over(process: &Path) -> bool {
    fs::read_to_string(process.join("stat")).map_or(true, |stat| {
        stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z'))
    })
}

#[test]
fn a_program_that_is_missing_or_ends_is_told_with_its_last_words() {
    for (source, expected) in [
        ("exec:no-such-program --x", &["there is no such program", "CameraLost"][..]),
        (
            "exec:sh -c 'echo cannot open the lens >&2; exit 3'",
            &["exit code 3", "says: cannot open the lens camera=\"camera_1\" program=\"sh\""],
        ),
        (
            "exec:sh -c 'echo the lens is gone >&2; yes noise | head -n 1000 >&2'",
            &["last output: the lens is gone; noise"],
        ),
        ("exec:sh -c 'kill -9 $$'", &["killed by signal 9"]),
    ] {
        let env = TestEnv::new();
        let ran = env.run(&["record", "--source", source, "--fail-fast"]).expect(4);
        let journal = env.run(&["replay", "cat", "--json"]).expect(0).out;
        for words in expected {
            assert!(
                journal.contains(words) || ran.err.contains(words),
                "{words}: {}\n{journal}",
                ran.err
            );
        }
    }
}

#[test]
fn without_ffmpeg_an_rtsp_camera_says_what_to_install() {
    let env = TestEnv::new().with("PATH", "/nonexistent");
    env.run(&["record", "--source", "rtsp://127.0.0.1/door", "--fail-fast"])
        .expect(4)
        .says("install ffmpeg");
    env.run(&["record", "--source", "rpicam:0", "--fail-fast"]).expect(4).says("rpicam-apps");
}

#[test]
fn what_a_program_leaves_behind_is_not_listened_to_for_ever() {
    let env = TestEnv::new();
    let command = "setsid tail -f /dev/null >/dev/null & echo $! >> pids; exit 3";
    let recording = record_lost(&env, &format!("exec:sh -c '{command}'"));
    // Each of them holds the standard error of a program that ended.
    let left = env.until("it is started three times", || {
        let pids = fs::read_to_string(env.path("pids")).ok()?;
        let pids: Vec<String> = pids.lines().map(str::to_owned).collect();
        (pids.len() >= 3).then_some(pids)
    });
    let tasks = format!("/proc/{}/task", recording.child.id());
    let listeners = || {
        let names = fs::read_dir(&tasks).unwrap().flatten();
        let names = names.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("program's stderr")).count()
    };
    env.until("only the newest is listened to", || (listeners() <= 1).then_some(()));
    recording.stop().expect(0);
    for pid in left {
        let _ = Command::new("kill").arg(pid).status();
    }
}

/// A recorder of a camera that is lost at once.
fn record_lost(env: &TestEnv, source: &str) -> Recording {
    let source = serde_json::to_string(source).unwrap();
    fs::write(env.path("lenslog.toml"), format!("[cameras.door]\nsource = {source}\n")).unwrap();
    env.record_until("camera lost", &[])
}

#[test]
fn passwords_in_the_arguments_of_a_program_are_told_to_nobody() {
    let env = TestEnv::new();
    let source = "exec:sh -c 'echo cannot log in with joe:hunter2 >&2; exit 1' --user joe:hunter2";
    let recording = record_lost(&env, source);
    let status = env.status().to_string();
    let shown = env.run(&["config", "show"]).expect(0).out;
    let ran = recording.stop().expect(0);
    let journal = env.run(&["replay", "cat", "--json"]).expect(0).out;
    assert!(journal.contains("cannot log in with ***"), "{journal}");
    // What the program's own text says is part of the command; that is not hidden behind an option.
    let reported =
        [status, ran.err, journal].join("\n").replace("'echo cannot log in with joe:hunter2", "");
    assert!(!reported.contains("hunter2"), "{reported}");
    assert!(shown.contains("--user ***"), "{shown}");
}
