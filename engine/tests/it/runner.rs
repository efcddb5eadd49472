//! Followers help themselves: they catch up after faults, park what cannot be applied, rebuild what is gone.
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Balances, Entry, Ledger, Setting, balances, count, value, wait_for_state};
use lenslog_engine::{
    Projection, ProjectionState, RebuildError, RebuildOptions, Runner, Snapshot, rebuild, sealed,
    verify_within,
};
use lenslog_journal::storage::{Fault, FaultyStorage, RealStorage};
use lenslog_journal::{Kind, Lost, NewRecord, ReaderOptions, Seq};

/// Long: a test that waits this long has failed.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);

fn ignore() -> lenslog_engine::OnLost {
    Arc::new(|_: &Lost| {})
}

fn caught_up(runner: &Runner, setting: &Setting) {
    let behind = runner.wait_for(setting.journal.next_seq(), STALL_TIMEOUT);
    assert!(behind.is_ok(), "{:?}", runner.status());
}

#[test]
fn what_is_appended_while_running_and_while_not_is_followed() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    let mut total = 0;
    for round in 0..3 {
        setting.pay(1, 10);
        let view = setting.journal.view();
        let runner =
            Runner::start::<Ledger>(&view, vec![Box::new(balances(directory.path()))], ignore());
        setting.pay(1, round);
        total += 10 + round;
        caught_up(&runner, &setting);
        let status = runner.stop();
        assert_eq!(status[0].state, ProjectionState::Stopped);
        assert_eq!(value(&RealStorage, &directory.path().join("balances")), format!("1 {total}\n"));
    }
}

#[test]
fn a_projection_catches_up_after_a_full_disk() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    let small = FaultyStorage::new();
    let failing = Snapshot::<Balances>::new(Arc::new(small.clone()), "/balances");
    small.inject(Fault::AllSyncsFail);
    let projections: Vec<Box<dyn Projection<Ledger>>> =
        vec![Box::new(failing), Box::new(count(directory.path()))];
    let runner = Runner::start(&setting.journal.view(), projections, ignore());
    for cents in 1..=10 {
        setting.pay(1, cents);
    }
    let behind = runner.wait_for(setting.journal.next_seq(), Duration::from_millis(300));
    assert_eq!(behind.unwrap_err().names, ["balances"]);
    let status = runner.status();
    assert_eq!(status[1].next, setting.journal.next_seq());
    assert!(status[0].errors > 0 && status[0].last_error.is_some());
    small.heal();
    caught_up(&runner, &setting);
    runner.stop();
    assert_eq!(value(&small, Path::new("/balances")), "1 55\n");
    assert_eq!(value(&RealStorage, &directory.path().join("count")), "10");
}

#[test]
fn an_undecodable_event_is_parked_and_the_next_are_applied() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    setting.pay(1, 1);
    let broken = NewRecord::new(Kind(1), 1, b"\x01short");
    let seq = setting.journal.append(&[broken]).unwrap().seq();
    let unknown = NewRecord::new(Kind(99), 1, b"?");
    let _ = setting.journal.append(&[unknown]).unwrap();
    setting.pay(1, 2);
    let view = setting.journal.view();
    let runner =
        Runner::start::<Ledger>(&view, vec![Box::new(balances(directory.path()))], ignore());
    caught_up(&runner, &setting);
    runner.stop();
    let text = fs::read_to_string(directory.path().join("balances")).unwrap();
    let parked = format!("\"parked\":[{{\"seq\":{seq},");
    assert!(text.contains(&parked) && text.contains("\"is_undecodable\":true"), "{text}");
    assert!(text.ends_with("1 3\n"), "{text}");
}

