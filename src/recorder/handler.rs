//! [`ControlHandler`]: does what the control socket asks for.

use std::io::{self, Read};
use std::sync::{Arc, Weak};

use lenslog_engine::{RebuildError, RebuildOptions, Scope};
use lenslog_journal::{Clock, Day, Seq, Timestamp};

use super::home::Home;
use super::status::StatusSource;
use super::{CATCH_UP_PATIENCE, Shared};
use crate::description;
use crate::ingest::{Admission, Ingestor};
use crate::storage::{StorageFigures, StorageStats};
use lenslog_tools::control::{Handler, Reply, Request, StorageStatus};

pub(super) struct ControlHandler {
    /// Weak, so that a client that lingers does not keep a recorder alive.
    shared: Weak<Shared>,
    status: StatusSource,
    clock: Arc<dyn Clock>,
}

impl ControlHandler {
    pub(super) fn new(shared: &Arc<Shared>, status: &StatusSource, clock: &Arc<dyn Clock>) -> Self {
        Self { shared: Arc::downgrade(shared), status: status.clone(), clock: Arc::clone(clock) }
    }

    fn shared(&self) -> Result<Arc<Shared>, String> {
        self.shared.upgrade().ok_or_else(|| "the recorder is stopping".to_owned())
    }

    fn home(&self) -> Result<Arc<Home>, String> {
        self.shared()?.home().map_err(|error| error.to_string())
    }

    fn ingest(
        &self,
        input: &mut dyn Read,
        say: &mut dyn FnMut(&Reply) -> io::Result<()>,
    ) -> Result<(), String> {
        let metrics = Arc::clone(&self.shared()?.metrics);
        let admission = Room(&self.shared);
        let home = self.home()?;
        let ingestor = Ingestor::new(home.journal.clone(), Arc::clone(&self.clock), &admission)
            .counted_by(metrics);
        let totals = ingestor
            .run(input, &mut |outcomes| say(&Reply::Lines { outcomes }))
            .map_err(|error| error.to_string())?;
        let head = home.view.head().map_err(|error| error.to_string())?;
        let behind = home.runner.wait_for(head, CATCH_UP_PATIENCE);
        let reply = Reply::Ingested {
            totals,
            behind: behind.into_iter().map(str::to_owned).collect(),
            degraded: crate::layout::degraded(&home.journal),
        };
        say(&reply).map_err(|error| error.to_string())
    }

    /// Has events described that have no sentence. Returns how many wait.
    fn describe(&self, since_utc_micros: i64, failed: bool) -> Result<u64, String> {
        let home = self.home()?;
        let since = Timestamp { utc_micros: since_utc_micros, offset_minutes: 0 };
        let events = description::backlog(&home.view, since, failed);
        let events = events.map_err(|error| error.to_string())?;
        let describer = home.describer();
        let describer = describer.as_ref().ok_or(
            "the recorder that runs has no description.endpoint; set it and reload its configuration",
        )?;
        Ok(describer.add(events))
    }

    fn rebuild(
        &self,
        only: &[String],
        options: &RebuildOptions,
        say: &mut dyn FnMut(&Reply) -> io::Result<()>,
    ) -> Result<(), String> {
        let home = self.home()?;
        let names: Vec<&str> = home.runner.status().iter().map(|status| status.name).collect();
        if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(format!("there is no projection '{unknown}', only {}", names.join(", ")));
        }
        let wanted = |name: &&str| only.is_empty() || only.iter().any(|wanted| wanted == name);
        for name in names.into_iter().filter(wanted) {
            let Some(result) = home.runner.rebuild(name, options) else { continue };
            let reply = match result {
                Ok(rebuilt) => Reply::Rebuilt {
                    name: name.to_owned(),
                    records: rebuilt.records,
                    lost: rebuilt.lost.iter().map(ToString::to_string).collect(),
                },
                Err(error) => Reply::NotRebuilt {
                    name: name.to_owned(),
                    reason: error.to_string(),
                    damaged: matches!(
                        error,
                        RebuildError::Damaged { .. } | RebuildError::Ahead { .. }
                    ),
                },
            };
            say(&reply).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl Handler for ControlHandler {
    fn handle(
        &self,
        request: Request,
        input: &mut dyn Read,
        say: &mut dyn FnMut(&Reply) -> io::Result<()>,
    ) -> Result<(), String> {
        match request {
            Request::Status => {
                let status = Box::new(self.status.status()?);
                say(&Reply::Status(status)).map_err(|error| error.to_string())
            }
            Request::Minutes => {
                let shared = self.shared()?;
                let minutes = shared
                    .cameras()
                    .values()
                    .filter_map(|camera| camera.minute_so_far().map(Into::into))
                    .collect();
                say(&Reply::Minutes { minutes }).map_err(|error| error.to_string())
            }
            Request::Ingest => self.ingest(input, say),
            Request::Describe { since_utc_micros, failed } => {
                let events = self.describe(since_utc_micros, failed)?;
                say(&Reply::Queued { events }).map_err(|error| error.to_string())
            }
            Request::Rotate { force, dry_run } => {
                let rotated = self.home()?.storage.rotate(force, dry_run);
                let report = rotated.map_err(|error| error.to_string())?;
                say(&Reply::Rotated { report }).map_err(|error| error.to_string())
            }
            Request::Rebuild { only, from, to, accept_loss } => {
                let scope = scope(from.as_deref(), to.as_deref())?;
                let options = RebuildOptions { scope, accept_loss, ..RebuildOptions::default() };
                self.rebuild(&only, &options, say)
            }
        }
    }
}

/// Asks the recorder's storage for room, as long as there is a recorder.
struct Room<'a>(&'a Weak<Shared>);

impl Room<'_> {
    fn home(&self) -> Option<Arc<Home>> {
        self.0.upgrade()?.home().ok()
    }
}

impl Admission for Room<'_> {
    fn admit(&self) -> bool {
        self.home().is_none_or(|home| home.storage.admit())
    }

    fn note(&self, head: Seq) {
        if let Some(home) = self.home() {
            home.storage.note(head);
        }
    }

    fn make_room(&self) -> bool {
        self.home().is_some_and(|home| home.storage.make_room())
    }
}

/// How much is used, for the status.
#[must_use]
pub fn storage_status(stats: StorageStats, figures: Option<StorageFigures>) -> StorageStatus {
    StorageStatus {
        total_bytes: stats.total_bytes,
        limit_bytes: stats.limit_bytes,
        percentage_used: stats.percentage_used,
        is_over_limit: stats.is_over_limit,
        text: stats.to_string(),
        warnings: figures.map(|figures| figures.storage_warnings),
    }
}

fn scope(from: Option<&str>, to: Option<&str>) -> Result<Scope, String> {
    if from.is_none() && to.is_none() {
        return Ok(Scope::All);
    }
    let day = |text: Option<&str>, open: Day| {
        text.map_or(Ok(open), |text| text.parse::<Day>().map_err(|error| error.to_string()))
    };
    Ok(Scope::Range(day(from, Day::MIN)?, day(to, Day::MAX)?))
}
