//! W2 to W9: what is asked of a store that holds many events. Each store is measured in a process of its own, in turns.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Scale;
use crate::appends::{fill, in_threads};
use crate::event::{Event, Filter, own_tag};
use crate::stores::{EVENT_STORES, EventStore, Kind, open};
use crate::table::Output;

/// Name, whether less is better, and the row's words.
const ROWS: [(&str, bool, &str); 18] = [
    ("unique", false, "W2: guarded appends a second, the tag is new"),
    ("kind", false, "W3: appends a second, guarded by a kind that no event has"),
    ("hot", false, "W4: appends a second, guarded by a hot kind and a new tag"),
    ("calm", true, "W5: 16 appenders, 99 % of calls within milliseconds"),
    ("beside", true, "W5: the same beside a thread of W2"),
    ("ratio", true, "W5: the second by the first"),
    ("decisions-1", false, "W6: decisions a second on one entity, 1 thread"),
    ("decisions-16", false, "W6: 16 threads"),
    ("tries-16", true, "W6: tries a decision, 16 threads"),
    ("decisions-64", false, "W6: 64 threads"),
    ("tries-64", true, "W6: tries a decision, 64 threads"),
    ("warm", false, "W7: entities read a second, warm"),
    ("cold", true, "W7: milliseconds for an entity, nothing cached"),
    ("all", false, "W8: events a second, all of them"),
    ("follow", false, "W8: 1 % of them by kind, in the events a second of all"),
    ("open", true, "W9: milliseconds to open"),
    ("after-open", true, "W9: milliseconds to open and append one guarded event"),
    ("memory", true, "resident megabytes at most, W8 and all before"),
];

pub fn run(scale: &Scale, output: &mut Output) -> Result<()> {
    for size in &scale.sizes {
        output.line(&format!("## {size} events\n"));
        output.head("work", &EVENT_STORES, "Lenslog / best other event store");
        let directory = crate::fresh(&scale.directory)?;
        let of = |kind: Kind| directory.path().join(format!("{kind:?}"));
        for kind in EVENT_STORES {
            std::fs::create_dir(of(kind))?;
            child("fill", kind, &of(kind), *size, 0)?;
        }
        let mut rows = vec![vec![Vec::new(); EVENT_STORES.len()]; ROWS.len()];
        for round in 0..scale.rounds {
            for turn in 0..EVENT_STORES.len() {
                let index = (turn + round) % EVENT_STORES.len();
                let kind = EVENT_STORES[index];
                for line in child("measure", kind, &of(kind), *size, round as u64)?.lines() {
                    let Some((name, value)) =
                        line.strip_prefix("measured ").and_then(|l| l.split_once(' '))
                    else {
                        continue;
                    };
                    let row =
                        ROWS.iter().position(|(row, ..)| *row == name).context("no such row")?;
                    rows[row][index].push(value.parse()?);
                }
            }
        }
        for ((_, less, words), row) in ROWS.iter().zip(&rows) {
            output.row(words, row, *less);
        }
        output.line("");
    }
    Ok(())
}

