//! A server that is removed serves to the end whom it has.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::{MASTER, WITHOUT, Web, server, wait_for_logged};
use crate::scenarios::backend::Backend;
use crate::support::{SOON, http, poll_until};

#[test]
fn a_server_that_is_removed_ends_its_sessions_and_is_then_deleted() {
    // A server that answers when it is told to.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let other = Backend::start("other");
    let new = [server("new", "127.0.0.1", other.port())];
    let web = Web::start(MASTER, &new);
    let daemon = web.follow();
    let worker = web.worker();
    let old = [server("old", "127.0.0.1", port)];
    web.set(&old, "");
    web.wait_for(&old);
    let mut client = TcpStream::connect(("127.0.0.1", web.port)).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut serving = loop {
        let (mut stream, _) = held.accept().unwrap();
        let mut request = [0; 256];
        // A check says nothing.
        if stream.read(&mut request).unwrap_or(0) > 0 {
            break stream;
        }
    };
    web.set(&new, "");
    wait_for_logged(&daemon, WITHOUT, 2);
    assert_eq!(web.servers().len(), 2, "it has a session");
    assert!(web.servers()["old"].ends_with(" 1"), "and takes no other");
    for _ in 0..5 {
        assert_eq!(http::get(web.port, "/").unwrap().1, "other");
    }
    poll_until(SOON, || {
        let explained = web.explained();
        let says_so = explained["target"]["well"] == true && explained["leaving"] == 1;
        if says_so { Ok(()) } else { Err(explained.to_string()) }
    });
    // It comes back, as it was, and goes again: it is the same server.
    let both = [server("new", "127.0.0.1", other.port()), server("old", "127.0.0.1", port)];
    web.set(&both, "");
    web.wait_for(&both);
    web.set(&new, "");
    wait_for_logged(&daemon, WITHOUT, 4);
    assert_eq!(web.worker(), worker);
    serving.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("old"), "{answer}");
    drop(serving);
    web.wait_for(&new);
    assert_eq!(web.worker(), worker);
    daemon.stop();
}
