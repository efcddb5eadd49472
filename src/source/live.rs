//! [`LiveSource`], which reads a source that does not wait on a thread of its own, and drops and counts frames
//! where the pipeline is slower.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::{Source, SourceError, SourceItem};
use crate::util::{BoundedQueue, CancellationToken, Taken};

/// Frames that wait for the pipeline. With more, the oldest are dropped: what is looked at is at most so many
/// frames old.
pub const LIVE_FRAMES_MAX: usize = 2;

/// The newest frames of a live source.
///
/// A thread of its own reads the source as fast as it delivers. At most [`LIVE_FRAMES_MAX`] frames wait; older
/// ones are dropped and counted in [`dropped_before`](lenslog_vision::frame::Frame::dropped_before) of the frame that
/// follows them. Dropping it ends the thread, as soon as the source returns.
#[derive(Debug)]
pub struct LiveSource {
    name: String,
    capture: Arc<Capture>,
    thread: Option<JoinHandle<()>>,
    cancel: CancellationToken,
    /// Dropped since the last frame that was handed over.
    dropped: u64,
}

/// What the thread and its source share.
#[derive(Debug)]
struct Capture {
    queue: Arc<BoundedQueue<SourceItem>>,
    failure: Mutex<Option<SourceError>>,
}

impl LiveSource {
    /// Starts to read the source that `open` makes of a [`CancellationToken`] of its own, a child of `cancel`. `name` is
    /// for messages.
    ///
    /// # Errors
    ///
    /// Those of `open`; [`SourceError::Capture`] if no thread can be started.
    pub fn start(
        name: &str,
        cancel: &CancellationToken,
        open: impl FnOnce(CancellationToken) -> Result<Box<dyn Source>, SourceError>,
    ) -> Result<Self, SourceError> {
        let cancel = cancel.child();
        let source = open(cancel.clone())?;
        let queue = BoundedQueue::new(LIVE_FRAMES_MAX, cancel.clone());
        let capture = Arc::new(Capture { queue, failure: Mutex::new(None) });
        let thread = {
            let capture = Arc::clone(&capture);
            std::thread::Builder::new()
                .name("capture".into())
                .spawn(move || capture.run(source))
                .map_err(|error| failed(name, &error.to_string()))?
        };
        Ok(Self { name: name.into(), capture, thread: Some(thread), cancel, dropped: 0 })
    }

    /// How the thread ended.
    fn end(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            return Err(failed(&self.name, "it panicked"));
        }
        let failure = self.capture.failure.lock().take();
        failure.map_or(Ok(None), Err)
    }
}

impl Capture {
    fn run(&self, mut source: Box<dyn Source>) {
        // Closes the queue however the thread ends, so that no one waits for ever.
        struct Close<'a>(&'a BoundedQueue<SourceItem>);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        let _close = Close(&self.queue);
        loop {
            match source.next_item() {
                Ok(Some(item)) => self.queue.push_newest(item),
                Ok(None) => break,
                Err(error) => {
                    let mut failure = self.failure.lock();
                    *failure = Some(error);
                    break;
                }
            }
        }
    }
}

impl Source for LiveSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        match self.capture.queue.take(None) {
            Taken::Item { mut item, dropped } => {
                self.dropped = self.dropped.saturating_add(dropped);
                if let SourceItem::Frame(frame) = &mut item {
                    let dropped = std::mem::take(&mut self.dropped);
                    frame.dropped_before = frame.dropped_before.saturating_add(dropped);
                }
                Ok(Some(item))
            }
            Taken::Closed => self.end(),
            Taken::Cancelled | Taken::TimedOut => Ok(None),
        }
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic was its own report, and no thread is left to report to.
            let _ = thread.join();
        }
    }
}

