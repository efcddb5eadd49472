//! Copies of our journal that go their own way: `cp -r`, at rest or beside the writer, and backups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lenslog_journal::Random;
use lenslog_journal::storage::Storage;

use super::model::Failure;
use super::oracle::{self, fresh_view};
use super::station::{Station, copy_of, files_of};
use super::world::World;
use crate::common::ROOT;

impl World {
    pub fn fork(&mut self, split: Option<u64>, seed: u64) -> Result<(), Failure> {
        let mut files = files_of(&self.ours.storage);
        let tag = format!("fork{}", self.others.len());
        self.say(format!(
            "cp -r to {tag}, {}",
            match self.ours.journal {
                Some(_) => "beside the writer",
                None => "at rest",
            }
        ));
        if let Some(split) = split {
            files.truncate(1 + split as usize % files.len().max(1));
            self.open()?;
            self.say("append 3 times 3000 bytes, then the rest of the files is copied");
            for _ in 0..3 {
                self.ours.append(1, 3000, false, true)?;
                self.learn();
            }
            for (path, bytes) in files_of(&self.ours.storage) {
                if !files.iter().any(|(known, _)| *known == path) {
                    files.push((path, bytes));
                }
            }
        }
        self.branch_off(&tag, &files, seed);
        Ok(())
    }

    pub fn backup(&mut self, seed: u64) -> Result<(), Failure> {
        let Some(view) = fresh_view(&self.ours.storage, true)? else { return Ok(()) };
        let tag = format!("backup{}", self.others.len());
        self.say(format!("back up to {tag}"));
        let target = Path::new("/backup");
        if let Err(error) = view.copy_to(target, &mut |_| {}) {
            self.say(format!("(no backup: {error})"));
        }
        let storage = &self.ours.storage;
        let mut files = Vec::new();
        for path in storage.files().into_iter().filter(|path| path.starts_with(target)) {
            let bytes = super::format::bytes_of(storage, &path);
            files.push((Path::new(ROOT).join(path.strip_prefix(target).unwrap()), bytes));
            storage.remove(&path).unwrap();
        }
        for directory in [target.join("journal"), target.to_owned()] {
            let _ = storage.remove_directory(&directory);
        }
        storage.sync_directory(Path::new("/")).unwrap();
        self.branch_off(&tag, &files, seed);
        Ok(())
    }

    fn branch_off(&mut self, tag: &str, files: &[(PathBuf, Vec<u8>)], seed: u64) {
        let storage = copy_of(&self.ours.storage, files);
        let branch = self.ours.branch.clone();
        let mut other = Station::new(tag, seed, storage, branch);
        other.clock.step_to(lenslog_journal::Clock::read(&*self.ours.clock).wall);
        let placed = self.placed();
        other.learn(&mut self.scanner, &placed);
        if other.open(&BTreeSet::new()).is_ok()
            && let Some(journal) = &other.journal
            && let Ok(reading) = oracle::read(&journal.view())
        {
            // What a copy beside the writer did not get is not its loss.
            let read: BTreeSet<u64> = reading.records.iter().map(|record| record.seq).collect();
            let next = journal.next_seq().0;
            other.branch.events.retain(|seq, _| *seq < next);
            for (seq, event) in &mut other.branch.events {
                event.acknowledged &= read.contains(seq);
            }
        }
        let words = other.live(Random::new(seed).bits(), &mut self.scanner, &placed);
        let words = words.unwrap_or_else(|failure| failure.kind);
        self.say(format!("{tag} goes on: {words}"));
        self.others.push(other);
    }
}
