//! Amounts of storage in words: always in GB (10⁹ bytes) or MB, with the decimals that two digits need.

use std::fmt;

/// Bytes, printed as `1.2GB`, `4GB`, `0.0021GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gigabytes(pub u64);

/// Bytes, printed as `312MB`, `1.2MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Megabytes(pub u64);

impl fmt::Display for Gigabytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}GB", two_digits(self.0 as f64 / 1e9))
    }
}

impl fmt::Display for Megabytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}MB", two_digits(self.0 as f64 / 1e6))
    }
}

/// A number with the decimals that its first two digits need; whole numbers keep all of theirs.
fn two_digits(value: f64) -> String {
    if value <= 0.0 {
        return "0".to_owned();
    }
    let decimals = (1.0 - value.log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_decimals_that_two_digits_need() {
        for (bytes, text) in [
            (0, "0GB"),
            (1, "0.000000001GB"),
            (2_100_000, "0.0021GB"),
            (2_149_999, "0.0021GB"),
            (99_600_000, "0.1GB"),
            (312_000_000, "0.31GB"),
            (1_200_000_000, "1.2GB"),
            (3_200_000_000, "3.2GB"),
            (4_000_000_000, "4GB"),
            (4_100_000_000, "4.1GB"),
            (9_960_000_000, "10GB"),
            (12_345_000_000, "12GB"),
            (1_234_000_000_000, "1234GB"),
        ] {
            assert_eq!(Gigabytes(bytes).to_string(), text, "{bytes}");
        }
        for (bytes, text) in [(312_000_000, "312MB"), (1_250_000, "1.2MB"), (4096, "0.0041MB")] {
            assert_eq!(Megabytes(bytes).to_string(), text, "{bytes}");
        }
    }
}
