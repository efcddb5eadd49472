//! A verification finds every difference, and none beside a writer.

use std::fs;

use lenslog_engine::{CommitKind, Recorded, Scope, Verifier};
use lenslog_events::RecorderCodec;
use lenslog_events::testing::config;
use lenslog_journal::{Entry, ReaderOptions};
use proptest::prelude::*;

use crate::day_files::common::{BOTH, Real};
use crate::day_files::machine::{Kept, day};

/// One difference, which names the file of a day and all of these.
#[track_caller]
fn assert_found(real: &Real, number: u8, words: &[&str]) {
    let found = real.differences();
    assert_eq!(found.len(), 1, "{found:?}");
    let name = real.events(number);
    let path = name.strip_prefix(real.data.path()).unwrap().to_str().unwrap();
    assert!(found[0].starts_with(&format!("{path}: ")), "{found:?}");
    assert!(words.iter().all(|word| found[0].contains(word)), "{found:?} without {words:?}");
    assert!(!found[0].contains('\n'));
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn any_changed_byte_of_any_file_is_found(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        for kept in BOTH {
            let real = Real::with_events(kept);
            let files: Vec<_> = real.files().into_iter().collect();
            let (name, mut bytes) = file.get(&files).clone();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            fs::write(real.data.path().join("events").join(&name), &bytes).unwrap();
            let found = real.differences();
            prop_assert_eq!(found.len(), 1);
            let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(found[0].contains(name.to_str().unwrap()), "{:?}", found);
            let place = format!("line {line} (byte {at})");
            prop_assert!(found[0].contains(&place), "{:?} without {}", found, place);
        }
    }
}

#[test]
fn what_is_missing_cut_or_too_much_is_found() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        let path = real.events(1);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert_found(&real, 1, &["ends at byte", &whole.len().to_string()]);
        fs::remove_file(&path).unwrap();
        assert_found(&real, 1, &["was deleted"]);
        fs::write(&path, [&whole[..], b"a running recorder goes on\n"].concat()).unwrap();
        assert_eq!(real.differences(), Vec::<String>::new());
        fs::create_dir(real.path(4, "")).unwrap();
        fs::write(real.events(4), "left over\n").unwrap();
        assert_found(&real, 4, &["it is foreign"]);
    }
}

#[test]
fn without_a_checkpoint_or_with_a_broken_one_that_is_the_difference() {
    for kept in BOTH {
        let real = Real::with_events(kept);
        fs::write(real.checkpoint(), "nonsense").unwrap();
        let found = real.differences();
        assert!(found[0].contains("is damaged"), "{found:?}");
        fs::remove_file(real.checkpoint()).unwrap();
        assert_eq!(real.differences(), ["it does not exist"]);
    }
}

#[test]
fn differences_in_more_files_than_can_be_named_are_counted() {
    let mut real = Real::new(Kept::Jsonl);
    for number in 0..40 {
        real.machine.detect(number, false).unwrap();
    }
    real.settle();
    for number in 0..40 {
        fs::remove_file(real.events(number)).unwrap();
    }
    let found = real.differences();
    assert_eq!((found.len(), found[19].as_str()), (20, "and 21 more files differ"));
}

/// A verification that is half done when `meanwhile` happens.
fn differences_with(real: &mut Real, meanwhile: impl FnOnce(&mut Real)) -> Vec<String> {
    let mut verifier: Box<dyn Verifier<RecorderCodec>> =
        real.projection().verifier().unwrap().unwrap();
    let end = verifier.checkpoint().position.next;
    let view = real.machine.journal.view();
    let mut reader = view.reader(view.floor().unwrap(), ReaderOptions::default()).unwrap();
    meanwhile(real);
    while let Some(Entry::Record(record)) = reader.next().unwrap() {
        if record.seq >= end {
            break;
        }
        verifier.apply(&Recorded::decode::<RecorderCodec>(&record)).unwrap();
    }
    verifier.finish().unwrap()
}

#[test]
fn whoever_writes_prunes_or_rebuilds_meanwhile_makes_no_difference() {
    for kept in BOTH {
        let mut real = Real::with_events(kept);
        let found = differences_with(&mut real, |real| {
            real.machine.detect(1, false).unwrap();
            real.machine.detect(4, false).unwrap();
            real.settle();
        });
        assert_eq!(found, Vec::<String>::new());
        let found = differences_with(&mut real, |real| {
            real.rebuild(Scope::All, false).unwrap();
            real.rebuild(Scope::Days([day(1)].into()), false).unwrap();
        });
        assert_eq!(found, Vec::<String>::new());
        let found = differences_with(&mut real, |real| {
            let mut follower = real.follower();
            follower.start().unwrap();
            real.machine.prune(1).unwrap();
            real.machine.detect(0, false).unwrap();
            follower.follow().unwrap();
            follower.commit(CommitKind::Durable).unwrap();
        });
        assert_eq!(found, Vec::<String>::new());
        let found = differences_with(&mut real, |real| {
            let text = fs::read_to_string(real.events(2)).unwrap();
            fs::write(real.events(2), text.replace("front", "FRONT")).unwrap();
        });
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
