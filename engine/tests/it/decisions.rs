//! Decisions: retried after conflicts, once a key; each law goes red on a wrong decision.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use lenslog_engine::testkit::{check_decision, scenario};
use lenslog_engine::{
    AppendError, DecideError, Decided, Decision, EventLog, ReadError, Retries, SequencedEvent,
};
use lenslog_journal::{Error, Key, Kind, NewRecord, Query, Seq, SeqRange, Tags};

use crate::common::{Entry, Ledger, Setting};

/// Takes from an account what is on it; `wrong` is what a careless author forgot.
#[derive(Debug, Clone, Copy, Default)]
struct Take {
    account: u8,
    cents: i64,
    key: Option<Key>,
    wrong: Wrong,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Wrong {
    #[default]
    Nothing,
    NarrowBoundary,
    NarrowGuard,
    AcceptsLost,
}

impl Take {
    fn new(account: u8, cents: i64, key: u8) -> Self {
        Self { account, cents, key: Some([key; 16]), ..Self::default() }
    }

    fn wrong(self, wrong: Wrong) -> Self {
        Self { wrong, ..self }
    }

    fn tag(&self) -> String {
        format!("account:{}", self.account)
    }
}

impl Decision<Ledger> for Take {
    type State = i64;
    type Refusal = String;

    fn boundary(&self) -> Query {
        match self.wrong {
            Wrong::NarrowBoundary => Query::item([Kind(1)], [self.tag()]),
            _ => Query::tag(self.tag()),
        }
    }

    fn guard(&self) -> Query {
        match self.wrong {
            Wrong::NarrowGuard => Query::item([Kind(2)], [self.tag()]),
            _ => self.boundary(),
        }
    }

    fn evolve(&self, balance: &mut i64, event: &SequencedEvent<Entry>) {
        match event.event {
            Entry::Paid { account, cents } if account == self.account => *balance += cents,
            Entry::Closed { account } if account == self.account => *balance = 0,
            _ => {}
        }
    }

    fn decide(&self, balance: &i64) -> Result<Vec<Entry>, String> {
        match *balance >= self.cents {
            true => Ok(vec![Entry::Paid { account: self.account, cents: -self.cents }]),
            false => Err(format!("only {balance}")),
        }
    }

    fn key(&self) -> Option<Key> {
        self.key
    }

    fn accept_lost(&self) -> bool {
        self.wrong == Wrong::AcceptsLost
    }
}

fn paid(cents: i64) -> Entry {
    Entry::Paid { account: 1, cents }
}

fn log(setting: &Setting) -> EventLog<Ledger> {
    EventLog::on(setting.journal.clone()).start().unwrap().0
}

fn history() -> Vec<Entry> {
    vec![paid(100), Entry::Paid { account: 2, cents: 7 }, paid(-20), paid(15)]
}

fn broken_law(decisions: &[Take], history: &[Entry]) -> &'static str {
    let law = check_decision::<Ledger, _>(decisions, history).unwrap_err().law;
    law.split(' ').next().unwrap()
}

#[test]
fn every_law_holds_for_a_right_decision() {
    let decisions = [Take::new(1, 60, 1), Take::new(1, 70, 2), Take::new(2, 7, 3)];
    check_decision::<Ledger, _>(&decisions, &history()).unwrap();
}

#[test]
fn law_d1_is_red_where_the_boundary_misses_events() {
    let closed = [history(), vec![Entry::Closed { account: 1 }, paid(5)]].concat();
    let decision = Take::new(1, 60, 1);
    check_decision::<Ledger, _>(&[decision], &closed).unwrap();
    assert_eq!(broken_law(&[decision.wrong(Wrong::NarrowBoundary)], &closed), "D1");
}

#[test]
fn law_d2_is_red_where_the_guard_misses_events() {
    assert_eq!(broken_law(&[Take::new(1, 60, 1).wrong(Wrong::NarrowGuard)], &history()), "D2");
}

/// Its guard is right while D1 and D2 are checked, and wrong afterwards: only two at once show it.
#[derive(Debug)]
struct Alone(Take, Cell<u32>);

impl Decision<Ledger> for Alone {
    type State = i64;
    type Refusal = String;

    fn boundary(&self) -> Query {
        self.0.boundary()
    }

    /// Wrong from the second call on, when the first two laws were checked.
    fn guard(&self) -> Query {
        self.1.set(self.1.get() + 1);
        if self.1.get() > 2 { Query::tag("account:99") } else { self.0.boundary() }
    }

    fn evolve(&self, state: &mut i64, event: &SequencedEvent<Entry>) {
        self.0.evolve(state, event);
    }

