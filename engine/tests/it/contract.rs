//! What the engine asks of a projection, call by call, as the trait's page says.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Entry, Ledger, Setting};
use lenslog_engine::{
    Aside, Checkpoint, CommitKind, Opened, Projection, ProjectionError, RebuildError,
    RebuildOptions, Recorded, Runner, Scope, Spec, Verifier, rebuild, verify_within,
};
use lenslog_journal::{JournalView, Kind, Lost, NewRecord, ReaderOptions, Seq, SeqRange};

const TIMEOUT: Duration = Duration::from_secs(20);
const NO_WAIT: Duration = Duration::ZERO;

/// Records every call, and answers as configured.
struct Diary {
    calls: Arc<Mutex<Vec<String>>>,
    opened: Opened,
    /// A durable commit is asked for before this record.
    must_commit_before: Seq,
    /// This record cannot be applied.
    rejects: Seq,
    /// Commits that find the content broken.
    broken_commits: usize,
    /// The verifier's checkpoint.
    kept: Option<Checkpoint>,
}

impl Diary {
    fn new(opened: Opened) -> (Self, Arc<Mutex<Vec<String>>>) {
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&calls);
        let diary = Self {
            calls,
            opened,
            must_commit_before: Seq(0),
            rejects: Seq(0),
            broken_commits: 0,
            kept: None,
        };
        (diary, seen)
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }
}

fn spec() -> Spec {
    Spec::new("diary", 1)
}

impl Projection<Ledger> for Diary {
    fn spec(&self) -> Spec {
        spec()
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        self.note("open");
        Ok(self.opened.clone())
    }

    fn restore(&mut self, record: &Recorded<Entry>) -> Result<(), ProjectionError> {
        self.note(format!("restore {}", record.seq));
        Ok(())
    }

    fn must_commit_before(&self, record: &Recorded<Entry>) -> bool {
        record.seq == self.must_commit_before
    }

    fn apply(&mut self, record: &Recorded<Entry>) -> Result<(), ProjectionError> {
        self.note(format!("apply {}", record.seq));
        if record.seq == self.rejects {
            return Err(ProjectionError::Rejected { reason: "no such account".to_owned() });
        }
        Ok(())
    }

    fn lost(&mut self, range: SeqRange) {
        self.note(format!("lost {range}"));
    }

    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError> {
        let last = checkpoint.position.last.map_or(Seq(0), |last| last.seq);
        self.note(format!("commit {kind:?} behind {last}, next {}", checkpoint.position.next));
        for parked in &checkpoint.parked {
            self.note(format!("parked {}: {}", parked.seq, parked.reason));
        }
        if self.broken_commits > 0 {
            self.broken_commits -= 1;
            return Err(ProjectionError::Broken { reason: "it rotted".to_owned() });
        }
        Ok(())
    }

    fn begin_rebuild(&mut self, scope: &Scope) -> Result<(), ProjectionError> {
        self.note(format!("begin {scope}"));
        Ok(())
    }

    fn finish_rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        self.note(format!("finish at {}, keep {keep_old:?}", checkpoint.position.next));
        self.opened = Opened::At { checkpoint: checkpoint.clone(), needs: BTreeSet::new() };
        Ok(())
    }

    fn abort_rebuild(&mut self) {
        self.note("abort");
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<Ledger>>>, ProjectionError> {
        let Some(checkpoint) = self.kept.clone() else { return Ok(None) };
        Ok(Some(Box::new(DiaryVerifier { checkpoint, calls: Arc::clone(&self.calls) })))
    }
}

