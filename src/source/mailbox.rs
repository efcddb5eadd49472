//! [`Mailbox`], the bounded queue between a thread that produces and a source that waits. Never grows beyond
//! its capacity, and whoever waits on it returns when the source is cancelled.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::cancel::{Cancel, Wake};

/// A bounded queue of one producer and one consumer.
pub(crate) struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
    capacity: usize,
    cancel: Cancel,
}

struct Queue<T> {
    items: VecDeque<T>,
    evicted: u64,
    closed: bool,
}

/// What [`Mailbox::take`] came back with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// The oldest item, and how many older ones were evicted since the item taken before.
    Item {
        /// The item.
        item: T,
        /// Items that [`Mailbox::push_newest`] evicted before this one.
        evicted: u64,
    },
    /// The deadline passed first.
    TimedOut,
    /// The producer closed the mailbox, and everything in it was taken.
    Closed,
    /// The source was cancelled.
    Cancelled,
}

impl<T: Send + 'static> Mailbox<T> {
    /// An empty mailbox for at most `capacity` items (at least one).
    pub(crate) fn new(capacity: usize, cancel: Cancel) -> Arc<Self> {
        let queue = Queue { items: VecDeque::new(), evicted: 0, closed: false };
        let mailbox = Arc::new(Self {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            capacity: capacity.max(1),
            cancel,
        });
        let waker: Weak<dyn Wake> = Arc::<Self>::downgrade(&mailbox);
        mailbox.cancel.register(waker);
        mailbox
    }

    /// Puts `item` in, or hands it back where the mailbox is full or closed.
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

    /// Puts `item` in, evicting and counting the oldest where the mailbox is full.
    pub(crate) fn push_newest(&self, item: T) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        if queue.items.len() >= self.capacity {
            queue.items.pop_front();
            queue.evicted = queue.evicted.saturating_add(1);
        }
        queue.items.push_back(item);
        drop(queue);
        self.changed.notify_all();
    }

    /// Says that nothing will follow. What is in the mailbox can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Takes the oldest item, waiting for one until `deadline` (for ever where that is `None`).
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Taken<T> {
        let mut queue = self.lock();
        loop {
            if self.cancel.is_cancelled() {
                return Taken::Cancelled;
            }
            if let Some(item) = queue.items.pop_front() {
                return Taken::Item { item, evicted: std::mem::take(&mut queue.evicted) };
            }
            if queue.closed {
                return Taken::Closed;
            }
            queue = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return Taken::TimedOut,
                Some(left) => {
                    let waited = self.changed.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl<T> Mailbox<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mailbox").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl<T: Send> Wake for Mailbox<T> {
    fn wake(&self) {
        // With the lock held, so that no sleeper stands between its look at the switch and its sleep.
        let _queue = self.lock();
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<T>(item: T, evicted: u64) -> Taken<T> {
        Taken::Item { item, evicted }
    }

    #[test]
    fn the_newest_items_stay_and_the_evicted_are_counted() {
        let mailbox = Mailbox::new(2, Cancel::new());
        (1..=5).for_each(|number| mailbox.push_newest(number));
        assert_eq!(mailbox.take(None), item(4, 3));
        assert_eq!(mailbox.take(None), item(5, 0));
    }

    #[test]
    fn a_full_mailbox_hands_an_offer_back() {
        let mailbox = Mailbox::new(2, Cancel::new());
        assert_eq!(
            (mailbox.offer(1), mailbox.offer(2), mailbox.offer(3)),
            (Ok(()), Ok(()), Err(3))
        );
        assert_eq!(mailbox.take(None), item(1, 0));
        assert_eq!(mailbox.offer(3), Ok(()));
    }

    #[test]
    fn a_closed_mailbox_is_emptied_before_it_says_so() {
        let mailbox = Mailbox::new(2, Cancel::new());
        mailbox.push_newest(1);
        mailbox.close();
        mailbox.push_newest(2);
        assert_eq!(mailbox.offer(3), Err(3));
        assert_eq!(mailbox.take(None), item(1, 0));
        assert_eq!(mailbox.take(None), Taken::Closed);
    }

    #[test]
    fn a_taker_wakes_for_an_item_and_for_the_switch() {
        let cancel = Cancel::new();
        let mailbox = Mailbox::new(1, cancel.child());
        let taker = {
            let mailbox = Arc::clone(&mailbox);
            std::thread::spawn(move || (mailbox.take(None), mailbox.take(None)))
        };
        mailbox.push_newest('a');
        // The second take may begin before or after the switch is thrown; both must return.
        while !mailbox.lock().items.is_empty() {
            std::thread::yield_now();
        }
        cancel.cancel();
        assert_eq!(taker.join().unwrap(), (item('a', 0), Taken::Cancelled));
    }

    #[test]
    fn an_empty_mailbox_is_left_at_the_deadline() {
        let mailbox = Mailbox::<u8>::new(1, Cancel::new());
        assert_eq!(mailbox.take(Some(Instant::now())), Taken::TimedOut);
    }
}
