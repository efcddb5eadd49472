//! Accidents with the files of a journal: segments copied, renamed, deleted, swapped, restored, brought from other
//! journals and from diverged copies; markers exchanged. An oracle that knows every acknowledged event and the file that
//! holds it judges each step.
//!
//! `LENSLOG_ACCIDENTS=20000 cargo test -p lenslog-journal --release --test it accidents` runs longer,
//! `LENSLOG_ACCIDENTS_FROM=100000` other seeds; `LENSLOG_SEED=4711`
//! repeats one case and prints its script; with `LENSLOG_SHRINK=1` the steps that are not needed are left out of it.

mod checks;
mod copies;
mod format;
mod mishaps;
mod model;
mod oracle;
mod regressions;
mod rule;
mod script;
mod station;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use self::model::Failure;
use self::script::{Op, draw};
use self::world::World;
use lenslog_journal::Random;

const CASES: u64 = 1000;
const WORKERS: usize = 2;
/// A case that takes longer hangs.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

/// How a case went.
struct Outcome {
    failure: Option<Failure>,
    script: Vec<String>,
    files: Vec<String>,
    exempt: Option<&'static str>,
    undone: Vec<&'static str>,
    accidents: usize,
    notes: Vec<&'static str>,
    proofs: Vec<String>,
}

fn run(seed: u64, ops: &[Op]) -> Outcome {
    let mut world = World::new(seed);
    world.is_judged = !ops.iter().any(|op| matches!(op, Op::Accident { .. }));
    let result = catch_unwind(AssertUnwindSafe(|| world.run(ops)));
    let failure = match result {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let text = text.unwrap_or_default();
            Some(Failure { kind: "panic".to_owned(), text })
        }
    };
    let files = catch_unwind(AssertUnwindSafe(|| world.list())).unwrap_or_default();
    let World { log: script, exempt, undone, accidents, notes, proofs, .. } = world;
    Outcome { failure, script, files, exempt, undone, accidents, notes, proofs }
}

fn ops_of(seed: u64) -> Vec<Op> {
    draw(&mut Random::new(seed))
}

/// Leaves out steps as long as the same promise is broken.
fn shrink(seed: u64, mut ops: Vec<Op>, kind: &str) -> Vec<Op> {
    let mut chunk = ops.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + chunk).min(ops.len()));
            match run(seed, &fewer).failure {
                Some(failure) if failure.kind == kind => ops = fewer,
                _ => at += chunk,
            }
        }
        chunk /= 2;
    }
    ops
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

fn print(seed: u64, outcome: &Outcome) {
    println!("seed {seed}:");
    for (number, words) in outcome.script.iter().enumerate() {
        println!("  {number:3} {words}");
    }
    for file in &outcome.files {
        println!("      {file}");
    }
    if let Some(failure) = &outcome.failure {
        println!("  => {}: {}", failure.kind, failure.text);
    }
    println!("  exempt: {:?}, notes: {:?}", outcome.exempt, outcome.notes);
}

fn repeat(seed: u64) {
    let mut outcome = run(seed, &ops_of(seed));
    if variable("LENSLOG_SHRINK").is_some()
        && let Some(failure) = &outcome.failure
    {
        let ops = shrink(seed, ops_of(seed), &failure.kind);
        outcome = run(seed, &ops);
        println!("as a regression test, seed {seed}:");
        ops.iter().for_each(|op| println!("    {op:?},"));
    }
    print(seed, &outcome);
    assert!(outcome.failure.is_none(), "seed {seed}");
}

