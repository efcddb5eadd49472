//! What a query answers, compared with a model that looks at every event.

use std::cmp::Reverse;
use std::sync::OnceLock;

use chrono::{DateTime, FixedOffset, TimeZone, Utc};
use lenslog_events::{Event, EventDetected, testing::config};
use lenslog_journal::Seq;
use lenslog_projections::store::{LIMIT_DEFAULT, LIMIT_MAX};
use lenslog_projections::{EventQuery, EventStore, StoreError, StoredEvent};
use proptest::prelude::*;

use crate::database::setting::{START, Setting, event, object};

const CAMERAS: [&str; 3] = ["camera_0", "Tür 'x' \"--", "camera_2"];
const LABELS: [&str; 3] = ["person", "car'); DROP TABLE events; --", "cat"];
const EVENTS: u64 = 240;

/// Events whose times are not in the order of their seqs, many of them the same, some apart by less than the
/// database holds.
fn scrambled(number: u64) -> EventDetected {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let labels = LABELS.iter().enumerate().filter(|(bit, _)| mixed >> (bit + 8) & 1 == 1);
    EventDetected {
        timestamp: START.plus_micros((mixed % 40) as i64 * 700_300),
        camera_id: CAMERAS[(mixed >> 16) as usize % CAMERAS.len()].to_owned(),
        detected_objects: labels.map(|(_, label)| object(label)).collect(),
        ..event(number)
    }
}

struct World {
    _setting: Setting,
    store: EventStore,
    /// Newest first.
    events: Vec<StoredEvent>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let setting = Setting::new();
        for number in 0..EVENTS {
            setting.append(&Event::Detected(scrambled(number)));
        }
        setting.catch_up_once();
        let store = setting.store();
        let mut events = store.events_after(Seq(0), LIMIT_MAX).unwrap();
        assert_eq!(events.len() as u64, EVENTS);
        events.sort_by_key(|event| Reverse((event.timestamp, event.seq)));
        World { _setting: setting, store, events }
    })
}

fn seqs<'a>(events: impl IntoIterator<Item = &'a StoredEvent>) -> Vec<u64> {
    events.into_iter().map(|event| event.seq.0).collect()
}

/// Around the events, at any precision, in any time zone.
fn time() -> impl Strategy<Value = DateTime<FixedOffset>> {
    let micros = prop_oneof![
        (0..40_i64).prop_map(|step| step * 700_300),
        (0..40_i64).prop_map(|step| step * 700_300 / 1000 * 1000),
        -2_000_000..30_000_000_i64,
    ];
    (micros, 0..1000_i64, -1080..1080_i32).prop_map(|(micros, nanos, minutes)| {
        let nanos = if nanos < 500 { 0 } else { nanos };
        let time = DateTime::<Utc>::from_timestamp_micros(START.utc_micros + micros).unwrap()
            + chrono::Duration::nanoseconds(nanos);
        time.with_timezone(&FixedOffset::east_opt(minutes * 60).unwrap())
    })
}

