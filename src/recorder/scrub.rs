//! Reads the newest segment once after the start, so that damage in it is told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lenslog_journal::{Entry, Journal, ReaderOptions};

/// Reads the newest segment on a thread of its own and journals what is lost in it.
///
/// After an abnormal end the opening has done this already. After a clean one it read nothing, and the projections
/// may be past what has rotted since. `stop` ends it early.
pub(super) fn scrub_newest(journal: &Journal, stop: &Arc<AtomicBool>) {
    let (journal, stop) = (journal.clone(), Arc::clone(stop));
    let thread = std::thread::Builder::new().name("scrub".to_owned());
    let started = thread.spawn(move || {
        if let Err(error) = scrub(&journal, &stop) {
            tracing::warn!(%error, "the newest segment cannot be checked");
        }
    });
    if let Err(error) = started {
        tracing::warn!(%error, "the newest segment is not checked");
    }
}

fn scrub(journal: &Journal, stop: &AtomicBool) -> Result<(), lenslog_journal::Error> {
    let view = journal.view();
    let end = view.head()?;
    let Some(newest) = view.segments()?.pop() else { return Ok(()) };
    let mut reader = view.reader(newest.name.base.max(view.floor()?), ReaderOptions::default())?;
    while reader.next_seq() < end && !stop.load(Ordering::Acquire) {
        match reader.next()? {
            Some(Entry::Lost(lost)) => {
                journal.report_lost(&lost)?;
            }
            Some(Entry::Record(_)) => {}
            None => break,
        }
    }
    for notice in reader.take_notices() {
        tracing::warn!(%notice, "the journal is damaged");
    }
    Ok(())
}
