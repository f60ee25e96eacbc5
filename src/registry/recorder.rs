//! A watch that runs in a test, with all that it publishes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{Data, Feed, Publication, Query, Registry, Sink, Wanted};

/// Longer than any wait of a watch itself, so that only what never comes fails.
const SOON: Duration = Duration::from_secs(30);

/// What a watch did.
#[derive(Debug)]
enum Event {
    Publication(Publication),
    Outage(String),
}

/// A running watch. It ends with this.
pub(crate) struct Running {
    wanted: watch::Sender<Wanted>,
    events: mpsc::UnboundedReceiver<Event>,
    task: tokio::task::JoinHandle<()>,
}

struct Recorder(mpsc::UnboundedSender<Event>);

impl Sink for Recorder {
    fn publish(&self, _: &str, publication: Publication, _: &Wanted) {
        let _ = self.0.send(Event::Publication(publication));
    }

    fn recovered(&self, _: &str) {}
}

impl Running {
    /// Runs a watch of the registry, again after each outage as the driver does.
    pub(crate) fn new(registry: &dyn Registry, wanted: impl IntoIterator<Item = Query>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (wanted, receiver) = watch::channel(numbered(wanted));
        let mut feed = Feed::new("test".into(), receiver, Arc::new(Recorder(sender.clone())));
        let mut watch = registry.watch();
        let task = tokio::spawn(async move {
            loop {
                let outage = watch.run(&mut feed).await;
                let _ = sender.send(Event::Outage(outage.0));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { wanted, events, task }
    }

    /// Wants these queries and no others.
    pub(crate) fn want(&self, wanted: impl IntoIterator<Item = Query>) {
        self.wanted.send_replace(numbered(wanted));
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(SOON, self.events.recv()).await.expect("something happens").expect("the watch runs")
    }

    /// The next publication.
    pub(crate) async fn publication(&mut self) -> Publication {
        match self.next().await {
            Event::Publication(publication) => publication,
            Event::Outage(reason) => panic!("an outage: {reason}"),
        }
    }

    /// The next publication, or nothing if an outage comes first.
    pub(crate) async fn publication_or_outage(&mut self) -> Option<Publication> {
        match self.next().await {
            Event::Publication(publication) => Some(publication),
            Event::Outage(_) => None,
        }
    }

    /// The next publication, which answers one query.
    pub(crate) async fn answer(&mut self) -> Result<Data, String> {
        let mut publication = self.publication().await;
        assert_eq!(publication.len(), 1);
        publication.remove(0).result.map(|answer| answer.data).map_err(|error| error.reason)
    }

    /// The next publication, which answers one query for a key, as text.
    pub(crate) async fn text(&mut self) -> Option<String> {
        match self.answer().await.expect("an answer") {
            Data::Key(text) => text.map(|text| String::from_utf8(text.0.to_vec()).expect("UTF-8")),
            other => panic!("no key: {other:?}"),
        }
    }

    /// Why the watch came back.
    pub(crate) async fn outage(&mut self) -> String {
        match self.next().await {
            Event::Outage(reason) => reason,
            Event::Publication(publication) => panic!("a publication: {publication:?}"),
        }
    }

    /// Asserts that nothing happens for a while.
    pub(crate) async fn silence(&mut self, time: Duration) {
        if let Ok(event) = tokio::time::timeout(time, self.events.recv()).await {
            panic!("something happens: {event:?}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Wanted queries that keep their number as long as they are wanted under this recorder.
fn numbered(wanted: impl IntoIterator<Item = Query>) -> Wanted {
    Arc::new(wanted.into_iter().map(|query| (query, 0)).collect())
}
