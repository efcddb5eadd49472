//! `lenslog rotate` is killed at each step: at every call that changes anything on disk, one after another. The next
//! start finishes it, and nothing protected is gone.
//!
//! The kernel kills it on entering the call, by strace's fault injection: nothing in the program knows of it.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::harness::{TestEnv, copy_tree, lacks};
use crate::storage::{days, env, lines};

/// Steps tried, spread over all kinds of them; every one with `LENSLOG_ROTATION_STEPS=all`.
const STEPS: usize = 48;
const DAYS: u64 = 4;
const KEPT: usize = 2;
const EVENTS: usize = 75;
/// Every call that changes something.
const CALLS: &str = "pwrite64,write,fdatasync,fsync,unlink,rmdir,rename,mkdir,ftruncate";

/// A segment and some pictures for each day.
fn original() -> TestEnv {
    // As small as segments get.
    let env = env(30_000_000, &[]);
    for age in (1..=DAYS).rev() {
        let large = |line: String| line.replace(&"x".repeat(500), &"x".repeat(16_000));
        let lines: Vec<_> = lines(age, EVENTS).into_iter().map(large).collect();
        env.ingest(&lines).expect(0);
        let day = days(&env).last().unwrap().clone();
        for number in 0..3 {
            let file = env.data.join("events").join(&day).join(format!("picture-{number}.jpg"));
            std::fs::write(file, vec![1; 20_000]).unwrap();
        }
    }
    env
}

/// A copy that has to give up all that is not protected.
fn full(original: &TestEnv) -> TestEnv {
    let env = env(2_000_000, &[("MIN_RETENTION_DAYS", "2")]);
    copy_tree(&original.data, &env.data);
    env
}

/// Runs `lenslog rotate` under strace: whether it was killed, and what was traced.
fn traced(env: &TestEnv, args: &[&str]) -> Option<(bool, String)> {
    let program = env.command(&["rotate"]);
    let log = env.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-e", "signal=none", "-o"]).arg(&log).args(args);
    command.arg(program.get_program()).args(program.get_args());
    command.current_dir(env.path(""));
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().ok()?;
    Some((status.signal().is_some(), std::fs::read_to_string(&log).ok()?))
}

/// A call on a path, for the so-manieth time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    call: String,
    path: String,
    count: usize,
}

/// Every step of a rotation that is not disturbed.
fn steps(original: &TestEnv) -> Option<Vec<Step>> {
    let env = full(original);
    let (was_killed, trace) = traced(&env, &["-e", &format!("trace={CALLS}")])?;
    assert!(!was_killed);
    let data = env.data.to_str().unwrap();
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut steps = Vec::new();
    for line in trace.lines() {
        let Some((head, rest)) = line.split_once('(') else { continue };
        let call = head.split(' ').next_back().unwrap();
        // `pwrite64(3</data/file>, …` or `unlink("/data/file")`.
        let Some(start) = rest.find(data) else { continue };
        let path = rest[start..].split(['>', '"']).next().unwrap();
        let below = path.trim_start_matches(data).to_owned();
        let count = counts.entry((call.to_owned(), below.clone())).or_default();
        *count += 1;
        steps.push(Step { call: call.to_owned(), path: below, count: *count });
    }
    Some(steps)
}

/// What is the same step for another day or segment.
fn kind(step: &Step) -> (String, String) {
    let path = step.path.chars().filter(|c| !c.is_ascii_digit()).collect();
    (step.call.clone(), path)
}

