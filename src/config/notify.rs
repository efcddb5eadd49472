//! `[notify.NAME]`: who is notified of events, and how.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Seconds;

/// Most receivers.
pub const NOTIFY_MAX: usize = 16;
/// Longest name of a receiver, in characters.
pub const NOTIFY_NAME_CHARS_MAX: usize = 32;

/// A receiver of notifications: a URL or a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyTarget {
    /// An http or https address; empty where a program is notified.
    pub url: String,
    /// The form of the request.
    pub body: NotifyBody,
    /// A file with the secret, mode 0600: of Standard Webhooks (`whsec_…`), or the token of ntfy; empty: none.
    pub secret_file: PathBuf,
    /// A program and its arguments, which gets the event as one line of JSON on its standard input.
    pub exec: Vec<String>,
    /// Whether ntfy gets the event's picture.
    pub picture: bool,
    /// Only these cameras; empty: all.
    pub cameras: Vec<String>,
    /// Only events with one of these labels; empty: all, motion too.
    pub labels: Vec<String>,
    /// After a notification, events of the same camera notify no more for so long.
    pub cooldown: Seconds,
    /// What is older when it can be sent at last is `event.late`, or part of a summary.
    pub max_age: Seconds,
    /// How long one attempt may take.
    pub timeout: Seconds,
}

impl Default for NotifyTarget {
    fn default() -> Self {
        Self {
            url: String::new(),
            body: NotifyBody::StandardWebhooks,
            secret_file: PathBuf::new(),
            exec: Vec::new(),
            picture: true,
            cameras: Vec::new(),
            labels: Vec::new(),
            cooldown: Seconds::new(0),
            max_age: Seconds::new(600),
            timeout: Seconds::new(20),
        }
    }
}

/// The form of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyBody {
    /// JSON, signed where there is a secret: Standard Webhooks 1.0.
    StandardWebhooks,
    /// A text with a title, as ntfy takes it.
    Ntfy,
}
