//! [`RebuildBackoff`]: how long a projection waits before its next rebuild where rebuilds bring no progress.

use std::time::Duration;

use lenslog_journal::Seq;

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
