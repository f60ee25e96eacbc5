//! What is done while the stream is followed, by the clock: proof of life, audits, another try at what is refused.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Session, Stop, jittered, probes};
use crate::protection::Protection;
use crate::registry::etcd::connection::Failure;
use crate::registry::etcd::keys::KeyRange;
use crate::registry::etcd::read::{self, Found, Part, Snapshot};

/// How long the watch has to deliver what an audit has seen.
const DELIVERY: Duration = Duration::from_secs(5);

/// A read that is under way while the stream is followed.
pub(super) struct Reading {
    purpose: Purpose,
    /// The newest revision that was seen when it began, which it cannot be behind.
    begun: i64,
    ranges: Vec<KeyRange>,
    result: BoxFuture<'static, Result<Option<Snapshot>, Failure>>,
}

#[derive(Clone, Copy)]
enum Purpose {
    /// Whether the watch delivers everything.
    Audit,
    /// Whether refused ranges may be read by now.
    Probe,
}

/// What an audit has seen and the watch has not delivered.
pub(super) struct Suspicion {
    due: Instant,
    revision: i64,
    ranges: Vec<(KeyRange, Found)>,
}

impl Session<'_> {
    /// When something is to be done though nothing comes.
    pub(super) fn due(&self) -> Instant {
        let mut due = self.opened + self.clocks.max_stream_age;
        // One read at a time: the next begins when this one has ended.
        if self.reading.is_none() {
            due = due.min(self.next_audit).min(self.next_relist);
            if self.state.has_refusals() {
                due = due.min(self.next_retry);
            }
        }
        if !self.watches.is_empty() {
            due = due.min(self.next_sign_of_life());
        }
        if let Some(settling) = self.next_settling() {
            due = due.min(settling);
        }
        if let Some(suspicion) = &self.suspicion {
            due = due.min(suspicion.due);
        }
        due
    }

    fn next_sign_of_life(&self) -> Instant {
        self.quiet_since + self.clocks.progress_interval
    }

    pub(super) fn on_clock(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        if now >= self.opened + self.clocks.max_stream_age {
            return Err(Stop::Renew("its stream is old, and permissions are checked at its opening only".to_owned()));
        }
        if !self.watches.is_empty() && now >= self.next_sign_of_life() {
            self.ask_for_life()?;
        }
        if self.suspicion.as_ref().is_some_and(|suspicion| now >= suspicion.due) {
            self.judge()?;
        }
        if self.reading.is_some() {
            return Ok(());
        }
        if now >= self.next_relist {
            self.next_relist = now + jittered(self.clocks.relist_interval);
            self.next_audit = now + self.clocks.audit_interval;
            self.read_beside(Purpose::Audit, self.state.audit_wishes(true));
        } else if now >= self.next_audit {
            self.next_audit = now + self.clocks.audit_interval;
            self.read_beside(Purpose::Audit, self.state.audit_wishes(false));
        } else if self.state.has_refusals() && now >= self.next_retry {
            self.next_retry = now + self.clocks.denied_interval;
            self.read_beside(Purpose::Probe, probes(&self.state.refused()));
        }
        Ok(())
    }

    fn ask_for_life(&mut self) -> Result<(), Stop> {
        if self.asked == 2 {
            let silence = humantime::format_duration(self.clocks.progress_interval * 3);
            return Err(Stop::Lost(format!("no sign of life on the watch stream within {silence}")));
        }
        self.asked += 1;
        self.quiet_since = Instant::now();
        self.ask_progress();
        Ok(())
    }

    /// The stream is alive, or was not listened to: its silence begins now.
    pub(super) fn end_silence(&mut self) {
        self.quiet_since = Instant::now();
        self.asked = 0;
    }

    /// Begins a read that does not hold up the stream.
    fn read_beside(&mut self, purpose: Purpose, wishes: Vec<(KeyRange, Part)>) {
        let is_off = matches!(purpose, Purpose::Audit) && Protection::Audit.is_off();
        if is_off || wishes.is_empty() {
            return;
        }
        let connection = self.connection.clone();
        let ranges = wishes.iter().map(|(range, _)| range.clone()).collect();
        let result = Box::pin(async move { read::snapshot(&connection, &wishes, read::PAGE).await });
        self.reading = Some(Reading { purpose, begun: self.revision, ranges, result });
    }

    pub(super) async fn on_read(&mut self, result: Result<Option<Snapshot>, Failure>) -> Result<(), Stop> {
        let Some(Reading { purpose, begun, ranges, .. }) = self.reading.take() else { return Ok(()) };
        let snapshot = match result {
            // The next one begins at a newer revision.
            Err(Failure::Compacted) => return Ok(()),
            result => result?,
        };
        match (purpose, snapshot) {
            (Purpose::Probe, None) => Ok(()),
            (Purpose::Probe, Some(_)) => self.synchronise(true).await,
            (Purpose::Audit, None) => {
                self.refuse(&ranges);
                self.publish();
                Ok(())
            }
            (Purpose::Audit, Some(snapshot)) => self.on_audit(ranges, snapshot, begun),
        }
    }

    fn on_audit(&mut self, ranges: Vec<KeyRange>, snapshot: Snapshot, begun: i64) -> Result<(), Stop> {
        if snapshot.revision < begun || snapshot.cluster != self.cluster {
            return Err(Stop::Renew("its revision fell while it was followed".to_owned()));
        }
        let mut suspected = Vec::new();
        let mut denied = Vec::new();
        for (range, found) in ranges.into_iter().zip(snapshot.found) {
            match found {
                None => denied.push(range),
                Some(found) if self.state.audit(&range, &found, snapshot.revision) => suspected.push((range, found)),
                Some(_) => {}
            }
        }
        if !denied.is_empty() {
            self.refuse(&denied);
            self.publish();
        }
        // An older suspicion is judged first; what is found now is found again by the next audit.
        if !suspected.is_empty() && self.suspicion.is_none() {
            // Most often the events are on their way.
            let due = Instant::now() + DELIVERY;
            self.suspicion = Some(Suspicion { due, revision: snapshot.revision, ranges: suspected });
        }
        Ok(())
    }

    /// The watch had its time to deliver what an audit had seen.
    fn judge(&mut self) -> Result<(), Stop> {
        let Some(mut suspicion) = self.suspicion.take() else { return Ok(()) };
        if !self.pending.is_empty() && self.pending_since.elapsed() >= DELIVERY {
            // The events may be here, and wait for the rest of their transaction on a slow link.
            suspicion.due = Instant::now() + DELIVERY;
            self.suspicion = Some(suspicion);
            return Ok(());
        }
        for (range, found) in &suspicion.ranges {
            if self.state.audit(range, found, suspicion.revision) {
                tracing::warn!(registry = &**self.feed.registry(), %range, "etcd has lost events of a watch, reading again");
                return Err(Stop::Renew(format!("it has lost events of {range}")));
            }
        }
        Ok(())
    }
}

/// The result of the read that is under way; never without one.
pub(super) async fn finished(reading: &mut Option<Reading>) -> Result<Option<Snapshot>, Failure> {
    match reading {
        Some(reading) => (&mut reading.result).await,
        None => std::future::pending().await,
    }
}
