//! [`Aside`]: names of files that a rebuild moves aside: `NAME.old-N` and `NAME.lost-N`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Files of one name kept as `NAME.old-N`; with more, the oldest are removed.
pub const OLD_MAX: usize = 3;

/// Longest number in the name of a file that was moved aside, in digits.
const DIGITS_MAX: usize = 9;

/// Why a file is moved aside when a rebuild replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aside {
    /// It was unusable, or is to be kept. It becomes `NAME.old-N`; the newest [`OLD_MAX`] stay.
    Old,
    /// The journal lost records that it may still hold. It becomes `NAME.lost-N`, and stays until its days are pruned
    /// or [`Projection::remove_lost`](crate::Projection::remove_lost) is called.
    Lost,
}

impl Aside {
    const fn infix(self) -> &'static str {
        match self {
            Self::Old => ".old-",
            Self::Lost => ".lost-",
        }
    }

    /// The path of a file that is moved aside under a number.
    #[must_use]
    pub fn path(self, path: &Path, number: u64) -> PathBuf {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!("{}{number}", self.infix()));
        aside.into()
    }

    /// The number of a directory entry that is `name`, moved aside; `None` for any other entry.
    #[must_use]
    pub fn number(self, name: &OsStr, entry: &OsStr) -> Option<u64> {
        let rest = entry.as_encoded_bytes().strip_prefix(name.as_encoded_bytes())?;
        let digits = rest.strip_prefix(self.infix().as_bytes())?;
        let is_number =
            (1..=DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
    }

    /// The numbers of all entries that are `name`, moved aside, oldest first.
    #[must_use]
    pub fn numbers<'e>(
        self,
        name: &OsStr,
        entries: impl IntoIterator<Item = &'e OsStr>,
    ) -> Vec<u64> {
        let number = |entry| self.number(name, entry);
        let mut numbers: Vec<_> = entries.into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The numbers of those to remove, of all that there are.
    #[must_use]
    pub fn surplus(self, numbers: &[u64]) -> &[u64] {
        match self {
            Self::Old => &numbers[..numbers.len().saturating_sub(OLD_MAX)],
            Self::Lost => &[],
        }
    }
}

/// The number of the next file to move aside.
#[must_use]
pub fn next_number(numbers: &[u64]) -> u64 {
    numbers.last().map_or(1, |last| last + 1)
}

/// Whether a directory entry is `name`, moved aside for any reason.
#[must_use]
pub fn is_aside(name: &OsStr, entry: &OsStr) -> bool {
    [Aside::Old, Aside::Lost].iter().any(|aside| aside.number(name, entry).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_other_names_are_ignored() {
        let name = OsStr::new("events.db");
        for aside in [Aside::Old, Aside::Lost] {
            let path = aside.path(Path::new("/data/events.db"), 12);
            assert_eq!(aside.number(name, path.file_name().unwrap()), Some(12));
        }
        for entry in ["events.db", "events.db.old-", "events.db.old-x", "events.db.old-1-wal"] {
            assert!(!is_aside(name, OsStr::new(entry)), "{entry}");
        }
        assert!(!is_aside(name, OsStr::new("other.db.old-1")));
    }

    #[test]
    fn the_newest_three_old_files_stay_and_every_lost_one() {
        let entries = ["x.old-2", "x.old-11", "x.old-1", "x.lost-7"].map(OsStr::new);
        let numbers = Aside::Old.numbers(OsStr::new("x"), entries);
        assert_eq!(numbers, [1, 2, 11]);
        assert_eq!((next_number(&numbers), next_number(&[])), (12, 1));
        assert_eq!(Aside::Old.surplus(&numbers), [0; 0]);
        assert_eq!(Aside::Old.surplus(&[1, 2, 11, 12]), [1]);
        assert_eq!(Aside::Lost.surplus(&[1, 2, 3, 4]), [0; 0]);
    }
}
