//! [`TolerantConnector`]: connections whose answers begin with a plain HTTP head, whatever the camera wrote.
//!
//! Cameras send heads that no strict parser takes and that curl and ffmpeg pass: a blank before a colon, folded lines,
//! `ICY`, a wrong `Content-Length` on a stream. The head is rewritten before it is parsed; only the fields that are read
//! here are kept. The body passes unchanged. [`plain_head`] is pure.

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::super::stall_timeout::StallTimeout;

/// Longest head of an answer, interim ones included.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;

/// Fields that are kept, but for those that say where the body ends.
const KEPT: [&str; 3] = ["content-type", "location", "www-authenticate"];
/// What an answer without a head begins with: a boundary, a JPEG or a PNG picture.
const BODIES: [&[u8]; 3] = [b"--", b"\xFF\xD8\xFF", b"\x89PNG"];
/// The head of such an answer.
const NO_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// What the beginning of an answer is.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// More bytes are needed to know.
    Incomplete,
    /// No head of HTTP: the bytes are left as they are.
    Foreign,
    /// It is equivalent to `plain`, and the body begins after `length` bytes.
    Known {
        /// A head that a strict parser takes.
        plain: Vec<u8>,
        /// Bytes of the answer that belong to its head.
        length: usize,
    },
}

/// Reads the head at the beginning of `bytes`.
fn plain_head(bytes: &[u8]) -> Head {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
    let rest = bytes.get(start..).unwrap_or_default();
    if BODIES.iter().any(|body| rest.starts_with(body)) {
        return Head::Known { plain: NO_HEAD.to_vec(), length: 0 };
    }
    let Some(length) = head_length(rest) else { return Head::Incomplete };
    let text = String::from_utf8_lossy(rest.get(..length).unwrap_or_default());
    let mut lines = text.lines();
    let Some(status) = lines.next().and_then(status) else { return Head::Foreign };
    let body = rest.get(length..).unwrap_or_default();
    if (100..200).contains(&status) && status != 101 {
        // An interim answer: the real one follows.
        return match plain_head(body) {
            Head::Known { plain, length: more } if more > 0 => {
                Head::Known { plain, length: start + length + more }
            }
            Head::Known { .. } => Head::Foreign,
            other => other,
        };
    }
    let fields = fields(lines);
    let Some(end) = body_end(&fields, body) else { return Head::Incomplete };
    let mut plain = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    let kept = fields.iter().filter(|(name, _)| KEPT.contains(&name.as_str()));
    for (name, value) in kept {
        plain.push_str(&format!("{name}: {value}\r\n"));
    }
    plain.push_str(&end);
    plain.push_str("\r\n");
    Head::Known { plain: plain.into_bytes(), length: start + length }
}

/// Where the first empty line ends.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    for end in ends {
        match bytes.get(end..)? {
            [b'\n', ..] => return Some(end + 1),
            [b'\r', b'\n', ..] => return Some(end + 2),
            _ => {}
        }
    }
    None
}

/// The code in a status line such as `HTTP/1.1 200 OK` or `ICY 200 OK`.
fn status(line: &str) -> Option<u16> {
    let mut words = line.split_ascii_whitespace();
    let protocol = words.next()?.to_ascii_uppercase();
    let code = words.next()?;
    let is_known = protocol.starts_with("HTTP/") || protocol == "ICY";
    let is_code = code.len() == 3 && code.starts_with(['1', '2', '3', '4', '5']);
    if is_known && is_code { code.parse().ok() } else { None }
}

/// What the status means: the camera's own words may hold anything.
fn reason(status: u16) -> &'static str {
    let status = ureq::http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}

/// Fields by their names in lower case. Lines that are none are left out; a line that begins with a blank continues the
/// one before it.
fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        let folded = line.starts_with([' ', '\t']);
        match (line.split_once(':'), fields.last_mut()) {
            (_, Some((_, value))) if folded => {
                value.push(' ');
                value.extend(line.trim().chars().map(printable));
            }
            (Some((name, value)), _) => {
                let value = value.trim().chars().map(printable).collect();
                fields.push((name.trim().to_ascii_lowercase(), value));
            }
            (None, _) => {}
        }
    }
    fields
}

