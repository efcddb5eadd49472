//! [`Unknown`]: the fields of a line that this program has no place for. They are kept in the metadata.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::invalid::shown;
use crate::{InvalidEvent, Metadata};

/// Collects unknown fields, and their names for the one who warns.
#[derive(Default)]
pub(super) struct Unknown {
    kept: Map<String, Value>,
    names: BTreeSet<String>,
}

impl Unknown {
    /// Keeps a field of the line itself.
    pub(super) fn keep(&mut self, name: String, value: Value) {
        self.note(&name);
        self.kept.insert(name, value);
    }

    /// Keeps what was noted by the names of its parts.
    pub(super) fn keep_unnamed(&mut self, name: &str, value: Value) {
        self.kept.insert(name.to_owned(), value);
    }

    /// Notes an unknown field's path, as it is where it is short and prints, else quoted.
    pub(super) fn note(&mut self, path: &str) {
        let quoted = shown(path);
        let plain = quoted == format!("\"{path}\"");
        self.names.insert(if plain { path.to_owned() } else { quoted });
    }

    /// Puts what was kept into the metadata of the event and returns the names, in their order.
    ///
    /// Where the metadata already has another value under that name, the field becomes `line.NAME`.
    pub(super) fn merge_into(self, metadata: &mut Metadata) -> Result<Vec<String>, InvalidEvent> {
        for (name, value) in self.kept {
            match metadata.get(&name) {
                None => {
                    metadata.insert(name, value);
                }
                Some(there) if *there == value => {}
                Some(_) => {
                    let aside = format!("line.{name}");
                    if metadata.contains_key(&aside) {
                        let found = format!("there, and so is {}", shown(&aside));
                        let expected = "one of the two to be free for a field of the line";
                        return Err(InvalidEvent::new(
                            format_args!("metadata.{}", shown(&name)),
                            found,
                            expected,
                        ));
                    }
                    metadata.insert(aside, value);
                }
            }
        }
        Ok(self.names.into_iter().collect())
    }
}
