//! The disk has no room at the k-th thing that needs some, for every k: nothing acknowledged is lost, nothing hangs, and
//! everything catches up once there is room, without a restart.
//!
//! The programs run with `no_room.c` between them and the C library. CI tries a spread of moments;
//! `LENSLOG_NO_ROOM=all` tries every one (about ten minutes), `LENSLOG_NO_ROOM=17` the seventeenth only.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Ran, Recording, TestEnv, lacks, lines};

/// Moments that CI tries of each kind of fullness.
const MOMENTS: u64 = 10;
/// A program that takes longer to end hangs: draining takes 10 seconds at most.
const END_MAX: Duration = Duration::from_secs(20);

/// The library, built once for all tests of this process.
fn library() -> Option<&'static Path> {
    static BUILT: std::sync::OnceLock<Option<(tempfile::TempDir, PathBuf)>> =
        std::sync::OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("no_room.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/no_room.c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        let output = compile.output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some((directory, library))
    });
    let library = built.as_ref().map(|(_, library)| library.as_path());
    (!lacks("cc", library.is_some())).then_some(library).flatten()
}

/// How the disk is full.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Full {
    /// From a moment on.
    From(u64),
    /// From a moment on, also where something is overwritten: as on btrfs.
    FromEvenOverwriting(u64),
    /// From a moment on, by a quota: as where a file system writes elsewhere than over what it has.
    Quota(u64),
    /// At one moment only.
    Once(u64),
    Never,
}

/// A disk that is full on request.
struct Disk(File);

impl Disk {
    fn new(path: &Path, full: Full) -> Self {
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        let (from, until, overwriting) = match full {
            Full::From(from) => (from, u64::MAX, 0),
            Full::FromEvenOverwriting(from) | Full::Quota(from) => (from, u64::MAX, 1),
            Full::Once(at) => (at, at + 1, 0),
            Full::Never => (u64::MAX, u64::MAX, 0),
        };
        let error = match full {
            Full::Quota(_) => rustix::io::Errno::DQUOT.raw_os_error() as u64,
            _ => 0,
        };
        for (place, number) in [0, from, until, 0, overwriting, error].into_iter().enumerate() {
            file.write_all_at(&u64::to_ne_bytes(number), place as u64 * 8).unwrap();
        }
        Self(file)
    }

    fn number(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, place * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// How often room was needed.
    fn counted(&self) -> u64 {
        self.number(0)
    }

    fn make_room(&self) {
        self.0.write_all_at(&[0; 8], 16).unwrap();
    }

    /// Whether it was full for anybody.
    fn was_full(&self) -> bool {
        self.number(3) > 0
    }
}

/// One run of the programs on such a disk.
struct Run {
    env: TestEnv,
    disk: Disk,
    full: Full,
    library: &'static Path,
}

/// How a recorder has started.
enum Started {
    Records(Recording),
    Ended(Ran),
}

impl Run {
    fn new(library: &'static Path, full: Full) -> Self {
        let env = TestEnv::new();
        let disk = Disk::new(&env.path("control"), full);
        fs::create_dir(env.path("pictures")).unwrap();
        Self { env, disk, full, library }
    }

    /// Starts a recorder on the disk.
    fn start(&self) -> Started {
        let source = format!("dir:{}", self.env.path("pictures").display());
        let mut command = self.env.command(&["record", "--source", &source]);
        command.env("LD_PRELOAD", self.library);
        command.env("NO_ROOM_CONTROL", self.env.path("control"));
        command.env("NO_ROOM_BELOW", &self.env.data);
        command.env("RUST_BACKTRACE", "0");
        Recording::begin(&mut command).map_or_else(Started::Ended, Started::Records)
    }

    /// Starts a recorder, if need be once there is room.
    fn recording(&self) -> Recording {
        match self.start() {
            Started::Records(recording) => recording,
            Started::Ended(ran) => {
                assert!(self.disk.was_full(), "{}", ran.err);
                assert_eq!(ran.code, Some(3), "{:?}: {}", self.full, ran.err);
                let text = match self.full {
                    Full::Quota(_) => "quota exceeded",
                    _ => "No space left on device",
                };
                assert!(ran.err.contains(text), "{}", ran.err);
                self.disk.make_room();
                match self.start() {
                    Started::Records(recording) => recording,
                    Started::Ended(ran) => panic!("{:?}: {}", self.full, ran.err),
                }
            }
        }
    }

