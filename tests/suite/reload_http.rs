//! Reload by an HTTP request: what becomes of files that a program takes, refuses, or is not there to be asked about.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::liveconf::Job;
use crate::support::nginx::Nginx;
use crate::support::{SOON, poll_until, port};

/// A target on a file registry whose key `x` becomes `out.conf`, with this reload.
fn job(reload: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  program:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out.conf}}]
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
    reload:
      http: {{{reload}}}
"
    ))
    .with("registry.yaml", "x: A\n")
}

/// A program that takes what it is sent, unless that is `BAD`; what it was sent, with the token of each request.
struct Program {
    told: Arc<Mutex<Vec<(String, String)>>>,
}

impl Program {
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                Self::answer(stream.unwrap(), &heard);
            }
        });
        Self { told }
    }

    fn answer(mut stream: TcpStream, told: &Mutex<Vec<(String, String)>>) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut length, mut token) = (0, String::new());
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => value.clone_into(&mut token),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let (status, says) = if body == "BAD" { ("500 No", "cannot load BAD hunter2") } else { ("200 OK", "") };
        told.lock().unwrap().push((body, token));
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{says}", says.len()).unwrap();
    }

    /// The bodies that it was sent so far.
    fn bodies(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|(body, _)| body.clone()).collect()
    }

    #[track_caller]
    fn wait_for(&self, bodies: &[&str]) {
        poll_until(SOON, || match self.bodies() {
            found if found == bodies => Ok(()),
            found => Err(format!("{bodies:?} should be told, but {found:?} are")),
        });
    }
}

#[test]
fn what_a_program_refuses_is_put_back_and_told_and_not_sent_again() {
    let port = port::free();
    let program = Program::start(port);
    let job = job(&format!(
        "url: 'http://127.0.0.1:{port}/load?key=hunter2', body_file: '{{dest}}', \
         headers: {{Authorization: {{file: token, before: 'Bearer '}}}}"
    ))
    .with("token", "hunter2\n");
    let mut daemon = job.start(&["run"]);
    program.wait_for(&["A"]);
    daemon.wait_for_log("reloaded");
    job.write("registry.yaml", "x: BAD\n");
    // It may have begun to take them, so it is told of the last confirmed ones.
    program.wait_for(&["A", "BAD", "A"]);
    job.wait_for("out.conf", "A");
    daemon.wait_for_log("the last confirmed version is back");
    let refused = daemon.wait_for_log("the process refuses the new files");
    assert!(refused.contains(&format!("`POST http://127.0.0.1:{port}/load` answers 500")), "{refused}");

    // The token is read for each request.
    job.write("token", "hunter3\n");
    job.write("registry.yaml", "x: C\n");
    program.wait_for(&["A", "BAD", "A", "C"]);
    daemon.wait_for_log("reloaded");
    let tokens: Vec<String> = program.told.lock().unwrap().iter().map(|(_, token)| token.clone()).collect();
    assert_eq!(tokens, ["Bearer hunter2", "Bearer hunter2", "Bearer hunter2", "Bearer hunter3"]);
    let log = daemon.log().concat();
    assert!(!log.contains("hunter"), "{log}");
    daemon.stop();
}

#[test]
fn a_program_that_starts_later_is_told_then() {
    let port = port::free();
    let job = job(&format!("url: 'http://127.0.0.1:{port}/load', body_file: '{{dest}}'"));
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", "A");
    let waits = daemon.wait_for_log("not running, the reload is owed");
    assert!(waits.contains("takes no connection"), "{waits}");
    job.write("registry.yaml", "x: B\n");
    job.wait_for("out.conf", "B");
    let program = Program::start(port);
    program.wait_for(&["B"]);
    daemon.wait_for_log("reloaded");
    daemon.stop();
}

/// A real server, which says no to all but the method and the token that it wants.
#[test]
fn nginx_takes_the_request_as_it_is_meant() {
    let port = port::free();
    let job = job(&format!(
        "url: 'http://127.0.0.1:{port}/-/reload', method: PUT, headers: {{X-Token: hunter2}}, body_file: out.conf, \
         expect: [202, 204]"
    ));
    job.write(
        "nginx.conf",
        format!(
            "pid nginx.pid; error_log error.log; events {{}} http {{ access_log access.log; \
             client_body_temp_path body; server {{ listen 127.0.0.1:{port};
             location / {{ return 200; }}
             location = /-/reload {{ if ($http_x_token != hunter2) {{ return 403; }}
               if ($content_length = '') {{ return 411; }} return 204; }} }} }}"
        ),
    );
    let mut daemon = job.start(&["run", "--log-level", "debug"]);
    daemon.wait_for_log("not running, the reload is owed");
    let _nginx = Nginx::start(job.folder().root(), port);
    daemon.wait_for_log("reloaded");
    let taken = |times: usize| {
        poll_until(SOON, || {
            let log = job.read("access.log").unwrap_or_default();
            let lines = log.lines().filter(|line| line.contains("\"PUT /-/reload HTTP/1.1\" 204"));
            if lines.count() == times { Ok(()) } else { Err(log) }
        });
    };
    taken(1);

    // The operator turned the token: no refusal of the files, which stay.
    let config = job.read("liveconf.yaml").unwrap();
    job.write("liveconf.yaml", config.replace("hunter2", "hunter4"));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.wait_for_log("loaded the new configuration");
    job.write("registry.yaml", "x: B\n");
    let failed = daemon.wait_for_log("reload failed and is tried again");
    assert!(failed.contains("answers 403; see which token its `headers` give"), "{failed}");
    assert_eq!(job.read("out.conf").as_deref(), Some("B"));
    job.write("liveconf.yaml", config);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    taken(2);
    assert!(!daemon.log().concat().contains("hunter"), "{:#?}", daemon.log());
    daemon.stop();
}
