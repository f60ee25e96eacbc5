//! Tries something until it succeeds or the time is over.

use std::time::Duration;

use tokio::time::sleep;

use super::Verdict;

/// Why a try did not succeed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Not yet, for this reason.
    Yet(String),
    /// It never will, for this reason.
    ForGood(String),
}

/// What counts of the time at once, at most.
const STEP: Duration = Duration::from_millis(100);

/// Tries until one succeeds, one fails for good, or `within` is over; then the last reason counts. A try that is under
/// way then is given up.
pub(super) async fn until<F>(within: Duration, interval: Duration, mut attempt: impl FnMut() -> F) -> Verdict
where
    F: Future<Output = Result<(), Failed>>,
{
    let mut last = "it gave no answer in time".to_owned();
    let tries = async {
        loop {
            match attempt().await {
                Ok(()) => return Verdict::Confirmed,
                Err(Failed::ForGood(reason)) => return Verdict::Refused { reason, took: true },
                Err(Failed::Yet(reason)) => last = reason,
            }
            sleep(interval).await;
        }
    };
    tokio::select! {
        biased;
        verdict = tries => return verdict,
        () = awake_for(within) => {}
    }
    Verdict::Refused { reason: last, took: true }
}

/// Lets this time pass. What passes while we are stopped, as in a frozen container, does not count: nothing was tried
/// then.
async fn awake_for(mut left: Duration) {
    while !left.is_zero() {
        let step = left.min(STEP);
        sleep(step).await;
        left -= step;
    }
}
