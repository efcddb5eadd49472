//! [`Pending`], labels that have been seen, but not for long enough to begin an event.

use std::time::Duration;

use lenslog_journal::Timestamp;

use super::PolicyConfig;
use super::open::{OPEN_LABELS_MAX, OpenEvents, micros, since};

/// A label that is not seen for so long begins its time again. A detector misses a thing now and then.
const GAP_MAX: Duration = Duration::from_secs(1);

/// Labels that have been seen lately and have no event; at most [`OPEN_LABELS_MAX`], the newest.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending(Vec<PendingLabel>);

#[derive(Debug, Clone)]
struct PendingLabel {
    label: String,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

impl Pending {
    /// Which of `labels`, seen `now`, have neither an event nor been seen for long enough.
    pub(super) fn fleeting<'a>(
        &mut self,
        config: &PolicyConfig,
        now: Timestamp,
        labels: impl Iterator<Item = &'a str>,
        open: &OpenEvents,
    ) -> Vec<String> {
        if config.min_duration.is_zero() {
            return Vec::new();
        }
        let (gap, duration) = (micros(GAP_MAX), micros(config.min_duration));
        self.0.retain(|pending| (0..=gap).contains(&since(pending.last_seen, now)));
        let mut fleeting = Vec::new();
        for label in labels.filter(|label| !open.has(label)) {
            let first_seen = self.note(label, now);
            if since(first_seen, now) < duration {
                fleeting.push(label.to_owned());
            }
        }
        fleeting
    }

    /// Notes a sighting. Returns when the label was seen first.
    fn note(&mut self, label: &str, now: Timestamp) -> Timestamp {
        if let Some(pending) = self.0.iter_mut().find(|pending| pending.label == label) {
            pending.last_seen = now;
            return pending.first_seen;
        }
        if self.0.len() >= OPEN_LABELS_MAX {
            self.0.remove(0);
        }
        self.0.push(PendingLabel { label: label.to_owned(), first_seen: now, last_seen: now });
        now
    }
}
