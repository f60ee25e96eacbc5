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

/// What one transaction over `/a` to `/d` becomes when its four frames come to a proxy that does `what` with
/// the frames that are left and the next answer about progress: the publications that show it.
async fn publications_of_a_transaction(
    version: Option<&str>,
    mut what: impl FnMut(&mut Vec<WatchResponse>, WatchResponse) -> Vec<WatchResponse> + Send + 'static,
) -> (Vec<usize>, Duration) {
    let scene = Scene::start();
    if let Some(version) = version {
        scene.proxy.claim_version(version);
    }
    let follower = Follower::start(config(&scene.proxy.endpoint), ["a", "b", "c", "d"].map(key));
    follower.expect(&key("d"), "absent").await;
    let mut held = Vec::new();
    let mut begun = false;
    scene.proxy.tamper(move |response| {
        if response.events.is_empty() {
            return what(&mut held, response);
        }
        if std::mem::replace(&mut begun, true) {
            held.insert(0, response);
            return Vec::new();
        }
        vec![response]
    });
    let before = follower.record.publications(0).len();
    let begun = tokio::time::Instant::now();
    scene.client.transaction(["/a", "/b", "/c", "/d"].map(|key| Operation::Put(put(key, "1")))).await;
    for name in ["a", "b", "c", "d"] {
        follower.expect(&key(name), "1").await;
    }
    let sizes = follower.record.publications(before).iter().map(std::collections::BTreeMap::len).collect();
    (sizes, begun.elapsed())
}

#[tokio::test]
async fn an_answer_that_overtakes_a_transaction_does_not_tear_it() {
    // Each answer of a server that does not order them overtakes one frame more.
    let overtake = |held: &mut Vec<WatchResponse>, answer| [Some(answer), held.pop()].into_iter().flatten().collect();
    let (sizes, took) = publications_of_a_transaction(None, overtake).await;
    assert_eq!(sizes, [4], "one publication");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_while_a_watch_lags_is_asked_again() {
    let mut answers = 0;
    let (sizes, took) = publications_of_a_transaction(Some("3.5.9"), move |held, answer| {
        answers += 1;
        if answers < 4 { Vec::new() } else { held.drain(..).rev().chain([answer]).collect() }
    })
    .await;
    assert_eq!(sizes, [4], "one publication");
    assert!((Duration::from_millis(250)..Duration::from_secs(2)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_server_that_answers_no_question_about_progress_delays_little() {
    let scene = Scene::start();
    scene.proxy.claim_version("3.3.27");
    scene
        .proxy
        .tamper(|response| if response.created || !response.events.is_empty() { vec![response] } else { vec![] });
    let follower = Follower::start(config(&scene.proxy.endpoint), [prefix("p"), key("k")]);
    follower.expect(&key("k"), "absent").await;
    for round in 0..5 {
        let begun = tokio::time::Instant::now();
        scene.client.put("/k", &round.to_string()).await;
        follower.expect(&key("k"), &round.to_string()).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
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
async fn a_session_that_is_opened_anew_again_and_again_is_paused() {
    let scene = Scene::start();
    let follower = scene.follow().await;
    scene.proxy.tamper(|response| {
        let ended = WatchResponse {
            canceled: true,
            cancel_reason: "etcdserver: invalid auth token".to_owned(),
            events: Vec::new(),
            ..response.clone()
        };
        vec![if response.events.is_empty() { response } else { ended }]
    });
    let before = scene.server.calls("Watch");
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        scene.client.put("/p/a", "1").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sessions = scene.server.calls("Watch") - before;
    assert!((2..=9).contains(&sessions), "{sessions} sessions in 3 s");
    scene.proxy.tamper(|response| vec![response]);
    scene.client.put("/p/a", "2").await;
    follower.expect(&prefix("p"), "a(p/a)=2;").await;
    assert_eq!(follower.record.outages(), [""; 0]);
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
