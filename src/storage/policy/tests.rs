//! The policy against cases by hand, and against a model that is written another way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const TODAY: Day = Day(20_000);

/// Days before today, each with its bytes, oldest first; the last one is today.
fn days(bytes: &[u64]) -> Vec<DayData> {
    let first = TODAY.0 - (bytes.len() as i32 - 1);
    let data = |(index, bytes): (usize, &u64)| DayData {
        day: Day(first + index as i32),
        bytes: *bytes,
        picture_bytes: bytes / 2,
        has_events: true,
    };
    bytes.iter().enumerate().map(data).collect()
}

fn rules(min: u32, max: u32, overwrite_oldest: bool) -> Rules {
    Rules {
        min_retention_days: min,
        max_retention_days: max,
        images_retention_days: 0,
        overwrite_oldest,
    }
}

fn situation(days: &[DayData], limit: u64, rules: Rules) -> Situation<'_> {
    let used = days.iter().map(|data| data.bytes).sum();
    Situation {
        days,
        today: TODAY,
        pruned_through: None,
        tried_through: None,
        stats: StorageStats::new(used, limit),
        rules,
        clock_is_trusted: true,
        mode: Mode::Check,
    }
}

/// How many days before today each pruned day is.
fn ages(plan: &Plan) -> Vec<i32> {
    let days = plan.steps.iter().flat_map(|step| match step {
        Step::Days { days, .. } => days.iter().map(|(day, _)| TODAY.0 - day.0).collect(),
        _ => Vec::new(),
    });
    days.collect()
}

#[test]
fn above_90_percent_days_go_until_below_80() {
    let days = days(&[10; 10]);
    let ages_at = |limit| ages(&plan(&situation(&days, limit, rules(3, 0, false))));
    assert_eq!(ages_at(112), [0; 0], "89 %");
    assert_eq!(ages_at(111), [9, 8], "90.1 %");
    assert_eq!(ages_at(100), [9, 8, 7], "100 %");
    assert_eq!(ages_at(20), [9, 8, 7, 6, 5, 4, 3], "no further than the newest three");
}

#[test]
fn overwriting_ends_at_today_and_then_takes_pictures() {
    let days = days(&[10, 10, 10, 100]);
    let plan = plan(&situation(&days, 100, rules(7, 0, true)));
    assert_eq!(ages(&plan), [3, 2, 1]);
    assert_eq!(plan.steps.last(), Some(&Step::PicturesOfToday { bytes: 21 }));
    assert_eq!(plan.kept.iter().map(|kept| kept.1).collect::<Vec<_>>(), [Protection::Today]);
}

#[test]
fn force_takes_one_day_and_never_a_protected_one() {
    let days = days(&[10; 5]);
    let forced = |limit, min, overwrites| {
        let mut situation = situation(&days, limit, rules(min, 0, overwrites));
        situation.mode = Mode::Forced;
        ages(&plan(&situation))
    };
    assert_eq!(forced(1000, 3, false), [4]);
    assert_eq!(forced(60, 3, false), [4], "83 %, then 67 %");
    assert_eq!(forced(1000, 7, false), [0; 0]);
    assert_eq!(forced(1000, 7, true), [0; 0], "it is not full: nothing has to be overwritten");
    assert_eq!(forced(50, 7, true), [4, 3]);
    // What is too old goes as well, and is not that one day.
    let mut situation = situation(&days, 1000, rules(1, 3, false));
    situation.mode = Mode::Forced;
    assert_eq!(ages(&plan(&situation)), [4, 3, 2]);
}

#[test]
fn too_old_days_go_while_the_clock_is_trusted() {
    let days = days(&[10; 10]);
    let mut situation = situation(&days, 10_000, rules(4, 4, false));
    assert_eq!(ages(&plan(&situation)), [9, 8, 7, 6, 5, 4]);
    situation.clock_is_trusted = false;
    let kept = plan(&situation);
    assert_eq!(ages(&kept), [0; 0]);
    assert_eq!(kept.kept[5].1, Protection::ClockNotTrusted);
    assert_eq!(kept.kept[6].1, Protection::Newest(4));
}

#[test]
fn pictures_go_before_their_records() {
    let days = days(&[10; 4]);
    let mut situation = situation(&days, 10_000, rules(1, 0, false));
    situation.rules.images_retention_days = 2;
    let plan = plan(&situation);
    let pictures = |age| Step::Pictures { day: Day(TODAY.0 - age), bytes: 5 };
    assert_eq!(plan.steps, [pictures(3), pictures(2)]);
}

