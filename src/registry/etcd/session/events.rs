//! What comes on the stream: events are gathered into whole transactions, applied and published.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Session, Stop};
use crate::registry::etcd::connection::{Failure, with_hint};
use crate::registry::etcd::messages::Event;
use crate::registry::etcd::stream::{Ending, Frame, WatchId};

/// How long the events of one transaction are waited for, and those that follow are gathered.
const GATHER: Duration = Duration::from_millis(2);

impl Session<'_> {
    pub(super) async fn on_frame(&mut self, frame: Frame) -> Result<(), Stop> {
        self.heard = Instant::now();
        self.asked = 0;
        match frame {
            Frame::Events { id, events } => {
                self.take(id, events);
                self.gather().await
            }
            frame => self.on_control(frame),
        }
    }

    /// What the stream says about itself.
    pub(super) fn on_control(&mut self, frame: Frame) -> Result<(), Stop> {
        match frame {
            Frame::Created { cluster, revision } => {
                self.check_cluster(cluster)?;
                if revision < self.revision {
                    // The watch's connection leads to a member that lags, or to one that was restored: an audit tells.
                    self.next_audit = self.next_audit.min(Instant::now() + Duration::from_secs(1));
                }
                Ok(())
            }
            Frame::Ended { id, why } => self.on_ended(id, why),
            Frame::Events { .. } | Frame::Progress { .. } => Ok(()),
        }
    }

    fn on_ended(&mut self, id: WatchId, why: Ending) -> Result<(), Stop> {
        // One that we ended ourselves is not known any more.
        let Some(range) = self.watches.remove(&id) else { return Ok(()) };
        match why {
            Ending::Compacted => {
                tracing::info!(registry = %self.feed.registry(), %range, "events were compacted, reading again");
                self.state.forget(&range);
                self.stale = true;
                Ok(())
            }
            Ending::Unauthenticated => Err(Stop::Renew("the token of the stream has run out".to_owned())),
            // It could be read a moment ago, so on a stream that is older than that its token has run out.
            Ending::Denied if self.opened.elapsed() > Duration::from_secs(1) => {
                Err(Stop::Renew("the token of the stream has run out".to_owned()))
            }
            Ending::Denied => {
                self.state.refuse(&range, self.username, Some(Instant::now() + self.clocks.denied_interval));
                self.publish();
                Err(Stop::Renew(format!("it refuses to watch {range}")))
            }
            Ending::Other(reason) => Err(Stop::Lost(with_hint(format!("it ended the watch of {range}: {reason}")))),
        }
    }

    pub(super) fn take(&mut self, id: WatchId, events: Vec<Event>) {
        if self.watches.contains_key(&id) {
            self.pending.extend(events.into_iter().map(|event| (id, event)));
        }
    }

    /// Gathers what belongs together and publishes it in one step.
    ///
    /// One transaction comes as one frame for each range that it touches, and nothing in a frame says whether there
    /// are others. etcd puts the frames of a transaction into the stream's queue before its revision becomes
    /// visible, so a progress response that shows the revision stands behind them: it ends the wait exactly, after
    /// one round trip. (Before 3.4.25 and 3.5.8 it could overtake frames that were queued but not sent at that
    /// moment.) With one range there is nothing to wait for.
    pub(super) async fn gather(&mut self) -> Result<(), Stop> {
        let deadline = Instant::now() + GATHER;
        let mut others = Vec::new();
        while !self.pending.is_empty() {
            let reached = if self.watches.len() > 1 { self.await_progress(deadline, &mut others).await? } else { None };
            while Instant::now() < deadline
                && let Some(stream) = &mut self.stream
                && let Some(frame) = stream.ready()?
            {
                match frame {
                    Frame::Events { id, events } => self.take(id, events),
                    Frame::Progress { .. } => {}
                    other => others.push(other),
                }
            }
            self.commit(reached.unwrap_or(i64::MAX));
        }
        others.into_iter().try_for_each(|frame| self.on_control(frame))
    }

    /// Waits until the stream is past every event that is pending; gives the revision that it is at, or none when
    /// the time is over. Frames that are not about events or progress go to `others`.
    async fn await_progress(&mut self, deadline: Instant, others: &mut Vec<Frame>) -> Result<Option<i64>, Failure> {
        let newest = self.pending.iter().map(|(_, event)| revision_of(event)).max().unwrap_or_default();
        let Some(stream) = &mut self.stream else { return Ok(None) };
        stream.ask_progress();
        loop {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            let Ok(frame) = tokio::time::timeout_at(deadline, stream.next()).await else { return Ok(None) };
            match frame? {
                Frame::Events { id, events } => self.take(id, events),
                Frame::Progress { revision } if revision >= newest => return Ok(Some(revision)),
                // The answer to an earlier question, or the transaction was not visible yet.
                Frame::Progress { .. } => stream.ask_progress(),
                other => others.push(other),
            }
        }
    }

    /// Applies and publishes the pending events up to a revision.
    fn commit(&mut self, upto: i64) {
        let (due, later) =
            std::mem::take(&mut self.pending).into_iter().partition(|(_, event)| revision_of(event) <= upto);
        self.pending = later;
        let due: Vec<(WatchId, Event)> = due;
        let mut by_watch: BTreeMap<WatchId, Vec<Event>> = BTreeMap::new();
        for (id, event) in due {
            self.revision = self.revision.max(revision_of(&event));
            by_watch.entry(id).or_default().push(event);
        }
        for (id, events) in by_watch {
            if let Some(range) = self.watches.get(&id) {
                self.state.apply(range, events);
            }
        }
        self.state.seen = Some((self.cluster, self.revision));
        self.publish();
    }
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
