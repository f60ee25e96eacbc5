//! The registry behind the template function `now()`: the time of day in steps, followed like any other answer.
//!
//! It is in no configuration and not among the [`KINDS`](super::KINDS).

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

use super::{Answer, Data, Feed, Outage, Query, Registry, Reply, Text, Watch};

/// How long the clock is not looked at, at most: it may be set, and a machine may have slept.
const LOOK: Duration = Duration::from_secs(30);

/// The time of day of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Registry for Clock {
    fn supports(&self, query: &Query) -> Result<(), String> {
        match query {
            Query::Time { .. } => Ok(()),
            _ => Err("knows the time only".into()),
        }
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(*self)
    }
}

impl Watch for Clock {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        Box::pin(async move {
            loop {
                let wanted = feed.wanted();
                let steps = || wanted.keys().filter_map(step_of);
                let now = SystemTime::now();
                feed.publish(steps().map(|every| reply(every, now)).collect());
                let next = steps().map(|every| until_next(every, now)).min();
                tokio::select! {
                    () = feed.changed() => {}
                    () = tokio::time::sleep(next.unwrap_or(LOOK).min(LOOK)), if next.is_some() => {}
                }
            }
        })
    }
}

fn step_of(query: &Query) -> Option<NonZeroU64> {
    match query {
        Query::Time { every } => Some(*every),
        _ => None,
    }
}

fn reply(every: NonZeroU64, now: SystemTime) -> Reply {
    let seconds = stepped(unix(now).as_secs(), every);
    let text = Text(seconds.to_string().into());
    Reply { query: Query::Time { every }, result: Ok(Answer::new(Data::Key(Some(text)), seconds)) }
}

/// The last whole step of a Unix time, both in seconds.
pub(crate) fn stepped(seconds: u64, every: NonZeroU64) -> u64 {
    seconds - seconds % every
}

/// The time until the next step, and a little more, so that it has surely begun.
fn until_next(every: NonZeroU64, now: SystemTime) -> Duration {
    let now = unix(now);
    let next = Duration::from_secs(stepped(now.as_secs(), every).saturating_add(every.get()));
    next.saturating_sub(now) + Duration::from_millis(1)
}

/// The time since 1970; nothing before.
fn unix(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::recorder::Running;

    fn seconds(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    #[test]
    fn steps_begin_at_1970() {
        for (time, every, step) in
            [(0, 60, 0), (59, 60, 0), (60, 60, 60), (86_399, 86_400, 0), (86_401, 86_400, 86_400)]
        {
            assert_eq!(stepped(time, seconds(every)), step, "{time} {every}");
        }
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        for (now, wait) in [(0, 60_001), (59_999, 2), (60_000, 60_001), (61_500, 58_501)] {
            assert_eq!(until_next(seconds(60), at(now)), Duration::from_millis(wait), "{now}");
        }
        assert_eq!(unix(UNIX_EPOCH - Duration::from_secs(1)), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_time_is_followed() {
        let mut running = Running::new(&Clock, [Query::Time { every: seconds(1) }]);
        let first: u64 = running.text().await.unwrap().parse().unwrap();
        let second: u64 = running.text().await.unwrap().parse().unwrap();
        assert_eq!(second, first + 1);
    }

    #[test]
    fn other_questions_are_refused() {
        assert!(Clock.supports(&Query::Time { every: seconds(60) }).is_ok());
        assert!(Clock.supports(&Query::Services { tag: None }).is_err());
    }
}