/// Runs `cases` seeds from `from` on and hands each outcome over; a case that hangs ends the test.
fn run_all(from: u64, cases: u64, mut each: impl FnMut(u64, Outcome)) {
    static DONE: AtomicU64 = AtomicU64::new(0);
    let (sender, receiver) = mpsc::channel();
    for _ in 0..WORKERS {
        let sender = sender.clone();
        // Not scoped: a case that hangs must not keep the test from failing.
        std::thread::spawn(move || {
            loop {
                let number = DONE.fetch_add(1, Ordering::Relaxed);
                let seed = from.wrapping_add(number);
                if number >= cases || sender.send((seed, None)).is_err() {
                    return;
                }
                let outcome = run(seed, &ops_of(seed));
                if sender.send((seed, Some(outcome))).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut under_way = Vec::new();
    let mut done = 0;
    loop {
        match receiver.recv_timeout(CASE_TIMEOUT) {
            Ok((seed, None)) => under_way.push(seed),
            Ok((seed, Some(outcome))) => {
                under_way.retain(|other| *other != seed);
                done += 1;
                each(seed, outcome);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                assert_eq!(done, cases, "a worker ended early: {under_way:?}");
                break;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("one of the seeds {under_way:?} hangs"),
        }
    }
}

#[test]
fn a_history_without_accidents_passes_the_oracle() {
    for seed in 0..200 {
        let mut ops = ops_of(seed);
        ops.retain(|op| !matches!(op, Op::Accident { .. }));
        let outcome = run(seed, &ops);
        if outcome.failure.is_some() || outcome.exempt.is_some() || !outcome.notes.is_empty() {
            print(seed, &outcome);
            panic!("seed {seed}");
        }
    }
}

/// Cases that failed once, each by a fault of its own.
const FAILED_ONCE: [u64; 29] = [
    1326, 2121, 5924, 6512, 6934, 10_652, 11_416, 12_212, 14_616, 16_352, 100_142, 101_156,
    104_579, 104_622, 107_025, 107_756, 110_637, 110_688, 111_568, 114_699, 114_847, 119_838,
    506_499, 508_480, 509_880, 510_999, 511_223, 516_828, 516_919,
];

#[test]
fn seeds_that_failed_once_pass() {
    for seed in FAILED_ONCE {
        let outcome = run(seed, &ops_of(seed));
        if outcome.failure.is_some() {
            print(seed, &outcome);
            panic!("seed {seed}");
        }
    }
}

#[test]
fn no_accident_with_files_makes_an_acknowledged_event_vanish() {
    if let Some(seed) = variable("LENSLOG_SEED") {
        return repeat(seed);
    }
    let cases = variable("LENSLOG_ACCIDENTS").unwrap_or(CASES);
    let mut failures: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let (mut exempt, mut notes) = (BTreeMap::new(), BTreeMap::new());
    let mut accidents = 0;
    let from = variable("LENSLOG_ACCIDENTS_FROM").unwrap_or(0);
    run_all(from, cases, |seed, outcome| {
        accidents += outcome.accidents;
        for reason in outcome.undone.into_iter().chain(outcome.exempt) {
            *exempt.entry(reason).or_insert(0) += 1;
        }
        for proof in &outcome.proofs {
            println!("seed {seed}: excluded: {proof}");
            *notes.entry("excluded: a later link covers a misnamed segment").or_insert(0) += 1;
        }
        for note in &outcome.notes {
            println!("seed {seed}: {note}");
            *notes.entry(*note).or_insert(0) += 1;
        }
        if let Some(failure) = outcome.failure {
            failures.entry(failure.kind).or_default().push(seed);
        }
    });
    println!(
        "{cases} cases from seed {from} with {accidents} accidents; undone, or the end of the case, where the rules do not say what is \
         right: {exempt:#?}; {notes:#?}"
    );
    for (kind, seeds) in &mut failures {
        seeds.sort_unstable();
        println!("{} cases: {kind}: seeds {:?}", seeds.len(), &seeds[..seeds.len().min(12)]);
    }
    let total: usize = failures.values().map(Vec::len).sum();
    assert_eq!(total, 0, "cases failed; LENSLOG_SEED=… LENSLOG_SHRINK=1 prints a short script");
}
