//! A real kernel camera and a real power cut: the built program runs in a virtual machine whose kernel has the
//! driver `vivid`, records from /dev/video0, loses the camera and gets it back; then the power is cut.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::harness::{TestEnv, is_installed, lacks};

/// What Debian packages have to be installed for.
const PROGRAMS: [&str; 6] =
    ["qemu-system-x86_64", "busybox", "cpio", "depmod", "mkfs.ext4", "apt-get"];

/// Boots the machine with a script of `tests/vm` and returns what its console showed.
fn boot(env: &TestEnv, script: &str, cut_at: Option<&str>) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vm = root.join("tests/vm");
    // The kernel is kept there for the next time.
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm");
    let program = env.path("lenslog");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_lenslog"), &program).unwrap();
        // Less to load; where there is no strip it takes longer.
        let _ = Command::new("strip").arg(&program).status();
    }
    let mut command = Command::new(vm.join("boot.sh"));
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command.arg("--work").arg(&work).arg("--disk").arg(env.path("disk.img"));
    command.arg("--script").arg(vm.join(script)).args(["--timeout", "400"]);
    if let Some(words) = cut_at {
        command.args(["--cut-at", words]);
    }
    let output = command.arg(&program).output().unwrap();
    let console = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{console}\n{errors}", output.status);
    console
}

/// What follows `word` on the lines of a console that have it.
fn reported(console: &str, word: &str) -> BTreeSet<String> {
    let lines = console.lines().filter_map(|line| line.trim().split_once(word));
    lines.map(|(_, rest)| rest.trim().to_owned()).collect()
}

#[test]
fn a_kernel_camera_is_recorded_through_unplugging_and_a_power_cut() {
    if PROGRAMS.iter().any(|program| lacks(program, is_installed(program))) {
        return;
    }
    let env = TestEnv::new();
    let console = boot(&env, "first_boot.sh", Some("CUT THE POWER NOW"));
    let acknowledged = reported(&console, "ACKNOWLEDGED ");
    assert!(acknowledged.len() >= 4, "two before it was unplugged, two after:\n{console}");
    let opened = console.lines().filter(|line| line.contains("the camera is open")).count();
    assert_eq!(opened, 2, "{console}");
    assert!(console.contains("640x480") && console.contains("YUYV"), "{console}");

    let console = boot(&env, "second_boot.sh", None);
    let found = reported(&console, "FOUND ");
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "lost {lost:?}:\n{console}");
    assert!(found.len() > acknowledged.len(), "recording went on:\n{console}");
    for expected in
        ["RECORD EXIT 0", "VERIFY EXIT 0", "KIND CameraLost", "KIND CameraFound", "KIND Recovered"]
    {
        assert!(console.contains(expected), "no {expected}:\n{console}");
    }
}
