//! [`Process`]: what this process takes of the machine.

use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Two readings less than this apart are one: the kernel counts in hundredths of a second.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// What this process takes. Per cent are those of one core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProcessSnapshot {
    /// Processor time since the reading before.
    pub(super) cpu_percent: f64,
    /// Processor time since the start.
    pub(super) cpu_percent_average: f64,
    /// Processor time since the process began, in seconds.
    pub(super) cpu_seconds: f64,
    /// Memory that is resident.
    pub(super) memory_bytes: u64,
}

/// Processor time used and memory resident; `None` where the system does not report it.
type Read = fn(&mut Option<System>) -> Option<(Duration, u64)>;

/// Reads what this process takes.
pub(super) struct Process {
    system: Option<System>,
    read: Read,
    /// When it was begun, and the processor time used before.
    begun: (Duration, Duration),
    last: Option<(Duration, Duration, ProcessSnapshot)>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Process").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Process {
    /// Begins at `now`, in time since boot.
    pub(super) fn new(now: Duration) -> Self {
        Self::reading(now, System::new().ok(), read)
    }

    fn reading(now: Duration, mut system: Option<System>, read: Read) -> Self {
        let used = read(&mut system).map_or(Duration::ZERO, |(used, _)| used);
        Self { system, read, begun: (now, used), last: None }
    }

    pub(super) fn sample(&mut self, now: Duration) -> Option<ProcessSnapshot> {
        if let Some((at, _, snapshot)) = self.last
            && now.saturating_sub(at) < PAUSE_MIN
        {
            return Some(snapshot);
        }
        let (used, memory_bytes) = (self.read)(&mut self.system)?;
        let (before, used_before) = self.last.map_or(self.begun, |(at, used, _)| (at, used));
        let snapshot = ProcessSnapshot {
            cpu_percent: percent(now.saturating_sub(before), used.saturating_sub(used_before)),
            cpu_percent_average: percent(
                now.saturating_sub(self.begun.0),
                used.saturating_sub(self.begun.1),
            ),
            cpu_seconds: used.as_secs_f64(),
            memory_bytes,
        };
        // A first reading right after the start would stand for a second.
        if now.saturating_sub(before) >= PAUSE_MIN {
            self.last = Some((now, used, snapshot));
        }
        Some(snapshot)
    }
}

fn percent(passed: Duration, used: Duration) -> f64 {
    if passed.is_zero() {
        return 0.0;
    }
    (used.as_secs_f64() / passed.as_secs_f64() * 10_000.0).round() / 100.0
}

fn read(system: &mut Option<System>) -> Option<(Duration, u64)> {
    let system = system.as_mut()?;
    let pid = Pid::from_u32(std::process::id());
    let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
    let process = system.process(pid)?;
    Some((Duration::from_millis(process.accumulated_cpu_time()), process.memory()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    static USED_MS: AtomicU64 = AtomicU64::new(500);

    fn pretend(_: &mut Option<System>) -> Option<(Duration, u64)> {
        Some((Duration::from_millis(USED_MS.load(Ordering::Relaxed)), 4096))
    }

    #[test]
    fn now_and_average_are_told_apart() {
        let seconds = Duration::from_secs;
        let mut process = Process::reading(seconds(100), None, pretend);
        let mut after = |now, used_ms| {
            USED_MS.store(used_ms, Ordering::Relaxed);
            let snapshot = process.sample(seconds(now)).unwrap();
            (snapshot.cpu_percent, snapshot.cpu_percent_average, snapshot.cpu_seconds)
        };
        assert_eq!(after(100, 500), (0.0, 0.0, 0.5));
        assert_eq!(after(110, 1500), (10.0, 10.0, 1.5));
        assert_eq!(after(120, 5500), (40.0, 25.0, 5.5));
        // Too soon to say anything new.
        assert_eq!(after(120, 9999), (40.0, 25.0, 5.5));
    }

    #[test]
    fn this_process_takes_memory_and_time() {
        let mut process = Process::new(Duration::ZERO);
        // Work until the kernel has counted some.
        let snapshot = loop {
            std::hint::black_box((0..1_000_000_u64).fold(0, u64::wrapping_add));
            let snapshot = process.sample(Duration::from_millis(999)).unwrap();
            if snapshot.cpu_seconds > 0.0 {
                break snapshot;
            }
        };
        assert!(snapshot.memory_bytes > 1 << 20, "{snapshot:?}");
    }
}
