//! `lenslog model check`, and what becomes of a recorder whose model is none.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::detector::{coco_labels, lacks_clip_or_model, onnxruntime, yolox_nano};
use crate::harness::{TestEnv, lacks};
use crate::onnx::{FLOAT, FLOAT16, Graph, color_finder, outputs_of};

/// Writes a file and returns its path.
fn written(env: &TestEnv, name: &str, bytes: &[u8]) -> String {
    fs::write(env.path(name), bytes).unwrap();
    env.path(name).display().to_string()
}

#[track_caller]
fn refused(env: &TestEnv, arguments: &[&str], expected: &str) {
    env.run(&[&["model", "check"], arguments].concat()).expect(2).says(expected);
}

#[test]
fn a_model_is_told_by_what_it_takes_and_gives() {
    let env = TestEnv::new();
    let model = written(&env, "colors.onnx", &color_finder().model());
    let labels = written(&env, "labels.txt", b"red\nblue\n");
    let ran = env.run(&["model", "check", &model, "--labels", &labels]).expect(0);
    for line in [
        "layout     yolov8, 84 places, 2 classes",
        "input      64 x 64",
        "labels     2",
        "by    tract",
        " ms",
    ] {
        assert!(ran.out.contains(line), "{line} in {}", ran.out);
    }
    if lacks_clip_or_model() {
        return;
    }
    let (model, labels) = (yolox_nano(), coco_labels());
    let arguments =
        ["model", "check", model.to_str().unwrap(), "--labels", labels.to_str().unwrap()];
    env.run(&arguments).expect(0).says("layout     yolox, 3549 places, 80 classes");
}

#[test]
fn a_file_of_the_detector_that_is_missing_is_told_with_its_key() {
    let env = TestEnv::new();
    let model = written(&env, "colors.onnx", &color_finder().model());
    let labels = written(&env, "labels.txt", b"red\nblue\n");
    let missing = env.path("missing").display().to_string();
    for (model, labels, expected) in
        [(&missing, &labels, "detector.model"), (&model, &missing, "detector.labels")]
    {
        let text = format!(
            "[cameras.door]\nsource = 'test:'\n\
             [detector]\nmodel = '{model}'\nlabels = '{labels}'\nlayout = 'yolov8'\nrequired = true\n"
        );
        fs::write(env.path("lenslog.toml"), text).unwrap();
        let ran = env.run(&["record", "--config", "lenslog.toml"]).expect(2);
        ran.says(&format!("{expected} {missing}: "));
    }
}

#[test]
fn what_is_no_model_is_told_with_what_it_is_instead() {
    let env = TestEnv::new();
    let whole = color_finder().model();
    let check = |name: &str, bytes: &[u8], arguments: &[&str], expected: &str| {
        let path = written(&env, name, bytes);
        refused(&env, &[&[path.as_str()], arguments].concat(), expected);
    };
    check("text.onnx", b"# A page about something else\n", &[], "it is no ONNX model");
    check("cut.onnx", &whole[..whole.len() / 2], &[], "or not a whole one");
    check("empty.onnx", b"", &[], "it is empty");
    check(
        "two.onnx",
        &color_finder().output("all", FLOAT, &[1, 2, 84]).model(),
        &[],
        "1 inputs and 2 outputs",
    );
    check("colors.onnx", &whole, &["--layout", "yolox"], "it looks like layout \"yolov8\"");
    let labels = written(&env, "three.txt", b"red\nblue\ngreen\n");
    check(
        "colors.onnx",
        &whole,
        &["--labels", &labels],
        "it has 3 labels, and colors.onnx distinguishes 2 classes",
    );
    let classifier = outputs_of((FLOAT, &[1, 3, 224, 224]), ("scores", &[1, 1000]));
    check("classifier.onnx", &classifier.model(), &[], "which fits neither layout");
    let half = Graph::default()
        .input("images", FLOAT16, &[1, 3, 64, 64])
        .node("Relu", &["images"], "same", &[], None)
        .output("same", FLOAT16, &[1, 3, 64, 64]);
    check("half.onnx", &half.model(), &[], "expected a model of 32-bit floats");
    env.run(&["model", "check", "nowhere.onnx"]).expect(2).says("nowhere.onnx: No such file");
    let text = written(&env, "libtext.so", b"no library");
    let model = written(&env, "colors.onnx", &whole);
    env.run(&["model", "check", &model, "--onnxruntime", &text]).expect(4).says("libtext.so");
    // A library that is one, but another.
    env.run(&["model", "check", &model, "--onnxruntime", "libc.so.6"])
        .expect(4)
        .says("no OrtGetApiBase");
}

/// A model at which the library itself panics: the name of its output has a zero in it.
fn panics_the_library() -> Vec<u8> {
    outputs_of((FLOAT, &[1, 3, 64, 64]), ("out\0put", &[1, 6, 84])).model()
}

fn configured(env: &TestEnv, model: &[u8], rest: &str) -> Vec<String> {
    let model = written(env, "model.onnx", model);
    let labels = written(env, "labels.txt", b"red\nblue\n");
    let text = format!(
        "[detector]\nmodel = {model:?}\nlabels = {labels:?}\nlayout = 'yolov8'\ntrack = ['red', 'blue']\n{rest}\n"
    );
    let config = written(env, "lenslog.toml", text.as_bytes());
    ["--config", &config, "--source", "test:", "--no-pace"].map(str::to_owned).to_vec()
}

#[test]
fn a_recorder_that_needs_a_model_does_not_start_without_and_makes_nothing() {
    for (model, code, text) in [
        (b"no model".to_vec(), 2, "model.onnx: it is no ONNX model"),
        (panics_the_library(), 4, "the detector's process ended"),
    ] {
        let env = TestEnv::new();
        let arguments = configured(&env, &model, "");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        env.run(&[&["record"], arguments.as_slice()].concat()).expect(code).says(text);
        assert!(!env.data.exists());
    }
}

#[test]
fn a_recorder_that_can_do_without_a_model_goes_on_with_motion_and_journals_why() {
    for model in [b"no model".to_vec(), panics_the_library()] {
        let env = TestEnv::new();
        let arguments = configured(&env, &model, "required = false");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut recording = env.record(&arguments);
        recording.wait_for(" event camera=");
        let ran = recording.stop().expect(0);
        assert!(ran.err.contains("WARN"), "{}", ran.err);
        let journal = env.journal();
        let of_kind = |kind: &str| -> Vec<&Value> {
            journal.values().filter(|value| value["kind"] == kind).collect()
        };
        assert_eq!(of_kind("DetectorFailed").len(), 1, "reported once");
        let events = of_kind("EventDetected");
        assert!(!events.is_empty());
        assert!(
            events.iter().all(|event| event["record"]["detected_objects"][0]["label"] == "motion")
        );
    }
}

#[test]
fn the_library_of_microsoft_refuses_the_same_models() {
    let Some(library) = onnxruntime().filter(|path: &PathBuf| path.exists()) else {
        lacks("python3 with onnxruntime", false);
        return;
    };
    let env = TestEnv::new();
    let library = library.display().to_string();
    let whole = color_finder().model();
    let model = written(&env, "colors.onnx", &whole);
    env.run(&["model", "check", &model, "--onnxruntime", &library])
        .expect(0)
        .says("runs by    onnxruntime 1.");
    for bytes in [b"# A page about something else\n", &whole[..whole.len() / 2]] {
        let path = written(&env, "no.onnx", bytes);
        refused(&env, &[&path, "--onnxruntime", &library], "it is no ONNX model");
    }
}
