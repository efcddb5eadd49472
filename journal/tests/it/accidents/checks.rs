//! What must hold after each step, and what a repair must and must not do.

use std::path::Path;

use lenslog_journal::{Repair, Seq, SeqRange, repair};

use super::format::{Found, Frame};
use super::model::{Failure, failure, is_in};
use super::oracle::{self, Excuses, fresh_view, judge, judge_resumed};
use super::script::End;
use super::station::{files_of, limited, short, variant};
use super::world::{Mark, World};
use crate::common::ROOT;

impl World {
    /// The files of `journal/` and whose they are, for a person who reads the script.
    pub fn list(&mut self) -> Vec<String> {
        let owner = |world: &Self, salt: u64| match world.ours.branch.owns(salt) {
            true => "ours".to_owned(),
            false => {
                let other = world.others.iter().find(|other| other.branch.owns(salt));
                other.map_or_else(
                    || "of a branch that was left".to_owned(),
                    |other| other.tag.clone(),
                )
            }
        };
        let mut lines = Vec::new();
        for file in self.scanner.scan(&self.ours.storage) {
            let seqs: Vec<_> = file.segment.records().map(|record| record.seq).collect();
            let what = file.segment.header.as_ref().map(|header| {
                let whose = owner(self, header.salt);
                let (name, previous) = (header.name.base, header.previous);
                format!("{whose}, {:x}, base {name}, previous {previous:?}", header.salt)
            });
            let what = what.unwrap_or_else(|| "no header".to_owned());
            let (name, sealed) = (short(&file.path), file.segment.sealed_to);
            lines.push(format!("{name}: {what}, seqs {seqs:?}, sealed {sealed:?}"));
        }
        lines.push(format!("WITNESS {:?}, IDENTITY {:?}", self.marker, self.identity));
        lines
    }

    /// Notes the contents that no program may change or delete: other branches and journals, and records of ours that
    /// are nowhere else.
    pub fn protect(&mut self) {
        let found = self.scanner.scan(&self.ours.storage);
        let branch = &self.ours.branch;
        let is_right = |salt| {
            found.iter().any(|file| file.right_named().is_some_and(|header| header.salt == salt))
        };
        // What a writer has open it goes on with, whatever its name.
        let active = branch.newest_salt().filter(|_| self.ours.journal.is_some());
        let is_protected = |file: &&Found| match &file.segment.header {
            Some(header) if !branch.owns(header.salt) => true,
            Some(header) if Some(header.salt) == active => false,
            Some(header) => file.right_named().is_none() && !is_right(header.salt),
            None => false,
        };
        self.protected = found.iter().filter(is_protected).cloned().collect();
    }

    pub fn check_protected(&mut self) -> Result<(), Failure> {
        let found = self.scanner.scan(&self.ours.storage);
        for file in &self.protected {
            let salt = file.segment.salt();
            if salt.is_some_and(|salt| self.in_holes.contains(&salt)) {
                continue;
            }
            let is_ours = salt.is_some_and(|salt| self.ours.branch.owns(salt));
            // A header copy of ours may be repaired, and it may be appended to once it has its name back.
            let is_kept = |other: &Found| {
                let holds =
                    |frame: &Frame| other.segment.frames.iter().any(|one| one.crc == frame.crc);
                is_ours && other.segment.salt() == salt && file.segment.frames.iter().all(holds)
            };
            if !found.iter().any(|other| other.content == file.content || is_kept(other)) {
                let text = format!("{} had {} bytes", short(&file.path), file.content.0);
                return failure("a file that is not of the chain is changed or gone", text);
            }
        }
        Ok(())
    }

    /// Seqs where nothing shows that a segment of another branch is not ours.
    pub fn holes(&self, found: &[Found]) -> Vec<SeqRange> {
        let branch = &self.ours.branch;
        let newest = branch.newest_salt().and_then(|salt| branch.bases.get(&salt));
        let marked = newest.filter(|_| self.marker == Mark::Current);
        // What stands after the segment that the marker names and does not chain on from it is not ours.
        let is_marked_here = branch.newest_is_complete(found).is_some();
        let to = if is_marked_here { u64::MAX } else { branch.end() };
        let marked = marked.map(|base| SeqRange::new(Seq(*base), Seq(to)));
        oracle::holes(branch, found, marked)
    }

    /// Whether an acknowledged event of ours is only in a file that `verify` names as no part of the journal, because the
    /// marker or `IDENTITY` are not those that our last writer left: they may speak for another branch.
    pub fn leaves_ours_out(&mut self) -> bool {
        if self.marker == Mark::Current && self.identity == Mark::Current {
            return false;
        }
        let Ok(Some(view)) = fresh_view(&self.ours.storage, true) else { return false };
        let Ok(left_out) = view.left_out() else { return false };
        let found = self.scanner.scan(&self.ours.storage);
        let is_named = |file: &Found| left_out.iter().any(|left| left.path == file.path);
        let rest: Vec<_> = found.iter().filter(|file| !is_named(file)).cloned().collect();
        let branch = &self.ours.branch;
        branch.whole(&found).difference(&branch.whole(&rest)).next().is_some()
    }

