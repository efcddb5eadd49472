//! [`Tree`]: what a directory and everything below it takes, kept up to date without looking at every file each time.
//!
//! What counts are allocated blocks, as `du` counts them: they are what the medium has less of. Lengths would count
//! a sparse file too high and a thousand small ones too low. Symbolic links count as themselves and are never
//! followed.
//!
//! A directory's time of modification changes with every name made or removed in it: only then it is listed again.
//! Pictures are written once and keep their size; all other files are looked at each time, because they grow.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Size of the blocks in which the operating system counts.
const BLOCK_BYTES: u64 = 512;
/// Directories below directories are looked at this deep.
const DEPTH_MAX: usize = 64;
/// Files of one directory that are looked at each time; further ones wait for the next full walk.
const GROWING_MAX: usize = 1000;
/// Endings of files that keep their size.
const PICTURES: &[&str] = &["jpg", "jpeg", "png"];
/// A directory that was modified this shortly before it was listed may have been modified once more within the same
/// tick of the file system's clock.
const TICK: Duration = Duration::from_secs(2);

/// Device and inode of a directory.
pub(super) type Identity = (u64, u64);

/// What a directory and everything below it takes.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    nodes: BTreeMap<PathBuf, Node>,
    /// Problems that were reported.
    reported: BTreeSet<PathBuf>,
}

/// One directory.
#[derive(Debug)]
struct Node {
    identity: Identity,
    modified: (i64, i64),
    listed_at: SystemTime,
    /// Blocks of the directory itself and of files that keep their size.
    fixed: u64,
    pictures: u64,
    growing: Vec<(OsString, u64)>,
    directories: Vec<OsString>,
}

/// What the directory of one name below a root takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Share {
    /// All of it.
    pub(super) bytes: u64,
    /// Pictures, and everything else that is not one of the text files.
    pub(super) picture_bytes: u64,
    /// Names of files that are no pictures.
    pub(super) texts: Vec<OsString>,
}

impl Tree {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, nodes: BTreeMap::new(), reported: BTreeSet::new() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Looks again. `all`: at every file, whatever the directories' times say. `elsewhere` are directories that
    /// another tree counts.
    pub(super) fn refresh(&mut self, all: bool, elsewhere: &BTreeSet<Identity>) {
        if all {
            self.nodes.clear();
        }
        let mut seen = BTreeSet::new();
        let mut waiting = vec![(PathBuf::new(), 0)];
        while let Some((relative, depth)) = waiting.pop() {
            let path = self.root.join(&relative);
            // The root itself may be a link, if the data is wanted on another disk.
            let found = if depth == 0 { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
            let metadata = match found {
                Ok(metadata) if metadata.is_dir() => metadata,
                _ => continue,
            };
            if depth > 0 && elsewhere.contains(&identity(&metadata)) {
                continue;
            }
            self.look(&relative, &path, &metadata);
            let Some(node) = self.nodes.get(&relative) else { continue };
            if depth < DEPTH_MAX {
                let below = node.directories.iter().map(|name| (relative.join(name), depth + 1));
                waiting.extend(below);
            }
            seen.insert(relative);
        }
        self.nodes.retain(|relative, _| seen.contains(relative));
    }

    fn look(&mut self, relative: &Path, path: &Path, metadata: &Metadata) {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        if let Some(node) = self.nodes.get_mut(relative)
            && node.identity == identity(metadata)
            && node.modified == modified
            && node.is_settled()
        {
            for (name, bytes) in &mut node.growing {
                *bytes = fs::symlink_metadata(path.join(name)).map_or(0, |found| blocks(&found));
            }
            return;
        }
        match list(path, metadata) {
            Ok(node) => {
                self.nodes.insert(relative.to_owned(), node);
            }
            Err(error) => {
                self.nodes.remove(relative);
                if error.kind() != std::io::ErrorKind::NotFound
                    && self.reported.insert(path.to_owned())
                {
                    tracing::warn!(path = %path.display(), %error, "directory cannot be listed; its bytes are not counted");
                }
            }
        }
    }

    /// All bytes, by the device that they are on.
    pub(super) fn bytes_by_device(&self) -> impl Iterator<Item = (u64, u64)> {
        self.nodes.values().map(|node| (node.identity.0, node.bytes()))
    }

    /// What each directory in the root takes with everything below it, by its name.
    pub(super) fn shares(&self) -> BTreeMap<OsString, Share> {
        let mut shares: BTreeMap<OsString, Share> = BTreeMap::new();
        for (relative, node) in &self.nodes {
            let mut names = relative.iter();
            let Some(first) = names.next() else { continue };
            let share = shares.entry(first.to_owned()).or_default();
            share.bytes += node.bytes();
            share.picture_bytes += node.pictures;
            if names.next().is_none() {
                share.texts.extend(node.growing.iter().map(|(name, _)| name.clone()));
            }
        }
        shares
    }
}

impl Node {
    fn bytes(&self) -> u64 {
        self.fixed + self.pictures + self.growing.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// Whether the time of modification is certain to change with the next write.
    fn is_settled(&self) -> bool {
        let (seconds, nanos) = self.modified;
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
            return false;
        };
        let modified = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        self.listed_at.duration_since(modified).is_ok_and(|age| age >= TICK)
    }
}

fn list(path: &Path, metadata: &Metadata) -> std::io::Result<Node> {
    let mut node = Node {
        identity: identity(metadata),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        listed_at: SystemTime::now(),
        fixed: blocks(metadata),
        pictures: 0,
        growing: Vec::new(),
        directories: Vec::new(),
    };
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // It may be gone by now.
        let Ok(found) = entry.metadata() else { continue };
        let name = entry.file_name();
        if found.is_dir() {
            node.directories.push(name);
        } else if is_picture(&name) {
            node.pictures += blocks(&found);
        } else if node.growing.len() < GROWING_MAX {
            node.growing.push((name, blocks(&found)));
        } else {
            node.fixed += blocks(&found);
        }
    }
    Ok(node)
}

