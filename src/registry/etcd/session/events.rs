//! What comes on the stream.

use std::time::Duration;

use tokio::time::Instant;

use super::{Session, Stop};
use crate::registry::etcd::connection::with_hint;
use crate::registry::etcd::stream::{Ending, Frame, WatchId};

/// How long changes that follow one another at once are gathered.
const GATHER: Duration = Duration::from_millis(2);

impl Session<'_> {
    /// Takes a frame and those that are here already.
    pub(super) fn on_frame(&mut self, frame: Frame) -> Result<(), Stop> {
        self.end_silence();
        let deadline = Instant::now() + GATHER;
        let mut next = Some(frame);
        while let Some(frame) = next {
            self.take_frame(frame)?;
            next = match &mut self.stream {
                Some(stream) if Instant::now() < deadline => stream.ready()?,
                _ => None,
            };
        }
        Ok(())
    }

    pub(super) fn take_frame(&mut self, frame: Frame) -> Result<(), Stop> {
        match frame {
            Frame::Events { id, .. } if self.is_sentinel(id) => self.sentinel_ends(true),
            Frame::Ended { id, why } if self.is_sentinel(id) => self.sentinel_ends(why == Ending::Compacted),
            Frame::Events { id, events } => self.take(id, events),
            Frame::Progress { revision } => self.on_progress(revision),
            Frame::Created { id, cluster, revision } => {
                self.check_cluster(cluster)?;
                if !self.is_sentinel(id) {
                    self.created = self.created.min(revision);
                }
                if revision < self.revision {
                    // The watch's connection leads to a member that lags, or to one that was restored: an audit tells.
                    self.next_audit = self.next_audit.min(Instant::now() + Duration::from_secs(1));
                }
            }
            Frame::Ended { id, why } => self.on_ended(id, why)?,
        }
        Ok(())
    }

    fn on_ended(&mut self, id: WatchId, why: Ending) -> Result<(), Stop> {
        // One that we ended ourselves is not known any more.
        let Some(range) = self.watches.remove(&id) else { return Ok(()) };
        match why {
            Ending::Compacted => {
                tracing::info!(registry = &**self.feed.registry(), %range, "events were compacted, reading again");
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
}
