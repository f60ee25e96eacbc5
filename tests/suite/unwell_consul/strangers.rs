//! Addresses where no Consul is, or not in the way that was written.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use super::{complaints, configuration, said_once, stays, wait_for_line, wait_for_what_was_missing};
use crate::support::consul::Consul;
use crate::support::folder::Folder;
use crate::support::liveconf::Job;
use crate::support::nginx::Nginx;
use crate::support::port;

/// A server that takes every connection, sends `greeting` and says no more. It ends with the test's process.
fn speechless(greeting: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut taken = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.write_all(greeting.as_bytes()).ok();
            taken.push(stream);
        }
    });
    port
}

/// nginx with a page for whatever is asked, and with one that says no.
fn web_server(folder: &Folder) -> (Nginx, u16, u16) {
    let (pages, nothing) = (port::free(), port::free());
    folder.write("html/index.html", "<html><body>welcome</body></html>\n");
    let temp: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {kind}; ")).concat();
    folder.write(
        "nginx.conf",
        format!(
            "pid nginx.pid; worker_processes 1; events {{}}
http {{ access_log off; {temp}
  server {{ listen 127.0.0.1:{pages}; root html; location / {{ try_files /index.html =404; }} }}
  server {{ listen 127.0.0.1:{nothing}; location / {{ return 404; }} }} }}\n"
        ),
    );
    (Nginx::start(folder.root(), pages), pages, nothing)
}

#[test]
fn each_is_said_to_be_what_it_is_and_stops_nobody_else() {
    let consul = Consul::start();
    let with_tls = Consul::with_tls();
    consul.client().put("a", "1");
    let folder = Folder::new();
    let (_nginx, pages, nothing) = web_server(&folder);
    let ca = with_tls.tls().ca.display().to_string();
    let cases = [
        ("pages", format!("http://127.0.0.1:{pages}"), "this is no Consul: `status/leader` is answered otherwise"),
        ("nothing", format!("http://127.0.0.1:{nothing}"), "this is no Consul: it has no Consul API (status 404)"),
        ("closed", format!("http://127.0.0.1:{}", port::free()), "refused"),
        ("silent", format!("http://127.0.0.1:{}", speechless("")), "no answer within 500ms"),
        ("mail", format!("http://127.0.0.1:{}", speechless("220 mail.example ESMTP\r\n")), "it speaks no HTTP"),
        (
            "tls_on_plain",
            consul.url().replace("http://", "https://"),
            "it speaks no TLS: write the address as `http://`",
        ),
        (
            "plain_on_tls",
            with_tls.url().replace("https://", "http://"),
            "it speaks TLS: write the address as `https://`",
        ),
        ("no_certificate", with_tls.url(), "`cert_file`"),
        ("tls_silent", format!("https://127.0.0.1:{}", speechless("")), "no connection within 300ms"),
        ("nowhere", "http://no-such-host.invalid:8500".to_owned(), "lookup"),
    ];
    let mut registries = vec![("main", consul.section())];
    let mut targets = vec![("main".to_owned(), "{{ key(path='a', registry='main') }}".to_owned())];
    for (name, address, _) in &cases {
        // Without a CA file the authorities of this machine would be trusted, and there may be none.
        let ca = if address.starts_with("https") {
            format!(", ca_file: {}", Value::from(ca.as_str()))
        } else {
            String::new()
        };
        registries.push((name, format!("{{address: '{address}', request_timeout: 500ms, dial_timeout: 300ms{ca}}}")));
        targets.push(((*name).to_owned(), format!("{{{{ key(path='a', registry='{name}') }}}}")));
    }
    let targets: Vec<_> = targets.iter().map(|(name, template)| (name.as_str(), template.as_str())).collect();
    let job = Job::new(&configuration(&registries, &targets));
    let daemon = job.start(&["run"]);
    job.wait_for("main.conf", "1");
    for (name, address, reason) in &cases {
        let line = wait_for_line(&daemon, &["registry does not answer", &format!("registry=\"{name}\"")]);
        assert!(line.contains(address) && line.contains(reason), "{name}: {line}");
    }
    let mut value = 1;
    // Many tries are made in this time, by the growing pauses between them from 0.1 s on.
    stays(Duration::from_secs(6), || {
        value += 1;
        consul.client().put("a", value.to_string());
        job.wait_for("main.conf", &value.to_string());
    });
    for (name, _, reason) in &cases {
        let registry = format!("registry=\"{name}\"");
        let lines: Vec<_> = complaints(&daemon).into_iter().filter(|line| line.contains(&registry)).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        // The state of the target: what it waits for, and why.
        let line = wait_for_line(&daemon, &["still waits for key `a`", &format!("target=\"{name}\"")]);
        assert!(line.contains(reason), "{line}");
        assert_eq!(job.read(&format!("{name}.conf")), None);
    }
    daemon.stop();
}

#[test]
fn once_names_the_address_and_what_is_wrong_with_it() {
    let folder = Folder::new();
    let (_nginx, pages, _) = web_server(&folder);
    for (port, reason) in
        [(port::free(), "refused"), (pages, "this is no Consul"), (speechless(""), "no answer within")]
    {
        let section = format!("{{address: 'http://127.0.0.1:{port}', request_timeout: 500ms}}");
        let job = super::job(&section, &[("it", "{{ key(path='a') }}")]);
        let mut once = job.start(&["once", "--timeout", "2s"]);
        wait_for_line(&once, &["registry does not answer", &format!("127.0.0.1:{port}"), reason]);
        assert!(once.is_running(), "it was said before the end");
        assert_eq!(once.wait(crate::support::SOON), 3);
        said_once(&once, "registry does not answer");
        let missing = wait_for_what_was_missing(&once, reason);
        assert!(missing.starts_with("  key `a` from registry `main`"), "{missing}");
    }
}
