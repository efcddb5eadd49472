//! What a camera costs: the built program records for some seconds from an HTTP camera on loopback, 640×480 MJPEG at five
//! pictures a second, once of a still scene and once of a busy one. Its processor time, memory, and the time from a
//! frame to its journaled event. Run with `cargo bench --bench camera`, for longer with `LENSLOG_BENCH_SECONDS=300`.
//!
//! With `LENSLOG_BENCH_MODEL` and `LENSLOG_BENCH_LABELS` (a YOLOX model and its labels) the busy scene comes at 30 pictures
//! a second through the detector, too: what is dropped and how late it is.
#![expect(clippy::unwrap_used, reason = "a benchmark ends where anything fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lenslog_vision::drawing::{Quality, encode_jpeg};
use lenslog_vision::scene::{Scene, SceneRenderer, Walk};
use serde_json::Value;

const SECONDS: u64 = 60;
/// Different pictures of a scene, which come again and again.
const PICTURES: u64 = 150;

fn main() {
    let set = std::env::var("LENSLOG_BENCH_SECONDS").ok();
    let seconds = set.and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let still = Scene { walk: None, ..Scene::default() };
    let walk = Walk { first_frame: 0, every_frames: 50, crossing_frames: 40, pause_frames: 0 };
    let busy = Scene { walk: Some(walk), ..Scene::default() };
    println!("{seconds} s each, 640x480; one core is 100 %");
    println!(
        "scene               processor  memory   frames  dropped  events  frame to journaled p50, p99"
    );
    run("idle, 5 fps", still, 5, seconds, "");
    run("busy, 5 fps", busy.clone(), 5, seconds, "");
    let path = |name| std::env::var(name).ok();
    if let (Some(model), Some(labels)) = (path("LENSLOG_BENCH_MODEL"), path("LENSLOG_BENCH_LABELS"))
    {
        let detector = format!("[detector]\nmodel = \"{model}\"\nlabels = \"{labels}\"\n");
        run("busy, 30 fps, model", busy, 30, seconds, &detector);
    }
}

fn run(name: &str, scene: Scene, fps: u32, seconds: u64, more: &str) {
    let directory = tempfile::tempdir().unwrap();
    let address = serve(scene, fps);
    let config = directory.path().join("lenslog.toml");
    let text = format!(
        "{more}[events]\ndeduplication_window = \"2s\"\n[metrics]\nmetrics_interval = \"1s\"\n\
         [cameras.door]\nsource = \"http://{address}/\"\nfps = {fps}\n"
    );
    fs::write(&config, text).unwrap();
    let mut recorder = Command::new(env!("CARGO_BIN_EXE_lenslog"))
        .arg("--config")
        .arg(&config)
        .args(["record", "--duration", &format!("{seconds}s")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = Path::new("/proc").join(recorder.id().to_string());
    let started = Instant::now();
    let (mut ticks, mut peak_kb) = (0, 0);
    // What it used is gone with it: looked at until its end.
    while recorder.try_wait().unwrap().is_none() {
        ticks = cpu_ticks(&process).unwrap_or(ticks);
        peak_kb = peak_memory_kb(&process).unwrap_or(peak_kb);
        std::thread::sleep(Duration::from_millis(100));
    }
    let cpu = ticks as f64 / 100.0 / started.elapsed().as_secs_f64() * 100.0;
    let lines = fs::read_to_string(directory.path().join("logs/metrics.json")).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let latency = &last["frame_processing_latency_ms"];
    let count = |name: &str| last[name].as_u64().unwrap();
    // Without an event there is none.
    let milliseconds =
        |name: &str| latency[name].as_f64().map_or("–".to_owned(), |ms| ms.to_string());
    println!(
        "{name:<20}{cpu:>7.1} %{:>6} MB{:>9}{:>9}{:>8}  {} ms, {} ms",
        peak_kb / 1000,
        count("frames_processed"),
        count("frames_dropped"),
        count("events_created"),
        milliseconds("p50"),
        milliseconds("p99"),
    );
}

/// User and system time of a process, in hundredths of a second.
fn cpu_ticks(process: &Path) -> Option<u64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn peak_memory_kb(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A camera on loopback.
fn serve(scene: Scene, fps: u32) -> String {
    let renderer = SceneRenderer::new(scene);
    let picture = |number| encode_jpeg(&renderer.render(number), Quality::default()).unwrap();
    let pictures: Arc<Vec<Vec<u8>>> = Arc::new((0..PICTURES).map(picture).collect());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pictures = Arc::clone(&pictures);
            std::thread::spawn(move || send(stream, &pictures, fps));
        }
    });
    address
}

/// Sends pictures at their times until no one listens.
fn send(mut stream: TcpStream, pictures: &[Vec<u8>], fps: u32) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let started = Instant::now();
    for (number, picture) in (0..).zip(pictures.iter().cycle()) {
        let due = Duration::from_secs_f64(f64::from(number) / f64::from(fps));
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let head = format!("--cut\r\nContent-Length: {}\r\n\r\n", picture.len());
        stream.write_all(&[head.as_bytes(), picture, b"\r\n"].concat()).ok()?;
    }
    None
}
