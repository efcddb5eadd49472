//! [`CounterVec`]: a counter for each camera and label, however many there are of them in the world.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most pairs that are counted apart; what comes after them is counted under [`OTHER`]. Ingested events bring camera
/// ids and labels from outside, and each is a time series of the collecting server.
pub const SERIES_MAX: usize = 500;

/// Stands for every camera and label beyond [`SERIES_MAX`].
pub const OTHER: &str = "(other)";

/// Events of one camera and label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The camera's id.
    pub camera: String,
    /// What was seen.
    pub label: String,
    /// How often.
    pub count: u64,
}

/// A counter for each camera and label.
#[derive(Debug, Default)]
pub(super) struct CounterVec {
    /// By label in camera, so that looking one up copies no name.
    counts: BTreeMap<String, BTreeMap<String, u64>>,
    series: usize,
}

impl CounterVec {
    pub(super) fn add(&mut self, camera: &str, label: &str) {
        if let Some(count) = self.counts.get_mut(camera).and_then(|labels| labels.get_mut(label)) {
            *count += 1;
            return;
        }
        let (camera, label) =
            if self.series < SERIES_MAX { (camera, label) } else { (OTHER, OTHER) };
        let labels = self.counts.entry(camera.to_owned()).or_default();
        let count = labels.entry(label.to_owned()).or_default();
        self.series += usize::from(*count == 0);
        *count += 1;
    }

    pub(super) fn list(&self) -> Vec<LabelCount> {
        let all = self.counts.iter().flat_map(|(camera, labels)| {
            labels.iter().map(move |(label, count)| LabelCount {
                camera: camera.clone(),
                label: label.clone(),
                count: *count,
            })
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_beyond_the_limit_are_counted_together_and_none_is_lost() {
        let mut labelled = CounterVec::default();
        for round in 0..2 {
            for number in 0..2 * SERIES_MAX {
                labelled.add(&format!("camera_{}", number % 7), &format!("label {number}"));
            }
            let list = labelled.list();
            assert_eq!(list.len(), SERIES_MAX + 1);
            let sum: u64 = list.iter().map(|count| count.count).sum();
            assert_eq!(sum, (round + 1) * 2 * SERIES_MAX as u64);
            let other = list.iter().find(|count| count.camera == OTHER).unwrap();
            assert_eq!(other.count, (round + 1) * SERIES_MAX as u64);
        }
    }
}
