//! [`HttpSource`], `http://…`: a network camera that sends JPEG or PNG pictures one after another (multipart MJPEG), or
//! one for each request.
//!
//! It owns the connection and nothing else. An answer is known by what is in it, not by what it is called: one that
//! ends after a picture is followed by the next request. A request that fails costs a picture; the camera is lost when
//! none came for too long.

mod head;
mod request;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lenslog_journal::Clock;
use ureq::http::{Response, header};
use ureq::{Body, BodyReader};

use super::spec::Private;
use super::stall_timeout::StallTimeout;
use super::stream::PictureStream;
use super::{FrameProblem, FrameRate, PictureFault, Source, SourceError, SourceItem};
use crate::util::CancellationToken;
use request::{Refusal, Request, read_failure};

/// The first pause after a request that brought no picture; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The pictures of an HTTP camera.
#[derive(Debug)]
pub(super) struct HttpSource {
    request: Request,
    stream: PictureStream<Answer>,
    stall_timeout: StallTimeout,
    cancel: CancellationToken,
    interval: Duration,
    /// When the answer at hand was asked for.
    asked: Instant,
    /// When to ask again; `None` while the answer at hand goes on.
    ask_at: Option<Instant>,
    /// What the answer at hand is called.
    kind: String,
    /// Whether it ever sent a picture that could be decoded.
    was_up: bool,
    /// Requests in a row that brought no picture, and why the last one did not.
    failures: u32,
    failure: Option<String>,
}

impl HttpSource {
    /// Connects to the camera. `stall_timeout` limits the wait for pictures.
    pub(super) fn open(
        url: &Private,
        fps: FrameRate,
        stall_timeout: StallTimeout,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Self, SourceError> {
        let mut request = Request::new(url, stall_timeout.clone(), &cancel);
        let asked = Instant::now();
        let response = request.send().map_err(|refusal| request.failed(refusal.reason))?;
        let kind = called(&response);
        let answer = Answer::new(response, &stall_timeout);
        let stream = PictureStream::new(url.to_string(), answer, fps, stall_timeout.clone(), clock);
        Ok(Self {
            request,
            stream,
            stall_timeout,
            cancel,
            interval: Duration::from_secs_f64(1.0 / fps.fps()),
            asked,
            ask_at: None,
            kind,
            was_up: false,
            failures: 0,
            failure: None,
        })
    }

    /// The next item; `None` where there is something else to do first.
    fn step(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if let Some(at) = self.ask_at {
            self.cancel.wait_until(Some(at.min(Instant::now() + self.stall_timeout.left())));
            if let Err(error) = self.stall_timeout.check() {
                return Err(self.request.failed(self.silence(&error)));
            }
            return self.ask();
        }
        match self.stream.next_item() {
            Ok(Some(item)) => {
                if matches!(item, SourceItem::Frame(_)) {
                    (self.was_up, self.failures, self.failure) = (true, 0, None);
                }
                Ok(Some(item))
            }
            Err(error) if self.stall_timeout.check().is_err() => {
                Err(self.request.failed(self.silence(&error)))
            }
            // However it ended, what it was asked for has come.
            _ if self.stream.pictures() > 0 => {
                self.ask_at = Some(self.asked + self.interval);
                Ok(None)
            }
            Ok(None) => {
                let reason = match self.stream.fault() {
                    Some(fault @ PictureFault::OtherFormat { .. }) => fault.to_string(),
                    _ => format!(
                        "it sends {} without a picture; expected JPEG or PNG pictures: look for the address of its \
                         stream in its manual",
                        self.kind
                    ),
                };
                self.missed(Refusal::passing(reason))
            }
            Err(error) => self.missed(Refusal::passing(read_failure(&error))),
        }
    }

    fn ask(&mut self) -> Result<Option<SourceItem>, SourceError> {
        self.asked = Instant::now();
        match self.request.send() {
            Ok(response) => {
                self.kind = called(&response);
                self.stream.go_on_with(Answer::new(response, &self.stall_timeout));
                self.ask_at = None;
                Ok(None)
            }
            Err(refusal) => self.missed(refusal),
        }
    }

    /// A request brought no picture: one is lost, or, before the first one, the camera.
    fn missed(&mut self, refusal: Refusal) -> Result<Option<SourceItem>, SourceError> {
        let Refusal { reason, is_final } = refusal;
        if is_final || !self.was_up {
            return Err(self.request.failed(reason));
        }
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(8)).min(PAUSE_MAX);
        self.ask_at = Some(Instant::now() + pause);
        self.failures += 1;
        self.failure = Some(reason.clone());
        let fault = PictureFault::NotSent { reason };
        let place = self.stream.name().to_owned();
        Ok(Some(SourceItem::Problem(FrameProblem { place, offset: None, fault })))
    }

    /// Why no picture came for too long.
    fn silence(&self, error: &io::Error) -> String {
        match &self.failure {
            Some(failure) => format!("it sends no picture; the last answer: {failure}"),
            None if self.was_up && error.kind() == io::ErrorKind::TimedOut => {
                "it sends no picture any more; check its network and its power".to_owned()
            }
            None => read_failure(error),
        }
    }
}

impl Source for HttpSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        loop {
            let step = self.step();
            if self.stall_timeout.is_cancelled() {
                return Ok(None);
            }
            if let Some(item) = step? {
                return Ok(Some(item));
            }
        }
    }
}

/// What an answer is called, for messages.
fn called(response: &Response<Body>) -> String {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    essence.filter(|essence| !essence.is_empty()).unwrap_or("an answer").to_owned()
}

/// The body of an answer, read until the stall timeout.
struct Answer {
    body: BodyReader<'static>,
    stall_timeout: StallTimeout,
}

impl Answer {
    fn new(response: Response<Body>, stall_timeout: &StallTimeout) -> Self {
        Self { body: response.into_body().into_reader(), stall_timeout: stall_timeout.clone() }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Answer")
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stall_timeout.check()?;
        let read = self.body.read(buffer);
        // Also where the connection itself was waited for until the stall timeout.
        read.or_else(|error| self.stall_timeout.check().and(Err(error)))
    }
}

#[cfg(test)]
mod tests;
