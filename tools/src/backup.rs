//! `replay backup`: copies everything, beside a running recorder too, to a directory that verifies.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use lenslog_engine::RebuildOptions;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Day, Journal, JournalView, Options};
use lenslog_projections::Layout;

use crate::place::{Place, outside};
use crate::progress::Bars;
use crate::rebuild;

/// Copy everything to another directory, beside a running recorder too.
#[derive(Debug, Args)]
pub struct Backup {
    /// The directory to make; it must be empty or not exist
    #[arg(value_name = "DIR")]
    target: PathBuf,
    /// Leave the pictures out
    #[arg(long)]
    no_images: bool,
}

impl Backup {
    pub(crate) fn run(&self, place: &Place) -> Result<u8> {
        let layout = place.existing()?;
        outside(&self.target, &layout.data)?;
        let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
        let total = view.segments()?.iter().map(|segment| segment.bytes).sum();
        let bars = Bars::new();
        let bar = bars.bytes("journal", total);
        let copied = view.copy_to(&self.target, &mut |bytes| bar.advance(bytes))?;
        bar.finish();
        let (segments, megabytes) = (copied.segments, copied.bytes as f64 / 1e6);
        say!("journal    {segments} segments, {megabytes:.1} MB, up to seq {}", copied.end.0 - 1);
        if !self.no_images {
            let count = copy_images(&layout.data, &self.target)?;
            say!("images     {count} files");
        }
        // The projections are made from the copy, so that they are of exactly what is in it.
        let target =
            Layout { plaintext_metadata: layout.plaintext_metadata, ..Layout::of(&self.target) };
        let journal = Journal::open(&self.target, &Options::default())?;
        let options = RebuildOptions { accept_loss: true, ..RebuildOptions::default() };
        let done = rebuild::all(target.projections(), &journal.view(), &options);
        journal.close()?;
        say!("\nIt is a data directory of its own: replay verify --data {}", self.target.display());
        Ok(done.code)
    }
}

/// Copies what is in the day directories but the projections' own files. Symbolic links are not followed.
fn copy_images(data: &Path, target: &Path) -> Result<u64> {
    let mut count = 0;
    let events = data.join("events");
    let Ok(days) = fs::read_dir(&events) else { return Ok(0) };
    for day in days.flatten() {
        let name = day.file_name();
        let is_day = name.to_str().is_some_and(|name| name.parse::<Day>().is_ok());
        if !is_day || !day.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let to = target.join("events").join(&name);
        for file in fs::read_dir(day.path()).into_iter().flatten().flatten() {
            let is_image = file.file_type().is_ok_and(|kind| kind.is_file())
                && file.file_name().to_str().is_some_and(is_image_name);
            if !is_image {
                continue;
            }
            fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
            let (from, to) = (file.path(), to.join(file.file_name()));
            match fs::copy(&from, &to) {
                Ok(_) => count += 1,
                // Rotation may have removed it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot copy {}", from.display()));
                }
            }
        }
    }
    Ok(count)
}

fn is_image_name(name: &str) -> bool {
    [".jpg", ".jpeg", ".png"].iter().any(|ending| name.ends_with(ending))
}
