//! [`Request`]: the first line of an HTTP request; the rest of its head is only measured. Pure.

/// Longest head of a request, in bytes.
pub const HEAD_BYTES_MAX: usize = 8 << 10;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path, without a query.
    pub path: String,
    /// Only the head of the answer is wanted.
    pub only_head: bool,
}

/// Why a request is not answered with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRequest {
    /// It is no HTTP.
    Garbage,
    /// Its head is longer than [`HEAD_BYTES_MAX`].
    TooLong,
    /// Another method than `GET` or `HEAD`.
    Method,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

impl BadRequest {
    /// The status code of the error.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Garbage => 400,
            Self::TooLong => 431,
            Self::Method => 405,
            Self::Version => 505,
        }
    }
}

impl Request {
    /// Reads what has come of a request so far. `None`: its head is not all there yet.
    ///
    /// # Errors
    ///
    /// [`BadRequest`], as early as it is certain.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, BadRequest> {
        let line_end = bytes.iter().position(|byte| *byte == b'\n');
        let line = bytes.get(..line_end.unwrap_or(bytes.len())).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // What cannot be text of a request, such as a TLS handshake, need not be waited for.
        if !line.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Err(BadRequest::Garbage);
        }
        let whole = ends_head(bytes);
        if !whole {
            return if bytes.len() >= HEAD_BYTES_MAX { Err(BadRequest::TooLong) } else { Ok(None) };
        }
        let line = str::from_utf8(line).map_err(|_| BadRequest::Garbage)?;
        let mut parts = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadRequest::Garbage);
        };
        let is_token = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        match version {
            _ if !is_token => return Err(BadRequest::Garbage),
            "HTTP/1.1" | "HTTP/1.0" => {}
            _ if version.starts_with("HTTP/") => return Err(BadRequest::Version),
            _ => return Err(BadRequest::Garbage),
        }
        let only_head = match method {
            "GET" => false,
            "HEAD" => true,
            _ => return Err(BadRequest::Method),
        };
        let path = path_of(target).ok_or(BadRequest::Garbage)?;
        Ok(Some(Self { path: path.to_owned(), only_head }))
    }
}

/// Whether an empty line has come.
fn ends_head(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(4).any(|four| four == b"\r\n\r\n")
}

/// The path of a target, which may be a whole URL.
fn path_of(target: &str) -> Option<&str> {
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| rest.get(at..).unwrap_or("/")),
        None => target,
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    path.starts_with('/').then_some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(path: &str) -> Result<Option<Request>, BadRequest> {
        Ok(Some(Request { path: path.to_owned(), only_head: false }))
    }

    #[test]
    fn requests_of_real_clients_are_understood() {
        let full = b"GET /metrics HTTP/1.1\r\nHost: localhost:9747\r\nAccept: */*\r\n\r\n";
        assert_eq!(Request::parse(full), get("/metrics"));
        for (text, path) in [
            ("GET /metrics?x=1 HTTP/1.0\n\n", "/metrics"),
            ("GET http://localhost:9747/healthz HTTP/1.1\r\n\r\n", "/healthz"),
            ("GET http://localhost HTTP/1.1\r\n\r\n", "/"),
            ("GET / HTTP/1.1\r\nX: y\r\n\r\nbody", "/"),
        ] {
            assert_eq!(Request::parse(text.as_bytes()), get(path), "{text}");
        }
        let head = Request::parse(b"HEAD /healthz HTTP/1.1\r\n\r\n").unwrap().unwrap();
        assert!(head.only_head);
        // However it is cut on its way.
        for len in 0..full.len() - 1 {
            assert_eq!(Request::parse(&full[..len]), Ok(None), "{len}");
        }
    }

    #[test]
    fn what_is_no_request_is_told_apart() {
        let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; HEAD_BYTES_MAX]].concat();
        for (bytes, expected) in [
            (&b"POST /metrics HTTP/1.1\r\n\r\n"[..], BadRequest::Method),
            (b"GET /metrics HTTP/2.0\r\n\r\n", BadRequest::Version),
            (b"GET /metrics\r\n\r\n", BadRequest::Garbage),
            (b"GET  /metrics HTTP/1.1\r\n\r\n", BadRequest::Garbage),
            (b"GET metrics HTTP/1.1\r\n\r\n", BadRequest::Garbage),
            (b"\r\n\r\n", BadRequest::Garbage),
            (b"\x16\x03\x01\x02\x00", BadRequest::Garbage),
            (&long, BadRequest::TooLong),
        ] {
            assert_eq!(Request::parse(bytes), Err(expected), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it_and_no_head_is_waited_for_without_end(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            prefix in prop::sample::select(vec!["", "GET ", "GET / HTTP/1.1\r\n"]),
        ) {
            let bytes = [prefix.as_bytes(), &bytes].concat();
            let first = Request::parse(&bytes);
            let filled = [bytes, vec![b'x'; HEAD_BYTES_MAX]].concat();
            let last = Request::parse(&filled);
            prop_assert!(last != Ok(None));
            if first != Ok(None) {
                prop_assert_eq!(first, last);
            }
        }
    }
}
