//! HAProxy: from the registration of a server in Consul to the first request that it serves, told while it runs and by a
//! reload.
//!
//! Two processes with the same file follow a service each, and their changes alternate. A second backend holds so many
//! servers that the file is of the size that it is about; its servers stay.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::report::{Report, Samples};
use crate::stage::Stage;
use crate::support::consul::Consul;
use crate::support::consul_client::Client;
use crate::support::haproxy::Haproxy;
use crate::support::{SOON, http, poll_until, port};

/// How many servers the files hold.
const SERVERS: [usize; 2] = [10, 1000];
/// So long nothing happens before a change: what the one before left to do is done.
const PAUSE: Duration = Duration::from_millis(700);

/// The ways, by what stands under `reload` and `confirm`.
const WAYS: [(&str, &str); 2] = [
    ("runtime", "    reload: {haproxy: {socket: ROOM/admin.sock, master: ROOM/master.sock}}\n"),
    (
        "reload",
        "    reload: {signal: USR2, pid_file: ROOM/haproxy.pid}\n    confirm: {haproxy: {socket: ROOM/master.sock}}\n",
    ),
];

/// Measures all sizes.
pub(crate) fn measure(stage: &Stage, report: &mut Report, samples: usize) {
    let samples = (samples / 5).max(1);
    for servers in SERVERS {
        let [runtime, reload] = measure_one(stage, servers, samples);
        for (series, times) in [("runtime", &runtime), ("reload", &reload)] {
            report.raw(&format!("haproxy {servers} servers"), series, "ms", times);
        }
        let shown = |times: &Samples| {
            let [half, most, nearly] = [50, 90, 99].map(|percent| times.percentile(percent));
            format!("{half:.1} / {most:.1} / {nearly:.1} ms")
        };
        let ratio = reload.percentile(50) / runtime.percentile(50);
        let what = format!("HAProxy, {servers} servers: first request by a new one");
        let beside = format!("{} by a reload", shown(&reload));
        report.row(&what, &shown(&runtime), &beside, &format!("{ratio:.1} times faster"), Some(ratio > 1.0));
    }
}

/// The times of both ways.
fn measure_one(stage: &Stage, servers: usize, samples: usize) -> [Samples; 2] {
    let consul = Consul::start();
    let client = consul.client();
    let backend = serve_everywhere();
    let ports = WAYS.map(|_| port::free());
    let mut targets = "targets:\n".to_owned();
    for ((way, lines), port) in WAYS.iter().zip(ports) {
        let room = stage.room(&format!("haproxy-{servers}-{way}"));
        let shown = room.display().to_string();
        fs::write(room.join("template"), template(way, servers, port).replace("ROOM", &shown)).unwrap();
        let target = format!(
            "  {way}:\n    templates: [{{src: {shown}/template, dest: {shown}/haproxy.cfg}}]\n    check: [haproxy, -c, -q, -f, \
             '{{staged}}']\n    reload_interval: 0\n{}",
            lines.replace("ROOM", &shown)
        );
        targets.push_str(&target);
        register(&client, way, 0, backend);
    }
    let mut liveconf =
        stage.liveconf_on(&format!("consul: {}", consul.section_with("")), &format!("haproxy-{servers}"), &targets);
    let haproxys = WAYS.iter().zip(ports).map(|((way, _), port)| {
        let room = stage.room(&format!("haproxy-{servers}-{way}"));
        poll_until(SOON, || fs::metadata(room.join("haproxy.cfg")).map_err(|error| error.to_string()));
        Haproxy::start(&room, port)
    });
    let _haproxys: Vec<Haproxy> = haproxys.collect();
    // They came after their files.
    poll_until(SOON, || match liveconf.daemon.logged("INFO reloaded").len() {
        2 => Ok(()),
        count => Err(format!("{count} of 2 have their files")),
    });
    let reloads = liveconf.daemon.logged("haproxy is reloaded").len();
    let mut times = [Samples::default(), Samples::default()];
    for number in 1..=samples {
        for (index, (way, _)) in WAYS.iter().enumerate() {
            thread::sleep(PAUSE);
            let begun = Instant::now();
            register(&client, way, number, backend);
            let new = address(number);
            poll_until(SOON, || match http::get(ports[index], "/") {
                Ok((200, body)) if body == new => Ok(()),
                other => Err(format!("{way}: {other:?}")),
            });
            times[index].push_time(begun.elapsed());
            client.deregister(&id(way, number - 1));
        }
    }
    assert!(liveconf.daemon.is_running());
    assert_eq!(liveconf.daemon.logged("haproxy is reloaded").len(), reloads, "{:#?}", liveconf.daemon.log());
    times
}

fn template(way: &str, servers: usize, port: u16) -> String {
    let line = |number: usize| format!("  server s{number} 127.200.{}.{}:9 weight 5\n", number / 200, 1 + number % 200);
    let crowd = (0..servers).map(line).collect::<Vec<_>>().concat();
    format!(
        "global\n  stats socket ROOM/admin.sock mode 600 level admin\ndefaults\n  mode http\n  timeout client 30s\n  timeout \
         server 30s\n  timeout connect 2s\n  option http-server-close\nfrontend web\n  bind 127.0.0.1:{port}\n  \
         default_backend app\nbackend app\n  balance roundrobin\n  {{{{ <haproxy.servers servers={{service(name=\"{way}\")}} \
         /> }}}}\nbackend crowd\n{crowd}"
    )
}

fn address(number: usize) -> String {
    format!("127.100.{}.{}", number / 200, 1 + number % 200)
}

fn id(way: &str, number: usize) -> String {
    format!("{way}-{number}")
}

fn register(client: &Client, way: &str, number: usize, port: u16) {
    client.register(&json!({"ID": id(way, number), "Name": way, "Address": address(number), "Port": port}));
}

/// A server on each address of the loopback, which says the address that it was asked at; its port.
fn serve_everywhere() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(&stream).ok());
        }
    });
    port
}

fn answer(stream: &TcpStream) -> std::io::Result<()> {
    let lines = BufReader::new(stream).lines();
    let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
    if head > 0 {
        let body = stream.local_addr()?.ip().to_string();
        write!(&mut &*stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
    Ok(())
}
