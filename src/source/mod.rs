//! Where frames come from: cameras, other programs, files, folders and a synthetic scene, all behind [`Source`].
//!
//! A source owns capture, decoding and the time of each frame. It never looks at what a picture shows, and
//! never touches the journal.

mod child;
mod decode;
mod dir;
mod error;
mod file;
mod format;
mod frame_sampler;
mod http;
mod huffman;
mod live;
mod local_offset;
mod mjpeg;
mod open;
mod options;
mod pace;
mod problem;
#[cfg(test)]
pub(crate) mod samples;
mod scans;
mod size;
mod spec;
mod stall_timeout;
mod stream;
mod test_scene;
mod v4l2;

pub use dir::{ClockFault, ClockSettings, DirOptions, DirSource, PictureTime, WATCHED_FOLDERS_MAX};
pub use error::SourceError;
pub use file::{FileOptions, FileSource};
pub use live::LiveSource;
pub use local_offset::LocalOffset;
pub use options::SourceOptions;
pub use pace::FrameRate;
pub use problem::{FrameProblem, PictureFault};
pub use size::PictureSize;
pub use spec::SourceSpec;
pub use test_scene::{TestSource, TestTime};

/// The longest encoded picture. A longer one is skipped and reported as [`PictureFault::TooManyBytes`].
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// The largest decoded picture, in pixels: 8K. A larger one is skipped and reported as
/// [`PictureFault::TooManyPixels`], before memory for it is taken.
pub const PICTURE_PIXELS_MAX: u64 = 7680 * 4320;

/// The largest picture of a `dir:`, in pixels. What has more than [`PICTURE_PIXELS_MAX`] is taken at half its width and
/// height. Decoding takes 3 bytes a pixel, 9 where it is progressive.
pub const FILE_PIXELS_MAX: u64 = 64_000_000;

use lenslog_journal::Timestamp;

use lenslog_vision::frame::Frame;

/// What a source hands over.
#[derive(Debug)]
pub enum SourceItem {
    /// A frame.
    Frame(Frame),
    /// A picture that came but cannot be used.
    Problem(FrameProblem),
}

/// A change in the clock of what sends the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockNews {
    /// What is wrong with it; `None`: it is right again.
    pub fault: Option<ClockFault>,
    /// The time that the last picture claims.
    pub claimed: Timestamp,
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
    /// since. `false`: it is to be opened again.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened yet.
    fn reopen(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// What has changed in the clock of what sends the pictures and is to be logged, once.
    fn take_clock_news(&mut self) -> Option<ClockNews> {
        None
    }

    /// What is wrong with the clock of what sends the pictures; `None` where nothing is, or it does not count.
    fn clock_fault(&self) -> Option<ClockFault> {
        None
    }
}
