//! Events as JSON: one object on one line, written by projections and read by `lenslog ingest`.

mod line;
mod line_error;
mod one_line;
mod render;
pub(crate) mod strict;
mod time_text;
mod unknown;

pub use line::{IngestedLine, parse_line};
pub use line_error::LineError;
pub use render::{
    render_amendment, render_event, render_event_in_full, render_objects, rounded_confidence,
};
