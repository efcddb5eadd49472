//! The control socket: programs ask a running recorder for its status and for what only the writer may do.
//!
//! The socket is `control.sock` in the data directory, readable by its owner only. A client sends one [`ControlRequest`] as a
//! line of JSON. The recorder answers with one or more [`Reply`] lines, the last of which is [`Reply::Done`] or
//! [`Reply::Failed`]. After [`ControlRequest::Ingest`] the client sends the lines to ingest and closes its writing half.
//!
//! Both ends know cameras by name only. Nothing in this crate opens a journal for writing or touches a projection.

mod client;
mod journal_files;
mod protocol;
mod server;
mod status;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

pub use client::{ANSWER_TIMEOUT, Client, ClientError};
pub use journal_files::{
    FILES_NAMED_MAX, Obstructed, journal_status, left_out, left_out_lines, obstructed,
    obstructed_lines,
};
pub use protocol::{
    ControlRequest, GoneDay, IngestOutcome, KeptDay, Minute, Reply, RotationReport, Totals,
};
pub use server::{ControlServer, Handler};
pub use status::{
    CameraStatus, CounterStatus, DeliveryReport, DescriptionStatus, DetectorStatus, JournalStatus,
    ProjectionReport, Status, StorageStatus, SyncStatus, delivery_reports, length,
    projection_reports,
};

/// Name of the socket in the data directory.
pub const SOCKET: &str = "control.sock";

/// Most clients that stream lines at once; further ones are turned away.
pub const STREAMS_MAX: usize = 16;

/// Most clients that are served at once: all that stream, and four with short requests.
pub const CLIENTS_MAX: usize = STREAMS_MAX + 4;

/// Longest request line in bytes.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// A count with its noun: `1 event`, `2 events`.
///
/// ```
/// assert_eq!(lenslog_control::counted(1, "event"), "1 event");
/// assert_eq!(lenslog_control::counted(0, "event"), "0 events");
/// ```
#[must_use]
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// A short path to the socket, whatever the length of the data directory's: a socket address holds 107 bytes.
struct ShortPath {
    path: PathBuf,
    _directory: File,
}

impl ShortPath {
    fn of(data: &Path) -> std::io::Result<Self> {
        let directory = File::open(data)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
        Ok(Self { path, _directory: directory })
    }
}
