//! Keys and folders.

use std::time::Duration;

use liveconf::registry::{Data, Query};

use super::{follow, follow_with};
use crate::support::consul::Consul;
use crate::support::follower::{key, path, prefix};

#[test]
fn keys_are_followed() {
    let consul = Consul::start();
    let client = consul.client();
    for (key, value) in [("app/a", "1"), ("app/b/c", ""), ("apple", "x"), ("app/empty/", ""), ("other/x", "y")] {
        client.put(key, value);
    }
    let listing = Query::Listing(path("app"));
    let exists = |name: &str| Query::Exists(path(name));
    let queries = [
        key("app/a"),
        key("app/none"),
        prefix("app"),
        listing.clone(),
        exists("app"),
        exists("ap"),
        exists("apple"),
        exists("new"),
    ];
    let follower = follow(&consul, queries.clone());
    follower.expect(&key("app/a"), "1");
    follower.expect(&key("app/none"), "absent");
    follower.expect(&prefix("app"), "a(app/a)=1;b/c(app/b/c)=;");
    follower.expect(&listing, r#"["a"] ["b", "empty"]"#);
    for (name, there) in [("app", "true"), ("ap", "false"), ("apple", "true"), ("new", "false")] {
        follower.expect(&exists(name), there);
    }

    client.put("app/a", "2");
    follower.expect(&key("app/a"), "2");
    follower.expect(&prefix("app"), "a(app/a)=2;b/c(app/b/c)=;");
    client.put("app/none", "now");
    follower.expect(&key("app/none"), "now");
    client.delete("app/a");
    follower.expect(&key("app/a"), "absent");
    follower.expect(&prefix("app"), "b/c(app/b/c)=;none(app/none)=now;");
    client.put("new/sub", "1");
    follower.expect(&exists("new"), "true");
    client.delete("new/sub");
    follower.expect(&exists("new"), "false");

    // Another query is answered while the others go on.
    let more = key("other/x");
    follower.want(queries.clone().into_iter().chain([more.clone()]));
    follower.expect(&more, "y");

    // One that was dropped and is wanted again is answered again, though nothing changed.
    let before = follower.published();
    follower.want_as(1, queries);
    for query in [key("app/none"), exists("apple")] {
        follower.wait_for("answered again", |seen| {
            seen.publications[before..].iter().flatten().any(|reply| reply.query == query).then_some(())
        });
    }
    follower.assert_no_outage();
}

#[test]
fn a_prefix_stands_before_all_paths() {
    let consul = Consul::start();
    consul.client().put("team/app/a", "1");
    consul.client().put("app/a", "wrong");
    let listing = Query::Listing(path(""));
    let follower = follow_with(&consul, "prefix: /team/", [key("app/a"), prefix(""), listing.clone()]);
    follower.expect(&key("app/a"), "1");
    follower.expect(&prefix(""), "app/a(app/a)=1;");
    follower.expect(&listing, r#"[] ["app"]"#);
}

#[test]
fn a_folder_that_goes_with_the_one_above_it_is_empty_at_once() {
    let consul = Consul::start();
    let client = consul.client();
    for below in [Query::Listing(path("app/deep")), Query::Exists(path("app/deep")), prefix("app/deep")] {
        for above in [prefix("app"), Query::Listing(path("app")), prefix("")] {
            // Consul wakes polls of a folder in which nothing was ever deleted.
            for key in ["app/deep/a", "app/deep/b", "app/c"] {
                client.put(key, "1");
            }
            client.delete("app/deep/a");
            let follower = follow(&consul, [above.clone(), below.clone()]);
            follower.answer(&above);
            let before = follower.answer(&below);
            // Their polls are under way by then, and know of the deletion.
            client.put("app/zz", "1");
            follower.wait_for("answered again", |seen| seen.shown(&above).contains("zz").then_some(()));
            client.delete_below("app/");
            let nothing = match &before {
                Data::Exists(_) => "false",
                Data::Listing(_) => "[] []",
                _ => "",
            };
            follower.expect_within(Duration::from_secs(10), &below, nothing);
            follower.assert_no_outage();
        }
    }
}
