//! [`Server`]: listens, and gives each connection a thread for a short time.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::request::HEAD_BYTES_MAX;
use super::slots::{ConnectionSlots, Stage};
use super::{Request, Response};

/// How long a request may take to arrive.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(3);
/// How long its answer may take to be taken.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
/// What a client has sent beyond its request is read up to here, so that the answer reaches it.
const REST_BYTES_MAX: usize = 64 << 10;
/// After an error of listening, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the answer to a request. Called from several threads at once.
pub type Respond = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// Listens until it is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on an address.
    ///
    /// # Errors
    ///
    /// Those of the operating system: the address is in use, is none of this machine's, or may not be used.
    pub fn start(address: SocketAddr, respond: Respond) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("metrics listen".to_owned())
            .spawn(move || listen(&listener, &respond, &stopped))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens, with the port that was given to it where none was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It cannot be full: no other thread writes to it.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that listens for readers of metrics panicked");
        }
    }
}

fn listen(listener: &TcpListener, respond: &Respond, stop: &OwnedFd) {
    let slots = ConnectionSlots::default();
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        ];
        let waited = poll(&mut fds, None);
        if !fds[0].revents().is_empty() {
            return;
        }
        if waited.is_err() {
            std::thread::park_timeout(PAUSE);
            continue;
        }
        match listener.accept() {
            Ok((stream, _)) => begin(stream, respond, &slots),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A connection that is gone already, or no more files: those that are served will end.
            Err(error) => {
                tracing::debug!(%error, "a reader of metrics could not be let in");
                std::thread::park_timeout(PAUSE);
            }
        }
    }
}

fn begin(mut stream: TcpStream, respond: &Respond, slots: &ConnectionSlots) {
    let Some(place) = slots.take(&stream) else {
        let full = Response::text(503, "too many connections at once; try again\n");
        // One try that does not block: it fits into an empty buffer.
        if stream.set_nonblocking(true).is_ok() {
            let _ = stream.write(&full.to_bytes(false));
        }
        return;
    };
    let respond = Arc::clone(respond);
    let spawned = std::thread::Builder::new().name("metrics reader".to_owned()).spawn(move || {
        let deadline = Instant::now() + REQUEST_DEADLINE;
        if let Err(error) = serve(&mut stream, &respond, deadline, &|stage| place.comes_to(stage)) {
            tracing::debug!(%error, "a reader of metrics went away");
        }
    });
    if let Err(error) = spawned {
        tracing::debug!(%error, "a reader of metrics gets no thread");
    }
}

fn serve(
    stream: &mut TcpStream,
    respond: &Respond,
    deadline: Instant,
    comes_to: &dyn Fn(Stage),
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let request = read_request(stream, deadline)?;
    comes_to(Stage::Answering);
    let (response, only_head) = match request {
        Answer::To(request) => (respond(&request), request.only_head),
        Answer::Error(response) => (response, false),
        Answer::None => return Ok(()),
    };
    let deadline = Instant::now() + ANSWER_DEADLINE;
    write_all(stream, &response.to_bytes(only_head), deadline)?;
    comes_to(Stage::Leaving);
    // A connection closed over unread bytes is reset, and the answer may be lost on its way.
    stream.shutdown(Shutdown::Write)?;
    let (mut rest, mut buffer) = (0, [0; 4096]);
    while rest < REST_BYTES_MAX {
        match read(stream, &mut buffer, deadline)? {
            0 => break,
            len => rest += len,
        }
    }
    Ok(())
}

enum Answer {
    To(Request),
    Error(Response),
    /// The client has said nothing and gone.
    None,
}

fn read_request(stream: &mut TcpStream, deadline: Instant) -> io::Result<Answer> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let room = (HEAD_BYTES_MAX - head.len()).min(buffer.len());
        let len = match read(stream, buffer.get_mut(..room).unwrap_or_default(), deadline) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !head.is_empty() => {
                return Ok(Answer::Error(Response::text(408, "the request took too long\n")));
            }
            Err(error) => return Err(error),
        };
        head.extend_from_slice(buffer.get(..len).unwrap_or_default());
        match Request::parse(&head) {
            Ok(Some(request)) => return Ok(Answer::To(request)),
            Ok(None) if len == 0 && head.is_empty() => return Ok(Answer::None),
            Ok(None) if len == 0 => {
                return Ok(Answer::Error(Response::text(400, "the request has no end\n")));
            }
            Ok(None) => {}
            Err(bad) => {
                let text = "this serves GET /metrics and GET /healthz\n";
                return Ok(Answer::Error(Response::text(bad.status(), text)));
            }
        }
    }
}

/// Reads once, no longer than until the deadline.
fn read(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
    stream.set_read_timeout(Some(left(deadline)?))?;
    stream.read(buffer).map_err(timed_out)
}

