//! What tests of the detector need: models, settings, and what a model sees in the recorded clip.

use std::path::PathBuf;
use std::time::Duration;

use lenslog::CancellationToken;
use lenslog::{Detection, Detector, DetectorSettings};
use lenslog::{FileOptions, FileSource, Source, SourceItem};
use lenslog_journal::Timestamp;
use lenslog_vision::detection::Layout;
use lenslog_vision::frame::Frame;
use lenslog_vision::motion::{MotionConfig, MotionDetector, MotionOutcome};

use crate::harness::{TIMEOUT, lacks, pedestrians};

/// A model of 80 classes.
pub fn yolox_nano() -> PathBuf {
    crate::harness::shared("LENSLOG_MODELS", "models").join("yolox_nano.onnx")
}

/// Their names.
pub fn coco_labels() -> PathBuf {
    yolox_nano().with_file_name("coco_labels.txt")
}

/// Whether the model or the clip is missing.
pub fn lacks_clip_or_model() -> bool {
    lacks("media/pedestrians.mjpeg", pedestrians().exists())
        || lacks("models/yolox_nano.onnx", yolox_nano().exists())
}

/// Where `pip install onnxruntime` has put its library.
pub fn onnxruntime() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("LENSLOG_TEST_ONNXRUNTIME") {
        return Some(path.into());
    }
    let find = "import importlib.util as u, glob, os; \
                s = u.find_spec('onnxruntime'); \
                print(glob.glob(os.path.join(os.path.dirname(s.origin), 'capi', 'libonnxruntime.so*'))[0])";
    let output = std::process::Command::new("python3").args(["-c", find]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(path.trim())).filter(|_| output.status.success())
}

/// A detector with the model of 80 classes.
pub fn detector(onnxruntime: Option<PathBuf>) -> Detector {
    let settings = DetectorSettings {
        model: yolox_nano(),
        labels: coco_labels(),
        layout: Layout::Yolox,
        onnxruntime,
        confidence_min: 0.1,
        timeout: TIMEOUT,
    };
    let program = PathBuf::from(env!("CARGO_BIN_EXE_lenslog"));
    let on_failure = Box::new(|why: &str| panic!("{why}"));
    Detector::start(settings, program, &CancellationToken::new(), on_failure).unwrap()
}

/// A frame of the clip, what motion said, and what the model saw where something moved.
pub struct Seen {
    pub frame: Frame,
    pub outcome: MotionOutcome,
    pub detection: Option<Detection>,
}

/// The clip, every `step`th frame of which a model looks at where something moves.
pub fn clip(detector: &Detector, step: u64) -> Vec<Seen> {
    let options = FileOptions { start: Some(Timestamp::default()), ..FileOptions::default() };
    let mut source = FileSource::open(&pedestrians(), options, CancellationToken::new()).unwrap();
    let mut motion = MotionDetector::new(MotionConfig::default());
    let mut clip = Vec::new();
    while let Some(SourceItem::Frame(frame)) = source.next_item().unwrap() {
        let outcome = motion.look(&frame.picture);
        let asks = matches!(outcome, MotionOutcome::Motion(_)) && frame.number.is_multiple_of(step);
        let detection = asks.then(|| detector.detect(&frame.picture).unwrap());
        clip.push(Seen { frame, outcome, detection });
    }
    clip
}

/// Milliseconds of a length of time.
pub fn milliseconds(length: Duration) -> f64 {
    length.as_secs_f64() * 1e3
}
