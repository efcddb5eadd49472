//! [`SdNotify`]: reports readiness, status and liveness to systemd, through the socket of `$NOTIFY_SOCKET`.
//!
//! Datagrams of `NAME=value` lines, as `sd_notify` sends them; nothing else of systemd is needed for it. A socket
//! that is full or gone costs a message, never time.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Longest status text that is sent, in bytes.
const STATUS_BYTES_MAX: usize = 1024;

/// Notifies the service manager; without one, does nothing.
#[derive(Debug, Default)]
pub struct SdNotify {
    target: Option<Target>,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Target {
    socket: UnixDatagram,
    address: SocketAddr,
}

#[derive(Debug)]
struct Watchdog {
    interval: Duration,
    last: Option<Instant>,
}

impl SdNotify {
    /// Finds the socket and the watchdog's interval in the environment of this process.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(value_of: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name| value_of(name).filter(|value| !value.is_empty());
        let Some(name) = variable("NOTIFY_SOCKET") else { return Self::default() };
        let number = |name| variable(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        // The watchdog may be meant for another process of the service.
        let is_mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let timeout = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && is_mine);
        match Self::new(&name, timeout.map(Duration::from_micros)) {
            Ok(notifier) => notifier,
            Err(error) => {
                tracing::warn!(%error, "service manager: notification failed");
                Self::default()
            }
        }
    }

    /// Notifies the socket of that name; `@` is the first byte of an abstract one. The watchdog is notified twice within
    /// `watchdog_timeout`.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and of a name that cannot be one.
    pub fn new(name: &OsStr, watchdog_timeout: Option<Duration>) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let text = "NOTIFY_SOCKET is neither a path nor an abstract name";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let watchdog =
            watchdog_timeout.map(|timeout| Watchdog { interval: timeout / 2, last: None });
        Ok(Self { target: Some(Target { socket, address }), watchdog })
    }

    /// The recorder records.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The recorder ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Sets the status line.
    pub fn status(&self, text: &str) {
        let end =
            (0..=STATUS_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        // A newline would begin another assignment.
        let text = text.get(..end.unwrap_or(0)).unwrap_or_default().replace(['\n', '\r'], " ");
        self.send(&format!("STATUS={text}"));
    }

    /// How long [`Self::alive`] may take to be called again; `None`: there is no watchdog.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|watchdog| watchdog.interval)
    }

    /// Notifies the watchdog, as often as it expects.
    pub fn alive(&mut self, now: Instant) {
        let Some(watchdog) = &mut self.watchdog else { return };
        // A little early rather than a whole round late.
        let pause = watchdog.interval * 3 / 4;
        if watchdog.last.is_none_or(|last| now.saturating_duration_since(last) >= pause) {
            watchdog.last = Some(now);
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, message: &str) {
        if let Some(Target { socket, address }) = &self.target
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("lenslog-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let name = format!("@{name}");
        for (socket, name) in [(by_path, path.as_os_str()), (by_name, OsStr::new(&name))] {
            let notifier = SdNotify::new(name, None).unwrap();
            notifier.ready();
            assert_eq!(heard(&socket), "READY=1");
            notifier.status("two\nREADY=0 lines");
            assert_eq!(heard(&socket), "STATUS=two READY=0 lines");
            notifier.status(&"é".repeat(5000));
            assert_eq!(heard(&socket).len(), 7 + STATUS_BYTES_MAX);
            notifier.stopping();
            assert_eq!(heard(&socket), "STOPPING=1");
        }
    }

    #[test]
    fn the_watchdog_hears_twice_within_its_timeout_and_not_at_every_tick() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let timeout = Duration::from_secs(20);
        let mut notifier = SdNotify::new(path.as_os_str(), Some(timeout)).unwrap();
        let start = Instant::now();
        let (mut last, mut count) = (0, 0);
        for second in 0..100 {
            notifier.alive(start + Duration::from_secs(second));
            if socket.recv(&mut [0; 64]).is_ok() {
                assert!(second - last <= timeout.as_secs() / 2, "{last} {second}");
                (last, count) = (second, count + 1);
            }
        }
        assert!((10..=15).contains(&count), "{count}");
    }

    #[test]
    fn the_watchdog_of_another_process_hears_nothing_of_this_one() {
        let interval_of = |pid: &str, micros: &str| {
            let value_of = |name: &str| match name {
                "NOTIFY_SOCKET" => Some("/run/no/such".into()),
                "WATCHDOG_PID" => Some(pid.into()),
                "WATCHDOG_USEC" => Some(micros.into()),
                _ => None,
            };
            SdNotify::from_variables(value_of).watchdog_interval()
        };
        let own = std::process::id().to_string();
        let second = Some(Duration::from_secs(1));
        assert_eq!(interval_of(&own, "2000000"), second);
        assert_eq!(interval_of("", "2000000"), second);
        assert_eq!(interval_of("1", "2000000"), None);
        assert_eq!(interval_of(&own, "0"), None);
    }

    #[test]
    fn nobody_waits_for_a_manager_that_does_not_listen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut notifier = SdNotify::new(path.as_os_str(), Some(Duration::from_secs(2))).unwrap();
        // More than its queue holds.
        (0..10_000).for_each(|_| notifier.ready());
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        notifier.ready();
        notifier.alive(Instant::now());
        SdNotify::default().ready();
        assert!(SdNotify::new(OsStr::new("relative"), None).is_err());
    }
}
