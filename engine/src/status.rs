//! [`ProjectionStatus`]: the state of a projection; whether it makes progress, and how long it waits where it makes none.

use std::time::Duration;

use lenslog_journal::Seq;

/// The state of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub state: ProjectionState,
    /// Seq of the record it applies next.
    pub next: Seq,
    /// Events that it parked.
    pub parked: u64,
    /// Errors since the start.
    pub errors: u64,
    /// The latest error.
    pub last_error: Option<String>,
    /// Rebuilds since the start.
    pub rebuilds: u64,
}

/// What a projection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProjectionState {
    /// Being opened.
    Starting,
    /// Following the journal.
    Following,
    /// Being rebuilt.
    Rebuilding,
    /// Waiting to try again after an error.
    Waiting,
    /// Left as it is: a rebuild is due, but the journal has lost records that the projection may still hold.
    NeedsOperator,
    /// Not running any more.
    Stopped,
}

impl ProjectionState {
    /// Whether it needs an operator's attention.
    #[must_use]
    pub const fn is_degraded(self) -> bool {
        matches!(self, Self::Waiting | Self::NeedsOperator)
    }
}

/// The farthest that projections have come while a caller waits. A projection that keeps failing, rebuilding
/// or not, makes no progress.
#[derive(Default)]
pub(crate) struct Progress(Vec<Farthest>);

struct Farthest {
    next: Seq,
    rebuilds: u64,
    /// Rebuilds when the waiting began, and errors.
    begun: (u64, u64),
}

impl Progress {
    /// Whether any came farther than before, or is being rebuilt for the first time.
    pub(crate) fn note(&mut self, status: &[ProjectionStatus]) -> bool {
        if self.0.is_empty() {
            let now = |status: &ProjectionStatus| {
                let ProjectionStatus { next, rebuilds, errors, .. } = *status;
                Farthest { next, rebuilds, begun: (rebuilds, errors) }
            };
            self.0 = status.iter().map(now).collect();
            return true;
        }
        let mut any = false;
        for (farthest, status) in self.0.iter_mut().zip(status) {
            let (rebuilds, errors) = farthest.begun;
            let is_free = status.rebuilds < rebuilds + u64::from(FREE_REBUILDS);
            let is_rebuilding = status.state == ProjectionState::Rebuilding;
            any |= is_rebuilding && is_free && status.errors == errors;
            // A seq that rises is progress; after a rebuild it may rise from where that ended, but not for ever.
            let is_again = is_free && status.rebuilds > farthest.rebuilds;
            if status.next > farthest.next || is_again {
                (farthest.rebuilds, farthest.next) = (status.rebuilds, status.next);
                any = true;
            }
        }
        any
    }
}

/// Rebuilds in a row that need no progress before the pauses begin.
pub(crate) const FREE_REBUILDS: u32 = 3;
/// The first pause; each further one is twice as long, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Counts the rebuilds since the last progress.
///
/// Progress is a seq that rises while the projection follows. A rebuild that reaches a higher seq is none: beside a
/// writer every rebuild does.
#[derive(Debug, Default)]
pub(crate) struct RebuildBackoff {
    farthest: Seq,
    rebuilds: u32,
}

impl RebuildBackoff {
    /// Counts a rebuild that is done, or that failed for no reason that passes.
    pub(crate) fn note_rebuild(&mut self) {
        self.rebuilds = self.rebuilds.saturating_add(1);
    }

    /// Notes how far the projection has followed.
    pub(crate) fn note_followed(&mut self, next: Seq) {
        if next > self.farthest {
            (self.farthest, self.rebuilds) = (next, 0);
        }
    }

    /// How long to wait before the next rebuild; `None`: it begins at once.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let doublings = self.rebuilds.checked_sub(FREE_REBUILDS)?;
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        Some(PAUSE_FIRST.saturating_mul(factor).min(PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_after_three_rebuilds_and_double_up_to_an_hour() {
        let mut backoff = RebuildBackoff::default();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            pauses.push(backoff.pause().map(|pause| pause.as_secs()));
            backoff.note_rebuild();
        }
        assert_eq!(pauses[..6], [None, None, None, Some(5), Some(10), Some(20)]);
        assert_eq!(pauses[12..14], [Some(2560), Some(3600)]);
        assert!(pauses[14..].iter().all(|pause| *pause == Some(3600)), "never a full stop");
    }

    #[test]
    fn only_a_seq_that_rises_is_progress() {
        let mut backoff = RebuildBackoff::default();
        backoff.note_followed(Seq(10));
        (0..5).for_each(|_| backoff.note_rebuild());
        backoff.note_followed(Seq(10));
        backoff.note_followed(Seq(9));
        assert!(backoff.pause().is_some());
        backoff.note_followed(Seq(11));
        assert_eq!(backoff.pause(), None);
    }
}
