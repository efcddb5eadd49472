//! `lenslog model check`: what a model is, and how long a picture takes.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use lenslog_tools::{GlobalArgs, say};

use super::quiet_configuration;
use crate::detector::{ModelCheck, check_model};
use lenslog_tools::EXIT_OK;
use lenslog_vision::detection::Layout;

/// Inspect and time a model.
#[derive(Debug, Args)]
pub(super) struct ModelCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load a model, print its shape and measure the time per picture
    Check(Check),
}

#[derive(Debug, Args)]
struct Check {
    /// The model, an ONNX file
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// The names of its classes, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Form of its input and output: yolox or yolov8 [default: the one that fits]
    #[arg(long, value_name = "LAYOUT")]
    layout: Option<Layout>,
    /// Path of libonnxruntime.so [default: detector.onnxruntime of the configuration]
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

impl ModelCommand {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let Command::Check(check) = &self.command;
        let configured = quiet_configuration(args)?.detector.onnxruntime;
        let configured = Some(configured).filter(|path| !path.as_os_str().is_empty());
        let checked = check_model(&ModelCheck {
            program: std::env::current_exe()?,
            model: check.model.clone(),
            labels: check.labels.clone(),
            layout: check.layout,
            onnxruntime: check.onnxruntime.clone().or(configured),
        })?;
        say!("{}", checked.to_string().trim_end());
        Ok(EXIT_OK)
    }
}
