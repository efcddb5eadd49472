//! How fast events become bytes and lines, and bytes and lines events.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lenslog_events::{
    Event, EventDetected, Metadata, decode, encode, parse_line, render_event, testing,
};
use lenslog_journal::{Seq, Timestamp};

const LOG: &str = "data/events/2026-11-23/events.json";
const LATE: Timestamp = Timestamp { utc_micros: i64::MAX, offset_minutes: 0 };
const EVENTS: usize = 1_000;

fn detected() -> Vec<EventDetected> {
    let only = |event| match event {
        Event::Detected(event) => Some(event),
        _ => None,
    };
    testing::sample(EVENTS).into_iter().filter_map(only).collect()
}

/// As motion alone makes them: one box, no metadata, no description.
fn small() -> Vec<EventDetected> {
    let mut events = detected();
    for event in &mut events {
        event.detected_objects.truncate(1);
        event.metadata = Metadata::new();
        event.llm_description = None;
    }
    events
}

fn rendering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render_event");
    for (name, events) in [("small", small()), ("usual", detected())] {
        group.throughput(Throughput::Elements(events.len() as u64));
        let mut line = Vec::with_capacity(64 * 1024);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for event in &events {
                    line.clear();
                    render_event(&mut line, black_box(event), Seq(7), LOG);
                    black_box(&line);
                }
            });
        });
    }
    group.finish();
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse_line");
    let rendered = |event: EventDetected| {
        let mut line = Vec::new();
        render_event(&mut line, &event, Seq(7), LOG);
        line
    };
    let lines = detected().into_iter().map(rendered).collect::<Vec<_>>();
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("usual", |bencher| {
        bencher.iter(|| {
            for line in &lines {
                black_box(parse_line(black_box(line), LATE).is_ok());
            }
        });
    });
    group.finish();
}

fn coding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("payload");
    let detected = |events: Vec<EventDetected>| events.into_iter().map(Event::Detected).collect();
    let sets: [(&str, Vec<Event>); 3] = [
        ("small", detected(small())),
        ("usual", detected(self::detected())),
        ("every kind", testing::sample(EVENTS)),
    ];
    for (name, events) in sets {
        group.throughput(Throughput::Elements(events.len() as u64));
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                for event in &events {
                    black_box(encode(black_box(event)));
                }
            });
        });
        let encoded = events.iter().map(encode).collect::<Vec<_>>();
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| {
                for event in &encoded {
                    black_box(decode(event.kind, event.version, &event.payload).is_ok());
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rendering, parsing, coding);
criterion_main!(benches);
