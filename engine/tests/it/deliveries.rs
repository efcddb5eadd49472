//! The laws of deliveries, E1 to E7, against receivers that are down, refuse, and come back; the clock is simulated.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lenslog_engine::delivery::{
    Begin, Deliveries, DeliveriesOptions, Delivery, DeliveryCursor, DeliveryGap, DeliveryNotice,
    DeliveryOutcome, DeliverySpec, DeliveryState, GapCause, Message, Next, Now, OPEN_MAX,
    PARKED_MESSAGES_MAX, Sender,
};
use lenslog_engine::{RebuildOptions, rebuild, verify};
use lenslog_journal::storage::{Fault, FaultyStorage, Storage, read_file, replace_file};
use lenslog_journal::{
    Journal, Options, Query, ReaderOptions, Seq, SeqRange, SimulatedClock, Timestamp,
};

use crate::common::{Entry, Ledger, Setting, balances, encode};

const MINUTE: Duration = Duration::from_secs(60);
const RETRIES: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(300), Duration::from_secs(1800)];

/// Answers a message: its seq, and how often it was sent before.
type Rule = Box<dyn Fn(Seq, u32) -> DeliveryOutcome + Send>;

/// What a receiver got: every attempt that was delivered, and every gap.
#[derive(Default)]
struct Receiver {
    attempts: Vec<(Seq, String)>,
    delivered: Vec<(Seq, String)>,
    ages: Vec<Option<Duration>>,
    gaps: Vec<DeliveryGap>,
    rule: Option<Rule>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Receiver>>);

impl Shared {
    fn answering(self, rule: impl Fn(Seq, u32) -> DeliveryOutcome + Send + 'static) -> Self {
        self.0.lock().unwrap().rule = Some(Box::new(rule));
        self
    }

    fn seqs(&self) -> Vec<u64> {
        self.0.lock().unwrap().delivered.iter().map(|(seq, _)| seq.0).collect()
    }
}

struct Post(Shared, DeliverySpec);

impl Delivery<Ledger> for Post {
    fn spec(&self) -> DeliverySpec {
        self.1.clone()
    }

    fn deliver(&mut self, message: &Message<'_, Entry>) -> DeliveryOutcome {
        let mut receiver = self.0.0.lock().unwrap();
        let got = (message.record.seq, message.id.to_string());
        receiver.attempts.push(got.clone());
        receiver.ages.push(message.age);
        let outcome = match &receiver.rule {
            Some(rule) => rule(message.record.seq, message.attempts),
            None => DeliveryOutcome::Delivered,
        };
        if outcome == DeliveryOutcome::Delivered {
            receiver.delivered.push(got);
        }
        outcome
    }

    fn gap(&mut self, gap: &DeliveryGap) -> DeliveryOutcome {
        self.0.0.lock().unwrap().gaps.push(gap.clone());
        DeliveryOutcome::Delivered
    }
}

fn down() -> DeliveryOutcome {
    DeliveryOutcome::Down { reason: "connection refused".to_owned(), retry_after: None }
}

fn refused() -> DeliveryOutcome {
    DeliveryOutcome::Refused { reason: "400 Bad Request".to_owned() }
}

fn from_floor() -> DeliverySpec {
    DeliverySpec::new("post").begin(Begin::Floor)
}

fn cursor() -> PathBuf {
    PathBuf::from("/ledger/post.cursor")
}

fn open(setting: &Setting, receiver: &Shared, spec: DeliverySpec) -> Sender<Ledger> {
    let post = Box::new(Post(receiver.clone(), spec));
    let storage = Arc::new(setting.storage.clone());
    Sender::open(post, &setting.journal.view(), storage, cursor()).map_err(|(_, e)| e).unwrap()
}

fn at(monotonic: Duration) -> Now {
    Now { monotonic, wall: None }
}

/// Steps until nothing can be sent before `end`; the clock jumps to what is due. Returns the notices and the time.
fn run(
    sender: &mut Sender<Ledger>,
    mut now: Duration,
    end: Duration,
) -> (Vec<DeliveryNotice>, Duration) {
    let mut notices = Vec::new();
    for _ in 0..1_000_000 {
        let next = sender.step(at(now)).unwrap();
        notices.extend(sender.take_notices());
        let until = match next {
            Next::Again => continue,
            Next::At(until) | Next::Head(Some(until)) => until,
            Next::Head(None) | Next::Full | Next::Disabled => return (notices, now),
        };
        if until > end {
            return (notices, now);
        }
        now = now.max(until);
    }
    panic!("the delivery never comes to rest");
}

