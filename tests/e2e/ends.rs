//! A recorder ends within its limit, whatever it waits for.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{TestEnv, is_installed, lacks};

/// The limit of `docs/operations/`, and what a busy machine adds.
const END_MAX: Duration = Duration::from_secs(25);

/// Asks it to end, and waits for that.
fn end(env: &TestEnv, child: &mut Child) -> Option<i32> {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
    let start = Instant::now();
    let status = env.until("the end", || child.try_wait().unwrap());
    assert!(start.elapsed() < END_MAX, "{:?}", start.elapsed());
    status.code()
}

#[test]
fn a_recorder_that_still_loads_its_model_ends_when_it_is_told_to() {
    for required in [true, false] {
        let env = TestEnv::new();
        // A model that never comes to its end.
        let pipe = std::process::Command::new("mkfifo").arg(env.path("model.onnx")).status();
        assert!(pipe.unwrap().success());
        fs::write(env.path("labels.txt"), "red\n").unwrap();
        let text = format!(
            "[cameras.door]\nsource = 'test:'\n\
             [detector]\nmodel = 'model.onnx'\nlabels = 'labels.txt'\nrequired = {required}\n"
        );
        fs::write(env.path("lenslog.toml"), text).unwrap();
        let mut command = env.command(&["record", "--config", "lenslog.toml"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        env.until("the worker", || {
            let worker = fs::read_to_string(&children).ok()?.split_whitespace().next()?.to_owned();
            let command = fs::read_to_string(format!("/proc/{worker}/cmdline")).ok()?;
            command.contains("detector-worker").then_some(())
        });
        assert_eq!(end(&env, &mut child), Some(0), "required: {required}");
    }
}

#[test]
fn a_recorder_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let env = TestEnv::new().with("LENSLOG_LOG", "debug");
    // Each upload that is no picture is a line of the log.
    fs::create_dir(env.path("uploads")).unwrap();
    let mut command = env.command(&["record", "--source", "dir:uploads"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = child.stderr.take().unwrap();
    let mut part = [0; 4096];
    let mut said = String::new();
    while !said.contains(" recording ") {
        let read = log.read(&mut part).unwrap();
        said += &String::from_utf8_lossy(&part[..read]);
    }
    let mut number = 0;
    env.until("a full pipe", || {
        let name = format!("{number:0>200}.txt");
        number += 1;
        fs::write(env.path("uploads").join(name), "x").unwrap();
        (ioctl_fionread(&log).unwrap() > 60_000).then_some(())
    });
    let code = end(&env, &mut child);
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    env.verify();
}

#[test]
fn a_recorder_whose_main_loop_hangs_ends_when_it_is_told_to() {
    if lacks("strace", is_installed("strace")) {
        return;
    }
    let env = TestEnv::new();
    let config = env.path("lenslog.toml");
    fs::write(&config, "[cameras.door]\nsource = 'test:'\n").unwrap();
    let mut recording = env.record(&["--config", config.to_str().unwrap()]);
    // Its main thread does not come out of the opening of its configuration.
    let pid = recording.child.id();
    let mut delays = Command::new("strace")
        .args(["-qq", "-p", &pid.to_string(), "-e", "trace=openat", "-P"])
        .arg(&config)
        .args(["-e", "inject=openat:delay_enter=600000000", "-o"])
        .arg(env.path("strace.txt"))
        .spawn()
        .unwrap();
    let traced = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:\t"))?;
        (tracer != "0").then_some(())
    };
    env.until("strace is attached", traced);
    recording.signal(Signal::HUP);
    recording.wait_for("the configuration is read again");
    let start = Instant::now();
    recording.signal(Signal::TERM);
    recording.wait_for("the end took longer than");
    assert!(start.elapsed() < END_MAX, "{:?}", start.elapsed());
    // A thread that is traced is not gone before its tracer.
    let _ = delays.kill();
    delays.wait().unwrap();
    assert_eq!(recording.ended().code, Some(1));
    env.verify();
}
