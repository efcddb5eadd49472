//! [`copy_images`]: the pictures of a backup. One that was copied whole before is kept, one that cannot be read is named.

use std::fs::{self, File, FileTimes};
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Day, copy_file};

/// Problems of one kind that are named; the others are counted.
pub(crate) const NAMED_MAX: usize = 20;

/// What became of the pictures.
#[derive(Debug, Default)]
pub(crate) struct ImagesCopied {
    /// Pictures in the copy.
    pub(crate) files: u64,
    /// Pictures and directories that cannot be read whole.
    pub(crate) unreadable: u64,
    /// The first of them, and why.
    pub(crate) named: Vec<String>,
}

impl ImagesCopied {
    fn note(&mut self, path: &Path, reason: &str) {
        self.unreadable += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(format!("{}: {reason}", path.display()));
        }
    }
}

/// Copies what is in the day directories but the projections' own files. Symbolic links are not followed.
pub(crate) fn copy_images(data: &Path, target: &Path) -> Result<ImagesCopied> {
    let mut copied = ImagesCopied::default();
    let events = data.join("events");
    for day in list(&events, &mut copied) {
        let name = day.file_name();
        let is_day = name.to_str().is_some_and(|name| name.parse::<Day>().is_ok());
        if !is_day || !day.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let to = target.join("events").join(&name);
        for file in list(&day.path(), &mut copied) {
            let is_image = file.file_type().is_ok_and(|kind| kind.is_file())
                && file.file_name().to_str().is_some_and(is_image_name);
            if is_image {
                fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
                copy_image(&file.path(), &to.join(file.file_name()), &mut copied)?;
            }
        }
    }
    Ok(copied)
}

/// Removes from the day directories of an unfinished copy what is no picture of the original: it is rebuilt, or was
/// pruned since.
pub(crate) fn remove_others(data: &Path, target: &Path) -> Result<()> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    for day in entries(&target.join("events")) {
        let original = data.join("events").join(day.file_name());
        for file in entries(&day.path()) {
            let name = file.file_name();
            let is_wanted = name.to_str().is_some_and(is_image_name)
                && original.join(&name).symlink_metadata().is_ok();
            if !is_wanted {
                let path = file.path();
                fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        // One that is not empty stays.
        let _ = fs::remove_dir(day.path());
    }
    Ok(())
}

/// The entries of a directory; none where it is gone, and a note where it cannot be listed.
fn list(directory: &Path, copied: &mut ImagesCopied) -> Vec<fs::DirEntry> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match entries {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            copied.note(directory, &error.to_string());
            Vec::new()
        }
    }
}

fn copy_image(from: &Path, to: &Path, copied: &mut ImagesCopied) -> Result<()> {
    let original = match fs::symlink_metadata(from) {
        Ok(original) => original,
        // Rotation may have removed it meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            copied.note(from, &error.to_string());
            return Ok(());
        }
    };
    let modified = original.modified()?;
    // Its time is set last: a copy that has it is whole.
    let is_kept = fs::symlink_metadata(to).is_ok_and(|there| {
        there.is_file()
            && there.len() == original.len()
            && there.modified().is_ok_and(|time| time == modified)
    });
    if is_kept {
        copied.files += 1;
        return Ok(());
    }
    if let Err(error) = File::open(from) {
        if error.kind() != ErrorKind::NotFound {
            copied.note(from, &error.to_string());
        }
        return Ok(());
    }
    let file = copy_file(&RealStorage, from, to, None, &mut |_| {})
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    copied.files += 1;
    match file.reason {
        // Tried again when the backup is continued.
        Some(reason) => copied.note(
            from,
            &format!(
                "{} bytes cannot be read ({reason}); the copy has zeros in their place",
                file.unreadable_bytes
            ),
        ),
        None => File::options()
            .write(true)
            .open(to)
            .and_then(|file| file.set_times(FileTimes::new().set_modified(modified)))
            .with_context(|| format!("cannot set the time of {}", to.display()))?,
    }
    Ok(())
}

fn is_image_name(name: &str) -> bool {
    [".jpg", ".jpeg", ".png"].iter().any(|ending| name.ends_with(ending))
}