#[test]
fn days_after_tomorrow_lose_pictures_first() {
    let mut days = days(&[10; 4]);
    let ahead =
        |age| DayData { day: Day(TODAY.0 + age), bytes: 10, picture_bytes: 5, has_events: true };
    days.extend([ahead(1), ahead(30), ahead(400)]);
    let pictures = |age| Step::Pictures { day: Day(TODAY.0 + age), bytes: 5 };
    let steps = |limit, rules, clock_is_trusted| {
        let situation = Situation { clock_is_trusted, ..situation(&days, limit, rules) };
        plan(&situation).steps
    };
    assert_eq!(steps(10_000, rules(1, 0, true), true), [], "there is room");
    assert_eq!(steps(10_000, rules(1, 100, false), true), [pictures(30), pictures(400)]);
    assert_eq!(steps(10_000, rules(1, 100, false), false), []);
    let bounded = Rules { images_retention_days: 100, ..rules(1, 0, false) };
    assert_eq!(steps(10_000, bounded, true), [pictures(30), pictures(400)]);
    assert_eq!(steps(77, rules(7, 0, false), true), [], "nothing is overwritten");
    // 70 of 77 are used, more than 90 %; 61 are below the target.
    assert_eq!(steps(77, rules(1, 0, true), true), [pictures(30), pictures(400)]);
    assert_eq!(ages(&plan(&situation(&days, 70, rules(1, 0, true)))), [3], "then days");
    let untrusted = steps(77, rules(1, 0, true), false);
    assert!(!untrusted.contains(&pictures(30)), "{untrusted:?}");
}

#[test]
fn a_tombstone_of_a_wrong_clock_spares_protected_days() {
    let days = days(&[10; 10]);
    let mut situation = situation(&days, 50, rules(3, 0, false));
    situation.pruned_through = Some(Day(TODAY.0 - 5));
    assert_eq!(ages(&plan(&situation)), [9, 8, 7, 6, 5, 4, 3], "older ones go with it at once");
    situation.pruned_through = Some(Day(TODAY.0 - 2));
    let blocked = plan(&situation);
    assert_eq!(ages(&blocked), [0; 0]);
    assert_eq!(blocked.kept[0].1, Protection::BehindProtected);
    situation.pruned_through = Some(Day(TODAY.0 + 300));
    situation.rules = rules(0, 1, true);
    assert_eq!(ages(&plan(&situation)), [0; 0]);
}

#[test]
fn a_too_old_day_may_take_younger_unprotected_days() {
    let days = days(&[10; 10]);
    let mut situation = situation(&days, 10_000, rules(3, 6, false));
    situation.pruned_through = Some(Day(TODAY.0 - 4));
    assert_eq!(ages(&plan(&situation)), [9, 8, 7, 6, 5, 4]);
    // Days that are too old go although they are among the newest; younger ones of those do not.
    situation.rules = rules(8, 4, false);
    assert_eq!(ages(&plan(&situation)), [9, 8, 7, 6, 5, 4]);
    situation.rules = rules(8, 5, false);
    assert_eq!(ages(&plan(&situation)), [0; 0]);
}

#[test]
fn days_after_today_stay_and_block_nothing() {
    let mut days = days(&[10; 6]);
    let first = days[0];
    days.extend((1..8).map(|ahead| DayData { day: Day(TODAY.0 + ahead), ..first }));
    let plan = plan(&situation(&days, 100, rules(3, 0, false)));
    assert_eq!(ages(&plan), [5, 4, 3]);
    assert_eq!(plan.kept.last().map(|kept| kept.1), Some(Protection::Future));
}

/// What the policy allows, said once more: the days that rotation may take, given what is used.
fn model(situation: &Situation<'_>, was_full: bool) -> BTreeSet<Day> {
    let Situation { days, today, rules, pruned_through, clock_is_trusted, .. } = *situation;
    let past = |data: &&DayData| data.day.0 <= today.0;
    let events: Vec<i32> =
        days.iter().filter(past).filter(|d| d.has_events).map(|d| d.day.0).collect();
    let is_newest = |day: i32| {
        let newer = events.iter().filter(|other| **other > day).count();
        (newer as u64) < u64::from(rules.min_retention_days)
    };
    let is_too_old = |day: i32| {
        let age = i64::from(today.0) - i64::from(day);
        clock_is_trusted && rules.max_retention_days > 0 && age >= rules.max_retention_days.into()
    };
    let may_go = |day: i32| {
        let overwritten = rules.overwrite_oldest && was_full;
        day < today.0 && (is_too_old(day) || overwritten || !is_newest(day))
    };
    let mut allowed = BTreeSet::new();
    for data in days {
        // A tombstone takes everything up to its day with it, and reaches as far as the last one did.
        let through = pruned_through.map_or(data.day.0, |last| last.0.max(data.day.0));
        let all = days.iter().filter(|other| other.day.0 <= through).all(|d| may_go(d.day.0));
        if through < today.0 && all {
            allowed.insert(data.day);
        }
    }
    allowed
}

/// Whether everything that the model allows, and that had to go, went.
fn left_over(situation: &Situation<'_>, gone: &BTreeSet<Day>, was_full: bool) -> Vec<Day> {
    model(situation, was_full).into_iter().filter(|day| !gone.contains(day)).collect()
}