fn seqs(setting: &Setting, count: u64) -> Vec<u64> {
    (0..count).map(|number| setting.pay(1, number as i64).0).collect()
}

#[test]
fn e1_nothing_is_sent_before_it_is_durable() {
    let (setting, receiver) = (Setting::new(), Shared::default());
    let mut sender = open(&setting, &receiver, from_floor());
    let entry = encode(&Entry::Paid { account: 1, cents: 5 });
    let appended = setting.journal.append_unsynced(&[entry.as_record()]).unwrap();
    run(&mut sender, Duration::ZERO, MINUTE);
    assert_eq!(receiver.seqs(), [0; 0], "it may still be taken back by a power cut");
    setting.journal.sync().unwrap();
    run(&mut sender, Duration::ZERO, MINUTE);
    assert_eq!(receiver.seqs(), [appended.seq().0]);
}

#[test]
fn e2_a_kill_at_every_step_loses_no_message_and_keeps_ids() {
    let setting = Setting::new();
    let expected = seqs(&setting, 6);
    for kills in 1..40 {
        let receiver = Shared::default().answering(|seq, attempts| match (seq.0 % 3, attempts) {
            (0, 0 | 1) => refused(),
            _ => DeliveryOutcome::Delivered,
        });
        let _ = setting.storage.remove(&cursor());
        let mut now = Duration::ZERO;
        // A process that ends after so many steps, and is started again, a hundred times; the last one goes on.
        for _ in 0..100 {
            let mut sender = open(&setting, &receiver, from_floor().retries(RETRIES));
            for _ in 0..kills {
                if let Next::At(until) | Next::Head(Some(until)) = sender.step(at(now)).unwrap() {
                    now = until;
                }
            }
        }
        let mut sender = open(&setting, &receiver, from_floor().retries(RETRIES));
        run(&mut sender, now, now + 60 * MINUTE);
        let receiver = receiver.0.lock().unwrap();
        let mut ids: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for (seq, id) in &receiver.attempts {
            ids.entry(seq.0).or_default().insert(id.clone());
        }
        assert!(ids.values().all(|ids| ids.len() == 1), "{kills}: {ids:?}");
        let delivered: BTreeSet<u64> = receiver.delivered.iter().map(|(seq, _)| seq.0).collect();
        assert_eq!(delivered.into_iter().collect::<Vec<_>>(), expected, "killed after {kills}");
        assert_eq!(sender.cursor().parked(), []);
    }
}

#[test]
fn e2_a_power_cut_at_every_write_of_the_cursor_loses_no_message() {
    for cut in 0..60 {
        let setting = Setting::with_seed(cut);
        let expected = seqs(&setting, 4);
        let receiver = Shared::default().answering(|seq, attempts| match (seq.0 % 2, attempts) {
            (0, 0) => refused(),
            _ => DeliveryOutcome::Delivered,
        });
        {
            let mut sender = open(&setting, &receiver, from_floor().retries(RETRIES));
            setting.storage.inject(Fault::PowerCutAfter { operations: cut });
            let mut now = Duration::ZERO;
            for _ in 0..40 {
                now += Duration::from_secs(1);
                let _ = sender.step(at(now));
            }
        }
        let setting = Setting::open(setting.storage.power_cut(cut), 7);
        let mut sender = open(&setting, &receiver, from_floor().retries(RETRIES));
        run(&mut sender, Duration::ZERO, 10 * MINUTE);
        let delivered: BTreeSet<u64> = receiver.seqs().into_iter().collect();
        assert!(expected.iter().all(|seq| delivered.contains(seq)), "cut {cut}: {delivered:?}");
    }
}

#[test]
fn e3_rebuilding_verifying_and_reading_send_nothing() {
    let (setting, receiver) = (Setting::new(), Shared::default());
    let directory = tempfile::tempdir().unwrap();
    seqs(&setting, 5);
    let mut sender = open(&setting, &receiver, from_floor());
    run(&mut sender, Duration::ZERO, MINUTE);
    let before = receiver.seqs();
    let view = setting.journal.view();
    let mut projection = balances(directory.path());
    rebuild::<Ledger>(&mut projection, &view, &RebuildOptions::default(), &mut |_| true).unwrap();
    let projections: [&dyn lenslog_engine::Projection<Ledger>; 1] = [&projection];
    let _ = verify(&view, &projections, ReaderOptions::default(), &mut |_| true).unwrap();
    run(&mut sender, MINUTE, 2 * MINUTE);
    drop(sender);
    run(&mut open(&setting, &receiver, from_floor()), Duration::ZERO, MINUTE);
    assert_eq!(receiver.seqs(), before);
}

