//! [`Client`]: asks a running recorder.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ShortPath;
use crate::protocol::{ControlRequest, Reply};

/// Longest line of an answer in bytes.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// Longest wait for an answer that needs no work beyond reading the recorder's state.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request to a recorder failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The recorder cannot be asked.
    #[error(
        "cannot ask the recorder on {}: {source}; run this as the user who runs it", path.display()
    )]
    Connect {
        /// The data directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the recorder's control socket failed: {0}")]
    Io(#[from] io::Error),
    /// The recorder accepts the request and does not answer.
    #[error(
        "the recorder on this directory has not answered for {} s: it is stopped, or waits for its disk; check its log \
         and dmesg", .0.as_secs()
    )]
    Silent(Duration),
    /// The recorder refused the request.
    #[error("{0}")]
    Refused(String),
    /// The answer is not understood: another version sent it.
    #[error(
        "the recorder's answer is not understood; use a recorder and a program of the same version"
    )]
    Unknown,
}

/// Whether the path is a socket, of any user. On anything else no recorder listens.
fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// A connection to a running recorder.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    replies: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the recorder on a data directory. `None`: no recorder runs there, or it has no socket.
    ///
    /// # Errors
    ///
    /// The errors of the operating system, except that no process listens.
    pub fn connect(data: &Path) -> Result<Option<Self>, ClientError> {
        // A fault of the directory itself is reported better by the code that opens the journal.
        let is_absent = |error: &io::Error| {
            use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
            matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused)
        };
        let refused = |source| ClientError::Connect { path: data.to_owned(), source };
        let short = match ShortPath::of(data) {
            Ok(short) => short,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        match UnixStream::connect(&short.path) {
            Ok(stream) => {
                let replies = BufReader::new(stream.try_clone()?);
                Ok(Some(Self { stream, replies }))
            }
            Err(error) if is_absent(&error) || !is_socket(&short.path) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    /// From now on a reply that takes longer is [`ClientError::Silent`].
    ///
    /// # Errors
    ///
    /// [`ClientError::Io`].
    pub fn wait_at_most(&self, timeout: Duration) -> Result<(), ClientError> {
        Ok(self.stream.set_read_timeout(Some(timeout))?)
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// [`ClientError::Io`].
    pub fn send(&mut self, request: &ControlRequest) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        Ok(self.stream.write_all(&line)?)
    }

    /// Sends everything that `input` gives, on a thread of its own, then closes the writing half.
    ///
    /// # Errors
    ///
    /// [`ClientError::Io`] where no thread can be started.
    pub fn stream(&self, mut input: impl Read + Send + 'static) -> Result<(), ClientError> {
        let mut stream = self.stream.try_clone()?;
        std::thread::Builder::new().name("ingest input".to_owned()).spawn(move || {
            // The server notices a connection that ends early, and reports it.
            let _ = io::copy(&mut input, &mut stream);
            let _ = stream.shutdown(Shutdown::Write);
        })?;
        Ok(())
    }

    /// The next reply. `None`: the answer is complete.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] where the recorder refuses; [`ClientError::Io`], [`ClientError::Unknown`].
    pub fn reply(&mut self) -> Result<Option<Reply>, ClientError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.replies).take(REPLY_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut line).map_err(|error| {
            match (error.kind(), self.stream.read_timeout()) {
                (io::ErrorKind::WouldBlock, Ok(Some(timeout))) => ClientError::Silent(timeout),
                _ => error.into(),
            }
        })?;
        if read == 0 {
            let gone =
                io::Error::new(io::ErrorKind::UnexpectedEof, "the recorder closed the connection");
            return Err(gone.into());
        }
        match serde_json::from_slice(&line) {
            Ok(Reply::Done) => Ok(None),
            Ok(Reply::Failed { reason }) => Err(ClientError::Refused(reason)),
            Ok(reply) => Ok(Some(reply)),
            Err(_) => Err(ClientError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn waiting_for_a_silent_recorder_ends_at_the_timeout() {
        let directory = tempfile::tempdir().unwrap();
        let _listening = UnixListener::bind(directory.path().join("control.sock")).unwrap();
        let mut client = Client::connect(directory.path()).unwrap().unwrap();
        client.wait_at_most(Duration::from_millis(20)).unwrap();
        client.send(&ControlRequest::Status).unwrap();
        assert!(matches!(client.reply(), Err(ClientError::Silent(_))));
    }
}
