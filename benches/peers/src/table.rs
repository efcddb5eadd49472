//! Tables in Markdown, medians with their quartiles; what the stores themselves print is not in them.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;

use crate::stores::{EVENT_STORES, Kind};

/// Where the tables go.
pub struct Output {
    path: Option<PathBuf>,
    text: String,
}

impl Output {
    pub const fn new(path: Option<PathBuf>) -> Self {
        Self { path, text: String::new() }
    }

    /// Adds a line.
    pub fn line(&mut self, line: &str) {
        eprintln!("{line}");
        let _ = writeln!(self.text, "{line}");
    }

    /// Begins a table with a column for each store.
    pub fn head(&mut self, what: &str, stores: &[Kind], last: &str) {
        let names: Vec<_> = stores.iter().map(|kind| kind.name()).collect();
        self.line(&format!("| {what} | {} | {last} |", names.join(" | ")));
        self.line(&format!("|---|{}---|", "---|".repeat(names.len())));
    }

    /// A row: the measurements of each store, and what the first one is of the best other.
    pub fn row(&mut self, what: &str, stores: &[Vec<f64>], less_is_better: bool) {
        let quartiles: Vec<_> = stores.iter().map(|values| quartiles(values)).collect();
        let cells: Vec<_> = quartiles.iter().map(|found| cell(found.as_ref())).collect();
        // Logs and key-value stores find nothing by tag: they are no measure of one that does.
        let event_stores = quartiles.iter().take(EVENT_STORES.len());
        let others = event_stores.skip(1).flatten().map(|[_, median, _]| *median);
        let best = match less_is_better {
            true => others.fold(f64::MAX, f64::min),
            false => others.fold(0.0, f64::max),
        };
        let ours =
            quartiles.first().and_then(|ours| *ours).map_or(f64::NAN, |[_, median, _]| median);
        let ratio = if less_is_better { best / ours } else { ours / best };
        self.line(&format!("| {what} | {} | {ratio:.2} |", cells.join(" | ")));
    }

    /// Writes the tables, to standard output where no file was named.
    pub fn finish(self) -> Result<()> {
        match self.path {
            Some(path) => std::fs::write(path, self.text)?,
            None => print!("{}", self.text),
        }
        Ok(())
    }
}

fn quartiles(values: &[f64]) -> Option<[f64; 3]> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some([1, 2, 3].map(|part| values[last * part / 4]))
}

fn cell(found: Option<&[f64; 3]>) -> String {
    let Some([low, median, high]) = found else { return "–".to_owned() };
    let digits = if *median < 10.0 { 2 } else { 0 };
    format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
}