    /// Everything that must hold now.
    pub fn check(&mut self) -> Result<(), Failure> {
        self.check_protected()?;
        let found = self.scanner.scan(&self.ours.storage);
        let whole = self.ours.branch.whole(&found);
        let branch = &self.ours.branch;
        let holes = self.holes(&found);
        // What is read, for nothing shows that it is not ours, may be pruned like ours.
        let is_in_hole = |file: &&Found| {
            file.segment.header.as_ref().is_some_and(|header| {
                let seqs = oracle::seqs_of(file, header);
                !branch.owns(header.salt) && seqs.iter().any(|seq| is_in(&holes, *seq))
            })
        };
        let salts = found.iter().filter(is_in_hole).filter_map(|file| file.segment.salt());
        self.in_holes.extend(salts);
        let excuses = Excuses { holes };
        let is_open = self.ours.journal.is_some();
        let by = if is_open { "a view beside the writer" } else { "a view at rest" };
        if let Some(view) = fresh_view(&self.ours.storage, whole.is_empty())? {
            let reading = judge(oracle::read(&view)?, branch, &whole, &excuses, by)?;
            for position in &self.positions {
                judge_resumed(&view, position, &reading, &whole)?;
            }
        }
        let Some(journal) = self.ours.journal.clone() else { return Ok(()) };
        self.ours.name(journal.health().gaps, &whole, "health().gaps")?;
        let branch = &self.ours.branch;
        let view = journal.view();
        let reading = judge(oracle::read(&view)?, branch, &whole, &excuses, "the open journal")?;
        for position in &self.positions {
            judge_resumed(&view, position, &reading, &whole)?;
        }
        let known = branch.end();
        if journal.next_seq().0 < known {
            let text = format!("the next one is {}, after {known}", journal.next_seq());
            return failure("a seq is given out twice", text);
        }
        let branch = &mut self.ours.branch;
        for record in &reading.records {
            if let Some(event) = branch.events.get_mut(&record.seq) {
                event.acknowledged |= event.payload == record.payload;
            }
        }
        Ok(())
    }

    pub fn repair(&mut self) -> Result<(), Failure> {
        self.end(End::Close)?;
        let before = files_of(&self.ours.storage);
        let planned = self.call_repair(true)?;
        if files_of(&self.ours.storage) != before {
            return failure("a dry run of the repair changes files", String::new());
        }
        let done = self.call_repair(false)?;
        let words: Vec<_> =
            done.iter().map(|one| format!("{}: {}", short(&one.path), one.action)).collect();
        self.say(format!("repair: [{}]", words.join("; ")));
        if planned.is_empty() != done.is_empty() {
            let text = format!("planned {}, done {}", planned.len(), done.len());
            return failure("a repair does something else than its dry run says", text);
        }
        self.check_protected()?;
        self.rule();
        if self.exempt.is_some() {
            return Ok(());
        }
        let found = self.scanner.scan(&self.ours.storage);
        let mut covered = Vec::new();
        for file in &found {
            let Some(header) = &file.segment.header else { continue };
            let (branch, path) = (&self.ours.branch, header.name.file_name());
            let at_place = found.iter().find(|other| other.file_name() == path);
            let is_free = at_place.is_none_or(|other| {
                other.right_named().is_none()
                    && other.segment.salt().is_some_and(|salt| branch.owns(salt))
            });
            let is_due = file.segment.records().any(|record| {
                let event = branch.events.get(&record.seq);
                event.is_some_and(|event| event.home == Some(header.salt) && event.acknowledged)
                    && !is_in(&branch.pruned, record.seq)
            });
            if !(branch.owns(header.salt) && file.right_named().is_none() && is_free && is_due) {
                continue;
            }
            // A link with another salt that covers its seqs excludes it, by the rules: that one was begun from the records
            // before it while it was missing.
            let last = file.segment.records().last().map_or(0, |record| record.seq);
            let rank = |salt| branch.salts.iter().position(|known| *known == salt);
            let covers = |other: &&Found| {
                other.right_named().is_some_and(|link| {
                    rank(link.salt) > rank(header.salt)
                        && link.name.base <= header.name.base
                        && other.segment.records().any(|record| record.seq > last)
                })
            };
            let Some(proof) = found.iter().find(covers) else {
                let text = format!("{} is {path}", file.file_name());
                return failure("a repair leaves a misnamed segment", text);
            };
            let (name, other) = (file.file_name(), proof.file_name());
            covered.push(format!("{name} is {path}, and {other} covers its seqs up to {last}"));
        }
        self.proofs.extend(covered);
        Ok(())
    }

    fn call_repair(&self, dry_run: bool) -> Result<Vec<Repair>, Failure> {
        let storage = limited(&self.ours.storage);
        match repair(Path::new(ROOT), &storage, dry_run) {
            Ok(repairs) => Ok(repairs),
            Err(error) => failure(&format!("repair: {}", variant(&error)), error.to_string()),
        }
    }
}