#[test]
fn e4_a_receiver_that_is_down_for_a_day_gets_everything_in_order() {
    let setting = Setting::new();
    let is_down = Arc::new(Mutex::new(true));
    let state = Arc::clone(&is_down);
    let receiver = Shared::default().answering(move |_, _| match *state.lock().unwrap() {
        true => down(),
        false => DeliveryOutcome::Delivered,
    });
    let mut sender = open(&setting, &receiver, from_floor());
    let expected = seqs(&setting, 50);
    let day = 24 * 60 * MINUTE;
    let (notices, now) = run(&mut sender, Duration::ZERO, day);
    let failing = DeliveryNotice::Failing { reason: "connection refused".to_owned() };
    assert_eq!(notices, [DeliveryNotice::Begun { from: Seq(1) }, failing]);
    // 1, 2, 4 … 60 s: then once a minute.
    let probes = receiver.0.lock().unwrap().attempts.len();
    assert!((1440..1450).contains(&probes), "{probes} probes");
    assert_eq!(sender.cursor().next_seq().0, expected[0]);
    *is_down.lock().unwrap() = false;
    let (notices, _) = run(&mut sender, now, now + MINUTE);
    assert_eq!(notices, [DeliveryNotice::Recovered]);
    assert_eq!(receiver.seqs(), expected);
}

#[test]
fn e4_a_receiver_says_when_to_come_back() {
    let setting = Setting::new();
    seqs(&setting, 1);
    let asked = |seconds| DeliveryOutcome::Down {
        reason: "429".to_owned(),
        retry_after: Some(Duration::from_secs(seconds)),
    };
    for (seconds, expected) in [(0, 1), (17, 17), (86_400, 3600)] {
        let receiver = Shared::default().answering(move |_, _| asked(seconds));
        let _ = setting.storage.remove(&cursor());
        let mut sender = open(&setting, &receiver, from_floor());
        assert_eq!(sender.step(at(Duration::ZERO)).unwrap(), Next::Again);
        let next = sender.step(at(Duration::ZERO)).unwrap();
        assert_eq!(next, Next::At(Duration::from_secs(expected)), "asked for {seconds} s");
    }
}

#[test]
fn e4_a_dead_receiver_stops_no_other_delivery_and_no_append() {
    let setting = Setting::new();
    let (dead, alive) = (Shared::default().answering(|_, _| down()), Shared::default());
    let post = |receiver: &Shared, name: &str| -> Box<dyn Delivery<Ledger>> {
        Box::new(Post(receiver.clone(), DeliverySpec::new(name).begin(Begin::Floor)))
    };
    let options = DeliveriesOptions::new("/ledger");
    let posts = vec![post(&dead, "dead"), post(&alive, "alive")];
    let deliveries = Deliveries::start(&setting.journal.view(), posts, &options);
    let expected = seqs(&setting, 100);
    let begun = Instant::now();
    while alive.seqs() != expected {
        assert!(begun.elapsed() < MINUTE, "{:?}", deliveries.status());
        std::thread::yield_now();
    }
    while deliveries.status()[0].state != DeliveryState::Down {
        assert!(begun.elapsed() < MINUTE, "{:?}", deliveries.status());
        std::thread::yield_now();
    }
    let status = deliveries.status();
    assert!(status[0].state.is_degraded());
    assert_eq!(status[0].last_error.as_deref(), Some("connection refused"));
    assert!(deliveries.replay("other", SeqRange::new(Seq(1), Seq(9))).is_err());
    deliveries.stop();
    let saved =
        DeliveryCursor::read(&setting.storage, Path::new("/ledger/alive.cursor")).unwrap().unwrap();
    assert_eq!(saved.next_seq(), setting.journal.next_seq());
}

