//! What real servers do once in a blue moon, done by a proxy in front of a real one.

use std::time::Duration;

use liveconf::registry::etcd::{Clocks, Config};

use super::client::{Client, Operation, put};
use super::follower::{Follower, config, fast, key, prefix};
use super::proxy::{Proxy, WatchResponse};
use super::server::Server;

struct Scene {
    server: Server,
    client: Client,
    proxy: Proxy,
}

impl Scene {
    fn start() -> Self {
        let server = Server::start();
        let proxy = Proxy::start(&server.endpoint());
        Self { client: Client::new(&server.endpoint()), proxy, server }
    }

    /// Follows `/p/` and `/k` with an audit every 300 ms.
    async fn follow(&self) -> Follower {
        let config = Config { clocks: fast(), ..config(&self.proxy.endpoint) };
        let follower = Follower::start(config, [prefix("p"), key("k")]);
        follower.expect(&key("k"), "absent").await;
        follower
    }
}

/// Lets the first response through that is so tampered with, and all that follow as they are.
fn once(
    mut what: impl FnMut(&WatchResponse) -> Option<Vec<WatchResponse>>,
) -> impl FnMut(WatchResponse) -> Vec<WatchResponse> {
    let mut done = false;
    move |response| {
        if done {
            return vec![response];
        }
        match what(&response) {
            Some(instead) => {
                done = true;
                instead
            }
            None => vec![response],
        }
    }
}

#[tokio::test]
async fn a_change_that_the_watch_loses_is_found_by_an_audit() {
    let scene = Scene::start();
    scene.client.put("/p/a", "1").await;
    let follower = scene.follow().await;
    follower.expect(&prefix("p"), "a(p/a)=1;").await;

    scene.proxy.tamper(once(|response| (!response.events.is_empty()).then(Vec::new)));
    scene.client.put("/p/a", "lost").await;
    // What comes later must not hide it.
    scene.client.put("/p/b", "later").await;
    follower.expect(&prefix("p"), "a(p/a)=1;b(p/b)=later;").await;
    follower.expect(&prefix("p"), "a(p/a)=lost;b(p/b)=later;").await;

    scene.proxy.tamper(once(|response| (!response.events.is_empty()).then(Vec::new)));
    scene.client.delete("/p/a").await;
    follower.expect(&prefix("p"), "b(p/b)=later;").await;
    assert_eq!(follower.record.outages(), [""; 0]);
}

#[tokio::test]
async fn a_watch_that_ends_by_compaction_is_read_and_watched_again() {
    let scene = Scene::start();
    let follower = scene.follow().await;
    scene.client.put("/p/a", "1").await;
    follower.expect(&prefix("p"), "a(p/a)=1;").await;
    scene.proxy.tamper(once(|response| {
        let ended =
            WatchResponse { canceled: true, compact_revision: 3, events: Vec::new(), header: None, ..response.clone() };
        (!response.events.is_empty()).then(|| vec![ended])
    }));
    scene.client.put("/p/a", "2").await;
    follower.expect(&prefix("p"), "a(p/a)=2;").await;
    scene.client.put("/p/a", "3").await;
    follower.expect(&prefix("p"), "a(p/a)=3;").await;
    assert_eq!(scene.server.calls("Watch"), 1, "the stream stays");
}

#[tokio::test]
async fn fragments_are_one_change() {
    let scene = Scene::start();
    let follower = scene.follow().await;
    scene.proxy.tamper(|response| {
        let last = response.events.len();
        let part = |(index, event): (usize, &Vec<u8>)| WatchResponse {
            fragment: index + 1 < last,
            events: vec![event.clone()],
            ..response.clone()
        };
        if last < 2 { vec![response] } else { response.events.iter().enumerate().map(part).collect() }
    });
    let before = follower.record.publications(0).len();
    scene.client.transaction(["/p/a", "/p/b", "/p/c"].map(|key| Operation::Put(put(key, "1")))).await;
    follower.expect(&prefix("p"), "a(p/a)=1;b(p/b)=1;c(p/c)=1;").await;
    assert_eq!(follower.record.publications(before).len(), 1);
}

#[tokio::test]
async fn a_watch_that_is_refused_is_an_error_of_its_range() {
    let scene = Scene::start();
    let refuse = |response: WatchResponse| {
        let refused = WatchResponse {
            watch_id: -1,
            canceled: true,
            cancel_reason: "rpc error: code = PermissionDenied desc = etcdserver: permission denied".to_owned(),
            ..response.clone()
        };
        vec![if response.created { refused } else { response }]
    };
    // The first stream's first watch only; ranges are watched in their order, and `/k` is the first.
    scene.proxy.tamper(once(move |response| response.created.then(|| refuse(response.clone()))));
    let config = Config {
        clocks: Clocks { denied_interval: Duration::from_secs(1), ..fast() },
        ..config(&scene.proxy.endpoint)
    };
    let follower = Follower::start(config, [prefix("p"), key("k")]);
    follower.expect(&key("k"), "error: permission denied: key `/k` may not be read without a user").await;
    follower.expect(&prefix("p"), "").await;
    scene.client.put("/p/a", "1").await;
    follower.expect(&prefix("p"), "a(p/a)=1;").await;
    follower.expect(&key("k"), "absent").await;
    scene.client.put("/k", "1").await;
    follower.expect(&key("k"), "1").await;
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_given_up() {
    let scene = Scene::start();
    let follower = scene.follow().await;
    scene.proxy.tamper(|_| Vec::new());
    follower.outage("no sign of life on the watch stream within 900ms").await;
    scene.proxy.tamper(|response| vec![response]);
    scene.client.put("/k", "1").await;
    follower.expect(&key("k"), "1").await;
}

#[tokio::test]
async fn connections_that_lead_to_different_clusters_are_an_outage() {
    let scene = Scene::start();
    scene.proxy.tamper(|mut response| {
        if let Some(header) = &mut response.header {
            header.cluster_id += 1;
        }
        vec![response]
    });
    let follower = Follower::start(config(&scene.proxy.endpoint), [key("k")]);
    follower.outage("different clusters").await;
    assert_eq!(follower.record.shown(&key("k")), "unanswered");
}
