//! Answers that belong to one state of etcd are published together.

use std::collections::BTreeMap;
use std::thread;

use liveconf::registry::Query;

use super::follow;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::follower::{key, prefix};

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
