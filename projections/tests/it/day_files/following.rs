//! A reader with `tail -f`, and the cost of a quiet and of a busy day.

use std::path::Path;
use std::sync::Arc;

use lenslog_engine::CommitKind;
use lenslog_events::testing::config;
use lenslog_journal::storage::{Fault, FaultyStorage, Storage};
use proptest::prelude::*;

use crate::day_files::common::text;
use crate::day_files::follower::Follower;
use crate::day_files::machine::{DATA, Kept, Machine, Step, steps};
use crate::day_files::watched::Watched;

fn follower(machine: &Machine, kept: Kept, watched: &Watched) -> Follower {
    let storage: Arc<dyn Storage> = Arc::new(watched.clone());
    Follower::new(kept.projection(&storage, Path::new(DATA)), &machine.journal.view())
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_process_that_ends_anywhere_takes_nothing_back_that_could_be_read(
        steps in steps(60),
    ) {
        for kept in [Kept::Jsonl, Kept::Plaintext] {
            let disk = FaultyStorage::new();
            let watched = Watched::new(&disk);
            let mut machine = Machine::boot(&disk).unwrap();
            let mut now = follower(&machine, kept, &watched);
            now.start().unwrap();
            for step in &steps {
                match step {
                    Step::Restart => {
                        now = follower(&machine, kept, &watched);
                        now.start().unwrap();
                    }
                    // These put other files in place of the old ones.
                    Step::Prune { .. } | Step::RebuildAll | Step::RebuildDay { .. } => {}
                    step => machine.take(step, kept, &mut now).unwrap(),
                }
                prop_assert_eq!(watched.taken_back(), Vec::<String>::new());
            }
            follower(&machine, kept, &watched).settle().unwrap();
            prop_assert_eq!(watched.taken_back(), Vec::<String>::new());
            let (found, expected) = (machine.files(DATA), machine.fresh(kept).unwrap());
            prop_assert_eq!(text(&found), text(&expected));
        }
    }

    #[test]
    fn a_full_disk_and_failing_syncs_are_overcome_once_they_pass(
        steps in steps(40),
        faults in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0..6_u64), 1..5),
    ) {
        let kept = Kept::Plaintext;
        let mut machine = Machine::boot(&FaultyStorage::new()).unwrap();
        // The journal has a disk of its own, without faults.
        let disk = FaultyStorage::new();
        disk.create_directory(Path::new(DATA)).unwrap();
        let watched = Watched::new(&disk);
        let mut now = follower(&machine, kept, &watched);
        let mut stands = now.start().is_ok();
        for (number, step) in steps.iter().enumerate() {
            for (_, syncs, nth) in faults.iter().filter(|(at, ..)| at.index(steps.len()) == number) {
                let nth = *nth;
                disk.inject(if *syncs { Fault::SyncFails { nth } } else { Fault::AllocationFails { nth } });
            }
            if !stands {
                disk.heal();
                disk.drop_caches();
            }
            if !stands || matches!(step, Step::Restart) {
                now = follower(&machine, kept, &watched);
                if now.start().is_err() {
                    stands = false;
                    continue;
                }
            }
            stands = matches!(step, Step::Restart) || machine.take(step, kept, &mut now).is_ok();
        }
        disk.heal();
        disk.drop_caches();
        follower(&machine, kept, &watched).settle().unwrap();
        let found = crate::day_files::machine::files(&disk, DATA);
        prop_assert_eq!(text(&found), text(&machine.fresh(kept).unwrap()));
    }
}

#[test]
fn a_torn_file_is_cut_exactly_where_it_differs() {
    for kept in [Kept::Jsonl, Kept::Plaintext] {
        let disk = FaultyStorage::new();
        let mut machine = Machine::boot(&disk).unwrap();
        let mut now = follower(&machine, kept, &Watched::new(&disk));
        now.start().unwrap();
        for number in 0..10 {
            machine.detect(0, false).unwrap();
            now.follow().unwrap();
            if number == 2 {
                now.commit(CommitKind::Durable).unwrap();
            }
        }
        let path = disk.files().into_iter().find(|path| path.starts_with("/data/events")).unwrap();
        let whole = machine.files(DATA);
        let torn = 1100;
        disk.rot(&path, torn, 1);
        let watched = Watched::new(&disk);
        follower(&machine, kept, &watched).settle().unwrap();
        assert_eq!(watched.taken_back(), [format!("{} is cut to {torn}", path.display())]);
        assert_eq!(machine.files(DATA), whole);
    }
}

#[test]
fn an_event_costs_one_write_and_no_sync() {
    let disk = FaultyStorage::new();
    let watched = Watched::new(&disk);
    let mut machine = Machine::boot(&disk).unwrap();
    let mut now = follower(&machine, Kept::Jsonl, &watched);
    now.start().unwrap();
    machine.detect(0, false).unwrap();
    now.follow().unwrap();
    let before = watched.counts();
    for _ in 0..10 {
        machine.detect(0, false).unwrap();
        now.follow().unwrap();
    }
    assert_eq!(watched.counts(), (before.0 + 10, before.1));
    now.commit(CommitKind::Durable).unwrap();
    let written = disk.bytes_written();
    for _ in 0..10 {
        now.follow().unwrap();
        now.commit(CommitKind::Durable).unwrap();
    }
    assert_eq!(disk.bytes_written(), written, "an idle projection writes nothing");
}