#[test]
fn a_file_deleted_or_replaced_while_running_comes_back() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("balances");
    setting.pay(1, 5);
    let view = setting.journal.view();
    let runner =
        Runner::start::<Ledger>(&view, vec![Box::new(balances(directory.path()))], ignore());
    caught_up(&runner, &setting);
    for rebuilds in 2..4 {
        if rebuilds == 2 {
            fs::remove_file(&path).unwrap();
        } else {
            fs::copy(&path, directory.path().join("copy")).unwrap();
            fs::rename(directory.path().join("copy"), &path).unwrap();
        }
        let wait = || runner.status()[0].rebuilds >= rebuilds;
        let deadline = std::time::Instant::now() + STALL_TIMEOUT;
        while !wait() {
            assert!(std::time::Instant::now() < deadline, "{:?}", runner.status());
            std::thread::yield_now();
        }
        caught_up(&runner, &setting);
        assert_eq!(value(&RealStorage, &path), "1 5\n");
    }
    runner.stop();
}

#[test]
fn losses_are_reported_and_following_goes_on_after_them() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    for cents in 1..=4 {
        setting.pay(1, cents);
    }
    setting.damage(2);
    let reported: Arc<Mutex<Vec<Lost>>> = Arc::default();
    let heard = Arc::clone(&reported);
    let journal = setting.journal.clone();
    let on_lost: lenslog_engine::OnLost = Arc::new(move |lost| {
        journal.report_lost(lost).unwrap();
        heard.lock().unwrap().push(*lost);
    });
    // It has a checkpoint at the beginning: so it follows, with a loss, and is not rebuilt.
    let mut projection = balances(directory.path());
    let spec = Projection::<Ledger>::spec(&projection);
    let start = lenslog_engine::Checkpoint::at_start(setting.journal.view().journal_id(), &spec);
    Projection::<Ledger>::commit(&mut projection, &start, lenslog_engine::CommitKind::Durable)
        .unwrap();
    let view = setting.journal.view();
    let runner = Runner::start::<Ledger>(&view, vec![Box::new(projection)], on_lost);
    caught_up(&runner, &setting);
    runner.stop();
    assert_eq!(reported.lock().unwrap().len(), 1);
    assert!(setting.journal.health().is_degraded());
    assert_eq!(value(&RealStorage, &directory.path().join("balances")), "1 8\n");
}

#[test]
fn a_damaged_journal_replaces_nothing_unless_loss_is_accepted() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("balances");
    for cents in 1..=4 {
        setting.pay(1, cents);
    }
    let view = setting.journal.view();
    let mut projection = balances(directory.path());
    let mut go_on = |_| true;
    rebuild::<Ledger>(&mut projection, &view, &RebuildOptions::default(), &mut go_on).unwrap();
    let before = fs::read(&path).unwrap();
    setting.damage(3);
    let refused = rebuild::<Ledger>(&mut projection, &view, &RebuildOptions::default(), &mut go_on);
    let Err(RebuildError::Damaged { lost }) = refused else { panic!("{refused:?}") };
    assert_eq!((lost[0].range.from, lost[0].range.to), (Seq(3), Seq(4)));
    assert_eq!(fs::read(&path).unwrap(), before);
    let accepting = RebuildOptions { accept_loss: true, ..RebuildOptions::default() };
    let rebuilt = rebuild::<Ledger>(&mut projection, &view, &accepting, &mut go_on).unwrap();
    assert_eq!(rebuilt.lost.len(), 1);
    assert_eq!(value(&RealStorage, &path), "1 7\n");
    assert_eq!(fs::read(directory.path().join("balances.lost-1")).unwrap(), before);
}

