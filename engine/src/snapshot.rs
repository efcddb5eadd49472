//! [`Snapshot`]: the simplest projection there is: a value in memory, kept in one small file with its checkpoint.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lenslog_journal::storage::{EntryKind, Storage, read_file, replace_file};

use crate::{
    Checkpoint, CommitKind, Inspection, KeepOld, Opened, Projection, ProjectionError, Recorded,
    Scope, Spec, Verifier, Vocabulary,
};

/// Largest file of a snapshot, in bytes: a larger one is taken for broken.
pub const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

/// Files that rebuilds set aside: `.old`, then `.old-2` and so on, the newest first; the oldest goes.
pub const SNAPSHOT_ASIDES_MAX: usize = 3;

const SEPARATOR: &str = "---\n";

/// A value that a journal's records add up to, such as a count or a total a day.
pub trait Summary<V: Vocabulary>: Default + Send + 'static {
    /// Name of the projection: lower case, one word.
    const NAME: &'static str;
    /// Version of the logic: rises whenever the same events would add up to something else.
    const LOGIC: u32;

    /// Adds a record. Pure: no clock, no environment, nothing random.
    fn add(&mut self, record: &Recorded<V::Event>);

    /// The value as text, for people to read and [`Summary::from_text`] to read back.
    fn to_text(&self) -> String;

    /// Reads what [`Summary::to_text`] wrote.
    fn from_text(text: &str) -> Option<Self>;
}

/// A [`Summary`] kept in a file: the text, after the lines of the checkpoint.
///
/// The file is replaced in one step at every durable commit, every few seconds while something happens: it is never
/// half written. What a rebuild keeps goes to `PATH.old`, what was there before to `PATH.old-2`, at most
/// [`SNAPSHOT_ASIDES_MAX`] of them. Where the journal lost records it goes to `PATH.lost-N`, which is not limited.
#[derive(Debug)]
pub struct Snapshot<S> {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    live: S,
    rebuilt: Option<S>,
    /// The file as it was written last.
    identity: Option<(u64, u64)>,
}

impl<S: Default> Snapshot<S> {
    /// The summary kept at `path`, in a directory that exists.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, path: impl Into<PathBuf>) -> Self {
        Self { storage, path: path.into(), live: S::default(), rebuilt: None, identity: None }
    }

    /// The value as it is in memory.
    pub const fn value(&self) -> &S {
        &self.live
    }

    fn read(&self) -> Result<Option<String>, ProjectionError> {
        // Opening a FIFO would wait for a writer.
        if self.storage.stat(&self.path).is_ok_and(|stat| stat.kind != EntryKind::File) {
            return Err(self.blocked());
        }
        match read_file(&*self.storage, &self.path, SNAPSHOT_BYTES_MAX) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Some(String::new())),
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

    /// The first name that no lost copy has.
    fn free_lost(&self) -> io::Result<PathBuf> {
        for number in 1_u64.. {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".lost-{number}"));
            match self.storage.stat(name.as_ref()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(name.into()),
                result => result?,
            };
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where the file goes that is set aside `number` times, from 1 on.
    fn aside(&self, number: usize) -> PathBuf {
        let mut aside = self.path.clone().into_os_string();
        aside.push(if number == 1 { ".old".to_owned() } else { format!(".old-{number}") });
        aside.into()
    }

    fn set_aside(&self) -> io::Result<()> {
        for number in (1..SNAPSHOT_ASIDES_MAX).rev() {
            match self.storage.rename(&self.aside(number), &self.aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.storage.rename(&self.path, &self.aside(1))
    }

    fn write(&mut self, text: &str) -> Result<(), ProjectionError> {
        let stat = replace_file(&*self.storage, &self.path, text.as_bytes())
            .and_then(|()| self.storage.stat(&self.path))
            .map_err(ProjectionError::retry("cannot write", &self.path))?;
        self.identity = Some(stat.identity);
        Ok(())
    }
}

/// Whether `entry` is called like `name` and `.lost-N`.
fn is_lost_copy(name: &std::ffi::OsStr, entry: &std::ffi::OsStr) -> bool {
    let number = || {
        let rest = entry.as_encoded_bytes().strip_prefix(name.as_encoded_bytes())?;
        rest.strip_prefix(b".lost-")
    };
    number().is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

fn parse<V: Vocabulary, S: Summary<V>>(text: &str) -> Option<(Checkpoint, S)> {
    let (checkpoint, value) = text.split_once(SEPARATOR)?;
    Some((Checkpoint::from_text(checkpoint)?, S::from_text(value)?))
}

impl<V: Vocabulary, S: Summary<V>> Projection<V> for Snapshot<S> {
    fn spec(&self) -> Spec {
        Spec { name: S::NAME, logic: S::LOGIC, kinds: None, options: String::new() }
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        self.live = S::default();
        let Some(text) = self.read()? else { return Ok(Opened::Absent) };
        let Some((checkpoint, value)) = parse::<V, S>(&text) else {
            let reason = format!("{} is not a snapshot", self.path.display());
            return Ok(Opened::Broken { reason });
        };
        self.live = value;
        self.identity = self.storage.stat(&self.path).ok().map(|stat| stat.identity);
        Ok(Opened::At { checkpoint, needs: Default::default() })
    }

    fn apply(&mut self, record: &Recorded<V::Event>) -> Result<(), ProjectionError> {
        self.rebuilt.as_mut().unwrap_or(&mut self.live).add(record);
        Ok(())
    }

    /// A visible commit changes nothing on disk: what a crash takes back is added again.
    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError> {
        match kind {
            CommitKind::Visible => Ok(()),
            CommitKind::Durable | CommitKind::Final => {
                let text = checkpoint.to_text() + SEPARATOR + &self.live.to_text();
                self.write(&text)
            }
        }
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
        keep_old: KeepOld,
    ) -> Result<(), ProjectionError> {
        if keep_old != KeepOld::No && self.read()?.is_some() {
            let moved = match keep_old {
                KeepOld::Lost => {
                    self.free_lost().and_then(|lost| self.storage.rename(&self.path, &lost))
                }
                _ => self.set_aside(),
            };
            moved.map_err(ProjectionError::retry("cannot set aside", &self.path))?;
        }
        self.live = self.rebuilt.take().unwrap_or_default();
        Projection::<V>::commit(self, checkpoint, CommitKind::Durable)
    }

    fn abort_rebuild(&mut self) {
        self.rebuilt = None;
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn remove_lost(&mut self) -> Result<u64, ProjectionError> {
        let (directory, name) = (self.path.parent(), self.path.file_name());
        let (Some(directory), Some(name)) = (directory, name) else { return Ok(0) };
        let entries = self
            .storage
            .list(directory)
            .map_err(ProjectionError::retry("cannot list", directory))?;
        let mut removed = 0;
        for entry in entries {
            if is_lost_copy(name, &entry.name) {
                let path = directory.join(&entry.name);
                self.storage
                    .remove(&path)
                    .map_err(ProjectionError::retry("cannot remove", &path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<V>>>, ProjectionError> {
        let Some(text) = self.read()? else { return Ok(None) };
        let (checkpoint, kept) = parse::<V, S>(&text).ok_or_else(|| ProjectionError::Broken {
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

impl<V: Vocabulary, S: Summary<V>> Verifier<V> for SnapshotVerifier<S> {
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
