//! What is read and followed while all is well.

use std::sync::Arc;
use std::time::Instant;

use liveconf::registry::{Data, Query};

use super::{follow, follow_with};
use crate::support::etcd::Etcd;
use crate::support::etcd_client::{delete_prefix, put, put_bytes};
use crate::support::follower::{key, path, prefix};
use crate::support::{SOON, poll_until};

#[test]
fn first_answers_changes_and_deletions() {
    let etcd = Etcd::start();
    let client = etcd.client();
    for (key, value) in [("/app/db/host", "h1"), ("/app/db", "d"), ("/app/db/port", "5432"), ("/apple/x", "no")] {
        client.put(key, value);
    }
    let exists = Query::Exists(path("app/db"));
    let missing = Query::Exists(path("ap"));
    let listing = Query::Listing(path("app"));
    let queries =
        [key("app/db"), key("none"), prefix("app"), prefix("none"), exists.clone(), missing.clone(), listing.clone()];
    let follower = follow(&etcd, queries);

    follower.expect(&prefix("app"), "db(app/db)=d;db/host(app/db/host)=h1;db/port(app/db/port)=5432;");
    let first = follower.publications(0);
    assert_eq!(first.len(), 1, "all first answers are one publication");
    for (query, expected) in [
        (key("app/db"), "d"),
        (key("none"), "absent"),
        (prefix("none"), ""),
        (exists.clone(), "true"),
        (missing.clone(), "false"),
        (listing.clone(), r#"["db"] ["db"]"#),
    ] {
        assert_eq!(first[0][&query], expected, "{query}");
    }

    client.put("/app/db/host", "h2");
    follower.expect(&prefix("app"), "db(app/db)=d;db/host(app/db/host)=h2;db/port(app/db/port)=5432;");
    client.put("/none", "now");
    follower.expect(&key("none"), "now");
    client.delete("/none");
    follower.expect(&key("none"), "absent");
    client.delete("/app/db");
    follower.expect(&key("app/db"), "absent");
    follower.expect(&exists, "true");
    client.txn(vec![delete_prefix("/app/")]);
    follower.expect(&prefix("app"), "");
    follower.expect(&exists, "false");
    follower.expect(&listing, "[] []");
    follower.assert_no_outage();
}

#[test]
fn a_heartbeat_that_writes_the_same_is_no_publication() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/app/a", "1");
    let follower = follow(&etcd, [prefix("app")]);
    follower.expect(&prefix("app"), "a(app/a)=1;");
    for _ in 0..5 {
        client.put("/app/a", "1");
    }
    client.put("/app/a", "2");
    follower.expect(&prefix("app"), "a(app/a)=2;");
    assert_eq!(follower.publications(1).len(), 1);
}

#[test]
fn queries_come_and_go_on_one_stream() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/a", "1");
    let follower = follow(&etcd, [key("a")]);
    follower.expect(&key("a"), "1");

    follower.want([key("a"), key("b"), prefix("p")]);
    follower.expect(&key("b"), "absent");
    follower.expect(&prefix("p"), "");
    client.put("/b", "1");
    follower.expect(&key("b"), "1");

    follower.want([key("b")]);
    client.put("/b", "2");
    follower.expect(&key("b"), "2");
    let before = follower.published();
    client.put("/a", "2");
    client.put("/p/x", "2");
    client.put("/b", "3");
    follower.expect(&key("b"), "3");
    assert_eq!(follower.publications(before).len(), 1, "what is not wanted is not published");
    assert_eq!(follower.shown(&key("a")), "1");

    follower.want([]);
    follower.want([key("a")]);
    follower.expect(&key("a"), "2");
    follower.assert_no_outage();
    assert!(etcd.calls(0, "Watch") <= 2, "a stream for each time that something is wanted");
}

#[test]
fn a_query_that_was_dropped_and_is_wanted_again_is_read_and_answered_again() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/a", "1");
    let follower = follow(&etcd, [key("a"), prefix("p")]);
    follower.expect(&key("a"), "1");
    let reads = etcd.calls(0, "Range");
    for serial in 1..4 {
        let before = follower.published();
        follower.want_as(serial, [key("a")]);
        follower.wait_for("published", |seen| (seen.publications.len() > before).then_some(()));
        assert_eq!(follower.publications(before), [[(key("a"), "1".to_owned())].into()]);
    }
    // A query of its own is answered from what is held already, whoever asked for it first.
    let listing = Query::Listing(path("p"));
    let before = follower.published();
    follower.want_as(4, [key("a"), prefix("p")]);
    let again = follower.wait_for("published", |seen| seen.publications.get(before).map(Vec::len));
    assert_eq!(again, 2);
    let reads = reads..etcd.calls(0, "Range");
    follower.want_as(4, [key("a"), prefix("p"), listing.clone()]);
    follower.expect(&listing, "[] []");
    client.put("/a", "2");
    follower.expect(&key("a"), "2");
    assert_eq!(
        (reads.end - reads.start, etcd.calls(0, "Range")),
        (5, reads.end),
        "`/a` each time, and `/p/`, when that is new"
    );
    follower.assert_no_outage();
}

