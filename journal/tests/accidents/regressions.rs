//! Accidents by name: those of the field, and the smallest scripts of seeds that failed once.

use crate::script::{End, Mishap, NewName, Op, Source};
use crate::{print, run};

const APPEND: Op = Op::Append { records: 2, size: 50, keyed: true, durable: true };
/// More than one segment.
const FILL: Op = Op::Fill(14);

const fn at_rest(mishap: Mishap) -> Op {
    Op::Accident { beside: false, end: End::Close, mishap }
}

const fn after_a_kill(mishap: Mishap) -> Op {
    Op::Accident { beside: false, end: End::Kill, mishap }
}

const fn beside(mishap: Mishap) -> Op {
    Op::Accident { beside: true, end: End::Close, mishap }
}

/// Runs the steps, then appends, repairs and opens again.
#[track_caller]
fn check(ops: &[Op]) {
    let mut ops = ops.to_vec();
    ops.extend([APPEND, Op::End(End::Kill), APPEND, FILL, Op::Repair, APPEND, Op::End(End::Close)]);
    let outcome = run(1, &ops);
    if outcome.failure.is_some() || outcome.exempt.is_some() || !outcome.undone.is_empty() {
        print(1, &outcome);
        panic!("a promise is broken, or the rules do not say what is right");
    }
}

#[test]
fn a_copy_of_a_segment_under_a_later_day_is_left_out() {
    for file in 0..3 {
        check(&[APPEND, FILL, at_rest(Mishap::Copy { file, name: NewName::OtherDay(8) })]);
    }
}

#[test]
fn a_copy_of_a_segment_under_an_earlier_day_is_left_out() {
    for file in 0..3 {
        check(&[APPEND, FILL, at_rest(Mishap::Copy { file, name: NewName::OtherDay(-22) })]);
    }
}

#[test]
fn a_copy_made_beside_the_writer_is_left_out() {
    for days in [8, -22] {
        check(&[APPEND, beside(Mishap::Copy { file: 0, name: NewName::OtherDay(days) })]);
    }
}

#[test]
fn segments_of_a_backup_that_went_its_own_way_are_left_out() {
    for file in 0..4 {
        let mishap = Mishap::Bring { from: Source::Other(1), file, overwrite: false, name: None };
        check(&[FILL, Op::Backup { seed: 4 }, FILL, at_rest(mishap)]);
    }
}

#[test]
fn a_segment_of_a_backup_over_ours_is_a_named_loss() {
    for file in 0..2 {
        let mishap = Mishap::Bring { from: Source::Other(1), file, overwrite: true, name: None };
        check(&[APPEND, Op::Backup { seed: 4 }, FILL, FILL, after_a_kill(mishap)]);
    }
}

#[test]
fn segments_of_another_journal_are_left_out_and_stay() {
    for prunes in [false, true] {
        let mut ops = vec![APPEND, Op::Days(2), FILL];
        ops.push(at_rest(Mishap::BringAll { from: Source::Other(0), overwrite: false }));
        ops.extend(prunes.then_some(Op::Prune(0)));
        check(&ops);
    }
}

#[test]
fn swapped_segments_are_named_as_lost_and_repaired() {
    check(&[FILL, FILL, at_rest(Mishap::Swap { one: 0, two: 1 })]);
    check(&[FILL, FILL, at_rest(Mishap::Swap { one: 1, two: 2 }), Op::Repair]);
}

#[test]
fn what_was_deleted_beside_the_writer_is_written_again_or_lost_by_name() {
    check(&[APPEND, beside(Mishap::Delete { file: 0 })]);
    check(&[FILL, FILL, beside(Mishap::Delete { file: 1 })]);
    check(&[APPEND, beside(Mishap::Rename { file: 0, name: NewName::AfterAll(0) })]);
}

#[test]
fn a_misnamed_segment_is_missing_until_it_has_its_name_back() {
    let rename = |name| after_a_kill(Mishap::Rename { file: 1, name });
    check(&[FILL, FILL, rename(NewName::OtherDay(-3)), Op::Report, Op::Repair]);
    let back = at_rest(Mishap::PutBack { file: 0 });
    check(&[FILL, FILL, rename(NewName::OtherBase(1)), APPEND, back]);
}

#[test]
fn an_empty_segment_after_all_others_is_left_out() {
    for kind in 0..3 {
        check(&[APPEND, at_rest(Mishap::Empty { name: NewName::AfterAll(kind) })]);
    }
}

#[test]
fn the_marker_of_another_journal_costs_nothing() {
    check(&[FILL, at_rest(Mishap::Witness(Some(Source::Other(0))))]);
    check(&[FILL, at_rest(Mishap::Identity(Some(Source::Other(0))))]);
}

#[test]
fn a_newest_segment_that_is_gone_with_the_marker_is_a_named_loss() {
    check(&[
        APPEND,
        Op::End(End::Kill),
        APPEND,
        at_rest(Mishap::Witness(None)),
        at_rest(Mishap::Delete { file: 1 }),
    ]);
}
