//! Peers that are not ours: other users, those that hang, and those that send rubbish.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{config, job, wait_for_state};
use crate::support::liveconf::{BINARY, Job, run_to_end};

fn socket(job: &Job) -> PathBuf {
    job.folder().path("state/control.sock")
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// What is answered to these bytes: all lines, until the other side ends the connection.
fn said(path: &Path, bytes: &[u8]) -> String {
    let mut stream = connect(path);
    // One that has heard enough may have ended it already.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn rubbish_is_refused_and_changes_nothing() {
    let job = job("");
    let mut daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    let path = socket(&job);
    for rubbish in [
        &b"\n"[..],
        b"{}\n",
        b"status\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\x00\n",
        b"{\"command\":\"stop\"}\n",
        b"{\"command\":\"pause\",\"targets\":[]}\n",
        b"{\"command\":\"status\"}",
        b"[[[[[[[[[[[[[[[[[[[[\n",
    ] {
        let answer = said(&path, rubbish);
        assert!(answer.contains(r#"{"refused":{"kind":"malformed""#), "{rubbish:?}: {answer}");
    }
    let large = [&b"{\"command\":\"explain\",\"target\":\""[..], &vec![b'x'; 1 << 20], b"\"}\n"].concat();
    let answer = said(&path, &large);
    assert!(answer.contains("malformed") && answer.len() < 1000, "{} bytes", answer.len());
    assert_eq!(said(&path, b""), "");
    assert_eq!(job.run(&["status"]).assert_code(0).stdout.matches("paused").count(), 0);
    assert!(daemon.is_running());
    daemon.stop();
}

#[test]
fn a_connection_takes_several_requests() {
    let job = job("");
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    let mut lines = BufReader::new(connect(&socket(&job)));
    for request in ["status", "explain\",\"target\":\"web", "explain\",\"target\":\"none"] {
        lines.get_mut().write_all(format!("{{\"command\":\"{request}\"}}\n").as_bytes()).unwrap();
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&line).unwrap().is_object(), "{line}");
    }
    daemon.stop();
}

#[test]
fn connections_that_hang_keep_nobody_out() {
    let job = job("");
    let mut daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    let path = socket(&job);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
    let before = descriptors();
    let mut hanging: Vec<UnixStream> = (0..20).map(|_| connect(&path)).collect();
    for stream in &mut hanging {
        // Half a request is no better than none. The oldest are ended already.
        let _ = stream.write_all(b"{\"command\":");
    }
    let begun = Instant::now();
    job.run(&["status"]).assert_code(0);
    job.run(&["apply"]).assert_code(0);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(descriptors() <= before + 16, "{before} {}", descriptors());
    // And they end by themselves.
    for stream in &mut hanging {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    job.run(&["status"]).assert_code(0);
    assert!(daemon.is_running());
    daemon.stop();
}

#[test]
fn other_users_may_ask_and_not_command() {
    if !nix::unistd::geteuid().is_root() {
        println!("not run: only root can be somebody else");
        return;
    }
    let folder_mode = |job: &Job, name: &str, mode| {
        fs::set_permissions(job.folder().path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let job = Job::new(&(config("") + "control: {socket: open/control.sock, group: '65533'}\n"))
        .with("registry.yaml", "x: A\n")
        .with("open/is", "");
    // The program itself may lie where nobody else may look.
    fs::copy(BINARY, job.folder().path("open/liveconf")).unwrap();
    folder_mode(&job, "", 0o755);
    folder_mode(&job, "open", 0o755);
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    let socket = job.folder().path("open/control.sock");
    let as_user = |group: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", group, "--clear-groups"]).arg(job.folder().path("open/liveconf"));
        run_to_end(job.prepare(command, &[arguments, &["--socket", socket.to_str().unwrap()]].concat()))
    };
    as_user("65533", &["status"]).assert_code(0);
    as_user("65533", &["explain", "web"]).assert_code(0);
    for command in [&["pause"][..], &["resume"], &["apply"], &["release", "web"]] {
        as_user("65533", command).assert_code(1).assert_says(&["only root and the user that liveconf runs as"]);
    }
    as_user("65532", &["status"]).assert_code(1).assert_says(&["not allowed to use", "hint: be root or"]);
    assert!(job.run(&["status"]).assert_code(0).stdout.contains("target web: settled"));
    daemon.stop();
    assert!(!socket.exists());

    // By default the socket is in the state folder, which lets in nobody else.
    let job = self::job("");
    folder_mode(&job, "", 0o755);
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    let mode = |path: &str| fs::metadata(job.folder().path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("state"), mode("state/control.sock")), (0o700, 0o660));
    daemon.stop();
}
