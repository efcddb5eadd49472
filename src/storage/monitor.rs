//! [`StorageMonitor`]: counts what everything takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lenslog_journal::Day;
use parking_lot::{Mutex, MutexGuard};

use super::policy::DayData;
use super::stats::StorageStats;
use super::tree::{Share, Tree, blocks, identity};
use super::volume::{self, Volume};
use crate::config::Config;

/// Every file is looked at again this often, whatever the directories' times say.
const WALK_INTERVAL: Duration = Duration::from_secs(300);
/// Files that say that a day has events begin with these.
const TEXTS: &[&str] = &["events.json", "amendments.json", "events.log"];

/// Counts what everything below the data and the log directory takes, and the database where it is elsewhere.
///
/// The first check, and one every few minutes, looks at every file; the others at what can have changed. Cheap to
/// call from any thread; it reads and changes nothing.
#[derive(Debug)]
pub struct StorageMonitor {
    data: PathBuf,
    events: PathBuf,
    journal: PathBuf,
    logs: PathBuf,
    database: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    data: Tree,
    events: Tree,
    journal: Tree,
    logs: Tree,
    walked_at: Option<Instant>,
    reported: BTreeSet<PathBuf>,
    /// Devices on which a quota was met.
    quotas: BTreeSet<u64>,
}

impl State {
    const fn trees(&self) -> [&Tree; 4] {
        [&self.data, &self.events, &self.journal, &self.logs]
    }
}

