//! Real servers on loopback, with everything that a camera's server does wrong.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use image::ImageFormat;
use lenslog_journal::{SimulatedClock, Timestamp};

use super::super::SourceSpec;
use super::super::samples::{jpeg, picture};
use super::*;

/// How long the first picture, and each later one, is waited for.
type Waits = (Duration, Duration);

const MOMENT: Duration = Duration::from_millis(300);
const MINUTE: Duration = Duration::from_secs(60);
/// For servers that never answer.
const SHORT: Waits = (MOMENT, MOMENT);
/// For servers that fall silent.
const THEN_SHORT: Waits = (MINUTE, MOMENT);
/// For servers that do answer.
const LONG: Waits = (MINUTE, MINUTE);

const MULTIPART: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--cut\r\n\r\n";
/// An answer after which the camera is not asked again.
const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";

/// A server that answers each connection, given the path and the head of the request; returns the address.
fn serve(answer: impl Fn(&str, &str, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                let path = head.split(' ').nth(1).unwrap_or_default();
                answer(path, &head, &mut stream);
            });
        }
    });
    address
}

/// A server that gives the answers one after another, whatever is asked for, and then forbids more.
fn serve_each(answers: Vec<Vec<u8>>) -> String {
    let asked = AtomicU32::new(0);
    serve(move |_, _, stream| {
        let number = asked.fetch_add(1, Ordering::Relaxed) as usize;
        // The other side may hang up before it has read all.
        let _ = stream.write_all(answers.get(number).map_or(FORBIDDEN, Vec::as_slice));
    })
}