/// The steps to try: the first and the last of each kind, then others, evenly.
fn chosen(steps: Vec<Step>) -> Vec<Step> {
    let set = std::env::var("LENSLOG_ROTATION_STEPS").ok();
    let wanted = match set.as_deref() {
        Some("all") => steps.len(),
        set => set.and_then(|text| text.parse().ok()).unwrap_or(STEPS),
    };
    let mut kinds: BTreeMap<_, Vec<Step>> = BTreeMap::new();
    for step in steps {
        kinds.entry(kind(&step)).or_default().push(step);
    }
    let mut chosen = Vec::new();
    while chosen.len() < wanted && kinds.values().any(|steps| !steps.is_empty()) {
        for steps in kinds.values_mut() {
            // In turn from the front and from the back.
            let next = if chosen.len() % 2 == 0 {
                steps.pop()
            } else {
                (!steps.is_empty()).then(|| steps.remove(0))
            };
            chosen.extend(next);
        }
    }
    chosen.truncate(wanted);
    chosen
}

#[test]
fn a_rotation_killed_at_any_step_is_finished_at_the_next_start() {
    let original = original();
    let Some(steps) = steps(&original) else {
        lacks("strace", false);
        return;
    };
    let all = days(&original);
    let kept = &all[all.len() - KEPT..];
    let is = |call: &str, part: &str| steps.iter().any(|s| s.call == call && s.path.contains(part));
    for (call, part) in [
        ("pwrite64", "/journal/"),
        ("fdatasync", "/journal/"),
        ("unlink", ".seg"),
        ("fsync", "/journal"),
        ("pwrite64", "events.db-wal"),
        ("unlink", "events.json"),
        ("unlink", "events.log"),
        ("unlink", "picture-0.jpg"),
        ("rmdir", "/events/"),
        ("rename", "/checkpoints/jsonl"),
        ("rename", "/checkpoints/plaintext"),
        ("rename", "/checkpoints/media"),
    ] {
        assert!(is(call, part), "no step {call} of {part} in {steps:#?}");
    }
    let (steps_in_all, chosen) = (steps.len(), chosen(steps));
    let mut killed = 0;
    for step in &chosen {
        let env = full(&original);
        let path = format!("{}{}", env.data.display(), step.path);
        let inject = format!("inject={}:signal=KILL:when={}", step.call, step.count);
        let (was_killed, _) =
            traced(&env, &["-P", &path, "-e", &format!("trace={CALLS}"), "-e", &inject]).unwrap();
        // The threads of a rotation do not always take the same steps.
        killed += usize::from(was_killed);
        finishes(&env, &all, kept, step);
    }
    println!("{steps_in_all} steps, {} tried, {killed} killed before the end", chosen.len());
    assert!(killed * 2 > chosen.len(), "{killed} of {} were killed", chosen.len());
}

/// The next start finishes what a tombstone says; with room enough, it does no more.
fn finishes(env: &TestEnv, all: &[String], kept: &[String], step: &Step) {
    let mut start = env.command(&["ingest"]);
    start.env("LENSLOG__STORAGE__MAX_STORAGE_GB", "1").stdin(Stdio::null());
    let output = start.output().unwrap();
    assert!(output.status.success(), "{step:?}: {output:?}");
    env.verify();
    let left = days(env);
    assert!(all.ends_with(&left) && left.ends_with(kept), "{step:?}: {left:?}");
    let ids = |days: usize| -> Vec<String> {
        let newest = (1..=days as u64).rev();
        newest.flat_map(|age| (0..EVENTS).map(move |n| format!("day-{age}-{n}"))).collect()
    };
    assert_eq!(env.projected().row_ids(), ids(left.len()), "{step:?}");
    env.run(&["rotate"]);
    assert_eq!(days(env)[..], *kept, "{step:?}: the rest goes");
    let segments = std::fs::read_dir(env.data.join("journal")).unwrap().flatten();
    let bytes: u64 = segments
        .filter(|entry| entry.file_name().to_str().unwrap().ends_with(".seg"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    // A day is 1.2 MB: those that are pruned are not there any more.
    assert!(bytes < (KEPT as u64 + 2) * 1_300_000, "{step:?}: {bytes} bytes of segments");
    env.run(&["replay", "rebuild"]).expect(0);
    assert_eq!(env.projected().row_ids(), ids(KEPT), "{step:?}");
    env.verify();
}
