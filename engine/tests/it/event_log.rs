//! The event log: typed appends and reads, and handles on what projections make of them.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use lenslog_engine::{
    AppendError, EventLog, ProjectionState, ReadError, RebuildOptions, RunnerOptions, Snapshot,
    StartError,
};
use lenslog_journal::storage::{Fault, FaultyStorage};
use lenslog_journal::{Appended, Error, Kind, NewRecord, Options, Query, Seq};

use crate::common::{Balances, Count, Entry, Ledger, Setting, wait_for_state};

/// Long: a test that waits this long has failed.
const LONG: Duration = Duration::from_secs(20);

fn paid(account: u8, cents: i64) -> Entry {
    Entry::Paid { account, cents }
}

fn options(storage: &FaultyStorage) -> Options {
    Options { storage: Arc::new(storage.clone()), seed: Some(1), ..Options::default() }
}

#[test]
fn a_handle_shows_what_was_appended_and_so_after_a_restart() {
    let storage = FaultyStorage::new();
    for round in 1..=3 {
        let builder = EventLog::<Ledger>::open_with("/data", &options(&storage)).unwrap();
        let (log, (balances, count)) =
            builder.reduce::<Balances>("balances").reduce::<Count>("count").start().unwrap();
        if round > 1 {
            // Nothing new was appended: the file has it all.
            let end = Seq(log.view().head().unwrap().0 - 1);
            let total = balances.at_least(end, LONG).unwrap().read(|all| all.0[&1]);
            assert_eq!(total, 10 * (round - 1));
        }
        let seq = log.append(&paid(1, 10)).unwrap();
        let reading = balances.at_least(seq, LONG).unwrap();
        assert_eq!((reading.read(|all| all.0[&1]), reading.0[&1]), (10 * round, 10 * round));
        assert!(reading.next_seq() > seq);
        drop(reading);
        assert_eq!(count.at_least(seq, LONG).unwrap().0, round as u64);
        log.close().unwrap();
    }
}

#[test]
fn waiting_for_what_never_comes_ends_with_the_names() {
    let (log, count) = EventLog::<Ledger>::open_with("/data", &options(&FaultyStorage::new()))
        .unwrap()
        .reduce::<Count>("count")
        .start()
        .unwrap();
    let seq = log.append(&paid(1, 10)).unwrap();
    let behind = count.at_least(seq.next(), Duration::from_millis(20)).unwrap_err();
    assert_eq!(behind.names, ["count"]);
    assert!(behind.to_string().starts_with("projection count: "), "{behind}");
    let behind = log.runner().wait_at_most(seq.next().next(), Duration::from_millis(20));
    assert_eq!(behind.unwrap_err().names, ["count"]);
}

#[test]
fn a_handle_shows_nothing_of_a_file_of_another_journal() {
    let storage = FaultyStorage::new();
    let setting = Setting::new();
    let other = Setting::with_seed(9);
    let snapshot = || Snapshot::<Count>::new(Arc::new(storage.clone()), "/count");
    let (log, ()) =
        EventLog::<Ledger>::on(other.journal.clone()).projection(snapshot()).start().unwrap();
    for _ in 0..5 {
        log.append(&paid(1, 1)).unwrap();
    }
    log.runner().wait_for(other.journal.next_seq(), LONG).unwrap();
    log.close().unwrap();
    setting.pay(1, 1);
    let snapshot = snapshot();
    let handle = snapshot.handle::<Ledger>();
    assert_eq!((handle.next_seq(), handle.read(|count| count.0)), (Seq(0), 0));
    let (log, ()) =
        EventLog::<Ledger>::on(setting.journal.clone()).projection(snapshot).start().unwrap();
    assert_eq!(handle.at_least(Seq(1), LONG).unwrap().0, 1);
    drop(log);
}

#[test]
fn a_handle_goes_on_after_faults_and_rebuilds() {
    let setting = Setting::new();
    let disk = FaultyStorage::new();
    let snapshot = Snapshot::<Count>::new(Arc::new(disk.clone()), "/count");
    let handle = snapshot.handle::<Ledger>();
    let options = RunnerOptions::default().durable_interval(Duration::ZERO);
    let (log, ()) = EventLog::<Ledger>::on(setting.journal.clone())
        .projection(snapshot)
        .runner_options(options)
        .start()
        .unwrap();
    let seq = log.append(&paid(1, 1)).unwrap();
    assert_eq!(handle.at_least(seq, LONG).unwrap().0, 1);
    disk.inject(Fault::AllSyncsFail);
    log.append(&paid(1, 1)).unwrap();
    wait_for_state(log.runner(), ProjectionState::Waiting);
    disk.heal();
    let seq = log.append(&paid(1, 1)).unwrap();
    assert_eq!(handle.at_least(seq, LONG).unwrap().0, 3);
    let rebuilt = log.runner().rebuild("count", &RebuildOptions::default()).unwrap().unwrap();
    assert_eq!(rebuilt.records, 3);
    assert_eq!(handle.at_least(seq, LONG).unwrap().0, 3);
}

