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

#[test]
fn two_copies_of_one_foreign_segment_end_a_repair() {
    let bring = |name| Mishap::Bring { from: Source::Other(1), file: 1, overwrite: false, name };
    let first = beside(bring(Some(NewName::OtherDay(-9))));
    let all = Mishap::BringAll { from: Source::Other(1), overwrite: false };
    for seed in 0..8 {
        let backup = Op::Backup { seed };
        check(&[Op::Days(1), APPEND, backup, first.clone(), at_rest(all.clone()), Op::Repair]);
    }
}

#[test]
fn the_identity_of_another_journal_with_its_segments_costs_nothing() {
    let bring =
        Mishap::Restore { from: Source::Other(0), clear: false, witness: false, identity: true };
    check(&[APPEND, Op::End(End::Kill), Op::Prune(0), APPEND, after_a_kill(bring)]);
}

#[test]
fn a_segment_is_renamed_by_a_repair_where_no_other_is_left() {
    for name in [NewName::OtherDay(6), NewName::AfterAll(0), NewName::AfterAll(2)] {
        check(&[APPEND, after_a_kill(Mishap::Rename { file: 0, name }), Op::Repair]);
    }
}

#[test]
fn an_older_state_beside_newer_segments_costs_no_event() {
    let older = |identity| {
        let from = Source::State(0);
        after_a_kill(Mishap::Restore { from, clear: false, witness: true, identity })
    };
    for identity in [false, true] {
        let prunes = [Op::Prune(0), Op::Prune(0), APPEND];
        check(&[&[APPEND, Op::Remember][..], &prunes, &[older(identity)]].concat());
        check(&[&[APPEND, Op::Remember, FILL][..], &prunes, &[older(identity)]].concat());
    }
}

#[test]
fn an_older_state_in_the_place_of_a_newer_one_is_a_named_loss() {
    let from = Source::State(0);
    let older = Mishap::Restore { from, clear: true, witness: true, identity: false };
    check(&[APPEND, Op::Remember, FILL, FILL, at_rest(older)]);
}

#[test]
fn a_seq_is_given_once_where_two_newest_segments_are_deleted_in_turn() {
    let delete = |end| Op::Accident { beside: false, end, mishap: Mishap::Delete { file: 0 } };
    let unsynced = Op::Append { records: 3, size: 282, keyed: true, durable: false };
    for seed in 0..4 {
        let (first, second) = (delete(End::Kill), delete(End::PowerCut(seed)));
        check(&[unsynced.clone(), first.clone(), APPEND, second.clone(), APPEND]);
        check(&[APPEND, first, APPEND, second, APPEND]);
    }
}

#[test]
fn swapped_segments_are_read_after_a_repair_that_came_late() {
    let swap = after_a_kill(Mishap::Swap { one: 1, two: 2 });
    check(&[FILL, Op::Days(1), Op::Days(1), swap, APPEND, Op::Repair]);
}
