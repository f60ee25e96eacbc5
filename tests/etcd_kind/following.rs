//! What is read and followed while all is well.

use std::collections::BTreeMap;
use std::time::Duration;

use liveconf::registry::etcd::{Clocks, Config, Format, Services};
use liveconf::registry::{Data, Query, ServiceQuery, StatusFilter};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::client::{Client, Operation, delete, delete_below, put};
use super::follower::{Follower, config, fast, key, path, prefix};
use super::server::Server;

#[tokio::test]
async fn first_answers_changes_and_deletions() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    for (key, value) in [("/app/db/host", "h1"), ("/app/db", "d"), ("/app/db/port", "5432"), ("/apple/x", "no")] {
        client.put(key, value).await;
    }
    let exists = Query::Exists(path("app/db"));
    let missing = Query::Exists(path("ap"));
    let listing = Query::Listing(path("app"));
    let queries =
        [key("app/db"), key("none"), prefix("app"), prefix("none"), exists.clone(), missing.clone(), listing.clone()];
    let follower = Follower::start(config(&server.endpoint()), queries);

    follower.expect(&prefix("app"), "db(app/db)=d;db/host(app/db/host)=h1;db/port(app/db/port)=5432;").await;
    let first = follower.record.publications(0);
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

    client.put("/app/db/host", "h2").await;
    follower.expect(&prefix("app"), "db(app/db)=d;db/host(app/db/host)=h2;db/port(app/db/port)=5432;").await;
    client.put("/none", "now").await;
    follower.expect(&key("none"), "now").await;
    client.delete("/none").await;
    follower.expect(&key("none"), "absent").await;
    client.delete("/app/db").await;
    follower.expect(&key("app/db"), "absent").await;
    follower.expect(&exists, "true").await;
    client.delete_below("/app/").await;
    follower.expect(&prefix("app"), "").await;
    follower.expect(&exists, "false").await;
    follower.expect(&listing, "[] []").await;
    assert_eq!(follower.record.outages(), [""; 0]);
}

#[tokio::test]
async fn a_heartbeat_that_writes_the_same_is_no_publication() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    client.put("/app/a", "1").await;
    let follower = Follower::start(config(&server.endpoint()), [prefix("app")]);
    follower.expect(&prefix("app"), "a(app/a)=1;").await;
    for _ in 0..5 {
        client.put("/app/a", "1").await;
    }
    client.put("/app/a", "2").await;
    follower.expect(&prefix("app"), "a(app/a)=2;").await;
    assert_eq!(follower.record.publications(1).len(), 1);
}

#[tokio::test]
async fn one_transaction_over_several_ranges_is_one_publication() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    let queries = [prefix("a"), prefix("b"), key("c"), prefix("unrelated")];
    let follower = Follower::start(config(&server.endpoint()), queries);
    follower.expect(&key("c"), "absent").await;
    let before = follower.record.publications(0).len();
    for round in 0..200 {
        let stamp = round.to_string();
        client.transaction(["/a/x", "/b/x", "/c"].map(|key| Operation::Put(put(key, &stamp)))).await;
        if round % 3 == 0 {
            follower.expect(&key("c"), &stamp).await;
        }
    }
    follower.expect(&key("c"), "199").await;
    let publications = follower.record.publications(before);
    let whole = |publication: &BTreeMap<Query, String>| {
        let stamp = publication.get(&key("c"))?;
        let same = publication.get(&prefix("a"))? == &format!("x(a/x)={stamp};")
            && publication.get(&prefix("b"))? == &format!("x(b/x)={stamp};");
        same.then_some(())
    };
    let torn: Vec<_> = publications.iter().filter(|publication| whole(publication).is_none()).collect();
    assert!(torn.is_empty(), "{} of {} publications: {torn:?}", torn.len(), publications.len());
}

