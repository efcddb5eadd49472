//! `lenslog rotate` is killed at random moments: the next start finishes it, and nothing protected is gone.

use std::process::Stdio;
use std::time::Duration;

use lenslog_journal::Random;

use crate::harness::Lab;
use crate::storage::{days, lab, lines};

/// Moments tried; more with `LENSLOG_ROTATION_KILLS=1000`.
fn kills() -> u64 {
    let set = std::env::var("LENSLOG_ROTATION_KILLS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(30)
}

const DAYS: u64 = 8;
const KEPT: usize = 3;
const EVENTS: usize = 40;

/// A segment for each day, and pictures.
fn original() -> Lab {
    let lab = lab(1_000_000_000, &[]);
    for age in (1..=DAYS).rev() {
        lab.ingest(&lines(age, EVENTS)).expect(0);
        let day = days(&lab).last().unwrap().clone();
        for number in 0..20 {
            let file = lab.data.join("events").join(&day).join(format!("picture-{number}.jpg"));
            std::fs::write(file, vec![1; 20_000]).unwrap();
        }
    }
    lab
}

#[test]
fn a_rotation_that_is_killed_anywhere_is_finished_by_the_next_start() {
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
        let lab = lab(used / 4, &[("MIN_RETENTION_DAYS", protected.as_str())]);
        crate::harness::copy_tree(&original.data, &lab.data);
        let mut child = lab
            .command(&["rotate"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It dies a while after it has told of so many days: how long a step takes does not matter.
        let told = crate::harness::lines_of(child.stderr.take().unwrap());
        for _ in 0..random.below(DAYS - KEPT as u64) {
            let mut is_day = |line: String| line.contains("deleting old logs");
            if !told.iter().any(&mut is_day) {
                break;
            }
        }
        let pause = Duration::from_micros(random.below(60_000));
        let _ = told.recv_timeout(pause);
        child.kill().unwrap();
        child.wait().unwrap();
        // The next start finishes what a tombstone says; with room enough, it does no more.
        let mut start = lab.command(&["ingest"]);
        start.env("LENSLOG__STORAGE__MAX_STORAGE_GB", "1").stdin(Stdio::null());
        let output = start.output().unwrap();
        assert!(output.status.success(), "{context}: {output:?}");
        lab.verify();
        let left = days(&lab);
        assert!(all.ends_with(&left) && left.ends_with(kept), "{context}: {left:?}");
        let ids = lab.projected().row_ids();
        assert_eq!(ids.len(), left.len() * EVENTS, "{context}");
        assert!(ids.ends_with(&kept_ids), "{context}");
        lab.run(&["rotate"]);
        assert_eq!(days(&lab)[..], *kept, "{context}: the rest goes");
        lab.run(&["replay", "rebuild"]).expect(0);
        assert_eq!(lab.projected().row_ids(), kept_ids, "{context}");
        lab.verify();
    }
}
