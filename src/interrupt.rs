//! [`Interrupt`], HTTP requests that end when whoever waits for them is cancelled.

use std::fmt;
use std::sync::{Arc, Weak};

use ureq::Agent;
use ureq::config::Config;

use crate::source::{Cancel, CancelWake};

/// An agent whose requests under way end with an error when its [`Cancel`] is thrown.
pub struct Interrupt(Agent);

impl Interrupt {
    /// An agent of that configuration.
    #[must_use]
    pub fn new(config: Config, cancel: &Cancel) -> Arc<Self> {
        let interrupt = Arc::new(Self(Agent::new_with_config(config)));
        let waker: Weak<dyn CancelWake> = Arc::<Self>::downgrade(&interrupt);
        cancel.register(waker);
        interrupt
    }

    /// What sends requests.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.0
    }
}

impl CancelWake for Interrupt {
    fn wake(&self) {
        self.0.clone().shutdown();
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Interrupt")
    }
}
