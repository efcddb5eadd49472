//! [`DataLayout`]: where the projections of a recorder are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_engine::Projection;
use lenslog_events::RecorderCodec;
use lenslog_journal::storage::{RealStorage, Storage};

use crate::jsonl::jsonl;
use crate::media::Media;
use crate::plaintext::plaintext;
use crate::sqlite::SqliteProjection;

/// Where the projections of a recorder are, and the options that change what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataLayout {
    /// The data directory.
    pub data: PathBuf,
    /// The database.
    pub database: PathBuf,
    /// Whether events.log has a line with frame number and the like.
    pub plaintext_metadata: bool,
}

impl DataLayout {
    /// The usual places below a data directory.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self { data: data.to_owned(), database: data.join("events.db"), plaintext_metadata: false }
    }

    /// Every projection of a recorder, in the order of reports.
    #[must_use]
    pub fn projections(&self) -> Vec<Box<dyn Projection<RecorderCodec>>> {
        let storage: Arc<dyn Storage> = Arc::new(RealStorage);
        self.projections_on(&storage)
    }

    /// As [`DataLayout::projections`], their files on this storage: that of the journal which they follow.
    #[must_use]
    pub fn projections_on(
        &self,
        storage: &Arc<dyn Storage>,
    ) -> Vec<Box<dyn Projection<RecorderCodec>>> {
        vec![
            Box::new(SqliteProjection::new(&self.database)),
            Box::new(jsonl(Arc::clone(storage), &self.data)),
            Box::new(plaintext(Arc::clone(storage), &self.data, self.plaintext_metadata)),
            Box::new(Media::new(Arc::clone(storage), &self.data)),
        ]
    }
}
