//! How often one read may be answered: two answers at once, then spaced.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket that holds two tokens. Each may be spaced differently, since a large answer has to be rarer.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When the bucket is full again.
    full: Option<Instant>,
}

impl Bucket {
    /// Takes a token that comes back after `spacing`; gives the pause before it may be used.
    pub(super) fn take(&mut self, now: Instant, spacing: Duration) -> Duration {
        let full = self.full.map_or(now, |full| full.max(now));
        self.full = Some(full + spacing);
        // The other token makes up for one spacing.
        (full - now).saturating_sub(spacing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_once_then_spaced() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        let pauses: Vec<u128> = (0..4).map(|_| bucket.take(start, Duration::from_millis(100)).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 100, 200]);
        let later = start + Duration::from_secs(1);
        assert_eq!(bucket.take(later, Duration::from_millis(100)), Duration::ZERO);
        assert_eq!(bucket.take(later, Duration::from_millis(100)), Duration::ZERO);
        assert_eq!(bucket.take(later, Duration::from_millis(100)), Duration::from_millis(100));
    }
}
