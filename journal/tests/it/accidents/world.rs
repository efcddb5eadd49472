//! [`World`]: our journal on its disk, the branches beside it, and everything that a case does to them.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use lenslog_journal::storage::{Access, Fault, Storage, read_file};
use lenslog_journal::{Journal, Position, ReaderOptions, Seq, repair};

use super::format::{Found, Scanner, marked};
use super::model::{Branch, Failure, failure, is_in};
use super::oracle::{self, fresh_view};
use super::rule::Verdict;
use super::script::{End, Op};
use super::station::{Station, begin_step, empty_disk, files_of, limited, marker_path, variant};
use crate::common::ROOT;

/// Whose marker, or identity file, lies in the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The one that our last writer left.
    Current,
    /// One of ours from an earlier moment, with the salt that was the newest then.
    Older(Option<u64>),
    /// That of another branch or journal.
    Other(usize),
    /// The mark of a branch of this journal that a restore or a switch abandoned.
    Left([u8; 16]),
    Absent,
}

/// All files at a moment, and what was known then.
pub struct State {
    pub files: Vec<(PathBuf, Vec<u8>)>,
    pub branch: Branch,
}

pub struct World {
    pub ours: Station,
    pub others: Vec<Station>,
    /// Branches that a restore or a switch abandoned.
    pub ghosts: Vec<Branch>,
    pub states: Vec<State>,
    pub marker: Mark,
    pub identity: Mark,
    /// The marker that the last opening found.
    before_open: Mark,
    /// Branches whose marker or identity an opening met.
    pub adopted: Vec<usize>,
    /// Salts of segments of other branches that stood where no segment of ours was linked.
    pub in_holes: HashSet<u64>,
    pub scanner: Scanner,
    /// The steps so far, in words.
    pub log: Vec<String>,
    /// Why the case ends here: the rules do not say what is right.
    pub exempt: Option<&'static str>,
    /// Accidents that were undone for such a reason.
    pub undone: Vec<&'static str>,
    pub accidents: usize,
    /// Restores and switches of the branch met, which are no losses.
    pub notes: Vec<&'static str>,
    /// Misnamed segments that a repair leaves, by the rules: why.
    pub proofs: Vec<String>,
    pub protected: Vec<Found>,
    pub positions: Vec<Position>,
    /// Every step is judged; from the first accident on.
    pub is_judged: bool,
    /// The files were restored, or are another branch's, and were not opened since.
    pub is_restored: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let station = |tag: &str, seed| {
            let branch = Branch::default();
            Station::new(tag, seed, empty_disk(), branch)
        };
        let mut scanner = Scanner::default();
        let mut foreign = station("foreign", !seed);
        // Its failures are for the cases in which it is ours.
        let _ = foreign.live(seed ^ 0xF0, &mut scanner, &HashSet::new());
        Self {
            ours: station("ours", seed),
            others: vec![foreign],
            ghosts: Vec::new(),
            states: Vec::new(),
            marker: Mark::Current,
            identity: Mark::Current,
            before_open: Mark::Current,
            adopted: Vec::new(),
            in_holes: HashSet::new(),
            scanner,
            log: Vec::new(),
            exempt: None,
            undone: Vec::new(),
            accidents: 0,
            notes: Vec::new(),
            proofs: Vec::new(),
            protected: Vec::new(),
            positions: Vec::new(),
            is_judged: false,
            is_restored: false,
        }
    }

    pub fn say(&mut self, words: impl Into<String>) {
        self.log.push(words.into());
    }

    /// Carries out all steps, until one fails or the rules do not say any more what is right.
    pub fn run(&mut self, ops: &[Op]) -> Result<(), Failure> {
        for op in ops {
            begin_step();
            let result = self.step_and_check(op);
            if !begin_step() {
                return failure("an operation does not end", format!("{:?}", result.err()));
            }
            result?;
            if self.exempt.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn step_and_check(&mut self, op: &Op) -> Result<(), Failure> {
        self.step(op)?;
        if self.exempt.is_none() {
            self.learn();
            if self.is_judged {
                return self.check();
            }
        }
        Ok(())
    }

    /// Salts of all segments that other branches began.
    pub fn placed(&self) -> HashSet<u64> {
        let others = self.others.iter().map(|other| &other.branch).chain(&self.ghosts);
        others.flat_map(|branch| branch.salts.iter().copied()).collect()
    }

    /// Salts of all segments that others than this other branch began.
    fn placed_by_others(&self, index: usize) -> HashSet<u64> {
        let own = &self.others[index].branch;
        let all = self.placed().into_iter().chain(self.ours.branch.salts.iter().copied());
        all.filter(|salt| !own.owns(*salt)).collect()
    }

    pub fn learn(&mut self) -> Vec<Found> {
        let placed = self.placed();
        self.ours.learn(&mut self.scanner, &placed)
    }

    /// The events that must be there, whatever stands beside them.
    fn whole(&mut self) -> BTreeSet<u64> {
        let found = self.scanner.scan(&self.ours.storage);
        let mut whole = self.ours.branch.whole(&found);
        let holes = self.holes(&found);
        whole.retain(|seq| !is_in(&holes, *seq));
        whole
    }

    pub fn open(&mut self) -> Result<(), Failure> {
        if self.ours.journal.is_some() || self.exempt.is_some() {
            return Ok(());
        }
        if self.is_judged
            && let Verdict::Exempt(reason @ "only segments of others are left") = self.verdict()
        {
            self.exempt = Some(reason);
            return Ok(());
        }
        self.say("open");
        let whole = self.whole();
        self.before_open = self.marker;
        self.is_restored = false;
        for mark in [self.marker, self.identity] {
            if let Mark::Other(index) = mark {
                self.adopted.push(index);
            }
        }
        self.ours.open(&whole)?;
        (self.marker, self.identity) = (Mark::Current, Mark::Current);
        self.learn();
        Ok(())
    }

    pub fn end(&mut self, end: End) -> Result<(), Failure> {
        if self.ours.journal.is_none() {
            return Ok(());
        }
        match end {
            End::Close => {
                self.say("close");
                self.ours.close()?;
            }
            End::Kill => {
                self.say("kill");
                self.ours.kill();
            }
            End::PowerCut(seed) => {
                self.say(format!("power cut ({seed})"));
                self.ours.cut_power(seed);
                self.learn();
                self.marker = self.mark_after_a_power_cut();
            }
        }
        self.learn();
        Ok(())
    }

    /// Whose marker it is now: what was written since the last sync may be gone, an opening's first one too.
    fn mark_after_a_power_cut(&self) -> Mark {
        let bytes = read_file(&self.ours.storage, &marker_path(), usize::MAX).unwrap_or_default();
        match marked(&bytes) {
            None => Mark::Absent,
            Some((salt, _)) if self.ours.branch.owns(salt) => Mark::Older(Some(salt)),
            Some(_) => self.before_open,
        }
    }

    fn step(&mut self, op: &Op) -> Result<(), Failure> {
        match *op {
            Op::Append { records, size, keyed, durable } => {
                self.open()?;
                let how = if durable { "" } else { " unsynced" };
                self.say(format!("append {records} records of {size} bytes{how}, keyed {keyed}"));
                self.ours.append(records, size, keyed, durable)
            }
            Op::Fill(count) => {
                self.open()?;
                self.say(format!("append {count} times 3000 bytes"));
                (0..count).try_for_each(|_| {
                    self.ours.append(1, 3000, false, true)?;
                    self.learn();
                    Ok(())
                })
            }
            Op::Repeat(pick) => {
                self.open()?;
                self.say("append a record with a known key");
                let whole = self.whole();
                self.ours.repeat(pick, &whole)
            }
            Op::Sync => {
                self.open()?;
                self.say("sync");
                self.ours.sync()
            }
            Op::Days(days) => {
                self.say(format!("{days} days pass"));
                self.ours.advance(days);
                self.open()?;
                self.say("append 1 record");
                self.ours.append(1, 20, false, true)
            }
            Op::Prune(keep) => {
                self.open()?;
                self.say(format!("prune all but {keep} days"));
                let whole = self.whole();
                self.ours.prune(keep, &whole)
            }
            Op::End(end) => self.end(end),
            Op::Remember => {
                self.say(format!("remember state {}", self.states.len()));
                let (files, branch) = (files_of(&self.ours.storage), self.ours.branch.clone());
                self.states.push(State { files, branch });
                Ok(())
            }
            Op::Read(count) => self.remember_position(count),
            Op::Fork { split, seed } => self.fork(split, seed),
            Op::Backup { seed } => self.backup(seed),
            Op::Elsewhere { which, seed } => {
                let index = which as usize % self.others.len();
                let placed = self.placed_by_others(index);
                let words = self.others[index].live(seed, &mut self.scanner, &placed);
                let words = words.unwrap_or_else(|failure| failure.kind);
                self.say(format!("{} goes on: {words}", self.others[index].tag));
                self.outdate(index);
                Ok(())
            }
            Op::Accident { beside, end, ref mishap } => {
                if !beside || mishap.needs_rest() {
                    self.end(end)?;
                }
                self.is_judged = true;
                self.check_protected()?;
                self.accidents += 1;
                let before = self.ours.journal.is_none().then(|| self.ours.storage.snapshot());
                let marks = (self.marker, self.identity);
                self.suffer(mishap);
                self.rule();
                if let (Some(reason), Some(before)) = (self.exempt, before) {
                    // The case goes on without it.
                    self.say(format!("(undone, for the rules do not say what is right: {reason})"));
                    self.undone.push(reason);
                    self.exempt = None;
                    self.ours.storage = before;
                    (self.marker, self.identity) = marks;
                    self.protect();
                }
                Ok(())
            }
            Op::Repair => self.repair(),
            Op::Crash { repairs, operations, seed } => self.crash(repairs, operations, seed),
            Op::Report => self.report(),
        }
    }

    /// Decides, after an accident or a repair, which branch is ours now.
    pub fn rule(&mut self) {
        match self.verdict() {
            Verdict::Ours if self.ours.journal.is_none() && self.leaves_ours_out() => {
                self.exempt =
                    Some("marker or IDENTITY are not ours, and verify names what is left out");
            }
            Verdict::Ours => {}
            Verdict::Exempt(reason) => self.exempt = Some(reason),
            Verdict::Restored(index) => {
                self.say(format!("(this is state {index})"));
                self.notes.push("restored: all files are those of an earlier state");
                (self.marker, self.identity) = (Mark::Current, Mark::Current);
                let branch = self.states[index].branch.clone();
                self.states.truncate(index + 1);
                self.take(branch, Mark::Current);
            }
            Verdict::Switched(index) => {
                self.say(format!("(by the rules this is {} now)", self.others[index].tag));
                self.notes.push("switched: marker, or identity and segments, are another branch's");
                self.ours.tag = format!("{}'", self.others[index].tag);
                let branch = self.others[index].branch.clone();
                self.states.clear();
                self.take(branch, Mark::Other(index));
            }
        }
        // A power cut takes back nothing that was there before the accident.
        for path in self.ours.storage.files() {
            self.ours.storage.open(&path, Access::Write).unwrap().sync().unwrap();
        }
        self.protect();
    }

    /// Marks of another journal that went on since are those of a state that it left.
    fn outdate(&mut self, index: usize) {
        let journal = self.others[index].branch.journal;
        let Some(other) = journal.filter(|_| journal != self.ours.branch.journal) else { return };
        for mark in [&mut self.marker, &mut self.identity] {
            if *mark == Mark::Other(index) {
                *mark = Mark::Left(other);
            }
        }
    }

    /// Goes on as this branch. Marks other than `current` are of the one that is left.
    fn take(&mut self, branch: Branch, current: Mark) {
        self.is_restored = true;
        let old = std::mem::replace(&mut self.ours.branch, branch);
        let left = Mark::Left(old.journal.unwrap_or_default());
        self.ghosts.push(old);
        self.positions.clear();
        let is_current = |mark| mark == current;
        self.identity = if is_current(self.identity) { Mark::Current } else { left };
        self.marker = if is_current(self.marker) { Mark::Current } else { left };
    }

    /// The power is cut at some operation of an opening or a repair.
    fn crash(&mut self, repairs: bool, operations: u64, seed: u64) -> Result<(), Failure> {
        self.end(End::Kill)?;
        if let Verdict::Exempt(reason @ "only segments of others are left") = self.verdict() {
            self.exempt = Some(reason);
            return Ok(());
        }
        let is_sure = |mark| matches!(mark, Mark::Current | Mark::Older(_));
        if self.identity != Mark::Current || !is_sure(self.marker) {
            return Ok(());
        }
        let whole = self.whole();
        let storage = self.ours.storage.clone();
        let at = storage.operations() + operations;
        storage.inject(Fault::PowerCutAfter { operations: at });
        let what = if repairs { "a repair" } else { "an opening" };
        self.say(format!("power cut at operation {operations} of {what} ({seed})"));
        if repairs {
            let _ = repair(Path::new(ROOT), &limited(&storage), false);
        } else {
            let _ = Journal::open(ROOT, &self.ours.next_options());
        }
        self.ours.cut_power(seed);
        self.check_protected()?;
        self.learn();
        self.marker = self.mark_after_a_power_cut();
        self.rule();
        if repairs || self.exempt.is_some() {
            return Ok(());
        }
        // What the opening recorded as lost before that stays so.
        if let Some(gaps) = fresh_view(&self.ours.storage, true)?.and_then(|view| view.gaps().ok())
        {
            self.ours.name(gaps, &whole, "the gaps of an opening that was cut short")?;
        }
        Ok(())
    }

    /// Reports the losses that a reader meets.
    fn report(&mut self) -> Result<(), Failure> {
        self.open()?;
        let Some(journal) = self.ours.journal.clone() else { return Ok(()) };
        let losses = oracle::losses(&journal.view())?;
        self.say(format!("report {} losses", losses.len()));
        let whole = self.whole();
        for lost in losses {
            self.ours.name([lost.range], &whole, "a reader's losses")?;
            if let Err(error) = journal.report_lost(&lost) {
                return failure(&format!("report: {}", variant(&error)), error.to_string());
            }
        }
        self.ours.sync()
    }

    fn remember_position(&mut self, count: u64) -> Result<(), Failure> {
        self.open()?;
        self.say(format!("remember a position (pick {})", count % 1000));
        let Some(journal) = &self.ours.journal else { return Ok(()) };
        let end = (count % 1000) as usize % self.ours.branch.events.len().max(1);
        let reader = journal.view().reader(Seq::FIRST, ReaderOptions::default());
        let position = reader.and_then(|mut reader| {
            for _ in 0..=end {
                reader.next()?;
            }
            reader.position()
        });
        match position {
            Ok(position) => self.positions.push(position),
            Err(error) => {
                return failure(&format!("position: {}", variant(&error)), error.to_string());
            }
        }
        Ok(())
    }
}
