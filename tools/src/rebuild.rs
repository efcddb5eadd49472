//! `replay rebuild`: rebuilds the projections, through the recorder where one runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use lenslog_control::{Client, ControlRequest, Reply};
use lenslog_engine::{
    Projection, RebuildError, RebuildOptions, Rebuilt, Scope, rebuild as rebuild_one,
};
use lenslog_events::RecorderCodec;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Day, Journal, JournalView, Lost, Options};
use lenslog_projections::DataLayout;

use crate::args::{GlobalArgs, outside};
use crate::exit::{EXIT_DAMAGED, EXIT_FAILED, EXIT_OK, Usage, rebuild_code};
use crate::progress::{Bar, Bars};
use crate::reader_options;

type Boxed = Box<dyn Projection<RecorderCodec>>;

/// Rebuild the database and the files from the journal.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Rebuild only these, separated by commas: sqlite, jsonl, plaintext, media
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Rebuild only days from this one on; sqlite is always rebuilt whole
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// Rebuild only days up to this one; sqlite is always rebuilt whole
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// Build them in this directory; leave the existing ones alone
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace them even if the journal has lost records; keep the old ones as .lost-N
    #[arg(long)]
    accept_loss: bool,
    /// Map sealed segments into memory: faster, but a bad sector ends the program (SIGBUS)
    #[arg(long)]
    map: bool,
}

impl Rebuild {
    pub(crate) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            usage!("--from {from} is a later day than --to {to}");
        }
        let layout = args.existing()?;
        if let Some(out) = &self.out {
            return self.build_elsewhere(&layout, out);
        }
        match Client::connect(&layout.data)? {
            Some(client) => self.through_recorder(client),
            None => self.in_place(&layout),
        }
    }

    fn options(&self) -> RebuildOptions {
        let scope = match (self.from, self.to) {
            (None, None) => Scope::All,
            (from, to) => Scope::Range(from.unwrap_or(Day::MIN), to.unwrap_or(Day::MAX)),
        };
        let reader = reader_options(self.map);
        RebuildOptions { scope, accept_loss: self.accept_loss, reader, ..Default::default() }
    }

    fn chosen(&self, projections: Vec<Boxed>) -> Result<Vec<Boxed>> {
        let names: Vec<_> = projections.iter().map(|projection| projection.spec().name).collect();
        if let Some(unknown) = self.only.iter().find(|name| !names.contains(&name.as_str())) {
            let known = names.join(", ");
            return Err(
                Usage(format!("unknown projection '{unknown}'; name one of {known}")).into()
            );
        }
        let wanted = |projection: &Boxed| {
            self.only.is_empty() || self.only.iter().any(|name| name == projection.spec().name)
        };
        Ok(projections.into_iter().filter(wanted).collect())
    }

    fn through_recorder(&self, mut client: Client) -> Result<u8> {
        client.send(&ControlRequest::Rebuild {
            only: self.only.clone(),
            from: self.from.map(|day| day.to_string()),
            to: self.to.map(|day| day.to_string()),
            accept_loss: self.accept_loss,
        })?;
        let mut code = EXIT_OK;
        while let Some(reply) = client.reply()? {
            match reply {
                Reply::Rebuilt { name, records, lost } => {
                    for lost in &lost {
                        say!("{name:<10} without {lost}");
                        code = EXIT_DAMAGED;
                    }
                    say!("{name:<10} rebuilt by the recorder from {records} records");
                }
                Reply::NotRebuilt { name, reason, damaged } => {
                    say!("{name:<10} NOT rebuilt: {reason}");
                    code = code.max(if damaged { EXIT_DAMAGED } else { EXIT_FAILED });
                }
                _ => {}
            }
        }
        Ok(code)
    }

    fn in_place(&self, layout: &DataLayout) -> Result<u8> {
        let projections = self.chosen(layout.projections())?;
        // Holds the lock, so that no other process follows meanwhile, and recovers where that is due.
        let journal = Journal::open(&layout.data, &Options::default())?;
        let done = all(projections, &journal.view(), &self.options());
        // A loss is journaled by the first writer that meets it.
        for lost in &done.lost {
            journal.report_lost(lost)?;
        }
        journal.close()?;
        Ok(done.code)
    }

    fn build_elsewhere(&self, layout: &DataLayout, out: &Path) -> Result<u8> {
        outside(out, &layout.data)?;
        std::fs::create_dir_all(out)
            .with_context(|| format!("cannot make the directory {}", out.display()))?;
        let target =
            DataLayout { plaintext_metadata: layout.plaintext_metadata, ..DataLayout::of(out) };
        // Images are not built from the journal: `media` has nothing to do elsewhere.
        let projections = self.chosen(target.projections())?;
        let projections = projections.into_iter().filter(|p| p.spec().name != "media").collect();
        let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
        Ok(all(projections, &view, &self.options()).code)
    }
}

