//! [`Snapshot`]: the simplest projection there is: a value in memory, kept in one small file with its checkpoint.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_journal::Seq;
use lenslog_journal::storage::{EntryKind, Storage, read_file, replace_file};

use crate::handle::{Handle, Shared};
use crate::sealed::{seal, unseal};
use crate::{
    Aside, Checkpoint, CommitKind, EventCodec, Inspection, Opened, Projection, ProjectionError,
    Recorded, Scope, Spec, Verifier, next_number,
};

/// Largest file of a snapshot, in bytes: a larger one is taken for broken.
pub const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

const SEPARATOR: &str = "---\n";

/// A value that a journal's records add up to, such as a count or a total a day.
pub trait Reducer<V: EventCodec>: Default + Send + 'static {
    /// Name of the projection: lower case, one word.
    const NAME: &'static str;
    /// Version of the projection: rises whenever the same events would add up to something else.
    const VERSION: u32;

    /// Adds a record. Pure: no clock, no environment, nothing random.
    fn add(&mut self, record: &Recorded<V::Event>);

    /// The value as text, for people to read and [`Reducer::from_text`] to read back.
    fn to_text(&self) -> String;

    /// Reads what [`Reducer::to_text`] wrote.
    fn from_text(text: &str) -> Option<Self>;
}

/// A [`Reducer`] kept in a file: the text, after a line with the checkpoint.
///
/// The file is replaced in one step at every durable commit, every few seconds while something happens: it is never
/// half written, and a checksum covers all of it. A rebuild moves what it keeps to `PATH.old-N`, of which the newest
/// three stay, or to `PATH.lost-N` where the journal lost records.
#[derive(Debug)]
pub struct Snapshot<S> {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    shared: Arc<Shared<S>>,
    /// What the file holds, until the follower accepts it by its first call.
    opened: Option<(S, Seq)>,
    rebuilt: Option<S>,
    /// The file as it was written last.
    identity: Option<(u64, u64)>,
}

impl<S: Default> Snapshot<S> {
    /// The summary kept at `path`, in a directory that exists.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, path: impl Into<PathBuf>) -> Self {
        let (shared, path) = (Arc::default(), path.into());
        Self { storage, path, shared, opened: None, rebuilt: None, identity: None }
    }

    /// A handle on the value, which is live while a [`Runner`](crate::Runner) follows.
    #[must_use]
    pub fn handle<V: EventCodec>(&self) -> Handle<S>
    where
        S: Reducer<V>,
    {
        Handle::new(Arc::clone(&self.shared), S::NAME)
    }

    /// The follower goes on from what the file holds: handles see it from here on.
    fn accept(&mut self) {
        if let Some((value, next)) = self.opened.take() {
            self.shared.replace(value, next);
        }
    }

    fn read(&self) -> Result<Option<Vec<u8>>, ProjectionError> {
        // Opening a FIFO would wait for a writer.
        if self.storage.stat(&self.path).is_ok_and(|stat| stat.kind != EntryKind::File) {
            return Err(self.blocked());
        }
        match read_file(&*self.storage, &self.path, SNAPSHOT_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Some(Vec::new())),
            Err(error) => Err(ProjectionError::retry("cannot read", &self.path)(error)),
        }
    }

    fn blocked(&self) -> ProjectionError {
        ProjectionError::Blocked {
            path: self.path.clone(),
            problem: "is not a file".to_owned(),
            remedy: "move it away",
        }
    }

    /// The entries of the file's directory, as paths and names.
    fn entries(&self) -> Result<(PathBuf, Vec<OsString>), ProjectionError> {
        let directory = self.path.parent().unwrap_or(Path::new("")).to_owned();
        let listed = self.storage.list(&directory);
        let entries = listed.map_err(ProjectionError::retry("cannot list", &directory))?;
        Ok((directory, entries.into_iter().map(|entry| entry.name).collect()))
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    fn move_aside(&self, aside: Aside) -> Result<(), ProjectionError> {
        let (_, entries) = self.entries()?;
        let mut numbers = aside.numbers(self.name(), entries.iter().map(OsString::as_os_str));
        let number = next_number(&numbers);
        numbers.push(number);
        let target = aside.path(&self.path, number);
        self.storage
            .rename(&self.path, &target)
            .map_err(ProjectionError::retry("cannot move aside", &self.path))?;
        let surplus = aside.surplus(&numbers).iter();
        surplus.map(|number| aside.path(&self.path, *number)).try_for_each(|old| self.remove(&old))
    }

    fn remove(&self, path: &Path) -> Result<(), ProjectionError> {
        self.storage.remove(path).map_err(ProjectionError::retry("cannot remove", path))
    }

    fn write(&mut self, text: &str) -> Result<(), ProjectionError> {
        let stat = replace_file(&*self.storage, &self.path, text.as_bytes())
            .and_then(|()| self.storage.stat(&self.path))
            .map_err(ProjectionError::retry("cannot write", &self.path))?;
        self.identity = Some(stat.identity);
        Ok(())
    }
}