fn child(what: &str, kind: Kind, directory: &Path, size: u64, round: u64) -> Result<String> {
    let found = Command::new(std::env::current_exe()?)
        .args([what, kind.name()])
        .arg(directory)
        .args([size.to_string(), round.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(found.status.success(), "{what} {}: {}", kind.name(), found.status);
    Ok(String::from_utf8_lossy(&found.stdout).into_owned())
}

/// What the child does.
pub fn in_child(what: &str, kind: Kind, directory: &Path, size: u64, round: u64) -> Result<()> {
    if what == "fill" {
        return fill(kind, directory, size);
    }
    let say = |name: &str, value: f64| {
        let _ = writeln!(std::io::stdout(), "measured {name} {value}");
    };
    let fresh = AtomicU64::new(size + (round + 1) * (1 << 32));
    let next = || fresh.fetch_add(1, Ordering::Relaxed);
    let unless = |store: &dyn EventStore, filter: &dyn Fn(u64) -> Filter| -> Result<()> {
        let number = next();
        let appended = store.append_unless(&[Event::new(number)], &filter(number), 0)?;
        ensure!(appended, "a conflict with nothing");
        Ok(())
    };
    let unique = |number| Filter::tag(own_tag(number));

    let begun = Instant::now();
    let store = open(kind, directory, false)?;
    say("open", begun.elapsed().as_secs_f64() * 1e3);
    let store = store.events().context("the store finds no events")?;
    unless(store, &unique)?;
    say("after-open", begun.elapsed().as_secs_f64() * 1e3);
    let rate = |count: u64, work: &dyn Fn(u64) -> Result<()>| -> Result<f64> {
        let begun = Instant::now();
        (0..count).try_for_each(work)?;
        Ok(count as f64 / begun.elapsed().as_secs_f64())
    };
    say("unique", rate(50, &|_| unless(store, &unique))?);
    say(
        "kind",
        rate(if kind == Kind::Umadb { 3 } else { 50 }, &|_| unless(store, &|_| Filter::kind(9)))?,
    );
    let hot = |number| Filter { kind: Some(1), tags: vec![own_tag(number)] };
    say("hot", rate(50, &|_| unless(store, &hot))?);

    let calm = latency(store, &next, None)?;
    let beside = latency(store, &next, Some(&|| unless(store, &unique)))?;
    say("calm", calm);
    say("beside", beside);
    say("ratio", beside / calm);

    for threads in [1, 16, 64] {
        let (decisions, tries) = decide(store, threads, round, &next)?;
        say(&format!("decisions-{threads}"), decisions);
        if threads > 1 {
            say(&format!("tries-{threads}"), tries);
        }
    }

    let entity = |number: u64| {
        let [account, _] = Event::new(number).tags;
        let mut found = 0;
        store.read(&Filter::tag(account), 0, &mut |_| found += 1)?;
        ensure!(found > 0, "an entity without events");
        Ok(())
    };
    rate(20, &entity)?;
    say("warm", rate(20, &entity)?);
    let mut cold = Vec::new();
    for number in 100..105 {
        if drop_caches().is_ok() {
            let begun = Instant::now();
            entity(number)?;
            cold.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    cold.sort_by(f64::total_cmp);
    if let Some(median) = cold.get(cold.len() / 2) {
        say("cold", *median);
    }

    let head = store.head()?;
    let read = |filter: &Filter| -> Result<f64> {
        let begun = Instant::now();
        let mut found: u64 = 0;
        store.read(filter, 0, &mut |_| found += 1)?;
        ensure!(found > 0, "nothing was read");
        Ok(head as f64 / begun.elapsed().as_secs_f64())
    };
    say("all", read(&Filter::default())?);
    say("follow", read(&Filter::kind(2))?);
    say("memory", resident_mb()?);
    Ok(())
}

/// Milliseconds within which 99 % of the calls of 16 appenders return.
fn latency(
    store: &dyn EventStore,
    next: &(dyn Fn() -> u64 + Sync),
    beside: Option<&(dyn Fn() -> Result<()> + Sync)>,
) -> Result<f64> {
    let done = AtomicBool::new(false);
    let all = std::sync::Mutex::new(Vec::new());
    let appenders = || {
        let result = in_threads(16, |_| {
            let mut own = Vec::new();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(800) {
                let call = Instant::now();
                store.append(&[Event::new(next())])?;
                own.push(call.elapsed().as_secs_f64() * 1e3);
            }
            all.lock().ok().context("another thread panicked")?.extend(own);
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        result
    };
    std::thread::scope(|scope| {
        let other = beside.map(|beside| {
            scope.spawn(|| -> Result<()> {
                while !done.load(Ordering::Relaxed) {
                    beside()?;
                }
                Ok(())
            })
        });
        appenders()?;
        other.map_or(Ok(()), |other| other.join().ok().context("a thread panicked")?)
    })?;
    let mut all = all.into_inner().ok().context("another thread panicked")?;
    all.sort_by(f64::total_cmp);
    all.get(all.len() * 99 / 100).copied().context("no call returned")
}

/// Decisions a second on one entity, and tries for each: read what is new, append unless there is more.
fn decide(
    store: &dyn EventStore,
    threads: u64,
    round: u64,
    next: &(dyn Fn() -> u64 + Sync),
) -> Result<(f64, f64)> {
    let tag = format!("contended:{round}:{threads}");
    let filter = Filter::tag(tag.clone());
    let (decisions, tries) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    in_threads(threads, |_| {
        let mut seen = 0;
        while begun.elapsed() < Duration::from_millis(800) {
            let event = [Event::of(next(), tag.clone())];
            loop {
                seen = store.read(&filter, seen, &mut |_| ())?;
                tries.fetch_add(1, Ordering::Relaxed);
                if store.append_unless(&event, &filter, seen)? {
                    break;
                }
            }
            decisions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;
    let (decisions, tries) = (decisions.into_inner() as f64, tries.into_inner() as f64);
    Ok((decisions / begun.elapsed().as_secs_f64(), tries / decisions))
}

/// Writes everything back and drops the caches; only root may.
fn drop_caches() -> Result<()> {
    ensure!(Command::new("sync").status()?.success(), "sync failed");
    Ok(std::fs::write("/proc/sys/vm/drop_caches", "3")?)
}

fn resident_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1024.0)
}
