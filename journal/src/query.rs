//! [`Query`]: chooses records by kind and tags. [`Query::matches`] is the definition; indexes only make it faster.

use crate::format::{Kind, Record, check_tag};
use crate::limits::{QUERY_ITEMS_MAX, QUERY_KINDS_MAX, RECORD_TAGS_MAX};
use crate::{Error, Seq};

/// Chooses records: those that match any of its items.
///
/// ```
/// use lenslog_journal::{Kind, Query};
///
/// let paid = Query::item([Kind(1)], ["account:7"]); // kind 1 and the tag
/// let either = Query::tag("account:7").or(Query::tag("account:8"));
/// # let _ = (paid, either);
/// ```
///
/// At most [`QUERY_ITEMS_MAX`] items with [`QUERY_KINDS_MAX`] kinds and [`RECORD_TAGS_MAX`] tags each; what uses a larger
/// query refuses it with [`Error::TooLarge`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Query {
    items: Vec<QueryItem>,
}

/// A record matches if it has one of the kinds and all of the tags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub(crate) struct QueryItem {
    /// Empty: every kind but control records.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) tags: Vec<Box<[u8]>>,
}

impl Query {
    /// Every record of callers. Control records match only queries that name their kind.
    #[must_use]
    pub fn all() -> Self {
        Self::item([], [""; 0])
    }

    /// Records with this tag.
    #[must_use]
    pub fn tag(tag: impl AsRef<[u8]>) -> Self {
        Self::item([], [tag])
    }

    /// Records of these kinds.
    #[must_use]
    pub fn kinds(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self::item(kinds, [""; 0])
    }

    /// Records of one of these kinds (of every kind, if there are none) that have all of these tags.
    #[must_use]
    pub fn item<T: AsRef<[u8]>>(
        kinds: impl IntoIterator<Item = Kind>,
        tags: impl IntoIterator<Item = T>,
    ) -> Self {
        let kinds = kinds.into_iter().collect();
        let tags = tags.into_iter().map(|tag| tag.as_ref().into()).collect();
        Self { items: vec![QueryItem { kinds, tags }] }
    }

    /// Records that match this query or the other one.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.items.extend(other.items);
        self
    }

    /// Whether the record matches.
    #[must_use]
    pub fn matches(&self, record: &Record<'_>) -> bool {
        self.items.iter().any(|item| item.matches(record))
    }

    pub(crate) fn items(&self) -> &[QueryItem] {
        &self.items
    }

    /// Checks the limits.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let within = |what, found: usize, limit: usize| match found > limit {
            true => Err(Error::TooLarge { what, found: found as u64, limit: limit as u64 }),
            false => Ok(()),
        };
        within("items of a query", self.items.len(), QUERY_ITEMS_MAX)?;
        for item in &self.items {
            within("kinds of a query's item", item.kinds.len(), QUERY_KINDS_MAX)?;
            within("tags of a query's item", item.tags.len(), RECORD_TAGS_MAX)?;
            item.tags.iter().try_for_each(|tag| check_tag(tag))?;
        }
        Ok(())
    }
}

impl QueryItem {
    fn matches(&self, record: &Record<'_>) -> bool {
        let is_of_kind = match self.kinds.is_empty() {
            true => !record.kind.is_reserved(),
            false => self.kinds.contains(&record.kind),
        };
        is_of_kind && self.tags.iter().all(|tag| record.tags.contains(tag))
    }
}

/// What must not have happened when a batch is appended: see [`Journal::append_if`](crate::Journal::append_if).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendCondition {
    /// No record may match it.
    pub fail_if: Query,
    /// Only records after this seq count: the last one that the caller has seen. `None`: all retained records.
    pub after: Option<Seq>,
    /// The record with the seq `after` must match `fail_if`.
    pub after_matches: bool,
    /// Lost records that may have matched do not count.
    pub accept_lost: bool,
}

impl AppendCondition {
    /// No retained record may match.
    #[must_use]
    pub const fn new(fail_if: Query) -> Self {
        Self { fail_if, after: None, after_matches: false, accept_lost: false }
    }

    /// The condition of a stream: the tag `stream:NAME`, and the seq of its last record.
    #[must_use]
    pub fn stream(name: &str, expected: ExpectedRevision) -> Option<Self> {
        let condition = Self::new(Query::tag(stream_tag(name)));
        match expected {
            ExpectedRevision::Any => None,
            ExpectedRevision::NoStream => Some(condition),
            ExpectedRevision::At(seq) => Some(Self { after_matches: true, ..condition.after(seq) }),
        }
    }

    /// Only records after this seq count.
    #[must_use]
    pub const fn after(mut self, seq: Seq) -> Self {
        self.after = Some(seq);
        self
    }

    /// Lost records that may have matched do not count.
    #[must_use]
    pub const fn accept_lost(mut self) -> Self {
        self.accept_lost = true;
        self
    }
}

/// The tag of the records of a stream.
#[must_use]
pub fn stream_tag(name: &str) -> String {
    format!("stream:{name}")
}

/// The expected last record of a stream. A revision is the seq of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedRevision {
    /// Whatever it is.
    Any,
    /// The stream has no retained record.
    NoStream,
    /// The record with this seq.
    At(Seq),
}
