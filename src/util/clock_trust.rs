//! [`Trust`]: whether this machine's clock is to be believed.

use std::fmt;
use std::sync::Arc;

/// 2026 began, in microseconds since 1970: a clock that shows less was not set since its machine was switched on.
pub const SET_CLOCK_MICROS_MIN: i64 = 1_767_225_600_000_000;

/// Returns whether this machine's clock is to be believed now; by default it is.
#[derive(Clone, Default)]
pub struct Trust(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Trust {
    /// Evaluates `is_given` each time.
    #[must_use]
    pub fn new(is_given: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_given)))
    }

    /// Whether the clock is to be believed now.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.as_ref().is_none_or(|is_given| is_given())
    }
}

impl PartialEq for Trust {
    /// All are equal: trust is a state of the machine, not an option of a source.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Trust {}

impl fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Trust")
    }
}