#[test]
fn e5_nine_of_ten_arrive_at_once_and_the_refused_one_is_parked_and_replayed() {
    let setting = Setting::new();
    let expected = seqs(&setting, 10);
    let fifth = expected[4];
    let accepts = Arc::new(Mutex::new(false));
    let state = Arc::clone(&accepts);
    let receiver = Shared::default().answering(move |seq, _| {
        match seq.0 == fifth && !*state.lock().unwrap() {
            true => refused(),
            false => DeliveryOutcome::Delivered,
        }
    });
    let mut sender = open(&setting, &receiver, from_floor().retries(RETRIES));
    // Within the first moment, without the clock.
    while sender.step(at(Duration::ZERO)).unwrap() == Next::Again {}
    let nine: Vec<u64> = expected.iter().copied().filter(|seq| *seq != fifth).collect();
    assert_eq!(receiver.seqs(), nine);
    assert_eq!(sender.cursor().low_water().0, fifth);
    let (notices, now) = run(&mut sender, Duration::ZERO, 60 * MINUTE);
    let reason = "400 Bad Request".to_owned();
    assert!(notices.contains(&DeliveryNotice::Parked { seq: Seq(fifth), reason: reason.clone() }));
    assert!(!notices.iter().any(|notice| matches!(notice, DeliveryNotice::Failing { .. })));
    assert_eq!(now, RETRIES.iter().sum::<Duration>().max(now));
    drop(sender);
    let mut sender = open(&setting, &receiver, from_floor().retries(RETRIES));
    let [parked] = sender.cursor().parked() else { panic!("{:?}", sender.cursor()) };
    assert_eq!((parked.seq.0, parked.attempts, &parked.reason), (fifth, 4, &reason));
    *accepts.lock().unwrap() = true;
    assert_eq!(sender.replay(SeqRange::new(Seq(fifth + 1), Seq(u64::MAX))).unwrap(), 0);
    assert_eq!(sender.replay(SeqRange::new(Seq(1), Seq(fifth + 1))).unwrap(), 1);
    run(&mut sender, now, now);
    assert_eq!(receiver.seqs().last(), Some(&fifth));
    assert_eq!(sender.cursor().parked(), []);
}

#[test]
fn e5_a_delivery_with_too_much_refused_waits_and_drops_nothing() {
    let setting = Setting::new();
    seqs(&setting, PARKED_MESSAGES_MAX as u64 + 5);
    let receiver = Shared::default().answering(|_, _| refused());
    let mut sender = open(&setting, &receiver, from_floor());
    run(&mut sender, Duration::ZERO, 60 * MINUTE);
    assert_eq!(sender.step(at(Duration::ZERO)).unwrap(), Next::Full);
    assert_eq!(sender.cursor().parked().len(), PARKED_MESSAGES_MAX);
    let first = sender.cursor().parked()[0].seq;
    assert_eq!(sender.discard(SeqRange::new(first, Seq(first.0 + 2))).unwrap(), 2);
    run(&mut sender, Duration::ZERO, 60 * MINUTE);
    assert_eq!(sender.cursor().parked().len(), PARKED_MESSAGES_MAX);

    let receiver = Shared::default().answering(|_, _| refused());
    setting.storage.remove(&cursor()).unwrap();
    let mut sender = open(&setting, &receiver, from_floor().retries([MINUTE]));
    while sender.step(at(Duration::ZERO)).unwrap() == Next::Again {}
    assert_eq!(sender.cursor().open_count(), OPEN_MAX);
    assert_eq!(sender.step(at(Duration::ZERO)).unwrap(), Next::At(MINUTE));
}

#[test]
fn a_receiver_that_wants_no_more_gets_no_more() {
    let setting = Setting::new();
    let expected = seqs(&setting, 3);
    let gone = || DeliveryOutcome::Disabled { reason: "410 Gone".to_owned() };
    let receiver = Shared::default().answering(move |_, _| gone());
    let mut sender = open(&setting, &receiver, from_floor());
    let (notices, _) = run(&mut sender, Duration::ZERO, MINUTE);
    assert!(notices.contains(&DeliveryNotice::Failing { reason: "410 Gone".to_owned() }));
    run(&mut sender, 100 * MINUTE, 200 * MINUTE);
    assert_eq!(receiver.0.lock().unwrap().attempts.len(), 1);
    assert_eq!(sender.cursor().next_seq().0, expected[0], "nothing counts as delivered");
}

#[test]
fn e6_lost_and_pruned_records_are_reported_as_gaps() {
    let (setting, receiver) = (Setting::new(), Shared::default());
    let expected = seqs(&setting, 6);
    setting.damage(expected[2]);
    let mut sender = open(&setting, &receiver, from_floor());
    let (notices, _) = run(&mut sender, Duration::ZERO, MINUTE);
    let gaps = receiver.0.lock().unwrap().gaps.clone();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].cause, GapCause::Lost);
    assert_eq!(gaps[0].range, SeqRange::new(Seq(expected[2]), Seq(expected[3])));
    assert!(notices.contains(&DeliveryNotice::Gap(gaps[0].clone())));
    let rest: Vec<u64> = expected.iter().copied().filter(|seq| *seq != expected[2]).collect();
    assert_eq!(receiver.seqs(), rest);
}

