//! [`ControlServer`]: listens on the control socket; each client has a thread of its own.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::protocol::{ControlRequest, Reply};
use crate::{CLIENTS_MAX, REQUEST_BYTES_MAX, SOCKET, STREAMS_MAX, ShortPath};

/// A client that sends no request for so long gives its place to others.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the requests of clients.
pub trait Handler: Send + Sync + 'static {
    /// Serves a request and passes each reply to `say`. `input` is what the client sends after its request.
    ///
    /// # Errors
    ///
    /// The reason for the client.
    fn handle(
        &self,
        request: ControlRequest,
        input: &mut dyn Read,
        say: &mut dyn FnMut(&Reply) -> io::Result<()>,
    ) -> Result<(), String>;
}

/// Listens until it is dropped. Clients are then cut off, so that none keeps what it was using.
pub struct ControlServer {
    socket: ShortPath,
    stop: Arc<AtomicBool>,
    clients: Arc<Clients>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for ControlServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ControlServer")
            .field("socket", &self.socket.path)
            .finish_non_exhaustive()
    }
}

impl ControlServer {
    /// Listens in a data directory whose lock this process holds: a socket that is there is a left-over. Anything else
    /// is not removed.
    ///
    /// # Errors
    ///
    /// Those of the operating system; [`io::ErrorKind::AlreadyExists`] where something else has the socket's name.
    pub fn start(data: &Path, handler: Arc<dyn Handler>) -> io::Result<Self> {
        let short = ShortPath::of(data)?;
        match std::fs::symlink_metadata(&short.path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(&short.path)?,
            Ok(_) => {
                let path = data.join(SOCKET);
                let problem = format!("{}: not a socket; move it away", path.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        let listener = UnixListener::bind(&short.path)?;
        std::fs::set_permissions(&short.path, std::fs::Permissions::from_mode(0o600))?;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = Arc::<Clients>::default();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&clients));
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || listen(&listener, &handler, &stopped, &counted))?;
        Ok(Self { socket: short, stop, clients, thread: Some(thread) })
    }

    /// Whether clients of this data directory reach this server: the directory was not moved or unmounted.
    #[must_use]
    pub fn is_reachable(&self, data: &Path) -> bool {
        let identity = |path: &Path| {
            let found = std::fs::symlink_metadata(path).ok()?;
            Some((found.dev(), found.ino()))
        };
        identity(&data.join(SOCKET)).is_some_and(|found| Some(found) == identity(&self.socket.path))
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A connection makes the listener look at the flag.
        let _ = UnixStream::connect(&self.socket.path);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("control socket: its thread panicked");
        }
        self.clients.cut_off();
        let _ = std::fs::remove_file(&self.socket.path);
    }
}

/// The clients that are served.
#[derive(Debug, Default)]
struct Clients {
    count: AtomicUsize,
    /// Those that stream lines.
    streaming: AtomicUsize,
    streams: Mutex<Vec<(usize, UnixStream)>>,
}

impl Clients {
    fn streams(&self) -> MutexGuard<'_, Vec<(usize, UnixStream)>> {
        self.streams.lock()
    }

    fn remember(&self, number: usize, stream: &UnixStream) -> io::Result<()> {
        self.streams().push((number, stream.try_clone()?));
        Ok(())
    }

    fn forget(&self, number: usize) {
        self.streams().retain(|(other, _)| *other != number);
        self.count.fetch_sub(1, Ordering::AcqRel);
    }

    fn cut_off(&self) {
        for (_, stream) in &*self.streams() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn listen(
    listener: &UnixListener,
    handler: &Arc<dyn Handler>,
    stop: &AtomicBool,
    clients: &Arc<Clients>,
) {
    for (number, stream) in listener.incoming().enumerate() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if !takes_place(&clients.count, CLIENTS_MAX) {
            let _ = refuse(&stream, "control.sock: too many clients at once; try again");
            continue;
        }
        let (handler, counted) = (Arc::clone(handler), Arc::clone(clients));
        let serving = clients.remember(number, &stream).and_then(|()| {
            let thread = std::thread::Builder::new().name("control client".to_owned());
            thread.spawn(move || {
                if let Err(error) = serve(&stream, &*handler, &counted) {
                    tracing::debug!(%error, "control socket: a client disconnected");
                }
                counted.forget(number);
            })
        });
        if serving.is_err() {
            clients.forget(number);
        }
    }
}

/// Counts one more where there is a place.
fn takes_place(count: &AtomicUsize, most: usize) -> bool {
    let one_more = |count: usize| (count < most).then_some(count + 1);
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
}

