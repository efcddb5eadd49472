//! `replay backup`: copies all readable data to a directory that verifies, also while a recorder runs.
//!
//! All of it is made in `DIR.partial` and gets its name in one rename: a backup is complete or absent under its name.
//! One that was interrupted is continued when the command is repeated.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use lenslog_engine::RebuildOptions;
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Copied, Journal, JournalView, Options, finish_copy};
use lenslog_projections::DataLayout;

use crate::args::{GlobalArgs, outside};
use crate::exit::{EXIT_DAMAGED, EXIT_OK};
use crate::images::{ImagesCopied, NAMED_MAX, copy_images, remove_others};
use crate::progress::Bars;
use crate::rebuild;

/// Copy all readable data to another directory, also while a recorder runs.
///
/// The copy is made in DIR.partial and renamed to DIR when it is complete; repeat the command to continue one that was
/// interrupted. Exit code 5: the copy is made, but records are missing in it.
#[derive(Debug, Args)]
pub struct Backup {
    /// The new directory; it must be empty or not exist
    #[arg(value_name = "DIR")]
    target: PathBuf,
    /// Do not copy pictures
    #[arg(long)]
    no_images: bool,
}

impl Backup {
    pub(crate) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let layout = args.existing()?;
        outside(&self.target, &layout.data)?;
        let (target, partial) = names(&self.target)?;
        let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
        let total = view.segments()?.iter().map(|segment| segment.bytes).sum();
        let bars = Bars::new();
        let bar = bars.bytes("journal", total);
        let copied = view.begin_copy(&partial, &mut |bytes| bar.advance(bytes))?;
        bar.finish();
        say_journal(&copied);
        remove_projections(&layout.data, &partial)?;
        if !self.no_images {
            say_images(&copy_images(&layout.data, &partial)?);
        }
        // The projections are made from the copy, so that they are of exactly what is in it.
        let made = DataLayout {
            plaintext_metadata: layout.plaintext_metadata,
            ..DataLayout::of(&partial)
        };
        let journal = Journal::open(&partial, &Options::default())?;
        let options = RebuildOptions { accept_loss: true, ..RebuildOptions::default() };
        let done = rebuild::all(made.projections(), &journal.view(), &options);
        journal.close()?;
        if done.failed {
            bail!(
                "{}: a projection cannot be built; free some room or repair the named files, then repeat the command",
                partial.display()
            );
        }
        put_in_place(&partial, &target)?;
        say!("\n{} is complete; check it: replay verify --data {0}", target.display());
        Ok(if done.lost.is_empty() { EXIT_OK } else { EXIT_DAMAGED })
    }
}

/// The directory that is made, links in its path followed, and the one beside it in which that is done.
fn names(target: &Path) -> Result<(PathBuf, PathBuf)> {
    let absolute = std::path::absolute(target)?;
    let target = match absolute.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => absolute,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look at {}", target.display()));
        }
    };
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        usage!("{}: no directory can be made under this name; name another one", target.display());
    };
    if let Ok(entries) = fs::read_dir(&target) {
        let count = entries.count();
        if count > 0 {
            usage!(
                "{} is a directory with {count} entries; name one that is empty or does not exist",
                target.display()
            );
        }
        if fs::metadata(&target)?.dev() != fs::metadata(parent)?.dev() {
            usage!(
                "{} is the root of a file system, which cannot be renamed; name a directory in it, such as {}",
                target.display(),
                target.join("lenslog").display()
            );
        }
    } else if target.exists() {
        usage!("{} is a file; name a directory that is empty or does not exist", target.display());
    }
    let mut partial = OsString::from(name);
    partial.push(".partial");
    let partial = parent.join(partial);
    Ok((target, partial))
}

/// Removes what an interrupted backup made of its journal, which is another one by now.
fn remove_projections(data: &Path, partial: &Path) -> Result<()> {
    remove_others(data, partial)?;
    let entries =
        fs::read_dir(partial).with_context(|| format!("cannot list {}", partial.display()))?;
    for entry in entries {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name == "checkpoints" {
            fs::remove_dir_all(&path)
        } else if name.starts_with("events.db") {
            fs::remove_file(&path)
        } else {
            Ok(())
        }
        .with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Gives a copy that is complete its name, durably. Only then is its mark taken away: a copy without one is never
/// found under the other name.
fn put_in_place(partial: &Path, target: &Path) -> Result<()> {
    sync_tree(partial)?;
    fs::rename(partial, target)
        .with_context(|| format!("cannot rename {} to {}", partial.display(), target.display()))?;
    if let Some(parent) = target.parent() {
        sync_directory(parent)?;
    }
    Ok(finish_copy(&RealStorage, target)?)
}

/// Makes all names below a directory durable; what is in the files is already.
fn sync_tree(directory: &Path) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_directory(directory)
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("cannot sync {}", path.display()))
}

fn say_journal(copied: &Copied) {
    let (segments, megabytes) = (copied.segments, copied.bytes as f64 / 1e6);
    let kept = match copied.kept {
        0 => String::new(),
        kept => format!(", {kept} of them from the interrupted copy"),
    };
    let last = copied.end.0.saturating_sub(1);
    say!("journal    {segments} segments, {megabytes:.1} MB, up to seq {last}{kept}");
    for unreadable in copied.unreadable.iter().take(NAMED_MAX) {
        say!("journal    UNREADABLE: {unreadable}");
    }
    if let Some(more @ 1..) = copied.unreadable.len().checked_sub(NAMED_MAX) {
        say!("journal    UNREADABLE: {more} more segments");
    }
}

fn say_images(images: &ImagesCopied) {
    say!("images     {} files", images.files);
    for problem in &images.named {
        say!("images     UNREADABLE: {problem}");
    }
    if let Some(more @ 1..) = images.unreadable.checked_sub(images.named.len() as u64) {
        say!("images     UNREADABLE: {more} more");
    }
}
