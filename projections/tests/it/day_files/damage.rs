//! The journal has lost records: the files may hold their last copies.

use std::collections::BTreeMap;
use std::fs;

use lenslog_engine::{CommitKind, RebuildError, Scope};
use lenslog_events::EventRef;
use lenslog_events::testing::config;
use lenslog_journal::Seq;
use proptest::prelude::*;

use crate::day_files::common::{BOTH, Real};
use crate::day_files::machine::{Kept, Step, steps};

/// Ten events of one day, followed; a checkpoint only before those from number 5 on.
fn half_listed(real: &mut Real) {
    for _ in 0..5 {
        real.machine.detect(1, false).unwrap();
    }
    let mut follower = real.follower();
    follower.start().unwrap();
    follower.follow().unwrap();
    follower.commit(CommitKind::Durable).unwrap();
    for _ in 0..5 {
        real.machine.detect(1, false).unwrap();
    }
    follower.follow().unwrap();
}

fn event(real: &Real, number: usize) -> EventRef {
    real.machine.events[number].clone()
}

fn seq(real: &Real, number: usize) -> Seq {
    real.machine.events[number].event_seq
}

/// How often each event of day 1 is in its file.
fn counts(real: &Real) -> Vec<usize> {
    let text = fs::read_to_string(real.events(1)).unwrap();
    let time = |number: usize| format!("10:00:{number:02}");
    (0..real.machine.events.len()).map(|number| text.matches(&time(number)).count()).collect()
}

#[test]
fn lines_of_lost_records_behind_the_checkpoint_stay_and_none_is_there_twice() {
    for kept in BOTH {
        for lost in [&[5][..], &[7], &[9], &[6, 8], &[5, 6, 7, 8, 9], &[2, 7]] {
            let mut real = Real::new(kept);
            half_listed(&mut real);
            let before = real.files();
            for number in lost {
                real.machine.damage(seq(&real, *number));
            }
            real.settle();
            assert_eq!(real.files(), before, "{kept:?} {lost:?}");
            assert_eq!(real.differences(), Vec::<String>::new(), "{kept:?} {lost:?}");
            real.machine.detect(1, false).unwrap();
            real.settle();
            assert_eq!(counts(&real), [1; 11], "{kept:?} {lost:?}");
            assert_eq!(real.differences(), Vec::<String>::new(), "{kept:?} {lost:?}");
        }
    }
}

#[test]
fn whole_lines_behind_a_torn_one_stay_too() {
    for kept in BOTH {
        let mut real = Real::new(kept);
        half_listed(&mut real);
        real.machine.damage(seq(&real, 7));
        // A power cut tore event 6, which the journal still has.
        let mut bytes = fs::read(real.events(1)).unwrap();
        let at = bytes.windows(8).position(|window| window == b"10:00:06").unwrap();
        bytes[at..at + 20].fill(0);
        fs::write(real.events(1), bytes).unwrap();
        real.settle();
        assert_eq!(counts(&real), [1; 10], "{kept:?}");
        assert!(!fs::read(real.events(1)).unwrap().contains(&0));
    }
}

#[test]
fn an_entry_that_is_torn_between_two_lines_is_completed_where_it_stands() {
    let mut real = Real::new(Kept::Plaintext);
    half_listed(&mut real);
    let before = fs::read_to_string(real.events(1)).unwrap();
    real.machine.damage(seq(&real, 6));
    let cut = before.rfind("  - Description").unwrap();
    fs::write(real.events(1), &before[..cut]).unwrap();
    real.settle();
    assert_eq!(fs::read_to_string(real.events(1)).unwrap(), before);
}

#[test]
fn a_process_that_ends_before_it_has_caught_up_keeps_them_too() {
    for kept in BOTH {
        let mut real = Real::new(kept);
        half_listed(&mut real);
        real.machine.damage(seq(&real, 6));
        for _ in 0..3 {
            let mut follower = real.follower();
            follower.start().unwrap();
            follower.follow().unwrap();
            follower.commit(CommitKind::Durable).unwrap();
            real.machine.detect(1, false).unwrap();
            follower.follow().unwrap();
        }
        real.settle();
        assert_eq!(counts(&real), [1; 13], "{kept:?}");
    }
}

