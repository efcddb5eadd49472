//! [`HttpSource`], `http://…`: a network camera that sends JPEG pictures one after another (multipart MJPEG), or one
//! for each request.
//!
//! It owns the connection and nothing behind it: a server that stalls, trickles, redirects in circles or never ends
//! its header ends this source with an error, and the camera is tried again.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lenslog_journal::Clock;
use percent_encoding::percent_decode_str;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body, BodyReader};

use super::decode::StreamDecoder;
use super::pace::Pacer;
use super::patience::{Patience, SILENCE_MAX};
use super::spec::Private;
use super::stream::PictureStream;
use super::{Cancel, FRAME_BYTES_MAX, FrameProblem, FrameRate, Source, SourceError, SourceItem};
use crate::frame::Frame;
use crate::interrupt::Interrupt;

/// Times that a camera may send the request elsewhere.
const REDIRECTS_MAX: u32 = 5;
/// Longest header of an answer.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// How long a camera may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For finding it, connecting to it and its answer, each.
    pub(super) answer: Duration,
    /// Between two reads, and for a single picture.
    pub(super) silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { answer: SILENCE_MAX, silence: SILENCE_MAX }
    }
}

/// The pictures of an HTTP camera.
#[derive(Debug)]
pub(super) struct HttpSource {
    request: Request,
    pictures: Pictures,
    patience: Patience,
}

/// How the pictures come.
#[derive(Debug)]
enum Pictures {
    /// One after another in one answer.
    Stream(Box<PictureStream<Answer>>),
    /// One for each request.
    Single(Box<Snapshots>),
}

impl HttpSource {
    /// Connects to the camera.
    pub(super) fn open(
        url: &Private,
        fps: FrameRate,
        limits: Limits,
        clock: Arc<dyn Clock>,
        cancel: Cancel,
    ) -> Result<Self, SourceError> {
        let request = Request::new(url, limits, &cancel);
        let patience = Patience::new(fps, cancel.clone());
        let response = request.send()?;
        let pictures = match kind(&response) {
            Kind::Picture => {
                let decoder = StreamDecoder::default();
                let pacer = Pacer::new(fps);
                let first = Some((response, clock.read().wall));
                let snapshots = Snapshots { pacer, decoder, clock, cancel, number: 0, first };
                Pictures::Single(Box::new(snapshots))
            }
            Kind::Stream => {
                let name = url.to_string();
                let answer =
                    Answer { body: response.into_body().into_reader(), patience: patience.clone() };
                let stream = PictureStream::new(name, answer, fps, patience.clone(), clock);
                Pictures::Stream(Box::new(stream))
            }
            Kind::Other(kind) => {
                return Err(request.failed(format!(
                    "it sends {kind}; expected multipart/x-mixed-replace (MJPEG) or image/jpeg: look for the \
                     address of its stream in its manual"
                )));
            }
        };
        Ok(Self { request, pictures, patience })
    }
}

impl Source for HttpSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        let outcome = match &mut self.pictures {
            Pictures::Stream(stream) => match stream.next_item() {
                Ok(Some(item)) => Ok(Some(item)),
                Ok(None) => Err(self.request.failed("it ended the stream".to_owned())),
                Err(error) => Err(self.request.failed(self.request.words(&error))),
            },
            Pictures::Single(snapshots) => snapshots.next_item(&self.request),
        };
        if self.patience.is_cancelled() { Ok(None) } else { outcome }
    }
}