/// A part of a multipart answer.
fn part(seed: u8) -> Vec<u8> {
    let picture = jpeg(32, 24, seed);
    let head =
        format!("--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    [head.as_bytes(), &picture, b"\r\n"].concat()
}

/// An answer with that status and head, and a body of known length.
fn whole(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// An answer that is a single picture.
fn snapshot(seed: u8) -> Vec<u8> {
    whole("200 OK", "Content-Type: image/jpeg\r\n", &jpeg(32, 24, seed))
}

fn open_with(
    url: &str,
    waits: Waits,
    cancel: &CancellationToken,
) -> Result<HttpSource, SourceError> {
    let SourceSpec::Http(url) = url.parse().unwrap() else { panic!("{url}") };
    let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
    let stall_timeout = StallTimeout::with(waits.0, waits.1, cancel.clone());
    HttpSource::open(&url, FrameRate::MAX, stall_timeout, clock, cancel.clone())
}

/// What came of a camera until it was lost.
#[derive(Debug, Default)]
struct Seen {
    frames: usize,
    problems: Vec<String>,
    error: String,
}

fn drain(url: &str, waits: Waits) -> Seen {
    let mut seen = Seen::default();
    let mut source = match open_with(url, waits, &CancellationToken::new()) {
        Ok(source) => source,
        Err(error) => return Seen { error: error.to_string(), ..seen },
    };
    loop {
        match source.next_item() {
            Ok(Some(SourceItem::Frame(_))) => seen.frames += 1,
            Ok(Some(SourceItem::Problem(problem))) => seen.problems.push(problem.to_string()),
            Ok(None) => panic!("nothing cancelled it"),
            Err(error) => return Seen { error: error.to_string(), ..seen },
        }
    }
}

#[track_caller]
fn check(url: &str, waits: Waits, frames: usize, expected: &str) {
    let seen = drain(url, waits);
    assert_eq!(seen.frames, frames, "{seen:?}");
    assert!(seen.error.contains(expected), "{seen:?} does not say {expected:?}");
    assert!(!format!("{seen:?}").contains("hunter2"), "{seen:?}");
}

/// Waits until the other side hangs up.
fn hold(stream: &mut TcpStream) {
    let _ = io::copy(stream, &mut io::sink());
}

#[test]
fn pictures_of_a_multipart_answer_become_frames() {
    let address = serve_each(vec![[MULTIPART.as_bytes(), &part(0), &part(1), &part(2)].concat()]);
    let seen = drain(&format!("http://{address}/"), LONG);
    // They come at once: those that come too soon are not looked at.
    assert!((1..=3).contains(&seen.frames), "{seen:?}");
    assert!(seen.problems.is_empty() && seen.error.contains("403"), "{seen:?}");
    assert!(seen.error.contains(&address), "{seen:?}");
}

#[test]
fn an_answer_that_ends_after_a_picture_is_a_snapshot_whatever_it_is_called() {
    let plain = jpeg(32, 24, 1);
    let mut png = io::Cursor::new(Vec::new());
    picture(32, 24, 1).write_to(&mut png, ImageFormat::Png).unwrap();
    let multipart = [&part(1)[..], b"--cut--\r\n"].concat();
    let garbage = [&plain[..], &[b'x'; 3000]].concat();
    for (kind, body) in [
        ("", &plain),
        ("Content-Type: application/octet-stream\r\n", &plain),
        ("Content-Type: image/pjpeg\r\n", &plain),
        ("Content-Type: text/html\r\n", &plain),
        ("Content-Type: image/jpeg\r\n", &plain[..plain.len() - 2].to_vec()),
        ("Content-Type: image/jpeg\r\n", &[&plain[..20], &[0; 608], &plain[20..]].concat()),
        ("Content-Type: image/jpeg\r\n", &[b"\r\n", &plain[..], b"\r\n"].concat()),
        ("Content-Type: image/jpeg\r\n", &garbage),
        ("Content-Type: image/png\r\n", png.get_ref()),
        ("Content-Type: image/jpeg\r\n", png.get_ref()),
        ("Content-Type: multipart/x-mixed-replace; boundary=cut\r\n", &multipart),
    ] {
        let address = serve_each(vec![whole("200 OK", kind, body); 3]);
        let seen = drain(&format!("http://{address}/"), LONG);
        assert_eq!((seen.frames, seen.problems.len()), (3, 0), "{kind}: {seen:?}");
        assert!(seen.error.contains("403"), "{kind}: {seen:?}");
    }
}

#[test]
fn a_format_that_is_not_read_is_named_at_once() {
    let gif = [&b"GIF89a"[..], &[0x20; 3000]].concat();
    let named = "the picture is GIF; expected JPEG or PNG";
    let snapshot = serve_each(vec![whole("200 OK", "Content-Type: image/jpeg\r\n", &gif)]);
    let stream = serve(move |_, _, stream| {
        let _ = stream.write_all(&[MULTIPART.as_bytes(), &gif, &gif].concat());
        hold(stream);
    });
    for (address, waits) in [(snapshot, LONG), (stream, SHORT)] {
        let seen = drain(&format!("http://{address}/"), waits);
        assert_eq!((seen.frames, seen.problems.len()), (0, 1), "{seen:?}");
        assert!(seen.problems[0].contains(named) && seen.error.contains(named), "{seen:?}");
    }
}

#[test]
fn a_camera_is_asked_to_close_the_connection_after_its_answer() {
    // The length of a multipart answer is not believed, so the end of the connection ends it.
    let kind = "Content-Type: multipart/x-mixed-replace; boundary=cut\r\n";
    let address = serve(move |_, head, stream| {
        let _ = stream.write_all(&whole("200 OK", kind, &part(1)));
        if !head.to_ascii_lowercase().contains("\r\nconnection: close\r\n") {
            hold(stream);
        }
    });
    let mut source =
        open_with(&format!("http://{address}/"), LONG, &CancellationToken::new()).unwrap();
    for _ in 0..3 {
        assert!(matches!(source.next_item().unwrap(), Some(SourceItem::Frame(_))));
    }
}

#[test]
fn a_head_that_curl_and_ffmpeg_pass_is_passed() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Type : multipart/x;boundary=cut\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\nContent-Type: multipart/x;\r\n boundary=cut\r\nContent-Length: unknown\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ngarbage\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "",
    ] {
        let answer = [head.as_bytes(), &part(1), &part(2)].concat();
        let address = serve_each(vec![answer; 2]);
        let seen = drain(&format!("http://{address}/"), LONG);
        assert!(seen.frames >= 2 && seen.problems.is_empty(), "{head:?}: {seen:?}");
    }
}

#[test]
fn a_failed_request_is_a_lost_picture_and_no_lost_camera() {
    let busy = whole("503 Busy", "", b"");
    let page = whole("200 OK", "Content-Type: text/html\r\n", b"<html>");
    let answers = [snapshot(1), busy, snapshot(2), page, snapshot(3), Vec::new(), snapshot(4)];
    let address = serve_each(answers.to_vec());
    let seen = drain(&format!("http://{address}/"), LONG);
    assert_eq!((seen.frames, seen.problems.len()), (4, 3), "{seen:?}");
    assert!(seen.problems[0].contains("no picture came: it answers 503"), "{seen:?}");
    assert!(seen.problems[1].contains("text/html without a picture"), "{seen:?}");
}

/// A source that waits a minute for its first picture and `then` for each later one.
fn opened(address: &str, then: Duration) -> (HttpSource, StallTimeout) {
    let cancel = CancellationToken::new();
    let SourceSpec::Http(url) = format!("http://{address}/").parse().unwrap() else { panic!() };
    let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
    let stall_timeout = StallTimeout::with(MINUTE, then, cancel.clone());
    let source =
        HttpSource::open(&url, FrameRate::MAX, stall_timeout.clone(), clock, cancel).unwrap();
    (source, stall_timeout)
}

