//! `lenslog detector-worker`: the process in which a model runs. Only a recorder starts it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::detector::run_worker;
use lenslog_tools::EXIT_OK;
use lenslog_vision::detection::Layout;

/// Run a model for a recorder.
#[derive(Debug, Args)]
pub(super) struct DetectorWorker {
    /// The model
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Form of its input and output
    #[arg(long, value_name = "LAYOUT")]
    layout: Option<Layout>,
    /// The library that runs it
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Candidates below this confidence are not reported
    #[arg(long, value_name = "NUMBER")]
    confidence_min: f64,
}

impl DetectorWorker {
    pub(super) fn run(&self) -> Result<u8> {
        let library = self.onnxruntime.as_deref();
        run_worker(&self.model, self.layout, library, self.confidence_min)?;
        Ok(EXIT_OK)
    }
}
