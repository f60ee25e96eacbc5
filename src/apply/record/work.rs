//! How long the state folder has been at work: a disk that hangs gives no error, and nobody can wait for it with a limit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

/// What is under way in the state folder.
#[derive(Debug, Default)]
pub(super) struct Work(Mutex<Begun>);

#[derive(Debug, Default)]
struct Begun {
    next: u64,
    /// When each was begun, the oldest first.
    all: BTreeMap<u64, (Instant, SystemTime)>,
}

/// One thing that is under way, until it is dropped.
pub(super) struct UnderWay<'w> {
    work: &'w Work,
    number: u64,
}

impl Work {
    /// Something begins that may hang.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        let mut begun = self.begun();
        let number = begun.next;
        begun.next += 1;
        begun.all.insert(number, (Instant::now(), SystemTime::now()));
        UnderWay { work: self, number }
    }

    /// When the oldest thing began that is under way.
    pub(super) fn oldest(&self) -> Option<(Instant, SystemTime)> {
        self.begun().all.values().next().copied()
    }

    /// A panic elsewhere leaves whole values behind: every change under the lock is one step.
    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.work.begun().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_known_until_it_ends() {
        let work = Work::default();
        assert!(work.oldest().is_none());
        let first = work.begin();
        let since = work.oldest().unwrap();
        let second = work.begin();
        assert_eq!(work.oldest(), Some(since));
        drop(first);
        assert!(work.oldest().is_some_and(|next| next.0 >= since.0));
        drop(second);
        assert!(work.oldest().is_none());
    }
}