fn parse<V: EventCodec, S: Reducer<V>>(bytes: Vec<u8>) -> Option<(Checkpoint, S)> {
    let text = unseal(bytes).ok()?;
    let (checkpoint, value) = text.split_once('\n')?;
    let value = value.strip_prefix(SEPARATOR)?;
    Some((serde_json::from_str(checkpoint).ok()?, S::from_text(value)?))
}

fn render<V: EventCodec, S: Reducer<V>>(checkpoint: &Checkpoint, value: &S) -> io::Result<String> {
    let checkpoint = serde_json::to_string(checkpoint)?;
    Ok(seal(&format!("{checkpoint}\n{SEPARATOR}{}", value.to_text())))
}

impl<V: EventCodec, S: Reducer<V>> Projection<V> for Snapshot<S> {
    fn spec(&self) -> Spec {
        Spec::new(S::NAME, S::VERSION)
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        self.opened = Some((S::default(), Seq(0)));
        let Some(bytes) = self.read()? else { return Ok(Opened::Absent) };
        let Some((checkpoint, value)) = parse::<V, S>(bytes) else {
            let reason = format!("{} is not a snapshot", self.path.display());
            return Ok(Opened::Broken { reason });
        };
        self.opened = Some((value, checkpoint.position.next));
        self.identity = self.storage.stat(&self.path).ok().map(|stat| stat.identity);
        Ok(Opened::At { checkpoint, needs: Default::default() })
    }

    fn apply(&mut self, record: &Recorded<V::Event>) -> Result<(), ProjectionError> {
        if let Some(rebuilt) = &mut self.rebuilt {
            rebuilt.add(record);
        } else {
            self.accept();
            self.shared.change(|value| value.add(record));
        }
        Ok(())
    }

    /// A visible commit changes nothing on disk: what a crash takes back is added again.
    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError> {
        self.accept();
        self.shared.publish(checkpoint.position.next);
        match kind {
            CommitKind::Visible => Ok(()),
            CommitKind::Durable | CommitKind::Final => {
                let text = self
                    .shared
                    .read(|value| render::<V, S>(checkpoint, value))
                    .map_err(ProjectionError::retry("cannot write", &self.path))?;
                self.write(&text)
            }
        }
    }

    fn caught_up(&mut self) -> Result<(), ProjectionError> {
        self.accept();
        Ok(())
    }

    fn inspect(&mut self) -> Result<Inspection, ProjectionError> {
        let Some(identity) = self.identity else { return Ok(Inspection::Intact) };
        match self.storage.stat(&self.path) {
            Ok(stat) if stat.kind != EntryKind::File => Err(self.blocked()),
            Ok(stat) if stat.identity == identity => Ok(Inspection::Intact),
            _ => {
                let reason = format!("{} was deleted or replaced", self.path.display());
                Ok(Inspection::Tampered { reason, scope: Scope::All })
            }
        }
    }

    /// A summary is one value: it is always rebuilt whole.
    fn begin_rebuild(&mut self, _scope: &Scope) -> Result<(), ProjectionError> {
        self.rebuilt = Some(S::default());
        Ok(())
    }

