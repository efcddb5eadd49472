//! However a recorder is told to end, it ends within its limit, whatever it waits for.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Lab, lacks};

/// The limit of `docs/OPERATIONS.md`, and what a busy machine adds.
const END_MAX: Duration = Duration::from_secs(25);

/// Tells it to end, and waits for that.
fn end(lab: &Lab, child: &mut Child) -> Option<i32> {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
    let start = Instant::now();
    let status = lab.until("the end", || child.try_wait().unwrap());
    assert!(start.elapsed() < END_MAX, "{:?}", start.elapsed());
    status.code()
}

#[test]
fn a_recorder_that_still_loads_its_model_ends_when_it_is_told_to() {
    for required in [true, false] {
        let lab = Lab::new();
        // A model that never comes to its end.
        let pipe = std::process::Command::new("mkfifo").arg(lab.path("model.onnx")).status();
        assert!(pipe.unwrap().success());
        fs::write(lab.path("labels.txt"), "red\n").unwrap();
        let text = format!(
            "[cameras.door]\nsource = 'test:'\n\
             [detector]\nmodel = 'model.onnx'\nlabels = 'labels.txt'\nrequired = {required}\n"
        );
        fs::write(lab.path("lenslog.toml"), text).unwrap();
        let mut command = lab.command(&["record", "--config", "lenslog.toml"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        lab.until("the worker", || {
            let worker = fs::read_to_string(&children).ok()?.split_whitespace().next()?.to_owned();
            let command = fs::read_to_string(format!("/proc/{worker}/cmdline")).ok()?;
            command.contains("detector-worker").then_some(())
        });
        assert_eq!(end(&lab, &mut child), Some(0), "required: {required}");
    }
}

#[test]
fn a_recorder_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let lab = Lab::new().with("LENSLOG_LOG", "debug");
    // Each upload that is no picture is a line of the log.
    fs::create_dir(lab.path("uploads")).unwrap();
    let mut command = lab.command(&["record", "--source", "dir:uploads"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = child.stderr.take().unwrap();
    let mut part = [0; 4096];
    let mut said = String::new();
    while !said.contains(" recording ") {
        let read = log.read(&mut part).unwrap();
        said += &String::from_utf8_lossy(&part[..read]);
    }
    let mut number = 0;
    lab.until("a full pipe", || {
        let name = format!("{number:0>200}.txt");
        number += 1;
        fs::write(lab.path("uploads").join(name), "x").unwrap();
        (ioctl_fionread(&log).unwrap() > 60_000).then_some(())
    });
    let code = end(&lab, &mut child);
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    lab.verify();
}

#[test]
fn a_recorder_whose_main_loop_hangs_ends_when_it_is_told_to() {
    let lab = Lab::new();
    let [root, mount, control] = ["root", "mount", "control"].map(|name| lab.path(name));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&mount).unwrap();
    fs::write(root.join("lenslog.toml"), "[cameras.door]\nsource = 'test:'\n").unwrap();
    fs::write(&control, "{}").unwrap();
    let Some(_disk) = Hanging::mount(&lab, [&root, &mount, &control]) else { return };
    let mut recording = lab.record(&["--config", "mount/lenslog.toml"]);
    // A configuration that never comes to its end. What is in the cache is not asked for again.
    fs::write(&control, r#"{"hang_read": ["*"]}"#).unwrap();
    fs::write(root.join("lenslog.toml"), "[cameras.door]\nsource = 'test:'\n\n").unwrap();
    recording.signal(Signal::HUP);
    let hangs = lab.path("control.hangs");
    lab.until("the configuration is read", || hangs.exists().then_some(()));
    assert_eq!(end(&lab, &mut recording.child), Some(1));
    lab.verify();
}

/// A file system of which reads may never return; ended when dropped.
struct Hanging {
    server: Child,
    mount: PathBuf,
}

impl Hanging {
    /// `None` where this machine has no FUSE for Python, which CI does not accept.
    fn mount(lab: &Lab, paths: [&PathBuf; 3]) -> Option<Self> {
        let test = "import importlib.util as u, os, sys; \
                    sys.exit(not ((u.find_spec('fusepy') or u.find_spec('fuse')) and os.access('/dev/fuse', 6)))";
        let can = |python: &&str| {
            Command::new(python).args(["-c", test]).status().is_ok_and(|status| status.success())
        };
        let python = ["/usr/bin/python3", "python3"].into_iter().find(can);
        if lacks("FUSE for Python", python.is_some()) {
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/tests/fuse_faults.py");
        let server = Command::new(python?).arg(script).args(paths).spawn().unwrap();
        let mount = paths[1].clone();
        let seen = mount.join("lenslog.toml");
        lab.until("the file system is mounted", || seen.exists().then_some(()));
        Some(Self { server, mount })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.mount).status();
    }
}
