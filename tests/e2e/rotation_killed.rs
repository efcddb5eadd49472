//! `lenslog rotate` is killed at random moments: the next start finishes it, and nothing protected is gone.

use std::process::Stdio;
use std::time::Duration;

use lenslog_journal::Random;

use crate::harness::TestEnv;
use crate::storage::{days, env, lines};

/// Moments tried; more with `LENSLOG_ROTATION_KILLS=1000`.
fn kills() -> u64 {
    let set = std::env::var("LENSLOG_ROTATION_KILLS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(30)
}

const DAYS: u64 = 8;
const KEPT: usize = 3;
const EVENTS: usize = 40;

/// A segment for each day, and pictures.
fn original() -> TestEnv {
    let env = env(1_000_000_000, &[]);
    for age in (1..=DAYS).rev() {
        env.ingest(&lines(age, EVENTS)).expect(0);
        let day = days(&env).last().unwrap().clone();
        for number in 0..20 {
            let file = env.data.join("events").join(&day).join(format!("picture-{number}.jpg"));
            std::fs::write(file, vec![1; 20_000]).unwrap();
        }
    }
    env
}

#[test]
fn a_rotation_killed_anywhere_is_finished_at_the_next_start() {
    let seed = 0x0dd5;
    let mut random = Random::new(seed);
    let original = original();
    let all = days(&original);
    let kept = &all[all.len() - KEPT..];
    let kept_ids: Vec<_> = {
        let newest = (1..=KEPT as u64).rev();
        newest.flat_map(|age| (0..EVENTS).map(move |n| format!("day-{age}-{n}"))).collect()
    };
    let used = original.status()["storage"]["total_bytes"].as_u64().unwrap();
    for kill in 0..kills() {
        let context = format!("seed {seed:#x}, kill {kill}");
        let protected = KEPT.to_string();
        // So full that everything that may go has to.
        let env = env(used / 4, &[("MIN_RETENTION_DAYS", protected.as_str())]);
        crate::harness::copy_tree(&original.data, &env.data);
        let mut child = env
            .command(&["rotate"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It dies a while after it has reported so many days: how long a step takes does not matter.
        let reported = crate::harness::lines_of(child.stderr.take().unwrap());
        for _ in 0..random.below(DAYS - KEPT as u64) {
            let mut is_day = |line: String| line.contains("deleting old logs");
            if !reported.iter().any(&mut is_day) {
                break;
            }
        }
        let pause = Duration::from_micros(random.below(60_000));
        let _ = reported.recv_timeout(pause);
        child.kill().unwrap();
        child.wait().unwrap();
        // The next start finishes what a tombstone says; with room enough, it does no more.
        let mut start = env.command(&["ingest"]);
        start.env("LENSLOG__STORAGE__MAX_STORAGE_GB", "1").stdin(Stdio::null());
        let output = start.output().unwrap();
        assert!(output.status.success(), "{context}: {output:?}");
        env.verify();
        let left = days(&env);
        assert!(all.ends_with(&left) && left.ends_with(kept), "{context}: {left:?}");
        let ids = env.projected().row_ids();
        assert_eq!(ids.len(), left.len() * EVENTS, "{context}");
        assert!(ids.ends_with(&kept_ids), "{context}");
        env.run(&["rotate"]);
        assert_eq!(days(&env)[..], *kept, "{context}: the rest goes");
        env.run(&["replay", "rebuild"]).expect(0);
        assert_eq!(env.projected().row_ids(), kept_ids, "{context}");
        env.verify();
    }
}
