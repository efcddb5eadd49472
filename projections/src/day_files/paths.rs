//! Where a file of a day is, and what may stand beside it.

use std::path::{Path, PathBuf};

use super::day_file::FileId;
use crate::data_dir::DataDir;

/// Ends the name of a file that a rebuild makes.
const BESIDE: &str = ".rebuild";
/// Ends the name of a file while it is copied. What a crash leaves under that name is removed by the next opening.
const COPY: &str = ".copy";

/// Where a file is, below the data directory.
pub(super) fn path_of(data: &DataDir, id: FileId, names: &[&str]) -> PathBuf {
    data.day(id.day).join(names.get(id.index).copied().unwrap_or_default())
}

/// The file that a rebuild makes beside this one.
pub(super) fn beside(data: &DataDir, id: FileId, names: &[&str]) -> PathBuf {
    let mut path = path_of(data, id, names).into_os_string();
    path.push(BESIDE);
    path.into()
}

/// Where a file is copied to before the copy takes its name.
pub(super) fn copy_of(path: &Path) -> PathBuf {
    let mut copy = path.as_os_str().to_owned();
    copy.push(COPY);
    copy.into()
}
