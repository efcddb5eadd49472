//! Which branch is ours after an accident, by the rules of the format: ours is what the marker's salt names and what
//! chains on from it; the journal is what two of identity, marker and newest chained segment agree on.

use lenslog_journal::storage::read_file;

use super::format::{Found, Header, slots};
use super::model::Branch;
use super::station::{files_of, identity_path, marker_path};
use super::world::{Mark, State, World};

pub enum Verdict {
    Ours,
    /// All files are those of this earlier state.
    Restored(usize),
    /// The marker names the newest segment of this other branch.
    Switched(usize),
    /// The accident took away what the rules need.
    Exempt(&'static str),
}

impl World {
    pub fn verdict(&mut self) -> Verdict {
        let found = self.scanner.scan(&self.ours.storage);
        if self.is_adopted_here(&found) {
            return Verdict::Exempt("a branch is here whose marker or identity an opening met");
        }
        if self.ours.journal.is_some() {
            // The writer knows which one it is.
            return self.unless_twins(&found, Verdict::Ours);
        }
        if let Some(index) = self.states.iter().rposition(|state| self.is_state(state)) {
            return Verdict::Restored(index);
        }
        let branch = match self.journal(&found) {
            Verdict::Ours => self.branch(&found),
            verdict => verdict,
        };
        match branch {
            Verdict::Ours => match self.end_is_known(&found) {
                true => self.unless_twins(&found, Verdict::Ours),
                false => Verdict::Exempt("nothing names what the newest segment held"),
            },
            verdict => self.unless_twins(&found, verdict),
        }
    }

    /// Whether our segments, the marker and the identity are those of a state.
    fn is_state(&self, state: &State) -> bool {
        let own = |files: Vec<(std::path::PathBuf, Vec<u8>)>| -> Vec<_> {
            let counts = |path: &std::path::Path| {
                path.extension().is_some_and(|extension| extension == "seg")
                    || path == marker_path()
                    || path == identity_path()
            };
            files.into_iter().filter(|(path, _)| counts(path)).collect()
        };
        let known =
            |branch: &Branch| (branch.events.len(), branch.salts.len(), branch.pruned.len());
        known(&state.branch) != known(&self.ours.branch)
            && own(files_of(&self.ours.storage)) == own(state.files.clone())
    }

    fn is_foreign(&self, mark: Mark) -> bool {
        let journal = match mark {
            Mark::Other(index) => self.others[index].branch.journal,
            Mark::Left(journal) => Some(journal),
            Mark::Current | Mark::Older(_) | Mark::Absent => return false,
        };
        journal != self.ours.branch.journal
    }

    fn journal(&self, found: &[Found]) -> Verdict {
        let marks = [self.marker, self.identity];
        let foreign = marks.iter().filter(|mark| self.is_foreign(**mark)).count();
        let absent = marks.iter().filter(|mark| **mark == Mark::Absent).count();
        let strange = |file: &Found| {
            file.segment.header.as_ref().is_some_and(|header| !self.ours.branch.owns(header.salt))
        };
        let is_own = |file: &Found| {
            file.right_named().is_some_and(|header| self.ours.branch.owns(header.salt))
        };
        let (any_strange, any_own) = (found.iter().any(strange), found.iter().any(is_own));
        let right_named = || found.iter().filter_map(Found::right_named);
        let newest = right_named().max_by_key(|header| header.name);
        let newest_is_foreign =
            newest.is_some_and(|header| Some(header.journal) != self.ours.branch.journal);
        if let Mark::Other(index) = self.marker
            && self.is_foreign(self.marker)
            && let Some(salt) = self.others[index].branch.newest_salt()
            && right_named().any(|header| header.salt == salt)
            && (self.identity == self.marker || newest.is_some_and(|newest| newest.salt == salt))
        {
            return Verdict::Switched(index);
        }
        let marked = match self.marker {
            Mark::Other(index) if self.is_foreign(self.marker) => {
                self.others[index].branch.newest_salt()
            }
            _ => None,
        };
        if marked.is_some_and(|salt| right_named().any(|header| header.salt == salt)) {
            return Verdict::Exempt("the marker and the segment it names are another journal's");
        }
        match (foreign, absent) {
            (2, _) => Verdict::Exempt("marker and identity are another journal's"),
            (1, 1) => Verdict::Exempt("no two of marker, identity and segments agree"),
            (1, _) if newest_is_foreign => {
                Verdict::Exempt("a mark and the newest segment are another journal's")
            }
            (1, 0) if !any_own => Verdict::Exempt("no two of marker, identity and segments agree"),
            (0, 2) if any_strange => {
                Verdict::Exempt("no marker and no identity beside other branches")
            }
            (0, 2) if !any_own => Verdict::Exempt("no segment, no marker and no identity"),
            _ if !any_own && any_strange => Verdict::Exempt("only segments of others are left"),
            _ => Verdict::Ours,
        }
    }

