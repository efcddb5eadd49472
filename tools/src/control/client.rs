//! [`Client`]: asks a running recorder.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Reply, Request, ShortPath};

/// Longest line of an answer in bytes.
const REPLY_BYTES_MAX: u64 = 64 << 20;

/// Why a recorder was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection failed.
    #[error("the recorder's control socket failed: {0}")]
    Io(#[from] io::Error),
    /// The recorder did not do it.
    #[error("{0}")]
    Refused(String),
    /// What it said makes no sense: another version.
    #[error("the recorder answers in an unknown way; is it the same version as this program?")]
    Unknown,
}

/// A connection to a running recorder.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    replies: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the recorder on a data directory. `None`: none runs there, or it has no socket.
    ///
    /// # Errors
    ///
    /// Those of the operating system other than that nobody listens.
    pub fn connect(data: &Path) -> Result<Option<Self>, ClientError> {
        // What is wrong with the directory itself, whoever opens the journal tells better.
        let nobody = |error: &io::Error| {
            use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
            matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused)
        };
        let short = match ShortPath::of(data) {
            Ok(short) => short,
            Err(error) if nobody(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match UnixStream::connect(&short.path) {
            Ok(stream) => {
                let replies = BufReader::new(stream.try_clone()?);
                Ok(Some(Self { stream, replies }))
            }
            Err(error) if nobody(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// [`ClientError::Io`].
    pub fn send(&mut self, request: &Request) -> Result<(), ClientError> {
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
            // Whoever listens notices a connection that ends early, and says so.
            let _ = io::copy(&mut input, &mut stream);
            let _ = stream.shutdown(Shutdown::Write);
        })?;
        Ok(())
    }

    /// The next reply. `None`: all was said.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] where the recorder says so; [`ClientError::Io`], [`ClientError::Unknown`].
    pub fn reply(&mut self) -> Result<Option<Reply>, ClientError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.replies).take(REPLY_BYTES_MAX);
        if limited.read_until(b'\n', &mut line)? == 0 {
            let gone = io::Error::new(io::ErrorKind::UnexpectedEof, "the recorder has gone away");
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