#[test]
fn an_outdated_projection_is_kept_if_the_journal_is_damaged() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("balances");
    setting.pay(1, 1);
    setting.pay(1, 2);
    let view = setting.journal.view();
    let old = balances(directory.path());
    let runner = Runner::start::<Ledger>(&view, vec![Box::new(old)], ignore());
    caught_up(&runner, &setting);
    runner.stop();
    let newer = || {
        let newer = Snapshot::<Balances<2>>::new(Arc::new(RealStorage), &path);
        Runner::start::<Ledger>(&view, vec![Box::new(newer)], ignore())
    };
    setting.damage(1);
    let runner = newer();
    let behind = runner.wait_for(setting.journal.next_seq(), Duration::from_millis(300));
    assert_eq!(behind.unwrap_err().names, ["balances"]);
    let status = runner.status().remove(0);
    assert_eq!(status.state, ProjectionState::NeedsOperator);
    assert!(status.last_error.unwrap().contains("accepts the loss"));
    assert_eq!(value(&RealStorage, &path), "1 3\n");
    // An operator accepts the loss, and following goes on.
    let accepting = RebuildOptions { accept_loss: true, ..RebuildOptions::default() };
    runner.rebuild("balances", &accepting).unwrap().unwrap();
    caught_up(&runner, &setting);
    runner.stop();
    assert_eq!(value(&RealStorage, &path), "1 2\n");
}

#[test]
fn a_projection_ahead_of_its_journal_needs_accepted_loss() {
    let directory = tempfile::tempdir().unwrap();
    let text = |name: &str| value(&RealStorage, &directory.path().join(name));
    let start = |setting: &Setting| {
        let projection = Box::new(balances(directory.path()));
        Runner::start::<Ledger>(&setting.journal.view(), vec![projection], ignore())
    };
    let first = Setting::new();
    for cents in 1..=5 {
        first.pay(1, cents);
    }
    let runner = start(&first);
    caught_up(&runner, &first);
    runner.stop();
    // The same seed gives the same journal identity: only its content says that it is another history. The second one
    // ends before the first, the third is as long as the second.
    for (account, before, lost) in
        [(2, "1 15\n", "balances.lost-1"), (3, "2 7\n", "balances.lost-2")]
    {
        let setting = Setting::new();
        setting.pay(account, 7);
        let runner = start(&setting);
        let status = wait_for_state(&runner, ProjectionState::NeedsOperator);
        assert!(status.last_error.unwrap().contains("accepts the loss"));
        assert_eq!(text("balances"), before);
        let accepting = RebuildOptions { accept_loss: true, ..RebuildOptions::default() };
        runner.rebuild("balances", &accepting).unwrap().unwrap();
        caught_up(&runner, &setting);
        runner.stop();
        assert_eq!((text("balances"), text(lost)), (format!("{account} 7\n"), before.to_owned()));
    }
    assert!(!directory.path().join("balances.old-1").exists());
    assert_eq!(Projection::<Ledger>::remove_lost(&mut balances(directory.path())).unwrap(), 2);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_projection_of_another_journal_is_replaced_and_kept_as_old() {
    let directory = tempfile::tempdir().unwrap();
    let text = |name: &str| value(&RealStorage, &directory.path().join(name));
    let mut last = None;
    for seed in 1..=5 {
        let setting = Setting::with_seed(seed);
        setting.pay(u8::try_from(seed).unwrap(), 1);
        let projection = Box::new(balances(directory.path()));
        let runner = Runner::start::<Ledger>(&setting.journal.view(), vec![projection], ignore());
        caught_up(&runner, &setting);
        runner.stop();
        assert_eq!(text("balances"), format!("{seed} 1\n"));
        last = Some(setting);
    }
    assert_eq!((text("balances.old-4"), text("balances.old-2")), ("4 1\n".into(), "2 1\n".into()));
    assert!(!directory.path().join("balances.old-1").exists());
    // Everything in it is in this journal: nothing is kept.
    let view = last.unwrap().journal.view();
    let mut projection = balances(directory.path());
    rebuild::<Ledger>(&mut projection, &view, &RebuildOptions::default(), &mut |_| true).unwrap();
    assert!(!directory.path().join("balances.old-5").exists());
}

#[test]
fn a_projection_outlives_the_journal_that_vanished() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("balances");
    for cents in 1..=3 {
        setting.pay(1, cents);
    }
    let start = |setting: &Setting| {
        let projection = Box::new(balances(directory.path()));
        let runner = Runner::start::<Ledger>(&setting.journal.view(), vec![projection], ignore());
        caught_up(&runner, setting);
        runner
    };
    start(&setting).stop();
    let setting = setting.without_segments();
    assert!(setting.journal.health().is_degraded());
    let runner = start(&setting);
    setting.pay(1, 10);
    caught_up(&runner, &setting);
    let status = runner.stop().remove(0);
    assert_eq!((status.rebuilds, value(&RealStorage, &path).as_str()), (0, "1 16\n"));
    let mut projection = balances(directory.path());
    let view = setting.journal.view();
    let refused =
        rebuild::<Ledger>(&mut projection, &view, &RebuildOptions::default(), &mut |_| true);
    assert!(matches!(refused, Err(RebuildError::Damaged { .. })), "{refused:?}");
}

