//! When new watches have caught up, on a server whose answers do not tell (etcd before 3.4.25 and 3.5.8).
//!
//! A watch "from now on" that is created while something is written begins behind the newest revision. etcd then keeps it in
//! a list of those that lag, and sees to them every 100 ms; meanwhile the other ranges of a transaction are told at once, and
//! an answer to the question how far the stream is speaks for the watch that lags, too. So no such answer counts before
//! they have caught up.
//!
//! That is found out by one more watch, of a revision that is known to hold a change of a key: it always lags. Each round takes
//! all that lag at its beginning, brings them to one revision under one lock, and queues what they missed for the stream
//! (`syncWatchers` and `chooseAll` in etcd's `watchable_store.go` and `watcher_group.go`). So when its change comes, the watches
//! that were created before it were part of a round. That its change is compacted is said by the same round, and tells the same.
//! In the queue it may stand before the others of its round; what another such watch gets in a later round stands behind all of
//! them. So there are two, one after the other.
//!
//! It does not hold where a round does not take all that lag, or not all of one: 512 watches and more lag on one member, over
//! 1,000 revisions were written within a round, or over 1,000 responses wait for us to read them. There what is left is the
//! rule of [`Proof`](super::transactions::Proof), that nothing may straggle.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::registry::etcd::stream::WatchId;

/// How long it is waited where nothing can tell.
const CATCHING_UP: Duration = Duration::from_millis(500);

/// How long where something can, so that nothing is held up for good.
const LONGEST: Duration = Duration::from_secs(5);

/// How old the change may be, in revisions: a round reads all that were written since, under its lock.
const RECENT: i64 = 1000;

/// A watch that lags for sure.
pub(super) struct Sentinel {
    id: WatchId,
    /// Another follows it.
    is_first: bool,
}

impl Session<'_> {
    /// Watches were created that may lag.
    pub(super) fn await_catching_up(&mut self) {
        if self.proof.is_ordered() {
            return;
        }
        self.end_sentinel();
        self.settled = Instant::now() + if self.begin_sentinel(true) { LONGEST } else { CATCHING_UP };
    }

    /// Whether there is one now: it needs a change that is not old. `is_first` says that another follows it.
    fn begin_sentinel(&mut self, is_first: bool) -> bool {
        let recent = self.state.newest().filter(|(_, revision)| self.revision - revision <= RECENT);
        if let (Some(stream), Some((key, revision))) = (&mut self.stream, recent) {
            self.sentinel = Some(Sentinel { id: stream.create_from(&key, revision), is_first });
        }
        self.sentinel.is_some()
    }

    /// Whether that watch tells when others have caught up.
    pub(super) fn is_sentinel(&self, id: WatchId) -> bool {
        self.sentinel.as_ref().is_some_and(|sentinel| sentinel.id == id)
    }

    /// The sentinel was part of a round, or ended and can tell nothing.
    pub(super) fn sentinel_ends(&mut self, was_in_round: bool) {
        let was_first = self.end_sentinel();
        if was_in_round && was_first && self.begin_sentinel(false) {
            return;
        }
        self.settled = Instant::now() + if was_in_round && !was_first { Duration::ZERO } else { CATCHING_UP };
    }

    /// Whether it was to be followed by another.
    fn end_sentinel(&mut self) -> bool {
        let Some(Sentinel { id, is_first }) = self.sentinel.take() else { return false };
        if let Some(stream) = &mut self.stream {
            stream.cancel(id);
        }
        is_first
    }
}
