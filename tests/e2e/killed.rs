//! `lenslog ingest --ack` is killed at random moments: what it acknowledged is there, once, everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use lenslog_journal::Random;

use crate::harness::{TestEnv, line};

/// Moments tried; more with `LENSLOG_KILLS=1000`.
fn kills() -> u64 {
    std::env::var("LENSLOG_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// Feeds events from `first` on and kills the program somewhere. Returns what it acknowledged.
fn killed(env: &TestEnv, random: &mut Random, first: usize) -> Vec<(String, u64)> {
    let mut child = env
        .command(&["ingest", "--ack"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let at_once = 1 + random.below(40) as usize;
    let writer = std::thread::spawn(move || {
        for start in (first..first + 2000).step_by(at_once) {
            let lines: String = (start..start + at_once).map(|n| line(n) + "\n").collect();
            // It is killed at some point.
            if stdin.write_all(lines.as_bytes()).is_err() {
                break;
            }
        }
    });
    let wanted = random.below(300) as usize;
    let mut acknowledged = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while acknowledged.len() < wanted {
        let Some(Ok(line)) = lines.next() else { break };
        acknowledged.push(parse(&line));
    }
    child.kill().unwrap();
    // What it wrote before it died counts too, but for a line that is cut.
    for line in lines.map_while(Result::ok) {
        if line
            .split_once('\t')
            .is_some_and(|(id, seq)| !id.is_empty() && seq.parse::<u64>().is_ok())
        {
            acknowledged.push(parse(&line));
        }
    }
    child.wait().unwrap();
    writer.join().unwrap();
    acknowledged
}

fn parse(line: &str) -> (String, u64) {
    let (id, seq) = line.split_once('\t').unwrap();
    (id.to_owned(), seq.parse().unwrap())
}

#[test]
fn what_was_acknowledged_is_exactly_once_in_journal_database_and_files() {
    let seed = 0x5eed;
    let mut random = Random::new(seed);
    let env = TestEnv::new();
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut first = 0;
    for kill in 0..kills() {
        for (id, seq) in killed(&env, &mut random, first) {
            // A line may be cut in its number: the id is what counts then.
            acknowledged.entry(id).or_insert(seq);
        }
        first += 2000;
        // Now and then the same directory meets two kills without a start in between that succeeds.
        if random.below(4) == 0 {
            continue;
        }
        let context = format!("seed {seed:#x}, kill {kill}");
        env.ingest(&[]).expect(0);
        env.verify();
        let ids = env.journaled_ids();
        let set: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(set.len(), ids.len(), "{context}: an event is in the journal twice");
        for id in acknowledged.keys() {
            assert!(set.contains(id), "{context}: {id} was acknowledged and is gone");
        }
        let projected = env.projected();
        assert_eq!(projected.row_ids(), ids, "{context}");
        let mut json_ids = projected.json_ids();
        let mut sorted = ids.clone();
        json_ids.sort();
        sorted.sort();
        assert_eq!(json_ids, sorted, "{context}");
        assert_eq!(projected.blocks(), ids.len(), "{context}");
        // A journal that only grows would make the last rounds slow.
        if ids.len() > 4000 {
            std::fs::remove_dir_all(&env.data).unwrap();
            acknowledged.clear();
        }
    }
}

#[test]
fn a_recorder_that_is_killed_says_what_became_of_its_last_bytes() {
    let env = TestEnv::new();
    let mut recording = env.record(&["--source", "test:"]);
    recording.wait_for(" event ");
    recording.child.kill().unwrap();
    recording.child.wait().unwrap();
    let before = env.journaled_ids();
    assert!(!before.is_empty());
    let ran = env.record(&["--source", "test:"]).stop().expect(0);
    assert!(
        ran.err.contains("recovered after an abnormal end: nothing acknowledged is lost"),
        "{}",
        ran.err
    );
    assert_eq!(env.journaled_ids()[..before.len()], before);
    env.verify();
}
