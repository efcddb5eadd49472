//! Sentences about events, by a language model: any server that speaks OpenAI's chat completions.
//!
//! ```text
//! journal ─follow→ DescriptionQueue ─→ Worker ─picture, prompt→ server
//!    ↑                                    │
//!    └── DescriptionAdded, …Failed ───────┘        …Deferred: what has waited longer than `hold`
//! ```
//!
//! Detection never waits for it. The queue is the journal itself, so that it survives restarts; a sentence is journaled
//! once, and replay asks no model. What a model writes is text and nothing else: it is shortened, laid out on one line
//! and printed; no part of it is ever executed, followed or sent on.

mod answer;
mod backlog;
mod client;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lenslog_events::{DescriptionDeferred, Event};
use lenslog_journal::{Clock, JournalView, Timestamp};
use lenslog_projections::{DescriptionQueue, Waiting};
use lenslog_tools::control::DescriptionStatus;

use crate::config::Description;
use crate::source::Cancel;
pub use answer::SENTENCE_CHARS_MAX;
pub use backlog::backlog;
pub use client::ANSWER_BYTES_MAX;
use client::Client;
pub use worker::{ATTEMPTS_MAX, LONE_ATTEMPTS_MAX, PICTURE_BYTES_MAX, WorkedOff};
use worker::{Problem, Surroundings, Worker};

/// Whether a text is the address of a server: http or https, without a password in it.
#[must_use]
pub fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains('@') && rest.chars().all(|c| c.is_ascii_graphic())
    })
}

/// The events that say that what has waited for longer than `hold` waits no more in the files.
#[must_use]
pub fn deferrals(queue: &DescriptionQueue, now: Timestamp, hold: Duration) -> Vec<Event> {
    let expired = queue.defer(now, hold).into_iter();
    expired.map(|event| Event::DescriptionDeferred(DescriptionDeferred { event })).collect()
}

/// Has events described, on a thread of its own. Dropped, it ends at once: a request under way is cut off, and its
/// event waits for the next start.
#[derive(Debug)]
pub struct Describer {
    cancel: Cancel,
    thread: Option<JoinHandle<()>>,
    problem: Problem,
    queue: DescriptionQueue,
}

/// Where a describer finds and leaves things.
pub struct Places<'a> {
    /// The journal.
    pub view: JournalView,
    /// The data directory, for the pictures.
    pub data: &'a Path,
    /// The events that wait.
    pub queue: DescriptionQueue,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Journals an event.
    pub write: Arc<dyn Fn(Event) + Send + Sync>,
    /// Takes note of how long a sentence took.
    pub measure: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl std::fmt::Debug for Places<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Places").field("data", &self.data).finish_non_exhaustive()
    }
}

impl Describer {
    /// Begins to work off the queue; `None` where no server is configured. A key that cannot be read is told, and
    /// nothing is described: recording is what counts.
    #[must_use]
    pub fn start(config: &Description, places: Places<'_>) -> Option<Self> {
        if config.endpoint.is_empty() {
            return None;
        }
        let (cancel, problem, queue) = (Cancel::new(), Problem::default(), places.queue.clone());
        let thread = Self::worker(config, places, &cancel, &problem).and_then(|worker| {
            let cancel = cancel.clone();
            let run = move || worker.run(&cancel);
            let thread = std::thread::Builder::new().name("descriptions".into()).spawn(run);
            thread.map_err(|error| error.to_string())
        });
        let thread = thread.map_err(|reason| {
            tracing::error!(reason, "events are not described");
            problem.set(Some(format!("no descriptions: {reason}")));
        });
        Some(Self { cancel, thread: thread.ok(), problem, queue })
    }

    /// Has more events described. Returns how many wait then.
    pub fn add(&self, events: Vec<Waiting>) -> u64 {
        self.queue.add(events);
        self.queue.len() as u64
    }

    fn worker(
        config: &Description,
        places: Places<'_>,
        cancel: &Cancel,
        problem: &Problem,
    ) -> Result<Worker, String> {
        let client = Client::new(config, cancel)?;
        let Places { view, data, queue, clock, write, measure } = places;
        let data = data.to_owned();
        let around = Surroundings { view, data, queue, clock, write, measure };
        Ok(Worker::new(client, around, config.daily_budget, problem.clone()))
    }

    /// How many events wait, and why nothing is described at present.
    #[must_use]
    pub fn status(&self) -> DescriptionStatus {
        DescriptionStatus { waiting: self.queue.len() as u64, problem: self.problem.get() }
    }
}

/// Works off what waits, here and now.
///
/// # Errors
///
/// Why the key cannot be read.
pub fn work_off(config: &Description, places: Places<'_>) -> Result<WorkedOff, String> {
    let cancel = Cancel::new();
    let worker = Describer::worker(config, places, &cancel, &Problem::default())?;
    Ok(worker.work_off(&cancel))
}

impl Drop for Describer {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic was its own report.
            let _ = thread.join();
        }
    }
}