    /// Puts a picture where the recorder finds it.
    fn picture(&self, name: &str) {
        let whole = self.env.path(name);
        let picture = image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8, y as u8, 9]));
        picture.save(&whole).unwrap();
        fs::rename(&whole, self.env.path("pictures").join(name)).unwrap();
    }

    /// Ingests, and adds what was acknowledged to `acknowledged`; nothing may be acknowledged twice in two ways.
    fn ingest(
        &self,
        acknowledged: &mut BTreeMap<String, u64>,
        range: std::ops::Range<usize>,
    ) -> Ran {
        let begun = Instant::now();
        let ran = self.env.feed(&["ingest", "--ack"], (lines(range).join("\n") + "\n").as_bytes());
        assert!(begun.elapsed() < END_MAX, "{:?}: it hangs", self.full);
        assert!(matches!(ran.code, Some(0 | 1 | 3)), "{:?}: {:?} {}", self.full, ran.code, ran.err);
        for line in ran.out.lines() {
            let (id, seq) = line.split_once('\t').unwrap();
            let seq = seq.parse().unwrap();
            let known = *acknowledged.entry(id.to_owned()).or_insert(seq);
            assert_eq!(known, seq, "{:?}: {id}", self.full);
        }
        ran
    }

    /// Everything acknowledged is there once, and so is the picture's event.
    fn assert_whole(&self, acknowledged: &BTreeMap<String, u64>, pictures: usize) {
        let context = format!("{:?}", self.full);
        let journal = self.env.journal();
        for (id, seq) in acknowledged {
            assert_eq!(journal[seq]["record"]["event_id"], id.as_str(), "{context}");
        }
        let ids = self.env.journaled_ids();
        let of_camera = ids.iter().filter(|id| id.starts_with("evt_")).count();
        assert_eq!(of_camera, pictures, "{context}: {ids:?}");
        assert_eq!(ids.len(), acknowledged.len() + pictures, "{context}: {ids:?}");
        let projected = self.env.projected();
        assert_eq!(projected.row_ids(), ids, "{context}");
        let mut in_files = projected.json_ids();
        let mut sorted = ids;
        sorted.sort();
        in_files.sort();
        assert_eq!(in_files, sorted, "{context}");
    }
}

/// Room is needed, there is none, and then there is: all of it while one recorder runs.
fn room_is_made_while_it_runs(library: &'static Path, full: Full) -> u64 {
    let run = Run::new(library, full);
    let mut acknowledged = BTreeMap::new();
    let recording = run.recording();
    // A socket needs room too: without one no request is possible.
    if !run.env.data.join("control.sock").exists() {
        run.disk.make_room();
    }
    run.env.until_cameras_are_up();
    run.picture("one.jpg");
    run.ingest(&mut acknowledged, 0..6);
    run.env.until("the picture is taken", || {
        (run.env.status()["counters"]["frames"] == 1).then_some(())
    });
    run.disk.make_room();
    run.env.until("all is taken once there is room", || {
        (run.ingest(&mut acknowledged, 0..12).code == Some(0)).then_some(())
    });
    run.env.until("every projection has caught up", || {
        (run.env.journaled_ids().len() == 13).then_some(())?;
        let status = run.env.status();
        let mut lags = status["projections"].as_array()?.iter();
        lags.all(|projection| projection["lag_records"] == 0).then_some(())
    });
    run.env.until("it is verified beside the recorder", || {
        (run.env.run(&["replay", "verify"]).code == Some(0)).then_some(())
    });
    run.assert_whole(&acknowledged, 1);
    let ran = recording.stop().expect(0);
    assert!(!ran.err.contains("panicked"), "{full:?}: {}", ran.err);
    run.env.verify();
    run.disk.counted()
}

/// There is no room until the end: it ends in good order, and the next start has everything.
fn there_is_no_room_to_the_end(library: &'static Path, full: Full) -> u64 {
    let run = Run::new(library, full);
    let mut acknowledged = BTreeMap::new();
    let recording = run.recording();
    run.ingest(&mut acknowledged, 0..6);
    let begun = Instant::now();
    let ran = recording.stop();
    let counted = run.disk.counted();
    assert!(begun.elapsed() < END_MAX, "{full:?}: it hangs");
    assert!(matches!(ran.code, Some(0 | 1 | 3)), "{full:?}: {:?} {}", ran.code, ran.err);
    assert!(!ran.err.contains("panicked"), "{full:?}: {}", ran.err);
    run.disk.make_room();
    run.ingest(&mut acknowledged, 0..12).expect(0);
    run.assert_whole(&acknowledged, 0);
    run.env.verify();
    counted
}

/// Tries moments, several at a time; `kind` makes a fullness of each.
fn try_moments(of: fn(&'static Path, Full) -> u64, kind: fn(u64) -> Full) {
    let Some(library) = library() else { return };
    let count = of(library, Full::Never);
    let chosen = std::env::var("LENSLOG_NO_ROOM").unwrap_or_default();
    let moments: Vec<u64> = match (chosen.as_str(), chosen.parse()) {
        ("all", _) => (0..count).collect(),
        (_, Ok(moment)) => vec![moment],
        // The same ones each time, from the first to the last.
        _ => (0..MOMENTS).map(|part| part * (count - 1) / (MOMENTS - 1)).collect(),
    };
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(moment) = moments.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    let caught = std::panic::catch_unwind(|| of(library, kind(*moment)));
                    if let Err(panic) = caught {
                        eprintln!("it was {:?}", kind(*moment));
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
    println!("{} of {count} moments", moments.len());
}

#[test]
fn a_disk_that_runs_full_at_any_moment_and_has_room_again() {
    try_moments(room_is_made_while_it_runs, Full::From);
}

#[test]
fn a_disk_that_runs_full_at_any_moment_even_for_what_is_overwritten() {
    try_moments(room_is_made_while_it_runs, Full::FromEvenOverwriting);
}

#[test]
fn a_disk_that_has_no_room_for_one_moment() {
    try_moments(room_is_made_while_it_runs, Full::Once);
}

#[test]
fn a_disk_that_runs_full_at_any_moment_and_stays_so() {
    try_moments(there_is_no_room_to_the_end, Full::From);
}

#[test]
fn a_quota_that_is_reached_at_any_moment_and_stays_so() {
    try_moments(there_is_no_room_to_the_end, Full::Quota);
}
