//! [`verify`]: reads the journal once, checks it, and compares every projection with it.

use std::fmt;
use std::time::{Duration, Instant};

use lenslog_journal::{
    ControlRecord, Entry, Error, JournalView, LeftOut, Lost, Notice, ReaderOptions, Record, Seq,
    SeqRange, Standing,
};

use crate::rebuild::missing_end;
use crate::{EventCodec, Fact, Progress, Projection, ProjectionError, Recorded, Spec, Verifier};

/// Times a verification begins again because segments were pruned under it; the last one makes do with that.
const ATTEMPTS_MAX: usize = 3;
/// Losses one verification names.
const LOST_MAX: usize = 10_000;
/// Beside a writer, a projection may stand still for this long before it counts as behind.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Projections that are behind are looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Records read.
    pub records: u64,
    /// First seq read and the seq after the last one.
    pub range: (Seq, Seq),
    /// What the journal has lost.
    pub lost: Vec<Lost>,
    /// Damage that lost nothing.
    pub notices: Vec<Notice>,
    /// Files in `journal/` that are no part of the journal.
    pub left_out: Vec<LeftOut>,
    /// What was found of each projection.
    pub projections: Vec<VerifiedProjection>,
}

/// What a verification found of one projection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedProjection {
    /// Its name.
    pub name: &'static str,
    /// Records compared.
    pub records: u64,
    /// The seq up to which it was compared.
    pub next: Seq,
    /// What differs, or why it could not be compared.
    pub differences: Vec<String>,
    /// Records before the head that it lacks.
    pub behind: u64,
    /// Events that it parked.
    pub parked: u64,
}

/// A verification in one word. All but [`Verdict::Equal`] need attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds what the journal says.
    Equal,
    /// It holds what the journal said earlier, and lacks what came before the verification began.
    Behind,
    /// It lacks events that could not be applied.
    Parked,
    /// It holds something else than the journal says, or cannot be compared.
    Differs,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equal => "equal",
            Self::Behind => "behind",
            Self::Parked => "parked",
            Self::Differs => "differs",
        })
    }
}

impl VerifiedProjection {
    /// The report in one word; the worst, where several are true.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        if !self.differences.is_empty() {
            Verdict::Differs
        } else if self.behind > 0 {
            Verdict::Behind
        } else if self.parked > 0 {
            Verdict::Parked
        } else {
            Verdict::Equal
        }
    }
}

impl VerifyReport {
    /// Whether the journal has lost anything, or a copy of it that went its own way holds records that it does not.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.lost.is_empty()
            || self.left_out.iter().any(|file| file.standing == Standing::Forked)
            || self.notices.iter().any(|notice| matches!(notice, Notice::DigestDiffers { .. }))
    }

    /// Whether any projection differs from the journal.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.projections.iter().any(|projection| !projection.differences.is_empty())
    }

    /// Whether every projection holds what the journal says, all of it, and no other file lies among the journal's.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.left_out.is_empty()
            && self.projections.iter().all(|projection| projection.verdict() == Verdict::Equal)
    }
}

/// A projection being compared.
struct Comparison<V: EventCodec> {
    spec: Spec,
    verifier: Option<Box<dyn Verifier<V>>>,
    report: VerifiedProjection,
}

