//! One session with one member: everything is read at one revision, then followed on one stream until it breaks.

mod clock;
mod events;
mod sentinel;
mod transactions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use self::clock::{Reading, Suspicion, finished};
use self::sentinel::Sentinel;
use self::transactions::Proof;
use super::config::{Clocks, Config};
use super::connection::{Connection, Endpoint, Failure};
use super::keys::KeyRange;
use super::messages::Event;
use super::read::{self, Found, Part, Snapshot};
use super::state::State;
use super::stream::{Frame, Stream, WatchId};
use crate::process::BootTime;
use crate::registry::Feed;

/// How often a synchronisation begins again because what it reads is compacted under it.
const COMPACTIONS: u32 = 8;

/// Who wakes up this much too late was stopped, or the machine slept. What waits on the stream by then may be long over,
/// so everything is read again before any of it is shown.
const STANDSTILL: Duration = Duration::from_secs(3);

/// Why a session is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is wanted any more.
    Idle,
    /// It is to be opened anew after this time of working: nothing is wrong with the member.
    Renew(String, Duration),
    /// It never came to a whole state.
    Failed(String),
    /// It broke after this time of working.
    Broke(String, Duration),
}

/// Why a session cannot go on.
enum Stop {
    Idle,
    Renew(String),
    Lost(String),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            // The stream keeps the token that it was opened with.
            Failure::Unauthenticated(why) => Self::Renew(why),
            failure => Self::Lost(failure.to_string()),
        }
    }
}

/// Connects to a member and follows what is wanted until that ends.
pub(super) async fn run(state: &mut State, config: &Config, endpoint: &Endpoint, feed: &mut Feed) -> End {
    let connection = match Connection::open(config, endpoint, feed.limits()).await {
        Ok(connection) => Arc::new(connection),
        Err(failure) => return End::Failed(failure.to_string()),
    };
    state.begin();
    let now = Instant::now();
    let mut session = Session {
        state,
        feed,
        username: config.username.as_deref(),
        guarded: config.username.is_some() || config.cert_file.is_some(),
        clocks: config.clocks,
        stream: None,
        watches: HashMap::new(),
        pending: Vec::new(),
        pending_since: now,
        proof: Proof::new(connection.orders_progress()),
        answers: connection.answers_progress(),
        question: None,
        cluster: 0,
        revision: 0,
        stale: false,
        created: i64::MAX,
        settled: now,
        sentinel: None,
        opened: now,
        quiet_since: now,
        asked: 0,
        next_audit: now + config.clocks.audit_interval,
        next_relist: now + jittered(config.clocks.relist_interval),
        next_retry: now + config.clocks.denied_interval,
        reading: None,
        suspicion: None,
        connection,
    };
    match session.start().await {
        Ok(()) => {}
        Err(Stop::Idle) => return End::Idle,
        Err(Stop::Renew(why) | Stop::Lost(why)) => return End::Failed(why),
    }
    tracing::debug!(
        registry = &**session.feed.registry(),
        %endpoint,
        version = session.connection.version,
        revision = session.revision,
        "etcd is followed"
    );
    let since = Instant::now();
    match session.follow().await {
        Stop::Idle => End::Idle,
        Stop::Renew(why) => End::Renew(why, since.elapsed()),
        Stop::Lost(why) => End::Broke(why, since.elapsed()),
    }
}

struct Session<'a> {
    state: &'a mut State,
    feed: &'a mut Feed,
    connection: Arc<Connection>,
    username: Option<&'a str>,
    /// Whether some ranges may be denied to us: etcd knows us by a user or by the name in our certificate.
    guarded: bool,
    clocks: Clocks,
    /// None while nothing may be watched.
    stream: Option<Stream>,
    watches: HashMap<WatchId, KeyRange>,
    /// Events that came and are not applied yet, in their order.
    pending: Vec<(WatchId, Event)>,
    /// When the oldest of them came, or some of them were last applied.
    pending_since: Instant,
    /// Whether they are whole transactions.
    proof: Proof,
    /// Whether the server is known to answer how far the stream is.
    answers: bool,
    /// When the server was asked that and has not answered yet.
    question: Option<Instant>,
    cluster: u64,
    /// The newest revision that this session has seen.
    revision: i64,
    /// The least revision at which a watch was created since the last reading.
    created: i64,
    /// When the newest watches have caught up, on a server that does not say so.
    settled: Instant,
    /// The watch that tells of that before.
    sentinel: Option<Sentinel>,
    /// Whether a watch has ended and its range is to be read and watched again.
    stale: bool,
    opened: Instant,
    /// When the stream last said something, or was last asked for a sign of life.
    quiet_since: Instant,
    /// How often it was asked for a sign of life since it said something.
    asked: u32,
    next_audit: Instant,
    next_relist: Instant,
    next_retry: Instant,
    /// The read beside the stream that is under way.
    reading: Option<Reading>,
    suspicion: Option<Suspicion>,
}

