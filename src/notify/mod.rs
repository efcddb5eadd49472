//! Notifications of events: a [`Delivery`] for each `[notify.NAME]`.
//!
//! | file | task |
//! |---|---|
//! | `mod.rs` | which events notify, and the summary after an outage |
//! | `alarm.rs` | what is said of an event |
//! | `webhook.rs` | Standard Webhooks and ntfy over HTTP |
//! | `command.rs` | programs |

mod alarm;
mod command;
mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lenslog_engine::Fact;
use lenslog_engine::delivery::{
    Deliveries, DeliveriesOptions, Delivery, DeliveryNotice, DeliveryOutcome, DeliverySpec, Message,
};
use lenslog_events::{Event, EventDetected, RecorderCodec, kind};
use lenslog_journal::{JournalView, Kind, Query, Timestamp};

use crate::config::{Config, NotifyTarget};
use crate::util::CancellationToken;
pub use alarm::Alarm;

/// Pauses before a refused message is sent again.
const RETRIES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(300),
    Duration::from_secs(1800),
    Duration::from_secs(7200),
    Duration::from_secs(18_000),
];
/// Cameras whose last notification is remembered; the one that was notified of longest ago is forgotten.
const CAMERAS_MAX: usize = 1024;

/// Sends an alarm to one receiver.
pub trait Channel: Send {
    /// Sends it; blocks for the timeout of the receiver at most.
    fn send(&mut self, alarm: &Alarm) -> DeliveryOutcome;

    /// Whether it takes late events one by one. Others get one summary of an outage.
    fn takes_late(&self) -> bool;
}

/// The directory of the cursors.
#[must_use]
pub fn cursors(data: &Path) -> PathBuf {
    data.join("checkpoints")
}

/// The name of a receiver's cursor, without its ending.
#[must_use]
pub fn delivery_name(name: &str) -> String {
    format!("notify-{name}")
}

/// Starts the configured notifications. `write` journals when a receiver goes down and when it is back, and nothing about single
/// messages.
#[must_use]
pub fn start(
    config: &Config,
    view: &JournalView,
    cancel: &CancellationToken,
    write: impl Fn(Option<String>, &str) + Send + Sync + 'static,
) -> Deliveries {
    let targets = config.notify.iter();
    let deliveries = targets
        .map(|(name, target)| -> Box<dyn Delivery<RecorderCodec>> {
            Box::new(Notifier::new(name, target, config, cancel))
        })
        .collect::<Vec<_>>();
    let directory = cursors(&config.storage.data_dir);
    if let Err(error) = view.storage().create_directory(&directory) {
        let directory = directory.display();
        tracing::error!(%error, %directory, "directory of cursors: cannot be made; notifications wait");
    }
    let options =
        DeliveriesOptions::new(directory).on_notice(Arc::new(move |name, notice| match notice {
            DeliveryNotice::Failing { reason } => write(Some(reason.clone()), name),
            DeliveryNotice::Recovered => write(None, name),
            _ => {}
        }));
    Deliveries::start(view, deliveries, &options)
}

/// The channel that a configuration names.
#[must_use]
pub fn channel(
    name: &str,
    target: &NotifyTarget,
    config: &Config,
    cancel: &CancellationToken,
) -> Box<dyn Channel> {
    let data = config.storage.data_dir.clone();
    match target.exec.is_empty() {
        true => Box::new(webhook::Webhook::new(name, target, data, cancel)),
        false => Box::new(command::Program::new(name, target, data, cancel.clone())),
    }
}

/// Decides which events notify one receiver.
struct Notifier {
    name: String,
    target: NotifyTarget,
    channel: Box<dyn Channel>,
    /// When each camera notified last, by the time of its event.
    last: BTreeMap<String, Timestamp>,
    /// A summary of the outage was sent.
    summarised: bool,
}

impl Notifier {
    fn new(name: &str, target: &NotifyTarget, config: &Config, cancel: &CancellationToken) -> Self {
        Self {
            name: delivery_name(name),
            target: target.clone(),
            channel: channel(name, target, config, cancel),
            last: BTreeMap::new(),
            summarised: false,
        }
    }

    fn wants(&self, event: &EventDetected) -> bool {
        let NotifyTarget { cameras, labels, .. } = &self.target;
        let is_labelled =
            || event.detected_objects.iter().any(|object| labels.contains(&object.label));
        (cameras.is_empty() || cameras.contains(&event.camera_id))
            && (labels.is_empty() || is_labelled())
    }

    /// Whether the camera has notified too short a time ago.
    fn is_cooling(&self, event: &EventDetected) -> bool {
        let last = self.last.get(&event.camera_id);
        last.is_some_and(|last| {
            let passed = event.timestamp.utc_micros.saturating_sub(last.utc_micros);
            u64::try_from(passed)
                .is_ok_and(|passed| Duration::from_micros(passed) < self.target.cooldown.0)
        })
    }

    fn remember(&mut self, event: &EventDetected) {
        self.last.insert(event.camera_id.clone(), event.timestamp);
        if self.last.len() > CAMERAS_MAX
            && let Some(oldest) =
                self.last.iter().min_by_key(|(_, at)| at.utc_micros).map(|(id, _)| id.clone())
        {
            self.last.remove(&oldest);
        }
    }
}

