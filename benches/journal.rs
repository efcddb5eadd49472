//! The journal beside a raw write + fdatasync loop on the same file system, in one run: judge the ratios.
//!
//! `LENSLOG_BENCH_DIR` names the directory to work in; the system's temporary one otherwise.

#![expect(clippy::expect_used, reason = "a bench ends where anything fails")]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lenslog_journal::{Entry, Journal, Kind, NewRecord, Options, ReaderOptions, Seq};

const PAYLOAD: [u8; 600] = [0x5a; 600];
const BLOCK: u64 = 4096;

fn directory() -> tempfile::TempDir {
    let parent =
        std::env::var_os("LENSLOG_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(parent).expect("a directory to work in")
}

fn record() -> NewRecord<'static> {
    NewRecord::new(Kind(1), 1, &PAYLOAD)
}

/// A preallocated file that is overwritten a block at a time: what no journal can beat.
struct Raw {
    file: File,
    next: AtomicU64,
    _directory: tempfile::TempDir,
}

impl Raw {
    fn new() -> Self {
        let directory = directory();
        let path = directory.path().join("raw");
        let file = File::options().create(true).read(true).write(true).truncate(true).open(path);
        let file = file.expect("a file");
        let zeros = vec![0; 1 << 20];
        for chunk in 0..64 {
            file.write_all_at(&zeros, chunk << 20).expect("room for 64 MiB");
        }
        file.sync_all().expect("a sync");
        Self { file, next: AtomicU64::new(0), _directory: directory }
    }

    fn append(&self, bytes: &[u8]) {
        let blocks = (bytes.len() as u64).div_ceil(BLOCK);
        let at = self.next.fetch_add(blocks, Ordering::Relaxed) % (64 << 20 >> 12);
        self.file.write_all_at(bytes, at * BLOCK).expect("a write");
        self.file.sync_data().expect("a sync");
    }
}

/// Time for `count` calls of `work` shared by `threads` threads.
fn shared(threads: u64, count: u64, work: impl Fn() + Sync) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (work, share) = (&work, count / threads + u64::from(thread < count % threads));
            scope.spawn(move || (0..share).for_each(|_| work()));
        }
    });
    started.elapsed()
}

fn durable(criterion: &mut Criterion) {
    for threads in [1, 8, 64] {
        let mut group =
            criterion.benchmark_group(format!("durable append of 600 bytes, {threads} threads"));
        group.throughput(Throughput::Elements(1)).sample_size(10);
        let raw = Raw::new();
        let mut block = [0; BLOCK as usize];
        block[..PAYLOAD.len()].copy_from_slice(&PAYLOAD);
        group.bench_function("raw write + fdatasync", |bencher| {
            bencher.iter_custom(|count| shared(threads, count, || raw.append(&block)));
        });
        let directory = directory();
        let journal = Journal::open(directory.path(), &Options::default()).expect("a journal");
        group.bench_function("journal", |bencher| {
            bencher.iter_custom(|count| {
                shared(threads, count, || {
                    let _ = journal.append(&[record()]).expect("an append");
                })
            });
        });
        group.finish();
    }
}

fn bulk(criterion: &mut Criterion) {
    const BATCH: u64 = 1000;
    let mut group = criterion.benchmark_group("bulk, a sync per 1,000 records of 600 bytes");
    group.throughput(Throughput::Elements(BATCH)).sample_size(10);
    let raw = Raw::new();
    let bytes = PAYLOAD.repeat(BATCH as usize);
    group.bench_function("raw write + fdatasync", |bencher| bencher.iter(|| raw.append(&bytes)));
    let directory = directory();
    let journal = Journal::open(directory.path(), &Options::default()).expect("a journal");
    let records = vec![record(); BATCH as usize];
    group.bench_function("journal, all in one call", |bencher| {
        bencher.iter(|| black_box(journal.append_each(&records)));
    });
    group.bench_function("journal, a call each", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                let _ = journal.append_unsynced(&[record()]).expect("an append");
            }
            journal.sync().expect("a sync");
        });
    });
    group.finish();
}

fn scan(criterion: &mut Criterion) {
    const RECORDS: u64 = 200_000;
    let directory = directory();
    let journal = Journal::open(directory.path(), &Options::default()).expect("a journal");
    for _ in 0..RECORDS {
        let _ = journal.append_unsynced(&[record()]).expect("an append");
    }
    journal.sync().expect("a sync");
    let mut group = criterion.benchmark_group("verified scan of 200,000 records of 600 bytes");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(10);
    let raw = Raw::new();
    group.bench_function("raw read with CRC", |bencher| {
        let mut buffer = vec![0; 256 << 10];
        bencher.iter(|| {
            let mut crc = crc32fast::Hasher::new();
            let bytes = RECORDS * 672;
            for at in (0..bytes).step_by(buffer.len()) {
                raw.file.read_at(&mut buffer, at % (63 << 20)).expect("a read");
                crc.update(&buffer);
            }
            black_box(crc.finalize())
        });
    });
    for (name, options) in
        [("pread", ReaderOptions::default()), ("mapped", ReaderOptions::default().map_sealed())]
    {
        group.bench_function(format!("journal, {name}"), |bencher| {
            bencher.iter(|| {
                let mut reader =
                    journal.view().reader(Seq::FIRST, options.clone()).expect("a reader");
                let mut count = 0_u64;
                while let Some(Entry::Record(record)) = reader.next().expect("a record") {
                    count += 1;
                    black_box(record.payload);
                }
                assert_eq!(count, RECORDS);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, durable, bulk, scan);
criterion_main!(benches);
