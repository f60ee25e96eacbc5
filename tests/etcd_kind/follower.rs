//! Runs a watch as the program does and records what it publishes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use liveconf::registry::etcd::{Clocks, Config};
use liveconf::registry::{Answer, Data, Feed, Path, Publication, Query, QueryError, Registry, Sink, Wanted, Watch};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What was published.
#[derive(Default)]
pub(crate) struct Record {
    inner: Mutex<Inner>,
    changed: tokio::sync::Notify,
}

#[derive(Default)]
struct Inner {
    publications: Vec<Publication>,
    latest: BTreeMap<Query, Result<Answer, QueryError>>,
    outages: Vec<String>,
}

impl Sink for Record {
    fn publish(&self, registry: &str, publication: Publication) {
        assert_eq!(registry, "main");
        let mut inner = self.inner.lock().unwrap();
        for reply in &publication {
            inner.latest.insert(reply.query.clone(), reply.result.clone());
        }
        inner.publications.push(publication);
        self.changed.notify_waiters();
    }

    fn recovered(&self, _: &str) {}
}

/// A watch that runs.
pub(crate) struct Follower {
    wanted: watch::Sender<Wanted>,
    pub(crate) record: Arc<Record>,
    running: Option<(oneshot::Sender<()>, JoinHandle<Paused>)>,
    paused: Option<Paused>,
}

type Paused = (Box<dyn Watch>, Feed);

/// Clocks that make a test short. What a test does not wait for is left as it is in production.
pub(crate) fn config(endpoint: &str) -> Config {
    Config { endpoints: vec![endpoint.to_owned()], ..Config::default() }
}

pub(crate) fn fast() -> Clocks {
    Clocks {
        audit_interval: Duration::from_millis(300),
        progress_interval: Duration::from_millis(300),
        dial_timeout: Duration::from_secs(1),
        denied_interval: Duration::from_millis(300),
        ..Clocks::default()
    }
}

impl Follower {
    pub(crate) fn start(config: Config, queries: impl IntoIterator<Item = Query>) -> Self {
        let registry = config.build().unwrap();
        let (wanted, receiver) = watch::channel(numbered(0, queries));
        let record = Arc::new(Record::default());
        let feed = Feed::new("main".into(), receiver, record.clone());
        let mut follower = Self { wanted, record, running: None, paused: Some((registry.watch(), feed)) };
        follower.resume();
        follower
    }

    /// Wants these queries from now on.
    pub(crate) fn want(&self, queries: impl IntoIterator<Item = Query>) {
        self.want_as(0, queries);
    }

    /// The same with another number: all of them were dropped in between.
    pub(crate) fn want_as(&self, serial: u64, queries: impl IntoIterator<Item = Query>) {
        self.wanted.send_replace(numbered(serial, queries));
    }

    /// Drops the future of the watch, as a shutdown or an outage elsewhere does.
    pub(crate) async fn pause(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        let _ = stop.send(());
        self.paused = Some(task.await.unwrap());
    }

    /// Runs the watch again.
    pub(crate) fn resume(&mut self) {
        let (mut watch, mut feed) = self.paused.take().unwrap();
        let (stop, mut stopped) = oneshot::channel();
        let record = self.record.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    outage = watch.run(&mut feed) => record.note(outage.0),
                    _ = &mut stopped => return (watch, feed),
                }
                record.changed.notify_waiters();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        self.running = Some((stop, task));
    }

    /// Waits until the latest answer to a query is this, as [`show`] writes it.
    pub(crate) async fn expect(&self, query: &Query, expected: &str) {
        let seen = self.wait_for(|record| Some(record.shown(query)).filter(|shown| shown == expected)).await;
        assert!(
            seen.is_some(),
            "{query}: expected {expected:?}, got {:?}, outages {:?}",
            self.record.shown(query),
            self.record.outages()
        );
    }

    /// Waits until something is so.
    pub(crate) async fn wait_for<T>(&self, found: impl Fn(&Record) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let changed = self.record.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = found(&self.record) {
                return Some(found);
            }
            tokio::time::timeout_at(deadline, changed).await.ok()?;
        }
    }

    /// Waits for an outage that says this.
    pub(crate) async fn outage(&self, text: &str) -> String {
        let outage = self.wait_for(|record| record.outages().into_iter().find(|outage| outage.contains(text))).await;
        outage.unwrap_or_else(|| panic!("no outage says {text:?}: {:?}", self.record.outages()))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}

impl Record {
    fn note(&self, outage: String) {
        let outages = &mut self.inner.lock().unwrap().outages;
        if outages.last() != Some(&outage) {
            outages.push(outage);
        }
    }

    pub(crate) fn shown(&self, query: &Query) -> String {
        match self.inner.lock().unwrap().latest.get(query) {
            None => "unanswered".to_owned(),
            Some(Err(error)) => format!("error: {error}"),
            Some(Ok(answer)) => show(&answer.data),
        }
    }

    pub(crate) fn answer(&self, query: &Query) -> Option<Answer> {
        self.inner.lock().unwrap().latest.get(query).and_then(|result| result.clone().ok())
    }

    pub(crate) fn outages(&self) -> Vec<String> {
        self.inner.lock().unwrap().outages.clone()
    }

    /// What each publication since the `from`th said, in order.
    pub(crate) fn publications(&self, from: usize) -> Vec<BTreeMap<Query, String>> {
        let inner = self.inner.lock().unwrap();
        inner.publications[from..]
            .iter()
            .map(|publication| {
                let replies = publication.iter().map(|reply| {
                    let shown = match &reply.result {
                        Ok(answer) => show(&answer.data),
                        Err(error) => format!("error: {error}"),
                    };
                    (reply.query.clone(), shown)
                });
                replies.collect()
            })
            .collect()
    }
}

/// An answer in one line.
pub(crate) fn show(data: &Data) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut shown = String::new();
    match data {
        Data::Key(None) => shown.push_str("absent"),
        Data::Key(Some(value)) => shown.push_str(&text(&value.0)),
        Data::Exists(exists) => shown.push_str(&exists.to_string()),
        Data::Prefix(entries) => {
            for entry in entries {
                write!(shown, "{}({})={};", entry.key, entry.path, text(&entry.value.0)).unwrap();
            }
        }
        Data::Listing(names) => write!(shown, "{:?} {:?}", names.keys, names.folders).unwrap(),
        Data::Services(services) => {
            for service in services {
                write!(shown, "{}[{}];", service.name, service.tags.join(",")).unwrap();
            }
        }
        Data::Service(instances) => {
            for instance in instances {
                write!(shown, "{}/{}@{};", instance.name, instance.id, instance.endpoint()).unwrap();
            }
        }
        Data::Nodes(_) => unreachable!("etcd has none"),
    }
    shown
}

pub(crate) fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

pub(crate) fn key(text: &str) -> Query {
    Query::Key(path(text))
}

pub(crate) fn prefix(text: &str) -> Query {
    Query::Prefix(path(text))
}

fn numbered(serial: u64, queries: impl IntoIterator<Item = Query>) -> Wanted {
    Arc::new(queries.into_iter().map(|query| (query, serial)).collect())
}
