//! [`Request`]: asks a camera for its pictures, with the name and password that it wants, and says why it does not
//! answer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_auth::{PasswordClient, PasswordParams};
use percent_encoding::percent_decode_str;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, Body, ResponseExt};

use super::super::SourceError;
use super::super::spec::Private;
use super::super::stall_timeout::StallTimeout;
use super::head::{HEAD_BYTES_MAX, TolerantConnector};
use crate::util::{CancellationToken, Interrupt};

/// Times that a camera may send the request elsewhere.
const REDIRECTS_MAX: u32 = 5;
/// How long finding the camera and connecting to it may take, each.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// What to write where a camera wants a password.
const PASSWORD_REMEDY: &str = "write http://USER:PASSWORD@HOST/PATH, and in the password / as %2F, ? as %3F, # as %23, \
                               % as %25, @ as %40";

/// Why a request brought no picture.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What happened, and what to do.
    pub(super) reason: String,
    /// Asking again does not help, and may lock the account.
    pub(super) is_final: bool,
}

impl Refusal {
    pub(super) fn passing(reason: String) -> Self {
        Self { reason, is_final: false }
    }

    fn is_final(reason: String) -> Self {
        Self { reason, is_final: true }
    }
}

/// What is asked for, again and again.
pub(super) struct Request {
    http: Arc<Interrupt>,
    /// As it was configured, without credentials.
    configured: String,
    /// Where the camera redirected to, when it wanted a password there; else as configured.
    address: String,
    credentials: Option<(String, String)>,
    login: Login,
    /// For messages, without a password.
    name: String,
    stall_timeout: StallTimeout,
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Request").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How the camera wants to be shown the password.
enum Login {
    /// It has not asked for one.
    Unasked,
    Basic,
    Digest(Box<PasswordClient>),
}

impl Request {
    /// Waits for the camera until `stall_timeout`.
    pub(super) fn new(
        url: &Private,
        stall_timeout: StallTimeout,
        cancel: &CancellationToken,
    ) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS_MAX)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .max_response_header_size(2 * HEAD_BYTES_MAX)
            // A kept connection may just be closed by the other side when it is used again.
            .max_idle_connections(0)
            // A camera is in this network: a proxy is for what is not.
            .proxy(None)
            .user_agent(concat!("lenslog/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector =
            ().chain(TcpConnector::default())
                .chain(RustlsConnector::default())
                .chain(TolerantConnector(stall_timeout.clone()));
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        let (address, credentials) = split_credentials(url.reveal());
        Self {
            http: Interrupt::new(agent, cancel),
            configured: address.clone(),
            address,
            credentials,
            login: Login::Unasked,
            name: url.to_string(),
            stall_timeout,
        }
    }

    /// Asks the camera. It is asked a second time with the password, where it wants one; a password that it refuses is
    /// not sent again.
    pub(super) fn send(&mut self) -> Result<Response<Body>, Refusal> {
        let mut response = self.ask()?;
        if self.log_in(&response)? {
            response = self.ask()?;
        }
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.login = Login::Unasked;
                self.address.clone_from(&self.configured);
                Err(Refusal::is_final(self.refused(response.status())))
            }
            status => Err(Refusal::passing(format!(
                "it answers {status}; expected 200: check the address"
            ))),
        }
    }

    fn ask(&mut self) -> Result<Response<Body>, Refusal> {
        let connect_max = Some(CONNECT_MAX.min(self.stall_timeout.left()));
        let request = self.http.agent().get(&self.address).config();
        let request = request.timeout_resolve(connect_max).timeout_connect(connect_max);
        // An answer of unknown length ends with the connection.
        let mut request = request.build().header(header::CONNECTION, "close");
        if let Some(authorization) = self.authorization()? {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.call().map_err(|error| Refusal::passing(explained(&error)))
    }

    /// Whether the camera is to be asked again, in the way of logging in that it wants.
    fn log_in(&mut self, response: &Response<Body>) -> Result<bool, Refusal> {
        let status = response.status();
        let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !is_refused || self.credentials.is_none() {
            return Ok(false);
        }
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let mut builder = PasswordClient::builder();
        for challenge in challenges.filter_map(|value| value.to_str().ok()) {
            builder = builder.challenges(challenge);
        }
        let login = match (builder.build(), &self.login) {
            (Ok(client), _) => Login::Digest(Box::new(client)),
            // Basic is what is left, also where it is not asked for.
            (Err(_), Login::Unasked) => Login::Basic,
            (Err(_), Login::Basic | Login::Digest(_)) => return Ok(false),
        };
        let asked = response.get_uri();
        let is_elsewhere = !same_host(asked, &self.configured);
        if is_elsewhere {
            let host = asked.host().unwrap_or_default();
            return Err(Refusal::is_final(format!(
                "it redirects to {host}, which wants a password; write the address of {host}"
            )));
        }
        self.address = asked.to_string();
        self.login = login;
        Ok(true)
    }

    /// The header that shows the password as the camera wants it.
    fn authorization(&mut self) -> Result<Option<String>, Refusal> {
        let Some((user, password)) = &self.credentials else { return Ok(None) };
        match &mut self.login {
            Login::Unasked => Ok(None),
            Login::Basic => {
                let pair = BASE64_STANDARD.encode(format!("{user}:{password}"));
                Ok(Some(format!("Basic {pair}")))
            }
            Login::Digest(client) => {
                let uri = self.address.parse::<Uri>().ok();
                let path = uri.as_ref().and_then(|uri| uri.path_and_query());
                let uri = path.map_or("/", |path| path.as_str());
                let (username, password) = (user.as_str(), password.as_str());
                let params =
                    PasswordParams { username, password, uri, method: "GET", body: Some(&[]) };
                client.respond(&params).map(Some).map_err(|problem| {
                    Refusal::is_final(format!("its Digest authentication is not known: {problem}"))
                })
            }
        }
    }

    /// Why the camera refuses access, and what to do.
    fn refused(&self, status: StatusCode) -> String {
        let problem = match (&self.credentials, status) {
            (None, _) => "it wants a name and a password",
            (Some(_), StatusCode::FORBIDDEN) => "it forbids this address to this user",
            (Some(_), _) => "it refuses the name or the password",
        };
        format!("{problem} ({status}); {PASSWORD_REMEDY}")
    }

    /// The error of a camera that cannot be read for that reason.
    pub(super) fn failed(&self, reason: String) -> SourceError {
        SourceError::Network { address: self.name.clone(), reason }
    }
}