fn is_picture(name: &OsStr) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| PICTURES.contains(&ending))
}

pub(super) fn blocks(metadata: &Metadata) -> u64 {
    metadata.blocks().saturating_mul(BLOCK_BYTES)
}

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(tree: &Tree) -> u64 {
        tree.bytes_by_device().map(|(_, bytes)| bytes).sum()
    }

    fn walked(root: &Path) -> u64 {
        let mut tree = Tree::new(root.to_owned());
        tree.refresh(true, &BTreeSet::new());
        total(&tree)
    }

    #[test]
    fn what_is_kept_up_to_date_equals_what_a_walk_finds() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut tree = Tree::new(root.to_owned());
        let mut check = |what: &str| {
            tree.refresh(false, &BTreeSet::new());
            assert_eq!(total(&tree), walked(root), "{what}");
        };
        check("an empty directory");
        fs::create_dir_all(root.join("2026-11-23/deeper")).unwrap();
        fs::write(root.join("2026-11-23/a.jpg"), vec![1; 50_000]).unwrap();
        fs::write(root.join("2026-11-23/events.json"), vec![1; 5_000]).unwrap();
        check("new files");
        fs::write(root.join("2026-11-23/events.json"), vec![1; 500_000]).unwrap();
        check("a file that grows");
        fs::write(root.join("2026-11-23/deeper/b.jpg"), vec![1; 70_000]).unwrap();
        check("a file further down");
        fs::remove_file(root.join("2026-11-23/a.jpg")).unwrap();
        check("a file that goes");
        fs::remove_dir_all(root.join("2026-11-23")).unwrap();
        check("a directory that goes");
    }

    #[test]
    fn links_are_counted_as_links_and_names_may_be_anything() {
        use std::os::unix::ffi::OsStrExt;
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large.jpg"), vec![1; 1_000_000]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let before = walked(directory.path());
        std::os::unix::fs::symlink(outside.path(), directory.path().join("2026-11-20")).unwrap();
        fs::write(directory.path().join(OsStr::from_bytes(b"\xff.jpg")), "x").unwrap();
        assert!(walked(directory.path()) < before + 20_000);
    }

    #[test]
    fn shares_tell_texts_from_pictures() {
        let directory = tempfile::tempdir().unwrap();
        let day = directory.path().join("2026-11-23");
        fs::create_dir_all(day.join("deeper")).unwrap();
        fs::write(day.join("a.jpg"), vec![1; 50_000]).unwrap();
        fs::write(day.join("deeper/c.jpg"), vec![1; 50_000]).unwrap();
        fs::write(day.join("events.json"), vec![1; 5_000]).unwrap();
        let mut tree = Tree::new(directory.path().to_owned());
        tree.refresh(true, &BTreeSet::new());
        let shares = tree.shares();
        let share = &shares[OsStr::new("2026-11-23")];
        assert!(share.picture_bytes >= 100_000 && share.bytes >= share.picture_bytes + 5_000);
        assert_eq!(share.texts, ["events.json"]);
    }

    #[test]
    fn what_another_tree_counts_is_left_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("logs");
        fs::create_dir(&logs).unwrap();
        fs::write(logs.join("metrics.json"), vec![1; 100_000]).unwrap();
        let elsewhere = BTreeSet::from([identity(&fs::metadata(&logs).unwrap())]);
        let mut tree = Tree::new(directory.path().to_owned());
        tree.refresh(true, &elsewhere);
        assert!(total(&tree) < 100_000);
    }

    #[test]
    fn what_lies_deeper_than_anything_of_ours_is_not_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let mut deep = directory.path().to_owned();
        (0..=DEPTH_MAX).for_each(|_| deep.push("x"));
        fs::create_dir_all(&deep).unwrap();
        let before = walked(directory.path());
        fs::write(deep.join("a.jpg"), vec![1; 50_000]).unwrap();
        assert_eq!(walked(directory.path()), before);
        fs::write(deep.with_file_name("b.jpg"), vec![1; 50_000]).unwrap();
        assert!(walked(directory.path()) >= before + 50_000);
    }

    /// Sets a directory's time of modification.
    fn touch(directory: &Path, time: SystemTime) {
        fs::File::open(directory).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_directory_that_looks_unchanged_is_listed_again_where_it_may_have_changed() {
        let directory = tempfile::tempdir().unwrap();
        let day = directory.path().join("2026-11-23");
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (time, is_listed) in [(old, false), (SystemTime::now() + 100 * TICK, true)] {
            let _ = fs::remove_dir_all(&day);
            fs::create_dir(&day).unwrap();
            touch(&day, time);
            let mut tree = Tree::new(directory.path().to_owned());
            tree.refresh(false, &BTreeSet::new());
            fs::write(day.join("a.jpg"), vec![1; 50_000]).unwrap();
            touch(&day, time);
            tree.refresh(false, &BTreeSet::new());
            assert_eq!(total(&tree) == walked(directory.path()), is_listed);
            tree.refresh(true, &BTreeSet::new());
            assert_eq!(total(&tree), walked(directory.path()), "a full walk sees it");
            // Another one in its place, which looks the same.
            fs::rename(&day, directory.path().join("away")).unwrap();
            fs::create_dir(&day).unwrap();
            touch(&day, time);
            tree.refresh(false, &BTreeSet::new());
            assert_eq!(total(&tree), walked(directory.path()), "another one");
            fs::remove_dir_all(directory.path().join("away")).unwrap();
        }
    }

    #[test]
    fn links_below_the_root_are_not_followed_and_many_files_all_count() {
        let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("large.jpg"), vec![1; 1_000_000]).unwrap();
        let day = directory.path().join("2026-11-23");
        fs::create_dir(&day).unwrap();
        let mut tree = Tree::new(directory.path().to_owned());
        tree.refresh(false, &BTreeSet::new());
        // A directory that is a link by the time it is looked at.
        fs::remove_dir(&day).unwrap();
        std::os::unix::fs::symlink(outside.path(), &day).unwrap();
        tree.nodes.get_mut(Path::new("")).unwrap().directories = vec!["2026-11-23".into()];
        tree.nodes.get_mut(Path::new("")).unwrap().listed_at += 2 * TICK;
        let root = fs::metadata(directory.path()).unwrap();
        tree.nodes.get_mut(Path::new("")).unwrap().modified = (root.mtime(), root.mtime_nsec());
        tree.refresh(false, &BTreeSet::new());
        assert!(total(&tree) < 500_000);
        fs::remove_file(&day).unwrap();
        for number in 0..GROWING_MAX + 50 {
            fs::write(directory.path().join(format!("{number}.txt")), "x").unwrap();
        }
        tree.refresh(true, &BTreeSet::new());
        let root = &tree.nodes[Path::new("")];
        assert_eq!(root.growing.len(), GROWING_MAX);
        let one = blocks(&fs::metadata(directory.path().join("0.txt")).unwrap());
        assert!(total(&tree) >= (GROWING_MAX as u64 + 50) * one);
    }
}