    fn finish_rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        if let Some(aside) = keep_old
            && self.read()?.is_some()
        {
            self.move_aside(aside)?;
        }
        self.opened = None;
        let value = self.rebuilt.take().unwrap_or_default();
        self.shared.replace(value, checkpoint.position.next);
        Projection::<V>::commit(self, checkpoint, CommitKind::Durable)
    }

    fn abort_rebuild(&mut self) {
        self.rebuilt = None;
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn remove_lost(&mut self) -> Result<u64, ProjectionError> {
        let (directory, entries) = self.entries()?;
        let mut removed = 0;
        for entry in entries {
            if Aside::Lost.number(self.name(), &entry).is_some() {
                self.remove(&directory.join(&entry))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<V>>>, ProjectionError> {
        let Some(bytes) = self.read()? else { return Ok(None) };
        let (checkpoint, kept) = parse::<V, S>(bytes).ok_or_else(|| ProjectionError::Broken {
            reason: format!("{} is not a snapshot", self.path.display()),
        })?;
        let path = self.path.clone();
        Ok(Some(Box::new(SnapshotVerifier { path, checkpoint, kept, added: S::default() })))
    }
}

struct SnapshotVerifier<S> {
    path: PathBuf,
    checkpoint: Checkpoint,
    kept: S,
    added: S,
}

impl<V: EventCodec, S: Reducer<V>> Verifier<V> for SnapshotVerifier<S> {
    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn apply(&mut self, record: &Recorded<V::Event>) -> Result<(), ProjectionError> {
        self.added.add(record);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, ProjectionError> {
        let (kept, added) = (self.kept.to_text(), self.added.to_text());
        if kept == added {
            return Ok(Vec::new());
        }
        let line = kept.lines().zip(added.lines()).position(|(one, other)| one != other);
        let line =
            line.map_or_else(|| "its length".to_owned(), |line| format!("line {}", line + 1));
        Ok(vec![format!("{} differs from the journal in {line}", self.path.display())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CodecError, Encoded};
    use lenslog_journal::storage::FaultyStorage;
    use lenslog_journal::{Kind, Seq};

    struct Numbers;

    impl EventCodec for Numbers {
        type Event = u8;

        fn decode(_: Kind, _: u16, payload: &[u8]) -> Result<Option<u8>, CodecError> {
            Ok(payload.first().copied())
        }

        fn encode(number: &u8) -> Result<Encoded, CodecError> {
            Ok(Encoded::new(Kind(1), 1, vec![*number]))
        }
    }

    #[derive(Default, Debug, PartialEq)]
    struct Text(String);

    impl Reducer<Numbers> for Text {
        const NAME: &'static str = "text";
        const VERSION: u32 = 1;

        fn add(&mut self, _: &Recorded<u8>) {}

        fn to_text(&self) -> String {
            self.0.clone()
        }

        fn from_text(text: &str) -> Option<Self> {
            Some(Self(text.to_owned()))
        }
    }

    fn checkpoint() -> Checkpoint {
        let spec = Projection::<Numbers>::spec(&Snapshot::<Text>::new(storage(), "/text"));
        let mut checkpoint = Checkpoint::at_start([7; 16], &spec);
        checkpoint.park(Seq(3), "a reason that ends in\n---\n", false);
        checkpoint
    }

    fn storage() -> Arc<dyn Storage> {
        Arc::new(FaultyStorage::new())
    }

    #[test]
    fn a_reason_that_looks_like_the_separator_splits_nothing() {
        let mut snapshot = Snapshot::<Text>::new(storage(), "/text");
        snapshot.shared.change(|value| *value = Text("one\n---\ntwo".to_owned()));
        let checkpoint = checkpoint();
        Projection::<Numbers>::commit(&mut snapshot, &checkpoint, CommitKind::Durable).unwrap();
        let opened = Projection::<Numbers>::open(&mut snapshot).unwrap();
        assert_eq!(opened, Opened::At { checkpoint, needs: Default::default() });
        Projection::<Numbers>::caught_up(&mut snapshot).unwrap();
        snapshot.handle().read(|value| assert_eq!(value.0, "one\n---\ntwo"));
    }

    #[test]
    fn a_changed_byte_anywhere_makes_the_file_broken() {
        let text = render::<Numbers, _>(&checkpoint(), &Text("12 cellar\n".to_owned())).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(parse::<Numbers, Text>(bytes).is_none(), "byte {at}");
        }
    }
}
