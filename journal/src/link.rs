//! [`Link`]: one segment of the chain, and the earlier segments that its header names.

use crate::Seq;
use crate::directory::OpenSegment;
use crate::format::{
    ANCESTORS_MAX, Ancestor, HeaderRead, PreviousEnd, Salt, SegmentHeader, SegmentName,
};

/// One segment of the journal.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) name: SegmentName,
    /// 0 if the header cannot be used.
    pub(crate) salt: Salt,
    pub(crate) incarnation: [u8; 16],
    /// The seq that is expected before its first frame; its base if the header cannot be used.
    pub(crate) start: Seq,
    /// The end of the previous segment, as its header says.
    pub(crate) previous: Option<PreviousEnd>,
    /// Earlier segments that are known by name and salt, nearest first.
    pub(crate) before: Vec<Ancestor>,
}

impl Link {
    pub(crate) fn of(segment: &OpenSegment) -> Self {
        match &segment.header {
            Ok(read) => Self::of_header(&read.header),
            Err(_) => Self::unknown(segment.name),
        }
    }

    /// A link with nothing but a name.
    pub(crate) const fn unknown(name: SegmentName) -> Self {
        Self {
            name,
            salt: Salt(0),
            incarnation: [0; 16],
            start: name.base,
            previous: None,
            before: Vec::new(),
        }
    }

    pub(crate) fn of_header(header: &SegmentHeader) -> Self {
        Self {
            name: header.name,
            salt: header.salt,
            incarnation: header.incarnation,
            start: header.start_seq(),
            previous: header.previous,
            before: header.before(),
        }
    }

    /// Earlier segments that are known by name and salt, nearest first.
    pub(crate) fn before(&self) -> &[Ancestor] {
        &self.before
    }

    /// This segment and the earlier ones, as the ancestors of one whose previous segment is missing.
    pub(crate) fn and_before(&self) -> Vec<Ancestor> {
        let before = self.before.iter().copied();
        [(self.name, self.salt)].into_iter().chain(before).take(ANCESTORS_MAX).collect()
    }

    /// Whether the earlier segments that it names leave no place for `ancestor`.
    fn rules_out(&self, (name, salt): Ancestor) -> bool {
        let reaches = self.before.last().is_some_and(|(oldest, _)| oldest.base < name.base);
        // Another segment with the same first seq takes the place too.
        let is_another = |&(other, known): &Ancestor| {
            other.base == name.base && known.0 != 0 && salt.0 != 0 && known != salt
        };
        reaches && !self.before.contains(&(name, salt)) || self.before.iter().any(is_another)
    }

    /// Whether this link cannot come between `known`, which is next to it, and a later one.
    pub(crate) fn excludes(&self, known: Ancestor) -> bool {
        self.salt.0 != 0
            && (self.name.base < known.0.base
                || (self.name, self.salt) != known && self.rules_out(known))
    }

    /// The nearest segment before a missing one that this link names as its previous one.
    pub(crate) fn known_before_missing(&self) -> Option<Ancestor> {
        let is_open = self.previous.is_some_and(|previous| previous.unreadable);
        self.before.get(1).copied().filter(|_| is_open)
    }

    /// The end of the previous segment, if `before` is that segment, or may be with a damaged header.
    pub(crate) fn previous_end_of(&self, before: &OpenSegment) -> Option<PreviousEnd> {
        self.previous.filter(|previous| {
            let is_other =
                |read: &HeaderRead| previous.salt.0 != 0 && read.header.salt != previous.salt;
            previous.name == before.name
                && !previous.unreadable
                && !before.header.as_ref().is_ok_and(is_other)
        })
    }
}

impl SegmentHeader {
    /// The earlier segments that it names, nearest first.
    pub(crate) fn before(&self) -> Vec<Ancestor> {
        let previous = self.previous.iter().map(|previous| (previous.name, previous.salt));
        previous.chain(self.ancestors.iter().copied()).collect()
    }

    /// The ancestors of the next segment: those before this one.
    ///
    /// If the previous one was missing, others may be missing before it: a segment named further back is not proven to be
    /// next to it.
    pub(crate) fn ancestors_of_next(&self) -> Vec<Ancestor> {
        let mut before = self.before();
        let is_open = self.previous.is_some_and(|previous| previous.unreadable);
        before.truncate(if is_open { 1 } else { ANCESTORS_MAX });
        before
    }

    /// Whether this is the segment with that salt, or the one with which its own writer replaced it.
    pub(crate) fn is_or_replaces(&self, salt: Salt, incarnation: [u8; 16]) -> bool {
        self.salt == salt || self.replaces == salt && salt.0 != 0 && self.incarnation == incarnation
    }
}
