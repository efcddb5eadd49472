//! Inspection: compares the files with those that were written; truncates foreign data.

use std::collections::BTreeSet;

use lenslog_engine::{Inspection, ProjectionError, Scope};
use lenslog_journal::storage::Access;

use super::day_file::{DayFile, FileId};
use super::mark::mark_of;
use super::paths::path_of;
use super::{DayFiles, Format};

/// How a file was found.
enum Found {
    /// As it was left.
    Same,
    /// It has foreign data at its end.
    Longer,
    /// It must be rebuilt.
    Fault(String),
}

impl<F: Format> DayFiles<F> {
    /// Inspects every file and the checkpoint.
    pub(super) fn inspect_files(&mut self) -> Result<Inspection, ProjectionError> {
        let (mut days, mut count, mut first) = (BTreeSet::new(), 0_u64, None);
        let mut appended_to = Vec::new();
        for (id, file) in &self.set.files {
            let fault = match &file.fault {
                Some(fault) => Some(fault.clone()),
                None => match self.found(*id, file)? {
                    Found::Fault(fault) => Some(fault),
                    Found::Longer => {
                        appended_to.push(*id);
                        None
                    }
                    Found::Same => None,
                },
            };
            if let Some(fault) = fault {
                days.insert(id.day);
                count += 1;
                first.get_or_insert_with(|| {
                    format!("{} {fault}", path_of(&self.data, *id, F::FILES).display())
                });
            }
        }
        // A day that is over gets no more entries, with which it would be cut off.
        appended_to.into_iter().try_for_each(|id| self.set.cut_appended(id))?;
        let Some(first) = first else {
            self.put_checkpoint_back()?;
            return Ok(Inspection::Intact);
        };
        let reason = match count {
            1 => first,
            _ => format!("{first}, and {} more", count - 1),
        };
        Ok(Inspection::Tampered { reason, scope: Scope::Days(days) })
    }

    fn found(&self, id: FileId, file: &DayFile) -> Result<Found, ProjectionError> {
        let path = path_of(&self.data, id, F::FILES);
        let stat = if self.data.has_day(id.day)? { self.data.file(&path)? } else { None };
        Ok(match stat {
            None => Found::Fault("is gone".to_owned()),
            Some(stat) if file.identity != Some(stat.identity) => {
                Found::Fault("was replaced".to_owned())
            }
            Some(stat) if stat.len < file.on_disk => {
                Found::Fault(format!("is cut from {} to {} bytes", file.on_disk, stat.len))
            }
            Some(stat) if stat.len > file.on_disk => {
                let opened = self.data.open(&path, Access::Read)?;
                let mark = opened.map(|opened| mark_of(&*opened, file.written.len)).transpose();
                match mark.map_err(ProjectionError::retry("cannot read", &path))? {
                    Some(mark) if mark == file.written => Found::Longer,
                    // An editor that ends lines in its own way, for example.
                    _ => Found::Fault("was changed in place".to_owned()),
                }
            }
            Some(_) => Found::Same,
        })
    }

    /// Writes a checkpoint again that was deleted while its projection runs: its content is still valid.
    fn put_checkpoint_back(&mut self) -> Result<(), ProjectionError> {
        let path = self.data.checkpoint(F::NAME);
        let Some(saved) = &mut self.saved else { return Ok(()) };
        if self.data.file(&path)?.is_some_and(|stat| Some(stat.identity) == saved.identity) {
            return Ok(());
        }
        tracing::warn!(path = %path.display(), "checkpoint was deleted or replaced; it is written again");
        saved.identity = Some(self.data.write_checkpoint(F::NAME, &saved.stored)?.identity);
        Ok(())
    }
}