#[test]
fn verify_finds_what_differs_and_names_what_the_journal_lost() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    for cents in 1..=3 {
        setting.pay(1, cents);
    }
    let view = setting.journal.view();
    let mut projection = balances(directory.path());
    let other = count(directory.path());
    rebuild::<Ledger>(&mut projection, &view, &RebuildOptions::default(), &mut |_| true).unwrap();
    let check = || {
        let all: [&dyn Projection<Ledger>; 2] = [&projection, &other];
        verify_within(&view, &all, ReaderOptions::default(), Duration::ZERO, &mut |_| true).unwrap()
    };
    let report = check();
    assert!(!report.is_damaged() && report.projections[0].differences.is_empty());
    assert_eq!(report.projections[1].differences, ["it does not exist"]);
    let path = directory.path().join("balances");
    let text = fs::read_to_string(&path).unwrap();
    let altered = text.replace("1 6", "1 9");
    fs::write(&path, &altered).unwrap();
    assert!(check().projections[0].differences[0].contains("is not a snapshot"));
    fs::write(&path, sealed::seal(altered.split_once('\n').unwrap().1)).unwrap();
    assert!(check().projections[0].differences[0].contains("line 1"));
    setting.append(&Entry::Closed { account: 9 });
    setting.damage(2);
    let report = check();
    assert!(report.is_damaged());
    assert!(report.lost[0].to_string().contains("seq 2 lost"), "{}", report.lost[0]);
}

/// Breaks at the first record.
#[derive(Debug, Default)]
struct Bomb;

impl lenslog_engine::Reducer<Ledger> for Bomb {
    const NAME: &'static str = "bomb";
    const VERSION: u32 = 1;

    fn add(&mut self, record: &lenslog_engine::Recorded<Entry>) {
        assert!(!matches!(record.fact, lenslog_engine::Fact::Event(_)), "as the test wants it");
    }

    fn to_text(&self) -> String {
        String::new()
    }

    fn from_text(_text: &str) -> Option<Self> {
        Some(Self)
    }
}

#[test]
fn a_panicked_projection_is_reported_and_stops_no_other() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    let bomb = Snapshot::<Bomb>::new(Arc::new(RealStorage), directory.path().join("bomb"));
    let projections: Vec<Box<dyn Projection<Ledger>>> =
        vec![Box::new(bomb), Box::new(count(directory.path()))];
    let runner = Runner::start(&setting.journal.view(), projections, ignore());
    setting.pay(1, 10);
    let behind = runner.wait_for(setting.journal.next_seq(), Duration::from_secs(1));
    assert_eq!(behind.unwrap_err().names, ["bomb"]);
    // The thread ends after it has panicked; no stop was requested.
    let status = loop {
        let status = runner.status();
        if status[0].state == ProjectionState::Stopped {
            break status;
        }
        std::thread::yield_now();
    };
    assert!(status[0].last_error.as_deref().unwrap().contains("panicked"));
    assert_eq!(status[1].next, setting.journal.next_seq());
}
