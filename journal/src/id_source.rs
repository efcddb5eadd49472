//! [`IdSource`]: where salts and identities come from, and [`Random`], a seeded generator.

use std::io;
use std::path::Path;

use crate::Error;
use crate::error::Context;
use crate::sync::Mutex;

/// The operating system's random bytes, or a seed's in simulations and golden files.
#[derive(Debug)]
pub(crate) enum IdSource {
    System,
    Seeded(Mutex<Random>),
}

impl IdSource {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        seed.map_or(Self::System, |seed| Self::Seeded(Mutex::new(Random::new(seed))))
    }

    /// Draws `N` random bytes. An error of the operating system is returned: no id is ever derived from the time.
    pub(crate) fn bytes<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        match self {
            Self::System => getrandom::fill(&mut bytes)
                .map_err(|error| io::Error::other(error.to_string()))
                .context("read random bytes from", Path::new("getrandom(2)"))?,
            Self::Seeded(random) => {
                let mut random = random.lock();
                for chunk in bytes.chunks_mut(8) {
                    chunk.copy_from_slice(&random.bits().to_le_bytes()[..chunk.len()]);
                }
            }
        }
        Ok(bytes)
    }
}

/// SplitMix64, a small generator: the same seed always gives the same sequence.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that starts from this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if the bound is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // The bias of a modulus is far below anything that a test could measure.
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// `true` once in `times` on average.
    pub const fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