#[tokio::test]
async fn queries_come_and_go_on_one_stream() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    client.put("/a", "1").await;
    let follower = Follower::start(config(&server.endpoint()), [key("a")]);
    follower.expect(&key("a"), "1").await;

    follower.want([key("a"), key("b"), prefix("p")]);
    follower.expect(&key("b"), "absent").await;
    follower.expect(&prefix("p"), "").await;
    client.put("/b", "1").await;
    follower.expect(&key("b"), "1").await;

    follower.want([key("b")]);
    client.put("/b", "2").await;
    follower.expect(&key("b"), "2").await;
    let before = follower.record.publications(0).len();
    client.put("/a", "2").await;
    client.put("/p/x", "2").await;
    client.put("/b", "3").await;
    follower.expect(&key("b"), "3").await;
    assert_eq!(follower.record.publications(before).len(), 1, "what is not wanted is not published");
    assert_eq!(follower.record.shown(&key("a")), "1");

    follower.want([]);
    follower.want([key("a")]);
    follower.expect(&key("a"), "2").await;
    assert_eq!(follower.record.outages(), [""; 0]);
    assert!(server.calls("Watch") <= 2, "a stream for each time that something is wanted");
}

#[tokio::test]
async fn a_query_that_was_dropped_and_is_wanted_again_is_answered_again() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    client.put("/a", "1").await;
    let follower = Follower::start(config(&server.endpoint()), [key("a"), prefix("p")]);
    follower.expect(&key("a"), "1").await;
    let reads = server.calls("Range");
    for serial in 1..4 {
        let before = follower.record.publications(0).len();
        follower.want_as(serial, [key("a")]);
        let again = follower.wait_for(|record| record.publications(before).pop()).await;
        assert_eq!(again, Some([(key("a"), "1".to_owned())].into()));
    }
    // The data of a query is held already, whoever asked for it first.
    let listing = Query::Listing(path("p"));
    let before = follower.record.publications(0).len();
    follower.want_as(4, [key("a"), prefix("p")]);
    let again = follower.wait_for(|record| record.publications(before).pop()).await;
    assert_eq!(again.map(|publication| publication.len()), Some(2));
    let reads = reads..server.calls("Range");
    follower.want_as(4, [key("a"), prefix("p"), listing.clone()]);
    follower.expect(&listing, "[] []").await;
    client.put("/a", "2").await;
    follower.expect(&key("a"), "2").await;
    assert_eq!((reads.end - reads.start, server.calls("Range")), (2, reads.end), "`/a` and `/p/`, when that is new");
    assert_eq!(follower.record.outages(), [""; 0]);
}

#[tokio::test]
async fn a_query_that_is_added_stands_at_one_revision_with_the_others() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    let follower = Follower::start(config(&server.endpoint()), [key("a")]);
    follower.expect(&key("a"), "absent").await;
    let writer = {
        let client = client.clone();
        tokio::spawn(async move {
            for stamp in 0..400 {
                let stamp = stamp.to_string();
                client.transaction(["/a", "/b", "/c", "/d"].map(|key| Operation::Put(put(key, &stamp)))).await;
            }
        })
    };
    let mut wanted = vec![key("a")];
    for name in ["b", "c", "d"] {
        wanted.push(key(name));
        follower.want(wanted.clone());
        let answered = follower.wait_for(|record| record.answer(&key(name))).await;
        assert!(answered.is_some());
    }
    writer.await.unwrap();
    follower.expect(&key("d"), "399").await;
    let mut view: BTreeMap<Query, String> = BTreeMap::new();
    for (number, publication) in follower.record.publications(0).into_iter().enumerate() {
        view.extend(publication);
        let stamps: Vec<&String> = view.values().collect();
        assert!(stamps.windows(2).all(|pair| pair[0] == pair[1]), "publication {number}: {view:?}");
    }
}

