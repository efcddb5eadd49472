//! Progress bars, on a terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lenslog_engine::Progress;

/// Bars below one another on standard error; nothing where that is no terminal.
pub(crate) struct Bars(MultiProgress);

/// One of them.
#[derive(Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bars {
    pub(crate) fn new() -> Self {
        let bars = MultiProgress::new();
        if !std::io::stderr().is_terminal() {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self(bars)
    }

    /// A bar over records.
    pub(crate) fn records(&self, name: &str) -> Bar {
        self.bar(name, "{prefix:<10} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}")
    }

    /// A bar over bytes.
    pub(crate) fn bytes(&self, name: &str, total: u64) -> Bar {
        let bar =
            self.bar(name, "{prefix:<10} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        bar.0.set_length(total);
        bar
    }

    fn bar(&self, name: &str, template: &str) -> Bar {
        let bar = self.0.add(ProgressBar::new(0));
        // The templates are constants; one that is wrong shows as the default.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar(bar)
    }
}

impl Bar {
    /// Shows how far it is.
    pub(crate) fn at(&self, progress: Progress) {
        let span = progress.end.0.saturating_sub(progress.from.0);
        self.0.set_length(span);
        self.0.set_position(progress.next.0.saturating_sub(progress.from.0).min(span));
    }

    pub(crate) fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
