//! [`Detector`]: what all cameras ask. One picture at a time, in the order of asking; a worker that fails is replaced,
//! and until then there is no answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::RgbImage;
use lenslog_events::DetectedObject;
use parking_lot::{FairMutex, Mutex};

use super::DetectorError;
use super::settings::{DetectorSettings, read_labels};
use super::wire::{ModelReport, Reply};
use super::worker_process::{Arguments, Failure, WorkerProcess};
use crate::util::CancellationToken;
use lenslog_vision::detection::{Candidate, Labels, Letterbox, ModelShape};

/// How long after a failure a new worker is started; it doubles up to [`PAUSE_MAX`], and begins again with an answer.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What a model saw in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The objects, in pixels of the picture, the most certain first; at most
    /// [`OBJECTS_MAX`](lenslog_vision::detection::OBJECTS_MAX).
    pub objects: Vec<DetectedObject>,
    /// How long the model took, without waiting for its turn.
    pub inference: Duration,
}

/// Why there is no [`Detection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDetection {
    /// The detector does not work now; motion alone has to do.
    Unavailable,
    /// The recorder stops.
    Cancelled,
}

/// Called at each failure after which there is no detector for a while.
pub type OnFailure = dyn Fn(&str) + Send + Sync;

/// Asks a model what is in the pictures of all cameras.
pub struct Detector {
    shared: Arc<Shared>,
}

struct Shared {
    settings: DetectorSettings,
    /// The program that workers are processes of.
    program: PathBuf,
    cancel: CancellationToken,
    on_failure: Box<OnFailure>,
    /// The failure that was reported last, until there is an answer again.
    reported: Mutex<Option<String>>,
    state: Mutex<State>,
    /// Held by the caller whose picture is with the worker. Fair: callers get it in the order in which they ask.
    turn: FairMutex<()>,
}

enum State {
    /// It can be asked. The worker is away while it is.
    Up { worker: Option<WorkerProcess>, loaded: Arc<Loaded>, pause: Duration },
    /// It failed, and is started again when it is asked for after that moment.
    Down { why: String, until: Instant, pause: Duration },
    /// It is being started.
    Starting { why: String },
}

/// What a worker has loaded, and what it means.
struct Loaded {
    report: ModelReport,
    shape: ModelShape,
    labels: Labels,
}

impl Detector {
    /// Starts a worker of `program` and waits until it has loaded the model.
    ///
    /// # Errors
    ///
    /// `DetectorError`, in words for an operator.
    pub fn start(
        settings: DetectorSettings,
        program: PathBuf,
        cancel: &CancellationToken,
        on_failure: Box<OnFailure>,
    ) -> Result<Self, DetectorError> {
        let shared = Shared::new(settings, program, cancel, on_failure);
        let (worker, loaded) = shared.load()?;
        shared.come_up(worker, loaded, PAUSE_MIN);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// As [`Self::start`], but where that fails, it is reported and tried again whenever a camera asks.
    #[must_use]
    pub fn start_or_retry(
        settings: DetectorSettings,
        program: PathBuf,
        cancel: &CancellationToken,
        on_failure: Box<OnFailure>,
    ) -> Self {
        let shared = Shared::new(settings, program, cancel, on_failure);
        shared.restart(PAUSE_MIN);
        Self { shared: Arc::new(shared) }
    }

    /// With which model it works.
    #[must_use]
    pub fn settings(&self) -> &DetectorSettings {
        &self.shared.settings
    }

    /// What was loaded; `None` while it does not work.
    #[must_use]
    pub fn report(&self) -> Option<ModelReport> {
        match &*self.shared.state.lock() {
            State::Up { loaded, .. } => Some(loaded.report.clone()),
            State::Down { .. } | State::Starting { .. } => None,
        }
    }

    /// Why it does not work; `None` while it does.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match &*self.shared.state.lock() {
            State::Up { .. } => None,
            State::Down { why, .. } | State::Starting { why } => Some(why.clone()),
        }
    }

    /// Asks what is in a picture, and waits for the answer: for those who asked before, and then at most
    /// [`DetectorSettings::timeout`].
    ///
    /// # Errors
    ///
    /// `NoDetection`, at once where the detector does not work.
    pub fn detect(&self, picture: &RgbImage) -> Result<Detection, NoDetection> {
        if !self.is_up() {
            return Err(NoDetection::Unavailable);
        }
        let shared = &*self.shared;
        let _turn = shared.turn.lock();
        // The other caller's worker is gone then; this call starts the next one.
        if shared.cancel.is_cancelled() {
            return Err(NoDetection::Cancelled);
        }
        let Some((mut worker, loaded)) = shared.take_worker() else {
            return Err(NoDetection::Unavailable);
        };
        let letterbox = Letterbox::of(picture.dimensions(), &loaded.shape);
        match worker.ask(letterbox.draw(picture), shared.settings.timeout) {
            Ok(Reply { candidates: Ok(candidates), inference_ms }) => {
                let objects = loaded.objects(&letterbox, &candidates);
                shared.come_up(worker, loaded, PAUSE_MIN);
                shared.reported.lock().take();
                let inference = Duration::try_from_secs_f64(inference_ms / 1e3).unwrap_or_default();
                Ok(Detection { objects, inference })
            }
            Ok(Reply { candidates: Err(why), .. }) => Err(shared.broken(&format!("failed: {why}"))),
            Err(Failure::Broken(why)) => Err(shared.broken(&why)),
            Err(Failure::Cancelled) => Err(NoDetection::Cancelled),
        }
    }

    /// Whether it works; where it is time to try, a thread starts it again.
    fn is_up(&self) -> bool {
        let mut state = self.shared.state.lock();
        let (why, pause) = match &*state {
            State::Up { .. } => return true,
            State::Down { why, until, pause } if Instant::now() >= *until => (why.clone(), *pause),
            State::Down { .. } | State::Starting { .. } => return false,
        };
        *state = State::Starting { why };
        drop(state);
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("detector start".to_owned());
        if let Err(error) = thread.spawn(move || shared.restart(pause)) {
            self.shared.fail(format!("no thread can be started: {error}"), pause);
        }
        false
    }
}