fn history() -> impl Strategy<Value = Vec<DayData>> {
    let day = (-30_i32..8, 0_u64..50, 0_u64..50, any::<bool>());
    proptest::collection::btree_map(-30_i32..8, day, 0..25).prop_map(|all| {
        let data =
            |(age, (_, texts, pictures, has_events)): (i32, (i32, u64, u64, bool))| DayData {
                day: Day(TODAY.0 + age),
                bytes: texts + pictures,
                picture_bytes: pictures,
                has_events,
            };
        all.into_iter().map(data).collect()
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    (0_u32..12, 0_u32..30, 0_u32..30, any::<bool>()).prop_map(|(min, max, images, overwrites)| {
        Rules { images_retention_days: images, ..rules(min, max, overwrites) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn deletes_what_the_policy_allows_and_no_more(
        days in history(),
        rules in any_rules(),
        limit in 1_u64..2500,
        others in 0_u64..500,
        pruned in proptest::option::of(-35_i32..10),
        clock_is_trusted in any::<bool>(),
        mode in prop_oneof![
            Just(Mode::Check),
            Just(Mode::Forced),
            any::<bool>().prop_map(|was_full| Mode::Continuing { was_full }),
        ],
    ) {
        let used = others + days.iter().map(|data| data.bytes).sum::<u64>();
        let situation = Situation {
            days: &days,
            today: TODAY,
            pruned_through: pruned.map(|age| Day(TODAY.0 + age)),
            tried_through: None,
            stats: StorageStats::new(used, limit),
            rules,
            clock_is_trusted,
            mode,
        };
        let plan = plan(&situation);
        let mut left = used;
        let mut gone: BTreeSet<Day> = BTreeSet::new();
        let mut was_full = matches!(mode, Mode::Continuing { was_full: true });
        let mut purged: BTreeSet<Day> = BTreeSet::new();
        let mut rooms = 0;
        for step in &plan.steps {
            let before = StorageStats::new(left, limit);
            match step {
                Step::Days { through, days: taken, why } => {
                    prop_assert!(*through < TODAY);
                    prop_assert!(pruned.is_none_or(|age| *through >= Day(TODAY.0 + age)));
                    let expected: Vec<_> = days.iter()
                        .filter(|data| data.day <= *through && !gone.contains(&data.day))
                        .map(|data| match purged.contains(&data.day) {
                            true => (data.day, data.bytes - data.picture_bytes),
                            false => (data.day, data.bytes),
                        }).collect();
                    prop_assert!(!taken.is_empty());
                    prop_assert_eq!(taken, &expected, "a tombstone takes everything up to its day");
                    if *why == Why::Room {
                        if rooms == 0 && !matches!(mode, Mode::Continuing { .. }) {
                            was_full = before.needs_rotation();
                        }
                        rooms += 1;
                        let wanted = match mode {
                            Mode::Check if rooms == 1 => before.needs_rotation(),
                            Mode::Forced if rooms == 1 => true,
                            _ => before.reaches(80),
                        };
                        prop_assert!(wanted, "{before} needed no room");
                    }
                    let allowed = model(&situation, was_full && *why == Why::Room);
                    for (day, bytes) in taken {
                        prop_assert!(allowed.contains(day), "{day} is protected");
                        prop_assert!(gone.insert(*day));
                        left = left.saturating_sub(*bytes);
                    }
                }
                Step::Pictures { day, bytes } => {
                    prop_assert!(clock_is_trusted);
                    if *day <= TODAY {
                        prop_assert!(rules.images_retention_days > 0);
                        prop_assert!(TODAY.0 - day.0 >= rules.images_retention_days as i32);
                    } else {
                        prop_assert!(day.0 > TODAY.0 + 1, "tomorrow may be another time zone's");
                    }
                    let is_bounded = rules.max_retention_days > 0 || rules.images_retention_days > 0;
                    if *day > TODAY && !is_bounded {
                        prop_assert!(rules.overwrite_oldest && before.reaches(80));
                        if rooms == 0 && !matches!(mode, Mode::Continuing { .. }) {
                            was_full = before.needs_rotation();
                        }
                        prop_assert!(was_full, "{before} needed no room");
                        rooms += 1;
                    }
                    prop_assert!(!gone.contains(day) && purged.insert(*day));
                    left = left.saturating_sub(*bytes);
                }
                Step::PicturesOfToday { bytes } => {
                    prop_assert!(rules.overwrite_oldest);
                    prop_assert!(before.reaches(80));
                    left = left.saturating_sub(*bytes);
                }
            }
        }
        for data in &days {
            let kept = plan.kept.iter().any(|(kept, _)| kept.day == data.day);
            prop_assert_eq!(kept, !gone.contains(&data.day), "every day is in the report once");
        }
        // It ends because there is room, or because nothing else may go.
        let end = StorageStats::new(left, limit);
        let asked = match mode {
            Mode::Check | Mode::Forced => end.needs_rotation(),
            Mode::Continuing { .. } => end.reaches(80),
        };
        if asked {
            let lifted = match mode {
                Mode::Continuing { was_full } => was_full,
                _ => true,
            };
            let rest = left_over(&situation, &gone, lifted);
            prop_assert_eq!(rest, Vec::<Day>::new(), "{} and more may go", end);
        }
    }
}