    /// Whether the marker names more of a segment than its successor, which carries the rest, leaves to it.
    fn marker_contradicts(&self, found: &[Found], branch: &Branch) -> bool {
        let bytes = read_file(&self.ours.storage, &marker_path(), usize::MAX).unwrap_or_default();
        slots(&bytes).into_iter().any(|(salt, seq)| {
            let base = branch.bases.get(&salt);
            let is_reached = found.iter().any(|file| {
                let last = file.segment.records().last();
                file.segment.salt() == Some(salt) && last.is_some_and(|last| last.seq + 1 >= seq)
            });
            let ends_earlier = |header: &Header| {
                let previous = header.previous.filter(|(previous, _)| Some(previous) == base);
                branch.owns(header.salt) && previous.is_some_and(|(_, end)| end < seq)
            };
            is_reached && found.iter().filter_map(Found::right_named).any(ends_earlier)
        })
    }

    fn branch(&self, found: &[Found]) -> Verdict {
        let ours = &self.ours.branch;
        let of_identity = match self.identity {
            Mark::Older(salt) => salt,
            // What we were before we went on from a copy of it.
            Mark::Other(index) => {
                self.others[index].branch.newest_salt().filter(|salt| ours.owns(*salt))
            }
            _ => None,
        };
        if let Some(salt) = of_identity
            && is_right_named(found, salt)
            && !ours.newest_salt().is_some_and(|newest| is_right_named(found, newest))
        {
            return Verdict::Exempt("identity and segments are those of an older state");
        }
        if matches!(self.marker, Mark::Left(_)) && self.identity != Mark::Current {
            return Verdict::Exempt("the marker is that of a branch that was left");
        }
        if self.marker != Mark::Current && self.marker_contradicts(found, ours) {
            return Verdict::Exempt("the marker is older than a power cut that it contradicts");
        }
        let is_here = |salt: u64| is_right_named(found, salt);
        let is_forked = |salt: &u64| !ours.owns(*salt) && is_here(*salt);
        let forks: Vec<_> = self
            .others
            .iter()
            .map(|other| &other.branch)
            .chain(&self.ghosts)
            .filter(|other| other.journal == ours.journal && other.salts.iter().any(is_forked))
            .collect();
        if forks.is_empty() {
            return Verdict::Ours;
        }
        let newest = ours.newest_salt().unwrap_or_default();
        let is_shared = forks.iter().any(|fork| fork.owns(newest));
        if let Mark::Other(index) = self.identity
            && !self.is_foreign(self.identity)
            && self.others[index].branch.newest_salt().is_some_and(is_here)
        {
            if self.marker_contradicts(found, &self.others[index].branch) {
                return Verdict::Exempt("the marker contradicts the branch that IDENTITY names");
            }
            // Two of three agree on the other one, unless the marker's segment is here too.
            let is_whole = self.others[index].branch.newest_is_complete(found) == Some(true);
            return match is_whole && !is_here(newest) && self.marker != Mark::Absent {
                true => Verdict::Switched(index),
                false => Verdict::Exempt("identity and segments are another branch's"),
            };
        }
        // Where the newest segment is missing, no link proves the one before it.
        let own = |header: &&Header| ours.owns(header.salt);
        let last =
            found.iter().filter_map(Found::right_named).filter(own).map(|one| one.name).max();
        let is_later = |header: &Header| !ours.owns(header.salt) && Some(header.name) >= last;
        if !is_here(newest) && found.iter().filter_map(Found::right_named).any(is_later) {
            return Verdict::Exempt("another branch comes after our missing newest segment");
        }
        if self.is_restored && is_shared {
            return Verdict::Exempt("newer segments than those of a restored state are here");
        }
        if is_shared && self.is_continued(found, newest) {
            return Verdict::Exempt("another branch goes on where ours ends");
        }
        let by_identity = |otherwise| match self.identity {
            Mark::Current if !is_shared => Verdict::Ours,
            _ => Verdict::Exempt(otherwise),
        };
        match self.marker {
            Mark::Current => Verdict::Ours,
            Mark::Older(Some(salt)) if forks.iter().all(|fork| !fork.owns(salt)) => Verdict::Ours,
            Mark::Older(_) => by_identity("the marker is older than the place where branches part"),
            Mark::Other(index) if self.is_foreign(Mark::Other(index)) => {
                by_identity("the marker is another journal's beside other branches")
            }
            Mark::Other(index) => match self.others[index].branch.newest_salt() {
                Some(salt) if ours.owns(salt) => {
                    by_identity("the marker names a segment that two branches share")
                }
                Some(salt)
                    if is_here(salt) && self.identity == Mark::Current && is_here(newest) =>
                {
                    Verdict::Exempt("marker and identity name two branches that are both here")
                }
                Some(salt) if is_here(salt) => Verdict::Switched(index),
                _ => by_identity("the marker names a branch whose newest segment is missing"),
            },
            Mark::Absent => by_identity("no marker beside other branches"),
            Mark::Left(_) => by_identity("the marker is that of a branch that was left"),
        }
    }

