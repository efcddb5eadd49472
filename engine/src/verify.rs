//! [`verify`]: reads the journal once, checks it, and compares every projection with it.

use lenslog_journal::{Entry, Error, JournalView, Lost, Notice, ReaderOptions, Seq, SeqRange};

use crate::rebuild::missing_end;
use crate::{Fact, Progress, Projection, ProjectionError, Recorded, Spec, Verifier, Vocabulary};

/// Times a verification begins again because segments were pruned under it.
const ATTEMPTS_MAX: usize = 3;
/// Losses one verification names.
const LOST_MAX: usize = 10_000;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Records read.
    pub records: u64,
    /// First seq read and the seq behind the last one.
    pub range: (Seq, Seq),
    /// What the journal has lost.
    pub lost: Vec<Lost>,
    /// Damage that lost nothing.
    pub notices: Vec<Notice>,
    /// What was found of each projection.
    pub projections: Vec<ProjectionReport>,
}

/// What a verification found of one projection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionReport {
    /// Its name.
    pub name: &'static str,
    /// Records compared.
    pub records: u64,
    /// The seq up to which it was compared.
    pub next: Seq,
    /// What differs, or why it could not be compared; empty where all is equal.
    pub differences: Vec<String>,
    /// Events it set aside.
    pub parked: u64,
}

impl VerifyReport {
    /// Whether the journal has lost anything.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.lost.is_empty()
            || self.notices.iter().any(|notice| matches!(notice, Notice::DigestDiffers { .. }))
    }

    /// Whether any projection differs from the journal.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.projections.iter().any(|projection| !projection.differences.is_empty())
    }
}

/// A projection being compared.
struct Comparison<V: Vocabulary> {
    spec: Spec,
    verifier: Option<Box<dyn Verifier<V>>>,
    report: ProjectionReport,
}

/// Checks the journal and compares every projection with it, up to where that stands. Changes nothing and may run
/// beside the process that writes.
///
/// `progress` is called every thousand records or so; where it returns `false` the verification ends early with
/// [`Error::Closed`].
///
/// # Errors
///
/// Those of reading the journal. What is wrong with a projection stands in the report.
pub fn verify<V: Vocabulary>(
    view: &JournalView,
    projections: &[&dyn Projection<V>],
    reader: ReaderOptions,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<VerifyReport, Error> {
    let mut attempt = 1;
    loop {
        let floor = view.floor()?;
        let result = attempt_to_verify(view, projections, reader, floor, progress);
        let moved = view.floor()? != floor;
        match result {
            Err(Error::Pruned { .. }) if attempt < ATTEMPTS_MAX => {}
            Ok(_) if moved && attempt < ATTEMPTS_MAX => {}
            result => return result,
        }
        attempt += 1;
    }
}

fn attempt_to_verify<V: Vocabulary>(
    view: &JournalView,
    projections: &[&dyn Projection<V>],
    reader: ReaderOptions,
    floor: Seq,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<VerifyReport, Error> {
    const PROGRESS_EVERY: u64 = 1024;
    let mut comparisons: Vec<_> =
        projections.iter().map(|projection| Comparison::open(*projection, view)).collect();
    // Taken after the projections were opened: it lies at or behind every checkpoint.
    let end = view.head()?;
    let mut reader = view.reader(floor, reader.check_digests())?;
    let mut report = VerifyReport { range: (floor, end), ..VerifyReport::default() };
    while reader.next_seq() < end {
        if report.records.is_multiple_of(PROGRESS_EVERY)
            && !progress(Progress { next: reader.next_seq(), from: floor, end })
        {
            return Err(Error::Closed);
        }
        match reader.next()? {
            None => break,
            Some(Entry::Lost(lost)) => {
                for comparison in &mut comparisons {
                    comparison.lost(&lost);
                }
                if report.lost.len() < LOST_MAX {
                    report.lost.push(lost);
                }
            }
            Some(Entry::Record(record)) => {
                report.records += 1;
                let wanted = |comparison: &&mut Comparison<V>| comparison.wants(&record);
                let mut wanting = comparisons.iter_mut().filter(wanted).peekable();
                if wanting.peek().is_some() {
                    let recorded = Recorded::decode::<V>(&record);
                    wanting.for_each(|comparison| comparison.apply(&recorded));
                }
            }
        }
    }
    let reached = reader.next_seq();
    if reached < end {
        let lost = missing_end(view, SeqRange::new(reached, end))?;
        comparisons.iter_mut().for_each(|comparison| comparison.lost(&lost));
        report.lost.push(lost);
    }
    // The reader notices what is wrong with a segment when it leaves it.
    if reader.next()?.is_none() {
        report.range.1 = reader.next_seq();
    }
    report.notices = reader.take_notices();
    report.projections = comparisons.into_iter().map(Comparison::finish).collect();
    Ok(report)
}

impl<V: Vocabulary> Comparison<V> {
    fn open(projection: &dyn Projection<V>, view: &JournalView) -> Self {
        let spec = projection.spec();
        let mut report = ProjectionReport {
            name: spec.name,
            records: 0,
            next: Seq::FIRST,
            differences: Vec::new(),
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
            Ok(None) => report.differences.push("it is not there".to_owned()),
            Err(error) => report.differences.push(error.to_string()),
        }
        Self { spec, verifier, report }
    }

    fn wants(&self, record: &lenslog_journal::Record<'_>) -> bool {
        self.verifier.is_some() && record.seq < self.report.next && self.spec.wants(record.kind)
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

    fn lost(&mut self, lost: &Lost) {
        if let Some(verifier) = &mut self.verifier
            && lost.range.from < self.report.next
        {
            verifier.lost(lost.range);
        }
    }

    fn finish(mut self) -> ProjectionReport {
        if let Some(verifier) = self.verifier {
            match verifier.finish() {
                Ok(differences) => self.report.differences.extend(differences),
                Err(error) => self.report.differences.push(error.to_string()),
            }
        }
        self.report
    }
}
