//! Programs that do not run when their file changes.

use std::time::{Duration, Instant};

use crate::web::{Kind, Web};

/// nginx and HAProxy were down when their file changed, and were started by hand later: the file was written, the reload was owed, and each served the newest within 10 s of its start.
#[test]
fn row_43_server_down_then_started_by_hand() {
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let mut web = Web::start(kind, "");
        let mut daemon = web.job.start(&["run"]);
        web.change(2, "");
        web.wait_for(2);
        web.end_server();
        web.change(3, "");
        daemon.wait_for_log("not running, the reload is owed");
        assert_eq!(web.in_file(), Some(3), "{kind:?}");
        assert!(web.served().is_err());

        web.start_server();
        let up = Instant::now();
        web.wait_for_within(Duration::from_secs(10), 3);
        // What it owes is settled without a signal: a later change finds everything as it should be.
        web.change(4, "");
        web.wait_for_within(Duration::from_secs(10), 4);
        println!("{kind:?}: served the newest {:?} after it was up", up.elapsed());
        assert_eq!(daemon.logged("not running, the reload is owed").len(), 1);
        daemon.stop();
    }
}

/// nginx was down, and its pid file was written a while after it had read the old file: the reload was made when the pid file came.
#[test]
fn row_43_pid_file_comes_later_than_the_server() {
    let mut web = Web::start(Kind::Nginx, "");
    let pid_file = web.job.folder().path("nginx.pid");
    let hidden = web.job.folder().path("hidden.pid");
    #[expect(clippy::disallowed_methods, reason = "the pid file is not a destination")]
    let hide = |from: &std::path::Path, to: &std::path::Path| std::fs::rename(from, to).unwrap();
    hide(&pid_file, &hidden);
    let mut daemon = web.job.start(&["run"]);
    web.change(2, "");
    daemon.wait_for_log("not running, the reload is owed");
    assert_eq!((web.in_file(), web.served()), (Some(2), Ok(1)));
    hide(&hidden, &pid_file);
    web.wait_for_within(Duration::from_secs(10), 2);
    web.end_server();
    daemon.stop();
}
