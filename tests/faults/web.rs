//! Real nginx and HAProxy that answer with the generation which they run, in files that come from a registry.

use std::time::Duration;

use crate::support::haproxy::Haproxy;
use crate::support::liveconf::Job;
use crate::support::nginx::Nginx;
use crate::support::{SOON, http, poll_until, port};

/// The registry.
const REGISTRY: &str = "registry/registry.yaml";

/// A web server, the file that it reads, and the registry that the file comes from.
pub(crate) struct Web {
    pub(crate) job: Job,
    pub(crate) port: u16,
    /// The pid file of the master is there.
    server: Option<Server>,
    kind: Kind,
}

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
}

enum Server {
    Nginx(#[expect(dead_code, reason = "ends with the scene")] Nginx),
    Haproxy(#[expect(dead_code, reason = "ends with the scene")] Haproxy),
}

impl Kind {
    /// The file that is written.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Nginx => "out/web.conf",
            Self::Haproxy => "haproxy.cfg",
        }
    }
}

impl Web {
    /// The server shows generation 1. `more` are keys of the target, each line indented by four spaces. What stands under
    /// `more` in the registry goes into the file as it is.
    pub(crate) fn start(kind: Kind, more: &str) -> Self {
        let port = port::free();
        let template = match kind {
            Kind::Nginx => format!(
                "server {{
            listen 127.0.0.1:{port};
            location / {{ return 200 \"{{{{ key(path=\"generation\") }}}}\"; }}
          }}
          {{{{ key(path=\"more\", default=\"\") }}}}"
            ),
            Kind::Haproxy => format!(
                "defaults
            mode http
            timeout connect 1s
            timeout client 5s
            timeout server 5s
          frontend web
            bind 127.0.0.1:{port}
            http-request return status 200 content-type text/plain string {{{{ key(path=\"generation\") }}}}
          {{{{ key(path=\"more\", default=\"\") }}}}"
            ),
        };
        let (file, signal, pid_file) = match kind {
            Kind::Nginx => (kind.file(), "HUP", "nginx.pid"),
            Kind::Haproxy => (kind.file(), "USR2", "haproxy.pid"),
        };
        let job = Job::new(&format!(
            "registries: {{main: {{file: {{path: {REGISTRY}}}}}}}
targets:
  web:
    templates:
      - content: |
          {template}
        dest: {file}
    reload: {{signal: {signal}, pid_file: {pid_file}}}
    wait: 0
    reload_interval: 0
{more}"
        ))
        .with(
            "nginx.conf",
            "pid nginx.pid;\nerror_log error.log;\nworker_processes 1;\nevents {}\n\
             http {\n  access_log off;\n  include out/*.conf;\n}\n",
        );
        std::fs::create_dir(job.folder().path("out")).unwrap();
        let mut web = Self { job, port, server: None, kind };
        web.change(1, "");
        web.job.run(&["once"]).assert_code(0);
        web.start_server();
        web.wait_for(1);
        // Now that it runs, what it runs is confirmed.
        web.job.run(&["once"]).assert_code(0);
        web
    }

    /// Writes a generation, and more text for the file, into the registry.
    pub(crate) fn change(&self, generation: u64, more: &str) {
        self.job.write(REGISTRY, format!("generation: {generation}\nmore: |\n  {}\n", more.replace('\n', "\n  ")));
    }

    /// Starts the server by hand.
    pub(crate) fn start_server(&mut self) {
        let root = self.job.folder().root();
        self.server = Some(match self.kind {
            Kind::Nginx => Server::Nginx(Nginx::start(root, self.port)),
            Kind::Haproxy => Server::Haproxy(Haproxy::start(root, self.port)),
        });
    }

    /// Ends it, with its workers.
    pub(crate) fn end_server(&mut self) {
        self.server = None;
        poll_until(SOON, || match http::get(self.port, "/") {
            Ok(answer) => Err(format!("still answers {answer:?}")),
            Err(_) => Ok(()),
        });
    }

    /// The generation that the server serves.
    pub(crate) fn served(&self) -> Result<u64, String> {
        let (status, body) = http::get(self.port, "/").map_err(|error| error.to_string())?;
        body.parse().map_err(|_| format!("answers {status} {body:?}"))
    }

    /// Waits until the server serves a generation.
    #[track_caller]
    pub(crate) fn wait_for(&self, generation: u64) {
        self.wait_for_within(SOON, generation);
    }

    /// The same with a time of its own.
    #[track_caller]
    pub(crate) fn wait_for_within(&self, within: Duration, generation: u64) {
        poll_until(within, || match self.served()? {
            served if served == generation => Ok(()),
            served => Err(format!("should serve generation {generation}, but serves {served}")),
        });
    }

    /// The generation that the file tells.
    pub(crate) fn in_file(&self) -> Option<u64> {
        let text = self.job.read(self.kind.file())?;
        let (_, after) = text.split_once("return ")?;
        let value = after.split(['"', '\n', ';']).find_map(|piece| piece.rsplit(' ').next()?.parse().ok());
        value.filter(|value| *value != 200)
    }
}
