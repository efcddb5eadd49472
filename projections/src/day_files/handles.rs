//! [`Handles`]: the few files that are open at a time, whatever the number of days.

use std::collections::HashMap;
use std::sync::Arc;

use lenslog_journal::storage::StorageFile;

use super::day_file::FileId;
use super::limits::HANDLES_MAX;

/// Open files; the one used longest ago gives way.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: HashMap<FileId, (Arc<dyn StorageFile>, u64)>,
    uses: u64,
}

impl Handles {
    pub(super) fn get(&mut self, id: FileId) -> Option<Arc<dyn StorageFile>> {
        self.uses += 1;
        let (file, used) = self.open.get_mut(&id)?;
        *used = self.uses;
        Some(Arc::clone(file))
    }

    pub(super) fn insert(&mut self, id: FileId, file: Arc<dyn StorageFile>) {
        if self.open.len() >= HANDLES_MAX
            && let Some(oldest) = self.open.iter().min_by_key(|(_, (_, used))| *used)
        {
            let oldest = *oldest.0;
            self.open.remove(&oldest);
        }
        self.uses += 1;
        self.open.insert(id, (file, self.uses));
    }

    pub(super) fn close(&mut self, id: FileId) {
        self.open.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lenslog_journal::Day;
    use lenslog_journal::storage::{Access, FaultyStorage, Storage};

    use super::*;

    #[test]
    fn no_more_than_the_limit_are_open_and_the_ones_in_use_stay() {
        let file = FaultyStorage::new().open(Path::new("/one"), Access::Create).unwrap();
        let mut handles = Handles::default();
        let id = |day| FileId::new(Day(day), 0);
        for day in 0..1000 {
            handles.insert(id(day), Arc::clone(&file));
            assert!(handles.get(id(0)).is_some(), "{day}");
        }
        assert_eq!(handles.open.len(), HANDLES_MAX);
        assert!(handles.get(id(1)).is_none() && handles.get(id(999)).is_some());
        handles.close(id(0));
        assert!(handles.get(id(0)).is_none());
    }
}
