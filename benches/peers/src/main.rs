//! The journal beside other embedded event stores: the same work, the same device, in turns.
//!
//! `cargo run --release --ignore-rust-version --manifest-path benches/peers/Cargo.toml -- [--quick] [--directory DIR]`

mod stores;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use stores::{Kind, Store, open};

/// Bytes of an event.
pub const PAYLOAD: [u8; 256] = [7; 256];

/// How much is measured.
struct Scale {
    rounds: usize,
    /// Time of one cell of W1.
    time: Duration,
    /// Events of W2 and W9.
    sizes: Vec<u64>,
    directory: PathBuf,
}

/// The tags of an event: one of 10,000, and one of its own.
pub fn tags_of(number: u64) -> [String; 2] {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    [format!("account:{}", mixed % 10_000), format!("id:{mixed:016x}{number:016x}")]
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut quick, mut directory) = (false, std::env::temp_dir());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--directory" => directory = arguments.next().map(PathBuf::from).unwrap_or(directory),
            other => anyhow::bail!("{other}: unknown; use --quick or --directory DIR"),
        }
    }
    let scale = Scale {
        rounds: if quick { 3 } else { 7 },
        time: Duration::from_millis(if quick { 400 } else { 2000 }),
        sizes: if quick { vec![100_000] } else { vec![100_000, 1_000_000] },
        directory,
    };
    println!("Directory: {}\n", scale.directory.display());
    w1(&scale)?;
    w2_and_w9(&scale)
}

fn fresh(parent: &Path) -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("peers").tempdir_in(parent)?)
}

/// W1: durable appends by several threads, in batches; with and without a condition that only concerns what is new.
fn w1(scale: &Scale) -> Result<()> {
    println!("## W1: events a second, every call durable\n");
    print_head("threads × batch");
    for (threads, batch, conditional) in [
        (1, 1, false),
        (1, 1, true),
        (16, 1, false),
        (16, 1, true),
        (64, 1, false),
        (64, 1, true),
        (1, 64, false),
        (1, 512, false),
        (16, 64, false),
    ] {
        let mut rows: Vec<Vec<f64>> = vec![Vec::new(); Kind::ALL.len()];
        for round in 0..scale.rounds {
            for turn in 0..Kind::ALL.len() {
                // Another one begins each round.
                let index = (turn + round) % Kind::ALL.len();
                let directory = fresh(&scale.directory)?;
                let store = open(Kind::ALL[index], directory.path())?;
                rows[index].push(appends(&*store, threads, batch, conditional, scale.time));
            }
        }
        let what = if conditional { ", append_if" } else { "" };
        print_row(&format!("{threads} × {batch}{what}"), &rows);
    }
    println!();
    Ok(())
}

fn appends(store: &dyn Store, threads: u64, batch: u64, conditional: bool, time: Duration) -> f64 {
    let done = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let done = &done;
            scope.spawn(move || {
                let mut number = thread << 40;
                while begun.elapsed() < time {
                    store.append(number, batch, conditional).expect("an append");
                    number += batch;
                    done.fetch_add(batch, Ordering::Relaxed);
                }
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Appends events as many callers do: each by itself, many at once. SQLite, which does not share syncs, in batches.
fn fill(store: &dyn Store, kind: Kind, size: u64) {
    let (threads, batch) = if kind == Kind::Sqlite { (1, 512) } else { (64, 1) };
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(batch, Ordering::Relaxed);
                    if number >= size {
                        return;
                    }
                    store.append(number, batch.min(size - number), false).expect("an append");
                }
            });
        }
    });
}

/// W2: a condition on a tag that no event has, over everything. W9: opening. W7: an entity of some events.
fn w2_and_w9(scale: &Scale) -> Result<()> {
    for size in &scale.sizes {
        let mut guards: Vec<Vec<f64>> = vec![Vec::new(); Kind::ALL.len()];
        let mut opens = guards.clone();
        let mut entities = guards.clone();
        for (index, kind) in Kind::ALL.iter().enumerate() {
            let directory = fresh(&scale.directory)?;
            let store = open(*kind, directory.path())?;
            fill(&*store, *kind, *size);
            drop(store);
            for round in 0..scale.rounds as u64 {
                let begun = Instant::now();
                let store = open(*kind, directory.path())?;
                opens[index].push(begun.elapsed().as_secs_f64() * 1e3);
                store.append_unique(size + 1000 * round)?;
                let begun = Instant::now();
                for number in 1..=50 {
                    store.append_unique(size + 1000 * round + number)?;
                }
                guards[index].push(50.0 / begun.elapsed().as_secs_f64());
                let begun = Instant::now();
                let mut found = 0;
                for number in 0..20 {
                    found += store.entity(&tags_of(number)[0])?;
                }
                assert!(found >= 20, "{found} events");
                entities[index].push(20.0 / begun.elapsed().as_secs_f64());
            }
        }
        println!("## {size} events\n");
        print_head("work");
        print_row("W2: guarded appends a second, the tag is new", &guards);
        print_row("W7: entities read a second, warm", &entities);
        print_row("W9: milliseconds to open (less is better)", &opens);
        println!();
    }
    Ok(())
}

fn print_head(what: &str) {
    let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    println!("| {what} | {} | Lenslog / best other |", names.join(" | "));
    println!("|---|{}---|", "---|".repeat(names.len()));
}

/// Medians with their quartiles.
fn print_row(what: &str, rows: &[Vec<f64>]) {
    let quartiles: Vec<[f64; 3]> = rows
        .iter()
        .map(|row| {
            let mut row = row.clone();
            row.sort_by(f64::total_cmp);
            [1, 2, 3].map(|part| row[(row.len() - 1) * part / 4])
        })
        .collect();
    let cells: Vec<_> = quartiles
        .iter()
        .map(|[low, median, high]| format!("{median:.0} ({low:.0}–{high:.0})"))
        .collect();
    let others = quartiles.iter().skip(1).map(|[_, median, _]| *median);
    let less_is_better = what.contains("less is better");
    let best = match less_is_better {
        true => others.fold(f64::MAX, f64::min),
        false => others.fold(0.0, f64::max),
    };
    println!("| {what} | {} | {:.2} |", cells.join(" | "), quartiles[0][1] / best);
}
