//! The power goes at any moment, with any subset of what was not synced; afterwards everything is as if nothing had
//! happened.

use lenslog_events::testing::config;
use lenslog_journal::storage::{Fault, FaultyStorage};
use proptest::prelude::*;

use crate::day_files::common::text;
use crate::day_files::follower::Follower;
use crate::day_files::machine::{DATA, Kept, Machine, Step, steps};

/// Takes the steps until something fails.
fn run(storage: &FaultyStorage, kept: Kept, steps: &[Step]) {
    let Ok(mut machine) = Machine::boot(storage) else { return };
    let mut follower: Follower = machine.follower(kept);
    if follower.start().is_err() {
        return;
    }
    for step in steps {
        if machine.take(step, kept, &mut follower).is_err() {
            return;
        }
    }
    machine.assert_copies_unchanged();
}

fn survives(
    kept: Kept,
    steps: &[Step],
    at: prop::sample::Index,
    seeds: [u64; 2],
) -> Result<(), String> {
    let undisturbed = FaultyStorage::new();
    run(&undisturbed, kept, steps);
    let operations = undisturbed.operations() as usize;
    let mut disk = FaultyStorage::new();
    disk.inject(Fault::PowerCutAfter { operations: at.index(operations) as u64 });
    run(&disk, kept, steps);
    // The power goes a second time while everything is put right.
    disk = disk.power_cut(seeds[0]);
    disk.inject(Fault::PowerCutAfter { operations: at.index(200) as u64 });
    if let Ok(machine) = Machine::boot(&disk) {
        let _ = machine.follower(kept).settle();
    }
    disk = disk.power_cut(seeds[1]);
    let failed = |error: Box<dyn std::error::Error>| error.to_string();
    let machine = Machine::boot(&disk).map_err(failed)?;
    let mut follower = machine.follower(kept);
    follower.settle().map_err(failed)?;
    if let Some(alarm) = follower.alarms.first() {
        return Err(format!("a false alarm: {alarm}"));
    }
    machine.verify(kept)?;
    let (found, expected) =
        (text(&machine.files(DATA)), text(&machine.fresh(kept).map_err(failed)?));
    if found == expected { Ok(()) } else { Err(format!("{found}\ninstead of\n{expected}")) }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn after_two_power_cuts_the_files_are_those_of_a_fresh_rebuild(
        steps in steps(40),
        at in any::<prop::sample::Index>(),
        seeds in any::<[u64; 2]>(),
    ) {
        for kept in [Kept::Jsonl, Kept::Plaintext] {
            prop_assert_eq!(survives(kept, &steps, at, seeds), Ok(()));
        }
    }
}
