//! The laws hold for what keeps them, and `check_laws` finds what does not.
use std::path::Path;
use std::sync::Arc;

use crate::common::{Balances, Count, Entry, Ledger, value};
use lenslog_engine::laws::{Subject, check_laws};
use lenslog_engine::{Projection, Recorded, Reducer, Snapshot};
use lenslog_journal::storage::{FaultyStorage, Storage};
use proptest::prelude::*;

/// A snapshot of any summary on a simulated disk, as a subject.
struct Kept<S> {
    storage: FaultyStorage,
    summary: std::marker::PhantomData<S>,
}

impl<S: Reducer<Ledger>> Subject<Ledger> for Kept<S> {
    fn projection(&self, directory: &Path) -> Box<dyn Projection<Ledger>> {
        self.storage.create_directory(directory).unwrap();
        Box::new(Snapshot::<S>::new(Arc::new(self.storage.clone()), directory.join("kept")))
    }

    fn contents(&self, directory: &Path) -> String {
        value(&self.storage, &directory.join("kept"))
    }
}

fn check<S: Reducer<Ledger>>(events: &[Entry]) -> Result<(), String> {
    let scratch = tempfile::tempdir().unwrap();
    let subject = Kept::<S> { storage: FaultyStorage::new(), summary: std::marker::PhantomData };
    check_laws(&subject, events, scratch.path()).map_err(|broken| broken.to_string())
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        4 => (0..4_u8, any::<i64>()).prop_map(|(account, cents)| Entry::Paid { account, cents }),
        1 => (0..4_u8).prop_map(|account| Entry::Closed { account }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_snapshot_keeps_the_laws(events in prop::collection::vec(entry(), 0..40)) {
        prop_assert_eq!(check::<Balances>(&events), Ok(()));
        prop_assert_eq!(check::<Count>(&events), Ok(()));
    }
}

fn some_events() -> Vec<Entry> {
    (0..30).map(|index| Entry::Paid { account: index % 3, cents: i64::from(index) }).collect()
}

/// Forgets, when it is read back, the last account: what it was is not what is resumed.
#[derive(Debug, Default)]
struct Forgetful(Balances);

impl Reducer<Ledger> for Forgetful {
    const NAME: &'static str = "forgetful";
    const VERSION: u32 = 1;

    fn add(&mut self, record: &Recorded<Entry>) {
        self.0.add(record);
    }

    fn to_text(&self) -> String {
        self.0.to_text()
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut balances = Balances::from_text(text)?;
        balances.0.pop_last();
        Some(Self(balances))
    }
}

#[test]
fn a_projection_that_resumes_with_less_than_it_had_is_found() {
    let found = check::<Forgetful>(&some_events()).unwrap_err();
    assert!(found.contains("does not hold") || found.contains("differs"), "{found}");
}

/// Draws on something else than the records.
#[derive(Debug, Default)]
struct Restless(u64);

static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

impl Reducer<Ledger> for Restless {
    const NAME: &'static str = "restless";
    const VERSION: u32 = 1;

    fn add(&mut self, _record: &Recorded<Entry>) {
        self.0 = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn to_text(&self) -> String {
        self.0.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

#[test]
fn a_projection_that_is_not_made_of_the_records_alone_is_found() {
    let found = check::<Restless>(&some_events()).unwrap_err();
    assert!(found.contains("verification") || found.contains("L2"), "{found}");
}
