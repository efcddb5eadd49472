//! The words of a verification, and events that are parked until they can be applied.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Ledger, Setting, balances};
use lenslog_engine::{
    CodecError, Encoded, EventCodec, Fact, Projection, RebuildOptions, Recorded, Reducer, Runner,
    Snapshot, Verdict, VerifyReport, rebuild, verify, verify_within,
};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{JournalView, Kind, Lost, NewRecord, ReaderOptions};

fn brought_up_to_date(directory: &Path, view: &JournalView) -> Snapshot<crate::common::Balances> {
    let mut projection = balances(directory);
    let options = RebuildOptions::default();
    rebuild::<Ledger>(&mut projection, view, &options, &mut |_| true).unwrap();
    projection
}

fn verdict(report: &VerifyReport) -> Verdict {
    report.projections[0].verdict()
}

#[test]
fn a_projection_behind_a_journal_at_rest_is_behind_at_once() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    setting.pay(1, 1);
    let projection = brought_up_to_date(directory.path(), &setting.journal.view());
    let check = |storage| {
        let view = JournalView::open(Path::new("/ledger"), Arc::new(storage)).unwrap();
        let options = ReaderOptions::default();
        let stall_timeout = Duration::from_secs(1_000_000);
        verify_within::<Ledger>(&view, &[&projection], options, stall_timeout, &mut |_| true)
            .unwrap()
    };
    setting.pay(1, 2);
    setting.pay(1, 3);
    setting.journal.close().unwrap();
    let report = check(setting.storage.snapshot());
    assert_eq!((verdict(&report), report.projections[0].behind), (Verdict::Behind, 2));
    assert!(!report.is_equal() && !report.differs() && !report.is_damaged());
}

#[test]
fn a_projection_beside_a_writer_has_time_to_catch_up() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    setting.pay(1, 1);
    let view = setting.journal.view();
    let projection = brought_up_to_date(directory.path(), &view);
    setting.pay(1, 2);
    let options = ReaderOptions::default();
    let brief = Duration::from_millis(20);
    let report =
        verify_within::<Ledger>(&view, &[&projection], options.clone(), brief, &mut |_| true)
            .unwrap();
    assert_eq!(verdict(&report), Verdict::Behind);
    // It catches up at the third look; what is appended after the first one is not waited for.
    let mut looks = 0;
    let long = Duration::from_secs(1_000_000);
    let report = verify_within::<Ledger>(&view, &[&projection], options, long, &mut |_| {
        looks += 1;
        match looks {
            1 => drop(setting.pay(1, 3).next()),
            3 => {
                let mut other = balances(directory.path());
                let mut follow = |_| true;
                let options = RebuildOptions::default();
                rebuild::<Ledger>(&mut other, &view, &options, &mut follow).unwrap();
                setting.pay(1, 4);
            }
            _ => {}
        }
        true
    });
    let report = report.unwrap();
    assert_eq!((verdict(&report), report.projections[0].behind), (Verdict::Equal, 0));
}

/// Amounts of two forms; the second version decodes the second form too.
struct Amounts<const VERSION: u32, const KNOWN: usize>;

impl<const VERSION: u32, const KNOWN: usize> EventCodec for Amounts<VERSION, KNOWN> {
    type Event = i64;
    const VERSION: u32 = VERSION;

    fn decode(_: Kind, _: u16, payload: &[u8]) -> Result<Option<i64>, CodecError> {
        if payload.len() > KNOWN {
            return Err("the payload is too long".into());
        }
        Ok(Some(payload.iter().map(|byte| i64::from(*byte)).sum()))
    }

    fn encode(_: &i64) -> Result<Encoded, CodecError> {
        unreachable!("nothing is encoded")
    }
}

#[derive(Default)]
struct Sum(i64);

impl<V: EventCodec<Event = i64>> Reducer<V> for Sum {
    const NAME: &'static str = "sum";
    const VERSION: u32 = 1;

    fn add(&mut self, record: &Recorded<i64>) {
        if let Fact::Event(amount) = record.fact {
            self.0 += amount;
        }
    }

    fn to_text(&self) -> String {
        format!("{}\n", self.0)
    }

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok().map(Sum)
    }
}

/// Follows to the head; how often it rebuilt, its sum, and the verdict of a verification.
fn follow<V: EventCodec<Event = i64>>(setting: &Setting, path: &Path) -> (u64, String, Verdict) {
    let view = setting.journal.view();
    let sum = || Snapshot::<Sum>::new(Arc::new(RealStorage), path);
    let runner = Runner::start::<V>(&view, vec![Box::new(sum())], Arc::new(|_: &Lost| {}));
    runner.wait_for(view.head().unwrap(), Duration::from_secs(20)).unwrap();
    let rebuilds = runner.stop()[0].rebuilds;
    let sum: &dyn Projection<V> = &sum();
    let report = verify(&view, &[sum], ReaderOptions::default(), &mut |_| true).unwrap();
    (rebuilds, crate::common::value(&RealStorage, path), verdict(&report))
}

#[test]
fn parked_events_are_retried_when_they_can_be_decoded() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    let path = directory.path().join("sum");
    for payload in [&[1][..], &[1, 1, 1], &[2]] {
        let record = NewRecord::new(Kind(1), 1, payload);
        let _ = setting.journal.append(&[record]).unwrap();
    }
    let first = follow::<Amounts<1, 2>>(&setting, &path);
    assert_eq!(first, (1, "3\n".to_owned(), Verdict::Parked));
    // The next start looks at it again, and finds nothing new.
    let again = follow::<Amounts<1, 2>>(&setting, &path);
    assert_eq!(again, (0, "3\n".to_owned(), Verdict::Parked));
    // It can be decoded, or the version says that something can.
    let risen = follow::<Amounts<2, 2>>(&setting, &path);
    assert_eq!(risen, (1, "3\n".to_owned(), Verdict::Parked));
    let decoded = follow::<Amounts<2, 9>>(&setting, &path);
    assert_eq!(decoded, (1, "6\n".to_owned(), Verdict::Equal));
    assert_eq!(follow::<Amounts<3, 9>>(&setting, &path).0, 0, "nothing is parked any more");
}

#[test]
fn a_damaged_journal_keeps_parked_events_from_a_rebuild() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    let path = directory.path().join("sum");
    for payload in [&[1][..], &[1, 1, 1], &[2]] {
        let record = NewRecord::new(Kind(1), 1, payload);
        let _ = setting.journal.append(&[record]).unwrap();
    }
    follow::<Amounts<1, 2>>(&setting, &path);
    setting.damage(1);
    let decoded = follow::<Amounts<1, 9>>(&setting, &path);
    assert_eq!((decoded.0, decoded.1.as_str()), (0, "3\n"));
}