/// How rebuilding several projections went.
pub(crate) struct Done {
    pub(crate) code: u8,
    /// One could not be rebuilt, for another reason than a loss.
    pub(crate) failed: bool,
    /// What the journal has lost, each once.
    pub(crate) lost: Vec<Lost>,
}

/// Rebuilds all projections in parallel, one thread each, and prints the outcome.
pub(crate) fn all(projections: Vec<Boxed>, view: &JournalView, options: &RebuildOptions) -> Done {
    let bars = Bars::new();
    let results: Vec<(&'static str, Result<Rebuilt, RebuildError>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = projections
            .into_iter()
            .map(|projection| {
                let name = projection.spec().name;
                let bar = bars.records(name);
                (name, scope.spawn(move || one(projection, view, options, &bar)))
            })
            .collect();
        let join = |(name, thread): (_, std::thread::ScopedJoinHandle<'_, _>)| {
            (name, thread.join().unwrap_or(Err(RebuildError::Interrupted)))
        };
        threads.into_iter().map(join).collect()
    });
    let (mut code, mut failed) = (EXIT_OK, false);
    let mut all_lost: Vec<Lost> = Vec::new();
    for (name, result) in results {
        if let Ok(Rebuilt { lost, .. }) | Err(RebuildError::Damaged { lost }) = &result {
            // They have all read the same journal.
            if all_lost.is_empty() {
                all_lost.clone_from(lost);
            }
        }
        match result {
            Ok(rebuilt) => {
                for lost in &rebuilt.lost {
                    say!("{name:<10} without {lost}");
                    code = EXIT_DAMAGED;
                }
                let parked = match rebuilt.checkpoint.parked_count {
                    0 => String::new(),
                    count => format!(", {} parked", crate::counted(count, "event")),
                };
                say!("{name:<10} rebuilt from {} records{parked}", rebuilt.records);
            }
            Err(RebuildError::Damaged { lost }) => {
                for lost in &lost {
                    say!("{name:<10} the journal is damaged: {lost}");
                }
                say!(
                    "{name:<10} NOT rebuilt: it may hold the last copy; --accept-loss replaces it and keeps \
                     the old one as .lost-N"
                );
                code = code.max(EXIT_DAMAGED);
            }
            Err(error @ RebuildError::Ahead { .. }) => {
                say!("{name:<10} NOT rebuilt: {error} (--accept-loss)");
                code = EXIT_DAMAGED;
            }
            Err(error) => {
                say!("{name:<10} NOT rebuilt: {error}");
                code = code.max(rebuild_code(&error));
                failed = true;
            }
        }
    }
    Done { code, failed, lost: all_lost }
}

fn one(
    mut projection: Boxed,
    view: &JournalView,
    options: &RebuildOptions,
    bar: &Bar,
) -> Result<Rebuilt, RebuildError> {
    let result = rebuild_one(&mut *projection, view, options, &mut |progress| {
        bar.at(progress);
        true
    });
    bar.finish();
    result
}