#[test]
fn e6_what_is_pruned_before_it_is_sent_is_a_gap_live_and_after_a_restart() {
    for restarts in [false, true] {
        let start = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };
        let (storage, clock) = (FaultyStorage::new(), Arc::new(SimulatedClock::new(start)));
        let options = Options {
            storage: Arc::new(storage.clone()),
            clock: Arc::clone(&clock) as _,
            ..Options::default()
        };
        let journal = Journal::open("/ledger", &options).unwrap();
        let setting = Setting { storage, journal };
        let is_down = Arc::new(Mutex::new(true));
        let state = Arc::clone(&is_down);
        let receiver = Shared::default().answering(move |_, _| match *state.lock().unwrap() {
            true => down(),
            false => DeliveryOutcome::Delivered,
        });
        let expected = seqs(&setting, 4);
        let mut sender = open(&setting, &receiver, from_floor());
        run(&mut sender, Duration::ZERO, MINUTE);
        clock.advance(24 * 60 * MINUTE);
        let after = setting.pay(2, 1);
        setting.journal.prune_through(start.day()).unwrap();
        setting.journal.unlink_pruned().unwrap();
        *is_down.lock().unwrap() = false;
        if restarts {
            drop(sender);
            sender = open(&setting, &receiver, from_floor());
        }
        run(&mut sender, 10 * MINUTE, 20 * MINUTE);
        let receiver = receiver.0.lock().unwrap();
        // What a reader of this process still has open is sent all the same.
        let is_accounted = |seq: &u64| {
            receiver.delivered.iter().any(|(sent, _)| sent.0 == *seq)
                || receiver.gaps.iter().any(|gap| gap.range.contains(Seq(*seq)))
        };
        assert!(expected.iter().all(is_accounted), "{:?}", receiver.gaps);
        if restarts {
            let gap = &receiver.gaps[0];
            assert_eq!((gap.range.from.0, gap.cause), (expected[0], GapCause::Pruned));
        }
        assert_eq!(receiver.delivered.last().map(|(seq, _)| *seq), Some(after));
    }
}

#[test]
fn e6_records_that_a_delivery_does_not_want_are_no_gap() {
    let (setting, receiver) = (Setting::new(), Shared::default());
    let only = || from_floor().query(Query::tag("account:7"));
    let mut sender = open(&setting, &receiver, only());
    let first = setting.pay(7, 1);
    run(&mut sender, Duration::ZERO, MINUTE);
    let writes = setting.storage.syncs();
    for number in 0..1500 {
        setting.pay(1, number);
        if number % 100 == 0 {
            let before = setting.storage.syncs();
            run(&mut sender, MINUTE * (number as u32 + 2), MINUTE * (number as u32 + 3));
            assert!(setting.storage.syncs() - before <= 2, "one write of the cursor at most");
        }
    }
    assert!(
        setting.storage.syncs() - writes < 1500 + 6,
        "a cursor is not written for each of them"
    );
    run(&mut sender, MINUTE * 2000, MINUTE * 2001);
    assert_eq!(sender.cursor().next_seq(), setting.journal.next_seq());
    assert_eq!(receiver.seqs(), [first.0]);
    assert_eq!(receiver.0.lock().unwrap().gaps, []);
}

