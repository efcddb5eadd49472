//! [`check_model`]: the shape of a model and the time per picture, to choose one by.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::DetectorError;
use super::settings::{CONFIDENCE_FLOOR, read_labels};
use super::wire::ModelReport;
use super::worker_process::{Arguments, Failure, LOADING_MAX, WorkerProcess};
use crate::util::CancellationToken;
use lenslog_vision::detection::{Layout, PADDING_LEVEL};

/// Pictures that are measured.
const MEASURED: usize = 10;

/// What is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCheck {
    /// The `lenslog` program.
    pub program: PathBuf,
    /// The model.
    pub model: PathBuf,
    /// The names of its classes; `None`: their number is not compared.
    pub labels: Option<PathBuf>,
    /// Its layout; `None`: the one that fits.
    pub layout: Option<Layout>,
    /// Path of libonnxruntime.so; `None`: the built-in tract.
    pub onnxruntime: Option<PathBuf>,
}

/// What a model is.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedModel {
    /// What was loaded.
    pub report: ModelReport,
    /// How long pictures took, in milliseconds, the shortest first.
    pub picture_ms: Vec<f64>,
    labels: Option<usize>,
}

/// Loads a model, and measures how long some pictures take.
///
/// # Errors
///
/// [`DetectorError`]: why it cannot be used.
pub fn check_model(check: &ModelCheck) -> Result<CheckedModel, DetectorError> {
    let labels = check.labels.as_deref().map(read_labels).transpose()?;
    let arguments = Arguments {
        program: &check.program,
        model: &check.model,
        layout: check.layout,
        onnxruntime: check.onnxruntime.as_ref(),
        confidence_min: CONFIDENCE_FLOOR,
    };
    let (mut worker, report) = WorkerProcess::start(arguments, &CancellationToken::new())?;
    if let (Some(labels), Some(path)) = (&labels, &check.labels) {
        report.fit(labels, path)?;
    }
    let canvas = vec![PADDING_LEVEL; report.width as usize * report.height as usize * 3];
    let mut picture_ms = Vec::with_capacity(MEASURED);
    for _ in 0..MEASURED {
        picture_ms.push(ask(&mut worker, canvas.clone(), LOADING_MAX)?);
    }
    picture_ms.sort_by(f64::total_cmp);
    Ok(CheckedModel { report, picture_ms, labels: labels.map(|labels| labels.count()) })
}

fn ask(
    worker: &mut WorkerProcess,
    canvas: Vec<u8>,
    timeout: Duration,
) -> Result<f64, DetectorError> {
    let failed = |why: &str| DetectorError::Unavailable(format!("the detector's process {why}"));
    let reply = worker.ask(canvas, timeout).map_err(|failure| match failure {
        Failure::Broken(why) => failed(&why),
        Failure::Cancelled => failed("was cancelled"),
    })?;
    reply.candidates.map(|_| reply.inference_ms).map_err(|why| failed(&format!("failed: {why}")))
}

impl fmt::Display for CheckedModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ModelReport { backend, model, layout, width, height, anchors, classes, .. } =
            &self.report;
        writeln!(formatter, "model      {model}")?;
        writeln!(formatter, "layout     {layout}, {anchors} places, {classes} classes")?;
        writeln!(formatter, "input      {width} x {height} pixels")?;
        match self.labels {
            Some(count) => writeln!(formatter, "labels     {count}, one for each class")?,
            None => writeln!(formatter, "labels     not compared; name them with --labels")?,
        }
        writeln!(formatter, "runs by    {backend}, loaded in {:.0} ms", self.report.load_ms)?;
        let at = |index: usize| self.picture_ms.get(index).copied().unwrap_or_default();
        let (middle, longest) =
            (at(self.picture_ms.len() / 2), at(self.picture_ms.len().saturating_sub(1)));
        writeln!(formatter, "a picture  {middle:.1} ms, {longest:.1} ms at most of {MEASURED}")
    }
}
