//! What Consul should never say.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::consul_away::{K1, stay, write};
use crate::liar::{Liar, reply};
use crate::pace;
use crate::scene::Scene;
use crate::strain::{Strain, most_memory};
use crate::support::consul::Consul;

/// How many kinds of nonsense there are.
const KINDS: usize = 16;

/// A good index, so that nothing but the rest is wrong.
const INDEX: &str = "X-Consul-Index: 900000\r\nContent-Type: application/json\r\n";

/// One kind of nonsense as the reply to a read of keys.
fn nonsense(kind: usize, random: &mut StdRng, bomb: &[u8]) -> Vec<u8> {
    let mut noise = vec![0; random.random_range(1..2000)];
    random.fill_bytes(&mut noise);
    let page = "<html><body>welcome, [] is nothing</body></html>";
    let good = r#"{"LockIndex":0,"Key":"app/00","Flags":0,"Value":"OTk=","CreateIndex":9,"ModifyIndex":9}"#;
    match kind {
        0 => noise,
        1 => reply(200, "", page),
        2 => reply(200, INDEX, page),
        3 => reply(502, "Content-Type: text/html\r\n", page),
        // No base64.
        4 => reply(200, INDEX, format!("[{}]", good.replace("OTk=", "!!!="))),
        // A chunk of more than there can be.
        5 => format!("HTTP/1.1 200 OK\r\n{INDEX}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF0\r\n[{good}]").into(),
        6 => reply(200, INDEX, format!("[{}]", good.replace("\"app/00\"", "NaN"))),
        // A field that comes twice.
        7 => reply(200, INDEX, format!("[{}]", good.replace("\"Flags\":0", "\"Key\":\"app/01\""))),
        8 => reply(200, INDEX, format!("[{}]", good.replace("\"OTk=\"", "{\"a\":[1,2]}"))),
        9 => reply(200, &format!("{INDEX}Content-Encoding: gzip\r\n"), bomb),
        // Less than was promised.
        10 => format!("HTTP/1.1 200 OK\r\n{INDEX}Content-Length: 90000\r\n\r\n[{good},").into(),
        11 => format!("HTTP/1.1 200 OK\r\n{INDEX}Content-Length: 18446744073709551615\r\n\r\n[{good}]").into(),
        // A head without end.
        12 => format!("HTTP/1.1 200 OK\r\n{INDEX}{}", "X-More: and more\r\n".repeat(50_000)).into(),
        13 => reply(200, INDEX, "[".repeat(100_000)),
        // No index that there can be.
        14 => reply(200, "X-Consul-Index: NaN\r\n", format!("[{good}]")),
        _ => {
            let text = format!("[{good}]").replace("app/00", "app/\u{1}");
            reply(200, INDEX, [text.as_bytes(), &noise].concat())
        }
    }
}

/// In place of the answers of Consul there are noise, pages of HTML, broken chunks, lengths, JSON, base64 and indexes, and a
/// bomb: no panic, little memory and log, the file stays, and the newest generation is served 15 s after it speaks again.
#[test]
fn row_16_consul_talks_nonsense() {
    // 200 MiB of nothing.
    let bomb = Command::new("sh").args(["-c", "head -c 200M /dev/zero | gzip -1"]).output().unwrap().stdout;
    assert!((1000..10 << 20).contains(&bomb.len()), "{} bytes", bomb.len());
    for seed in pace::seeds() {
        println!("seed {seed}");
        let consul = Consul::start();
        write(&consul.client(), 1);
        let liar = Liar::start(consul.port());
        let scene = Scene::new(
            &format!(
                "consul: {{address: 'http://127.0.0.1:{}', retry_interval: 20ms, poll_interval: 5ms, denied_interval: 50ms, \
                 probe_interval: 1s, request_timeout: 1s}}",
                liar.port
            ),
            "    wait: 1ms..20ms\n    reload_interval: 0\n",
        );
        let mut daemon = scene.start();
        scene.wait_for(1);
        let reader = scene.forward_reader();
        let strain = Strain::begin(&daemon);
        let said: Arc<[AtomicUsize; KINDS]> = Arc::default();
        let (counts, random, bomb) = (Arc::clone(&said), Mutex::new(StdRng::seed_from_u64(seed)), bomb.clone());
        liar.lie(move |target| {
            let mut random = random.lock().unwrap();
            // Without the truth here nothing else would be asked.
            if target.ends_with("/status/leader") && random.random_ratio(9, 10) {
                return reply(200, "", "\"127.0.0.1:8300\"");
            }
            let kind = random.random_range(0..KINDS);
            counts[kind].fetch_add(1, Ordering::Relaxed);
            nonsense(kind, &mut random, &bomb)
        });
        let lied = Instant::now();
        write(&consul.client(), 2);
        let of_each = || said.iter().map(|times| times.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let total = || of_each().iter().sum::<usize>();
        let most = pace::either(Duration::from_secs(60), Duration::from_secs(1200));
        while total() < pace::either(500, 10_000) && lied.elapsed() < most {
            stay(Instant::now(), Duration::from_millis(100));
        }
        println!("{} times in {:?}: {:?}", total(), lied.elapsed(), of_each());
        assert!(of_each().iter().all(|times| *times > 0), "{:?}", of_each());
        assert!(total() >= pace::either(100, 10_000));
        assert_eq!(scene.shows(1), Ok(()), "nonsense was rendered");
        assert!(daemon.is_running());
        strain.assert_few_lines(&daemon);
        let memory = most_memory(&daemon);
        assert!(memory <= 64 << 20, "{memory} bytes");
        liar.be_honest();
        scene.wait_for_within(K1, 2);
        assert_eq!(daemon.logged("panic"), [""; 0]);
        reader.stop().assert_always_whole();
        daemon.stop();
    }
}