impl Delivery<RecorderCodec> for Notifier {
    fn spec(&self) -> DeliverySpec {
        DeliverySpec::new(&self.name)
            .query(Query::kinds([Kind(kind::EVENT_DETECTED)]))
            .retries(RETRIES)
    }

    fn deliver(&mut self, message: &Message<'_, Event>) -> DeliveryOutcome {
        let Fact::Event(Event::Detected(event)) = &message.record.fact else {
            return DeliveryOutcome::Delivered;
        };
        if !self.wants(event) || (message.attempts == 0 && self.is_cooling(event)) {
            return DeliveryOutcome::Delivered;
        }
        let is_late = message.age.is_some_and(|age| age > self.target.max_age.0);
        if is_late && !self.channel.takes_late() && self.summarised {
            return DeliveryOutcome::Delivered;
        }
        let alarm = Alarm::new(message.id.to_string(), event, message.record.seq, is_late);
        let outcome = self.channel.send(&alarm);
        if outcome == DeliveryOutcome::Delivered {
            self.summarised = is_late;
            self.remember(event);
        }
        outcome
    }
}

/// The secret in a file, without white space around it.
pub(crate) fn secret(path: &Path) -> Result<Option<String>, String> {
    use std::os::unix::fs::PermissionsExt;
    /// Longest secret.
    const SECRET_BYTES_MAX: u64 = 4096;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let shown = path.display();
    let read = || -> std::io::Result<(u32, u64, String)> {
        let stat = std::fs::metadata(path)?;
        if !stat.is_file() || stat.len() > SECRET_BYTES_MAX {
            return Err(std::io::Error::other("not a file of at most 4 KiB"));
        }
        Ok((stat.permissions().mode(), stat.len(), std::fs::read_to_string(path)?))
    };
    let (mode, _, text) = read().map_err(|error| format!("secret {shown}: {error}"))?;
    if mode & 0o077 != 0 {
        return Err(format!(
            "secret {shown}: others may read it (mode {:03o}); run `chmod 600 {shown}`",
            mode & 0o777
        ));
    }
    let text = text.trim();
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain {
        return Err(format!("secret {shown}: expected one line of printable characters"));
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use lenslog_engine::Recorded;
    use lenslog_engine::delivery::MessageId;
    use lenslog_events::Metadata;
    use lenslog_journal::Seq;

    use super::*;

    /// Keeps what it is sent.
    struct Kept(Arc<Mutex<Vec<Alarm>>>, bool);

    impl Channel for Kept {
        fn send(&mut self, alarm: &Alarm) -> DeliveryOutcome {
            self.0.lock().unwrap().push(alarm.clone());
            DeliveryOutcome::Delivered
        }

        fn takes_late(&self) -> bool {
            self.1
        }
    }

    /// What a receiver gets of events of these ages, in seconds.
    fn sent(takes_late: bool, ages: &[Option<u64>]) -> Vec<(String, &'static str)> {
        let kept = Arc::default();
        let config = Config::default();
        let target =
            NotifyTarget { url: "http://192.0.2.1/".to_owned(), ..NotifyTarget::default() };
        let mut notifier = Notifier::new("phone", &target, &config, &CancellationToken::new());
        notifier.channel = Box::new(Kept(Arc::clone(&kept), takes_late));
        let timestamp = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };
        for (number, age) in ages.iter().enumerate() {
            let event = Event::Detected(EventDetected {
                event_id: format!("evt_{number}"),
                timestamp,
                camera_id: "door".to_owned(),
                camera_name: None,
                motion_confidence: None,
                detected_objects: Vec::new(),
                image_path: None,
                llm_description: None,
                description_expected: false,
                metadata: Metadata::new(),
            });
            let seq = Seq(number as u64 + 1);
            let record = Recorded {
                seq,
                time: timestamp,
                day: timestamp.day(),
                kind: Kind(kind::EVENT_DETECTED),
                version: 1,
                fact: Fact::Event(event),
            };
            let id = MessageId { journal: [1; 16], incarnation: [2; 16], seq, digest: [3; 4] };
            let message = Message::new(id, &record, 0, age.map(Duration::from_secs));
            assert_eq!(notifier.deliver(&message), DeliveryOutcome::Delivered);
        }
        let alarms = kept.lock().unwrap();
        alarms.iter().map(|alarm| (alarm.event_id.clone(), alarm.kind)).collect()
    }

    #[test]
    fn after_an_outage_a_person_gets_one_summary_and_a_program_every_event() {
        let ages = [Some(0), Some(4000), Some(3000), Some(700), None, Some(5), Some(900)];
        let (late, new) = ("event.late", "event.detected");
        let of = |number: usize, kind| (format!("evt_{number}"), kind);
        assert_eq!(
            sent(false, &ages),
            [of(0, new), of(1, late), of(4, new), of(5, new), of(6, late)]
        );
        let kinds = [new, late, late, late, new, new, late];
        let all: Vec<_> =
            kinds.into_iter().enumerate().map(|(number, kind)| of(number, kind)).collect();
        assert_eq!(sent(true, &ages), all);
    }
}
