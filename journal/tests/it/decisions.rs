//! `append_if` by several threads: every history is one that some order of the calls explains, power cuts included.
//!
//! The seqs are that order. A checker looks at each history: what every call saw, and when it began and ended.
//! `LENSLOG_CASES=5000` runs longer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lenslog_journal::storage::{Fault, FaultyStorage};
use lenslog_journal::{
    AppendCondition, Appended, Error, Journal, JournalView, Options, OwnedRecord, Query, Random,
    ReaderOptions, Seq, Tags,
};

use crate::common::hooked::{Hooked, Step};
use crate::common::{ROOT, clock, hooked_options, record};

const THREADS: u64 = 4;
const CALLS: u64 = 8;

/// A call and what it returned.
#[derive(Debug)]
struct Call {
    began: u64,
    ended: u64,
    key: [u8; 16],
    name: String,
    after: Option<Seq>,
    result: Result<Appended, Error>,
}

impl Call {
    fn condition(&self) -> AppendCondition {
        let condition = AppendCondition::new(Query::tag(&self.name));
        match self.after {
            Some(after) => condition.after(after),
            None => condition,
        }
    }

    fn run(&mut self, journal: &Journal, payload: &[u8]) {
        let tags = Tags::new([&self.name]).unwrap();
        let batch = [record(payload).key(self.key).tags(tags.list())];
        self.result = journal.append_if(&batch, &[self.condition()]);
    }
}

/// Several threads append under conditions until all calls are done, or the power goes.
fn run(journal: &Journal, seed: u64) -> Vec<Call> {
    let (calls, ticks) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let tick = || ticks.fetch_add(1, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (calls, tick) = (&calls, &tick);
            scope.spawn(move || {
                let mut random = Random::new(seed * THREADS + thread);
                for call in 0..CALLS {
                    let name = format!("name:{}", random.below(3));
                    let after = match random.below(3) {
                        0 => None,
                        1 => Some(Seq(journal.next_seq().0 - 1)),
                        // What a reader has seen.
                        _ => journal
                            .view()
                            .last(Query::tag(&name))
                            .ok()
                            .flatten()
                            .map(|record| record.seq),
                    };
                    let mut key = [0; 16];
                    key[..2].copy_from_slice(&[thread as u8, call as u8 + 1]);
                    let result = Err(Error::Closed);
                    let mut call = Call { began: tick(), ended: 0, key, name, after, result };
                    call.run(journal, &vec![1; random.below(9000) as usize]);
                    call.ended = tick();
                    calls.lock().unwrap().push(call);
                }
            });
        }
    });
    calls.into_inner().unwrap()
}

fn records(view: &JournalView) -> Vec<OwnedRecord> {
    let options = ReaderOptions::default().query(Query::all());
    let mut reader = view.reader(Seq::FIRST, options).unwrap();
    let mut records = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let lenslog_journal::Entry::Record(record) = entry else { panic!("{entry:?}") };
        records.push(record.to_owned());
    }
    records
}

/// Checks that the records, in the order of their seqs, explain what every call returned.
fn check(calls: &[Call], records: &[OwnedRecord], at: &str) {
    let matching = |name: &str, after: Option<Seq>, before: Seq| {
        records.iter().find(|record| {
            after.is_none_or(|after| record.seq > after)
                && record.seq < before
                && record.tags.list().contains(name)
        })
    };
    for call in calls {
        match &call.result {
            Ok(Appended::New(seq)) => {
                let own = records.iter().find(|record| record.seq == *seq);
                assert!(own.is_some_and(|own| own.key == Some(call.key)), "{at}: {call:?} is gone");
            }
            Ok(Appended::Duplicate { .. }) => panic!("{at}: {call:?} was made once"),
            Err(Error::Conflict { seq, .. }) => {
                let found = matching(&call.name, call.after, seq.next());
                assert!(
                    found.is_some_and(|found| found.seq <= *seq),
                    "{at}: {call:?} saw what is not there"
                );
                let is_record = records
                    .iter()
                    .any(|record| record.seq == *seq && record.tags.list().contains(&call.name));
                assert!(is_record, "{at}: {call:?} conflicts with what is not there");
            }
            Err(_) => {}
        }
        // Whatever the call returned: a record of it was appended only if nothing before it matches.
        if let Some(own) = records.iter().find(|record| record.key == Some(call.key)) {
            let other = matching(&call.name, call.after, own.seq);
            assert!(other.is_none(), "{at}: {call:?} is seq {} although {other:?}", own.seq);
        }
    }
    let mut keys: Vec<_> = records.iter().map(|record| record.key).collect();
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{at}: a key twice");
    let seq_of = |call: &Call| call.result.as_ref().ok().map(|appended| appended.seq());
    for (earlier, later) in
        calls.iter().flat_map(|earlier| calls.iter().map(move |later| (earlier, later)))
    {
        if earlier.ended < later.began
            && let (Some(first), Some(second)) = (seq_of(earlier), seq_of(later))
        {
            assert!(first < second, "{at}: {later:?} came before {earlier:?}");
        }
    }
}

