//! [`Client`]: asks an OpenAI-compatible server for a sentence about a picture.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{StatusCode, header};
use ureq::{Agent, Body, Proxy};

use super::answer;
use crate::config::{Description, PROXY_OF_ENVIRONMENT};
use crate::util::{CancellationToken, Interrupt};

/// Longest answer that is read. A sentence has a few hundred bytes.
pub const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Longest header of an answer.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest key.
const KEY_BYTES_MAX: u64 = 8 << 10;
/// Name of the key in the credentials directory of the service manager.
const CREDENTIAL: &str = "description_api_key";

/// Why there is no sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DescribeError {
    /// The server cannot be reached or lets no one in now: nothing to do with this picture.
    Server {
        /// What happened.
        reason: String,
        /// How long to leave it alone, where it says so.
        pause: Option<Duration>,
    },
    /// It does not answer about this picture; it may another time.
    Answer(String),
    /// It will not answer about this picture.
    Picture(String),
}

/// Asks a server.
pub(super) struct Client {
    http: Arc<Interrupt>,
    url: String,
    model: String,
    prompt: String,
    authorization: Option<String>,
}

impl fmt::Debug for Client {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the configured server. Requests under way end when `cancel` is thrown.
    ///
    /// # Errors
    ///
    /// Why the key cannot be read, or the proxy cannot be used.
    pub(super) fn new(config: &Description, cancel: &CancellationToken) -> Result<Self, String> {
        let proxy =
            match config.proxy.as_str() {
                "" => None,
                PROXY_OF_ENVIRONMENT => Proxy::try_from_env(),
                address => Some(Proxy::new(address).map_err(|error| {
                    format!("description.proxy: {error}; write http://HOST:PORT")
                })?),
            };
        let http = Agent::config_builder()
            .http_status_as_error(false)
            // A key is for the server that was named, and for no other.
            .max_redirects(0)
            .max_response_header_size(HEADER_BYTES_MAX)
            // A kept connection may just be closed by the other side when it is used again.
            .max_idle_connections(0)
            .proxy(proxy)
            .timeout_global(Some(config.timeout.0))
            .timeout_connect(Some(CONNECT_MAX))
            .user_agent(concat!("lenslog/", env!("CARGO_PKG_VERSION")))
            .build();
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
        let key = key(&config.api_key_file, credentials.as_deref().map(Path::new))?;
        Ok(Self {
            http: Interrupt::new(Agent::new_with_config(http), cancel),
            url: format!("{}/chat/completions", config.endpoint.trim_end_matches('/')),
            model: config.model.clone(),
            prompt: config.prompt.clone(),
            authorization: key.map(|key| format!("Bearer {key}")),
        })
    }

    /// The model that is asked.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// A sentence about a picture.
    pub(super) fn describe(&self, jpeg: &[u8]) -> Result<String, DescribeError> {
        let mut request = self.http.agent().post(&self.url);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let question = answer::request(&self.model, &self.prompt, jpeg).to_string();
        let sent = request.content_type("application/json").send(question);
        let mut response = sent.map_err(|error| self.failed(&error))?;
        let pause = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs));
        let status = response.status();
        let body = self.read(response.body_mut())?;
        if status.is_success() {
            return answer::sentence(&body).map_err(DescribeError::Answer);
        }
        let reason = format!("it answers {status}: {}", answer::complaint(&body));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => DescribeError::Server {
                reason: format!("{reason}; check description.api_key_file"),
                pause,
            },
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => DescribeError::Server {
                reason: format!("{reason}; check description.endpoint and description.model"),
                pause,
            },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                DescribeError::Server { reason, pause }
            }
            status if status.is_redirection() => DescribeError::Server {
                reason: format!("{reason}; write the address it points to"),
                pause,
            },
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                DescribeError::Picture(reason)
            }
            _ => DescribeError::Answer(reason),
        })
    }

    fn read(&self, body: &mut Body) -> Result<Vec<u8>, DescribeError> {
        let mut bytes = Vec::new();
        let mut reader = body.as_reader().take(ANSWER_BYTES_MAX + 1);
        reader.read_to_end(&mut bytes).map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
            inner.map_or_else(
                || DescribeError::Answer(error.to_string()),
                |inner| self.failed(inner),
            )
        })?;
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(DescribeError::Answer(format!(
                "its answer has more than {ANSWER_BYTES_MAX} bytes"
            )));
        }
        Ok(bytes)
    }

    fn failed(&self, error: &ureq::Error) -> DescribeError {
        match error {
            // A picture may be more than a slow machine can look at in time; the next one may not.
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                let reason = format!("{} cannot be reached in time", self.url);
                DescribeError::Server { reason, pause: None }
            }
            ureq::Error::Timeout(_) => {
                DescribeError::Answer("it does not answer in time (description.timeout)".to_owned())
            }
            error => DescribeError::Server {
                reason: format!("{} cannot be reached: {error}", self.url),
                pause: None,
            },
        }
    }
}

