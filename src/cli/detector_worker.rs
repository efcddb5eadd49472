//! `lenslog detector-worker`: the process in which a model runs. Only a recorder starts it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::exit::EXIT_OK;
use crate::detector::{Layout, run_worker};

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
    /// What it is less sure of is not told
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