#[tokio::test]
async fn services_of_every_format() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    for (key, value) in [
        ("/services/web/1", r#"{"host":"10.0.0.1","port":80,"tags":["blue"]}"#),
        ("/services/web/2", "10.0.0.2:80"),
        ("/services/web/3", r#"{"address":"10.0.0.3","status":"critical"}"#),
        ("/services/web/broken", "hunter2"),
        ("/services/web/deep/4", "10.0.0.4:80"),
        ("/services/db/1", "[::1]:5432"),
        ("/services/webapp/1", "10.0.0.9:80"),
        ("/skydns/local/skydns/web/a", r#"{"host":"10.1.0.1","port":80,"priority":10,"weight":5,"ttl":60}"#),
        ("/skydns/local/skydns/web/east/b", r#"{"host":"10.1.0.2","port":80}"#),
        ("/skydns/local/skydns/db", r#"{"host":"10.1.0.3"}"#),
        ("/skydns/local/skydns/website/a", r#"{"host":"10.1.0.9"}"#),
    ] {
        client.put(key, value).await;
    }
    let web = Query::Service(ServiceQuery::passing("web"));
    let blue = Query::Service(ServiceQuery { tags: ["blue".into()].into(), ..ServiceQuery::passing("web") });
    let any = Query::Service(ServiceQuery { status: StatusFilter::All, ..ServiceQuery::passing("web") });
    let db = Query::Service(ServiceQuery::passing("db"));
    let all = Query::Services { tag: None };
    let tagged = Query::Services { tag: Some("blue".into()) };
    let follower = Follower::start(
        config(&server.endpoint()),
        [web.clone(), blue.clone(), any.clone(), db.clone(), all.clone(), tagged.clone()],
    );
    follower.expect(&web, "web/1@10.0.0.1:80;web/2@10.0.0.2:80;").await;
    follower.expect(&blue, "web/1@10.0.0.1:80;").await;
    follower.expect(&any, "web/1@10.0.0.1:80;web/2@10.0.0.2:80;web/3@10.0.0.3;").await;
    follower.expect(&db, "db/1@[::1]:5432;").await;
    follower.expect(&all, "db[];web[blue];webapp[];").await;
    follower.expect(&tagged, "web[blue];").await;

    let lease = client.lease(1).await;
    client.put_with_lease("/services/web/9", "10.0.0.9:80", lease).await;
    follower.expect(&web, "web/1@10.0.0.1:80;web/2@10.0.0.2:80;web/9@10.0.0.9:80;").await;
    follower.expect(&web, "web/1@10.0.0.1:80;web/2@10.0.0.2:80;").await;

    let services = |folder: &str, format, strict| Config {
        services: Services { folder: path(folder), format, strict },
        ..config(&server.endpoint())
    };
    let strict = Follower::start(services("services", Format::Auto, true), [web.clone(), db.clone()]);
    strict.expect(&db, "db/1@[::1]:5432;").await;
    let error = strict.record.shown(&web);
    assert!(error.starts_with("error: `/services/web/broken`") && !error.contains("hunter2"), "{error}");

    let name = |name: &str| Query::Service(ServiceQuery::passing(name));
    let skydns = Follower::start(
        services("skydns", Format::SkyDns, false),
        [name("web.skydns.local"), name("db.skydns.local."), all.clone()],
    );
    skydns
        .expect(&name("web.skydns.local"), "web.skydns.local/a@10.1.0.1:80;east.web.skydns.local/b@10.1.0.2:80;")
        .await;
    skydns.expect(&name("db.skydns.local."), "skydns.local/db@10.1.0.3;").await;
    skydns.expect(&all, "east.web.skydns.local[];skydns.local[];web.skydns.local[];website.skydns.local[];").await;
    let Some(Data::Service(instances)) = skydns.record.answer(&name("web.skydns.local")).map(|answer| answer.data)
    else {
        panic!("no instances")
    };
    assert_eq!((instances[0].weight, instances[0].meta["priority"].as_str()), (5, "10"));
    assert_eq!(instances[0].meta["ttl"], "60");
}

#[tokio::test]
async fn keys_that_are_no_paths_are_left_out() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    for key in ["/app//x", "/app/", "/app/a\n", "/app/good", "//app/x", "/app/../x"] {
        client.put(key, "v").await;
    }
    let raw = Operation::Put(super::client::Put { key: b"/app/\xff".to_vec(), value: b"\xff\x00".to_vec(), lease: 0 });
    client.transaction([raw]).await;
    let binary = Operation::Put(super::client::Put { key: b"/bin".to_vec(), value: b"\xff\x00".to_vec(), lease: 0 });
    client.transaction([binary]).await;
    let root = Query::Listing(path(""));
    let follower = Follower::start(config(&server.endpoint()), [prefix("app"), root.clone(), key("bin"), key("")]);
    follower.expect(&prefix("app"), "good(app/good)=v;").await;
    follower.expect(&root, r#"["bin"] ["app"]"#).await;
    follower.expect(&key("bin"), r"\xff\x00").await;
    follower.expect(&key(""), "absent").await;
}

#[tokio::test]
async fn a_prefix_of_the_registry_stands_before_every_path() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    client.put("/config/app/x", "slash").await;
    client.put("app/x", "bare").await;
    for (before, expected) in [("/config", "slash"), ("", "bare"), ("/", "absent")] {
        let config = Config { prefix: before.to_owned(), ..config(&server.endpoint()) };
        let follower = Follower::start(config, [key("app/x"), Query::Listing(path(""))]);
        follower.expect(&key("app/x"), expected).await;
    }
}

#[tokio::test]
async fn large_readings_are_paged() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    for page in 0..250 {
        let keys = (0..100).map(|number| Operation::Put(put(&format!("/many/{page:03}{number:02}"), "value")));
        client.transaction(keys).await;
    }
    // More than fits into one message.
    let large = "x".repeat(1 << 20);
    for number in 0..80 {
        client.put(&format!("/large/{number:02}"), &large).await;
    }
    let follower = Follower::start(config(&server.endpoint()), [prefix("many"), prefix("large")]);
    let sizes = follower
        .wait_for(|record| {
            let size = |query: &Query| match record.answer(query)?.data {
                Data::Prefix(entries) => Some((entries.len(), entries.iter().map(|entry| entry.value.0.len()).sum())),
                _ => None,
            };
            Some((size(&prefix("many"))?, size(&prefix("large"))?))
        })
        .await;
    assert_eq!(sizes, Some(((25_000, 125_000), (80, 80 << 20))));

    // One change of many shares all the others with the answer before.
    let entries = || match follower.record.answer(&prefix("many")).unwrap().data {
        Data::Prefix(entries) => entries,
        _ => unreachable!(),
    };
    let before = entries();
    client.put("/many/10000", "other").await;
    let changed = follower.wait_for(|_| Some(entries()).filter(|now| now[10_000].value.0 == "other")).await.unwrap();
    let shared = before.iter().zip(&changed).filter(|(old, new)| std::sync::Arc::ptr_eq(old, new)).count();
    assert_eq!(shared, 24_999);
}

#[tokio::test]
async fn a_change_causes_no_read() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    let follower = Follower::start(config(&server.endpoint()), [prefix("app"), key("other")]);
    follower.expect(&key("other"), "absent").await;
    let before = server.calls("Range");
    let mut latencies = Vec::new();
    for round in 0..100 {
        let begun = Instant::now();
        client.put("/app/x", &round.to_string()).await;
        follower.expect(&prefix("app"), &format!("x(app/x)={round};")).await;
        latencies.push(begun.elapsed());
    }
    assert_eq!(server.calls("Range"), before);
    latencies.sort();
    println!(
        "from the write's begin to the publication, two ranges: median {:?}, worst {:?}",
        latencies[50], latencies[99]
    );
    follower.want([prefix("app")]);
    latencies.clear();
    for round in 100..200 {
        let begun = Instant::now();
        client.put("/app/x", &round.to_string()).await;
        follower.expect(&prefix("app"), &format!("x(app/x)={round};")).await;
        latencies.push(begun.elapsed());
    }
    latencies.sort();
    println!(
        "from the write's begin to the publication, one range: median {:?}, worst {:?}",
        latencies[50], latencies[99]
    );
}

#[tokio::test]
async fn audits_and_relists_find_nothing_while_all_is_well() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    let clocks = Clocks {
        audit_interval: Duration::from_millis(50),
        relist_interval: Duration::from_millis(120),
        max_stream_age: Duration::from_secs(2),
        ..fast()
    };
    let follower = Follower::start(Config { clocks, ..config(&server.endpoint()) }, [prefix("a"), prefix("b")]);
    follower.expect(&prefix("a"), "").await;
    let before = (server.calls("Range"), server.calls("Watch"));
    let begun = Instant::now();
    for round in 0..1500 {
        let name = format!("/{}/{}", if round % 2 == 0 { "a" } else { "b" }, round % 7);
        if round % 5 == 0 {
            client.delete(&name).await
        } else {
            client.put(&name, &round.to_string()).await
        };
    }
    client.delete_below("/a/").await;
    client.put("/a/end", "1").await;
    follower.expect(&prefix("a"), "end(a/end)=1;").await;
    let renewed = follower.wait_for(|_| (server.calls("Watch") > before.1).then_some(())).await;
    assert!(renewed.is_some(), "the stream is renewed for its age");
    let streams = server.calls("Watch") - before.1;
    assert!(streams <= begun.elapsed().as_secs() / 2 + 1, "and for nothing else: {streams} in {:?}", begun.elapsed());
    assert!(server.calls("Range") - before.0 >= 20, "audits did run");
    assert_eq!(follower.record.outages(), [""; 0]);
}

#[tokio::test]
async fn a_thousand_random_changes_end_in_the_same_as_a_fresh_read() {
    let seed = std::env::var("SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    let queries = [
        prefix("a"),
        prefix("a/b"),
        prefix("c"),
        key("a/b"),
        Query::Exists(path("c")),
        Query::Listing(path("a")),
        prefix(""),
    ];
    let mut follower = Follower::start(config(&server.endpoint()), queries.clone());
    let mut leases = Vec::new();
    let name = |random: &mut StdRng| {
        const NAMES: [&str; 8] = ["/a/b", "/a/b/x", "/a/b/y", "/a/c", "/a-b", "/c", "/c/d", "/c/d/e"];
        format!("{}{}", NAMES[random.random_range(0..NAMES.len())], ["", "1", "2"][random.random_range(0..3)])
    };
    for round in 0..1000 {
        let value = round.to_string();
        match random.random_range(0..20) {
            0..10 => drop(client.put(&name(&mut random), &value).await),
            10..13 => drop(client.delete(&name(&mut random)).await),
            13..16 => {
                let names: std::collections::BTreeSet<String> = (0..4).map(|_| name(&mut random)).collect();
                let operations = names.iter().enumerate().map(|(index, name)| {
                    if index % 2 == 0 { Operation::Put(put(name, &value)) } else { Operation::Delete(delete(name)) }
                });
                client.transaction(operations).await;
            }
            16 => {
                let folder = ["/a/b/", "/c/", "/a/"][random.random_range(0..3)];
                client.transaction([Operation::Delete(delete_below(folder))]).await;
            }
            17 => {
                let lease = client.lease(600).await;
                client.put_with_lease(&name(&mut random), &value, lease).await;
                leases.push(lease);
            }
            18 => {
                if let Some(lease) = leases.pop() {
                    client.revoke(lease).await;
                }
            }
            _ if round % 3 == 0 => {
                follower.pause().await;
                follower.resume();
            }
            _ => {
                let wanted: Vec<Query> = queries.iter().filter(|_| random.random_bool(0.7)).cloned().collect();
                follower.want(wanted);
            }
        }
    }
    follower.want(queries.clone());
    let fresh = Follower::start(config(&server.endpoint()), queries.clone());
    for query in &queries {
        assert!(fresh.wait_for(|record| record.answer(query)).await.is_some());
        follower.expect(query, &fresh.record.shown(query)).await;
    }
    assert_eq!(follower.record.outages(), [""; 0]);
}