#[test]
fn keys_that_are_no_paths_are_left_out() {
    let etcd = Etcd::start();
    let client = etcd.client();
    for key in ["/app//x", "/app/", "/app/a\n", "/app/good", "//app/x", "/app/../x"] {
        client.put(key, "v");
    }
    client.txn(vec![put_bytes(b"/app/\xff", b"\xff\x00"), put("/bin", b"\xff\x00")]);
    let root = Query::Listing(path(""));
    let follower = follow(&etcd, [prefix("app"), root.clone(), key("bin"), key("")]);
    follower.expect(&prefix("app"), "good(app/good)=v;");
    follower.expect(&root, r#"["bin"] ["app"]"#);
    follower.expect(&key("bin"), r"\xff\x00");
    follower.expect(&key(""), "absent");
}

#[test]
fn a_prefix_of_the_registry_stands_before_every_path() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/config/app/x", "slash");
    client.put("app/x", "bare");
    for (before, expected) in [("/config", "slash"), ("", "bare"), ("/", "absent")] {
        let settings = format!("prefix: '{before}'");
        let follower = follow_with(&etcd, &settings, [key("app/x"), Query::Listing(path(""))]);
        follower.expect(&key("app/x"), expected);
    }
}

#[test]
fn large_readings_are_paged() {
    let etcd = Etcd::start();
    let client = etcd.client();
    for page in 0..250 {
        client.txn((0..100).map(|number| put(&format!("/many/{page:03}{number:02}"), "value")).collect());
    }
    // More than one question may be answered with by default.
    let large = "x".repeat(1 << 20);
    for number in 0..80 {
        client.put(&format!("/large/{number:02}"), &large);
    }
    let follower = follow(&etcd, [prefix("many"), prefix("large")]);
    let entries = |name: &str| match follower.answer(&prefix(name)) {
        Data::Prefix(entries) => entries,
        other => panic!("{other:?}"),
    };
    for (name, size) in [("many", (25_000, 125_000)), ("large", (80, 80 << 20))] {
        let entries = entries(name);
        assert_eq!((entries.len(), entries.iter().map(|entry| entry.value.0.len()).sum::<usize>()), size);
    }

    // One change of many shares all the others with the answer before.
    let (before, published) = (entries("many"), follower.published());
    client.put("/many/10000", "other");
    follower.wait_for("published", |seen| (seen.publications.len() > published).then_some(()));
    let after = entries("many");
    assert_eq!(after[10_000].value.0, "other");
    let shared = before.iter().zip(&after).filter(|(old, new)| Arc::ptr_eq(old, new)).count();
    assert_eq!(shared, 24_999);
}

#[test]
fn a_change_causes_no_read() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let follower = follow(&etcd, [prefix("app"), key("other")]);
    follower.expect(&key("other"), "absent");
    let before = etcd.calls(0, "Range");
    let mut latencies = Vec::new();
    for round in 0..100 {
        let begun = Instant::now();
        client.put("/app/x", round.to_string());
        follower.expect(&prefix("app"), &format!("x(app/x)={round};"));
        latencies.push(begun.elapsed());
    }
    assert_eq!(etcd.calls(0, "Range"), before);
    latencies.sort();
    println!(
        "from the write's begin to the publication, two ranges: median {:?}, worst {:?}",
        latencies[50], latencies[99]
    );
    follower.want([prefix("app")]);
    latencies.clear();
    for round in 100..200 {
        let begun = Instant::now();
        client.put("/app/x", round.to_string());
        follower.expect(&prefix("app"), &format!("x(app/x)={round};"));
        latencies.push(begun.elapsed());
    }
    latencies.sort();
    println!(
        "from the write's begin to the publication, one range: median {:?}, worst {:?}",
        latencies[50], latencies[99]
    );
}

#[test]
fn audits_and_relists_find_nothing_while_all_is_well() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let clocks = "audit_interval: 50ms, relist_interval: 120ms, max_stream_age: 2s";
    let follower = follow_with(&etcd, clocks, [prefix("a"), prefix("b")]);
    follower.expect(&prefix("a"), "");
    let before = (etcd.calls(0, "Range"), etcd.calls(0, "Watch"));
    let begun = Instant::now();
    for round in 0..1500 {
        let name = format!("/{}/{}", if round % 2 == 0 { "a" } else { "b" }, round % 7);
        if round % 5 == 0 {
            client.delete(&name)
        } else {
            client.put(&name, round.to_string())
        };
    }
    client.txn(vec![delete_prefix("/a/")]);
    client.put("/a/end", "1");
    follower.expect(&prefix("a"), "end(a/end)=1;");
    poll_until(SOON, || {
        let is_renewed = etcd.calls(0, "Watch") > before.1;
        if is_renewed { Ok(()) } else { Err("the stream should be renewed for its age".into()) }
    });
    let streams = etcd.calls(0, "Watch") - before.1;
    assert!(streams <= begun.elapsed().as_secs() / 2 + 1, "and for nothing else: {streams} in {:?}", begun.elapsed());
    assert!(etcd.calls(0, "Range") - before.0 >= 20, "audits did run");
    follower.assert_no_outage();
}