/// The field that says where the body ends; empty where that is the end of the connection. `None` if the first byte of
/// the body has to be known.
fn body_end(fields: &[(String, String)], body: &[u8]) -> Option<String> {
    let of = |wanted: &'static str| {
        fields.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str())
    };
    if of("transfer-encoding").any(|value| value.to_ascii_lowercase().contains("chunked")) {
        // Some say so and send the body as it is.
        let is_chunked = body.first()?.is_ascii_hexdigit();
        return Some(if is_chunked { "transfer-encoding: chunked\r\n" } else { "" }.to_owned());
    }
    let is_multipart =
        of("content-type").any(|value| value.to_ascii_lowercase().starts_with("multipart/"));
    let mut lengths = of("content-length").map(|value| value.parse::<u64>().ok());
    let length = lengths.next().flatten();
    // A stream of pictures has no length, whatever is said about it. Of two lengths neither can be believed.
    let length = length.filter(|_| !is_multipart && lengths.all(|other| other == length));
    Some(length.map_or_else(String::new, |length| format!("content-length: {length}\r\n")))
}

/// Wraps each connection. What is waited for ends at the stall timeout of the camera.
#[derive(Debug)]
pub(super) struct TolerantConnector(pub(super) StallTimeout);

impl<In: Transport> Connector<In> for TolerantConnector {
    type Out = Tolerant<In>;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Tolerant<In>>, Error> {
        let stall_timeout = self.0.clone();
        Ok(chained.map(|inner| Tolerant { inner, stall_timeout, state: State::Head(Vec::new()) }))
    }
}

/// A connection for one request.
#[derive(Debug)]
pub(super) struct Tolerant<In> {
    inner: In,
    stall_timeout: StallTimeout,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What came of the head.
    Head(Vec<u8>),
    /// What has to be handed on before more is read.
    Body(Vec<u8>),
}

impl<In: Transport> Tolerant<In> {
    /// Takes what the connection has read.
    fn take_input(&mut self) -> Vec<u8> {
        let buffers = self.inner.buffers();
        let input = buffers.input().to_vec();
        buffers.input_consume(input.len());
        input
    }

    /// Hands on what fits into the buffer of the connection. Returns the rest.
    fn hand_on(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let buffers = self.inner.buffers();
        let free = buffers.input_append_buf();
        let count = free.len().min(bytes.len());
        for (to, from) in free.iter_mut().zip(&bytes) {
            *to = *from;
        }
        buffers.input_appended(count);
        bytes.drain(..count);
        bytes
    }

    /// The part of the wait that the stall timeout of the camera allows.
    fn limited(&self, mut timeout: NextTimeout) -> Result<NextTimeout, Error> {
        let left = self.stall_timeout.left();
        if left.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        if *timeout.after > left {
            timeout.after = left.into();
        }
        Ok(timeout)
    }
}

impl<In: Transport> Transport for Tolerant<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = self.limited(timeout)?;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        loop {
            let (bytes, is_over) = match &mut self.state {
                State::Body(waiting) if waiting.is_empty() => {
                    let timeout = self.limited(timeout)?;
                    return self.inner.await_input(timeout);
                }
                State::Body(waiting) => {
                    let waiting = std::mem::take(waiting);
                    let rest = self.hand_on(waiting);
                    self.state = State::Body(rest);
                    return Ok(true);
                }
                State::Head(_) => {
                    let timeout = self.limited(timeout)?;
                    let has_more = self.inner.await_input(timeout)?;
                    (self.take_input(), !has_more)
                }
            };
            let State::Head(head) = &mut self.state else { continue };
            head.extend_from_slice(&bytes);
            let (mut plain, length) = match plain_head(head) {
                Head::Known { plain, length } => (plain, length),
                Head::Foreign => (Vec::new(), 0),
                Head::Incomplete if is_over && head.is_empty() => return Ok(false),
                Head::Incomplete if is_over => (Vec::new(), 0),
                Head::Incomplete if head.len() > HEAD_BYTES_MAX => {
                    return Err(Error::LargeResponseHeader(head.len(), HEAD_BYTES_MAX));
                }
                Head::Incomplete => continue,
            };
            plain.extend_from_slice(head.get(length..).unwrap_or_default());
            self.state = State::Body(plain);
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain head of `text`, and what follows it.
    fn plain(text: &str) -> Option<(String, &str)> {
        match plain_head(text.as_bytes()) {
            Head::Known { plain, length } => {
                Some((String::from_utf8(plain).unwrap(), text.get(length..).unwrap()))
            }
            Head::Incomplete | Head::Foreign => None,
        }
    }

