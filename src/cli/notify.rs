//! `lenslog notify`.

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use lenslog_control::{Client, ControlRequest, Reply};
use lenslog_engine::delivery::{DeliveryCursor, DeliveryOutcome};
use lenslog_journal::storage::RealStorage;
use lenslog_tools::{EXIT_FAILED, EXIT_OK, GlobalArgs, Unavailable, counted, say};

use super::quiet_configuration;
use crate::config::Config;
use crate::notify::{Alarm, channel, cursors, delivery_name};
use crate::util::CancellationToken;

/// List, test or replay notifications.
///
/// Receivers are the tables [notify.NAME] of the configuration.
#[derive(Debug, Args)]
pub(super) struct NotifyCommand {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print how far each receiver is
    List {
        /// Print each message that was refused for good, too
        #[arg(long)]
        parked: bool,
    },
    /// Send a test message
    Test {
        /// The receiver
        name: String,
    },
    /// Send messages again that were refused for good
    Replay(Parked),
    /// Forget messages that were refused for good
    Discard(Parked),
}

#[derive(Debug, Args)]
struct Parked {
    /// The receiver
    name: String,
    /// The first seq
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    from: u64,
    /// The last seq
    #[arg(long, value_name = "SEQ", default_value_t = u64::MAX - 1)]
    to: u64,
}

impl NotifyCommand {
    pub(super) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let config = quiet_configuration(args)?;
        match &self.command {
            Action::List { parked } => list(&config, *parked),
            Action::Test { name } => test(&config, name),
            Action::Replay(parked) => parked.run(&config, false),
            Action::Discard(parked) => parked.run(&config, true),
        }
    }
}

fn check_name(config: &Config, name: &str) -> Result<()> {
    if config.notify.contains_key(name) {
        return Ok(());
    }
    let names: Vec<_> = config.notify.keys().map(String::as_str).collect();
    match names.as_slice() {
        [] => bail!("notify: no receiver is configured; add a table [notify.{name}]"),
        _ => bail!("notify: there is no receiver '{name}'; there are: {}", names.join(", ")),
    }
}

fn list(config: &Config, with_parked: bool) -> Result<u8> {
    if config.notify.is_empty() {
        say!("no receiver is configured; add a table such as [notify.phone]");
    }
    for name in config.notify.keys() {
        let file = format!("{}.cursor", delivery_name(name));
        let path = cursors(&config.storage.data_dir).join(file);
        let Some(cursor) = DeliveryCursor::read(&RealStorage, &path)? else {
            say!("{name}: not started; it begins with the next event");
            continue;
        };
        let (next, open) = (cursor.next_seq(), cursor.open_count());
        let parked = cursor.parked();
        say!("{name}: next seq {next}, {open} refused so far, {} refused for good", parked.len());
        for message in parked.iter().filter(|_| with_parked) {
            let (seq, attempts) = (message.seq, message.attempts);
            say!("  seq {seq}, {}: {}", counted(attempts.into(), "attempt"), message.reason);
        }
    }
    Ok(EXIT_OK)
}

fn test(config: &Config, name: &str) -> Result<u8> {
    check_name(config, name)?;
    let Some(target) = config.notify.get(name) else { return Ok(EXIT_FAILED) };
    let time = crate::store::clock(config);
    let time = lenslog_journal::Clock::read(&*time).wall.to_string();
    let mut channel = channel(name, target, config, &CancellationToken::new());
    match channel.send(&Alarm::test(time)) {
        DeliveryOutcome::Delivered => {
            say!("{name}: the test message was delivered");
            Ok(EXIT_OK)
        }
        DeliveryOutcome::Down { reason, .. } => Err(Unavailable(reason).into()),
        DeliveryOutcome::Refused { reason } | DeliveryOutcome::Disabled { reason } => {
            bail!("{name}: the test message was refused: {reason}")
        }
        _ => bail!("{name}: unknown answer"),
    }
}

impl Parked {
    fn run(&self, config: &Config, discard: bool) -> Result<u8> {
        check_name(config, &self.name)?;
        let mut client = Client::connect(&config.storage.data_dir)?
            .ok_or_else(|| anyhow!("notify: no recorder runs; start it, it sends the messages"))?;
        client.send(&ControlRequest::Parked {
            delivery: delivery_name(&self.name),
            from: self.from,
            to: self.to,
            discard,
        })?;
        while let Some(reply) = client.reply()? {
            if let Reply::Unparked { messages } = reply {
                let what = if discard { "forgotten" } else { "sent again" };
                say!("{} {what}", counted(messages, "message"));
            }
        }
        Ok(EXIT_OK)
    }
}
