//! [`ConnectionSlots`]: the connections that are served at once. Where all are taken, one that keeps a slot for nothing loses it.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// Most connections at once. A further one takes the place of the oldest that has not asked for anything yet, or else of
/// the oldest that has its answer and does not go; where all are being answered it is turned away with 503.
pub const CONNECTIONS_MAX: usize = 8;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its request is not whole yet.
    Asking,
    /// Its answer is made and sent.
    Answering,
    /// It has its answer.
    Leaving,
}

/// The connections that are served, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionSlots(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    stage: Stage,
    stream: TcpStream,
}

/// A slot that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: ConnectionSlots,
    number: u64,
}

impl ConnectionSlots {
    /// Gives a connection a slot. `None`: there is none, or the system gives no handle of it.
    pub(super) fn take(&self, stream: &TcpStream) -> Option<Slot> {
        let stream = stream.try_clone().ok()?;
        let mut taken = self.lock();
        if taken.connections.len() >= CONNECTIONS_MAX {
            let oldest = |stage| taken.connections.iter().position(|one| one.stage == stage);
            let index = oldest(Stage::Asking).or_else(|| oldest(Stage::Leaving))?;
            // Its thread finds the end of the connection and ends itself.
            let _ = taken.connections.remove(index).stream.shutdown(Shutdown::Both);
        }
        let number = taken.next;
        taken.next += 1;
        taken.connections.push(Connection { number, stage: Stage::Asking, stream });
        Some(Slot { slots: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock()
    }
}

impl Slot {
    /// It has come so far.
    pub(super) fn comes_to(&self, stage: Stage) {
        let mut taken = self.slots.lock();
        if let Some(one) = taken.connections.iter_mut().find(|one| one.number == self.number) {
            one.stage = stage;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().connections.retain(|one| one.number != self.number);
    }
}
