//! [`ObjectCount`], how many things of a label have been seen at once, and whether a person has joined them.

use std::time::Duration;

/// For so long after it began an event only learns how many there are: they come into the picture one by one.
const SETTLING: Duration = Duration::from_secs(5);

/// For so long there have to be more, in every frame that shows the label, before it is believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(1);

/// And in at least so many frames.
const BELIEVED_FRAMES: u32 = 3;

/// How many things of a label an event has had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectCount {
    /// The most that were believed.
    most: usize,
    more: Option<More>,
}

/// An unbroken run of frames with more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct More {
    since_micros: i64,
    frames: u32,
    least: usize,
}

impl ObjectCount {
    /// The count of an event that begins with so many.
    pub(super) const fn of(things: usize) -> Self {
        Self { most: things, more: None }
    }

    /// Counts the things in a further frame of an event that began `age_micros` before. Returns whether a person
    /// has joined.
    pub(super) fn joined(&mut self, things: usize, now_micros: i64, age_micros: i64) -> bool {
        if things <= self.most {
            self.more = None;
            return false;
        }
        let more =
            self.more.get_or_insert(More { since_micros: now_micros, frames: 0, least: things });
        more.frames = more.frames.saturating_add(1);
        more.least = more.least.min(things);
        let lasted = now_micros.saturating_sub(more.since_micros);
        if lasted < micros(BELIEVED_AFTER) || more.frames < BELIEVED_FRAMES {
            return false;
        }
        self.most = more.least;
        self.more = None;
        age_micros >= micros(SETTLING)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// The seconds, in fifths, in which a person joins, of counts that come five a second.
    fn joins(first: usize, counts: &[usize]) -> Vec<usize> {
        let mut count = ObjectCount::of(first);
        let joined = |(index, things): (usize, &usize)| {
            let now = index as i64 * SECOND / 5;
            count.joined(*things, now, now).then_some(index)
        };
        counts.iter().enumerate().filter_map(joined).collect()
    }

    #[test]
    fn one_more_is_believed_after_a_second() {
        let counts = [vec![1; 50], vec![2; 20]].concat();
        assert_eq!(joins(1, &counts), [55]);
    }

    #[test]
    fn flicker_is_not_believed() {
        let flicker: Vec<_> = (0..200).map(|index| 1 + usize::from(index % 5 != 0)).collect();
        assert_eq!(joins(1, &flicker), [0usize; 0]);
    }

    #[test]
    fn who_comes_with_the_first_is_no_newcomer() {
        let counts = [vec![1; 5], vec![2; 5], vec![4; 60]].concat();
        assert_eq!(joins(1, &counts), [0usize; 0]);
    }

    #[test]
    fn who_leaves_and_comes_back_is_no_newcomer() {
        let counts = [vec![3; 50], vec![1; 50], vec![3; 50], vec![4; 50]].concat();
        assert_eq!(joins(3, &counts), [155]);
    }

    #[test]
    fn the_fewest_of_a_run_are_believed() {
        let mut count = ObjectCount::of(1);
        for (index, things) in [5, 3, 4, 6, 3, 3].into_iter().enumerate() {
            count.joined(things, index as i64 * SECOND / 5, 60 * SECOND);
        }
        assert_eq!(count.most, 3);
    }
}
