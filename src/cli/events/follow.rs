//! `lenslog events --follow`: events as they become rows, oldest first, across rebuilds of the database.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{JournalView, Seq};
use lenslog_projections::store::LIMIT_MAX;
use lenslog_projections::{EventQuery, EventStore, StoreError, StoredEvent};
use lenslog_tools::complain;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Events, Printer, explained};
use lenslog_tools::EXIT_OK;

/// How long to wait for events before looking whether anybody still reads.
const TIMEOUT: Duration = Duration::from_millis(250);

/// Prints events until a signal comes or the output is closed.
pub(super) fn follow(
    events: &Events,
    store: &EventStore,
    query: EventQuery,
    data: &Path,
    printer: &mut Printer,
    out: &mut impl Write,
) -> Result<u8> {
    let stop = stop_signal()?;
    let after = begin(events, store, &query, data, printer, out)?;
    let mut follow = store.follow(after);
    let mut reported = None;
    while !stop.load(Ordering::Acquire) && is_read() {
        match follow.next_events(TIMEOUT) {
            Ok(events) => {
                reported = None;
                let events: Vec<_> = events.into_iter().filter(|e| query.matches(e)).collect();
                printer.print(out, &events)?;
                out.flush()?;
            }
            Err(error) if error.may_pass() => report_once(&mut reported, &error),
            Err(error) => return Err(explained(error)),
        }
    }
    Ok(EXIT_OK)
}

/// Prints what is to come first, and returns the seq behind which the rest follows.
fn begin(
    events: &Events,
    store: &EventStore,
    query: &EventQuery,
    data: &Path,
    printer: &mut Printer,
    out: &mut impl Write,
) -> Result<Seq> {
    let begun = beginning(events, store, query);
    let (after, first) = match begun {
        Ok(begun) => begun,
        // It is waited for. What the journal holds by now is not new then.
        Err(error) if error.may_pass() => {
            report_once(&mut None, &error);
            let head = JournalView::open(data, Arc::new(RealStorage)).and_then(|view| view.head());
            let is_limited = events.since.is_none();
            let after = head.ok().filter(|_| is_limited).map_or(0, |head| head.0.saturating_sub(1));
            (Seq(after), Vec::new())
        }
        Err(error) => return Err(explained(error)),
    };
    printer.print(out, &first)?;
    out.flush()?;
    Ok(after)
}

/// The seq behind which the rest follows, and what is printed before.
fn beginning(
    events: &Events,
    store: &EventStore,
    query: &EventQuery,
) -> Result<(Seq, Vec<StoredEvent>), StoreError> {
    let head = store.last_seq()?.unwrap_or_default();
    let Some(limit) = events.limit else {
        let first = if events.since.is_some() { store.first_seq(query)? } else { None };
        let after = first.map_or(head, |first| Seq(first.0.saturating_sub(1)));
        return Ok((after, Vec::new()));
    };
    let page = store.query(&query.clone().limit(limit.min(LIMIT_MAX)))?;
    // What came in between follows.
    let mut first: Vec<_> = page.into_iter().filter(|event| event.seq <= head).collect();
    first.reverse();
    Ok((head, first))
}

/// The first SIGINT or SIGTERM ends the loop, a second one the program.
fn stop_signal() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let code = 128 + signal;
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Whether anybody reads our output: without this, `--follow | head -1` would end with the second event only.
fn is_read() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut polled, Some(&Timespec::default())) {
        Ok(_) => !polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
        Err(_) => true,
    }
}

fn report_once(reported: &mut Option<String>, error: &StoreError) {
    let text = error.to_string();
    if reported.as_ref() != Some(&text) {
        complain!("lenslog: WARNING: {text}; waiting for it");
        *reported = Some(text);
    }
}
