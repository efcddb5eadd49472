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

use std::thread::JoinHandle;
use std::time::Duration;

use lenslog_control::DescriptionStatus;
use lenslog_events::{DescriptionDeferred, Event};
use lenslog_journal::Timestamp;
use lenslog_projections::{DescriptionQueue, Waiting};

use crate::config::Description;
use crate::util::CancellationToken;
pub use backlog::backlog;
use client::Client;
pub(crate) use worker::open_picture;
pub use worker::{DescriberContext, WorkedOff};
use worker::{Problem, Worker};

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
    cancel: CancellationToken,
    thread: Option<JoinHandle<()>>,
    problem: Problem,
    queue: DescriptionQueue,
}

impl Describer {
    /// Begins to work off the queue; `None` where no server is configured. A key that cannot be read is
    /// logged, and nothing is described: recording goes on.
    #[must_use]
    pub fn start(config: &Description, context: DescriberContext) -> Option<Self> {
        if config.endpoint.is_empty() {
            return None;
        }
        let (cancel, problem, queue) =
            (CancellationToken::new(), Problem::default(), context.queue.clone());
        let thread = Self::worker(config, context, &cancel, &problem).and_then(|worker| {
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
        context: DescriberContext,
        cancel: &CancellationToken,
        problem: &Problem,
    ) -> Result<Worker, String> {
        let client = Client::new(config, cancel)?;
        Ok(Worker::new(client, context, config.daily_budget, problem.clone()))
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
pub fn work_off(config: &Description, context: DescriberContext) -> Result<WorkedOff, String> {
    let cancel = CancellationToken::new();
    let worker = Describer::worker(config, context, &cancel, &Problem::default())?;
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
