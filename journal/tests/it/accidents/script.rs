//! [`Op`]: one step of a case, drawn from a seed. What it meets is settled when it is salvaged out, so that any step can
//! be left out.

use lenslog_journal::Random;

#[derive(Debug, Clone)]
pub enum Op {
    Append {
        records: usize,
        size: usize,
        keyed: bool,
        durable: bool,
    },
    /// Durable appends of a block each: the segment rolls by size.
    Fill(usize),
    Repeat(u64),
    Sync,
    Days(u64),
    Prune(i32),
    End(End),
    /// Remembers the state of all files.
    Remember,
    /// Remembers a reader's position.
    Read(u64),
    /// `cp -r` of the data directory; a split copies the rest after another append.
    Fork {
        split: Option<u64>,
        seed: u64,
    },
    Backup {
        seed: u64,
    },
    /// Another branch goes its own way.
    Elsewhere {
        which: u64,
        seed: u64,
    },
    Accident {
        beside: bool,
        end: End,
        mishap: Mishap,
    },
    Repair,
    /// The power is cut within an opening, or a repair.
    Crash {
        repairs: bool,
        operations: u64,
        seed: u64,
    },
    /// What readers met as lost is reported, as followers do.
    Report,
}

/// How a writer ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    Close,
    Kill,
    PowerCut(u64),
}

/// A name that a person gives to a segment.
#[derive(Debug, Clone, Copy)]
pub enum NewName {
    OtherDay(i32),
    OtherBase(i64),
    AfterAll(u64),
}

/// Where a file comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// Another branch or another journal.
    Other(u64),
    /// An older state of this one.
    State(u64),
}

/// What a person does to the files. Numbers pick from what is there.
#[derive(Debug, Clone)]
pub enum Mishap {
    Copy {
        file: u64,
        name: NewName,
    },
    Rename {
        file: u64,
        name: NewName,
    },
    Delete {
        file: u64,
    },
    /// A misnamed segment gets its name back.
    PutBack {
        file: u64,
    },
    Swap {
        one: u64,
        two: u64,
    },
    Bring {
        from: Source,
        file: u64,
        overwrite: bool,
        name: Option<NewName>,
    },
    /// All segments of another directory.
    BringAll {
        from: Source,
        overwrite: bool,
    },
    Truncate {
        file: u64,
        len: usize,
    },
    Empty {
        name: NewName,
    },
    /// `None` deletes it.
    Marker(Option<Source>),
    Identity(Option<Source>),
    /// The directory as it was, or as another one is: segments, the marker, the identity; in place, or after `rm -r`.
    Restore {
        from: Source,
        clear: bool,
        marker: bool,
        identity: bool,
    },
}

/// The steps of the case with this seed.
pub fn draw(random: &mut Random) -> Vec<Op> {
    let mut ops = vec![Op::Append { records: 2, size: 50, keyed: true, durable: true }];
    for _ in 0..8 + random.below(10) {
        ops.push(history(random));
    }
    for _ in 0..1 + random.below(4) {
        let (beside, end) = (random.once_in(3), draw_end(random));
        ops.push(Op::Accident { beside, end, mishap: mishap(random) });
        if random.once_in(5) {
            ops.push(Op::Accident { beside, end, mishap: mishap(random) });
        }
        match random.below(10) {
            0..=1 => ops.push(Op::Repair),
            2..=3 => ops.push(crash(random)),
            4 => ops.push(Op::Report),
            _ => {}
        }
        for _ in 0..1 + random.below(5) {
            ops.push(history(random));
        }
    }
    ops.push(Op::Repair);
    ops.push(Op::Append { records: 1, size: 10, keyed: false, durable: true });
    ops.push(Op::End(End::Close));
    ops
}

fn history(random: &mut Random) -> Op {
    match random.below(32) {
        0..=5 => Op::Append {
            records: 1 + random.below(4) as usize,
            size: random.below(300) as usize,
            keyed: random.once_in(2),
            durable: !random.once_in(4),
        },
        6..=9 => Op::Fill(2 + random.below(8) as usize),
        10 => Op::Repeat(random.bits()),
        11 => Op::Sync,
        12..=14 => Op::Days(1 + random.below(2)),
        15..=16 => Op::Prune(random.below(4) as i32),
        17..=20 => Op::End(draw_end(random)),
        21..=22 => Op::Remember,
        23 => Op::Read(random.bits()),
        24..=26 => {
            Op::Fork { split: random.once_in(3).then(|| random.bits()), seed: random.bits() }
        }
        27 => Op::Backup { seed: random.bits() },
        _ => Op::Elsewhere { which: random.bits(), seed: random.bits() },
    }
}

fn crash(random: &mut Random) -> Op {
    let (operations, seed) = (random.below(30), random.bits());
    Op::Crash { repairs: random.once_in(2), operations, seed }
}

fn draw_end(random: &mut Random) -> End {
    match random.below(3) {
        0 => End::Close,
        1 => End::Kill,
        _ => End::PowerCut(random.bits()),
    }
}

fn new_name(random: &mut Random) -> NewName {
    match random.below(4) {
        0..=1 => {
            NewName::OtherDay(if random.once_in(2) { 1 } else { -1 } * (1 + random.below(9) as i32))
        }
        2 => NewName::OtherBase(random.below(20).cast_signed() - 10),
        _ => NewName::AfterAll(random.below(3)),
    }
}

fn source(random: &mut Random) -> Source {
    if random.once_in(3) { Source::State(random.bits()) } else { Source::Other(random.bits()) }
}

fn mishap(random: &mut Random) -> Mishap {
    let (file, from) = (random.bits(), source(random));
    match random.below(23) {
        0..=2 => Mishap::Copy { file, name: new_name(random) },
        3..=4 => Mishap::Rename { file, name: new_name(random) },
        5..=6 => Mishap::Delete { file },
        7 => Mishap::Swap { one: file, two: random.bits() },
        8..=11 => Mishap::Bring {
            from,
            file,
            overwrite: random.once_in(2),
            name: random.once_in(5).then(|| new_name(random)),
        },
        12 => Mishap::BringAll { from, overwrite: random.once_in(2) },
        13..=14 => {
            let len = [0, 100, 4096, 8192, 8200, 12_288, 13_000, 20_480][random.below(8) as usize];
            Mishap::Truncate { file, len }
        }
        15 => Mishap::Empty { name: new_name(random) },
        16..=17 => Mishap::Marker((!random.once_in(3)).then_some(from)),
        18 => Mishap::PutBack { file },
        19 => Mishap::Identity((!random.once_in(3)).then_some(from)),
        _ => Mishap::Restore {
            from,
            clear: random.once_in(2),
            marker: !random.once_in(4),
            identity: random.once_in(2),
        },
    }
}