#[test]
fn a_camera_is_lost_when_no_request_brings_a_picture_for_too_long() {
    let asked = AtomicU32::new(0);
    let address = serve(move |_, _, stream| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        let busy = whole("503 Busy", "", b"");
        let _ = stream.write_all(&if is_first { snapshot(1) } else { busy });
    });
    let (mut source, stall_timeout) = opened(&address, MINUTE);
    assert!(matches!(source.next_item().unwrap(), Some(SourceItem::Frame(_))));
    assert!(matches!(source.next_item().unwrap(), Some(SourceItem::Problem(_))));
    stall_timeout.expire();
    let error = source.next_item().unwrap_err().to_string();
    assert!(error.contains("sends no picture; the last answer: it answers 503"), "{error}");
}

#[test]
fn a_camera_is_waited_for_as_long_as_promised() {
    // Before its first picture longer than between two of them.
    let first_only = serve(|_, _, stream| {
        stream.write_all(MULTIPART.as_bytes()).unwrap();
        stream.write_all(&part(1)).unwrap();
        hold(stream);
    });
    let (mut source, stall_timeout) = opened(&first_only, MOMENT);
    assert!(stall_timeout.left() > MOMENT);
    assert!(matches!(source.next_item().unwrap(), Some(SourceItem::Frame(_))));
    assert!(stall_timeout.left() <= MOMENT);
    let error = source.next_item().unwrap_err().to_string();
    assert!(error.contains("no picture any more"), "{error}");
}

/// What the server of [`cameras_with_passwords`] demands, and answers with where it is shown.
fn demand(path: &str) -> &'static str {
    match path {
        "/basic" => "WWW-Authenticate: Basic realm=\"cam\"\r\n",
        "/md5" => "WWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\", qop=\"auth\"\r\n",
        "/old" => "WWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\"\r\n",
        "/sha" => {
            "WWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\", qop=\"auth\", algorithm=SHA-256\r\n"
        }
        "/both" => {
            "WWW-Authenticate: Basic realm=\"cam\"\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\", qop=\"auth\"\r\n"
        }
        "/list" => {
            "WWW-Authenticate: Basic realm=\"cam\", Digest realm=\"cam\", nonce=\"abc\", qop=\"auth\"\r\n"
        }
        _ => "",
    }
}

/// Whether a request shows that it knows the password of joe, hunter2, as RFC 7616 says.
fn is_known(path: &str, head: &str) -> bool {
    let field = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let Some(field) = field else { return false };
    if matches!(path, "/basic" | "/bare") {
        return field == "Basic am9lOmh1bnRlcjI=";
    }
    let value = |name: &str| {
        let (_, rest) = field.split_once(&format!("{name}="))?;
        Some(rest.trim_start_matches('"').split(['"', ',']).next()?.to_owned())
    };
    let hash = |text: String| match path {
        "/sha" => sha256(&text),
        _ => md5(&text),
    };
    let Some(response) = value("response").filter(|_| field.starts_with("Digest ")) else {
        return false;
    };
    let (user, request) = (hash("joe:cam:hunter2".into()), hash(format!("GET:{path}")));
    let expected = match (value("nc"), value("cnonce")) {
        (Some(nc), Some(cnonce)) => format!("{user}:abc:{nc}:{cnonce}:auth:{request}"),
        _ => format!("{user}:abc:{request}"),
    };
    response == hash(expected)
}

fn md5(text: &str) -> String {
    program("md5sum", text)
}

fn sha256(text: &str) -> String {
    program("sha256sum", text)
}

