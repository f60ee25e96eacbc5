//! Answers that belong to one state of etcd are published together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use liveconf::registry::Query;

use super::follow;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::follower::{key, prefix};
use crate::support::{SOON, poll_until};

#[test]
fn one_transaction_over_several_ranges_is_one_publication() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let queries = [prefix("a"), prefix("b"), key("c"), prefix("unrelated")];
    let follower = follow(&etcd, queries);
    follower.expect(&key("c"), "absent");
    let before = follower.published();
    for round in 0..200 {
        let stamp = round.to_string();
        client.txn(["/a/x", "/b/x", "/c"].map(|key| put(key, &stamp)).into());
        if round % 3 == 0 {
            follower.expect(&key("c"), &stamp);
        }
    }
    follower.expect(&key("c"), "199");
    let publications = follower.publications(before);
    let whole = |publication: &BTreeMap<Query, String>| {
        let stamp = publication.get(&key("c"))?;
        let same = publication.get(&prefix("a"))? == &format!("x(a/x)={stamp};")
            && publication.get(&prefix("b"))? == &format!("x(b/x)={stamp};");
        same.then_some(())
    };
    let torn: Vec<_> = publications.iter().filter(|publication| whole(publication).is_none()).collect();
    assert!(torn.is_empty(), "{} of {} publications: {torn:?}", torn.len(), publications.len());
}

#[test]
fn a_query_that_is_added_stands_at_one_revision_with_the_others() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let follower = follow(&etcd, [key("a")]);
    follower.expect(&key("a"), "absent");
    let writer = thread::spawn(move || {
        for stamp in 0..400 {
            let stamp = stamp.to_string();
            client.txn(["/a", "/b", "/c", "/d"].map(|key| put(key, &stamp)).into());
        }
    });
    let mut wanted = vec![key("a")];
    for name in ["b", "c", "d"] {
        wanted.push(key(name));
        follower.want(wanted.clone());
        follower.answer(&key(name));
    }
    writer.join().unwrap();
    follower.expect(&key("d"), "399");
    let mut view: BTreeMap<Query, String> = BTreeMap::new();
    for (number, publication) in follower.publications(0).into_iter().enumerate() {
        view.extend(publication);
        let stamps: Vec<&String> = view.values().collect();
        assert!(stamps.windows(2).all(|pair| pair[0] == pair[1]), "publication {number}: {view:?}");
    }
}

/// What a watch gives that was created a moment before waits until that has caught up, and for no fixed time.
#[test]
fn prefixes_that_are_added_under_writes_show_no_transaction_in_parts() {
    let questions = if std::env::var("LIVECONF_FAULTS").is_ok_and(|run| run == "full") { 100 } else { 12 };
    let names: Vec<String> = (0..questions).map(|number| format!("p{number:03}")).collect();
    let etcd = Etcd::start();
    let client = etcd.client();
    let follower = follow(&etcd, [prefix("a")]);
    follower.answer(&prefix("a"));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (names, stop) = (names.clone(), stop.clone());
        move || {
            let mut stamp = 0;
            while !stop.load(Ordering::Relaxed) {
                stamp += 1;
                let keys = std::iter::once("/a/x".to_owned()).chain(names.iter().map(|name| format!("/{name}/x")));
                client.txn(keys.map(|key| put(&key, stamp.to_string())).collect());
            }
            stamp
        }
    });
    let stamp = |shown: &str| shown.rsplit('=').next().unwrap_or_default().to_owned();
    poll_until(
        SOON,
        || if stamp(&follower.shown(&prefix("a"))).is_empty() { Err("nothing".to_owned()) } else { Ok(()) },
    );
    let mut waited: Vec<Duration> = Vec::new();
    for name in &names {
        follower.want([prefix("a"), prefix(name)]);
        follower.answer(&prefix(name));
        let first = follower.shown(&prefix(name));
        let since = Instant::now();
        follower.wait_for("a change by the watch", |seen| (seen.shown(&prefix(name)) != first).then_some(()));
        waited.push(since.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().unwrap();
    let last = prefix(&names[questions - 1]);
    poll_until(SOON, || match stamp(&follower.shown(&last)) {
        shown if shown.trim_end_matches(';') == written.to_string() => Ok(()),
        shown => Err(format!("{shown} of {written}")),
    });
    waited.sort();
    // What is published of the first and of the other one, which is the newest. Between two others there may be none.
    let mut torn = 0;
    let (mut of_first, mut other) = (String::new(), None);
    let publications = follower.publications(0);
    let count = publications.len();
    for (index, publication) in publications.iter().enumerate() {
        for (query, shown) in publication {
            if *query == prefix("a") {
                of_first = stamp(shown);
            } else {
                other = Some((query, stamp(shown)));
            }
        }
        let next = publications[index + 1..].iter().flat_map(BTreeMap::keys).find(|query| **query != prefix("a"));
        let is_dropped = |query: &Query| next.is_some_and(|next| next != query);
        torn +=
            usize::from(other.as_ref().is_some_and(|(query, of_other)| *of_other != of_first && !is_dropped(query)));
    }
    println!(
        "{questions} questions, {written} transactions, {count} publications, {torn} torn; the first change came after {:?} \
         (median), {:?} (longest)",
        waited[questions / 2],
        waited[questions - 1]
    );
    assert_eq!(torn, 0);
    // Nobody waited for what is waited where nothing can tell.
    assert!(waited[questions / 2] < Duration::from_millis(450), "{waited:?}");
}
