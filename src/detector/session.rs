//! [`ModelSession`]: a model loaded by a library, in the worker's process. Anything in here may panic, crash or never
//! return: it is the library's doing, and the recorder is elsewhere.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use super::DetectorError;
use super::library;
use lenslog_vision::detection::{Layout, ModelShape, advice, shown};

/// Largest model, in bytes.
pub const MODEL_BYTES_MAX: u64 = 512 << 20;

/// Threads of libonnxruntime: a model that is small enough for a camera gains little from more.
const THREADS_MAX: usize = 4;

/// A model that can be asked.
#[derive(Debug)]
pub(super) struct ModelSession {
    session: Session,
    shape: ModelShape,
    input_name: String,
    /// Kept from picture to picture, so that no memory is asked for.
    input: Vec<f32>,
}

/// What runs models, and its name.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    is_built_in: bool,
}

impl Backend {
    /// Chooses for the rest of this process.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Unavailable`] where the library cannot be used.
    pub(super) fn choose(onnxruntime: Option<&Path>) -> Result<Self, DetectorError> {
        let Some(path) = onnxruntime else {
            ort::set_api(ort_tract::api());
            return Ok(Self { name: "tract".to_owned(), is_built_in: true });
        };
        let (api, version) = library::open(path).map_err(|problem| {
            let path = path.display();
            DetectorError::Unavailable(format!("detector.onnxruntime {path}: {problem}"))
        })?;
        ort::set_api(api);
        Ok(Self { name: format!("onnxruntime {version}"), is_built_in: false })
    }
}

impl ModelSession {
    /// Loads a model, of the layout that fits where none is named.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Refused`], naming the file and what is wrong with it.
    pub(super) fn load(
        backend: &Backend,
        path: &Path,
        layout: Option<Layout>,
    ) -> Result<Self, DetectorError> {
        let refused = |problem: String| DetectorError::refused(path, problem);
        let bytes = read(path).map_err(refused)?;
        let session = open(backend, &bytes).map_err(|error| {
            refused(format!(
                "it is no ONNX model that can be used, or not a whole one: {error}; export it with a fixed size, \
                 nms=False, dynamic=False and half=False"
            ))
        })?;
        let (input, output) = only_ones(&session).map_err(refused)?;
        let (input_shape, output_shape) = (numbers(input), numbers(output));
        let (input_shape, output_shape) =
            (input_shape.map_err(refused)?, output_shape.map_err(refused)?);
        let layout = layout.or_else(|| ModelShape::guess(&input_shape, &output_shape));
        let shape = match layout {
            Some(layout) => ModelShape::of(layout, &input_shape, &output_shape).map_err(refused)?,
            None => {
                let (input, output) = (shown(&input_shape), shown(&output_shape));
                let problem = format!(
                    "its input is {input} and its output {output}, which fits neither layout{}",
                    advice(&output_shape)
                );
                return Err(refused(problem));
            }
        };
        let input_name = input.name().to_owned();
        let input = vec![0.0; shape.picture_bytes()];
        Ok(Self { session, shape, input_name, input })
    }

    /// What it takes and gives.
    pub(super) const fn shape(&self) -> &ModelShape {
        &self.shape
    }

    /// Asks what is on a canvas, and hands the answer to `read`.
    ///
    /// # Errors
    ///
    /// What the library said, or that its answer has another length than it promised.
    pub(super) fn look<T>(
        &mut self,
        canvas: &[u8],
        read: impl FnOnce(&ModelShape, &[f32]) -> T,
    ) -> Result<T, String> {
        let ModelShape { layout, width, height, .. } = self.shape;
        planes(layout, canvas, &mut self.input);
        let dimensions = [1, 3, i64::from(height), i64::from(width)];
        let input = TensorRef::from_array_view((dimensions, self.input.as_slice()));
        let input = input.map_err(|error| error.to_string())?;
        let named = ort::inputs![self.input_name.as_str() => input];
        let outputs = self.session.run(named).map_err(|error| error.to_string())?;
        let (_, numbers) =
            outputs[0].try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
        let expected = self.shape.output_numbers();
        if numbers.len() != expected {
            return Err(format!("it answered {} numbers instead of {expected}", numbers.len()));
        }
        Ok(read(&self.shape, numbers))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = file.take(MODEL_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    match bytes.len() as u64 {
        0 => Err("it is empty".to_owned()),
        length if length > MODEL_BYTES_MAX => {
            Err(format!("a model takes at most {MODEL_BYTES_MAX} bytes"))
        }
        _ => Ok(bytes),
    }
}

fn open(backend: &Backend, bytes: &[u8]) -> ort::Result<Session> {
    let environment = ort::init().build()?;
    let mut builder = builder(backend, &environment)?;
    builder.commit_from_memory(bytes)
}

fn builder(
    backend: &Backend,
    environment: &ort::environment::Environment,
) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::All)?;
    if backend.is_built_in {
        return Ok(builder);
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Threads that wait for the next picture by spinning would keep the machine busy between two.
    Ok(builder.with_intra_threads(cores.min(THREADS_MAX))?.with_intra_op_spinning(false)?)
}

fn only_ones(session: &Session) -> Result<(&Outlet, &Outlet), String> {
    match (session.inputs(), session.outputs()) {
        ([input], [output]) => Ok((input, output)),
        (inputs, outputs) => Err(format!(
            "it has {} inputs and {} outputs; expected one of each: export a detection model with nms=False",
            inputs.len(),
            outputs.len()
        )),
    }
}

fn numbers(outlet: &Outlet) -> Result<Vec<i64>, String> {
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => Ok(shape.to_vec()),
        ValueType::Tensor { ty, .. } => Err(format!(
            "'{}' is of {ty} numbers; expected a model of 32-bit floats ; export it with half=False",
            outlet.name()
        )),
        _ => Err(format!("'{}' is no tensor", outlet.name())),
    }
}

/// Rows of red, green and blue as the planes that the layout wants.
fn planes(layout: Layout, canvas: &[u8], planes: &mut [f32]) {
    let (order, scale) = match layout {
        Layout::Yolox => ([2, 1, 0], 1.0),
        Layout::Yolov8 => ([0, 1, 2], 1.0 / 255.0),
    };
    let plane = (planes.len() / 3).max(1);
    for (channel, values) in order.into_iter().zip(planes.chunks_exact_mut(plane)) {
        let pixels = canvas.chunks_exact(3);
        values.iter_mut().zip(pixels).for_each(|(value, pixel)| {
            *value = f32::from(pixel[channel]) * scale;
        });
    }
}