/// The key: from its file, else from the service manager's credentials, else none.
fn key(file: &Path, credentials: Option<&Path>) -> Result<Option<String>, String> {
    let credential = credentials.map(|directory| directory.join(CREDENTIAL));
    let path = match credential {
        _ if !file.as_os_str().is_empty() => file.to_owned(),
        Some(path) if path.exists() => path,
        _ => return Ok(None),
    };
    let refused = |problem: String| format!("cannot read the key in {}: {problem}", path.display());
    let file = std::fs::File::open(&path).map_err(|error| refused(error.to_string()))?;
    let mut key = String::new();
    file.take(KEY_BYTES_MAX)
        .read_to_string(&mut key)
        .map_err(|error| refused(error.to_string()))?;
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused("expected one line of printable characters".to_owned()));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::testing::own_process;

    #[test]
    fn a_key_and_a_picture_go_to_no_server_that_another_one_points_to() {
        let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (named, other) = (listen(), listen());
        let location = format!("http://{}/v1/chat/completions", other.local_addr().unwrap());
        let config = Description {
            endpoint: format!("http://{}/v1", named.local_addr().unwrap()),
            ..Description::default()
        };
        let server = std::thread::spawn(move || {
            let (mut asked, _) = named.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"}") {
                let mut part = [0; 1024];
                let read = asked.read(&mut part).unwrap();
                head.extend_from_slice(&part[..read]);
            }
            let answer = format!(
                "HTTP/1.1 307 Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            std::io::Write::write_all(&mut asked, answer.as_bytes()).unwrap();
        });
        let client = Client::new(&config, &CancellationToken::new()).unwrap();
        let error = client.describe(b"x").unwrap_err();
        server.join().unwrap();
        let DescribeError::Server { reason, .. } = error else { panic!("{error:?}") };
        assert!(reason.contains("write the address it points to"), "{reason}");
        other.set_nonblocking(true).unwrap();
        assert!(other.accept().is_err(), "no one came");
    }

    #[test]
    fn requests_go_through_the_configured_proxy() {
        let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Description {
            endpoint: "http://192.0.2.1/v1".to_owned(),
            proxy: format!("http://{}", proxy.local_addr().unwrap()),
            ..Description::default()
        };
        let server = std::thread::spawn(move || {
            let (asked, _) = proxy.accept().unwrap();
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(asked), &mut line).unwrap();
            line
        });
        let client = Client::new(&config, &CancellationToken::new()).unwrap();
        assert!(client.describe(b"x").is_err());
        assert!(server.join().unwrap().contains("192.0.2.1"));
    }

    /// A server that ends every connection at once: its address, and how many there were.
    fn counted() -> (std::net::SocketAddr, Arc<AtomicU32>) {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, count) = (server.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
        let counter = Arc::clone(&count);
        std::thread::spawn(move || {
            for stream in server.incoming() {
                counter.fetch_add(1, Ordering::Relaxed);
                drop(stream);
            }
        });
        (address, count)
    }

    #[test]
    fn requests_go_through_the_proxy_of_the_environment_only_where_the_key_says_so() {
        let name = "description::client::tests::\
                    requests_go_through_the_proxy_of_the_environment_only_where_the_key_says_so";
        // The environment is a process' own.
        let Ok(named) = std::env::var("LENSLOG_TEST_SERVER") else {
            let ((server, at_server), (proxy, at_proxy)) = (counted(), counted());
            let variables = format!(
                "export LENSLOG_TEST_SERVER={server} HTTP_PROXY=http://{proxy}; unset NO_PROXY no_proxy;"
            );
            let ran = own_process(name, &variables).unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
            let count = |connections: &AtomicU32| connections.load(Ordering::Relaxed);
            assert_eq!((count(&at_server), count(&at_proxy)), (1, 1));
            return;
        };
        for proxy in ["", PROXY_OF_ENVIRONMENT] {
            // Only the proxy takes a request for another host.
            let host = if proxy.is_empty() { &named } else { "192.0.2.1" };
            let (endpoint, proxy) = (format!("http://{host}/v1"), proxy.to_owned());
            let config = Description { endpoint, proxy, ..Description::default() };
            let client = Client::new(&config, &CancellationToken::new()).unwrap();
            assert!(matches!(client.describe(b"x"), Err(DescribeError::Server { .. })));
        }
    }

    #[test]
    fn the_key_comes_from_its_file_then_from_the_service_manager() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "sk-file\n").unwrap();
        std::fs::write(folder.path().join(CREDENTIAL), "sk-service").unwrap();
        let none = Path::new("");
        assert_eq!(key(&file, Some(folder.path())).unwrap().as_deref(), Some("sk-file"));
        assert_eq!(key(none, Some(folder.path())).unwrap().as_deref(), Some("sk-service"));
        assert_eq!(key(none, None).unwrap(), None);
        assert_eq!(key(none, Some(Path::new("/nonexistent"))).unwrap(), None);
        let missing = key(Path::new("/nonexistent/key"), None).unwrap_err();
        assert!(missing.contains("/nonexistent/key"), "{missing}");
        std::fs::write(&file, "two\nlines").unwrap();
        assert!(key(&file, None).unwrap_err().contains("one line"));
    }
}