    #[test]
    fn heads_that_curl_and_ffmpeg_pass_become_plain() {
        const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: multipart/x;boundary=x\r\n\r\n";
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/x;boundary=x\r\n\r\n",
            "HTTP/1.0 200\nContent-Type: multipart/x;boundary=x\n\n",
            "ICY 200 OK\r\nContent-Type: multipart/x;boundary=x\r\n\r\n",
            "http/1.1 200 Yes\r\nContent-Type : multipart/x;boundary=x\r\nServer : a\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\nbare\r\n: x\r\nA b: c\r\nContent-Type:multipart/x;boundary=x\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: multipart/x;boundary=x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/x;boundary=x\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/x;boundary=x\r\nContent-Length: unknown\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Type: multipart/x;boundary=x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/x;boundary=x\r\n\r\n",
        ] {
            let answer = format!("{head}--x\r\n");
            assert_eq!(plain(&answer), Some((STREAM.to_owned(), "--x\r\n")), "{head:?}");
        }
        let folded = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x;\r\n boundary=\u{e4}\r\n\r\n";
        assert!(plain(folded).unwrap().0.contains("multipart/x; boundary=?\r\n"));
        for body in ["--x\r\n", "\r\n--x\r\n"] {
            assert_eq!(plain(body), Some(("HTTP/1.1 200 OK\r\n\r\n".to_owned(), body)));
        }
    }

    #[test]
    fn a_length_is_kept_where_it_can_be_believed() {
        let of = |fields: &str| {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n{fields}\r\n12");
            plain(&answer).unwrap().0.split_once("image/jpeg\r\n").unwrap().1.trim().to_owned()
        };
        for (fields, expected) in [
            ("Content-Length: 12\r\n", "content-length: 12"),
            ("Content-Length: 12\r\nContent-Length: 12\r\n", "content-length: 12"),
            ("Content-Length: 12\r\nContent-Length: 5\r\n", ""),
            ("Content-Length: -1\r\n", ""),
            ("Content-Length: 99999999999999999999\r\n", ""),
            ("Content-Length:\r\n", ""),
            ("Content-Length: 0\r\nTransfer-Encoding: Chunked\r\n", "transfer-encoding: chunked"),
            ("", ""),
        ] {
            assert_eq!(of(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn other_protocols_are_left_alone_and_heads_waited_for() {
        assert_eq!(plain_head(b"SSH-2.0-OpenSSH_9\r\n\r\n"), Head::Foreign);
        assert_eq!(plain_head(b"HTTP/1.1 2000 OK\r\n\r\n"), Head::Foreign);
        for text in ["", "\r\n", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r"] {
            assert_eq!(plain_head(text.as_bytes()), Head::Incomplete, "{text:?}");
        }
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(plain_head(chunked), Head::Incomplete, "its first byte is not there yet");
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_give_a_head_or_none(
            bytes in prop::collection::vec(prop::sample::select(
                b"HTTP/1.1 20\r\n:-\xFF\xD8 abContent-Length".to_vec()), 0..200),
        ) {
            for text in [bytes.clone(), [b"HTTP/1.1 200 OK\r\n", &bytes[..], b"\r\n\r\n"].concat()] {
                if let Head::Known { plain, length } = plain_head(&text) {
                    prop_assert!(length <= text.len());
                    prop_assert!(plain.starts_with(b"HTTP/1.1 ") && plain.ends_with(b"\r\n\r\n"));
                }
            }
        }
    }
}
