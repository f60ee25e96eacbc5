//! What real servers do once in a blue moon, done by a proxy in front of a real one.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::{FAST, follow_at};
use crate::support::etcd::Etcd;
use crate::support::etcd_client::{Client, put};
use crate::support::etcd_proxy::{Proxy, WatchResponse};
use crate::support::follower::{Follower, key, prefix};

/// Less than any clock that would mend what should not be broken, and long enough for a busy machine.
const SHORT: Duration = Duration::from_secs(5);

struct Scene {
    etcd: Etcd,
    client: Client,
    proxy: Proxy,
}

impl Scene {
    fn start() -> Self {
        let etcd = Etcd::start();
        let proxy = Proxy::start(&etcd.endpoints()[0]);
        Self { client: etcd.client(), proxy, etcd }
    }

    /// Follows `/p/` and `/k` with an audit every 300 ms.
    fn follow(&self) -> Follower {
        let follower = follow_at(&self.proxy.endpoint, FAST, [prefix("p"), key("k")]);
        follower.expect(&key("k"), "absent");
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

#[test]
fn a_change_that_the_watch_loses_is_found_by_an_audit() {
    let scene = Scene::start();
    scene.client.put("/p/a", "1");
    let follower = scene.follow();
    follower.expect(&prefix("p"), "a(p/a)=1;");

    scene.proxy.tamper(once(|response| (!response.events.is_empty()).then(Vec::new)));
    scene.client.put("/p/a", "lost");
    // What comes later must not hide it.
    scene.client.put("/p/b", "later");
    follower.expect(&prefix("p"), "a(p/a)=1;b(p/b)=later;");
    follower.expect(&prefix("p"), "a(p/a)=lost;b(p/b)=later;");

    scene.proxy.tamper(once(|response| (!response.events.is_empty()).then(Vec::new)));
    scene.client.delete("/p/a");
    follower.expect(&prefix("p"), "b(p/b)=later;");
    follower.assert_no_outage();
}

#[test]
fn a_watch_that_ends_by_compaction_is_read_and_watched_again() {
    let scene = Scene::start();
    let follower = scene.follow();
    scene.client.put("/p/a", "1");
    follower.expect(&prefix("p"), "a(p/a)=1;");
    scene.proxy.tamper(once(|response| {
        let ended =
            WatchResponse { canceled: true, compact_revision: 3, events: Vec::new(), header: None, ..response.clone() };
        (!response.events.is_empty()).then(|| vec![ended])
    }));
    scene.client.put("/p/a", "2");
    follower.expect(&prefix("p"), "a(p/a)=2;");
    scene.client.put("/p/a", "3");
    follower.expect(&prefix("p"), "a(p/a)=3;");
    assert_eq!(scene.etcd.calls(0, "Watch"), 1, "the stream stays");
}

#[test]
fn fragments_are_one_change() {
    let scene = Scene::start();
    let follower = scene.follow();
    scene.proxy.tamper(|response| {
        let last = response.events.len();
        let part = |(index, event): (usize, &Vec<u8>)| WatchResponse {
            fragment: index + 1 < last,
            events: vec![event.clone()],
            ..response.clone()
        };
        if last < 2 { vec![response] } else { response.events.iter().enumerate().map(part).collect() }
    });
    let before = follower.published();
    scene.client.txn(["/p/a", "/p/b", "/p/c"].map(|key| put(key, "1")).into());
    follower.expect(&prefix("p"), "a(p/a)=1;b(p/b)=1;c(p/c)=1;");
    assert_eq!(follower.publications(before).len(), 1);
}

/// What one transaction over `/a` to `/d` becomes when its four frames come to a proxy that does `what` with
/// the frames that are left and the next answer about progress: the publications that show it.
fn publications_of_a_transaction(
    version: Option<&str>,
    mut what: impl FnMut(&mut Vec<WatchResponse>, WatchResponse) -> Vec<WatchResponse> + Send + 'static,
) -> (Vec<usize>, Duration) {
    let scene = Scene::start();
    if let Some(version) = version {
        scene.proxy.claim_version(version);
    }
    let follower = follow_at(&scene.proxy.endpoint, "", ["a", "b", "c", "d"].map(key));
    follower.expect(&key("d"), "absent");
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
    let before = follower.published();
    let begun = Instant::now();
    scene.client.txn(["/a", "/b", "/c", "/d"].map(|key| put(key, "1")).into());
    for name in ["a", "b", "c", "d"] {
        follower.expect(&key(name), "1");
    }
    let sizes = follower.publications(before).iter().map(BTreeMap::len).collect();
    (sizes, begun.elapsed())
}

#[test]
fn an_answer_that_overtakes_a_transaction_does_not_tear_it() {
    // Each answer of a etcd that does not order them overtakes one frame more.
    let overtake = |held: &mut Vec<WatchResponse>, answer| [Some(answer), held.pop()].into_iter().flatten().collect();
    let (sizes, took) = publications_of_a_transaction(None, overtake);
    assert_eq!(sizes, [4], "one publication");
    assert!(took < SHORT, "{took:?}");
}

#[test]
fn a_server_that_does_not_answer_while_a_watch_lags_is_asked_again() {
    let mut answers = 0;
    let (sizes, took) = publications_of_a_transaction(Some("3.5.9"), move |held, answer| {
        answers += 1;
        if answers < 4 { Vec::new() } else { held.drain(..).rev().chain([answer]).collect() }
    });
    assert_eq!(sizes, [4], "one publication");
    assert!((Duration::from_millis(250)..SHORT).contains(&took), "{took:?}");
}

#[test]
fn a_server_that_answers_no_question_about_progress_delays_little() {
    let scene = Scene::start();
    scene.proxy.claim_version("3.3.27");
    scene
        .proxy
        .tamper(|response| if response.created || !response.events.is_empty() { vec![response] } else { vec![] });
    let follower = follow_at(&scene.proxy.endpoint, "", [prefix("p"), key("k")]);
    follower.expect(&key("k"), "absent");
    for round in 0..5 {
        let begun = Instant::now();
        scene.client.put("/k", round.to_string());
        follower.expect(&key("k"), &round.to_string());
        assert!(begun.elapsed() < SHORT, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_watch_that_is_refused_is_an_error_of_its_range() {
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
    let follower = follow_at(&scene.proxy.endpoint, "denied_interval: 1s", [prefix("p"), key("k")]);
    follower.expect(&key("k"), "error: permission denied: key `/k` may not be read without a user");
    follower.expect(&prefix("p"), "");
    scene.client.put("/p/a", "1");
    follower.expect(&prefix("p"), "a(p/a)=1;");
    follower.expect(&key("k"), "absent");
    scene.client.put("/k", "1");
    follower.expect(&key("k"), "1");
}

#[test]
fn a_session_that_is_opened_anew_again_and_again_is_paused() {
    let scene = Scene::start();
    let follower = scene.follow();
    scene.proxy.tamper(|response| {
        let ended = WatchResponse {
            canceled: true,
            cancel_reason: "etcdserver: invalid auth token".to_owned(),
            events: Vec::new(),
            ..response.clone()
        };
        vec![if response.events.is_empty() { response } else { ended }]
    });
    let before = scene.etcd.calls(0, "Watch");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        scene.client.put("/p/a", "1");
        thread::sleep(Duration::from_millis(5));
    }
    let sessions = scene.etcd.calls(0, "Watch") - before;
    let most = 3 * (begun.elapsed().as_secs() + 1);
    assert!((2..=most).contains(&sessions), "{sessions} sessions in {:?}", begun.elapsed());
    scene.proxy.tamper(|response| vec![response]);
    scene.client.put("/p/a", "2");
    follower.expect(&prefix("p"), "a(p/a)=2;");
    follower.assert_no_outage();
}

#[test]
fn a_stream_that_says_nothing_is_given_up() {
    let scene = Scene::start();
    let follower = scene.follow();
    scene.proxy.tamper(|_| Vec::new());
    follower.outage("no sign of life on the watch stream within 900ms");
    scene.proxy.tamper(|response| vec![response]);
    scene.client.put("/k", "1");
    follower.expect(&key("k"), "1");
}

#[test]
fn connections_that_lead_to_different_clusters_are_an_outage() {
    let scene = Scene::start();
    scene.proxy.tamper(|mut response| {
        if let Some(header) = &mut response.header {
            header.cluster_id += 1;
        }
        vec![response]
    });
    let follower = follow_at(&scene.proxy.endpoint, "", [key("k")]);
    follower.outage("different clusters");
    assert_eq!(follower.shown(&key("k")), "unanswered");
}