/// What a program of coreutils makes of a text: a second opinion.
fn program(name: &str, text: &str) -> String {
    use std::process::{Command, Stdio};
    let mut child =
        Command::new(name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    String::from_utf8(output).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_password_is_shown_as_the_camera_wants_it() {
    let shown = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&shown);
    let address = serve(move |path, head, stream| {
        let is_over = path == "/basic" && head.contains("uthorization") && !is_known(path, head);
        let answer = if is_known(path, head) {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            if number % 3 == 2 { FORBIDDEN.to_vec() } else { snapshot(1) }
        } else {
            assert!(!is_over || head.contains("am9l"), "{head}");
            whole("401 Unauthorized", demand(path), b"")
        };
        let _ = stream.write_all(&answer);
    });
    for path in ["basic", "md5", "old", "sha", "both", "list", "bare"] {
        shown.store(0, Ordering::Relaxed);
        let seen = drain(&format!("http://joe:hunter2@{address}/{path}"), LONG);
        assert_eq!((seen.frames, seen.problems.len()), (2, 0), "{path}: {seen:?}");
        check(&format!("http://joe:wrong@{address}/{path}"), LONG, 0, "refuses the name");
        check(&format!("http://{address}/{path}"), LONG, 0, "wants a name and a password (401");
    }
    check(&format!("http://{address}/md5"), LONG, 0, "% as %25");
}

#[test]
fn a_wrong_password_is_sent_once() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let address = serve(move |path, head, stream| {
        if head.contains("uthorization") {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let _ = stream.write_all(&whole("401 Unauthorized", demand(path), b""));
    });
    for path in ["basic", "md5"] {
        asked.store(0, Ordering::Relaxed);
        check(&format!("http://joe:wrong@{address}/{path}"), LONG, 0, "refuses the name");
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{path}");
    }
}

#[test]
fn redirects_are_followed_with_the_password_on_the_same_host_and_not_for_ever() {
    let address = serve(|path, head, stream| {
        let to = match path {
            "/circle" => "/circle",
            "/old-address" => "/md5",
            "/elsewhere" => "http://localhost:1/md5",
            _ if is_known(path, head) => {
                let _ = stream.write_all(&snapshot(1));
                return;
            }
            _ => {
                let _ = stream.write_all(&whole("401 Unauthorized", demand(path), b""));
                return;
            }
        };
        let location = format!("Location: {to}\r\n");
        let _ = stream.write_all(&whole("302 Found", &location, b""));
    });
    let cancel = CancellationToken::new();
    let url = format!("http://joe:hunter2@{address}/old-address");
    let mut source = open_with(&url, LONG, &cancel).unwrap();
    for _ in 0..3 {
        assert!(matches!(source.next_item().unwrap(), Some(SourceItem::Frame(_))));
    }
    check(&format!("http://joe:hunter2@{address}/circle"), LONG, 0, "more than 5 times");
    check(&format!("http://joe:hunter2@{address}/elsewhere"), LONG, 0, "check the address");
}

#[test]
fn a_password_is_not_shown_to_another_host() {
    let other = serve(|_, head, stream| {
        assert!(!head.contains("uthorization"), "{head}");
        let _ = stream.write_all(&whole("401 Unauthorized", demand("/basic"), b""));
    });
    let port = other.rsplit(':').next().unwrap().to_owned();
    let address = serve(move |_, _, stream| {
        let location = format!("Location: http://localhost:{port}/\r\n");
        let _ = stream.write_all(&whole("302 Found", &location, b""));
    });
    let expected = "redirects to localhost, which wants a password";
    check(&format!("http://joe:hunter2@{address}/"), LONG, 0, expected);
}

#[test]
fn a_server_that_stalls_or_never_answers_is_given_up() {
    let address = serve(|path, _, stream| match path {
        "/silent" => hold(stream),
        "/stalls" => {
            stream.write_all(MULTIPART.as_bytes()).unwrap();
            stream.write_all(&part(1)).unwrap();
            hold(stream);
        }
        _ => {
            // A header without end.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream
                .write_all(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
                .is_ok()
            {}
        }
    });
    check(&format!("http://{address}/silent"), SHORT, 0, "does not answer in time");
    check(&format!("http://{address}/stalls"), THEN_SHORT, 1, "no picture any more");
    check(&format!("http://{address}/endless"), LONG, 0, "header");
}

#[test]
fn a_stream_that_never_holds_a_picture_is_given_up() {
    let address = serve(|_, _, stream| {
        stream.write_all(MULTIPART.as_bytes()).unwrap();
        while stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    let cancel = CancellationToken::new();
    let mut source = open_with(&format!("http://{address}/"), LONG, &cancel).unwrap();
    source.stall_timeout.expire();
    let error = source.next_item().unwrap_err().to_string();
    assert!(error.contains("sends no picture"), "{error}");
}

#[test]
fn an_answer_without_a_picture_is_named() {
    let address = serve(|path, _, stream| {
        let answer = match path {
            "/page" => "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\n\r\n<html>",
            "/gone" => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            _ => "SSH-2.0-OpenSSH_9\r\n",
        };
        stream.write_all(answer.as_bytes()).unwrap();
    });
    check(&format!("http://{address}/page"), LONG, 0, "it sends text/html without a picture");
    check(&format!("http://{address}/gone"), LONG, 0, "404 Not Found");
    check(&format!("http://{address}/ssh"), LONG, 0, "check the address");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(&format!("http://{closed}/"), LONG, 0, "check the address");
}

#[test]
fn cancelling_ends_a_wait_at_once() {
    let address = serve(|_, _, stream| {
        stream.write_all(MULTIPART.as_bytes()).unwrap();
        stream.write_all(&part(1)).unwrap();
        hold(stream);
    });
    let cancel = CancellationToken::new();
    let mut source = open_with(&format!("http://{address}/"), LONG, &cancel).unwrap();
    assert!(matches!(source.next_item().unwrap(), Some(SourceItem::Frame(_))));
    let waiting = std::thread::spawn(move || source.next_item());
    cancel.cancel();
    assert!(waiting.join().unwrap().unwrap().is_none());
}