fn serve(stream: &UnixStream, handler: &dyn Handler, clients: &Clients) -> io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    (&mut input).take(REQUEST_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    stream.set_read_timeout(None)?;
    let request = match serde_json::from_slice::<ControlRequest>(&line) {
        Ok(request) => request,
        Err(error) => {
            let reason = format!(
                "the request is not understood: {error}; use a program of the recorder's version"
            );
            return refuse(stream, &reason);
        }
    };
    // A stream may stay for days. It takes no place from those that ask and go.
    let streams = request == ControlRequest::Ingest;
    if streams && !takes_place(&clients.streaming, STREAMS_MAX) {
        return refuse(
            stream,
            "control.sock: too many programs ingest at once; end one of them, then try again",
        );
    }
    let result = handler.handle(request, &mut input, &mut |reply| write_reply(stream, reply));
    if streams {
        clients.streaming.fetch_sub(1, Ordering::AcqRel);
    }
    write_reply(stream, &result.map_or_else(|reason| Reply::Failed { reason }, |()| Reply::Done))
}

fn refuse(stream: &UnixStream, reason: &str) -> io::Result<()> {
    write_reply(stream, &Reply::Failed { reason: reason.to_owned() })
}

fn write_reply(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, SOCKET};

    /// Replies with the number of bytes that it was sent.
    struct Echo;

    impl Handler for Echo {
        fn handle(
            &self,
            request: ControlRequest,
            input: &mut dyn Read,
            say: &mut dyn FnMut(&Reply) -> io::Result<()>,
        ) -> Result<(), String> {
            if request != ControlRequest::Ingest {
                return Err("only ingest".to_owned());
            }
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            let name = bytes.len().to_string();
            let reply = Reply::Rebuilt { name, records: 1, lost: Vec::new() };
            say(&reply).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn requests_are_answered_and_refused_at_a_very_long_path() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("x".repeat(200));
        std::fs::create_dir(&data).unwrap();
        assert!(Client::connect(&data).unwrap().is_none());
        let server = ControlServer::start(&data, Arc::new(Echo)).unwrap();
        let mut client = Client::connect(&data).unwrap().unwrap();
        client.send(&ControlRequest::Ingest).unwrap();
        client.stream(&b"0123456789"[..]).unwrap();
        assert!(
            matches!(client.reply().unwrap(), Some(Reply::Rebuilt { name, .. }) if name == "10")
        );
        assert_eq!(client.reply().unwrap(), None);
        let mut client = Client::connect(&data).unwrap().unwrap();
        client.send(&ControlRequest::Status).unwrap();
        assert_eq!(client.reply().unwrap_err().to_string(), "only ingest");
        let mode = std::fs::metadata(data.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(server);
        assert!(Client::connect(&data).unwrap().is_none());
        assert!(!data.join(SOCKET).exists());
    }

    #[test]
    fn idle_streams_leave_places_for_short_requests() {
        let data = tempfile::tempdir().unwrap();
        let server = ControlServer::start(data.path(), Arc::new(Echo)).unwrap();
        let streaming = |count: usize| {
            while server.clients.streaming.load(Ordering::Acquire) != count {
                std::thread::yield_now();
            }
        };
        let asked = |request: &ControlRequest| {
            let mut client = Client::connect(data.path()).unwrap().unwrap();
            client.wait_at_most(Duration::from_secs(30)).unwrap();
            client.send(request).unwrap();
            client
        };
        let mut streams: Vec<_> =
            (0..STREAMS_MAX).map(|_| asked(&ControlRequest::Ingest)).collect();
        streaming(STREAMS_MAX);
        let answer = |request: &ControlRequest| asked(request).reply().unwrap_err().to_string();
        assert!(answer(&ControlRequest::Ingest).contains("too many programs ingest"));
        // A request that is answered was not refused for want of a place.
        assert_eq!(answer(&ControlRequest::Status), "only ingest");
        let first = streams.remove(0);
        first.stream(&b"0"[..]).unwrap();
        drop(first);
        streaming(STREAMS_MAX - 1);
        let mut next = asked(&ControlRequest::Ingest);
        next.stream(&b"0123"[..]).unwrap();
        assert!(next.reply().unwrap().is_some());
    }

    #[test]
    fn a_socket_is_replaced_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(SOCKET);
        drop(UnixListener::bind(&path).unwrap());
        drop(ControlServer::start(data.path(), Arc::new(Echo)).unwrap());
        std::fs::write(&path, "a note").unwrap();
        let error = ControlServer::start(data.path(), Arc::new(Echo)).unwrap_err();
        assert!(error.to_string().contains("not a socket; move it away"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"a note");
    }

    #[test]
    fn garbage_is_answered_with_an_error() {
        let data = tempfile::tempdir().unwrap();
        let _server = ControlServer::start(data.path(), Arc::new(Echo)).unwrap();
        let mut stream = UnixStream::connect(data.path().join(SOCKET)).unwrap();
        stream.write_all(b"{\"do\":\"fly\"}\n").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(
            answer.contains("\"say\":\"failed\"") && answer.contains("not understood"),
            "{answer}"
        );
    }
}