/// Why reading an answer failed.
pub(super) fn read_failure(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match (inner, error.kind()) {
        (Some(inner), _) => explained(inner),
        (None, io::ErrorKind::TimedOut) => {
            "it sends no picture; expected JPEG pictures one after another (MJPEG)".to_owned()
        }
        (None, _) => error.to_string(),
    }
}

/// Whether `address` is on the host that `configured` names.
fn same_host(address: &Uri, configured: &str) -> bool {
    configured.parse::<Uri>().is_ok_and(|configured| configured.host() == address.host())
}

/// An address without its credentials, and those: name and password.
fn split_credentials(url: &str) -> (String, Option<(String, String)>) {
    let plain = || (url.to_owned(), None);
    let Some((scheme, rest)) = url.split_once("://") else { return plain() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((credentials, host)) = authority.rsplit_once('@') else { return plain() };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (format!("{scheme}://{host}{path}"), Some((decoded(user), decoded(password))))
}

/// Why a request failed, in words.
fn explained(error: &ureq::Error) -> String {
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
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded_and_leave_the_address() {
        for (url, address, expected) in [
            ("http://door/1", "http://door/1", None),
            ("http://joe:pa%40ss@door:80/a@b?c", "http://door:80/a@b?c", Some(("joe", "pa@ss"))),
            ("https://joe@door", "https://door", Some(("joe", ""))),
            ("http://joe:a:b@door/", "http://door/", Some(("joe", "a:b"))),
            ("http://joe:%C3%A4@door/", "http://door/", Some(("joe", "\u{e4}"))),
        ] {
            let (found, credentials) = split_credentials(url);
            assert_eq!(found, address);
            let credentials = credentials.as_ref().map(|(u, p)| (u.as_str(), p.as_str()));
            assert_eq!(credentials, expected, "{url}");
        }
    }
}