/// Where a reading has come to.
enum Reached {
    /// Everything stands at one revision.
    One,
    /// The cluster is behind what this session has seen: a backup was restored under it.
    Older,
}

/// What woke a session.
enum Woken {
    Frame(Result<Frame, Failure>),
    Wanted,
    Read(Result<Option<Snapshot>, Failure>),
    Clock,
}

impl Session<'_> {
    /// Reads everything, publishes it and opens the stream.
    async fn start(&mut self) -> Result<(), Stop> {
        self.adopt_wanted()?;
        self.synchronise(true).await
    }

    async fn follow(&mut self) -> Stop {
        loop {
            if std::mem::take(&mut self.stale)
                && let Err(stop) = self.synchronise(false).await
            {
                return stop;
            }
            self.settle();
            let due = self.due();
            let awake = BootTime::now().after(due.saturating_duration_since(Instant::now()));
            let woken = tokio::select! {
                frame = next_frame(&mut self.stream) => Woken::Frame(frame),
                () = self.feed.changed() => Woken::Wanted,
                result = finished(&mut self.reading) => Woken::Read(result),
                () = tokio::time::sleep_until(due) => Woken::Clock,
            };
            if BootTime::now().since(awake) > STANDSTILL {
                return Stop::Renew("it stood still, or the machine slept".to_owned());
            }
            let done = match woken {
                Woken::Frame(Ok(frame)) => self.on_frame(frame),
                Woken::Frame(Err(failure)) => Err(failure.into()),
                Woken::Wanted => self.on_wanted().await,
                Woken::Read(result) => self.on_read(result).await,
                Woken::Clock => self.on_clock(),
            };
            if let Err(stop) = done {
                return stop;
            }
        }
    }

    /// Takes over what is wanted now; what is not wanted any more is cancelled.
    fn adopt_wanted(&mut self) -> Result<(), Stop> {
        let wanted = self.feed.wanted();
        for id in self.state.want(&wanted) {
            self.end_watch(id);
        }
        if wanted.is_empty() { Err(Stop::Idle) } else { Ok(()) }
    }

    async fn on_wanted(&mut self) -> Result<(), Stop> {
        self.adopt_wanted()?;
        if self.state.has_unread() {
            return self.synchronise(false).await;
        }
        self.publish();
        Ok(())
    }

    /// The one way to read data: all that is wanted is watched, then read at one revision and published in one step.
    /// What is known already is brought to that revision by reading what changed.
    ///
    /// The watches come first, from "now" on, and what they give up to the revision of the reading is dropped. A
    /// watch that is created later, from the revision after the reading, would have to catch up if anything was
    /// written meanwhile: etcd does that every 100 ms, and until then tears transactions over several ranges apart.
    async fn synchronise(&mut self, retry_refused: bool) -> Result<(), Stop> {
        for compactions in 0..COMPACTIONS {
            self.watch_all(retry_refused).await?;
            // Larger pages the faster etcd is compacted: what fits into one page cannot be compacted meanwhile.
            let page = read::PAGE << (2 * compactions);
            match self.read_all(retry_refused, page).await {
                Err(Failure::Compacted) => tracing::debug!(page, "compacted while reading, beginning again"),
                Err(failure) => return Err(failure.into()),
                Ok(Reached::Older) => {
                    return Err(Stop::Renew("its revision fell while it was followed".to_owned()));
                }
                Ok(Reached::One) => {
                    if std::mem::replace(&mut self.created, i64::MAX) < self.revision {
                        // Something was written meanwhile, so a watch may have been created behind the newest revision.
                        self.await_catching_up();
                    }
                    self.publish();
                    // What was read need not be waited for.
                    let revision = self.revision;
                    self.pending.retain(|(_, event)| event.revision() > revision);
                    // Nobody listened to the stream meanwhile.
                    self.end_silence();
                    return Ok(());
                }
            }
        }
        Err(Stop::Lost("it is compacted faster than it can be read".to_owned()))
    }

    /// Reads and takes over, or neither.
    async fn read_all(&mut self, retry_refused: bool, page: i64) -> Result<Reached, Failure> {
        let mut wanted = self.state.wishes(retry_refused);
        let Some(Snapshot { cluster, revision, mut found }) = read::snapshot(&self.connection, &wanted, page).await?
        else {
            self.refuse(wanted.iter().map(|(range, _)| range));
            return Ok(Reached::One);
        };
        self.check_cluster(cluster)?;
        if revision < self.revision {
            return Ok(Reached::Older);
        }
        let lacking: Vec<usize> = (0..wanted.len())
            .filter(|&index| {
                let (range, part) = &wanted[index];
                found[index].as_ref().is_some_and(|found| self.state.lacks_deletions(range, *part, found))
            })
            .collect();
        for &index in &lacking {
            wanted[index].1 = Part::All;
        }
        let whole = lacking.iter().map(|&index| wanted[index].clone()).collect();
        for (index, whole) in lacking.iter().zip(read::at(&self.connection, whole, revision, page).await?) {
            found[*index] = whole;
        }
        // From here on nothing waits: the whole reading is taken over, or, had we been dropped before, none of it.
        self.note_rollback(cluster, revision);
        self.revision = revision;
        let mut denied = Vec::new();
        for ((range, part), found) in wanted.into_iter().zip(found) {
            match found {
                Some(Found { excess: Some(why), .. }) => self.exceed(&range, &why),
                Some(found) => self.state.read(&range, part, found, revision),
                None => denied.push(range),
            }
        }
        self.refuse(&denied);
        Ok(Reached::One)
    }

    /// Both connections must lead to one cluster.
    fn check_cluster(&mut self, cluster: u64) -> Result<(), Failure> {
        if self.cluster == 0 {
            self.cluster = cluster;
        }
        if self.cluster == cluster {
            Ok(())
        } else {
            Err(Failure::Lost("its connections lead to different clusters".to_owned()))
        }
    }

    /// Says once that the cluster is another or older than the one that was followed before; its state is the truth.
    fn note_rollback(&mut self, cluster: u64, revision: i64) {
        if let Some((old_cluster, old_revision)) = self.state.seen
            && (old_cluster != cluster || revision < old_revision)
        {
            tracing::warn!(
                registry = &**self.feed.registry(),
                revision,
                old_revision,
                same_cluster = old_cluster == cluster,
                "etcd went back: a restored backup or another cluster; its state is taken as the truth"
            );
        }
        self.state.seen = Some((cluster, revision));
    }

    fn refuse<'r>(&mut self, ranges: impl IntoIterator<Item = &'r KeyRange>) {
        for range in ranges {
            if let Some(id) = self.state.refuse(range, self.username, None) {
                self.end_watch(id);
            }
            self.next_retry = Instant::now() + self.clocks.denied_interval;
        }
    }

    /// Lets go of a range that holds too much, and looks at it again in a while.
    fn exceed(&mut self, range: &KeyRange, why: &str) {
        self.next_retry = Instant::now() + self.clocks.denied_interval;
        if let Some(id) = self.state.exceed(range, why, self.next_retry) {
            self.end_watch(id);
        }
    }

    fn publish(&mut self) {
        for (range, why) in self.state.excesses(&self.feed.limits()) {
            self.exceed(&range, &why);
        }
        let replies = self.state.replies(self.revision);
        self.feed.publish(replies);
    }

    /// Watches every range that is not watched yet, and waits until the server does.
    async fn watch_all(&mut self, retry_refused: bool) -> Result<(), Stop> {
        let mut ranges = self.state.unwatched(retry_refused);
        if self.guarded && !ranges.is_empty() {
            // Some versions stop reading the requests of a stream at the first watch that they refuse.
            let found = read::snapshot(&self.connection, &probes(&ranges), read::PAGE).await?;
            let mut found = found.into_iter().flat_map(|snapshot| snapshot.found);
            let (allowed, denied): (Vec<_>, Vec<_>) =
                ranges.into_iter().partition(|_| found.next().is_some_and(|found| found.is_some()));
            self.refuse(&denied);
            ranges = allowed;
        }
        if ranges.is_empty() {
            return Ok(());
        }
        let ids = if let Some(stream) = &mut self.stream {
            ranges.iter().map(|range| stream.create(range)).collect()
        } else {
            let (stream, ids) = Stream::open(&self.connection, &ranges).await?;
            self.stream = Some(stream);
            ids
        };
        for (range, id) in ranges.into_iter().zip(ids) {
            self.state.set_watch(&range, id);
            self.watches.insert(id, range);
        }
        while let Some(stream) = self.stream.as_mut().filter(|stream| stream.is_creating()) {
            let Ok(frame) = tokio::time::timeout(self.clocks.dial_timeout, stream.next()).await else {
                return Err(Stop::Lost("it does not begin to watch".to_owned()));
            };
            self.take_frame(frame?)?;
        }
        Ok(())
    }

    fn end_watch(&mut self, id: WatchId) {
        self.watches.remove(&id);
        if let Some(stream) = &mut self.stream {
            stream.cancel(id);
        }
    }
}

/// Readings that cost next to nothing and tell whether ranges may be read.
fn probes(ranges: &[KeyRange]) -> Vec<(KeyRange, Part)> {
    ranges.iter().map(|range| (range.clone(), Part::Permission)).collect()
}

/// Give or take a tenth, so that many instances do not read at the same time.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(0.9..=1.1))
}

async fn next_frame(stream: &mut Option<Stream>) -> Result<Frame, Failure> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}