    /// Whether a segment is here of a branch that an opening may have taken for ours.
    fn is_adopted_here(&self, found: &[Found]) -> bool {
        let ours = &self.ours.branch;
        let adopted = || self.adopted.iter().map(|index| &self.others[*index].branch);
        let is_adopted = |header: &Header| {
            Some(header.journal) == ours.journal
                && !ours.owns(header.salt)
                && adopted().any(|branch| branch.owns(header.salt))
        };
        found.iter().filter_map(Found::right_named).any(is_adopted)
    }

    /// Whether a segment of another branch follows our newest one, and nothing shows that ours came further.
    fn is_continued(&self, found: &[Found], newest: u64) -> bool {
        let ours = &self.ours.branch;
        let file = found.iter().find(|file| file.segment.salt() == Some(newest));
        let is_sure = |seq: u64| ours.events.get(&seq).is_none_or(|event| event.acknowledged);
        let sure =
            file.and_then(|file| file.segment.records().filter(|one| is_sure(one.seq)).last());
        let end = sure.map(|last| last.seq + 1);
        let base = ours.bases.get(&newest).copied();
        found.iter().filter_map(Found::right_named).any(|header| {
            let (previous, start) = header.previous.unzip();
            let is_later = self.marker != Mark::Current || start >= end;
            !ours.owns(header.salt) && previous == base && is_later
        })
    }

    /// Whether anything says how far the journal came.
    fn end_is_known(&self, found: &[Found]) -> bool {
        let ours = &self.ours.branch;
        if self.marker == Mark::Current {
            return true;
        }
        match ours.newest_is_complete(found) {
            Some(is_complete) => is_complete,
            None if self.identity == Mark::Current => true,
            None => {
                let own = found
                    .iter()
                    .filter(|file| file.right_named().is_some_and(|header| ours.owns(header.salt)));
                let last = own.max_by_key(|file| file.name);
                last.is_some_and(|file| file.segment.sealed_to.is_some())
            }
        }
    }

    /// Nothing distinguishes two branches that append to the same segment.
    fn unless_twins(&self, found: &[Found], verdict: Verdict) -> Verdict {
        let branch = match verdict {
            Verdict::Switched(index) => &self.others[index].branch,
            _ => &self.ours.branch,
        };
        let is_twin = |file: &Found| branch.is_twin(&file.segment);
        match verdict {
            Verdict::Exempt(_) => verdict,
            _ if found.iter().any(is_twin) => {
                Verdict::Exempt("one segment was written on by two branches")
            }
            verdict => verdict,
        }
    }
}

fn is_right_named(found: &[Found], salt: u64) -> bool {
    found.iter().filter_map(Found::right_named).any(|header| header.salt == salt)
}
