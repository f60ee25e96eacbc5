//! A registry followed without the rest of the program: its watch runs as the driver runs it, and all that it
//! publishes is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path as FilePath;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use liveconf::config::Limits;
use liveconf::config::Section;
use liveconf::registry::{
    Answer, Data, Entry, Feed, Instance, KINDS, Node, NodeServices, Path, Publication, Query, QueryError, Registry,
    ServiceName, ServiceQuery, Sink, Status, StatusFilter, Wanted, Watch,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::SOON;
use super::runtime::runtime;

/// A watch that runs until it is dropped.
pub struct Follower {
    wanted: watch::Sender<Wanted>,
    record: Arc<Record>,
    running: Option<(oneshot::Sender<()>, JoinHandle<Paused>)>,
    paused: Option<Paused>,
}

type Paused = (Box<dyn Watch>, Feed);

/// All that the watch told.
#[derive(Default)]
pub struct Seen {
    /// The last answer to each query; an error does not end it.
    pub answers: BTreeMap<Query, Answer>,
    /// The queries that have failed since their last answer.
    pub errors: BTreeMap<Query, QueryError>,
    /// What was published, in order.
    pub publications: Vec<Publication>,
    /// Why the registry was away, each time.
    pub outages: Vec<String>,
    recoveries: usize,
}

#[derive(Default)]
struct Record {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Record {
    fn note<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
        result
    }
}

impl Sink for Record {
    fn publish(&self, registry: &str, publication: Publication, _wanted: &Wanted) {
        assert_eq!(registry, "main");
        self.note(|seen| {
            for reply in &publication {
                match &reply.result {
                    Ok(answer) => {
                        seen.errors.remove(&reply.query);
                        seen.answers.insert(reply.query.clone(), answer.clone());
                    }
                    Err(error) => _ = seen.errors.insert(reply.query.clone(), error.clone()),
                }
            }
            seen.publications.push(publication);
        });
    }

    fn recovered(&self, _registry: &str) {
        self.note(|seen| seen.recoveries += 1);
    }
}

impl Follower {
    /// Follows these queries on a registry of this kind, with what stands under the kind in a configuration.
    #[track_caller]
    pub fn start(kind: &str, section: &str, queries: impl IntoIterator<Item = Query>) -> Self {
        let registry = registry(kind, section);
        let (wanted, receiver) = watch::channel(numbered(0, queries));
        let record = Arc::new(Record::default());
        let limits = Limits { response: 256 << 20, ..Limits::default() };
        let feed = Feed::new("main".into(), receiver, record.clone()).within(limits);
        let mut follower = Self { wanted, record, running: None, paused: Some((registry.watch(), feed)) };
        follower.resume();
        follower
    }

    /// Wants these queries from now on.
    pub fn want(&self, queries: impl IntoIterator<Item = Query>) {
        self.want_as(0, queries);
    }

    /// The same with another number: all of them were dropped in between.
    pub fn want_as(&self, serial: u64, queries: impl IntoIterator<Item = Query>) {
        self.wanted.send_replace(numbered(serial, queries));
    }

    /// Drops the future of the watch, as a shutdown does.
    pub fn pause(&mut self) {
        let (stop, task) = self.running.take().expect("a watch that runs");
        stop.send(()).ok();
        self.paused = Some(runtime().block_on(task).unwrap());
    }

    /// Runs the watch again.
    pub fn resume(&mut self) {
        let (watch, feed) = self.paused.take().expect("a watch that is paused");
        let (stop, stopped) = oneshot::channel();
        let task = runtime().spawn(follow(watch, feed, self.record.clone(), stopped));
        self.running = Some((stop, task));
    }

    /// What was seen until now. Nothing more is, as long as this is held.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.record.seen.lock().unwrap()
    }

    /// Waits until what was seen gives a value.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, found: impl FnMut(&Seen) -> Option<T>) -> T {
        self.wait_for_within(SOON, what, found)
    }

    /// The same with a time of its own.
    #[track_caller]
    pub fn wait_for_within<T>(&self, within: Duration, what: &str, mut found: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + within;
        let mut seen = self.seen();
        loop {
            if let Some(found) = found(&seen) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let some: BTreeSet<_> = seen.answers.keys().chain(seen.errors.keys()).collect();
                let some: Vec<_> =
                    some.into_iter().take(5).map(|query| format!("{query}: {}", seen.shown(query))).collect();
                let outages = seen.outages.clone();
                drop(seen);
                panic!("after {within:?}: not {what}: {some:#?}, outages {outages:?}");
            }
            seen = self.record.changed.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until the latest reply to a query is this, as [`show`] writes it.
    #[track_caller]
    pub fn expect(&self, query: &Query, expected: &str) {
        self.expect_within(SOON, query, expected);
    }

    /// The same with a time of its own.
    #[track_caller]
    pub fn expect_within(&self, within: Duration, query: &Query, expected: &str) {
        let what = format!("{query}: {expected:?}");
        self.wait_for_within(within, &what, |seen| (seen.shown(query) == expected).then_some(()));
    }

    /// Waits for the first answer to a query; the latest one.
    #[track_caller]
    pub fn answer(&self, query: &Query) -> Data {
        self.wait_for(&format!("{query}: answered"), |seen| seen.answers.get(query).map(|answer| answer.data.clone()))
    }

    /// Waits until a query has failed.
    #[track_caller]
    pub fn failure(&self, query: &Query) -> QueryError {
        self.wait_for(&format!("{query}: failed"), |seen| seen.errors.get(query).cloned())
    }

    /// Waits for an outage that says this.
    #[track_caller]
    pub fn outage(&self, text: &str) -> String {
        self.wait_for(&format!("an outage that says {text:?}"), |seen| {
            seen.outages.iter().find(|outage| outage.contains(text)).cloned()
        })
    }

    /// The latest reply to a query, as [`show`] writes it.
    pub fn shown(&self, query: &Query) -> String {
        self.seen().shown(query)
    }

    /// Fails if the registry was ever away.
    #[track_caller]
    pub fn assert_no_outage(&self) {
        let outages = self.seen().outages.clone();
        assert_eq!(outages, [""; 0]);
    }

    /// What each publication since the `from`th said, in order.
    pub fn publications(&self, from: usize) -> Vec<BTreeMap<Query, String>> {
        let shown = |publication: &Publication| {
            publication.iter().map(|reply| (reply.query.clone(), show_result(&reply.result))).collect()
        };
        self.seen().publications[from..].iter().map(shown).collect()
    }

    /// How many publications there were.
    pub fn published(&self) -> usize {
        self.seen().publications.len()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}

/// The registry that a section describes.
#[track_caller]
pub fn registry(kind: &str, section: &str) -> Arc<dyn Registry> {
    let kind = KINDS.iter().find(|known| known.name == kind).expect("a kind of this build");
    let (registry, problems) = Section::of_text(section, &BTreeMap::new(), FilePath::new("/"), kind.decode);
    assert!(problems.is_empty(), "{problems:?}");
    registry.flatten().unwrap()
}

impl Seen {
    /// The latest reply to a query, as [`show`] writes it.
    pub fn shown(&self, query: &Query) -> String {
        match (self.errors.get(query), self.answers.get(query)) {
            (Some(error), _) => format!("error: {error}"),
            (None, Some(answer)) => show(&answer.data),
            (None, None) => "unanswered".to_owned(),
        }
    }
}

/// Runs a watch again after each outage, with the patience of the driver.
async fn follow(
    mut watch: Box<dyn Watch>,
    mut feed: Feed,
    record: Arc<Record>,
    mut stopped: oneshot::Receiver<()>,
) -> Paused {
    const SHORTEST: Duration = Duration::from_millis(100);
    let mut pause = SHORTEST;
    loop {
        let before = record.note(|seen| seen.recoveries);
        tokio::select! {
            outage = watch.run(&mut feed) => {
                let recovered = record.note(|seen| {
                    seen.outages.push(outage.0);
                    seen.recoveries > before
                });
                pause = if recovered { SHORTEST } else { (pause * 2).min(Duration::from_secs(2)) };
            }
            _ = &mut stopped => return (watch, feed),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = &mut stopped => return (watch, feed),
        }
    }
}

fn numbered(serial: u64, queries: impl IntoIterator<Item = Query>) -> Wanted {
    Arc::new(queries.into_iter().map(|query| (query, serial)).collect())
}

// ---- Queries, and answers in one line ----

/// A path.
pub fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// The key at a path.
pub fn key(text: &str) -> Query {
    Query::Key(path(text))
}

/// All below a path.
pub fn prefix(text: &str) -> Query {
    Query::Prefix(path(text))
}

/// The instances of a service that pass.
pub fn service(name: &str) -> Query {
    Query::Service(ServiceQuery::passing(name))
}

/// All instances of a service.
pub fn any(name: &str) -> Query {
    Query::Service(ServiceQuery { status: StatusFilter::All, ..ServiceQuery::passing(name) })
}

fn show_result(result: &Result<Answer, QueryError>) -> String {
    match result {
        Ok(answer) => show(&answer.data),
        Err(error) => format!("error: {error}"),
    }
}

/// An answer in one line.
pub fn show(data: &Data) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match data {
        Data::Key(None) | Data::Node(None) => "absent".to_owned(),
        Data::Key(Some(value)) => text(&value.0),
        Data::Exists(exists) => exists.to_string(),
        Data::Prefix(entries) => {
            let show = |entry: &Arc<Entry>| format!("{}({})={};", entry.key, entry.path, text(&entry.value.0));
            entries.iter().map(show).collect()
        }
        Data::Listing(names) => format!("{:?} {:?}", names.keys, names.folders),
        Data::Services(services) => {
            let show = |service: &ServiceName| format!("{}[{}];", service.name, service.tags.join(","));
            services.iter().map(show).collect()
        }
        Data::Service(instances) => instances.iter().map(|instance| show_instance(instance)).collect(),
        Data::Nodes(nodes) => {
            let show = |node: &Node| format!("{}@{};", node.name, node.address);
            nodes.iter().map(show).collect()
        }
        Data::Node(Some(NodeServices { node, services })) => {
            let services: String = services.iter().map(|instance| show_instance(instance)).collect();
            format!("{}@{} in {}: {services}", node.name, node.address, node.datacenter)
        }
        Data::Datacenters(names) => names.join(","),
        Data::Records(records) => records.join(","),
    }
}

/// `NAME/ID@ENDPOINT`, the weight where it is not 1, and the status where it is not passing.
fn show_instance(instance: &Instance) -> String {
    let mut shown = format!("{}/{}@{}", instance.name, instance.id, instance.endpoint());
    if instance.weight != 1 {
        write!(shown, "*{}", instance.weight).unwrap();
    }
    if instance.status != Status::Passing {
        write!(shown, " {}", instance.status.as_str()).unwrap();
    }
    shown + ";"
}