struct DiaryVerifier {
    checkpoint: Checkpoint,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Verifier<Ledger> for DiaryVerifier {
    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn apply(&mut self, record: &Recorded<Entry>) -> Result<(), ProjectionError> {
        self.calls.lock().unwrap().push(format!("compare {}", record.seq));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, ProjectionError> {
        Ok(Vec::new())
    }
}

/// Four payments: seqs 1 to 4.
fn four() -> Setting {
    let setting = Setting::new();
    for cents in 1..=4 {
        setting.pay(1, cents);
    }
    setting
}

/// The checkpoint of a projection that has seen this many records.
fn behind(view: &JournalView, records: usize) -> Checkpoint {
    let mut reader = view.reader(Seq::FIRST, ReaderOptions::default()).unwrap();
    for _ in 0..records {
        assert!(reader.next().unwrap().is_some());
    }
    let mut checkpoint = Checkpoint::at_start(view.journal_id(), &spec());
    checkpoint.position = reader.position().unwrap();
    checkpoint
}

/// Follows to the head, stops, and returns the calls.
fn follow(setting: &Setting, diary: Diary) -> Vec<String> {
    let calls = Arc::clone(&diary.calls);
    let view = setting.journal.view();
    let runner = Runner::start::<Ledger>(&view, vec![Box::new(diary)], Arc::new(|_: &Lost| {}));
    let late = runner.wait_for(setting.journal.next_seq(), TIMEOUT);
    assert!(late.is_ok(), "{:?}", runner.status());
    runner.stop();
    let calls = calls.lock().unwrap();
    calls.clone()
}

#[test]
fn a_checkpoint_gets_what_it_needs_and_every_record_after_it() {
    let setting = four();
    let checkpoint = behind(&setting.journal.view(), 2);
    let (mut diary, _) = Diary::new(Opened::At { checkpoint, needs: [Seq(1)].into() });
    diary.must_commit_before = Seq(4);
    let expected = [
        "open",
        "restore 1",
        "apply 3",
        "commit Durable behind 3, next 4",
        "apply 4",
        "commit Visible behind 4, next 5",
        "commit Final behind 4, next 5",
    ];
    assert_eq!(follow(&setting, diary), expected);
}

#[test]
fn lost_records_are_reported_in_their_place() {
    let setting = four();
    setting.damage(3);
    let checkpoint = behind(&setting.journal.view(), 1);
    let (diary, _) = Diary::new(Opened::At { checkpoint, needs: BTreeSet::new() });
    let calls = follow(&setting, diary);
    assert_eq!(calls[1..4], ["apply 2", "lost 3", "apply 4"]);
}

#[test]
fn what_cannot_be_read_or_applied_is_parked() {
    let setting = four();
    let broken = NewRecord::new(Kind(1), 1, b"\x01short");
    let _ = setting.journal.append(&[broken]).unwrap();
    setting.pay(1, 5);
    let checkpoint = behind(&setting.journal.view(), 3);
    let (mut diary, _) = Diary::new(Opened::At { checkpoint, needs: BTreeSet::new() });
    diary.rejects = Seq(4);
    let calls = follow(&setting, diary);
    assert_eq!(
        calls[1..5],
        ["apply 4", "apply 6", "commit Visible behind 6, next 7", "parked 4: no such account"]
    );
    assert!(calls[5].starts_with("parked 5: "), "{calls:?}");
}

#[test]
fn what_is_broken_is_kept_aside_and_what_is_outdated_is_not() {
    let setting = four();
    let finished = |diary| {
        let calls = follow(&setting, diary);
        let finished: Vec<_> = calls.into_iter().filter(|call| call.starts_with("fin")).collect();
        finished
    };
    let (broken, _) = Diary::new(Opened::Broken { reason: "no such format".to_owned() });
    assert_eq!(finished(broken), ["finish at 5, keep Some(Old)"]);

    let checkpoint = behind(&setting.journal.view(), 2);
    let at = Opened::At { checkpoint: checkpoint.clone(), needs: BTreeSet::new() };
    let (mut breaks, _) = Diary::new(at);
    breaks.broken_commits = 1;
    assert_eq!(finished(breaks), ["finish at 5, keep Some(Old)"]);

    let older = Checkpoint { version: 0, ..checkpoint };
    let (outdated, _) = Diary::new(Opened::At { checkpoint: older, needs: BTreeSet::new() });
    assert_eq!(finished(outdated), ["finish at 5, keep None"]);
    let (absent, _) = Diary::new(Opened::Absent);
    assert_eq!(finished(absent), ["finish at 5, keep None"]);
}

#[test]
fn an_unfinished_rebuild_is_discarded() {
    let setting = four();
    let view = setting.journal.view();
    let (mut diary, calls) = Diary::new(Opened::Absent);
    let options = RebuildOptions::default();
    let stopped = rebuild::<Ledger>(&mut diary, &view, &options, &mut |_| false);
    assert!(matches!(stopped, Err(RebuildError::Interrupted)), "{stopped:?}");
    assert_eq!(*calls.lock().unwrap(), ["begin all days", "abort"]);

    setting.damage(2);
    calls.lock().unwrap().clear();
    let refused = rebuild::<Ledger>(&mut diary, &view, &options, &mut |_| true);
    assert!(matches!(refused, Err(RebuildError::Damaged { .. })), "{refused:?}");
    assert_eq!(*calls.lock().unwrap(), ["begin all days", "apply 1", "lost 2", "abort"]);
}

#[test]
fn only_records_before_the_checkpoint_are_compared() {
    let setting = four();
    let view = setting.journal.view();
    let (mut diary, calls) = Diary::new(Opened::Absent);
    diary.kept = Some(behind(&view, 2));
    let report =
        verify_within::<Ledger>(&view, &[&diary], ReaderOptions::default(), NO_WAIT, &mut |_| true)
            .unwrap();
    assert_eq!((report.records, report.projections[0].records), (4, 2));
    assert_eq!(*calls.lock().unwrap(), ["compare 1", "compare 2"]);
}