impl Shared {
    fn new(
        settings: DetectorSettings,
        program: PathBuf,
        cancel: &CancellationToken,
        on_failure: Box<OnFailure>,
    ) -> Self {
        Self {
            settings,
            program,
            cancel: cancel.child(),
            on_failure,
            reported: Mutex::default(),
            state: Mutex::new(State::Starting { why: "it is being started".to_owned() }),
            turn: FairMutex::new(()),
        }
    }

    fn load(&self) -> Result<(WorkerProcess, Arc<Loaded>), DetectorError> {
        let settings = &self.settings;
        let labels = read_labels(&settings.labels).map_err(|error| error.of("detector.labels"))?;
        let arguments = Arguments {
            program: &self.program,
            model: &settings.model,
            layout: Some(settings.layout),
            onnxruntime: settings.onnxruntime.as_ref(),
            confidence_min: settings.confidence_min,
        };
        let (worker, report) = WorkerProcess::start(arguments, &self.cancel)
            .map_err(|error| error.of("detector.model"))?;
        let fit = report.fit(&labels, &settings.labels);
        fit.map_err(|error| error.of("detector.labels"))?;
        let ModelReport { width, height, anchors, classes, .. } = report;
        let shape = ModelShape { layout: settings.layout, width, height, anchors, classes };
        Ok((worker, Arc::new(Loaded { report, shape, labels })))
    }

    fn restart(&self, pause: Duration) {
        match self.load() {
            Ok((worker, loaded)) => {
                tracing::info!(backend = loaded.report.backend, "the detector works");
                self.come_up(worker, loaded, pause);
            }
            Err(_) if self.cancel.is_cancelled() => {}
            Err(error) => self.fail(error.to_string(), pause),
        }
    }

    fn come_up(&self, worker: WorkerProcess, loaded: Arc<Loaded>, pause: Duration) {
        *self.state.lock() = State::Up { worker: Some(worker), loaded, pause };
    }

    fn take_worker(&self) -> Option<(WorkerProcess, Arc<Loaded>)> {
        match &mut *self.state.lock() {
            State::Up { worker, loaded, .. } => Some((worker.take()?, Arc::clone(loaded))),
            State::Down { .. } | State::Starting { .. } => None,
        }
    }

    /// The worker that was asked is no more.
    fn broken(&self, why: &str) -> NoDetection {
        // A signal that ends a recorder may end its worker too.
        if self.cancel.is_cancelled() {
            return NoDetection::Cancelled;
        }
        let pause = match &*self.state.lock() {
            State::Up { pause, .. } | State::Down { pause, .. } => *pause,
            State::Starting { .. } => PAUSE_MIN,
        };
        self.fail(format!("the detector's process {why}"), pause);
        NoDetection::Unavailable
    }

    /// Notes a failure, and logs it once, however often it repeats itself without an answer in between.
    fn fail(&self, why: String, pause: Duration) {
        let until = Instant::now() + pause;
        let is_new = self.reported.lock().replace(why.clone()).as_ref() != Some(&why);
        if is_new {
            (self.on_failure)(&why);
        }
        *self.state.lock() = State::Down { why, until, pause: (pause * 2).min(PAUSE_MAX) };
    }
}

impl Loaded {
    /// Candidates by their names, in pixels of the picture.
    fn objects(&self, letterbox: &Letterbox, candidates: &[Candidate]) -> Vec<DetectedObject> {
        let object = |candidate: &Candidate| {
            Some(DetectedObject {
                label: self.labels.get(candidate.class)?.to_owned(),
                confidence: (candidate.confidence * 1e4).round() / 1e4,
                bbox: letterbox.in_picture(candidate)?,
            })
        };
        candidates.iter().filter_map(object).collect()
    }
}

impl fmt::Debug for Detector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Detector")
            .field("settings", &self.shared.settings)
            .field("problem", &self.problem())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use lenslog_vision::detection::Layout;

    /// A worker that has loaded a model of two classes, answers as many pictures, and ends.
    const WORKER: &str = r#"#!/bin/sh
