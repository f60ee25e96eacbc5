//! The disk of the state folder, which may hang without an error, as one behind a network does whose server is gone.
//!
//! Nobody can wait for such a disk with a limit. So whatever is done on it is done by one thread, and whoever wants it
//! done waits only while the disk makes progress; then it is gone on without, until the disk answers again.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A piece of work that takes longer is not waited for any more: there is traffic that goes to servers which are gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The thread ends when there was nothing to do for so long; as long as something could not be done it is tried again.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });

/// The disk of the state folder.
pub(super) struct Disk(Arc<Queue>);

struct Queue {
    state: Mutex<State>,
    /// Rings when there is work.
    ring: Condvar,
    /// Is done on the disk when it answers again after somebody went on without it, and now and then while something is
    /// left to be done.
    catch_up: Box<dyn Fn() + Send + Sync>,
    /// Whether something is.
    is_behind: Box<dyn Fn() -> bool + Send + Sync>,
}

#[derive(Default)]
struct State {
    work: VecDeque<Box<dyn FnOnce() + Send>>,
    /// Since when the piece lasts that is under way.
    begun: Option<(Instant, SystemTime)>,
    /// Somebody went on without the disk.
    was_left: bool,
    /// There is a thread that looks for work.
    has_thread: bool,
}

impl Disk {
    /// A disk that nothing was asked of yet.
    pub(super) fn new(
        catch_up: impl Fn() + Send + Sync + 'static,
        is_behind: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let (catch_up, is_behind) = (Box::new(catch_up), Box::new(is_behind));
        Self(Arc::new(Queue { state: Mutex::default(), ring: Condvar::new(), catch_up, is_behind }))
    }

    /// Does a piece of work, and waits while the disk makes progress. An error of the kind `TimedOut` says that it does not:
    /// then the work was not begun, or nobody knows what becomes of it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.run_within(PATIENCE, work)
    }

    /// The same with another limit for each piece of work that is under way meanwhile.
    pub(super) fn run_within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, done) = channel();
        let wanted = Arc::new(());
        let is_wanted = Arc::downgrade(&wanted);
        let mut work = Some(Box::new(move || {
            if is_wanted.upgrade().is_some() {
                let _ = sender.send(work());
            }
        }));
        loop {
            let left = {
                let mut state = self.0.state();
                let left = state.begun.map_or(patience, |(since, _)| patience.saturating_sub(since.elapsed()));
                if left.is_zero() {
                    state.was_left = true;
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "its disk does not answer"));
                }
                if let Some(work) = work.take() {
                    state.work.push_back(work);
                    let has_thread = std::mem::replace(&mut state.has_thread, true);
                    drop(state);
                    self.0.clone().wake(has_thread);
                }
                left
            };
            match done.recv_timeout(left) {
                Ok(done) => return done,
                // It may be another piece by now that is under way.
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("internal error: a panic")),
            }
        }
    }

    /// Since when the disk has not made progress, where it is not waited for any more.
    pub(super) fn hangs(&self) -> Option<SystemTime> {
        self.0.state().begun.filter(|(since, _)| since.elapsed() >= PATIENCE).map(|(_, since)| since)
    }
}

impl Queue {
    /// A panic elsewhere leaves whole values behind: every change under the lock is one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread look for work; without one, there is to be one.
    fn wake(self: Arc<Self>, has_thread: bool) {
        if has_thread {
            return self.ring.notify_one();
        }
        let queue = self.clone();
        if thread::Builder::new().name("state folder".to_owned()).spawn(move || queue.work(IDLE)).is_err() {
            // Who hangs with the disk is better than what is not done.
            self.work(Duration::ZERO);
        }
    }

    /// Does what there is to do, one piece after the other, until there was nothing for so long.
    fn work(&self, idle: Duration) {
        let mut state = self.state();
        loop {
            let next = state.work.pop_front();
            let catches_up = next.is_none() && std::mem::take(&mut state.was_left);
            if next.is_none() && !catches_up {
                let (woken, waited) = self.ring.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if waited.timed_out() && state.work.is_empty() && !state.was_left {
                    // Without a thread of its own nobody waits: what is left is done with the next piece of work.
                    state.was_left = !idle.is_zero() && (self.is_behind)();
                    if !state.was_left {
                        state.has_thread = false;
                        return;
                    }
                }
                continue;
            }
            state.begun = Some((Instant::now(), SystemTime::now()));
            drop(state);
            // Whoever waits finds out that there will be no answer.
            let _ = catch_unwind(AssertUnwindSafe(|| next.map_or_else(|| (self.catch_up)(), |work| work())));
            state = self.state();
            state.begun = None;
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("hangs", &self.hangs()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// Much less than a test waits for anything.
    const SHORT: Duration = Duration::from_millis(50);

    fn counting() -> (Disk, Arc<AtomicUsize>) {
        let caught_up = Arc::new(AtomicUsize::new(0));
        let count = caught_up.clone();
        (Disk::new(move || _ = count.fetch_add(1, Ordering::SeqCst), || false), caught_up)
    }

    fn wait_until(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn what_is_done_comes_back_with_its_error() {
        let (disk, caught_up) = counting();
        assert_eq!(disk.run(|| Ok(7)).unwrap(), 7);
        assert_eq!(disk.run(|| Err::<(), _>(io::Error::other("full"))).unwrap_err().to_string(), "full");
        let panicked = disk.run(|| -> io::Result<()> { std::panic::resume_unwind(Box::new("stop")) });
        assert_eq!(panicked.unwrap_err().kind(), io::ErrorKind::Other);
        assert_eq!(disk.run(|| Ok(8)).unwrap(), 8, "the thread goes on");
        assert_eq!((disk.hangs(), caught_up.load(Ordering::SeqCst)), (None, 0));
    }

    #[test]
    fn what_hangs_is_gone_on_without_and_caught_up_with() {
        let (disk, caught_up) = counting();
        let (release, held) = mpsc::channel::<()>();
        let hung = disk.run_within(SHORT, move || Ok(held.recv().is_ok()));
        assert_eq!(hung.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let ran = Arc::new(AtomicUsize::new(0));
        let count = || {
            let ran = ran.clone();
            move || Ok(ran.fetch_add(1, Ordering::SeqCst))
        };
        let begun = Instant::now();
        for _ in 0..1000 {
            assert_eq!(disk.run_within(SHORT, count()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits any more: {:?}", begun.elapsed());
        wait_until(|| disk.hangs().is_some());
        drop(release);
        wait_until(|| caught_up.load(Ordering::SeqCst) == 1);
        assert_eq!(disk.run_within(SHORT, count()).unwrap(), 0, "what was given up was never begun");
        assert_eq!((disk.hangs(), caught_up.load(Ordering::SeqCst)), (None, 1));
    }

    #[test]
    fn one_that_is_slow_is_waited_for() {
        let (disk, caught_up) = counting();
        let disk = Arc::new(disk);
        let wait = || {
            let disk = disk.clone();
            thread::spawn(move || {
                let slow = || {
                    thread::sleep(SHORT / 2);
                    Ok(())
                };
                disk.run_within(SHORT * 20, slow)
            })
        };
        // Together they take longer than is waited for one.
        let all: Vec<_> = (0..60).map(|_| wait()).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap().is_ok()));
        assert_eq!(caught_up.load(Ordering::SeqCst), 0);
    }
}
