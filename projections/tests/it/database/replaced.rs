//! A store, and its followers, while the database is deleted, replaced and rebuilt.

use std::fs;

use lenslog_engine::RebuildOptions;
use lenslog_events::Event;
use lenslog_journal::Seq;
use lenslog_projections::{EventQuery, EventStore, StoreError};
use rusqlite::Connection;

use crate::database::setting::{Setting, TIMEOUT, event};

#[test]
fn a_rebuild_into_the_open_file_is_followed() {
    let setting = Setting::with_events(5);
    let runner = setting.runner();
    setting.catch_up(&runner);
    let store = setting.store();
    assert_eq!(store.recent_events(10).unwrap().len(), 5);
    Connection::open(setting.path()).unwrap().execute_batch("DELETE FROM events").unwrap();
    assert_eq!(store.recent_events(10).unwrap().len(), 0);
    runner.rebuild("sqlite", &RebuildOptions::default()).unwrap().unwrap();
    assert_eq!(store.recent_events(10).unwrap().len(), 5);
    setting.append(&Event::Detected(event(5)));
    setting.catch_up(&runner);
    assert_eq!(store.recent_events(10).unwrap().len(), 6);
}

#[test]
fn a_database_that_is_deleted_is_missing_until_it_is_made_again() {
    let setting = Setting::with_events(5);
    setting.catch_up_once();
    let store = setting.store();
    assert_eq!(store.recent_events(10).unwrap().len(), 5);
    fs::remove_file(setting.path()).unwrap();
    assert!(matches!(store.recent_events(10), Err(StoreError::Missing { .. })));
    setting.append(&Event::Detected(event(5)));
    setting.catch_up_once();
    assert_eq!(store.recent_events(10).unwrap().len(), 6);
}

#[test]
fn another_file_of_the_name_is_opened_and_the_old_one_left() {
    let setting = Setting::with_events(5);
    setting.catch_up_once();
    let store = setting.store();
    assert_eq!(store.recent_events(10).unwrap().len(), 5);
    let path = setting.path();
    fs::rename(&path, path.with_extension("db.old-1")).unwrap();
    setting.append(&Event::Detected(event(5)));
    let runner = setting.runner();
    setting.catch_up(&runner);
    assert_eq!(store.recent_events(10).unwrap().len(), 6);
    // Closing the old file took nothing from the new one.
    setting.append(&Event::Detected(event(6)));
    setting.catch_up(&runner);
    assert_eq!(store.recent_events(10).unwrap().len(), 7);
    let old = EventStore::open(path.with_extension("db.old-1")).unwrap();
    assert_eq!(old.recent_events(10).unwrap().len(), 5);
}

#[test]
fn whoever_follows_sees_every_event_once_across_all_of_it() {
    const EVENTS: u64 = 400;
    let setting = Setting::new();
    let store = EventStore::of(setting.path());
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut follow = store.follow(Seq(0));
            let mut seqs = Vec::new();
            while follow.after() < Seq(EVENTS) {
                let events = follow.next_events(TIMEOUT).unwrap();
                assert!(!events.is_empty());
                seqs.extend(events.iter().map(|event| event.seq.0));
            }
            seqs
        });
        let mut runner = setting.runner();
        for number in 0..EVENTS {
            setting.append(&Event::Detected(event(number)));
            match number {
                50 | 150 | 250 => {
                    setting.catch_up(&runner);
                    runner.rebuild("sqlite", &RebuildOptions::default()).unwrap().unwrap();
                }
                100 | 200 | 300 => {
                    setting.catch_up(&runner);
                    runner.stop();
                    fs::remove_file(setting.path()).unwrap();
                    runner = setting.runner();
                }
                350 => {
                    setting.catch_up(&runner);
                    runner.stop();
                    fs::write(setting.path(), "no database").unwrap();
                    runner = setting.runner();
                }
                _ => {}
            }
        }
        setting.catch_up(&runner);
        follower.join().unwrap()
    });
    assert_eq!(followed, (1..=EVENTS).collect::<Vec<_>>());
}

#[test]
fn following_ends_its_patience_with_nothing_or_with_the_reason() {
    let setting = Setting::with_events(2);
    let store = EventStore::of(setting.path());
    let now = std::time::Duration::ZERO;
    let error = store.follow(Seq(0)).next_events(now).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    setting.catch_up_once();
    let mut follow = store.follow(Seq(1));
    assert_eq!(follow.next_events(now).unwrap().len(), 1);
    assert_eq!(follow.after(), Seq(2));
    assert_eq!(follow.next_events(now).unwrap(), []);
}

#[test]
fn a_store_between_two_queries_keeps_no_log_from_being_copied() {
    let setting = Setting::with_events(5);
    let runner = setting.runner();
    setting.catch_up(&runner);
    let store = setting.store();
    store.recent_events(2).unwrap();
    store.event_by_id("evt_1").unwrap();
    store.count_events(&EventQuery::new().label("car")).unwrap();
    store.first_seq(&EventQuery::new()).unwrap();
    store.last_seq().unwrap();
    store.follow(Seq(4)).next_events(TIMEOUT).unwrap();
    setting.append(&Event::Detected(event(5)));
    setting.catch_up(&runner);
    let other = Connection::open(setting.path()).unwrap();
    let copied = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (is_busy, pages) =
        other.query_row::<(i64, i64), _, _>("PRAGMA wal_checkpoint(TRUNCATE)", [], copied).unwrap();
    assert_eq!((is_busy, pages), (0, 0));
    assert_eq!(store.recent_events(10).unwrap().len(), 6);
}