#[test]
fn events_are_read_by_query_and_range() {
    let setting = Setting::new();
    let (log, ()) = EventLog::<Ledger>::on(setting.journal.clone()).start().unwrap();
    let first = log.append(&paid(1, 1)).unwrap();
    log.append(&paid(2, 2)).unwrap();
    let batch = log.append_batch(&[paid(1, 3), Entry::Closed { account: 1 }]).unwrap();
    let Appended::New(third) = batch else { panic!("{batch:?}") };
    let read = |query: Query, from: Seq| -> Vec<_> {
        let events = log.read(&query, from..).unwrap();
        events.map(|event| event.unwrap()).map(|event| (event.seq, event.event)).collect()
    };
    let closed = (third.next(), Entry::Closed { account: 1 });
    assert_eq!(
        read(Query::tag("account:1"), Seq::FIRST),
        [(first, paid(1, 1)), (third, paid(1, 3)), closed.clone()]
    );
    assert_eq!(read(Query::kinds([Kind(2)]), Seq::FIRST), [closed]);
    assert_eq!(read(Query::all(), third).len(), 2);
    let count = |events: lenslog_engine::Events<Ledger>| events.count();
    assert_eq!(count(log.read(&Query::all(), ..third).unwrap()), 2);
    assert_eq!(count(log.read(&Query::all(), first..=third).unwrap()), 3);
    let mut events = log.read(&Query::all(), third.next()..).unwrap();
    assert!(events.next().is_some() && events.next().is_none());
    log.append(&paid(3, 3)).unwrap();
    assert_eq!(events.next().unwrap().unwrap().event, paid(3, 3));
}

#[test]
fn what_cannot_be_read_is_an_error_in_its_place() {
    let setting = Setting::new();
    let (log, ()) = EventLog::<Ledger>::on(setting.journal.clone()).start().unwrap();
    for cents in 1..=2 {
        log.append(&paid(1, cents)).unwrap();
    }
    let unknown = NewRecord::new(Kind(9), 1, b"\x01");
    let undecodable = NewRecord::new(Kind(1), 1, b"\x01short");
    let _ = setting.journal.append(&[unknown, undecodable]).unwrap();
    log.append(&paid(1, 3)).unwrap();
    setting.damage(1);
    let found: Vec<_> = log
        .read(&Query::all(), ..)
        .unwrap()
        .map(|event| match event {
            Ok(event) => format!("{}", event.seq),
            Err(ReadError::Lost(lost)) => format!("lost {}", lost.range),
            Err(ReadError::Unknown { seq, .. }) => format!("unknown {seq}"),
            Err(ReadError::Undecodable { seq, .. }) => format!("undecodable {seq}"),
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(found, ["lost 1", "2", "unknown 3", "undecodable 4", "5"]);
}

#[test]
fn two_projections_of_one_name_are_refused() {
    let builder = EventLog::<Ledger>::on(Setting::new().journal).reduce::<Count>("a");
    let error = builder.reduce::<Count>("b").start().unwrap_err();
    assert_eq!(error, StartError::SameName { name: "count" });
}

/// Counts how often it woke a task.
#[derive(Default)]
struct Woken(Mutex<u32>, Condvar);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }
}

impl Woken {
    fn wait(&self) {
        let woken = self.1.wait_timeout_while(self.0.lock().unwrap(), LONG, |count| *count == 0);
        assert!(!woken.unwrap().1.timed_out());
    }
}

#[test]
fn what_was_submitted_survives_a_power_cut_once_it_is_ready() {
    let storage = FaultyStorage::new();
    let (log, ()) =
        EventLog::<Ledger>::open_with("/data", &options(&storage)).unwrap().start().unwrap();
    let waiting: Vec<_> =
        (0..100).map(|cents| log.submit(&[paid(1, cents), paid(2, cents)]).unwrap()).collect();
    for (number, submitted) in waiting.into_iter().enumerate() {
        let first = Seq(2 * number as u64 + 1);
        assert_eq!(submitted.wait().unwrap(), Appended::New(first));
    }
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut submitted = pin!(log.submit(&[paid(1, 7)]).unwrap());
    let ready = loop {
        match submitted.as_mut().poll(&mut context) {
            Poll::Ready(ready) => break ready,
            Poll::Pending => woken.wait(),
        }
    };
    assert_eq!(ready.unwrap(), Appended::New(Seq(201)));
    let after = storage.power_cut(1);
    let (log, ()) =
        EventLog::<Ledger>::open_with("/data", &options(&after)).unwrap().start().unwrap();
    assert_eq!(log.read(&Query::all(), ..).unwrap().count(), 201);
}

#[test]
fn a_submitted_batch_whose_sync_fails_has_an_unknown_outcome() {
    let storage = FaultyStorage::new();
    let (log, ()) =
        EventLog::<Ledger>::open_with("/data", &options(&storage)).unwrap().start().unwrap();
    let _ = log.submit(&[paid(1, 1)]).unwrap().wait().unwrap();
    storage.inject(Fault::AllSyncsFail);
    let result = log.submit(&[paid(1, 2)]).unwrap().wait();
    assert!(matches!(result, Err(Error::Sync { .. })), "{result:?}");
    storage.heal();
    log.journal().sync().unwrap();
    assert_eq!(log.read(&Query::all(), ..).unwrap().count(), 2);
    log.close().unwrap();
    let closed = log.submit(&[paid(1, 3)]);
    assert!(matches!(closed, Err(AppendError::Journal(Error::Closed))), "{closed:?}");
}

#[test]
fn closing_makes_what_was_submitted_durable() {
    let storage = FaultyStorage::new();
    let (log, ()) =
        EventLog::<Ledger>::open_with("/data", &options(&storage)).unwrap().start().unwrap();
    let submitted: Vec<_> = (0..50).map(|cents| log.submit(&[paid(1, cents)]).unwrap()).collect();
    log.close().unwrap();
    assert!(submitted.into_iter().all(|submitted| submitted.wait().is_ok()));
}
