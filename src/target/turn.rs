//! Threads for what computes or blocks: renders, and work on files.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::heartbeat::Pulse;

/// How many targets have their turn at a time. One change may concern a hundred of them, and each thread keeps some
/// hundred KiB to itself, also when it has ended.
const AT_A_TIME: usize = 4;

/// How long a turn lasts. What takes longer hangs or computes much: it goes on, and nobody waits for it.
const TURN: Duration = Duration::from_millis(100);

/// How much goes on at a time whose turn is over. On a slow disk each takes the longer the more there are, and with all of
/// a thousand targets none would come to its end in a reasonable time.
const LATE: usize = 64;

/// The turns that all targets take.
#[derive(Debug, Clone)]
pub struct Turns {
    turns: Arc<Semaphore>,
    late: Arc<Semaphore>,
}

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
        Self { turns: Arc::new(Semaphore::new(AT_A_TIME)), late: Arc::new(Semaphore::new(LATE)) }
    }
}

impl Turns {
    /// Runs `work` on a thread that may block, when it is its turn, and waits at most for `limit` until it ends. While
    /// others have their turn they make the progress, for which `pulse` is asked.
    pub async fn run<T: Send + 'static>(
        &self,
        pulse: &Pulse,
        limit: Option<Duration>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Work<T> {
        let turn = pulse.attend(self.turns.acquire()).await;
        let mut thread = spawn_blocking(work);
        let work = async {
            let limit = limit.unwrap_or(Duration::MAX);
            let mut ended = timeout(limit.min(TURN), &mut thread).await;
            let mut late = None;
            if ended.is_err() {
                let rest = limit.saturating_sub(TURN);
                let gives_way = async {
                    late = self.late.acquire().await.ok();
                    drop(turn);
                    std::future::pending::<()>().await;
                };
                let until_its_end = timeout(rest, &mut thread);
                tokio::select! {
                    over = until_its_end => ended = over,
                    () = gives_way => {}
                }
            }
            drop(late);
            ended
        };
        let ended = match limit {
            Some(limit) => pulse.outside(limit, work).await,
            None => work.await,
        };
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
    use crate::heartbeat::Heart;

    fn unheard() -> Pulse {
        Pulse::unheard("target")
    }

    /// A disk that writes one file after the other, and the files of many targets.
    #[tokio::test]
    async fn whoever_waits_for_others_makes_progress() {
        const TARGETS: usize = 400;
        const WRITE: Duration = Duration::from_millis(4);
        let (turns, heart, disk) = (Turns::default(), Heart::default(), Arc::new(std::sync::Mutex::new(())));
        let targets: Vec<_> = (0..TARGETS)
            .map(|number| {
                let (turns, disk, pulse) = (turns.clone(), disk.clone(), heart.pulse(format!("target {number}")));
                tokio::spawn(async move {
                    let write = move || {
                        let _one_at_a_time = disk.lock().unwrap();
                        std::thread::sleep(WRITE);
                    };
                    let written = turns.run(&pulse, None, write).await;
                    assert!(matches!(written, Work::Done(())));
                })
            })
            .collect();
        let begun = std::time::Instant::now();
        // As long as all that is under way at a time takes, and much less than all of them.
        let limit = (WRITE * u32::try_from(LATE + AT_A_TIME).unwrap()) * 3 / 2;
        while targets.iter().any(|target| !target.is_finished()) {
            assert_eq!(heart.ask(limit), [""; 0], "after {:?}", begun.elapsed());
            tokio::time::sleep(limit / 4).await;
        }
        assert!(begun.elapsed() > limit * 2);
        for target in targets {
            target.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_hangs_keeps_nobody_waiting() {
        let turns = Turns::default();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let start = |_| {
            let (turns, held) = (turns.clone(), held.clone());
            tokio::spawn(async move { turns.run(&unheard(), None, move || held.lock().unwrap().recv().is_ok()).await })
        };
        let hung: Vec<_> = (0..2 * AT_A_TIME).map(start).collect();
        // They all ask for their turn first.
        tokio::task::yield_now().await;
        for number in 0..AT_A_TIME {
            assert!(matches!(turns.run(&unheard(), None, move || number).await, Work::Done(done) if done == number));
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
        let Work::Late(thread) =
            turns.run(&unheard(), Some(Duration::from_millis(1)), move || held.recv().is_ok()).await
        else {
            panic!()
        };
        release.send(()).unwrap();
        assert!(thread.await.unwrap());
        let panicked = turns.run(&unheard(), None, || std::panic::resume_unwind(Box::new("stop"))).await;
        assert!(matches!(panicked, Work::<()>::Panicked));
    }
}