fn write_all(stream: &mut TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let len = stream.write(bytes).map_err(timed_out)?;
        bytes = bytes.get(len..).unwrap_or_default();
    }
    Ok(())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket's time-out has two names.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::super::slots::CONNECTIONS_MAX;
    use super::*;

    fn server() -> Server {
        let respond: Respond =
            Arc::new(|request| Response::text(200, format!("you asked for {}\n", request.path)));
        Server::start("127.0.0.1:0".parse().unwrap(), respond).unwrap()
    }

    fn ask(server: &Server, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        answer(&mut stream)
    }

    fn answer(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_request_is_answered_and_the_connection_ends() {
        let server = server();
        let answer = ask(&server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nContent-Length: 23\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nyou asked for /metrics\n"), "{answer}");
        let head = ask(&server, b"HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(head.contains("Content-Length: 23\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(ask(&server, b"PUT / HTTP/1.1\r\n\r\n").contains("405 Method Not Allowed\r\n"));
        let with_body = [b"POST / HTTP/1.1\r\n\r\n".as_slice(), &[b'x'; 30_000]].concat();
        assert!(ask(&server, &with_body).contains("405"), "the answer is not lost over a body");
    }

    #[test]
    fn whoever_says_nothing_loses_the_place_to_whoever_asks() {
        let server = server();
        // Twice as many as there are slots, and none of them goes by itself.
        let mut silent: Vec<_> = (0..CONNECTIONS_MAX * 2)
            .map(|_| TcpStream::connect(server.address()).unwrap())
            .collect();
        assert!(ask(&server, b"GET / HTTP/1.1\r\n\r\n").contains("you asked for /"));
        // The oldest ones were sent away, in the order in which they came.
        for stream in &mut silent[..CONNECTIONS_MAX] {
            assert_eq!(answer(stream), "");
        }
        // One that still has its place is served.
        let last = silent.last_mut().unwrap();
        last.write_all(b"GET /late HTTP/1.1\r\n\r\n").unwrap();
        assert!(answer(last).contains("you asked for /late"));
    }

    #[test]
    fn whoever_has_an_answer_and_does_not_go_loses_the_place() {
        let server = server();
        let lingering: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|_| {
                let mut stream = TcpStream::connect(server.address()).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
                assert!(answer(&mut stream).contains("you asked for /"));
                stream
            })
            .collect();
        assert!(ask(&server, b"GET / HTTP/1.1\r\n\r\n").contains("you asked for /"));
        drop(lingering);
    }

    #[test]
    fn whoever_comes_while_all_are_being_answered_is_turned_away() {
        let (enter, entered) = std::sync::mpsc::channel();
        let gate = Arc::new(std::sync::Mutex::new(()));
        let closed = gate.lock().unwrap();
        let waiting = Arc::clone(&gate);
        let respond: Respond = Arc::new(move |_| {
            enter.send(()).unwrap();
            drop(waiting.lock());
            Response::text(200, "at last\n")
        });
        let server = Server::start("127.0.0.1:0".parse().unwrap(), respond).unwrap();
        let mut busy: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|_| {
                let mut stream = TcpStream::connect(server.address()).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
                entered.recv().unwrap();
                stream
            })
            .collect();
        let turned_away = answer(&mut TcpStream::connect(server.address()).unwrap());
        assert!(turned_away.starts_with("HTTP/1.1 503 "), "{turned_away}");
        drop(closed);
        assert!(busy.iter_mut().all(|stream| answer(stream).ends_with("at last\n")));
    }

    #[test]
    fn a_slow_request_ends_at_the_deadline_whatever_trickles_in() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let respond: Respond = Arc::new(|_| Response::text(200, ""));
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(b"GET / HT").unwrap();
        // Nothing else comes.
        let deadline = Instant::now() + Duration::from_millis(50);
        let serving = std::thread::spawn(move || serve(&mut stream, &respond, deadline, &|_| ()));
        let answer = answer(&mut client);
        assert!(answer.starts_with("HTTP/1.1 408 ") && Instant::now() >= deadline, "{answer}");
        drop(client);
        serving.join().unwrap().unwrap();
    }

    /// Both ends of a connection, the server's first.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    #[test]
    fn nobody_is_waited_for_beyond_the_deadline_by_reading_or_by_writing() {
        let (stream, client) = connection();
        let (done, both_done) = std::sync::mpsc::channel();
        for is_reading in [true, false] {
            let (mut stream, done) = (stream.try_clone().unwrap(), done.clone());
            std::thread::spawn(move || {
                let deadline = Instant::now() + Duration::from_millis(50);
                // More than any buffer between the two takes.
                let result = match is_reading {
                    true => read(&mut stream, &mut [0; 16], deadline).map(drop),
                    false => write_all(&mut stream, &vec![0; 64 << 20], deadline),
                };
                done.send(result.map_err(|error| error.kind())).unwrap();
            });
        }
        for _ in 0..2 {
            let result = both_done.recv_timeout(Duration::from_secs(20));
            assert_eq!(result, Ok(Err(io::ErrorKind::TimedOut)));
        }
        drop(client);
    }

    #[test]
    fn what_comes_behind_a_request_is_read_up_to_a_limit() {
        let (mut stream, mut client) = connection();
        let sent = REST_BYTES_MAX + (32 << 10);
        let sending = std::thread::spawn(move || {
            client.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
            client.write_all(&vec![b'x'; sent]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client
        });
        let respond: Respond = Arc::new(|_| Response::text(200, ""));
        let deadline = Instant::now() + REQUEST_DEADLINE;
        serve(&mut stream, &respond, deadline, &|_| ()).unwrap();
        let (mut left, mut buffer) = (0, [0; 4096]);
        while let len @ 1.. = stream.read(&mut buffer).unwrap() {
            left += len;
        }
        assert!(left > 0 && left < sent, "{left}");
        sending.join().unwrap();
    }

    #[test]
    fn a_server_that_is_dropped_listens_no_more_and_the_port_is_free() {
        let server = server();
        let address = server.address();
        let silent = TcpStream::connect(address).unwrap();
        drop(server);
        drop(silent);
        TcpStream::connect(address).unwrap_err();
    }
}
