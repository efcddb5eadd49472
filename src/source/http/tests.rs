//! Real servers on loopback, with everything that a camera's server does wrong.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use lenslog_journal::{SimulatedClock, Timestamp};

use super::super::SourceSpec;
use super::super::samples::jpeg;
use super::*;

/// Short, for servers that never answer.
const LIMITS: Limits =
    Limits { answer: Duration::from_millis(300), silence: Duration::from_millis(300) };
/// Long, for servers that do.
const PATIENT: Limits =
    Limits { answer: Duration::from_secs(60), silence: Duration::from_secs(60) };

const MULTIPART: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--cut\r\n\r\n";

/// A server that answers each connection as told, given the head of the request; returns the address.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> String {
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
                answer(&head, &mut stream);
            });
        }
    });
    address
}

/// A part of a multipart answer.
fn part(seed: u8) -> Vec<u8> {
    let picture = jpeg(32, 24, seed);
    let head =
        format!("--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    [head.as_bytes(), &picture, b"\r\n"].concat()
}

fn open_with(url: &str, limits: Limits, cancel: &Cancel) -> Result<HttpSource, SourceError> {
    let SourceSpec::Http(url) = url.parse().unwrap() else { panic!("{url}") };
    let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
    HttpSource::open(&url, FrameRate::MAX, limits, clock, cancel.clone())
}

/// Frames until the source fails, and how it does.
fn drain(source: Result<HttpSource, SourceError>) -> (usize, String) {
    let mut frames = 0;
    let mut source = match source {
        Ok(source) => source,
        Err(error) => return (0, error.to_string()),
    };
    loop {
        match source.next_item() {
            Ok(Some(SourceItem::Frame(_))) => frames += 1,
            Ok(Some(SourceItem::Problem(problem))) => panic!("{problem}"),
            Ok(None) => panic!("nobody cancelled it"),
            Err(error) => return (frames, error.to_string()),
        }
    }
}

#[track_caller]
fn check(url: &str, limits: Limits, frames: usize, expected: &str) {
    let (found, error) = drain(open_with(url, limits, &Cancel::new()));
    assert_eq!(found, frames, "{error}");
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    assert!(!error.contains("hunter2"), "{error}");
}

/// Waits until the other side hangs up.
fn hold(stream: &mut TcpStream) {
    let _ = io::copy(stream, &mut io::sink());
}

#[test]
fn pictures_of_a_multipart_answer_become_frames() {
    let address = serve(|_, stream| {
        stream.write_all(MULTIPART.as_bytes()).unwrap();
        for seed in 0..3 {
            stream.write_all(&part(seed)).unwrap();
        }
    });
    // They come at once: those that come too soon are not looked at.
    let (frames, error) = drain(open_with(&format!("http://{address}/"), PATIENT, &Cancel::new()));
    assert!((1..=3).contains(&frames), "{frames}");
    assert!(error.contains("ended the stream") && error.contains(&address), "{error}");
}

#[test]
fn a_password_is_sent_and_asked_for() {
    let address = serve(|head, stream| {
        // joe:hunter2
        if head.contains("uthorization: Basic am9lOmh1bnRlcjI=\r\n") {
            stream.write_all(MULTIPART.as_bytes()).unwrap();
            stream.write_all(&part(1)).unwrap();
        } else {
            let asked =
                if head.starts_with("GET /digest") { "Digest realm=x" } else { "Basic realm=x" };
            let answer = format!(
                "HTTP/1.1 401 No\r\nWWW-Authenticate: {asked}\r\nContent-Length: 0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    check(&format!("http://joe:hunter2@{address}/"), PATIENT, 1, "ended the stream");
    check(&format!("http://{address}/"), PATIENT, 0, "USER:PASSWORD");
    check(&format!("http://joe:wrong@{address}/"), PATIENT, 0, "USER:PASSWORD");
    check(&format!("http://{address}/digest"), PATIENT, 0, "curl --digest");
}

#[test]
fn redirects_are_followed_with_the_password_on_the_same_host_and_not_for_ever() {
    let address = serve(|head, stream| {
        let to = match head.split(' ').nth(1) {
            Some("/circle") => "/circle",
            Some("/old") => "/new",
            _ => {
                assert!(head.contains("am9lOmh1bnRlcjI="), "{head}");
                stream.write_all(MULTIPART.as_bytes()).unwrap();
                stream.write_all(&part(1)).unwrap();
                return;
            }
        };
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    check(&format!("http://joe:hunter2@{address}/old"), PATIENT, 1, "ended the stream");
    check(&format!("http://joe:hunter2@{address}/circle"), PATIENT, 0, "more than 5 times");
}

#[test]
fn a_server_that_stalls_trickles_or_never_answers_is_given_up() {
    let address = serve(|head, stream| match head.split(' ').nth(1) {
        Some("/silent") => hold(stream),
        Some("/stalls") => {
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
    check(&format!("http://{address}/silent"), LIMITS, 0, "does not answer in time");
    check(&format!("http://{address}/stalls"), LIMITS, 1, "in time");
    check(&format!("http://{address}/endless"), PATIENT, 0, "header");
}

#[test]
fn a_stream_that_never_holds_a_picture_is_given_up() {
    let address = serve(|_, stream| {
        stream.write_all(MULTIPART.as_bytes()).unwrap();
        while stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    let cancel = Cancel::new();
    let mut source = open_with(&format!("http://{address}/"), PATIENT, &cancel).unwrap();
    source.patience.expire();
    let error = source.next_item().unwrap_err().to_string();
    assert!(error.contains("sends no picture"), "{error}");
}

#[test]
fn whatever_is_no_stream_is_told_as_what_it_is() {
    let address = serve(|head, stream| {
        let answer = match head.split(' ').nth(1) {
            Some("/page") => "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\n\r\n<html>",
            Some("/gone") => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            _ => "SSH-2.0-OpenSSH_9\r\n",
        };
        stream.write_all(answer.as_bytes()).unwrap();
    });
    check(&format!("http://{address}/page"), PATIENT, 0, "text/html");
    check(&format!("http://{address}/gone"), PATIENT, 0, "404 Not Found");
    check(&format!("http://{address}/ssh"), PATIENT, 0, "check the address");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(&format!("http://{nobody}/"), PATIENT, 0, "check the address");
}

#[test]
fn a_camera_with_single_pictures_is_asked_again_and_again() {
    let asked = Arc::new(Mutex::new(0_u8));
    let counter = Arc::clone(&asked);
    let address = serve(move |_, stream| {
        let mut asked = counter.lock().unwrap();
        *asked += 1;
        if *asked > 3 {
            stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
            return;
        }
        let picture = jpeg(32, 24, *asked);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            picture.len()
        );
        stream.write_all(&[head.as_bytes(), &picture].concat()).unwrap();
    });
    check(&format!("http://{address}/"), PATIENT, 3, "503");
    assert_eq!(*asked.lock().unwrap(), 4, "the first answer is the first picture");
}

#[test]
fn cancelling_ends_a_wait_at_once() {
    let address = serve(|_, stream| {
        stream.write_all(MULTIPART.as_bytes()).unwrap();
        stream.write_all(&part(1)).unwrap();
        hold(stream);
    });
    let cancel = Cancel::new();
    let mut source = open_with(&format!("http://{address}/"), PATIENT, &cancel).unwrap();
    assert!(matches!(source.next_item().unwrap(), Some(SourceItem::Frame(_))));
    let waiting = std::thread::spawn(move || source.next_item());
    cancel.cancel();
    assert!(waiting.join().unwrap().unwrap().is_none());
}

#[test]
fn credentials_become_a_header_and_leave_the_address() {
    for (url, address, expected) in [
        ("http://door/1", "http://door/1", None),
        ("http://joe:pa%40ss@door:80/a@b?c", "http://door:80/a@b?c", Some("joe:pa@ss")),
        ("https://joe@door", "https://door", Some("joe:")),
        ("http://joe:a:b@door/", "http://door/", Some("joe:a:b")),
    ] {
        let (found, header) = split_credentials(url);
        assert_eq!(found, address);
        let pair = header.map(|header| {
            let encoded = header.strip_prefix("Basic ").unwrap().to_owned();
            String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
        });
        assert_eq!(pair.as_deref(), expected, "{url}");
    }
}
