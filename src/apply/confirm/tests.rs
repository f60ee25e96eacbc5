//! Probes, against servers that a test is itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::config::{Command, Header, Http, HttpRequest, Placeholder, Program};
use crate::secret::Secret;

fn confirm(kind: ConfirmKind) -> Confirm {
    Confirm {
        kind,
        within: Duration::from_millis(300),
        interval: Duration::from_millis(5),
        pid_file: None,
        told_at_once: true,
        destinations: vec!["/etc/x".into()],
        secret: false,
    }
}

async fn verdict(confirm: Confirm) -> Verdict {
    let context = Context {
        target: "web".into(),
        env_allow: Arc::new([]),
        process: None,
        remains: crate::process::Leavings::default(),
    };
    Before::look(&confirm, None, &context).await.confirmed(&context).await
}

#[track_caller]
fn refusal(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Refused { reason, took: true } => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// A server that gives these answers in order, the last of them again and again; its address and what it was asked.
async fn server(answers: &'static [&'static str]) -> (String, Arc<AtomicUsize>, Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(String::new())));
    let (count, text) = (asked.clone(), request.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).await.unwrap_or_default();
            *text.lock().unwrap() = String::from_utf8_lossy(&bytes[..read]).into_owned();
            if answer == "hang" {
                std::future::pending::<()>().await;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, asked, request)
}

fn http(address: &str) -> Http {
    Http {
        request: HttpRequest {
            url: format!("http://{address}/health?token=hunter2").parse().unwrap(),
            method: hyper::Method::GET,
            socket: None,
            headers: vec![("X-Token".to_owned(), Header::Written(Secret::new("hunter2")))],
            timeout: Duration::from_millis(100),
        },
        status: vec![200..=299],
        body: None,
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello web";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nwait";

#[tokio::test]
async fn an_http_probe_is_tried_until_the_status_fits() {
    let (address, asked, request) = server(&[BUSY, "HTTP/1.1 302 Found\r\nLocation: http://a/\r\n\r\n", OK]).await;
    assert_eq!(verdict(confirm(ConfirmKind::Http(http(&address)))).await, Verdict::Confirmed);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let request = request.lock().unwrap().to_lowercase();
    for part in ["get /health?token=hunter2 http/1.1\r\n", &format!("host: {address}\r\n"), "x-token: hunter2\r\n"] {
        assert!(request.contains(part), "`{part}` is missing in {request}");
    }
}

#[tokio::test]
async fn an_http_probe_that_never_fits_tells_the_last_answer_and_no_secret() {
    let (address, _, _) = server(&[BUSY]).await;
    let refused = verdict(confirm(ConfirmKind::Http(http(&address)))).await;
    assert_eq!(refusal(&refused), format!("`http://{address}/health` answers 503"));
    let other = Http { status: vec![204..=204, 503..=503], ..http(&address) };
    assert_eq!(verdict(confirm(ConfirmKind::Http(other))).await, Verdict::Confirmed);
}

#[tokio::test]
async fn an_http_probe_looks_into_the_body() {
    let (address, _, _) = server(&[OK]).await;
    let body = |text: &str| Http { body: Some(text.to_owned()), ..http(&address) };
    assert_eq!(verdict(confirm(ConfirmKind::Http(body("hello w")))).await, Verdict::Confirmed);
    let refused = verdict(confirm(ConfirmKind::Http(body("hello you")))).await;
    assert!(refusal(&refused).ends_with("answers 200 without the text that `body` asks for"), "{refused:?}");
}

#[tokio::test]
async fn an_http_probe_gives_up_on_what_hangs_or_is_no_http() {
    let (address, _, _) = server(&["hang"]).await;
    let refused = verdict(confirm(ConfirmKind::Http(http(&address)))).await;
    assert!(refusal(&refused).contains("did not answer within 100ms"), "{refused:?}");
    let (address, _, _) = server(&["SSH-2.0-x\r\n"]).await;
    let refused = verdict(confirm(ConfirmKind::Http(http(&address)))).await;
    assert!(refusal(&refused).contains("does not answer: "), "{refused:?}");
}

#[tokio::test]
async fn a_tcp_probe_needs_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Bound, so that nobody else listens there either.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let tcp = |address: SocketAddr| {
        confirm(ConfirmKind::Tcp { address: address.to_string(), timeout: Duration::from_millis(100) })
    };
    assert_eq!(verdict(tcp(listener.local_addr().unwrap())).await, Verdict::Confirmed);
    let silent_address = silent.local_addr().unwrap();
    let refused = verdict(tcp(silent_address)).await;
    assert!(refusal(&refused).contains("takes no connection"), "{refused:?}");
    let folder = tempfile::tempdir().unwrap();
    let gone = Confirm { pid_file: Some(folder.path().join("absent.pid")), ..tcp(silent_address) };
    let absent = verdict(gone).await;
    assert!(matches!(&absent, Verdict::NotRunning(why) if why.contains("no pid file")), "{absent:?}");
}

fn shell(script: String) -> ConfirmKind {
    let variables = vec![("LIVECONF_DEST".to_owned(), Placeholder::Dest(0))];
    let program = Program::Shell { script, variables };
    ConfirmKind::Command(Command { program, timeout: Duration::from_secs(10) })
}

#[tokio::test]
async fn a_command_is_run_until_it_agrees_or_refuses_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let tries = folder.path().join("tries");
    let count = |script: &str| format!("echo \"$LIVECONF_DEST\" >> {}; {script}", tries.display());
    let read = || std::fs::read_to_string(&tries).unwrap();
    let long = |kind| Confirm { within: Duration::from_secs(30), ..confirm(kind) };
    let until_three = count(&format!("test $(wc -l < {}) -ge 3", tries.display()));
    assert_eq!(verdict(long(shell(until_three))).await, Verdict::Confirmed);
    assert_eq!(read(), "/etc/x\n/etc/x\n/etc/x\n");
    let refused = verdict(long(shell(count("exit 65")))).await;
    assert!(refusal(&refused).contains("exited with 65"), "{refused:?}");
    assert_eq!(read().lines().count(), 4, "65 is for good");
    let refused = verdict(confirm(shell("echo hunter2; exit 1".into()))).await;
    assert!(refusal(&refused).contains("exited with 1") && !refusal(&refused).contains("hunter2"), "{refused:?}");
}

#[tokio::test]
async fn a_command_does_not_outlast_its_time() {
    let started = std::time::Instant::now();
    let refused = verdict(confirm(shell("sleep 60".into()))).await;
    assert_eq!(refusal(&refused), "it gave no answer in time");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_no_refusal() {
    // A process without workers: this one.
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("sleep.pid");
    let mut process = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    std::fs::write(&pid_file, process.id().to_string()).unwrap();
    let nginx =
        Confirm { pid_file: Some(pid_file), ..confirm(ConfirmKind::Nginx { error_log: None, old_workers: None }) };
    let unseen = verdict(nginx.clone()).await;
    assert!(matches!(&unseen, Verdict::Unseen(why) if why.contains("has no workers")), "{unseen:?}");
    process.kill().unwrap();
    process.wait().unwrap();
    let absent = verdict(nginx).await;
    assert!(matches!(&absent, Verdict::NotRunning(why) if why.contains("has ended")), "{absent:?}");
    let socket = Some(folder.path().join("absent.sock"));
    let absent = verdict(confirm(ConfirmKind::Haproxy { socket })).await;
    assert!(matches!(&absent, Verdict::NotRunning(why) if why.contains("absent.sock")), "{absent:?}");
}