fn query() -> impl Strategy<Value = EventQuery> {
    let times = (prop::option::of(time()), prop::option::of(time()));
    let names = (
        prop::option::of(prop::sample::select(&CAMERAS[..])),
        prop::option::of(prop::sample::select(&LABELS[..])),
    );
    (times, names).prop_map(|((since, until), (camera, label))| {
        let mut query = EventQuery::new();
        if let Some(since) = since {
            query = query.since(since);
        }
        if let Some(until) = until {
            query = query.until(until);
        }
        if let Some(camera) = camera {
            query = query.camera(camera);
        }
        if let Some(label) = label {
            query = query.label(label);
        }
        query
    })
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_query_answers_what_looking_at_every_event_does(
        query in query(),
        limit in 0..300_usize,
        offset in 0..50_u64,
        before in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let world = world();
        let expected: Vec<_> = world.events.iter().filter(|event| query.matches(event)).collect();
        prop_assert_eq!(world.store.count_events(&query).unwrap(), expected.len() as u64);
        let first = expected.iter().map(|event| event.seq).min();
        prop_assert_eq!(world.store.first_seq(&query).unwrap(), first);
        // Behind any event, whether or not it meets the conditions.
        let before = before.map(|index| index.get(&world.events).cursor());
        let place = |event: &StoredEvent| (event.timestamp, event.seq);
        let is_behind = |event: &&StoredEvent| {
            before.is_none_or(|cursor| place(event) < (cursor.timestamp, cursor.seq))
        };
        let expected: Vec<_> = expected.into_iter().filter(is_behind).collect();
        let query = before.map_or(query.clone(), |cursor| query.before(cursor));
        let page = world.store.query(&query.limit(limit).offset(offset)).unwrap();
        let rest = expected.iter().skip(offset as usize).copied();
        prop_assert_eq!(seqs(&page.events), seqs(rest.take(limit)));
        let is_cut = offset as usize + limit < expected.len() && limit > 0;
        prop_assert_eq!(page.next.is_some(), is_cut);
    }

    #[test]
    fn paging_passes_every_event_once_whatever_the_size_of_a_page(
        query in query(),
        sizes in prop::collection::vec(1..40_usize, 1..6),
        by_seq in any::<bool>(),
    ) {
        let world = world();
        let expected = seqs(world.events.iter().filter(|event| query.matches(event)));
        let (mut found, mut next) = (Vec::new(), query.clone());
        for size in sizes.iter().cycle() {
            prop_assert!(found.len() <= expected.len(), "some came twice");
            let page = world.store.query(&next.limit(*size)).unwrap();
            found.extend(seqs(&page.events));
            let Some(cursor) = page.next else { break };
            next = if by_seq {
                query.clone().before_seq(cursor.seq)
            } else {
                query.clone().before(cursor)
            };
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn every_field_comes_back() {
    let setting = Setting::new();
    let event = EventDetected { llm_description: Some("A \"cat\"\n".into()), ..event(0) };
    setting.append(&Event::Detected(event.clone()));
    setting.catch_up_once();
    let store = setting.store();
    let stored = store.event_by_id("evt_0").unwrap().unwrap();
    assert_eq!(stored.seq, Seq(1));
    assert_eq!(stored.event_id, event.event_id);
    assert_eq!(stored.timestamp.timestamp_micros(), event.timestamp.utc_micros);
    assert_eq!(stored.camera_id, event.camera_id);
    assert_eq!(stored.motion_confidence, event.motion_confidence);
    assert_eq!(stored.detected_objects, event.detected_objects);
    assert_eq!(stored.llm_description, event.llm_description);
    assert_eq!(stored.image_path, event.image_path);
    assert_eq!(stored.json_log_path.as_deref(), Some("data/events/2026-11-23/events.json"));
    assert_eq!(stored.day(), Some("2026-11-23".parse().unwrap()));
    let appended = START.utc_micros + 1000;
    assert_eq!(stored.created_at.unwrap().timestamp_micros(), appended);
    assert_eq!(store.event_by_seq(Seq(1)).unwrap(), Some(stored));
}

#[test]
fn what_is_not_there_is_none() {
    let store = &world().store;
    assert_eq!(store.event_by_id("evt_x").unwrap(), None);
    for seq in [0, EVENTS + 1, u64::MAX] {
        assert_eq!(store.event_by_seq(Seq(seq)).unwrap(), None);
    }
    assert!(store.events_by_camera("camera_9", 10).unwrap().is_empty());
    assert!(store.events_by_label("", 10).unwrap().is_empty());
}

#[test]
fn the_named_queries_are_those_of_one_condition() {
    let world = world();
    let (store, newest) = (&world.store, seqs(&world.events));
    let recent = store.recent_events(LIMIT_DEFAULT).unwrap();
    assert_eq!(seqs(&recent.events), newest[..LIMIT_DEFAULT]);
    assert_eq!(store.query(&EventQuery::new()).unwrap(), recent);
    let all = store.recent_events(usize::MAX).unwrap();
    assert_eq!((all.len() as u64, all.next), (EVENTS, None));

    let of = |keep: &dyn Fn(&StoredEvent) -> bool| seqs(world.events.iter().filter(|e| keep(e)));
    let (camera, label) = (CAMERAS[1], LABELS[1]);
    let found = store.events_by_camera(camera, LIMIT_MAX).unwrap();
    assert_eq!(seqs(&found.events), of(&|event| event.camera_id == camera));
    let found = store.events_by_label(label, LIMIT_MAX).unwrap();
    assert_eq!(seqs(&found.events), of(&|event| event.has_label(label)));

    let (start, end) = (world.events[99].timestamp, world.events[20].timestamp);
    let berlin = FixedOffset::east_opt(3600).unwrap();
    let found = store.events_in(start.with_timezone(&berlin), end).unwrap();
    assert_eq!(seqs(&found.events), of(&|event| (start..end).contains(&event.timestamp)));
    assert!(store.events_in(end, start).unwrap().is_empty());
}

#[test]
fn times_that_no_event_can_have_are_bounds_like_others() {
    let store = &world().store;
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    assert_eq!(store.events_in(first, last).unwrap().len() as u64, EVENTS);
    assert!(store.events_in(last, first).unwrap().is_empty());
    assert!(store.events_in(Utc.timestamp_opt(0, 0).unwrap(), first).unwrap().is_empty());
}

#[test]
fn paging_by_a_seq_that_is_no_event_is_refused_and_a_cursor_goes_on() {
    let world = world();
    for seq in [0, EVENTS + 1, u64::MAX] {
        let error = world.store.query(&EventQuery::new().before_seq(Seq(seq))).unwrap_err();
        assert!(matches!(error, StoreError::UnknownSeq { .. }), "{error}");
        assert!(error.to_string().contains("go on from a time"), "{error}");
    }
    let mut cursor = world.events[10].cursor();
    cursor.seq = Seq(u64::MAX);
    let page = world.store.query(&EventQuery::new().before(cursor)).unwrap();
    assert_eq!(page[0].timestamp, cursor.timestamp);
    assert!(page.iter().all(|event| event.timestamp <= cursor.timestamp));
}

#[test]
fn paging_goes_on_while_events_come_in_and_others_are_pruned() {
    let setting = Setting::with_events(30);
    let runner = setting.runner();
    setting.catch_up(&runner);
    let store = setting.store();
    let first = store.recent_events(10).unwrap();
    // One that is newer than all, one that came in late, and one that belongs to a place already passed.
    setting.append(&Event::Detected(event(1000)));
    let late = EventDetected { event_id: "late".into(), ..event(5) };
    let late = setting.append(&Event::Detected(late));
    let passed = EventDetected { event_id: "passed".into(), ..event(25) };
    setting.append(&Event::Detected(passed));
    setting.catch_up(&runner);
    let second = store.query(&EventQuery::new().before(first.next.unwrap()).limit(1000)).unwrap();
    let expected: Vec<u64> = (7..=20).rev().chain([late.0, 6, 5, 4, 3, 2, 1]).collect();
    assert_eq!(seqs(&second.events), expected);
}

#[test]
fn events_after_a_seq_come_in_the_order_of_the_journal() {
    let store = &world().store;
    assert_eq!(store.last_seq().unwrap(), Some(Seq(EVENTS)));
    assert_eq!(seqs(&store.events_after(Seq(3), 4).unwrap()), [4, 5, 6, 7]);
    assert_eq!(store.events_after(Seq(EVENTS), 4).unwrap(), []);
    assert_eq!(store.events_after(Seq(u64::MAX), 4).unwrap(), []);
}

#[test]
fn a_store_is_shared_between_threads() {
    let world = world();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let page = world.store.events_by_camera(CAMERAS[0], 10).unwrap();
                    assert_eq!(page.len(), 10);
                }
            });
        }
    });
}
