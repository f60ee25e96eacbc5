//! What is asked wrongly, and what is asked of the wrong server.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use liveconf::registry::{Query, ServiceQuery};

use super::{follow, follow_at, follow_with};
use crate::support::consul::Consul;
use crate::support::consul_client::{Health, instance};
use crate::support::follower::{key, service};

#[test]
fn bad_questions_fail_alone() {
    let consul = Consul::start();
    let client = consul.client();
    client.put("a", "1");
    client.catalog_register(&instance("n2", "web", 80, Health::Passing));
    let nowhere = Query::Service(ServiceQuery { datacenter: Some("nowhere".into()), ..ServiceQuery::passing("web") });
    let syntax = Query::Service(ServiceQuery { filter: Some("foo bar".into()), ..ServiceQuery::passing("web") });
    let follower = follow(&consul, [key("a"), service("web"), nowhere.clone(), syntax.clone()]);
    let error = follower.failure(&nowhere).reason;
    assert!(error.contains("datacenter `nowhere` is unknown"), "{error}");
    let error = follower.failure(&syntax).reason;
    assert!(error.contains("filter `foo bar`") && error.contains("1:5"), "{error}");
    follower.expect(&service("web"), "web/web-1@10.0.0.1:80;");
    client.put("a", "2");
    follower.expect(&key("a"), "2");
    follower.assert_no_outage();

    let error = follow_with(&consul, "namespace: team", [key("a")]).failure(&key("a")).reason;
    assert!(error.contains("Enterprise"), "{error}");
}

#[test]
fn what_is_no_consul_is_said_to_be_none() {
    for (reply, reason) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "otherwise than Consul"),
        (
            "HTTP/1.1 301 Moved\r\nLocation: https://elsewhere/v1\r\nContent-Length: 0\r\n\r\n",
            "redirects to `https://elsewhere`",
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no Consul API"),
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n\
             Client sent an HTTP request to an HTTPS server.\n",
            "speaks TLS",
        ),
        ("SSH-2.0-OpenSSH\r\n", "invalid HTTP"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            // A few tries, and then nobody listens.
            for stream in listener.incoming().take(3) {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let _asked = stream.read(&mut [0; 4096]);
                stream.write_all(reply.as_bytes()).ok();
            }
        });
        let follower = follow_at(&address.to_string(), "", [key("a")]);
        let outage = follower.wait_for("away", |seen| seen.outages.first().cloned());
        assert!(outage.contains(reason) && outage.contains(&address.to_string()), "{outage}");
        drop(follower);
        (0..3).for_each(|_| drop(TcpStream::connect(address)));
        server.join().unwrap();
    }
}
