//! One session with one member: everything is read at one revision, then followed on one stream until it breaks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::Rng;
use tokio::time::Instant;

use super::config::{Clocks, Config};
use super::connection::{Connection, Endpoint, Failure, with_hint};
use super::keys::KeyRange;
use super::messages::Event;
use super::read::{self, Found, Part, Snapshot};
use super::state::State;
use super::stream::{Ending, Frame, Stream, WatchId};
use crate::registry::Feed;

/// How long the events of one transaction are waited for, and those that follow are gathered.
const GATHER: Duration = Duration::from_millis(2);

/// How long the watch has to deliver what an audit has seen.
const DELIVERY: Duration = Duration::from_secs(5);

/// How often a synchronisation begins again because what it reads is compacted under it.
const COMPACTIONS: u32 = 8;

/// Why a session is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is wanted any more.
    Idle,
    /// It is to be opened anew: nothing is wrong with the member.
    Renew(String),
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
    let connection = match Connection::open(config, endpoint).await {
        Ok(connection) => Arc::new(connection),
        Err(failure) => return End::Failed(failure.to_string()),
    };
    state.begin();
    let now = Instant::now();
    let mut session = Session {
        state,
        feed,
        connection,
        username: config.username.as_deref(),
        guarded: config.username.is_some() || config.cert_file.is_some(),
        clocks: config.clocks,
        stream: None,
        watches: HashMap::new(),
        pending: Vec::new(),
        cluster: 0,
        revision: 0,
        stale: false,
        opened: now,
        heard: now,
        asked: 0,
        next_audit: now + config.clocks.audit_interval,
        next_relist: now + jittered(config.clocks.relist_interval),
        next_retry: now + config.clocks.denied_interval,
        reading: None,
        suspicion: None,
    };
    match session.start().await {
        Ok(()) => {}
        Err(Stop::Idle) => return End::Idle,
        Err(Stop::Renew(why) | Stop::Lost(why)) => return End::Failed(why),
    }
    tracing::info!(
        registry = %session.feed.registry(),
        %endpoint,
        version = session.connection.version,
        revision = session.revision,
        "etcd is followed"
    );
    let since = Instant::now();
    match session.follow().await {
        Stop::Idle => End::Idle,
        Stop::Renew(why) => End::Renew(why),
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
    cluster: u64,
    /// The newest revision that this session has seen.
    revision: i64,
    /// Whether a watch has ended and its range is to be read and watched again.
    stale: bool,
    opened: Instant,
    /// When the stream last said something.
    heard: Instant,
    /// How often it was asked for a sign of life since.
    asked: u32,
    next_audit: Instant,
    next_relist: Instant,
    next_retry: Instant,
    /// The read beside the stream that is under way.
    reading: Option<Reading>,
    suspicion: Option<Suspicion>,
}

/// A read that is under way while the stream is followed.
struct Reading {
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
struct Suspicion {
    due: Instant,
    revision: i64,
    ranges: Vec<(KeyRange, Found)>,
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
            let due = self.due();
            let woken = tokio::select! {
                frame = next_frame(&mut self.stream) => Woken::Frame(frame),
                () = self.feed.changed() => Woken::Wanted,
                result = finished(&mut self.reading) => Woken::Read(result),
                () = tokio::time::sleep_until(due) => Woken::Clock,
            };
            let done = match woken {
                Woken::Frame(Ok(frame)) => self.on_frame(frame).await,
                Woken::Frame(Err(failure)) => Err(failure.into()),
                Woken::Wanted => self.on_wanted().await,
                Woken::Read(result) => self.on_read(result).await,
                Woken::Clock => self.on_clock(),
            };
            let done = match done {
                Ok(()) if std::mem::take(&mut self.stale) => self.synchronise(false).await,
                done => done,
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
        if self.state.has_unanswered() { self.synchronise(false).await } else { Ok(()) }
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
                    self.publish();
                    return self.gather().await;
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
                registry = %self.feed.registry(),
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

    fn publish(&mut self) {
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
        let deadline = Instant::now() + self.clocks.dial_timeout;
        while let Some(stream) = self.stream.as_mut().filter(|stream| stream.is_creating()) {
            let Ok(frame) = tokio::time::timeout_at(deadline, stream.next()).await else {
                return Err(Stop::Lost("it does not begin to watch".to_owned()));
            };
            match frame? {
                Frame::Events { id, events } => self.take(id, events),
                frame => self.on_control(frame)?,
            }
        }
        self.heard = Instant::now();
        Ok(())
    }

    fn end_watch(&mut self, id: WatchId) {
        self.watches.remove(&id);
        if let Some(stream) = &mut self.stream {
            stream.cancel(id);
        }
    }

    async fn on_frame(&mut self, frame: Frame) -> Result<(), Stop> {
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
    fn on_control(&mut self, frame: Frame) -> Result<(), Stop> {
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

    fn take(&mut self, id: WatchId, events: Vec<Event>) {
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
    async fn gather(&mut self) -> Result<(), Stop> {
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

    /// When something is to be done though nothing comes.
    fn due(&self) -> Instant {
        let mut due = self.next_audit.min(self.next_relist).min(self.opened + self.clocks.max_stream_age);
        if !self.watches.is_empty() {
            due = due.min(self.next_sign_of_life());
        }
        if self.state.has_refusals() {
            due = due.min(self.next_retry);
        }
        if let Some(suspicion) = &self.suspicion {
            due = due.min(suspicion.due);
        }
        due
    }

    fn next_sign_of_life(&self) -> Instant {
        self.heard + self.clocks.progress_interval * (self.asked + 1)
    }

    fn on_clock(&mut self) -> Result<(), Stop> {
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
        if let Some(stream) = &mut self.stream {
            stream.ask_progress();
        }
        Ok(())
    }

    /// Begins a read that does not hold up the stream; one at a time.
    fn read_beside(&mut self, purpose: Purpose, wishes: Vec<(KeyRange, Part)>) {
        if self.reading.is_some() || wishes.is_empty() {
            return;
        }
        let connection = self.connection.clone();
        let ranges = wishes.iter().map(|(range, _)| range.clone()).collect();
        let result = Box::pin(async move { read::snapshot(&connection, &wishes, read::PAGE).await });
        self.reading = Some(Reading { purpose, begun: self.revision, ranges, result });
    }

    async fn on_read(&mut self, result: Result<Option<Snapshot>, Failure>) -> Result<(), Stop> {
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
        let Some(suspicion) = self.suspicion.take() else { return Ok(()) };
        for (range, found) in &suspicion.ranges {
            if self.state.audit(range, found, suspicion.revision) {
                tracing::warn!(registry = %self.feed.registry(), %range, "etcd has lost events of a watch, reading again");
                return Err(Stop::Renew(format!("it has lost events of {range}")));
            }
        }
        Ok(())
    }
}

/// Readings that cost next to nothing and tell whether ranges may be read.
fn probes(ranges: &[KeyRange]) -> Vec<(KeyRange, Part)> {
    ranges.iter().map(|range| (range.clone(), Part::Permission)).collect()
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
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

async fn finished(reading: &mut Option<Reading>) -> Result<Option<Snapshot>, Failure> {
    match reading {
        Some(reading) => (&mut reading.result).await,
        None => std::future::pending().await,
    }
}
