//! Random choices that can be made again.

use std::env;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The seed of a test: `LIVECONF_TEST_SEED` where it is given, else another each time. It is printed, so that a
/// failed test shows it.
pub fn random(test: &str) -> StdRng {
    let seed = match env::var("LIVECONF_TEST_SEED") {
        Ok(seed) => seed.parse().expect("LIVECONF_TEST_SEED must be a number"),
        Err(_) => rand::rng().random::<u64>(),
    };
    println!("{test}: LIVECONF_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
