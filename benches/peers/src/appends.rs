//! W1: durable appends by several threads, in batches; with and without a condition that only concerns what is new.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Scale;
use crate::event::{Event, Filter, own_tag};
use crate::stores::{ALL, Kind, Store, open};
use crate::table::Output;

const SHAPES: [(u64, u64); 9] =
    [(1, 1), (16, 1), (64, 1), (1, 64), (16, 64), (64, 64), (1, 512), (16, 512), (64, 512)];

pub fn run(scale: &Scale, output: &mut Output) -> Result<()> {
    output.line("## W1: events a second, every call durable\n");
    output.head("threads × batch", &ALL, "Lenslog / best other event store");
    for (threads, batch) in SHAPES {
        for conditional in [false, true] {
            let mut rows: Vec<Vec<f64>> = vec![Vec::new(); ALL.len()];
            for round in 0..scale.rounds {
                for turn in 0..ALL.len() {
                    // Another one begins each round.
                    let index = (turn + round) % ALL.len();
                    let directory = crate::fresh(&scale.directory)?;
                    let store = open(ALL[index], directory.path(), false)?;
                    if conditional && store.events().is_none() {
                        continue;
                    }
                    let done = appends(&*store, threads, batch, conditional, scale.time)?;
                    rows[index].push(done);
                }
            }
            let what = if conditional { ", on a condition" } else { "" };
            output.row(&format!("{threads} × {batch}{what}"), &rows, false);
        }
    }
    output.line("");
    Ok(())
}

/// Events a second.
fn appends(
    store: &dyn Store,
    threads: u64,
    batch: u64,
    conditional: bool,
    time: Duration,
) -> Result<f64> {
    let done = AtomicU64::new(0);
    let begun = Instant::now();
    in_threads(threads, |thread| {
        let mut number = thread << 40;
        while begun.elapsed() < time {
            append(store, &Event::range(number, batch), number, conditional)?;
            number += batch;
            done.fetch_add(batch, Ordering::Relaxed);
        }
        Ok(())
    })?;
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

fn append(store: &dyn Store, events: &[Event], number: u64, conditional: bool) -> Result<()> {
    if !conditional {
        return store.append(events);
    }
    let store = store.events().context("the store has no conditions")?;
    let head = store.head()?;
    anyhow::ensure!(
        store.append_unless(events, &Filter::tag(own_tag(number)), head)?,
        "a conflict"
    );
    Ok(())
}

/// Runs threads to their end; the first error is returned.
pub fn in_threads(threads: u64, run: impl Fn(u64) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let run = &run;
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        all.into_iter()
            .map(|thread| thread.join().ok().context("a thread panicked")?)
            .collect::<Result<()>>()
    })
}

/// Appends events as many callers do, each by itself; SQLite, which shares no sync, in batches.
pub fn fill(kind: Kind, directory: &Path, size: u64) -> Result<()> {
    let store = open(kind, directory, false)?;
    let (threads, batch) = if kind == Kind::Sqlite { (1, 512) } else { (64, 1) };
    let next = AtomicU64::new(0);
    in_threads(threads, |_| {
        loop {
            let number = next.fetch_add(batch, Ordering::Relaxed);
            if number >= size {
                return Ok(());
            }
            store.append(&Event::range(number, batch.min(size - number)))?;
        }
    })
}
