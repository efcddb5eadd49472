//! [`Webhook`]: alarms over HTTP, as Standard Webhooks 1.0 or as ntfy takes them.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use lenslog_engine::delivery::DeliveryOutcome;
use lenslog_events::parse_image_path;
use sha2::Sha256;
use ureq::Agent;
use ureq::http::{StatusCode, header};

use super::{Alarm, Channel, secret};
use crate::config::{NotifyBody, NotifyTarget};
use crate::description::open_picture;
use crate::util::{CancellationToken, Interrupt};

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How much of an answer is shown.
const COMPLAINT_BYTES_MAX: u64 = 200;
/// Largest picture that is sent.
const PICTURE_BYTES_MAX: u64 = 500_000;
/// How a secret of Standard Webhooks begins.
const SECRET_PREFIX: &str = "whsec_";

/// A receiver behind a URL.
pub(super) struct Webhook {
    http: Arc<Interrupt>,
    name: String,
    url: String,
    body: NotifyBody,
    secret_file: PathBuf,
    /// The data directory, where pictures are sent.
    pictures: Option<PathBuf>,
}

impl Webhook {
    pub(super) fn new(
        name: &str,
        target: &NotifyTarget,
        data: PathBuf,
        cancel: &CancellationToken,
    ) -> Self {
        let http = Agent::config_builder()
            .http_status_as_error(false)
            // What is sent is for the named receiver only.
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_global(Some(target.timeout.0))
            .timeout_connect(Some(CONNECT_MAX))
            .user_agent(concat!("lenslog/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            http: Interrupt::new(Agent::new_with_config(http), cancel),
            name: name.to_owned(),
            url: target.url.clone(),
            body: target.body,
            secret_file: target.secret_file.clone(),
            pictures: target.picture.then_some(data),
        }
    }

    /// Everything that is said of a failure. Of the URL only the host: its path may be a secret.
    fn reason(&self, problem: &str) -> String {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        format!("{host}: {}", problem.replace(&self.url, host))
    }

    /// The picture of an event, if there is one that is not too large.
    fn picture(&self, alarm: &Alarm) -> Option<Vec<u8>> {
        let (day, file) = parse_image_path(alarm.image.as_deref()?)?;
        let path = self.pictures.as_ref()?.join("events").join(day.to_string()).join(file);
        let (file, length) = open_picture(&path).ok()??;
        let mut jpeg = Vec::new();
        (length <= PICTURE_BYTES_MAX).then_some(())?;
        file.take(PICTURE_BYTES_MAX).read_to_end(&mut jpeg).ok()?;
        Some(jpeg)
    }

    fn down(&self, problem: &str, retry_after: Option<Duration>) -> DeliveryOutcome {
        DeliveryOutcome::Down { reason: self.reason(problem), retry_after }
    }
}

impl Channel for Webhook {
    fn send(&mut self, alarm: &Alarm) -> DeliveryOutcome {
        let secret = match secret(&self.secret_file) {
            Ok(secret) => secret,
            // It may be repaired while the recorder runs.
            Err(problem) => return self.down(&problem, None),
        };
        let request = self.http.agent().post(&self.url);
        let sent = match self.body {
            NotifyBody::StandardWebhooks => {
                let body = format!(
                    r#"{{"type":"{}","timestamp":{},"data":{}}}"#,
                    alarm.kind,
                    serde_json::Value::from(alarm.time.as_str()),
                    alarm.event
                );
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let timestamp = now.as_secs().to_string();
                let mut request = request
                    .content_type("application/json")
                    .header("webhook-id", &alarm.id)
                    .header("webhook-timestamp", &timestamp);
                if let Some(secret) = secret {
                    let signed = match signature(&secret, &alarm.id, &timestamp, &body) {
                        Ok(signed) => signed,
                        Err(problem) => {
                            let file = self.secret_file.display();
                            return self.down(&format!("secret {file}: {problem}"), None);
                        }
                    };
                    request = request.header("webhook-signature", signed);
                }
                request.send(body)
            }
            NotifyBody::Ntfy => {
                let mut request =
                    request.header("Title", encoded_word(&alarm.title)).header("Tags", "camera");
                if let Some(token) = secret {
                    request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
                }
                match self.picture(alarm) {
                    Some(jpeg) => request
                        .content_type("image/jpeg")
                        .header("Filename", "event.jpg")
                        .header("Message", encoded_word(&alarm.text))
                        .send(&jpeg[..]),
                    None => {
                        request.content_type("text/plain; charset=utf-8").send(alarm.text.as_str())
                    }
                }
            }
        };
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return self.down(&error.to_string(), None),
        };
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs));
        let status = response.status();
        if status.is_success() {
            return DeliveryOutcome::Delivered;
        }
        let mut complaint = Vec::new();
        let reader = response.body_mut().as_reader();
        let _ = reader.take(COMPLAINT_BYTES_MAX).read_to_end(&mut complaint);
        let complaint = super::alarm::plain(&String::from_utf8_lossy(&complaint));
        let problem = match complaint.trim() {
            "" => format!("it answers {status}"),
            complaint => format!("it answers {status}: {complaint}"),
        };
        match status {
            StatusCode::GONE => DeliveryOutcome::Disabled {
                reason: self.reason(&format!(
                    "{problem}; it wants no more messages; remove notify.{}, or restart",
                    self.name
                )),
            },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                self.down(&problem, retry_after)
            }
            status if status.is_server_error() => self.down(&problem, retry_after),
            status if status.is_redirection() => DeliveryOutcome::Refused {
                reason: self.reason(&format!("{problem}; write the address it points to")),
            },
            _ => DeliveryOutcome::Refused { reason: self.reason(&problem) },
        }
    }

    fn takes_late(&self) -> bool {
        self.body == NotifyBody::StandardWebhooks
    }
}

/// `v1,` and the base64 of the HMAC-SHA256 over id, time and body. Several secrets, separated by commas, give several.
fn signature(secrets: &str, id: &str, timestamp: &str, body: &str) -> Result<String, String> {
    let one = |secret: &str| {
        let key = secret.trim().strip_prefix(SECRET_PREFIX).ok_or("expected whsec_ and base64")?;
        let key = STANDARD.decode(key).map_err(|_| "expected whsec_ and base64")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| "a key of no length")?;
        for part in [id, ".", timestamp, ".", body] {
            mac.update(part.as_bytes());
        }
        Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    let all = secrets.split(',').map(one).collect::<Result<Vec<_>, &str>>()?;
    Ok(all.join(" "))
}

/// A header's value, as RFC 2047 writes what is not ASCII.
fn encoded_word(text: &str) -> String {
    match text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        true => text.to_owned(),
        false => format!("=?UTF-8?B?{}?=", STANDARD.encode(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the specification of Standard Webhooks.
        let found = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(found.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(signature("secret", "1", "2", "3").is_err());
    }

    #[test]
    fn a_title_is_one_header_whatever_it_says() {
        assert_eq!(encoded_word("person at door"), "person at door");
        assert_eq!(encoded_word("Tür"), "=?UTF-8?B?VMO8cg==?=");
    }
}
