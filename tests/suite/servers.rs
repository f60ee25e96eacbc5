//! What the other tests stand on, tested by itself: a server that cannot be started is a failure here, with its log.

#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "etcd")]
mod etcd;

use crate::support::folder::Folder;
use crate::support::haproxy::Haproxy;
use crate::support::nginx::Nginx;
use crate::support::{http, port};

#[test]
fn nginx_answers() {
    let folder = Folder::new();
    let port = port::free();
    folder.write(
        "nginx.conf",
        format!("pid nginx.pid; events {{}} http {{ access_log off; server {{ listen 127.0.0.1:{port}; return 200 hello; }} }}"),
    );
    let nginx = Nginx::start(folder.root(), port);
    assert_eq!(http::get(port, "/").unwrap(), (200, "hello".into()));
    assert_eq!(std::fs::read_to_string(nginx.pid_file()).unwrap().trim(), nginx.id().to_string());
}

#[test]
fn haproxy_answers() {
    let folder = Folder::new();
    let port = port::free();
    folder.write(
        "haproxy.cfg",
        format!(
            "defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n\
             frontend front\n bind 127.0.0.1:{port}\n http-request return status 200 content-type text/plain string hello\n"
        ),
    );
    let haproxy = Haproxy::start(folder.root(), port);
    assert_eq!(http::get(port, "/").unwrap(), (200, "hello".into()));
    assert!(haproxy.pid_file().is_file());
}