#[test]
fn e7_a_restored_copy_is_noticed_and_what_differs_is_sent_under_ids_of_its_own() {
    let (setting, receiver) = (Setting::new(), Shared::default());
    let before = seqs(&setting, 20);
    setting.journal.close().unwrap();
    let old = setting.storage.snapshot();
    let setting = Setting::open(setting.storage.snapshot(), 8);
    seqs(&setting, 20);
    let mut sender = open(&setting, &receiver, from_floor());
    run(&mut sender, Duration::ZERO, MINUTE);
    sender.save().unwrap();
    let first: BTreeMap<Seq, String> =
        receiver.0.lock().unwrap().delivered.iter().cloned().collect();
    let cursor_bytes = read_file(&setting.storage, &cursor(), usize::MAX).unwrap();

    // The older copy, with the newer cursor beside it, goes another way.
    replace_file(&old, &cursor(), &cursor_bytes).unwrap();
    let setting = Setting::open(old, 9);
    let new = setting.pay(9, 999);
    let again = Shared::default();
    let mut sender = open(&setting, &again, from_floor());
    let (notices, _) = run(&mut sender, Duration::ZERO, MINUTE);
    let restored = notices.iter().find_map(|notice| match notice {
        DeliveryNotice::Restored { from } => Some(*from),
        _ => None,
    });
    let from = restored.expect("the copy was not noticed");
    assert!(from > Seq(before[0]) && from <= new, "from seq {from}: {notices:?}");
    let receiver = again.0.lock().unwrap();
    assert_eq!(receiver.delivered.last().map(|(seq, _)| *seq), Some(new));
    assert_ne!(first.get(&new), receiver.delivered.last().map(|(_, id)| id), "another record");
}

#[test]
fn e7_without_a_cursor_a_delivery_begins_at_the_head() {
    let (setting, receiver) = (Setting::new(), Shared::default());
    seqs(&setting, 5);
    let mut sender = open(&setting, &receiver, DeliverySpec::new("post"));
    let head = setting.journal.next_seq();
    let (notices, _) = run(&mut sender, Duration::ZERO, MINUTE);
    assert_eq!(notices, [DeliveryNotice::Begun { from: head }]);
    drop(sender);
    // It was saved: what comes while no process runs is sent.
    let next = setting.pay(1, 1);
    run(&mut open(&setting, &receiver, DeliverySpec::new("post")), Duration::ZERO, MINUTE);
    assert_eq!(receiver.seqs(), [next.0]);

    // The cursor of another journal counts for nothing.
    let other = Setting::with_seed(99);
    seqs(&other, 3);
    let bytes = read_file(&setting.storage, &cursor(), usize::MAX).unwrap();
    replace_file(&other.storage, &cursor(), &bytes).unwrap();
    let mut sender = open(&other, &receiver, DeliverySpec::new("post"));
    let (notices, _) = run(&mut sender, Duration::ZERO, MINUTE);
    assert_eq!(notices, [DeliveryNotice::Begun { from: other.journal.next_seq() }]);
}

#[test]
fn the_age_is_that_of_the_append_whatever_the_wall_clock_says() {
    let setting = Setting::new();
    let is_down = Arc::new(Mutex::new(false));
    let state = Arc::clone(&is_down);
    let receiver = Shared::default().answering(move |_, _| match *state.lock().unwrap() {
        true => down(),
        false => DeliveryOutcome::Delivered,
    });
    let ages = || receiver.0.lock().unwrap().ages.clone();
    seqs(&setting, 1);
    let mut sender = open(&setting, &receiver, from_floor());
    let later = Timestamp { utc_micros: 1_795_424_460_000_000, offset_minutes: 60 };
    let early = Timestamp { utc_micros: 0, offset_minutes: 0 };
    let step = |sender: &mut Sender<Ledger>, monotonic, wall| {
        while sender.step(Now { monotonic, wall }).unwrap() == Next::Again {}
    };
    step(&mut sender, Duration::ZERO, None);
    assert_eq!(ages(), [None], "an earlier process appended it, and the clock is not trusted");
    *is_down.lock().unwrap() = true;
    seqs(&setting, 1);
    step(&mut sender, 2 * MINUTE, Some(later));
    *is_down.lock().unwrap() = false;
    step(&mut sender, 5 * MINUTE, Some(early));
    assert_eq!(ages(), [None, Some(Duration::ZERO), Some(3 * MINUTE)]);
    drop(sender);
    setting.storage.remove(&cursor()).unwrap();
    step(&mut open(&setting, &receiver, from_floor()), Duration::ZERO, Some(later));
    assert_eq!(ages()[3], Some(MINUTE));
}

#[test]
fn a_damaged_cursor_is_an_error_that_names_the_file() {
    let (setting, receiver) = (Setting::new(), Shared::default());
    drop(open(&setting, &receiver, from_floor()));
    setting.storage.rot(&cursor(), 40, 1);
    let post = Box::new(Post(receiver, from_floor()));
    let storage = Arc::new(setting.storage.clone());
    let opened = Sender::open(post, &setting.journal.view(), storage, cursor());
    let text = opened.map_err(|(_, error)| error).err().unwrap().to_string();
    assert!(text.contains("/ledger/post.cursor") && text.contains("move it away"), "{text}");
}
