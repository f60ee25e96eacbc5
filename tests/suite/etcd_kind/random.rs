//! Whatever is done to etcd and to the queries: in the end all is as it is read by somebody new.

use std::collections::BTreeSet;

use liveconf::registry::Query;
use rand::Rng;
use rand::rngs::StdRng;

use super::follow;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::{delete, delete_prefix, put};
use crate::support::follower::{key, path, prefix};
use crate::support::seed;

#[test]
fn a_thousand_random_changes_end_in_the_same_as_a_fresh_read() {
    let mut random = seed::random("a_thousand_random_changes_end_in_the_same_as_a_fresh_read");
    let etcd = Etcd::start();
    let client = etcd.client();
    let queries = [
        prefix("a"),
        prefix("a/b"),
        prefix("c"),
        key("a/b"),
        Query::Exists(path("c")),
        Query::Listing(path("a")),
        prefix(""),
    ];
    let mut follower = follow(&etcd, queries.clone());
    let mut leases = Vec::new();
    let name = |random: &mut StdRng| {
        const NAMES: [&str; 8] = ["/a/b", "/a/b/x", "/a/b/y", "/a/c", "/a-b", "/c", "/c/d", "/c/d/e"];
        format!("{}{}", NAMES[random.random_range(0..NAMES.len())], ["", "1", "2"][random.random_range(0..3)])
    };
    for round in 0..1000 {
        let value = round.to_string();
        match random.random_range(0..20) {
            0..10 => _ = client.put(&name(&mut random), &value),
            10..13 => _ = client.delete(&name(&mut random)),
            13..16 => {
                let names: BTreeSet<String> = (0..4).map(|_| name(&mut random)).collect();
                let operation = |(index, name): (usize, &String)| match index % 2 {
                    0 => put(name, &value),
                    _ => delete(name),
                };
                client.txn(names.iter().enumerate().map(operation).collect());
            }
            16 => {
                let folder = ["/a/b/", "/c/", "/a/"][random.random_range(0..3)];
                client.txn(vec![delete_prefix(folder)]);
            }
            17 => {
                let lease = client.lease(600);
                client.put_with_lease(&name(&mut random), &value, lease);
                leases.push(lease);
            }
            18 => {
                if let Some(lease) = leases.pop() {
                    client.revoke(lease);
                }
            }
            _ if round % 3 == 0 => {
                follower.pause();
                follower.resume();
            }
            _ => {
                let wanted: Vec<Query> = queries.iter().filter(|_| random.random_bool(0.7)).cloned().collect();
                follower.want(wanted);
            }
        }
    }
    follower.want(queries.clone());
    let fresh = follow(&etcd, queries.clone());
    for query in &queries {
        fresh.answer(query);
        follower.expect(query, &fresh.shown(query));
    }
    follower.assert_no_outage();
}
