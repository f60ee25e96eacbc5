//! Tries something until it succeeds or the time is over.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Verdict;

/// Why a try did not succeed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Not yet, for this reason.
    Yet(String),
    /// It never will, for this reason.
    ForGood(String),
}

/// Tries until one succeeds, one fails for good, or `deadline` is there; then the last reason counts. A try that is
/// under way then is given up.
pub(super) async fn until<F>(deadline: Instant, interval: Duration, mut attempt: impl FnMut() -> F) -> Verdict
where
    F: Future<Output = Result<(), Failed>>,
{
    let mut last = None;
    loop {
        let reason = match timeout_at(deadline, attempt()).await {
            Ok(Ok(())) => return Verdict::Confirmed,
            Ok(Err(Failed::ForGood(reason))) => return Verdict::Refused { reason, took: true },
            Ok(Err(Failed::Yet(reason))) => reason,
            Err(_) => last.unwrap_or_else(|| "it gave no answer in time".to_owned()),
        };
        if Instant::now() + interval >= deadline {
            return Verdict::Refused { reason, took: true };
        }
        last = Some(reason);
        sleep(interval).await;
    }
}