impl StorageMonitor {
    /// Counts for this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let storage = &config.storage;
        let state = State {
            data: Tree::new(storage.data_dir.clone()),
            events: Tree::new(storage.data_dir.join("events")),
            journal: Tree::new(storage.data_dir.join("journal")),
            logs: Tree::new(storage.log_dir.clone()),
            walked_at: None,
            reported: BTreeSet::new(),
            quotas: BTreeSet::new(),
        };
        Self {
            data: storage.data_dir.clone(),
            events: storage.data_dir.join("events"),
            journal: storage.data_dir.join("journal"),
            logs: storage.log_dir.clone(),
            database: storage.db_path.clone(),
            limit_bytes: (storage.max_storage_gb * 1e9) as u64,
            state: Mutex::new(state),
        }
    }

    /// Counts. Unreadable files are reported once and not counted.
    pub fn check_usage(&self) -> StorageStats {
        self.stats(|_| true)
    }

    /// Counts as if the file system that only the database is on were larger than it is.
    pub(super) fn usage_without_database_disk(&self) -> StorageStats {
        self.stats(|volume| volume.only_database.is_none())
    }

    fn stats(&self, counts: impl Fn(&Volume<'_>) -> bool) -> StorageStats {
        let mut state = self.lock();
        self.refresh(&mut state);
        let mut used: BTreeMap<u64, u64> = BTreeMap::new();
        for (device, bytes) in state.trees().into_iter().flat_map(Tree::bytes_by_device) {
            *used.entry(device).or_default() += bytes;
        }
        drop(state);
        let free = self.database_free();
        if let Some(device) = device(self.directory()) {
            let there = used.entry(device).or_default();
            *there = (*there + self.database_elsewhere()).saturating_sub(free);
        }
        let total = used.values().sum();
        let mut volumes = self.volumes(&used, free);
        volumes.retain(counts);
        let reach = volume::reach(total, &volumes).unwrap_or(u64::MAX);
        StorageStats::new(total, reach.min(self.limit_bytes))
    }

    /// The file systems that running full of ours stops something, and where deleting helps. So the one of the logs
    /// is none of them, if nothing else is on it: its files have a limit of their own.
    fn volumes(&self, used: &BTreeMap<u64, u64>, free: u64) -> Vec<Volume<'_>> {
        let roots = [&self.data, &self.events, &self.journal];
        let mut found: BTreeMap<u64, Volume<'_>> = BTreeMap::new();
        for path in roots {
            let Some(device) = device(path) else { continue };
            let used = used.get(&device).copied().unwrap_or(0);
            found.entry(device).or_insert(Volume {
                path,
                used,
                only_database: None,
                has_quota: false,
            });
        }
        let path = self.directory();
        if let Some(device) = device(path) {
            let used = used.get(&device).copied().unwrap_or(0);
            found.entry(device).or_insert(Volume {
                path,
                used,
                only_database: Some(free),
                has_quota: false,
            });
        }
        for (device, volume) in &mut found {
            volume.has_quota = self.has_quota(*device, volume);
        }
        found.into_values().collect()
    }

    /// Whether a quota was met there, now or before: from then on it is asked what it leaves.
    fn has_quota(&self, device: u64, volume: &Volume<'_>) -> bool {
        let is_new = !self.lock().quotas.contains(&device) && volume.meets_quota();
        if is_new && self.lock().quotas.insert(device) {
            let path = volume.path.display();
            tracing::warn!(%path, "quota: reached; it counts as the size of the file system from now on");
        }
        self.lock().quotas.contains(&device)
    }

    /// What the directory of each day takes, as last counted, in the order of the days. Names in `events/` that are
    /// no days of ours are reported once and left out.
    #[must_use]
    pub fn days(&self) -> Vec<DayData> {
        let mut state = self.lock();
        let shares = state.events.shares();
        self.tell_strangers(&mut state);
        let mut days: Vec<_> = shares
            .iter()
            .filter_map(|(name, share)| Some(day_data(name.to_str()?.parse().ok()?, share)))
            .collect();
        days.sort_unstable_by_key(|data| data.day);
        days
    }

    /// Bytes of the database's free pages, which the next rows take before the file grows.
    #[must_use]
    pub fn database_free(&self) -> u64 {
        lenslog_projections::free_database_bytes(&self.database).unwrap_or(0)
    }

    /// Deleting rows makes the database's log longer; this cuts it, where no reader prevents it.
    pub(super) fn shorten_database_log(&self) {
        if !lenslog_projections::shorten_database_log(&self.database) {
            tracing::debug!("the database's log cannot be cut now");
        }
    }

    /// Bytes of the database's pages that hold something.
    pub(super) fn database_used(&self) -> u64 {
        let bytes = fs::metadata(&self.database).map_or(0, |found| blocks(&found));
        bytes.saturating_sub(self.database_free())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn refresh(&self, state: &mut State) {
        let all = state.walked_at.is_none_or(|at| at.elapsed() >= WALK_INTERVAL);
        let State { data, events, journal, logs, .. } = state;
        let identities: Vec<_> = [&*data, events, journal, logs]
            .map(|tree| fs::metadata(tree.root()).ok().map(|found| identity(&found)))
            .into();
        for (index, tree) in [data, events, journal, logs].into_iter().enumerate() {
            let own = identities.get(index).copied().flatten();
            // The same directory under two names counts once.
            let is_twin = own.is_some() && identities.iter().take(index).any(|other| *other == own);
            let others = identities.iter().flatten().copied().filter(|other| Some(*other) != own);
            if !is_twin {
                tree.refresh(all, &others.collect());
            }
        }
        if all {
            state.walked_at = Some(Instant::now());
        }
    }

    /// The directory of the database.
    fn directory(&self) -> &Path {
        self.database.parent().unwrap_or(Path::new("."))
    }

    /// Bytes of the database, its log and what was set aside, where they lie in none of the counted directories.
    fn database_elsewhere(&self) -> u64 {
        let Ok(directory) = fs::canonicalize(self.directory()) else { return 0 };
        let is_counted =
            |root: &Path| fs::canonicalize(root).is_ok_and(|root| directory.starts_with(root));
        if is_counted(&self.data) || is_counted(&self.logs) {
            return 0;
        }
        let name = self.database.file_name().unwrap_or_default();
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().as_bytes().starts_with(name.as_bytes()))
            .filter_map(|entry| entry.metadata().ok())
            .filter(|found| !found.is_dir())
            .map(|found| blocks(&found))
            .sum()
    }

    fn tell_strangers(&self, state: &mut State) {
        let Ok(entries) = fs::read_dir(state.events.root()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_day = name.to_str().is_some_and(|name| name.parse::<Day>().is_ok());
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !(is_day && is_directory) && state.reported.insert(entry.path()) {
                let path = entry.path();
                tracing::warn!(path = %path.display(), "events/: not the directory of a day; left alone");
            }
        }
    }
}

/// The device that a path is on.
fn device(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| identity(&found).0)
}

