//! The worker: a process of this program that loads a model and is asked what is in pictures, until its standard input
//! ends.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::DetectorError;
use super::session::{Backend, ModelSession};
use super::wire::{Hello, ModelReport, Reply};
use lenslog_vision::detection::{Layout, PADDING_LEVEL, decode, keep_best};

/// How much less urgent it is than the recorder, which must not miss a frame because of it.
const NICENESS: i32 = 5;

/// How often it looks whether the recorder is still there.
const PARENT_CHECK: Duration = Duration::from_secs(1);

/// Where memory runs out, the kernel is to end this process and not the recorder.
const OUT_OF_MEMORY_SCORE: &str = "500";

/// Runs a worker on standard input and output. Returns when the recorder is gone.
///
/// # Errors
///
/// Those of reading and writing.
pub fn run(
    model: &Path,
    layout: Option<Layout>,
    onnxruntime: Option<&Path>,
    confidence_min: f64,
) -> io::Result<()> {
    step_back();
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut session = match load(model, layout, onnxruntime) {
        Ok((session, report)) => {
            say(&mut output, &Hello::Ok(report))?;
            session
        }
        Err(error) => return say(&mut output, &Hello::Err(error)),
    };
    let mut canvas = vec![0; session.shape().picture_bytes()];
    while !input.fill_buf()?.is_empty() {
        input.read_exact(&mut canvas)?;
        let start = Instant::now();
        let read = |shape: &_, numbers: &_| {
            let inference = start.elapsed();
            (inference, keep_best(decode(shape, numbers, confidence_min)))
        };
        let looked = session.look(&canvas, read);
        let inference =
            looked.as_ref().map_or_else(|_| start.elapsed(), |(inference, _)| *inference);
        let candidates = looked.map(|(_, candidates)| candidates);
        say(&mut output, &Reply { candidates, inference_ms: inference.as_secs_f64() * 1e3 })?;
    }
    Ok(())
}

/// Leaves the machine to the recorder, and does not outlive it.
fn step_back() {
    // Each of them is a courtesy: without it the worker works all the same.
    let _ = rustix::process::nice(NICENESS);
    let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    // A service manager ends all processes of a service at once. The recorder, which is asked too, still waits for
    // an answer, and would take this one for broken.
    for signal in [SIGINT, SIGTERM] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    let parent = rustix::process::getppid();
    // A recorder that was killed closes the pipe, which a model that never returns would not notice.
    let watch = move || {
        while rustix::process::getppid() == parent {
            std::thread::sleep(PARENT_CHECK);
        }
        std::process::exit(0);
    };
    let _ = std::thread::Builder::new().name("watch the recorder".to_owned()).spawn(watch);
}

fn load(
    model: &Path,
    layout: Option<Layout>,
    onnxruntime: Option<&Path>,
) -> Result<(ModelSession, ModelReport), DetectorError> {
    let start = Instant::now();
    let backend = Backend::choose(onnxruntime)?;
    let mut session = ModelSession::load(&backend, model, layout)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    // A first picture shows whether the model works, and what is prepared late is prepared now.
    let start = Instant::now();
    let grey = vec![PADDING_LEVEL; session.shape().picture_bytes()];
    let first = session.look(&grey, |_, _| ());
    first
        .map_err(|problem| DetectorError::refused(model, format!("it does not work: {problem}")))?;
    let first_ms = start.elapsed().as_secs_f64() * 1e3;
    let shape = session.shape();
    let report = ModelReport {
        backend: backend.name,
        model: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        layout: shape.layout.name().to_owned(),
        width: shape.width,
        height: shape.height,
        anchors: shape.anchors,
        classes: shape.classes,
        load_ms,
        first_ms,
    };
    Ok((session, report))
}

fn say(output: &mut impl Write, what: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
