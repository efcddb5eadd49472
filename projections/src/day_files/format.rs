//! [`Format`]: the differences between projections into day files: file names and rendering.

use std::fmt::Debug;

use lenslog_engine::Recorded;
use lenslog_events::{DescriptionAdded, Event, EventDetected};
use lenslog_journal::Seq;

/// How the entries of a day look, and what their files are called.
///
/// An entry is one or more whole lines. Rendering is pure: the same event gives the same bytes, for ever, or
/// [`Format::VERSION`] rises.
pub trait Format: Debug + Clone + Send + 'static {
    /// Name of the projection.
    const NAME: &'static str;
    /// Version of the rendering.
    const VERSION: u32;
    /// Names of its files in the directory of a day; the first is that of the events.
    const FILES: &'static [&'static str];
    /// Which of [`Format::FILES`] gets descriptions that came after their event was written.
    const AMENDMENTS: usize;
    /// What stands between two entries.
    const SEPARATOR: &'static [u8];

    /// The options that change what is rendered, in a fixed form.
    fn options(&self) -> String;

    /// Appends the entry of an event.
    fn event(&mut self, out: &mut Vec<u8>, event: &EventDetected, seq: Seq);

    /// Appends the entry of a late description, which `record` holds.
    fn amendment(&mut self, out: &mut Vec<u8>, added: &DescriptionAdded, record: &Recorded<Event>);

    /// The whole and valid entries in `bytes`, which begin with an entry or a separator. What is torn, empty or
    /// something else is passed over.
    fn entries(bytes: &[u8]) -> Vec<&[u8]>;

    /// By what an entry is recognised: the same for an event written with its description and without, another one
    /// wherever anything else differs.
    fn key(entry: &[u8]) -> u64;
}