fn failed(name: &str, reason: &str) -> SourceError {
    SourceError::Capture { name: name.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use image::RgbImage;
    use lenslog_journal::Timestamp;

    use super::super::{FrameProblem, PictureFault};
    use super::*;
    use lenslog_vision::frame::Frame;

    /// Hands over what the test sends, and reports each request for more.
    struct Scripted {
        script: Receiver<Result<Option<SourceItem>, SourceError>>,
        asked: Sender<()>,
    }

    impl Source for Scripted {
        fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
            let _ = self.asked.send(());
            self.script.recv().unwrap_or(Ok(None))
        }
    }

    fn frame(number: u64) -> SourceItem {
        let picture = RgbImage::new(1, 1);
        let time = Timestamp::default();
        SourceItem::Frame(Frame {
            number,
            time,
            picture,
            dropped_before: 0,
            origin: None,
            claimed: None,
        })
    }

    fn problem() -> SourceItem {
        let fault = PictureFault::Vanished;
        SourceItem::Problem(FrameProblem { place: "x".into(), offset: None, fault })
    }

    /// A live source that has read all of `items`, and waits for more until the sender is dropped.
    fn live(
        items: Vec<Result<Option<SourceItem>, SourceError>>,
    ) -> (LiveSource, Sender<Result<Option<SourceItem>, SourceError>>) {
        let (send, script) = channel();
        let (asked, was_asked) = channel();
        let count = items.len();
        let open = |_| Ok(Box::new(Scripted { script, asked }) as Box<dyn Source>);
        let source = LiveSource::start("test", &CancellationToken::new(), open).unwrap();
        items.into_iter().for_each(|item| send.send(item).unwrap());
        (0..=count).for_each(|_| was_asked.recv().unwrap());
        (source, send)
    }

    fn number_and_dropped(item: Option<SourceItem>) -> Option<(u64, u64)> {
        match item? {
            SourceItem::Frame(frame) => Some((frame.number, frame.dropped_before)),
            SourceItem::Problem(_) => None,
        }
    }

    #[test]
    fn a_slow_pipeline_gets_the_newest_frames_and_the_count_of_the_others() {
        let (mut source, send) = live((0..10).map(|number| Ok(Some(frame(number)))).collect());
        assert_eq!(number_and_dropped(source.next_item().unwrap()), Some((8, 8)));
        assert_eq!(number_and_dropped(source.next_item().unwrap()), Some((9, 0)));
        drop(send);
        assert!(source.next_item().unwrap().is_none());
        assert!(source.next_item().unwrap().is_none(), "the end stays the end");
    }

    #[test]
    fn frames_dropped_before_a_problem_are_counted_in_the_next_frame() {
        let items = vec![frame(0), frame(1), problem(), frame(2)];
        let (mut source, _send) = live(items.into_iter().map(|item| Ok(Some(item))).collect());
        assert!(matches!(source.next_item().unwrap(), Some(SourceItem::Problem(_))));
        assert_eq!(number_and_dropped(source.next_item().unwrap()), Some((2, 2)));
    }

    #[test]
    fn a_failure_comes_after_the_frames_before_it() {
        let gone = SourceError::FolderGone { path: "x".into() };
        let (mut source, send) = live(vec![Ok(Some(frame(0)))]);
        send.send(Err(gone)).unwrap();
        assert_eq!(number_and_dropped(source.next_item().unwrap()), Some((0, 0)));
        assert!(matches!(source.next_item(), Err(SourceError::FolderGone { .. })));
        assert!(source.next_item().unwrap().is_none());
    }

    #[test]
    fn a_panic_in_the_capture_thread_is_a_failure_and_no_hang() {
        struct Panics;
        impl Source for Panics {
            fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
                std::panic::resume_unwind(Box::new("broken camera"));
            }
        }
        let open = |_| Ok(Box::new(Panics) as Box<dyn Source>);
        let mut source = LiveSource::start("camera_1", &CancellationToken::new(), open).unwrap();
        let message = source.next_item().unwrap_err().to_string();
        assert_eq!(message, "the capture thread of camera_1 failed: it panicked");
    }

    #[test]
    fn cancelling_the_parent_ends_a_wait_for_a_frame() {
        struct Waits(CancellationToken);
        impl Source for Waits {
            fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
                self.0.wait_until(None);
                Ok(None)
            }
        }
        let cancel = CancellationToken::new();
        let open = |cancel| Ok(Box::new(Waits(cancel)) as Box<dyn Source>);
        let mut source = LiveSource::start("test", &cancel, open).unwrap();
        let waiting = std::thread::spawn(move || source.next_item().unwrap().is_none());
        cancel.cancel();
        assert!(waiting.join().unwrap());
    }
}
