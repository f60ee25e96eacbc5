//! What comes on the stream: events are gathered into whole transactions, applied and published.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Session, Stop};
use crate::registry::etcd::connection::{Failure, with_hint};
use crate::registry::etcd::messages::Event;
use crate::registry::etcd::stream::{Ending, Frame, WatchId};

/// How long changes that follow one another at once are gathered.
const GATHER: Duration = Duration::from_millis(2);

/// How long the rest of a transaction is waited for, should the server not say that it is complete.
const TRANSACTION: Duration = Duration::from_millis(150);

/// How often a server that does not order its progress responses is asked: each time that it is, what stands queued
/// had another round trip to come.
const ROUNDS: u32 = 2;

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
                self.created = self.created.min(revision);
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
    /// are others. With one range there is nothing to wait for.
    pub(super) async fn gather(&mut self) -> Result<(), Stop> {
        let deadline = Instant::now() + GATHER;
        let mut others = Vec::new();
        while !self.pending.is_empty() {
            let complete = if self.watches.len() > 1 { self.await_transaction(&mut others).await? } else { i64::MAX };
            while Instant::now() < deadline
                && let Some(stream) = &mut self.stream
                && let Some(frame) = stream.ready()?
            {
                self.put_aside(frame, &mut others);
            }
            self.commit(complete);
        }
        others.into_iter().try_for_each(|frame| self.on_control(frame))
    }

    /// Waits until all events up to a revision have come, at least the newest that is pending, and gives it.
    ///
    /// etcd puts the frames of a transaction into the stream's queue before its revision becomes visible, so a
    /// progress response that shows the revision stands behind them: it ends the wait exactly, after one round trip.
    async fn await_transaction(&mut self, others: &mut Vec<Frame>) -> Result<i64, Failure> {
        let ordered = self.connection.orders_progress();
        if !ordered {
            self.await_progress(i64::MAX, self.settled, others).await?;
        }
        let newest = self.pending.iter().map(|(_, event)| revision_of(event)).max().unwrap_or_default();
        let deadline = Instant::now() + TRANSACTION;
        let mut complete = None;
        for _ in 0..if ordered { 1 } else { ROUNDS } {
            self.ask_progress();
            match self.await_progress(newest, deadline, others).await? {
                Some(revision) => complete = complete.or(Some(revision)),
                None => return Ok(i64::MAX),
            }
        }
        Ok(complete.unwrap_or(i64::MAX))
    }

    /// Waits until the stream says that it is at a revision; gives the revision that it is at, or none when the time
    /// is over.
    async fn await_progress(
        &mut self,
        wanted: i64,
        deadline: Instant,
        others: &mut Vec<Frame>,
    ) -> Result<Option<i64>, Failure> {
        while let Some(stream) = &mut self.stream {
            let Ok(frame) = tokio::time::timeout_at(deadline, stream.next()).await else { break };
            match frame? {
                Frame::Progress { revision } if revision >= wanted => return Ok(Some(revision)),
                // The answer to an earlier question, or the transaction was not visible yet.
                Frame::Progress { .. } if wanted < i64::MAX => self.ask_progress(),
                frame => self.put_aside(frame, others),
            }
        }
        Ok(None)
    }

    /// Keeps events as pending, and what is not about events for later.
    fn put_aside(&mut self, frame: Frame, others: &mut Vec<Frame>) {
        match frame {
            Frame::Events { id, events } => self.take(id, events),
            Frame::Progress { .. } => {}
            other => others.push(other),
        }
    }

    pub(super) fn ask_progress(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.ask_progress();
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
