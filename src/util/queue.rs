//! [`BoundedQueue`]: a bounded queue from one producer to one consumer.
//!
//! A waiting consumer returns when the [`CancellationToken`] fires.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::cancellation::{CancellationToken, WakeOnCancel};

/// A bounded queue of one producer and one consumer.
pub(crate) struct BoundedQueue<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
    capacity: usize,
    cancel: CancellationToken,
}

struct Queue<T> {
    items: VecDeque<T>,
    dropped: u64,
    closed: bool,
}

/// The result of [`BoundedQueue::take`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// The oldest item.
    Item {
        /// The item.
        item: T,
        /// Items that [`BoundedQueue::push_newest`] dropped since the item taken before.
        dropped: u64,
    },
    /// The deadline passed first.
    TimedOut,
    /// The producer closed the queue, and everything in it was taken.
    Closed,
    /// The token fired.
    Cancelled,
}

impl<T: Send + 'static> BoundedQueue<T> {
    /// An empty queue for at most `capacity` items (at least one).
    pub(crate) fn new(capacity: usize, cancel: CancellationToken) -> Arc<Self> {
        let state = Queue { items: VecDeque::new(), dropped: 0, closed: false };
        let queue = Arc::new(Self {
            queue: Mutex::new(state),
            changed: Condvar::new(),
            capacity: capacity.max(1),
            cancel,
        });
        let waker: Weak<dyn WakeOnCancel> = Arc::<Self>::downgrade(&queue);
        queue.cancel.register(waker);
        queue
    }

    /// Adds `item`; returns it if the queue is full or closed.
    pub(crate) fn offer(&self, item: T) -> Result<(), T> {
        let mut queue = self.lock();
        if queue.closed || queue.items.len() >= self.capacity {
            return Err(item);
        }
        queue.items.push_back(item);
        drop(queue);
        self.changed.notify_all();
        Ok(())
    }

    /// Adds `item`; drops and counts the oldest one if the queue is full.
    pub(crate) fn push_newest(&self, item: T) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        if queue.items.len() >= self.capacity {
            queue.items.pop_front();
            queue.dropped = queue.dropped.saturating_add(1);
        }
        queue.items.push_back(item);
        drop(queue);
        self.changed.notify_all();
    }

    /// Closes the queue to producers. Its items can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Takes the oldest item; waits for one until `deadline`, or without limit.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Taken<T> {
        let mut queue = self.lock();
        loop {
            if self.cancel.is_cancelled() {
                return Taken::Cancelled;
            }
            if let Some(item) = queue.items.pop_front() {
                return Taken::Item { item, dropped: std::mem::take(&mut queue.dropped) };
            }
            if queue.closed {
                return Taken::Closed;
            }
            match deadline {
                Some(deadline) if deadline <= Instant::now() => return Taken::TimedOut,
                Some(deadline) => {
                    self.changed.wait_until(&mut queue, deadline);
                }
                None => self.changed.wait(&mut queue),
            }
        }
    }
}

impl<T> BoundedQueue<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock()
    }
}

impl<T> fmt::Debug for BoundedQueue<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BoundedQueue")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl<T: Send> WakeOnCancel for BoundedQueue<T> {
    fn wake(&self) {
        // Under the lock: a consumer has either seen the token or is already waiting.
        let _queue = self.lock();
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<T>(item: T, dropped: u64) -> Taken<T> {
        Taken::Item { item, dropped }
    }

    #[test]
    fn a_full_queue_keeps_the_newest_and_counts_the_dropped() {
        let queue = BoundedQueue::new(2, CancellationToken::new());
        (1..=5).for_each(|number| queue.push_newest(number));
        assert_eq!(queue.take(None), item(4, 3));
        assert_eq!(queue.take(None), item(5, 0));
    }

    #[test]
    fn a_full_queue_returns_an_offer() {
        let queue = BoundedQueue::new(2, CancellationToken::new());
        assert_eq!((queue.offer(1), queue.offer(2), queue.offer(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(queue.take(None), item(1, 0));
        assert_eq!(queue.offer(3), Ok(()));
    }

    #[test]
    fn a_closed_queue_is_drained_before_it_reports_closed() {
        let queue = BoundedQueue::new(2, CancellationToken::new());
        queue.push_newest(1);
        queue.close();
        queue.push_newest(2);
        assert_eq!(queue.offer(3), Err(3));
        assert_eq!(queue.take(None), item(1, 0));
        assert_eq!(queue.take(None), Taken::Closed);
    }

    #[test]
    fn a_consumer_wakes_for_an_item_and_for_the_token() {
        let cancel = CancellationToken::new();
        let queue = BoundedQueue::new(1, cancel.child());
        let taker = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || (queue.take(None), queue.take(None)))
        };
        queue.push_newest('a');
        // The second take may begin before or after the token fires; both must return.
        while !queue.lock().items.is_empty() {
            std::thread::yield_now();
        }
        cancel.cancel();
        assert_eq!(taker.join().unwrap(), (item('a', 0), Taken::Cancelled));
    }

    #[test]
    fn take_on_an_empty_queue_ends_at_the_deadline() {
        let queue = BoundedQueue::<u8>::new(1, CancellationToken::new());
        assert_eq!(queue.take(Some(Instant::now())), Taken::TimedOut);
    }
}
