//! Instances in every format.

use liveconf::registry::{Data, Query, ServiceQuery};

use super::{follow, follow_with};
use crate::support::etcd::Etcd;
use crate::support::follower::{any, service};

#[test]
fn services_of_every_format() {
    let etcd = Etcd::start();
    let client = etcd.client();
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
        client.put(key, value);
    }
    let web = service("web");
    let blue = Query::Service(ServiceQuery { tags: ["blue".into()].into(), ..ServiceQuery::passing("web") });
    let db = service("db");
    let all = Query::Services { tag: None };
    let tagged = Query::Services { tag: Some("blue".into()) };
    let follower = follow(&etcd, [web.clone(), blue.clone(), any("web"), db.clone(), all.clone(), tagged.clone()]);
    follower.expect(&web, "web/1@10.0.0.1:80;web/2@10.0.0.2:80;");
    follower.expect(&blue, "web/1@10.0.0.1:80;");
    follower.expect(&any("web"), "web/1@10.0.0.1:80;web/2@10.0.0.2:80;web/3@10.0.0.3 critical;");
    follower.expect(&db, "db/1@[::1]:5432;");
    follower.expect(&all, "db[];web[blue];webapp[];");
    follower.expect(&tagged, "web[blue];");

    let lease = client.lease(1);
    client.put_with_lease("/services/web/9", "10.0.0.9:80", lease);
    follower.expect(&web, "web/1@10.0.0.1:80;web/2@10.0.0.2:80;web/9@10.0.0.9:80;");
    follower.expect(&web, "web/1@10.0.0.1:80;web/2@10.0.0.2:80;");

    let strict = follow_with(&etcd, "strict: true", [web.clone(), db.clone()]);
    strict.expect(&db, "db/1@[::1]:5432;");
    let error = strict.shown(&web);
    assert!(error.starts_with("error: `/services/web/broken`") && !error.contains("hunter2"), "{error}");

    let settings = "services: {prefix: skydns, format: skydns}";
    let skydns = follow_with(&etcd, settings, [service("web.skydns.local"), service("db.skydns.local."), all.clone()]);
    let web = "web.skydns.local/a@10.1.0.1:80*5;east.web.skydns.local/b@10.1.0.2:80;";
    skydns.expect(&service("web.skydns.local"), web);
    skydns.expect(&service("db.skydns.local."), "skydns.local/db@10.1.0.3;");
    skydns.expect(&all, "east.web.skydns.local[];skydns.local[];web.skydns.local[];website.skydns.local[];");
    let Data::Service(instances) = skydns.answer(&service("web.skydns.local")) else { unreachable!() };
    let meta = &instances[0].meta;
    assert_eq!((meta["priority"].as_str(), meta["ttl"].as_str()), ("10", "60"));
}