    fn decide(&self, state: &i64) -> Result<Vec<Entry>, String> {
        self.0.decide(state)
    }

    fn key(&self) -> Option<Key> {
        self.0.key
    }
}

#[test]
fn law_d3_is_red_where_two_at_once_overdraw() {
    let decisions = [1, 2].map(|key| Alone(Take::new(1, 80, key), Cell::new(0)));
    let error = check_decision::<Ledger, _>(&decisions, &[paid(100)]).unwrap_err();
    assert!(error.law.starts_with("D3"), "{error}");
}

#[test]
fn law_d4_is_red_without_a_key() {
    let decision = Take { key: None, ..Take::new(1, 30, 0) };
    assert_eq!(broken_law(&[decision], &[paid(100)]), "D4");
}

#[test]
#[should_panic(expected = "the appended events")]
fn a_scenario_with_other_events_fails() {
    scenario::<Ledger>().given([paid(10)]).when(&Take::new(1, 5, 1)).then([paid(-6)]);
}

#[test]
#[should_panic(expected = "expected the refusal")]
fn a_scenario_with_another_refusal_fails() {
    scenario::<Ledger>().when(&Take::new(1, 5, 1)).then_refused("only 1");
}

#[test]
fn a_repeated_decision_is_found_by_its_key() {
    let setting = Setting::new();
    let log = log(&setting);
    log.append(&paid(10)).unwrap();
    let take = Take::new(1, 10, 1);
    let first = log.decide(&take, Retries::NONE).unwrap();
    let Decided::Appended(range) = first else { panic!("{first:?}") };
    // The state refuses it by now; the key says that it happened.
    let again = log.decide(&take, Retries::NONE).unwrap();
    assert_eq!(again, Decided::Duplicate(range.from));
    assert_eq!((first.last_seq(), again.last_seq()), (Some(range.from), Some(range.from)));
    let other = log.decide(&Take::new(1, 10, 2), Retries::NONE);
    assert!(matches!(other, Err(DecideError::Refused(reason)) if reason == "only 0"));
}

#[test]
fn a_duplicate_names_the_last_event_of_its_batch() {
    #[derive(Debug)]
    struct Two;
    impl Decision<Ledger> for Two {
        type State = ();
        type Refusal = String;
        fn boundary(&self) -> Query {
            Query::default()
        }
        fn evolve(&self, (): &mut (), _: &SequencedEvent<Entry>) {}
        fn decide(&self, (): &()) -> Result<Vec<Entry>, String> {
            Ok(vec![paid(1), paid(2)])
        }
        fn key(&self) -> Option<Key> {
            Some([1; 16])
        }
    }
    let setting = Setting::new();
    let log = log(&setting);
    let first = log.decide(&Two, Retries::NONE).unwrap();
    assert!(matches!(first, Decided::Appended(range) if range.len() == 2));
    let again = log.decide(&Two, Retries::NONE).unwrap();
    assert_eq!(again, Decided::Duplicate(first.last_seq().unwrap()));
}

/// Takes one cent, and appends another event while it decides: each try meets a conflict.
struct Disturbed<'a>(&'a Setting, AtomicU32);

impl Decision<Ledger> for Disturbed<'_> {
    type State = i64;
    type Refusal = String;

    fn boundary(&self) -> Query {
        Query::tag("account:1")
    }

    fn evolve(&self, balance: &mut i64, event: &SequencedEvent<Entry>) {
        Take::new(1, 0, 0).evolve(balance, event);
    }

    fn decide(&self, _: &i64) -> Result<Vec<Entry>, String> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.append(&paid(1));
        Ok(vec![paid(-1)])
    }
}

#[test]
fn conflicts_without_end_are_an_error_after_the_retries() {
    let setting = Setting::new();
    let log = log(&setting);
    let disturbed = Disturbed(&setting, AtomicU32::new(0));
    let error = log.decide(&disturbed, Retries::new(3)).unwrap_err();
    assert!(matches!(error, DecideError::Contended { tries: 4, .. }), "{error:?}");
    assert_eq!(disturbed.1.load(Ordering::Relaxed), 4);
    assert!(error.to_string().contains("4 tries"), "{error}");
}

