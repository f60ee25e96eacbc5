//! Threads for what computes or blocks: renders, and work on files.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// How many targets have their turn at a time. One change may concern a hundred of them, and each thread keeps some
/// hundred KiB to itself, also when it has ended.
const AT_A_TIME: usize = 4;

/// How long a turn lasts. What takes longer hangs or computes much: it goes on, and nobody waits for it.
const TURN: Duration = Duration::from_millis(100);

/// The turns that all targets take.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

/// What became of work on a thread.
#[derive(Debug)]
pub enum Work<T> {
    /// It ended.
    Done(T),
    /// A defect of the program.
    Panicked,
    /// Its time is over, and it goes on.
    Late(JoinHandle<T>),
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl Turns {
    /// Runs `work` on a thread that may block, when it is its turn, and waits at most for `limit` until it ends.
    pub async fn run<T: Send + 'static>(&self, limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Work<T> {
        let turn = self.0.acquire().await;
        let mut thread = spawn_blocking(work);
        let mut ended = timeout(limit.min(TURN), &mut thread).await;
        drop(turn);
        if ended.is_err() {
            ended = timeout(limit.saturating_sub(TURN), &mut thread).await;
        }
        match ended {
            Ok(Ok(done)) => Work::Done(done),
            Ok(Err(_panicked)) => Work::Panicked,
            Err(_elapsed) => Work::Late(thread),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_keeps_nobody_waiting() {
        let turns = Turns::default();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let start = |_| {
            let (turns, held) = (turns.clone(), held.clone());
            tokio::spawn(async move { turns.run(Duration::MAX, move || held.lock().unwrap().recv().is_ok()).await })
        };
        let hung: Vec<_> = (0..2 * AT_A_TIME).map(start).collect();
        // They all ask for their turn first.
        tokio::task::yield_now().await;
        for number in 0..AT_A_TIME {
            assert!(matches!(turns.run(Duration::MAX, move || number).await, Work::Done(done) if done == number));
        }
        drop(release);
        for hung in hung {
            assert!(matches!(hung.await, Ok(Work::Done(false))));
        }
    }

    #[tokio::test]
    async fn late_work_goes_on_and_a_panic_is_told() {
        let turns = Turns::default();
        let (release, held) = mpsc::channel::<()>();
        let Work::Late(thread) = turns.run(Duration::from_millis(1), move || held.recv().is_ok()).await else {
            panic!()
        };
        release.send(()).unwrap();
        assert!(thread.await.unwrap());
        let panicked = turns.run(Duration::MAX, || std::panic::resume_unwind(Box::new("stop"))).await;
        assert!(matches!(panicked, Work::<()>::Panicked));
    }
}
