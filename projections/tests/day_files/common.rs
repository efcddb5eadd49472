//! What the tests share: where the files are, and what is in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A directory in memory where there is one: thousands of syncs cost nothing there.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Every file below `events/`, by its path there.
pub fn files(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(days) = std::fs::read_dir(data.join("events")) else { return found };
    for day in days {
        let day = day.unwrap();
        for file in std::fs::read_dir(day.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(data.join("events")).unwrap().to_owned();
            found.insert(name, std::fs::read(path).unwrap());
        }
    }
    found
}

/// All of them as one text.
pub fn text(files: &BTreeMap<PathBuf, Vec<u8>>) -> String {
    let shown = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        format!("== {}\n{}", path.display(), String::from_utf8_lossy(bytes))
    };
    files.iter().map(shown).collect()
}