/// Checks the journal and compares every projection with it, up to its checkpoint. Changes nothing and may run
/// beside the process that writes.
///
/// A projection that lacks records from before the call is behind: at once where no process writes, after ten seconds
/// in which no projection came farther beside one that does. `progress` is called every thousand records or so; where
/// it returns `false` the verification ends early with [`Error::Closed`].
///
/// # Errors
///
/// Those of reading the journal. What is wrong with a projection is in the report.
pub fn verify<V: EventCodec>(
    view: &JournalView,
    projections: &[&dyn Projection<V>],
    reader: ReaderOptions,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<VerifyReport, Error> {
    verify_within(view, projections, reader, STALL_TIMEOUT, progress)
}

/// As [`verify`], with another stall_timeout beside a process that writes.
///
/// # Errors
///
/// As there.
pub fn verify_within<V: EventCodec>(
    view: &JournalView,
    projections: &[&dyn Projection<V>],
    reader: ReaderOptions,
    stall_timeout: Duration,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<VerifyReport, Error> {
    let head = view.head()?;
    wait_for_projections(view, projections, head, stall_timeout, progress)?;
    let mut attempt = 1;
    loop {
        let floor = view.floor()?;
        let is_last = attempt == ATTEMPTS_MAX;
        let attempted = Attempt { view, reader: reader.clone(), floor, head, is_last }
            .run(projections, progress);
        let moved = view.floor()? != floor;
        match attempted {
            Err(Error::Pruned { .. }) if !is_last => {}
            Ok(_) if moved && !is_last => {}
            result => return result,
        }
        attempt += 1;
    }
}

/// Beside a process that writes: waits until no projection lacks records before `head`, or none has come farther for
/// as long as `stall_timeout`.
fn wait_for_projections<V: EventCodec>(
    view: &JournalView,
    projections: &[&dyn Projection<V>],
    head: Seq,
    stall_timeout: Duration,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<(), Error> {
    let mut farthest = 0;
    let mut last = Instant::now();
    // A lock that cannot be probed is no writer's.
    while view.storage().is_locked(view.root()).unwrap_or(false) {
        let floor = view.floor()?;
        let mut reached = 0;
        let mut is_behind = false;
        for projection in projections {
            let mut comparison = Comparison::open(*projection, view);
            reached += comparison.report.next.0;
            is_behind |= comparison.lacks_any(view, head)?;
        }
        if reached > farthest {
            (farthest, last) = (reached, Instant::now());
        }
        if !is_behind || last.elapsed() >= stall_timeout {
            break;
        }
        if !progress(Progress { next: floor, from: floor, end: head }) {
            return Err(Error::Closed);
        }
        std::thread::sleep(LOOK_INTERVAL.min(stall_timeout));
    }
    Ok(())
}

/// One reading of the journal.
struct Attempt<'v> {
    view: &'v JournalView,
    reader: ReaderOptions,
    floor: Seq,
    /// Records before it must be in every projection.
    head: Seq,
    /// Nothing begins again: what is pruned meanwhile is not compared.
    is_last: bool,
}

impl Attempt<'_> {
    fn run<V: EventCodec>(
        &self,
        projections: &[&dyn Projection<V>],
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<VerifyReport, Error> {
        const PROGRESS_EVERY: u64 = 1024;
        let view = self.view;
        let mut comparisons: Vec<_> =
            projections.iter().map(|projection| Comparison::open(*projection, view)).collect();
        // Taken after the projections were opened: no checkpoint is past it.
        let end = view.head()?;
        self.allow_what_is_pruned(&mut comparisons, end)?;
        let mut reader = view.reader(self.floor, self.reader.clone().check_digests())?;
        let mut report = VerifyReport { range: (self.floor, end), ..VerifyReport::default() };
        while reader.next_seq() < end {
            let expected = reader.next_seq();
            if report.records.is_multiple_of(PROGRESS_EVERY)
                && !progress(Progress { next: expected, from: self.floor, end })
            {
                return Err(Error::Closed);
            }
            let entry = match reader.next() {
                Err(Error::Pruned { floor }) if self.is_last => {
                    not_compared(&mut comparisons, SeqRange::new(expected, floor));
                    reader = view.reader(floor, self.reader.clone().check_digests())?;
                    continue;
                }
                result => result?,
            };
            match entry {
                None => break,
                Some(Entry::Lost(lost)) => {
                    not_compared(&mut comparisons, lost.range);
                    if report.lost.len() < LOST_MAX {
                        report.lost.push(lost);
                    }
                }
                Some(Entry::Record(record)) => {
                    report.records += 1;
                    if self.is_last && record.seq > expected {
                        not_compared(&mut comparisons, SeqRange::new(expected, record.seq));
                    }
                    self.compare(&mut comparisons, &record);
                }
            }
        }
        let reached = reader.next_seq();
        if reached < end {
            let lost = missing_end(view, SeqRange::new(reached, end))?;
            not_compared(&mut comparisons, lost.range);
            report.lost.push(lost);
        }
        // The reader notices what is wrong with a segment when it leaves it.
        if reader.next()?.is_none() {
            report.range.1 = reader.next_seq();
        }
        report.notices = reader.take_notices();
        report.left_out = view.left_out()?;
        report.projections = comparisons.into_iter().map(Comparison::finish).collect();
        Ok(report)
    }

    /// Tombstones that a projection has not applied yet: what it still holds of their records is no difference.
    fn allow_what_is_pruned<V: EventCodec>(
        &self,
        comparisons: &mut [Comparison<V>],
        end: Seq,
    ) -> Result<(), Error> {
        let next = |comparison: &Comparison<V>| {
            comparison.verifier.as_ref().map(|_| comparison.report.next.max(self.floor))
        };
        let Some(first) = comparisons.iter().filter_map(next).min() else { return Ok(()) };
        let mut reader = self.view.reader(first, self.reader.clone())?;
        while reader.next_seq() < end {
            let Some(entry) = reader.next()? else { break };
            let Entry::Record(record) = entry else { continue };
            if !record.kind.is_reserved() {
                continue;
            }
            let system = ControlRecord::decode(record.kind, record.version, record.payload);
            let Some(ControlRecord::PrunedThrough(pruned)) = system else { continue };
            for comparison in comparisons.iter_mut().filter(|c| c.report.next <= record.seq) {
                pruned.segments.iter().for_each(|segment| comparison.not_compared(segment.range));
            }
        }
        Ok(())
    }

    fn compare<V: EventCodec>(&self, comparisons: &mut [Comparison<V>], record: &Record<'_>) {
        let wanted = |comparison: &&mut Comparison<V>| comparison.wants(record);
        let mut wanting = comparisons.iter_mut().filter(wanted).peekable();
        if wanting.peek().is_some() {
            let recorded = Recorded::decode::<V>(record);
            wanting.for_each(|comparison| comparison.take(&recorded, self.head));
        }
    }
}

fn not_compared<V: EventCodec>(comparisons: &mut [Comparison<V>], range: SeqRange) {
    comparisons.iter_mut().for_each(|comparison| comparison.not_compared(range));
}

impl<V: EventCodec> Comparison<V> {
    fn open(projection: &dyn Projection<V>, view: &JournalView) -> Self {
        let spec = projection.spec();
        let mut report = VerifiedProjection {
            name: spec.name,
            records: 0,
            next: Seq::FIRST,
            differences: Vec::new(),
            behind: 0,
            parked: 0,
        };
        let mut verifier = None;
        match projection.verifier() {
            Ok(Some(found)) => {
                let checkpoint = found.checkpoint();
                report.next = checkpoint.position.next;
                report.parked = checkpoint.parked_count;
                match checkpoint.mismatch(view.journal_id(), &spec) {
                    Some(reason) => report.differences.push(reason),
                    None => verifier = Some(found),
                }
            }
            Ok(None) => report.differences.push("it does not exist".to_owned()),
            Err(error) => report.differences.push(error.to_string()),
        }
        Self { spec, verifier, report }
    }

    fn wants(&self, record: &Record<'_>) -> bool {
        self.verifier.is_some() && self.spec.wants(record.kind)
    }

    /// Compares a record from before the checkpoint, counts one that the projection lacks.
    fn take(&mut self, recorded: &Recorded<V::Event>, head: Seq) {
        if recorded.seq < self.report.next {
            self.apply(recorded);
        } else if recorded.seq < head && self.lacks(recorded) {
            self.report.behind += 1;
        }
    }

    /// Whether a record after the checkpoint would change the projection.
    fn lacks(&self, recorded: &Recorded<V::Event>) -> bool {
        self.verifier.as_ref().is_some_and(|verifier| verifier.is_changed_by(recorded))
    }

    /// Whether the projection lacks any record before `head`.
    fn lacks_any(&mut self, view: &JournalView, head: Seq) -> Result<bool, Error> {
        if self.verifier.is_none() || self.report.next >= head {
            return Ok(false);
        }
        let first = self.report.next.max(view.floor()?);
        let mut reader = view.reader(first, ReaderOptions::default())?;
        while reader.next_seq() < head {
            match reader.next() {
                Ok(Some(Entry::Record(record))) if self.wants(&record) => {
                    if record.seq < head && self.lacks(&Recorded::decode::<V>(&record)) {
                        return Ok(true);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(Error::Pruned { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn apply(&mut self, recorded: &Recorded<V::Event>) {
        if matches!(recorded.fact, Fact::Undecodable(_)) {
            return;
        }
        let Some(verifier) = &mut self.verifier else { return };
        self.report.records += 1;
        match verifier.apply(recorded) {
            Ok(()) | Err(ProjectionError::Rejected { .. }) => {}
            Err(error) => {
                self.report.differences.push(error.to_string());
                self.verifier = None;
            }
        }
    }

    /// The records of this range cannot be compared: they are lost, or pruned and the tombstone is not applied yet.
    fn not_compared(&mut self, range: SeqRange) {
        if let Some(verifier) = &mut self.verifier
            && range.from < self.report.next
        {
            verifier.lost(range);
        }
    }

    fn finish(mut self) -> VerifiedProjection {
        if let Some(verifier) = self.verifier {
            match verifier.finish() {
                Ok(differences) => self.report.differences.extend(differences),
                Err(error) => self.report.differences.push(error.to_string()),
            }
        }
        self.report
    }
}
