//! [`FileSet::writable`]: the open file that may be changed. A file with a second name is copied first.
//!
//! `cp -al` and rsnapshot make copies whose files are those of the original. A change in place would change both. The
//! copy takes the name in one step and has the same content, so a power cut leaves either of the two.

use std::path::Path;
use std::sync::Arc;

use lenslog_engine::ProjectionError;
use lenslog_journal::storage::{Access, StorageFile, read_full};

use super::day_file::FileId;
use super::file_set::FileSet;
use super::limits::COMPARED_BYTES;
use super::paths::copy_of;
use crate::data_dir::DataDir;

impl FileSet {
    /// Opens a file to change it; `None` where its name leads to another file.
    ///
    /// Reads the name and not the descriptor: a file that was removed here may live on in a copy.
    pub(super) fn writable(
        &mut self,
        id: FileId,
    ) -> Result<Option<Arc<dyn StorageFile>>, ProjectionError> {
        let Some(handle) = self.handle(id)? else { return Ok(None) };
        let path = self.path(id);
        let expected = self.files.get(&id).and_then(|file| file.identity);
        let fault = match self.data.file(&path)? {
            Some(stat) if Some(stat.identity) != expected => "was replaced",
            Some(stat) if stat.links > 1 => return self.unshare(id, &*handle, &path).map(Some),
            Some(_) => return Ok(Some(handle)),
            None => "is gone",
        };
        self.handles.close(id);
        self.mark_faulty(id, fault);
        Ok(None)
    }

    /// Gives the name to a copy. The next checkpoint lists it, after its content and its name are durable.
    fn unshare(
        &mut self,
        id: FileId,
        shared: &dyn StorageFile,
        path: &Path,
    ) -> Result<Arc<dyn StorageFile>, ProjectionError> {
        // A symbolic link in the place of the directory is refused.
        self.data.has_day(id.day)?;
        let copy = copy_of(path);
        let replaced = copy_content(&self.data, shared, &copy).and_then(|file| {
            self.data.rename(&copy, path)?;
            Ok(file)
        });
        let file = match replaced {
            Ok(file) => file,
            Err(error) => {
                // The room that it takes may be what is missing.
                let _ = self.data.remove(&copy);
                return Err(error);
            }
        };
        tracing::info!(path = %path.display(), "day file has hard links: it was replaced by a copy before a change");
        let stat = file.stat().map_err(ProjectionError::retry("cannot look at", path))?;
        self.unsynced.insert(self.data.day(id.day));
        self.handles.close(id);
        self.handles.insert(id, Arc::clone(&file));
        if let Some(known) = self.files.get_mut(&id) {
            known.identity = Some(stat.identity);
        }
        Ok(file)
    }
}

/// Copies all that is in a file, durably.
fn copy_content(
    data: &DataDir,
    from: &dyn StorageFile,
    to: &Path,
) -> Result<Arc<dyn StorageFile>, ProjectionError> {
    data.remove(to)?;
    let Some(copy) = data.open(to, Access::CreateNew)? else {
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(ProjectionError::retry("cannot make", to)(gone));
    };
    let failed = || ProjectionError::retry("cannot write", to);
    let mut buffer = vec![0; COMPARED_BYTES];
    let mut offset = 0;
    loop {
        let filled = read_full(from, &mut buffer, offset).map_err(failed())?;
        if filled == 0 {
            break;
        }
        copy.write_at(&buffer[..filled], offset).map_err(failed())?;
        offset += filled as u64;
    }
    copy.sync().map_err(failed())?;
    Ok(copy)
}
