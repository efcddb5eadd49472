//! Checks the journal once after the start, so that what is wrong with it is known at once: damage in the newest segment,
//! files that are no part of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use lenslog_journal::{Entry, Error, Journal, LeftOut, ReaderOptions};
use lenslog_tools::control::{left_out, left_out_lines, obstructed_lines};

use super::health::HealthItem;
use super::home::Home;

/// Checks a journal on a thread of its own. Journals what is lost in the newest segment.
///
/// After an abnormal end the opening has done this already. After a clean one it read nothing, and the projections
/// may be past what has rotted since. `stop` ends it early.
pub(super) fn scrub(home: &Home, stop: &Arc<AtomicBool>) {
    let (journal, stop) = (home.journal.clone(), Arc::clone(stop));
    let found = Arc::clone(&home.left_out);
    let thread = std::thread::Builder::new().name("scrub".to_owned());
    let started = thread.spawn(move || {
        if let Err(error) = check_files(&journal, &found) {
            tracing::warn!(%error, "the files of the journal cannot be checked");
        }
        if let Err(error) = read_newest(&journal, &stop) {
            tracing::warn!(%error, "the newest segment cannot be checked");
        }
    });
    if let Err(error) = started {
        tracing::warn!(%error, "the journal is not checked");
    }
}

fn check_files(journal: &Journal, found: &OnceLock<Vec<LeftOut>>) -> Result<(), Error> {
    let view = journal.view();
    let files = left_out(&view)?;
    let mut lines = obstructed_lines(&view, &view.segments()?);
    lines.extend(left_out_lines(found.get_or_init(|| files)));
    for line in lines {
        tracing::warn!("{}", HealthItem::warning("journal", line));
    }
    Ok(())
}

fn read_newest(journal: &Journal, stop: &AtomicBool) -> Result<(), Error> {
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
