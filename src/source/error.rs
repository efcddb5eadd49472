//! [`SourceError`], why a source cannot be opened or cannot go on.

use std::io;
use std::path::PathBuf;

use super::spec::SUPPORTED_KINDS;

/// Why a source cannot be opened or cannot go on. A picture that cannot be used is no error but a
/// [`FrameProblem`](super::FrameProblem).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// What was given names no kind of source.
    #[error("'{given}' names no source; expected {SUPPORTED_KINDS}, such as file:recording.mjpeg")]
    UnknownKind {
        /// The part before the colon; all of it where there is no colon.
        given: String,
    },
    /// `file:` or `dir:` without a path.
    #[error("no path follows '{kind}:'; write {kind}:PATH")]
    MissingPath {
        /// `file` or `dir`.
        kind: &'static str,
    },
    /// What stands behind the colon is not what this kind of source takes.
    #[error("'{kind}:' takes {expected}")]
    BadArgument {
        /// The kind.
        kind: String,
        /// What it takes.
        expected: &'static str,
    },
    /// An address holds a character that has to be written in another way there.
    #[error("'{kind}:' has a {character:?} in its address or password; write {encoded} for it")]
    BadCharacter {
        /// The kind.
        kind: String,
        /// The character.
        character: char,
        /// What to write: `%23`.
        encoded: String,
    },
    /// A camera device cannot be read.
    #[error("cannot read the camera {path}: {reason}; {remedy}", path = .path.display())]
    Device {
        /// The device.
        path: PathBuf,
        /// What the operating system or the driver said.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A program that delivers pictures could not be started, or ended.
    #[error("cannot read from {program}: {reason}")]
    Program {
        /// Its name, as it was called.
        program: String,
        /// What happened, its last output included, and what to do.
        reason: String,
    },
    /// A camera on the network cannot be read.
    #[error("cannot read {address}: {reason}")]
    Network {
        /// Its address, without a password.
        address: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// Nothing is at the path.
    #[error("{path} does not exist; expected {expected}: check the path, or whether its disk is mounted", path = .path.display())]
    NotFound {
        /// The path that was given.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// Something else is at the path.
    #[error("{path} is {found}; expected {expected}: {remedy}", path = .path.display())]
    WrongType {
        /// The path that was given.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What should be there.
        expected: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The file holds no byte.
    #[error("{path} is empty; expected JPEG pictures one after another (MJPEG)", path = .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file holds bytes but no picture.
    #[error(
        "{path} holds no picture that can be decoded ({bytes_read} bytes read, {refused} damaged pictures); expected \
         JPEG pictures one after another (MJPEG): convert a video with `ffmpeg -i VIDEO -c:v mjpeg -q:v 3 -f mjpeg OUT`",
        path = .path.display()
    )]
    NoPicture {
        /// The file.
        path: PathBuf,
        /// How much of it was looked at.
        bytes_read: u64,
        /// Pictures in it that could not be decoded.
        refused: u64,
    },
    /// The operating system refused to open or to look at it.
    #[error("cannot open {path}: {source}; check that this user may read it", path = .path.display())]
    Open {
        /// The path that was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system failed to read on.
    #[error("cannot read {path} at offset {offset}: {source}; check the medium it is on", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Where reading stopped.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// A folder cannot be watched for new pictures.
    #[error("cannot watch the folder {path}: {reason}", path = .path.display())]
    Watch {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// A watched folder was deleted, renamed, replaced or unmounted.
    #[error("the folder {path} is gone (deleted, renamed or unmounted); put it back", path = .path.display())]
    FolderGone {
        /// The folder.
        path: PathBuf,
    },
    /// The thread that captures a live source could not be started or ended by itself.
    #[error("the capture thread of {name} failed: {reason}")]
    Capture {
        /// The source, as it prints.
        name: String,
        /// What happened.
        reason: String,
    },
}
