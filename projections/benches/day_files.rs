//! Speed of a rebuild of the text files, compared with reading the same records.
//!
//! `to /dev/null` reads, decodes and renders the same journal and writes the lines to `/dev/null`: what a rebuild cannot
//! be faster than. `rendered only` leaves out the reading and the decoding.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lenslog_engine::{Fact, Projection, RebuildOptions, Recorded, rebuild, verify};
use lenslog_events::{Event, RecorderCodec, render_event, testing};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Entry, Journal, JournalView, Options, ReaderOptions, Seq};
use lenslog_projections::jsonl::jsonl;
use lenslog_projections::plaintext::plaintext;

const EVENTS: usize = 100_000;
const LOG: &str = "data/events/2026-11-23/events.json";
/// Bytes collected before they are written, as a rebuild does.
const BUFFER_BYTES: usize = 64 << 10;

fn journal(directory: &Path) -> Journal {
    let journal =
        Journal::open(directory, &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    for event in testing::sample(EVENTS) {
        let encoded = RecorderCodec::encode(&event);
        let _ = journal
            .append_unsynced(&[encoded.as_record()])
            .unwrap_or_else(|error| panic!("{error}"));
    }
    journal.sync().unwrap_or_else(|error| panic!("{error}"));
    journal
}

/// Reads and decodes everything.
fn records(view: &JournalView, mut each: impl FnMut(&Recorded<Event>)) {
    let mut reader =
        view.reader(Seq::FIRST, ReaderOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    while let Ok(Some(Entry::Record(record))) = reader.next() {
        each(&Recorded::decode::<RecorderCodec>(&record));
    }
}

fn line(out: &mut Vec<u8>, record: &Recorded<Event>, sink: &mut File) {
    if let Fact::Event(Event::Detected(event)) = &record.fact {
        render_event(out, event, record.seq, LOG);
        out.push(b'\n');
    }
    if out.len() >= BUFFER_BYTES {
        sink.write_all(out).unwrap_or_else(|error| panic!("{error}"));
        out.clear();
    }
}

fn day_files(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let journal = journal(directory.path());
    let view = journal.view();
    let mut sink = File::create("/dev/null").unwrap_or_else(|error| panic!("{error}"));
    let mut group = criterion.benchmark_group("day_files");
    group.sample_size(10).throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("jsonl to /dev/null", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::new();
            records(&view, |record| line(&mut out, record, &mut sink));
        });
    });
    let mut all = Vec::new();
    records(&view, |record| all.push(record.clone()));
    group.bench_function("jsonl rendered only", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::new();
            all.iter().for_each(|record| line(&mut out, record, &mut sink));
        });
    });
    drop(all);
    let make: [(&str, Box<dyn Projection<RecorderCodec>>); 2] = [
        ("jsonl", Box::new(jsonl(Arc::new(RealStorage), directory.path()))),
        ("plaintext", Box::new(plaintext(Arc::new(RealStorage), directory.path(), false))),
    ];
    for (name, mut projection) in make {
        group.bench_function(format!("{name} rebuilt"), |bencher| {
            bencher.iter(|| {
                let options = RebuildOptions::default();
                rebuild(&mut *projection, &view, &options, &mut |_| true)
                    .unwrap_or_else(|error| panic!("{error}"))
            });
        });
        group.bench_function(format!("{name} verified"), |bencher| {
            bencher.iter(|| {
                let options = ReaderOptions::default();
                let report = verify(&view, &[&*projection], options, &mut |_| true);
                assert!(!report.unwrap_or_else(|error| panic!("{error}")).differs());
            });
        });
    }
    group.finish();
    black_box(sink);
}

criterion_group!(benches, day_files);
criterion_main!(benches);
