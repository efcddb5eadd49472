//! [`check_laws`]: tests a projection against the [laws](crate::Projection), with a journal in memory and crashes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{
    Journal, JournalView, Options, ReaderOptions, Seq, SimulatedClock, Timestamp,
};

use crate::codec::encode_all;
use crate::follow::{Follower, Start};
use crate::{
    AppendError, CommitKind, EventCodec, Projection, RebuildOptions, rebuild, verify_within,
};

/// Places at which a crash is tried.
const CUTS_MAX: usize = 12;
/// 2026-11-23T10:00:00+01:00, when the first event is appended.
const START: Timestamp = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };

/// A projection to be tested.
pub trait Subject<V: EventCodec> {
    /// Makes the projection whose files lie below `directory`.
    fn projection(&self, directory: &Path) -> Box<dyn Projection<V>>;

    /// Everything others can see of it, in a form that can be compared and read.
    fn contents(&self, directory: &Path) -> String;
}

/// A law that does not hold, and how that showed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{law} does not hold: {detail}")]
pub struct LawBroken {
    /// Which one.
    pub law: &'static str,
    /// How it showed.
    pub detail: String,
}

/// Appends `events` to a journal in memory and tests L1, L2 and L3, and that a verification finds no difference.
///
/// Works in new directories below `scratch`, which must exist.
///
/// # Errors
///
/// The first law that does not hold.
pub fn check_laws<V: EventCodec>(
    subject: &dyn Subject<V>,
    events: &[V::Event],
    scratch: &Path,
) -> Result<(), LawBroken> {
    let journal = journal_of::<V>(events).map_err(|error| broken("setting up", error))?;
    let trial = Trial { subject, view: journal.view(), scratch };
    trial.check(journal.next_seq())
}

struct Trial<'a, V: EventCodec> {
    subject: &'a dyn Subject<V>,
    view: JournalView,
    scratch: &'a Path,
}

pub(crate) fn broken(law: &'static str, detail: impl std::fmt::Display) -> LawBroken {
    LawBroken { law, detail: detail.to_string() }
}

fn journal_of<V: EventCodec>(events: &[V::Event]) -> Result<Journal, AppendError> {
    let clock = Arc::new(SimulatedClock::new(START));
    let options = Options {
        storage: Arc::new(FaultyStorage::new()),
        clock: Arc::clone(&clock) as Arc<dyn lenslog_journal::Clock>,
        seed: Some(1),
        ..Options::default()
    };
    let journal = Journal::open("/laws", &options)?;
    for event in encode_all::<V>(events)? {
        clock.advance(Duration::from_millis(1));
        let _ = journal.append_unsynced(&[event.as_record()])?;
    }
    journal.sync()?;
    Ok(journal)
}

impl<V: EventCodec> Trial<'_, V> {
    fn check(&self, end: Seq) -> Result<(), LawBroken> {
        let live = self.directory("live", Seq(0))?;
        self.follow(&live, end, CommitKind::Durable)?;
        let expected = self.subject.contents(&live);
        self.verify(&live)?;

        let l2 = "L2 (live equals rebuilt)";
        let fresh = self.directory("rebuilt", Seq(0))?;
        for round in ["into an empty directory", "in place", "in place again"] {
            self.rebuild(&fresh)?;
            self.same(l2, round, &expected, &fresh)?;
        }
        self.follow(&fresh, end, CommitKind::Durable)?;
        self.same(l2, "followed on after a rebuild", &expected, &fresh)?;
        self.rebuild(&live)?;
        self.same(l2, "what was followed live is rebuilt", &expected, &live)?;

        self.abort(&live)?;
        self.same("L3 (a rebuild that fails changes nothing)", "aborted", &expected, &live)?;

        let step = (end.0 as usize / CUTS_MAX).max(1);
        for cut in (Seq::FIRST.0..=end.0).step_by(step).map(Seq) {
            for kind in [CommitKind::Durable, CommitKind::Visible] {
                let directory = self.directory(&format!("cut-{kind:?}"), cut)?;
                // The process ends: what it knew is gone, its files stay as they are.
                self.follow(&directory, cut, kind)?;
                self.follow(&directory, end, CommitKind::Durable)?;
                let l1 = "L1 (resume equals fold)";
                self.same(l1, &format!("cut before seq {cut}, {kind:?}"), &expected, &directory)?;
                self.verify(&directory)?;
            }
        }
        Ok(())
    }

    fn directory(&self, name: &str, at: Seq) -> Result<PathBuf, LawBroken> {
        let directory = self.scratch.join(format!("{name}-{at}"));
        std::fs::create_dir_all(&directory).map_err(|error| broken("setting up", error))?;
        Ok(directory)
    }

    /// Follows from the checkpoint of the projection to `until`.
    fn follow(&self, directory: &Path, until: Seq, kind: CommitKind) -> Result<(), LawBroken> {
        let failed = |error: crate::follow::FollowError| broken("following", error);
        let mut follower = Follower::new(self.subject.projection(directory), self.view.clone());
        follower.until = until;
        match follower.start().map_err(failed)? {
            Start::Following => {}
            // The journal's beginning is followed, not rebuilt, so that both ways are tested.
            Start::Absent => follower.begin().map_err(failed)?,
            other => return Err(broken("following", format!("{other:?}"))),
        }
        while !follower.step(&mut |_| {}).map_err(failed)?.at_head {}
        if kind == CommitKind::Durable {
            follower.commit(kind).map_err(failed)?;
        }
        Ok(())
    }

    fn rebuild(&self, directory: &Path) -> Result<(), LawBroken> {
        let mut projection = self.subject.projection(directory);
        rebuild(&mut *projection, &self.view, &RebuildOptions::default(), &mut |_| true)
            .map(|_| ())
            .map_err(|error| broken("rebuilding", error))
    }

    fn abort(&self, directory: &Path) -> Result<(), LawBroken> {
        let mut projection = self.subject.projection(directory);
        let mut calls = 0;
        // Progress is asked for now and then: the second answer, or the first, ends the rebuild.
        let mut stop = |_| {
            calls += 1;
            calls < 2
        };
        let result = rebuild(&mut *projection, &self.view, &RebuildOptions::default(), &mut stop);
        match result {
            Ok(_) | Err(crate::RebuildError::Interrupted) => Ok(()),
            Err(error) => Err(broken("rebuilding", error)),
        }
    }

    fn verify(&self, directory: &Path) -> Result<(), LawBroken> {
        let projection = self.subject.projection(directory);
        let report = verify_within(
            &self.view,
            &[&*projection],
            ReaderOptions::default(),
            Duration::ZERO,
            &mut |_| true,
        )
        .map_err(|error| broken("verifying", error))?;
        match report.projections.iter().flat_map(|report| &report.differences).next() {
            None => Ok(()),
            Some(difference) => Err(broken("verification of an intact projection", difference)),
        }
    }

    fn same(
        &self,
        law: &'static str,
        situation: &str,
        expected: &str,
        directory: &Path,
    ) -> Result<(), LawBroken> {
        let found = self.subject.contents(directory);
        if found == expected {
            return Ok(());
        }
        let line = expected.lines().zip(found.lines()).position(|(one, other)| one != other);
        let line = line.unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
        let show = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
        let detail = format!(
            "{situation}: line {} is\n  {}\ninstead of\n  {}",
            line + 1,
            show(&found),
            show(expected)
        );
        Err(broken(law, detail))
    }
}
