//! [`Entropy`]: where salts and identities come from.

use std::sync::{Mutex, PoisonError};

use crate::random::Random;

/// The operating system's random bytes, or a seed's in simulations and golden files.
#[derive(Debug)]
pub(crate) enum Entropy {
    System,
    Seeded(Mutex<Random>),
}

impl Entropy {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        seed.map_or(Self::System, |seed| Self::Seeded(Mutex::new(Random::new(seed))))
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match self {
            Self::System => {
                if getrandom::fill(&mut bytes).is_err() {
                    // A salt tells left-over frames from fresh ones; it keeps no secret. Time and place do.
                    let mut fallback = Random::new(address_and_time());
                    fill(&mut bytes, &mut fallback);
                }
            }
            Self::Seeded(random) => {
                fill(&mut bytes, &mut random.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
        bytes
    }
}

fn fill(bytes: &mut [u8], random: &mut Random) {
    for chunk in bytes.chunks_mut(8) {
        let word = random.bits().to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

fn address_and_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let process = u64::from(std::process::id());
    (time.tv_sec as u64) ^ ((time.tv_nsec as u64) << 32) ^ (process << 17)
}