#[test]
fn of_many_threads_one_takes_the_last_cent_and_none_starves() {
    const THREADS: u8 = 16;
    let setting = Setting::new();
    let log = log(&setting);
    for account in 1..=20 {
        log.append(&Entry::Paid { account, cents: 1 }).unwrap();
        let take = |thread: u8| Take {
            key: Some([thread, account].repeat(8).try_into().unwrap()),
            ..Take::new(account, 1, 0)
        };
        let winners: usize = std::thread::scope(|scope| {
            let decide = |thread| match log.decide(&take(thread), Retries::default()) {
                Ok(Decided::Appended(_)) => 1,
                Err(DecideError::Refused(reason)) if reason == "only 0" => 0,
                other => panic!("{other:?}"),
            };
            let threads: Vec<_> =
                (0..THREADS).map(|thread| scope.spawn(move || decide(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(winners, 1, "account {account}");
    }
    // Enough for everyone: every thread succeeds within its retries.
    log.append(&paid(i64::from(THREADS) * 5)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for round in 100..105 {
                    let key = Some([thread, round].repeat(8).try_into().unwrap());
                    let take = Take { key, ..Take::new(1, 1, 0) };
                    let decided = log.decide(&take, Retries::default());
                    assert!(matches!(decided, Ok(Decided::Appended(_))), "{decided:?}");
                }
            });
        }
    });
    let empty = log.decide(&Take::new(1, 1, 255), Retries::default());
    assert!(matches!(empty, Err(DecideError::Refused(reason)) if reason == "only 0"));
}

#[test]
fn what_cannot_be_read_stops_a_decision() {
    let setting = Setting::new();
    let log = log(&setting);
    let tags = Tags::new(["account:1"]).unwrap();
    log.append(&paid(10)).unwrap();
    let undecodable = NewRecord::new(Kind(1), 1, b"\x01short").tags(tags.list());
    let undecodable = setting.journal.append(&[undecodable]).unwrap().seq();
    let result = log.decide(&Take::new(1, 1, 1), Retries::NONE);
    let Err(DecideError::Read(ReadError::Undecodable { seq, .. })) = result else {
        panic!("{result:?}")
    };
    assert_eq!(seq, undecodable);
    let setting = Setting::new();
    let log = self::log(&setting);
    let unknown = NewRecord::new(Kind(9), 2, b"\x01").tags(tags.list());
    let _ = setting.journal.append(&[unknown]).unwrap();
    let result = log.decide(&Take::new(1, 0, 1), Retries::NONE);
    let Err(DecideError::Read(error @ ReadError::Unknown { version: 2, .. })) = result else {
        panic!("{result:?}")
    };
    assert!(error.to_string().contains("kind 9, version 2"), "{error}");
}

#[test]
fn lost_events_stop_a_decision_unless_it_accepts_them() {
    let setting = Setting::new();
    let log = log(&setting);
    setting.append(&paid(10));
    setting.append(&paid(5));
    setting.damage(1);
    let take = Take::new(1, 5, 1);
    let result = log.decide(&take, Retries::NONE);
    assert!(matches!(result, Err(DecideError::Read(ReadError::Lost(_)))), "{result:?}");
    let accepted = log.decide(&take.wrong(Wrong::AcceptsLost), Retries::NONE).unwrap();
    assert_eq!(accepted, Decided::Appended(SeqRange::new(Seq(3), Seq(4))));
}

#[test]
fn events_that_all_have_keys_leave_no_place_for_the_decision_s() {
    use lenslog_engine::{CodecError, Encoded, EventCodec};
    struct Keyed;
    impl EventCodec for Keyed {
        type Event = u8;
        fn encode(number: &u8) -> Result<Encoded, CodecError> {
            match number {
                0 => Err("zero is no number".into()),
                _ => Ok(Encoded::new(Kind(1), 1, vec![*number]).key([*number; 16])),
            }
        }
        fn decode(_: Kind, _: u16, payload: &[u8]) -> Result<Option<u8>, CodecError> {
            Ok(payload.first().copied())
        }
    }
    struct Put(u8);
    impl Decision<Keyed> for Put {
        type State = ();
        type Refusal = String;
        fn boundary(&self) -> Query {
            Query::default()
        }
        fn evolve(&self, (): &mut (), _: &SequencedEvent<u8>) {}
        fn decide(&self, (): &()) -> Result<Vec<u8>, String> {
            Ok(vec![self.0])
        }
        fn key(&self) -> Option<Key> {
            Some([99; 16])
        }
    }
    let setting = Setting::new();
    let log = EventLog::<Keyed>::on(setting.journal.clone()).start().unwrap().0;
    let refused = log.decide(&Put(7), Retries::NONE);
    assert!(matches!(
        refused,
        Err(DecideError::Append(AppendError::Journal(Error::Refused { .. })))
    ));
    let unencodable = log.decide(&Put(0), Retries::NONE);
    assert!(matches!(unencodable, Err(DecideError::Append(AppendError::Encode { .. }))));
    assert_eq!(setting.journal.next_seq(), Seq::FIRST);
}
