//! Answers that are larger than `limits` allow: refused with the limit and its setting, the old file stays, other targets
//! go on, and what shrinks again is taken. None takes more memory than its limit accounts for.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::etcd_client;
use crate::support::liveconf::{Daemon, Job};

const LIMITS: &str = "limits: {response: 100KiB, keys: 50}\n";

/// Two targets that follow keys of one registry: all below `big`, and the key `small`.
fn job(registry: &str, limits: &str) -> Job {
    Job::new(&format!(
        "registries: {{main: {{{registry}}}}}
{limits}targets:
  big:
    templates: [{{content: '{{% for e in prefix(path=\"big\") %}}{{{{ e.key }}}};{{% endfor %}}', dest: big.conf}}]
    wait: 0
    reload_interval: 0
    guard: {{empty_after: 0s}}
  small:
    templates: [{{content: '{{{{ key(path=\"small\") }}}}', dest: small.conf}}]
    wait: 0
    reload_interval: 0
"
    ))
}

/// A kilobyte and a half, so that eighty of them are over the limit and thirty are not.
fn value() -> String {
    "v".repeat(1500)
}

fn names(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|number| format!("k{number:03}"))
}

fn file(count: usize) -> String {
    names(0, count).flat_map(|name| [name, ";".into()]).collect()
}

/// The most memory that it has taken, in bytes.
fn peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Writes keys below `big` by `put` and takes them away by `delete`, beyond the count and then beyond the bytes.
#[track_caller]
fn follows_within_limits(job: &Job, put: &dyn Fn(&str, &str), delete: &dyn Fn(&str)) {
    names(0, 20).for_each(|name| put(&format!("big/{name}"), "1"));
    put("small", "1");
    let mut daemon = job.start(&["run"]);
    job.wait_for("big.conf", &file(20));

    names(20, 60).for_each(|name| put(&format!("big/{name}"), "1"));
    let line = daemon.wait_for_log("`limits.keys`");
    for fragment in ["not answered", "prefix `big`", "keys, and 50 are the most", "the last answer stays"] {
        assert!(line.contains(fragment), "`{fragment}` is missing in: {line}");
    }
    put("small", "2");
    job.wait_for("small.conf", "2");
    let held = job.read("big.conf").unwrap();
    assert!(held.matches(';').count() <= 50, "{held}");
    names(20, 60).for_each(|name| delete(&format!("big/{name}")));
    daemon.wait_for_log("answered again");
    job.wait_for("big.conf", &file(20));

    names(20, 50).for_each(|name| put(&format!("big/{name}"), &value()));
    job.wait_for("big.conf", &file(50));
    names(0, 45).for_each(|name| put(&format!("big/{name}"), &value().repeat(2)));
    let line = daemon.wait_for_log("`limits.response`");
    assert!(line.contains("102400 bytes") && line.contains("prefix `big`"), "{line}");
    put("small", "3");
    job.wait_for("small.conf", "3");
    names(3, 50).for_each(|name| delete(&format!("big/{name}")));
    job.wait_for("big.conf", &file(3));
    daemon.stop();

    // And where it is too much from the beginning.
    names(0, 60).for_each(|name| put(&format!("big/{name}"), "1"));
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("`limits.keys`");
    put("small", "4");
    job.wait_for("small.conf", "4");
    assert_eq!(job.read("big.conf"), Some(file(3)));
    let once = job.run(&["render", "--timeout", "2s"]);
    once.assert_code(3).assert_says(&["prefix `big`", "`limits.keys`"]);
    daemon.stop();
}

#[test]
fn etcd_keys_are_followed_within_limits() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let job = job(&format!("etcd: {}", etcd.section_with("denied_interval: 300ms")), LIMITS);
    let put = |key: &str, value: &str| _ = client.put(&format!("/{key}"), value);
    follows_within_limits(&job, &put, &|key| _ = client.delete(&format!("/{key}")));
}

#[test]
fn consul_keys_are_followed_within_limits() {
    let consul = Consul::start();
    let client = consul.client();
    let job = job(&format!("consul: {}", consul.section_with("denied_interval: 300ms")), LIMITS);
    follows_within_limits(&job, &|key, value| client.put(key, value), &|key| client.delete(key));
}

#[test]
fn a_registry_file_is_read_within_limits() {
    let job = job("file: {path: registry.yaml}", LIMITS);
    let with = |count: usize, value: &str, small: u32| {
        let keys: String =
            names(0, count).flat_map(|name| ["  ", &name, ": ", value, "\n"].map(str::to_owned)).collect();
        job.write("registry.yaml", format!("small: {small}\nbig:\n{keys}"));
    };
    with(3, "1", 1);
    let mut daemon = job.start(&["run"]);
    job.wait_for("big.conf", &file(3));
    with(51, "1", 2);
    let line = daemon.wait_for_log("`limits.keys`");
    assert!(line.contains("registry.yaml:") && line.contains("more than 50 keys"), "{line}");
    with(40, "1", 3);
    job.wait_for("small.conf", "3");
    with(40, &value().repeat(2), 4);
    let line = daemon.wait_for_log("`limits.response`");
    assert!(line.contains("102400 bytes"), "{line}");
    assert_eq!(job.read("big.conf"), Some(file(40)));
    with(5, "1", 5);
    job.wait_for("big.conf", &file(5));
    daemon.stop();
}

#[test]
fn a_key_that_is_too_long_is_left_out_and_named_in_short() {
    let etcd = Etcd::start();
    let long = "n".repeat(5000);
    etcd.client().txn(vec![etcd_client::put(&format!("/big/{long}"), "1"), etcd_client::put("/big/a", "1")]);
    etcd.client().put("/small", "1");
    let job = job(&format!("etcd: {}", etcd.section()), "");
    let mut daemon = job.start(&["run"]);
    job.wait_for("big.conf", "a;");
    let line = daemon.wait_for_log("key is left out");
    assert!(line.contains("at most 4096 bytes") && line.len() < 1000, "{line}");
    daemon.stop();
}

/// A Consul that never stops answering: chunk upon chunk of one body. It gives how much it could send.
fn endless() -> (String, thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let Ok(read) = stream.read(&mut head) else { continue };
            if String::from_utf8_lossy(&head[..read]).contains("status/leader") {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 16\r\n\r\n\"127.0.0.1:8300\"");
                continue;
            }
            let begin = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
            if stream.write_all(begin).is_err() {
                continue;
            }
            let mut chunk = format!("{:x}\r\n", 1 << 20).into_bytes();
            chunk.resize(chunk.len() + (1 << 20), b' ');
            chunk.extend(b"\r\n");
            // It stops by itself where nobody else stops it.
            let sent = (0..512).take_while(|_| stream.write_all(&chunk).is_ok()).count();
            return sent << 20;
        }
        0
    });
    (address, serving)
}

#[test]
fn an_answer_without_an_end_is_cut_off_at_the_limit() {
    const LIMIT: usize = 16 << 20;
    let (address, serving) = endless();
    let job = job(&format!("consul: {{address: '{address}', denied_interval: 60s}}"), "limits: {response: 16MiB}\n");
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("`limits.response`");
    assert!(line.contains("16777216 bytes"), "{line}");
    let sent = serving.join().unwrap();
    // What the kernel holds on both sides was sent, too.
    assert!((LIMIT - (1 << 20)..LIMIT + (16 << 20)).contains(&sent), "{sent}");
    let peak = peak(&daemon);
    assert!(peak < (64 << 20) + 6 * LIMIT as u64, "{peak}");
    daemon.stop();
}