#[test]
fn a_rebuild_replaces_nothing_unless_the_loss_is_accepted_and_then_keeps_the_old_aside() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        real.machine.detect(1, false).unwrap();
        real.settle();
        let before = real.files();
        real.machine.damage(seq(&real, 4));
        let error = real.rebuild(Scope::All, false).unwrap_err();
        assert!(matches!(error, RebuildError::Damaged { .. }), "{error}");
        assert_eq!(real.files(), before);
        real.rebuild(Scope::All, true).unwrap();
        let aside = format!("{}.lost-1", real.events(1).display());
        let old = fs::read(&aside).unwrap();
        assert!(before.values().any(|bytes| *bytes == old));
        fs::remove_file(aside).unwrap();
        let other_days: Vec<_> = [0, 2].map(|day| fs::read(real.events(day)).unwrap()).into();
        assert!(other_days.iter().all(|bytes| before.values().any(|old| old == bytes)));
        assert_eq!(real.differences(), Vec::<String>::new());
    }
}

#[test]
fn a_verification_allows_what_lost_records_may_have_written() {
    for kept in BOTH {
        // An event; an event that waited; its description; a late description; the last one.
        for lost in 0..5 {
            let mut real = Real::new(kept);
            let mut seqs = vec![real.machine.detect(1, false).unwrap()];
            seqs.push(real.machine.detect(1, true).unwrap());
            real.machine.detect(1, false).unwrap();
            let waiting = event(&real, 1);
            seqs.push(real.machine.describe(waiting.clone(), 0).unwrap());
            real.machine.detect(1, false).unwrap();
            let late = event(&real, 0);
            seqs.push(real.machine.describe(late, 0).unwrap());
            seqs.push(real.machine.detect(1, false).unwrap());
            real.settle();
            assert_eq!(real.differences(), Vec::<String>::new());
            real.machine.damage(seqs[lost]);
            assert_eq!(real.differences(), Vec::<String>::new(), "{kept:?}, {lost} is lost");
            real.machine.describe(waiting, 1).unwrap();
            real.settle();
            assert_eq!(real.differences(), Vec::<String>::new(), "{kept:?}, {lost} is lost");
        }
    }
}

#[test]
fn a_verification_still_finds_what_is_missing_behind_a_loss() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        real.machine.damage(seq(&real, 1));
        let text = fs::read_to_string(real.events(1)).unwrap();
        // The last event of the day is cut out of the middle of what is listed, the length kept.
        let at = text.find("10:00:07").unwrap();
        let altered = text.replacen("10:00:07", "11:11:11", 1);
        assert_eq!(altered.len(), text.len(), "{at}");
        fs::write(real.events(1), altered).unwrap();
        let found = real.differences();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("10:00:07"), "{found:?}");
    }
}

/// How often each entry is there, without descriptions: one may have been lost.
fn entries(real: &Real) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (path, bytes) in real.files() {
        let text = String::from_utf8(bytes).unwrap();
        for line in text.lines().filter(|line| line.starts_with(['{', '['])) {
            let line = match serde_json::from_str::<serde_json::Value>(line) {
                Ok(mut value) => {
                    value["llm_description"].take();
                    value.to_string()
                }
                Err(_) => line.to_owned(),
            };
            *counts.entry(format!("{} {line}", path.display())).or_default() += 1;
        }
    }
    counts
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn no_line_goes_and_none_comes_twice_whatever_is_lost_behind_the_checkpoint(
        steps in steps(40),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        again in prop::collection::vec(any::<bool>(), 0..4),
    ) {
        for kept in BOTH {
            let mut real = Real::new(kept);
            let mut follower = real.follower();
            follower.start().unwrap();
            for step in &steps {
                if !matches!(step, Step::Prune { .. } | Step::RebuildAll | Step::RebuildDay { .. } | Step::Restart) {
                    real.machine.take(step, kept, &mut follower).unwrap();
                }
            }
            follower.follow().unwrap();
            let before = entries(&real);
            let end = real.machine.journal.next_seq().0;
            for index in &lost {
                if end > 1 {
                    real.machine.damage(Seq(1 + index.index(end as usize - 1) as u64));
                }
            }
            // Some processes end without a last checkpoint, before the one that puts everything right.
            for durable in &again {
                let mut follower = real.follower();
                follower.start().unwrap();
                follower.follow().unwrap();
                follower.projection.caught_up().unwrap();
                if *durable {
                    follower.commit(CommitKind::Durable).unwrap();
                }
                real.machine.detect(0, false).unwrap();
                follower.follow().unwrap();
            }
            real.settle();
            let after = entries(&real);
            for (entry, count) in &before {
                prop_assert_eq!(after.get(entry), Some(count), "{:?} {}", kept, entry);
            }
            prop_assert!(after.values().all(|count| *count == 1) || before.values().any(|count| *count > 1), "{:?}", after);
            prop_assert_eq!(real.differences(), Vec::<String>::new());
        }
    }
}
