//! Reports of rotations: what the policy decided, in words.

use lenslog_tools::control::{GoneDay, KeptDay, RotationReport};

use super::policy::{Step, Why};
use super::stats::StorageStats;
use super::surveyor::Survey;

/// What a rotation would do, from what the policy says.
#[must_use]
pub fn dry_run(survey: &Survey) -> RotationReport {
    let gone: Vec<_> = survey.plan.steps.iter().flat_map(|step| gone(survey, step)).collect();
    let freed: u64 = gone.iter().map(|gone| gone.bytes).sum();
    let left = survey.stats.total_bytes.saturating_sub(freed);
    let after = StorageStats::new(left, survey.stats.limit_bytes);
    RotationReport {
        dry_run: true,
        before: survey.stats.to_string(),
        after: after.to_string(),
        is_over_limit: after.is_over_limit,
        gone,
        kept: kept(survey),
        problems: Vec::new(),
    }
}

fn gone(survey: &Survey, step: &Step) -> Vec<GoneDay> {
    let pictures =
        |day: String, bytes, too_old| vec![GoneDay { day, bytes, pictures_only: true, too_old }];
    match step {
        Step::Days { days, why, .. } => days
            .iter()
            .map(|(day, bytes)| GoneDay {
                day: day.to_string(),
                bytes: *bytes,
                pictures_only: false,
                too_old: *why == Why::TooOld,
            })
            .collect(),
        Step::Pictures { day, bytes } => pictures(day.to_string(), *bytes, true),
        Step::PicturesOfToday { bytes } => pictures(survey.today.to_string(), *bytes, false),
    }
}

/// The days that stay, and why.
#[must_use]
pub fn kept(survey: &Survey) -> Vec<KeptDay> {
    let days = survey.plan.kept.iter();
    days.map(|(data, protection)| KeptDay {
        day: data.day.to_string(),
        bytes: data.bytes,
        reason: protection.to_string(),
    })
    .collect()
}