printf '%s\n' '{"Ok":{"backend":"b","model":"m","layout":"yolov8","width":32,"height":32,"anchors":21,"classes":2,"load_ms":1,"first_ms":1}}'
for answer in ANSWERS; do
    head -c 3072 >/dev/null
    printf '%s\n' '{"candidates":{"Ok":[]},"inference_ms":1}'
done
head -c 3072 >/dev/null
"#;

    struct TestEnv {
        folder: tempfile::TempDir,
        reported: Arc<Mutex<Vec<String>>>,
    }

    impl TestEnv {
        fn new(labels: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("labels.txt"), labels).unwrap();
            Self { folder, reported: Arc::default() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// The worker that answers so often.
        fn worker(&self, answers: &str) -> PathBuf {
            let path = self.path("worker");
            let (text, path_text) = (WORKER.replace("ANSWERS", answers), path.to_str().unwrap());
            // By another process: a child that another test starts meanwhile would inherit the file open for writing,
            // and what is open for writing is not executed.
            let write =
                "printf '%s' \"$0\" > \"$1.new\" && chmod 700 \"$1.new\" && mv \"$1.new\" \"$1\"";
            let written = Command::new("sh").args(["-c", write, &text, path_text]).status();
            assert!(written.unwrap().success());
            path
        }

        fn settings(&self) -> DetectorSettings {
            DetectorSettings {
                model: self.path("m"),
                labels: self.path("labels.txt"),
                layout: Layout::Yolov8,
                onnxruntime: None,
                confidence_min: 0.1,
                timeout: Duration::from_secs(60),
            }
        }

        fn on_failure(&self) -> Box<OnFailure> {
            let reported = Arc::clone(&self.reported);
            Box::new(move |why: &str| reported.lock().push(why.to_owned()))
        }

        fn detector(&self, program: &Path) -> Detector {
            let (settings, program) = (self.settings(), program.to_owned());
            Detector::start_or_retry(
                settings,
                program,
                &CancellationToken::new(),
                self.on_failure(),
            )
        }
    }

    /// Lets the pause pass and has it started again.
    fn start_again(detector: &Detector) {
        if let State::Down { until, .. } = &mut *detector.shared.state.lock() {
            *until = Instant::now();
        }
        assert_eq!(detector.detect(&picture()), Err(NoDetection::Unavailable));
        while matches!(*detector.shared.state.lock(), State::Starting { .. }) {
            std::thread::yield_now();
        }
    }

    /// Fails, and compares for how long it is left alone then.
    #[track_caller]
    fn fails_for(detector: &Detector, seconds: u64, fail: impl FnOnce()) {
        let (before, pause) = (Instant::now(), Duration::from_secs(seconds));
        fail();
        let State::Down { until, .. } = *detector.shared.state.lock() else { panic!("it works") };
        let pauses = before + pause..=Instant::now() + pause;
        assert!(pauses.contains(&until), "not {seconds} s but {:?}", until - before);
    }

    fn picture() -> RgbImage {
        RgbImage::new(8, 8)
    }

    #[test]
    fn a_worker_that_cannot_be_started_is_tried_less_and_less_often_and_told_once() {
        let env = TestEnv::new("a\nb\n");
        let detector = env.detector(&env.path("none"));
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            fails_for(&detector, seconds, || start_again(&detector));
        }
        let reported = env.reported.lock().clone();
        assert!(reported.len() == 1 && reported[0].contains("cannot be started"), "{reported:?}");
    }

    #[test]
    fn a_worker_that_ends_at_each_picture_is_tried_less_and_less_often_until_one_answers() {
        let env = TestEnv::new("a\nb\n");
        let detector = env.detector(&env.worker(""));
        let ask = || assert_eq!(detector.detect(&picture()), Err(NoDetection::Unavailable));
        for seconds in [1, 2, 4] {
            fails_for(&detector, seconds, ask);
            start_again(&detector);
            assert_eq!(detector.problem(), None);
        }
        assert_eq!(env.reported.lock().len(), 1, "it is the same failure");
        fails_for(&detector, 8, ask);
        env.worker("once");
        start_again(&detector);
        assert!(detector.detect(&picture()).is_ok());
        fails_for(&detector, 1, ask);
        let reported = env.reported.lock().clone();
        assert!(
            reported.len() == 2 && reported.iter().all(|why| why.contains("ended: ")),
            "{reported:?}"
        );
    }

    #[test]
    fn a_model_of_more_classes_than_there_are_names_is_refused() {
        let env = TestEnv::new("a\n");
        let start = Detector::start(
            env.settings(),
            env.worker("once"),
            &CancellationToken::new(),
            env.on_failure(),
        );
        let refused = start.map(drop).unwrap_err().to_string();
        let expected = "it has 1 labels, and m distinguishes 2 classes; each needs its name";
        assert!(refused.starts_with("detector.labels ") && refused.contains(expected), "{refused}");
    }
}
