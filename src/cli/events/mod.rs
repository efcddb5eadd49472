//! `lenslog events`: prints what happened, newest first, or as it happens.

mod csv;
mod details;
mod follow;
mod table;

use std::io::{self, Write};

use anyhow::{Result, anyhow, bail};
use chrono::{DateTime, FixedOffset, Local};
use clap::{Args, ValueEnum};
use lenslog_journal::Seq;
use lenslog_projections::store::{LIMIT_DEFAULT, LIMIT_MAX};
use lenslog_projections::{EventQuery, EventStore, Page, StoreError, StoredEvent, printable};
use lenslog_tools::GlobalArgs;
use lenslog_tools::complain;

use super::quiet_configuration;
use super::times::{self, Repeated};
use details::Details;
use lenslog_tools::{EXIT_OK, Usage};
use table::Table;

/// Print events, newest first.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Only events at or after this time: today, "10m ago", 14:32, 2026-11-23 14:32 or RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only events of this camera, by its id
    #[arg(long, value_name = "ID")]
    camera: Option<String>,
    /// Only events with such an object, as person
    #[arg(long)]
    label: Option<String>,
    /// At most this many [default: 100]
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Only what is listed behind the event of this seq: the next page
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// How they are printed [default: table]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Short for --format jsonl
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print events as they come, oldest first; with --since or --limit, those that are there already before
    #[arg(short, long, conflicts_with_all = ["until", "before", "id"])]
    follow: bool,
    /// The event of this event_id
    #[arg(
        long,
        value_name = "EVENT_ID",
        conflicts_with_all = ["since", "until", "camera", "label", "limit", "before"]
    )]
    id: Option<String>,
}

/// How events are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// Lines as in events.json, which `lenslog ingest` takes
    Jsonl,
    /// For spreadsheets
    Csv,
}

/// Prints events in one of the formats.
#[derive(Debug)]
enum Printer {
    Table(Table),
    Jsonl(Box<Details>),
    Csv { begun: bool },
}

impl Printer {
    fn print(&mut self, out: &mut impl Write, events: &[StoredEvent]) -> io::Result<()> {
        match self {
            Self::Table(table) => table.print(out, events),
            Self::Jsonl(details) => details.print(out, events),
            Self::Csv { begun } => {
                if !*begun {
                    csv::print_head(out)?;
                    *begun = true;
                }
                events.iter().try_for_each(|event| csv::print(out, event))
            }
        }
    }
}

impl Events {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let config = quiet_configuration(args)?;
        let query = self.query()?;
        let store = EventStore::of(&config.storage.db_path);
        let data = &config.storage.data_dir;
        let mut printer = match self.format() {
            Format::Table => Printer::Table(Table::default()),
            Format::Jsonl => Printer::Jsonl(Box::new(Details::new(data))),
            Format::Csv => Printer::Csv { begun: false },
        };
        let mut out = lenslog_tools::standard_output();
        if self.follow {
            return follow::follow(self, &store, query, data, &mut printer, &mut out);
        }
        if let Some(event_id) = &self.id {
            let event = match store.event_by_id(event_id) {
                Ok(Some(event)) => Some(event),
                // The journal has it even while the database is rebuilt.
                stored => {
                    details::event_by_id(data, event_id).or_else(|_| stored.map_err(explained))?
                }
            };
            let Some(event) = event else {
                let (path, id) = (data.display(), printable(event_id, 128));
                bail!("there is no event '{id}' in {path}");
            };
            printer.print(&mut out, &[event])?;
        } else {
            self.list(&store, query, &mut printer, &mut out)?;
        }
        out.flush()?;
        Ok(EXIT_OK)
    }

    fn format(&self) -> Format {
        let format = if self.json { Format::Jsonl } else { Format::Table };
        self.format.unwrap_or(format)
    }

    fn query(&self) -> Result<EventQuery> {
        let mut query = EventQuery::new();
        let since = self.since.as_deref().map(|text| time(text, Repeated::First)).transpose()?;
        let until = self.until.as_deref().map(|text| time(text, Repeated::Second)).transpose()?;
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err(Usage("--since must be before --until".to_owned()).into());
        }
        if let Some(since) = since {
            query = query.since(since);
        }
        if let Some(until) = until {
            query = query.until(until);
        }
        if let Some(camera) = &self.camera {
            query = query.camera(camera);
        }
        if let Some(label) = &self.label {
            query = query.label(label);
        }
        if let Some(before) = self.before {
            query = query.before_seq(Seq(before));
        }
        Ok(query)
    }

    /// Prints as many as are wanted, a page at a time.
    fn list(
        &self,
        store: &EventStore,
        query: EventQuery,
        printer: &mut Printer,
        out: &mut impl Write,
    ) -> Result<()> {
        let mut wanted = self.limit.unwrap_or(LIMIT_DEFAULT);
        let mut page = query.clone();
        loop {
            let Page { events, next, .. } =
                store.query(&page.limit(wanted.min(LIMIT_MAX))).map_err(explained)?;
            wanted = wanted.saturating_sub(events.len());
            printer.print(out, &events)?;
            match next {
                Some(cursor) if wanted > 0 => page = query.clone().before(cursor),
                rest => {
                    out.flush()?;
                    self.conclude(events.is_empty(), rest.map(|cursor| cursor.seq));
                    return Ok(());
                }
            }
        }
    }

    /// For people only: what else there is.
    fn conclude(&self, is_empty: bool, next: Option<Seq>) {
        if self.format() != Format::Table {
            return;
        }
        if let Some(seq) = next {
            complain!("There are older ones: --before {seq}");
        } else if is_empty && self.limit != Some(0) {
            complain!("There are no such events.");
        }
    }
}

/// A time as people write it.
fn time(text: &str, repeated: Repeated) -> Result<DateTime<FixedOffset>> {
    Ok(times::parse(text, Local::now(), repeated).map_err(Usage)?.to_local())
}

/// The error of a query, as one of the command.
fn explained(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::UnknownSeq { .. } => Usage(format!("--before: {error}; see --until")).into(),
        StoreError::Missing { .. } => {
            anyhow!("{error}; if it is elsewhere, name the data directory with --data DIR")
        }
        error => error.into(),
    }
}