/// A journal whose syncs let other threads run, and whose days pass now and then.
fn open(storage: &FaultyStorage) -> Result<Journal, Error> {
    let clock = clock();
    let ticking = std::sync::Arc::clone(&clock);
    let hooked = Hooked::new(storage.clone(), move |step, _| {
        if step == Step::Sync {
            std::thread::yield_now();
            // A fifth of a day: segments end between the evaluation of a condition and the append.
            ticking.advance(Duration::from_secs(86_400 / 5));
        }
        Ok(())
    });
    let options = Options { segment_bytes_max: Some(64 << 10), ..hooked_options(&hooked, &clock) };
    Journal::open(ROOT, &options)
}

#[test]
fn concurrent_conditions_are_linearizable() {
    let cases = std::env::var("LENSLOG_CASES").map_or(150, |cases| cases.parse().unwrap());
    let (mut appended, mut conflicts) = (0, 0);
    for seed in 0..cases {
        let storage = FaultyStorage::new();
        let journal = open(&storage).unwrap();
        let calls = run(&journal, seed);
        check(&calls, &records(&journal.view()), &format!("seed {seed}"));
        appended += calls.iter().filter(|call| call.result.is_ok()).count();
        let is_conflict = |call: &&Call| matches!(call.result, Err(Error::Conflict { .. }));
        conflicts += calls.iter().filter(is_conflict).count();
        assert_eq!(appended + conflicts, (seed as usize + 1) * (THREADS * CALLS) as usize);
    }
    assert!(appended > conflicts / 10 && conflicts > appended / 10, "{appended} {conflicts}");
}

#[test]
fn no_power_cut_makes_a_decision_happen_twice_or_vanish() {
    let counting = FaultyStorage::new();
    run(&open(&counting).unwrap(), 1);
    let rounds: u64 =
        std::env::var("LENSLOG_CASES").map_or(1, |cases| 1 + cases.parse::<u64>().unwrap() / 500);
    for operation in 0..=counting.operations() {
        for seed in 0..rounds {
            let storage = FaultyStorage::new();
            storage.inject(Fault::PowerCutAfter { operations: operation });
            let at = format!("operation {operation} seed {seed}");
            let calls = open(&storage).map_or(Vec::new(), |journal| run(&journal, seed));
            let storage = storage.power_cut(seed ^ operation);
            let journal = open(&storage).unwrap();
            check(&calls, &records(&journal.view()), &at);
            // Each call is made again with its key: it has happened once, or it conflicts.
            let mut again: Vec<Call> = calls
                .iter()
                .map(|call| Call { name: call.name.clone(), result: Err(Error::Closed), ..*call })
                .collect();
            for call in &mut again {
                call.run(&journal, b"again");
            }
            for (call, again) in calls.iter().zip(&again) {
                let is_known = matches!(again.result, Ok(Appended::Duplicate { .. }));
                assert!(call.result.is_err() || is_known, "{at}: {call:?} {again:?}");
            }
            let records = records(&journal.view());
            for call in &again {
                let own = records.iter().filter(|record| record.key == Some(call.key)).count();
                assert_eq!(own, usize::from(call.result.is_ok()), "{at}: {call:?}");
            }
        }
    }
}