fn day_data(day: Day, share: &Share) -> DayData {
    let is_text = |name: &std::ffi::OsString| {
        name.to_str().is_some_and(|name| TEXTS.iter().any(|text| name.starts_with(text)))
    };
    DayData {
        day,
        bytes: share.bytes,
        picture_bytes: share.picture_bytes,
        has_events: share.texts.iter().any(is_text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(root: &Path) -> Config {
        let mut config = Config::default();
        config.storage.data_dir = root.join("data");
        config.storage.db_path = root.join("data/events.db");
        config.storage.log_dir = root.join("logs");
        config
    }

    fn write(path: &Path, bytes: usize) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![1; bytes]).unwrap();
    }

    #[test]
    fn everything_below_data_and_logs_counts_once_wherever_it_is() {
        let env = tempfile::tempdir().unwrap();
        let root = env.path();
        for path in [
            "data/journal/1.seg",
            "data/journal/spare",
            "data/events.db-wal",
            "data/events.db.old-1",
            "data/events/2026-11-23/evt_1.jpg",
            "data/events/2025-13-45/x",
            "logs/metrics.json",
            "elsewhere/events.db-wal",
        ] {
            write(&root.join(path), 100_000);
        }
        let total = |config: &Config| StorageMonitor::new(config).check_usage().total_bytes;
        let mut config = config(root);
        let all = total(&config);
        assert!((700_000..800_000).contains(&all), "{all}");
        config.storage.db_path = root.join("elsewhere/events.db");
        assert!((800_000..900_000).contains(&total(&config)));
        // A directory with such a name is none of the database's files; beside the logs it is counted with them.
        fs::create_dir(root.join("elsewhere/events.db.d")).unwrap();
        let with_directory = total(&config);
        fs::remove_dir(root.join("elsewhere/events.db.d")).unwrap();
        assert_eq!(with_directory, total(&config));
        write(&root.join("logs/events.db-wal"), 100_000);
        config.storage.db_path = root.join("logs/events.db");
        assert!((800_000..900_000).contains(&total(&config)));
        fs::remove_file(root.join("logs/events.db-wal")).unwrap();
        config.storage.db_path = root.join("data/events.db");
        for logs in ["data/logs", "data/events", "data"] {
            config.storage.log_dir = root.join(logs);
            let found = total(&config);
            assert!((600_000..700_000).contains(&found), "{logs}: {found}");
        }
        config.storage.log_dir = root.to_owned();
        assert!((800_000..900_000).contains(&total(&config)));
    }

    #[test]
    fn events_on_another_disk_are_followed_and_days_are_told_apart() {
        let env = tempfile::tempdir().unwrap();
        let root = env.path();
        write(&root.join("other/2026-11-23/evt_1.jpg"), 300_000);
        write(&root.join("other/2026-11-22/events.json"), 10_000);
        write(&root.join("other/2026-11-22.bak/events.json"), 10_000);
        write(&root.join("outside/big.jpg"), 1_000_000);
        fs::create_dir(root.join("data")).unwrap();
        std::os::unix::fs::symlink(root.join("other"), root.join("data/events")).unwrap();
        std::os::unix::fs::symlink(root.join("outside"), root.join("other/2026-11-21")).unwrap();
        let monitor = StorageMonitor::new(&config(root));
        let stats = monitor.check_usage();
        assert!((300_000..400_000).contains(&stats.total_bytes), "{stats:?}");
        let days = monitor.days();
        let found: Vec<_> = days.iter().map(|d| (d.day.to_string(), d.has_events)).collect();
        assert_eq!(found, [("2026-11-22".to_owned(), true), ("2026-11-23".to_owned(), false)]);
        assert!(days[1].picture_bytes >= 300_000);
    }

    #[test]
    fn every_file_is_looked_at_again_after_a_while_and_not_each_time() {
        let env = tempfile::tempdir().unwrap();
        let picture = env.path().join("data/events/2026-11-23/evt_1.jpg");
        write(&picture, 1_000);
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let day = fs::File::open(picture.parent().unwrap()).unwrap();
        day.set_modified(long_ago).unwrap();
        let monitor = StorageMonitor::new(&config(env.path()));
        let total = || monitor.check_usage().total_bytes;
        let before = total();
        // No name was made or removed.
        fs::write(&picture, vec![1; 300_000]).unwrap();
        assert_eq!(total(), before);
        monitor.lock().walked_at = Instant::now().checked_sub(WALK_INTERVAL);
        assert!(total() >= before + 250_000);
        fs::write(&picture, "x").unwrap();
        assert!(total() >= before + 250_000);
    }

    #[test]
    fn what_rows_left_free_in_the_database_is_not_used() {
        let env = tempfile::tempdir().unwrap();
        for database in ["data/events.db", "elsewhere/events.db"] {
            let mut config = config(env.path());
            config.storage.db_path = env.path().join(database);
            fs::create_dir_all(config.storage.db_path.parent().unwrap()).unwrap();
            let database = rusqlite::Connection::open(&config.storage.db_path).unwrap();
            database
                .execute_batch("CREATE TABLE x (y); INSERT INTO x VALUES (zeroblob(900000));")
                .unwrap();
            let monitor = StorageMonitor::new(&config);
            let (total, used) = (monitor.check_usage().total_bytes, monitor.database_used());
            database.execute_batch("DELETE FROM x").unwrap();
            assert!(monitor.check_usage().total_bytes + 800_000 < total);
            assert!(monitor.database_used() + 800_000 < used);
            drop(database);
            fs::remove_file(&config.storage.db_path).unwrap();
        }
    }
}
