//! [`Detector`]: what all cameras ask. One picture at a time, in the order of asking; a worker that fails is replaced,
//! and until then there is no answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use image::RgbImage;
use lenslog_events::DetectedObject;

use super::DetectorError;
use super::boxes::Candidate;
use super::labels::Labels;
use super::letterbox::Letterbox;
use super::model::ModelShape;
use super::settings::DetectorSettings;
use super::wire::{ModelReport, Reply};
use super::worker_process::{Arguments, Failure, WorkerProcess};
use crate::source::Cancel;

/// How long after a failure a new worker is started; it doubles up to [`PAUSE_MAX`], and begins anew with an answer.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What a model saw in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The objects, in pixels of the picture, the most certain first; at most
    /// [`OBJECTS_MAX`](crate::policy::OBJECTS_MAX).
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

/// Told of each failure after which there is no detector for a while.
pub type OnFailure = dyn Fn(&str) + Send + Sync;

/// Asks a model what is in the pictures of all cameras.
pub struct Detector {
    shared: Arc<Shared>,
}

struct Shared {
    settings: DetectorSettings,
    /// The program that workers are processes of.
    program: PathBuf,
    cancel: Cancel,
    on_failure: Box<OnFailure>,
    /// The failure that was told last, until there is an answer again.
    told: Mutex<Option<String>>,
    state: Mutex<State>,
    turns: Mutex<Turns>,
    next: Condvar,
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

/// Who is next: numbers as they are drawn in a shop.
#[derive(Default)]
struct Turns {
    drawn: u64,
    served: u64,
}

/// A turn that was drawn; dropped, the next one has it.
struct Turn<'a>(&'a Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.turns).served += 1;
        self.0.next.notify_all();
    }
}

