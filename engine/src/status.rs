//! [`ProjectionStatus`]: how a projection fares.

use lenslog_journal::Seq;

use crate::backoff::FREE_REBUILDS;

/// How a projection fares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub state: ProjectionState,
    /// Seq of the record it applies next.
    pub next: Seq,
    /// Events it set aside.
    pub parked: u64,
    /// Errors since the start.
    pub errors: u64,
    /// The latest error.
    pub last_error: Option<String>,
    /// Times it was made again since the start.
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
    /// Being made again.
    Rebuilding,
    /// Waiting to try again after an error.
    Waiting,
    /// Left as it is: it should be made again, but the journal has lost records that it may still hold.
    Kept,
    /// Not running any more.
    Stopped,
}

impl ProjectionState {
    /// Whether it needs somebody's attention.
    #[must_use]
    pub const fn is_degraded(self) -> bool {
        matches!(self, Self::Waiting | Self::Kept)
    }
}

/// The farthest that projections have come while somebody waits for them. One that fails again and again, rebuilding
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
    /// Says whether any came farther than before, or is being made again for the first time.
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
