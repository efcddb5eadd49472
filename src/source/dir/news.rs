//! [`News`], what the kernel reports of a folder, translated on the thread that hears it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::Event;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};

use crate::util::BoundedQueue;

/// Something that happened in the folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A file was created or written.
    Written(PathBuf),
    /// A file was closed by who wrote it, or renamed into place; or a folder was.
    Finished(PathBuf),
    /// A folder was created.
    Folder(PathBuf),
    /// What was here has another name now, of which there is news of its own.
    Renamed(PathBuf),
    /// Something was deleted or moved away.
    Gone(PathBuf),
}

/// What the kernel said, translated on the thread that hears it.
#[derive(Debug)]
pub(super) enum Heard {
    News(News),
    Failed(notify::Error),
}

/// Puts what the kernel reports into the queue.
pub(super) fn listener(
    queue: &Arc<BoundedQueue<Heard>>,
    missed: &Arc<AtomicBool>,
) -> impl FnMut(notify::Result<Event>) + Send + 'static {
    let (queue, missed) = (Arc::clone(queue), Arc::clone(missed));
    move |event| {
        let heard = match event {
            Ok(event) if event.need_rescan() => {
                missed.store(true, Ordering::Release);
                return;
            }
            Ok(event) => match translate(event) {
                Some(news) => Heard::News(news),
                None => return,
            },
            Err(error) => Heard::Failed(error),
        };
        if queue.offer(heard).is_err() {
            missed.store(true, Ordering::Release);
        }
    }
}

fn translate(event: Event) -> Option<News> {
    let path = event.paths.into_iter().next()?;
    match event.kind {
        EventKind::Create(CreateKind::Folder) => Some(News::Folder(path)),
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => Some(News::Written(path)),
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(News::Finished(path)),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
            Some(News::Gone(path))
        }
        // The first of its two paths is the old one.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => Some(News::Renamed(path)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag, RemoveKind};

    use super::*;
    use crate::util::CancellationToken;

    fn written(path: &str) -> notify::Result<Event> {
        let kind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        Ok(Event::new(kind).add_path(path.into()))
    }

    #[test]
    fn news_that_does_not_fit_and_news_that_the_kernel_lost_are_missed() {
        let queue = BoundedQueue::new(1, CancellationToken::new());
        let missed = Arc::new(AtomicBool::new(false));
        let mut hear = listener(&queue, &missed);
        hear(written("a"));
        assert!(!missed.swap(false, Ordering::AcqRel));
        hear(written("b"));
        assert!(missed.swap(false, Ordering::AcqRel));
        hear(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(missed.load(Ordering::Acquire));
    }

    #[test]
    fn writing_renaming_and_removing_is_news_and_reading_is_not() {
        let path = || PathBuf::from("a");
        let renamed = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let closed = |mode| EventKind::Access(AccessKind::Close(mode));
        for (kind, expected) in [
            (EventKind::Create(CreateKind::File), Some(News::Written(path()))),
            (EventKind::Create(CreateKind::Folder), Some(News::Folder(path()))),
            (EventKind::Modify(ModifyKind::Data(DataChange::Any)), Some(News::Written(path()))),
            (closed(AccessMode::Write), Some(News::Finished(path()))),
            (renamed(RenameMode::To), Some(News::Finished(path()))),
            (renamed(RenameMode::From), Some(News::Gone(path()))),
            (renamed(RenameMode::Both), Some(News::Renamed(path()))),
            (EventKind::Remove(RemoveKind::Any), Some(News::Gone(path()))),
            (closed(AccessMode::Read), None),
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), None),
        ] {
            assert_eq!(translate(Event::new(kind).add_path(path())), expected, "{kind:?}");
        }
    }
}
