//! `replay cat`: prints the records of the journal.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use lenslog_engine::Recorded;
use lenslog_events::RecorderCodec;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Entry, Error, JournalView, Position, Reader, ReaderOptions, Resume, Seq};
use lenslog_projections::DataLayout;

use crate::args::GlobalArgs;
use crate::event_json::record_json;
use crate::{EXIT_DAMAGED, EXIT_OK, reader_options};

/// How long to wait for a record before looking again.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Print the records of the journal.
#[derive(Debug, Args)]
pub struct Cat {
    /// Start at this seq [default: the first that is retained]
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// End before this seq
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Continue with records as they are appended
    #[arg(short, long)]
    follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Map sealed segments into memory: faster, but a bad sector ends the program (SIGBUS)
    #[arg(long)]
    map: bool,
}

impl Cat {
    pub(crate) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let layout = args.existing()?;
        // The reader refuses a pruned seq.
        let from = self.from.map_or(Seq::FIRST, |from| Seq(from.max(1)));
        let mut source = Source::open(&layout, from, reader_options(self.map))?;
        let mut out = crate::standard_output();
        let mut lines = Vec::new();
        let mut code = EXIT_OK;
        while self.to.is_none_or(|to| source.reader.next_seq().0 < to) {
            match source.reader.next() {
                Ok(Some(Entry::Record(record))) => {
                    source.is_idle = false;
                    let recorded = Recorded::decode::<RecorderCodec>(&record);
                    self.print(&mut out, &recorded, &mut lines)?;
                }
                Ok(Some(Entry::Lost(lost))) => {
                    out.flush()?;
                    if !self.follow || !source.go_on_where_replaced(&layout)? {
                        code = EXIT_DAMAGED;
                        complain!("replay: {lost}");
                    }
                }
                Ok(None) if self.follow => {
                    out.flush()?;
                    source.rest(&layout)?;
                }
                Ok(None) => break,
                Err(Error::Pruned { floor }) if self.follow => {
                    out.flush()?;
                    let next = source.reader.next_seq();
                    complain!(
                        "replay: seq {next} to {} were pruned before they were printed; printing goes on at seq {floor}",
                        floor.0.saturating_sub(1)
                    );
                    source.reader = source.view.reader(floor, source.options.clone())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        out.flush()?;
        Ok(code)
    }

    fn print(
        &self,
        out: &mut impl Write,
        recorded: &Recorded<lenslog_events::Event>,
        lines: &mut Vec<u8>,
    ) -> Result<()> {
        let value = record_json(recorded, lines);
        if self.json {
            serde_json::to_writer(&mut *out, &value)?;
            out.write_all(b"\n")?;
        } else {
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let (time, kind, version) = (text("time"), text("kind"), recorded.version);
            writeln!(out, "{} {time} {kind} v{version} {}", recorded.seq, value["record"])?;
        }
        Ok(())
    }
}

/// The journal, and where in it the printing is.
struct Source {
    view: JournalView,
    reader: Reader,
    options: ReaderOptions,
    /// Where the reader was when it had printed everything.
    position: Option<Position>,
    is_idle: bool,
    /// Since when the journal has ended before the place of the reader.
    short_since: Option<Instant>,
}

impl Source {
    fn open(layout: &DataLayout, from: Seq, options: ReaderOptions) -> Result<Self, Error> {
        let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
        let reader = view.reader(from, options.clone())?;
        Ok(Self { view, reader, options, position: None, is_idle: false, short_since: None })
    }

    /// At the end: stores the position and waits for more records.
    fn rest(&mut self, layout: &DataLayout) -> Result<(), Error> {
        if !self.is_idle {
            self.position = Some(self.reader.position()?);
            self.is_idle = true;
        }
        // A journal that ends before what it has returned is another one.
        if self.view.head().is_ok_and(|head| head < self.reader.next_seq()) {
            // A writer that has just started shows a shorter journal for a moment.
            let since = *self.short_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= WAIT_MAX && self.go_on_where_replaced(layout)? {
                return Ok(());
            }
        } else {
            self.short_since = None;
        }
        self.reader.wait(WAIT_MAX);
        Ok(())
    }

    /// Continues in a journal that replaced the one read so far, such as a restored copy, and reports it. Records that
    /// it lacks are no loss. `false`: the journal is the same.
    fn go_on_where_replaced(&mut self, layout: &DataLayout) -> Result<bool, Error> {
        let Some(position) = &self.position else { return Ok(false) };
        let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
        let Resume::Mismatch { reason } = view.resume(position, self.options.clone())? else {
            return Ok(false);
        };
        let from = view.head()?.min(position.next).max(view.floor()?);
        complain!(
            "replay: the journal in {} was replaced ({reason}); printing goes on at seq {from}",
            layout.data.display()
        );
        (self.reader, self.view) = (view.reader(from, self.options.clone())?, view);
        (self.position, self.is_idle, self.short_since) = (None, false, None);
        Ok(true)
    }
}
