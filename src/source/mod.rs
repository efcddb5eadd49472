//! Where frames come from: cameras, other programs, files, folders and a synthetic scene, all behind [`Source`].
//!
//! A source owns capture, decoding and the time of each frame. It never looks at what a picture shows, and
//! never touches the journal.

mod cancel;
mod child;
mod decode;
mod dir;
mod error;
mod figure;
mod file;
mod http;
mod huffman;
mod live;
mod local_offset;
mod mailbox;
mod mjpeg;
mod open;
mod options;
mod pace;
mod patience;
mod problem;
mod rhythm;
#[cfg(test)]
pub(crate) mod samples;
mod scene;
mod size;
mod spec;
mod stream;
mod test_scene;
mod v4l2;
mod words;

pub use cancel::Cancel;
pub(crate) use cancel::Wake as CancelWake;
pub use dir::{DELIVERED_MAX, DirOptions, DirSource, WATCHED_FOLDERS_MAX};
pub use error::SourceError;
pub use file::{FIRST_PICTURE_WITHIN_BYTES, FileOptions, FileSource};
pub use live::{LIVE_FRAMES_MAX, LiveSource};
pub use local_offset::LocalOffset;
pub(crate) use mailbox::{Mailbox, Taken};
pub use options::SourceOptions;
pub use pace::FrameRate;
pub use patience::{FIRST_PICTURE_MAX, SILENCE_MAX};
pub use problem::{FrameProblem, PictureFault};
pub use scene::{LightStep, NOISE_LEVELS_MAX, SCENE_SIDE, Scene, SceneRenderer, Walk};
pub use size::PictureSize;
pub use spec::{Private, SourceSpec};
pub use test_scene::{TestSource, TestTime};

/// The longest encoded picture. A longer one is skipped and reported as [`PictureFault::TooManyBytes`].
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// The largest decoded picture, in pixels: 8K. A larger one is skipped and reported as
/// [`PictureFault::TooManyPixels`], before memory for it is taken.
pub const PICTURE_PIXELS_MAX: u64 = 7680 * 4320;

use crate::frame::Frame;

/// What a source hands over.
#[derive(Debug)]
pub enum SourceItem {
    /// A frame.
    Frame(Frame),
    /// A picture that came but cannot be used.
    Problem(FrameProblem),
}

/// Where frames come from.
pub trait Source: Send {
    /// Waits for the next frame or problem.
    ///
    /// `None` is the end of the source, or means that it was cancelled; it stays `None` then.
    ///
    /// # Errors
    ///
    /// What keeps the source from going on. It is finished then and has to be opened again.
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError>;

    /// Opens it again after an error, where it knows what it has handed over already and can find what has come
    /// since. `false`: it is to be opened anew.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened yet.
    fn reopen(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }
}