/// What is asked for, again and again.
struct Request {
    http: Arc<Interrupt>,
    address: String,
    authorization: Option<String>,
    /// For messages, without a password.
    name: String,
    limits: Limits,
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Request").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Request {
    fn new(url: &Private, limits: Limits, cancel: &Cancel) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS_MAX)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .max_response_header_size(HEADER_BYTES_MAX)
            // A kept connection may just be closed by the other side when it is used again.
            .max_idle_connections(0)
            .timeout_resolve(Some(limits.answer))
            .timeout_connect(Some(limits.answer))
            .timeout_recv_response(Some(limits.answer))
            .timeout_per_read(Some(limits.silence))
            .user_agent(concat!("lenslog/", env!("CARGO_PKG_VERSION")))
            .build();
        let http = Interrupt::new(config, cancel);
        let (address, authorization) = split_credentials(url.reveal());
        Self { http, address, authorization, name: url.to_string(), limits }
    }

    fn send(&self) -> Result<Response<Body>, SourceError> {
        let mut request = self.http.agent().get(&self.address);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = request.call().map_err(|error| self.failed(told(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.failed(refused(&response)))
    }

    fn failed(&self, reason: String) -> SourceError {
        SourceError::Network { address: self.name.clone(), reason }
    }

    /// Why reading failed.
    fn words(&self, error: &io::Error) -> String {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        match (inner, error.kind()) {
            (Some(inner), _) => told(inner),
            (None, io::ErrorKind::TimedOut) => {
                "it sends no picture; expected JPEG pictures one after another (MJPEG)".to_owned()
            }
            (None, _) => error.to_string(),
        }
    }
}

/// A picture for each request.
struct Snapshots {
    pacer: Pacer,
    decoder: StreamDecoder,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    number: u64,
    /// The answer by which the kind of camera was found out.
    first: Option<(Response<Body>, lenslog_journal::Timestamp)>,
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Snapshots").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Snapshots {
    fn next_item(&mut self, request: &Request) -> Result<Option<SourceItem>, SourceError> {
        if self.pacer.wait(self.number, &self.cancel) {
            return Ok(None);
        }
        let (response, time) = match self.first.take() {
            Some(first) => first,
            None => (request.send()?, self.clock.read().wall),
        };
        let deadline = Instant::now() + request.limits.silence;
        let mut bytes = Vec::new();
        let mut body = response.into_body().into_reader().take(FRAME_BYTES_MAX as u64);
        let mut part = [0; 16 << 10];
        loop {
            let read =
                body.read(&mut part).map_err(|error| request.failed(request.words(&error)))?;
            bytes.extend_from_slice(part.get(..read).unwrap_or_default());
            if read == 0 {
                break;
            }
            if Instant::now() >= deadline {
                return Err(request.failed("a picture takes too long".to_owned()));
            }
        }
        let number = self.number;
        self.number += 1;
        Ok(Some(match self.decoder.decode(&bytes) {
            Ok(picture) => {
                SourceItem::Frame(Frame { number, time, picture, dropped_before: 0, origin: None })
            }
            Err(fault) => SourceItem::Problem(FrameProblem {
                place: request.name.clone(),
                offset: None,
                fault,
            }),
        }))
    }
}

/// An answer without end, read with patience.
struct Answer {
    body: BodyReader<'static>,
    patience: Patience,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Answer")
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patience.check()?;
        self.body.read(buffer)
    }
}

/// What kind of answer a camera gave.
enum Kind {
    Stream,
    Picture,
    Other(String),
}

fn kind(response: &Response<Body>) -> Kind {
    let value = response.headers().get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "image/jpeg" | "image/jpg" => Kind::Picture,
        "text/html" | "text/plain" | "application/json" | "video/mp4" => Kind::Other(essence),
        // Cameras call their streams all kinds of things.
        _ => Kind::Stream,
    }
}

/// An address without its credentials, and the header that they make.
fn split_credentials(url: &str) -> (String, Option<String>) {
    let plain = || (url.to_owned(), None);
    let Some((scheme, rest)) = url.split_once("://") else { return plain() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((credentials, host)) = authority.rsplit_once('@') else { return plain() };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let header = format!("Basic {}", BASE64_STANDARD.encode(pair));
    (format!("{scheme}://{host}{path}"), Some(header))
}

/// Why a camera does not deliver, as its status says.
fn refused(response: &Response<Body>) -> String {
    let wanted = response.headers().get(header::WWW_AUTHENTICATE);
    let wanted = wanted.and_then(|value| value.to_str().ok()).unwrap_or_default();
    match response.status() {
        StatusCode::UNAUTHORIZED if wanted.to_ascii_lowercase().starts_with("digest") => {
            "it wants Digest authentication; use exec:curl --digest --user USER:PASSWORD ADDRESS"
                .to_owned()
        }
        StatusCode::UNAUTHORIZED => {
            "it wants a name and a password, or others; write http://USER:PASSWORD@HOST/PATH"
                .to_owned()
        }
        status => format!("it answers {status}; expected 200: check the address"),
    }
}

/// Why a request failed, in words.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => {
            "it does not answer in time; check its network and its power".to_owned()
        }
        ureq::Error::HostNotFound => {
            "its name is not known in the network; check the address".to_owned()
        }
        ureq::Error::TooManyRedirects => {
            format!("it sends the request elsewhere more than {REDIRECTS_MAX} times")
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            "it sends nothing any more; check its network and its power".to_owned()
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => format!(
            "its encryption is not accepted: {error}; a camera that signs its certificate itself is read with http://, or \
             with exec:curl --silent --insecure ADDRESS"
        ),
        error => format!("{error}; check the address, its network and its power"),
    }
}

#[cfg(test)]
mod tests;