impl Detector {
    /// Starts a worker of `program` and waits until it has loaded the model.
    ///
    /// # Errors
    ///
    /// [`DetectorError`], in words for an operator.
    pub fn start(
        settings: DetectorSettings,
        program: PathBuf,
        cancel: &Cancel,
        on_failure: Box<OnFailure>,
    ) -> Result<Self, DetectorError> {
        let shared = Shared::new(settings, program, cancel, on_failure);
        let (worker, loaded) = shared.load()?;
        shared.come_up(worker, loaded, PAUSE_MIN);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// As [`Self::start`], but where that fails, it is told and tried again whenever somebody asks.
    #[must_use]
    pub fn start_or_retry(
        settings: DetectorSettings,
        program: PathBuf,
        cancel: &Cancel,
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
        match &*lock(&self.shared.state) {
            State::Up { loaded, .. } => Some(loaded.report.clone()),
            State::Down { .. } | State::Starting { .. } => None,
        }
    }

    /// Why it does not work; `None` while it does.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match &*lock(&self.shared.state) {
            State::Up { .. } => None,
            State::Down { why, .. } | State::Starting { why } => Some(why.clone()),
        }
    }

    /// Asks what is in a picture, and waits for the answer: for those who asked before, and then at most
    /// [`DetectorSettings::timeout`].
    ///
    /// # Errors
    ///
    /// [`NoDetection`], at once where the detector does not work.
    pub fn detect(&self, picture: &RgbImage) -> Result<Detection, NoDetection> {
        if !self.is_up() {
            return Err(NoDetection::Unavailable);
        }
        let shared = &*self.shared;
        let _turn = shared.turn();
        // The worker of whoever was asking is gone then, which is no reason to do without it.
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
                lock(&shared.told).take();
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
        let mut state = lock(&self.shared.state);
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
        cancel: &Cancel,
        on_failure: Box<OnFailure>,
    ) -> Self {
        Self {
            settings,
            program,
            cancel: cancel.child(),
            on_failure,
            told: Mutex::default(),
            state: Mutex::new(State::Starting { why: "it is being started".to_owned() }),
            turns: Mutex::default(),
            next: Condvar::new(),
        }
    }

    fn load(&self) -> Result<(WorkerProcess, Arc<Loaded>), DetectorError> {
        let settings = &self.settings;
        let labels = Labels::read(&settings.labels).map_err(|error| error.of("detector.labels"))?;
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
        *lock(&self.state) = State::Up { worker: Some(worker), loaded, pause };
    }

    fn take_worker(&self) -> Option<(WorkerProcess, Arc<Loaded>)> {
        match &mut *lock(&self.state) {
            State::Up { worker, loaded, .. } => Some((worker.take()?, Arc::clone(loaded))),
            State::Down { .. } | State::Starting { .. } => None,
        }
    }

    /// The worker that was asked is no more.
    fn broken(&self, why: &str) -> NoDetection {
        // Whoever ends a recorder may end its worker with it.
        if self.cancel.is_cancelled() {
            return NoDetection::Cancelled;
        }
        let pause = match &*lock(&self.state) {
            State::Up { pause, .. } | State::Down { pause, .. } => *pause,
            State::Starting { .. } => PAUSE_MIN,
        };
        self.fail(format!("the detector's process {why}"), pause);
        NoDetection::Unavailable
    }

    /// Notes a failure, and tells of it once, however often it repeats itself without an answer in between.
    fn fail(&self, why: String, pause: Duration) {
        let until = Instant::now() + pause;
        let is_new = lock(&self.told).replace(why.clone()).as_ref() != Some(&why);
        if is_new {
            (self.on_failure)(&why);
        }
        *lock(&self.state) = State::Down { why, until, pause: (pause * 2).min(PAUSE_MAX) };
    }

    /// Waits until it is this caller's turn: whoever asked before has got an answer, or none, within the time-out.
    fn turn(&self) -> Turn<'_> {
        let mut turns = lock(&self.turns);
        let mine = turns.drawn;
        turns.drawn += 1;
        while turns.served != mine {
            turns = self.next.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(self)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::super::layout::Layout;
    use super::*;

    /// A worker that has loaded a model of two classes, answers as many pictures, and ends.
    const WORKER: &str = r#"#!/bin/sh
printf '%s\n' '{"Ok":{"backend":"b","model":"m","layout":"yolov8","width":32,"height":32,"anchors":21,"classes":2,"load_ms":1,"first_ms":1}}'
for answer in ANSWERS; do
    head -c 3072 >/dev/null
    printf '%s\n' '{"candidates":{"Ok":[]},"inference_ms":1}'
done
head -c 3072 >/dev/null
"#;

    struct Lab {
        folder: tempfile::TempDir,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl Lab {
        fn new(labels: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("labels.txt"), labels).unwrap();
            Self { folder, told: Arc::default() }
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
            let told = Arc::clone(&self.told);
            Box::new(move |why: &str| lock(&told).push(why.to_owned()))
        }

        fn detector(&self, program: &Path) -> Detector {
            let (settings, program) = (self.settings(), program.to_owned());
            Detector::start_or_retry(settings, program, &Cancel::new(), self.on_failure())
        }
    }

    /// Lets the pause pass and has it started again.
    fn start_again(detector: &Detector) {
        if let State::Down { until, .. } = &mut *lock(&detector.shared.state) {
            *until = Instant::now();
        }
        assert_eq!(detector.detect(&picture()), Err(NoDetection::Unavailable));
        while matches!(*lock(&detector.shared.state), State::Starting { .. }) {
            std::thread::yield_now();
        }
    }

    /// Fails, and compares for how long it is left alone then.
    #[track_caller]
    fn fails_for(detector: &Detector, seconds: u64, fail: impl FnOnce()) {
        let (before, pause) = (Instant::now(), Duration::from_secs(seconds));
        fail();
        let State::Down { until, .. } = *lock(&detector.shared.state) else { panic!("it works") };
        let pauses = before + pause..=Instant::now() + pause;
        assert!(pauses.contains(&until), "not {seconds} s but {:?}", until - before);
    }

    fn picture() -> RgbImage {
        RgbImage::new(8, 8)
    }

    #[test]
    fn a_worker_that_cannot_be_started_is_tried_less_and_less_often_and_told_once() {
        let lab = Lab::new("a\nb\n");
        let detector = lab.detector(&lab.path("none"));
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            fails_for(&detector, seconds, || start_again(&detector));
        }
        let told = lock(&lab.told).clone();
        assert!(told.len() == 1 && told[0].contains("cannot be started"), "{told:?}");
    }

    #[test]
    fn a_worker_that_ends_at_each_picture_is_tried_less_and_less_often_until_one_answers() {
        let lab = Lab::new("a\nb\n");
        let detector = lab.detector(&lab.worker(""));
        let ask = || assert_eq!(detector.detect(&picture()), Err(NoDetection::Unavailable));
        for seconds in [1, 2, 4] {
            fails_for(&detector, seconds, ask);
            start_again(&detector);
            assert_eq!(detector.problem(), None);
        }
        assert_eq!(lock(&lab.told).len(), 1, "it is the same failure");
        fails_for(&detector, 8, ask);
        lab.worker("once");
        start_again(&detector);
        assert!(detector.detect(&picture()).is_ok());
        fails_for(&detector, 1, ask);
        let told = lock(&lab.told).clone();
        assert!(told.len() == 2 && told.iter().all(|why| why.contains("ended: ")), "{told:?}");
    }

    #[test]
    fn a_model_of_more_classes_than_there_are_names_is_refused() {
        let lab = Lab::new("a\n");
        let start =
            Detector::start(lab.settings(), lab.worker("once"), &Cancel::new(), lab.on_failure());
        let refused = start.map(drop).unwrap_err().to_string();
        let expected = "it has 1 labels, and m tells 2 classes apart; each needs its name";
        assert!(refused.starts_with("detector.labels ") && refused.contains(expected), "{refused}");
    }
}
