//! Pauses between tries.

use std::time::Duration;

use rand::Rng;

/// Pauses that double from `first` to `longest`, each shortened at random by up to `jitter` of itself, so that a
/// fleet does not try in step. A jitter of 1 is "full jitter".
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    jitter: f64,
    failures: u32,
}

impl Backoff {
    /// A policy that has not failed yet.
    pub fn new(first: Duration, longest: Duration, jitter: f64) -> Self {
        Self { first, longest, jitter, failures: 0 }
    }

    /// The pause before the next try; the one after it is twice as long.
    pub fn next_pause(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(1.0 - self.jitter * rand::rng().random::<f64>())
    }

    /// A try worked: the next failure starts from `first` again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), 0.0);
        let pauses: Vec<u64> = (0..4).map(|_| backoff.next_pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.next_pause().as_secs(), 1);
    }

    #[test]
    fn jitter_only_shortens() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1), 0.25);
        for _ in 0..100 {
            let pause = backoff.next_pause();
            assert!(pause <= Duration::from_secs(1) && pause >= Duration::from_millis(750), "{pause:?}");
        }
    }
}
