//! Group commit and conditions under a model checker: it chooses which thread runs at every lock.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p lenslog-journal --test it model`; `LENSLOG_CASES=100000` runs longer.

use lenslog_journal::storage::{Fault, FaultyStorage};
use lenslog_journal::{
    AppendCondition, Appended, Entry, Error, Journal, Query, ReaderOptions, Seq, Tags,
};
use shuttle::thread;

use crate::common::hooked::{Hooked, Step};
use crate::common::{ROOT, clock, hooked_options, open, options, read_all, record};

/// Runs the test under many schedules: random ones, and those that few forced switches make.
fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    let cases = std::env::var("LENSLOG_CASES").map_or(100, |cases| cases.parse().unwrap());
    shuttle::check_random(test, cases);
    shuttle::check_pct(test, cases, 3);
}

/// A journal whose threads may be switched before each sync too.
fn switching(storage: &FaultyStorage) -> Journal {
    let hooked = Hooked::new(storage.clone(), |step, _| {
        if step == Step::Sync {
            thread::yield_now();
        }
        Ok(())
    });
    Journal::open(ROOT, &hooked_options(&hooked, &clock())).unwrap()
}

fn take(journal: &Journal, name: &str, thread: u8) -> Result<Appended, Error> {
    let tags = Tags::new([name]).unwrap();
    let unique = AppendCondition::new(Query::tag(name));
    journal.append_if(&[record(&[thread]).key([thread; 16]).tags(tags.list())], &[unique])
}

/// Whether the record survives power cuts, each of which keeps other parts of what is not synced.
fn is_durable(storage: &FaultyStorage, seq: Seq) -> bool {
    (0..6).all(|cut| {
        let journal = open(&storage.fork().power_cut(cut));
        let mut reader = journal.view().reader(seq, ReaderOptions::default()).unwrap();
        matches!(reader.next().unwrap(), Some(Entry::Record(found)) if found.seq == seq)
    })
}

#[test]
fn model_one_of_the_contenders_wins_and_losers_see_it() {
    check(|| {
        let storage = FaultyStorage::new();
        let journal = switching(&storage);
        let threads: Vec<_> = (1..4)
            .map(|number| {
                let (journal, storage) = (journal.clone(), storage.clone());
                thread::spawn(move || {
                    let result = take(&journal, "name", number);
                    if let Err(Error::Conflict { seq, .. }) = result {
                        assert!(is_durable(&storage, seq), "a conflict before its sync");
                    }
                    result.is_ok()
                })
            })
            .collect();
        let winners = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(winners.filter(|has_won| *has_won).count(), 1);
    });
}

#[test]
fn model_every_waiter_returns_and_what_is_acknowledged_is_durable() {
    check(|| {
        let storage = FaultyStorage::new();
        let journal = switching(&storage);
        let threads: Vec<_> = (1..4)
            .map(|number| {
                let journal = journal.clone();
                thread::spawn(move || {
                    let first = journal.append(&[record(&[number])]).unwrap().seq();
                    let _ = journal.append_unsynced(&[record(&[number, 2])]).unwrap();
                    journal.sync().unwrap();
                    first
                })
            })
            .collect();
        let seqs: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(seqs.iter().all(|seq| is_durable(&storage, *seq)));
        assert_eq!(read_all(&journal.view()).records.len(), 6);
    });
}

#[test]
fn model_a_failed_sync_leaves_no_waiter_and_no_lie() {
    check(|| {
        let storage = FaultyStorage::new();
        let journal = switching(&storage);
        storage.inject(Fault::SyncFails { nth: 1 });
        let threads: Vec<_> = (1..4)
            .map(|number| {
                let (journal, storage) = (journal.clone(), storage.clone());
                thread::spawn(move || match take(&journal, "name", number) {
                    Ok(appended) => assert!(is_durable(&storage, appended.seq())),
                    Err(Error::Conflict { seq, .. }) => assert!(is_durable(&storage, seq)),
                    Err(error) => panic!("{error}"),
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(read_all(&journal.view()).records.len(), 1);
        drop(journal);
        let journal = Journal::open(ROOT, &options(&storage, &clock())).unwrap();
        assert_eq!(read_all(&journal.view()).records.len(), 1);
    });
}
