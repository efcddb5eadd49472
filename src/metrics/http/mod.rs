//! A small HTTP server for pages that are read by machines: no body is taken, every connection ends after one answer.
//!
//! Written for this, because what is needed is little (two pages, `GET`) and what must hold is much: whatever a client
//! does, it costs one of [`CONNECTIONS_MAX`] threads for some seconds, the recorder nothing, and others not their answer.

mod request;
mod server;
mod slots;

pub use request::Request;
pub use server::{Respond, Server};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code, such as 200.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Response {
    /// A page of plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    /// As it goes over the wire; without its body where only the head was asked for.
    fn to_bytes(&self, only_head: bool) -> Vec<u8> {
        let Self { status, content_type, body } = self;
        let (reason, len) = (reason(*status), body.len());
        let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let mut bytes = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n"
        )
        .into_bytes();
        if !only_head {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
