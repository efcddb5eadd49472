//! Where log lines go and what they look like.

mod status_line;

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
pub use status_line::StatusLine;

/// What can be changed and drawn while the program runs.
#[derive(Debug, Clone)]
pub struct Logging {
    /// The level.
    pub level: LogLevel,
    /// A status line below the log; only on a terminal.
    pub status_line: Option<StatusLine>,
}

/// Changes the level while the program runs.
#[derive(Clone)]
pub struct LogLevel(reload::Handle<LevelFilter, tracing_subscriber::Registry>);

impl fmt::Debug for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LogLevel")
    }
}

impl LogLevel {
    /// Logs what is at least as grave as `level`, from now on.
    pub fn set(&self, level: &str) {
        // It fails only after the subscriber is gone.
        let _ = self.0.reload(filter(level));
    }
}

fn filter(level: &str) -> LevelFilter {
    level.parse().unwrap_or(LevelFilter::INFO)
}

/// Begins to log to standard error. `None` where something else in the process logs already.
#[must_use]
pub fn init(log: &Log) -> Option<Logging> {
    let (level, handle) = reload::Layer::new(filter(&log.level));
    let registry = tracing_subscriber::registry().with(level);
    let human = Human::detect();
    let is_human = log.format == LogFormat::Auto && !human.journald;
    let status_line = (is_human && std::io::stderr().is_terminal()).then(StatusLine::default);
    let layer = tracing_subscriber::fmt::layer().with_ansi(human.colors);
    let result = match (log.format, &status_line) {
        (LogFormat::Json, _) => registry.with(layer.with_writer(std::io::stderr).json()).try_init(),
        (LogFormat::Auto, Some(line)) => {
            registry.with(layer.with_writer(line.clone()).event_format(human)).try_init()
        }
        (LogFormat::Auto, None) => {
            registry.with(layer.with_writer(std::io::stderr).event_format(human)).try_init()
        }
    };
    result.ok().map(|()| Logging { level: LogLevel(handle), status_line })
}

/// `2026-11-23 14:32:15 WARN message field=value` on a terminal; `<4>message field=value` under systemd, which
/// knows the time by itself.
#[derive(Debug, Clone, Copy)]
struct Human {
    journald: bool,
    colors: bool,
}

impl Human {
    fn detect() -> Self {
        let journald = std::env::var_os("JOURNAL_STREAM").is_some();
        let colors = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { journald, colors }
    }

    fn head(self, level: Level, writer: &mut Writer<'_>) -> fmt::Result {
        let (priority, color) = match level {
            Level::ERROR => (3, "31"),
            Level::WARN => (4, "33"),
            Level::INFO => (6, "32"),
            _ => (7, "2"),
        };
        if self.journald {
            return write!(writer, "<{priority}>");
        }
        let time = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
        if self.colors {
            write!(writer, "{time} \x1b[{color}m{level:<5}\x1b[0m ")
        } else {
            write!(writer, "{time} {level:<5} ")
        }
    }
}

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        self.head(*event.metadata().level(), &mut writer)?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
