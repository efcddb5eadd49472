//! Accidents by name: those of the field, and the smallest scripts of seeds that failed once.

use super::script::{End, Mishap, NewName, Op, Source};
use super::{Outcome, print, run};

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
    let outcome = run_on(1, ops);
    if outcome.exempt.is_some() || !outcome.undone.is_empty() {
        print(1, &outcome);
        panic!("the rules do not say what is right");
    }
}

/// As [`check`], where other branches live by a seed: whether the rules say what is right depends on what they do.
#[track_caller]
fn run_on(seed: u64, ops: &[Op]) -> Outcome {
    let mut ops = ops.to_vec();
    ops.extend([APPEND, Op::End(End::Kill), APPEND, FILL, Op::Repair, APPEND, Op::End(End::Close)]);
    let outcome = run(seed, &ops);
    if outcome.failure.is_some() {
        print(seed, &outcome);
        panic!("a promise is broken");
    }
    outcome
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
fn a_copy_made_under_the_writer_is_left_out() {
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
fn a_file_deleted_under_a_writer_is_restored_or_reported_lost() {
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
    check(&[FILL, at_rest(Mishap::Marker(Some(Source::Other(0))))]);
    check(&[FILL, at_rest(Mishap::Identity(Some(Source::Other(0))))]);
}

#[test]
fn a_newest_segment_lost_with_the_marker_is_reported() {
    check(&[
        APPEND,
        Op::End(End::Kill),
        APPEND,
        at_rest(Mishap::Marker(None)),
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
fn another_journals_identity_and_segments_cost_nothing() {
    let bring =
        Mishap::Restore { from: Source::Other(0), clear: false, marker: false, identity: true };
    check(&[APPEND, Op::End(End::Kill), Op::Prune(0), APPEND, after_a_kill(bring)]);
}

#[test]
fn a_segment_is_renamed_by_a_repair_where_no_other_is_left() {
    for name in [NewName::OtherDay(6), NewName::AfterAll(0), NewName::AfterAll(2)] {
        check(&[APPEND, after_a_kill(Mishap::Rename { file: 0, name }), Op::Repair]);
    }
}

#[test]
fn an_older_state_among_newer_segments_costs_no_event() {
    let older = |identity| {
        let from = Source::State(0);
        after_a_kill(Mishap::Restore { from, clear: false, marker: true, identity })
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
    let older = Mishap::Restore { from, clear: true, marker: true, identity: false };
    check(&[APPEND, Op::Remember, FILL, FILL, at_rest(older)]);
}

#[test]
fn no_seq_is_used_twice_after_two_newest_segments_are_lost() {
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

#[test]
fn a_copys_segment_after_our_end_is_left_out() {
    for seed in 0..4 {
        for file in 0..4 {
            let mishap =
                Mishap::Bring { from: Source::Other(1), file, overwrite: false, name: None };
            check(&[APPEND, Op::Fork { split: None, seed }, beside(mishap), Op::End(End::Close)]);
        }
    }
}

#[test]
fn segments_after_a_pruning_are_found_after_a_restore() {
    let mishap =
        Mishap::Restore { from: Source::State(0), clear: false, marker: true, identity: true };
    let before = [Op::Days(2), APPEND, Op::Remember, Op::Days(2), FILL, Op::Days(2)];
    let after = [Op::End(End::Kill), Op::Prune(0), APPEND, after_a_kill(mishap)];
    check(&[&before[..], &after[..]].concat());
}

#[test]
fn a_copy_restored_without_its_marker_is_the_journal() {
    for seed in 0..8 {
        let mishap =
            Mishap::Restore { from: Source::Other(1), clear: true, marker: false, identity: true };
        let end = End::PowerCut(seed);
        let restored = Op::Accident { beside: true, end, mishap };
        let forks = [APPEND, Op::Fork { split: None, seed }, Op::Fork { split: Some(seed), seed }];
        check(&[&forks[..], &[Op::End(End::Kill), APPEND, restored]].concat());
    }
}

#[test]
fn segments_after_an_emptied_one_outlive_a_foreign_identity() {
    for cut in 0..4 {
        let emptied = after_a_kill(Mishap::Truncate { file: 0, len: 0 });
        let end = End::PowerCut(cut);
        let mishap = Mishap::Identity(Some(Source::Other(0)));
        check(&[APPEND, emptied, APPEND, Op::Accident { beside: false, end, mishap }, FILL]);
    }
}

#[test]
fn a_segment_known_only_by_its_seq_gets_its_day_back() {
    for cut in 0..4 {
        let end = End::PowerCut(cut);
        let mishap = Mishap::Identity(Some(Source::Other(0)));
        let renamed = Mishap::Rename { file: 2, name: NewName::OtherDay(-7) };
        let days = [APPEND, Op::Days(2), APPEND, Op::Days(2), APPEND];
        let accidents = [Op::Accident { beside: true, end, mishap }, at_rest(renamed), APPEND];
        check(&[&days[..], &accidents[..]].concat());
    }
}

#[test]
fn identity_and_segments_outvote_the_marker_of_a_copy() {
    let marker = at_rest(Mishap::Marker(Some(Source::Other(1))));
    let swap = after_a_kill(Mishap::Swap { one: 0, two: 1 });
    let mut decided = 0;
    for seed in 0..80 {
        // Some copies begin a segment that has the name of ours.
        let fork = [Op::End(End::Close), Op::Fork { split: None, seed: 100 + seed }];
        let accidents = [Op::Days(1), marker.clone(), swap.clone(), APPEND, Op::Repair];
        let outcome = run_on(seed, &[&[APPEND][..], &fork, &accidents].concat());
        decided += usize::from(outcome.undone.is_empty());
    }
    assert!(decided > 40, "{decided} cases are decided");
}

#[test]
fn a_segment_stays_linked_where_those_after_it_are_lost_in_turn() {
    let renamed = Mishap::Rename { file: 3, name: NewName::OtherDay(3) };
    let lost = [after_a_kill(Mishap::Delete { file: 4 }), at_rest(renamed)];
    let back = [at_rest(Mishap::Delete { file: 4 }), at_rest(Mishap::PutBack { file: 0 })];
    check(&[&[FILL, FILL][..], &lost, &[FILL], &back].concat());
}

#[test]
fn readers_agree_after_the_active_segment_was_swapped_away() {
    let unsynced = Op::Append { records: 1, size: 201, keyed: true, durable: false };
    for one in 2..6 {
        let swap = beside(Mishap::Swap { one, two: one + 1 });
        let history = [Op::Read(227), Op::Fill(3), Op::Days(1), Op::Fill(8), Op::End(End::Kill)];
        let more = [unsynced.clone(), Op::End(End::Kill), Op::Repeat(3), Op::Days(1)];
        check(&[&history[..], &more, &[swap.clone(), Op::Fill(6)]].concat());
    }
}

#[test]
fn a_copys_identity_decides_if_the_newest_segment_is_damaged() {
    let damaged = after_a_kill(Mishap::Truncate { file: 1, len: 100 });
    let from = Source::Other(1);
    let copied = Mishap::Restore { from, clear: false, marker: false, identity: true };
    for seed in 0..40 {
        let fork = [Op::End(End::Close), Op::Fork { split: None, seed: 100 + seed }];
        let accidents = [Op::Days(1), damaged.clone(), at_rest(copied.clone())];
        run_on(seed, &[&[APPEND][..], &fork, &accidents].concat());
    }
}
