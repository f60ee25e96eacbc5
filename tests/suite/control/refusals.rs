//! Who refused files, when and why: while they are refused, after HUP, and after a restart.

use serde_json::Value;

use super::{asked, config, hang_up, job, wait_for_state};
use crate::support::poll_until;

/// Takes nothing that holds `bad`, and repeats it.
const REFUSES: &str =
    "    retry: 20ms..100ms\n    reload: {shell: 'cat out.conf; echo >> told; grep -q bad out.conf && exit 65; true'}";

/// Takes all, and is seen to be ill with what holds `bad`.
const FALLS_ILL: &str = "    reload: {shell: 'echo >> told'}
    confirm: {shell: '! grep -q bad out.conf', within: 200ms, interval: 20ms}";

/// The moment of the refusal, once it is known that it was refused by this, and why.
#[track_caller]
fn assert_refused(target: &Value, by: &str, why: &str) -> String {
    assert_eq!(target["rejected"]["by"], by, "{target:#}");
    let reason = target["reason"].as_str().unwrap();
    assert!(reason.contains(why) && !reason.contains("bad"), "{reason}");
    target["rejected"]["at"].as_str().unwrap().split_once('.').unwrap().0.to_owned()
}

#[test]
fn the_reason_outlives_hup_and_a_restart() {
    for (settings, by, why) in [(REFUSES, "reload", "exited with 65"), (FALLS_ILL, "confirm", "exited with 1")] {
        let job = job(settings);
        let mut daemon = job.start(&["run"]);
        assert_eq!(wait_for_state(&job, "settled")["rejected"], Value::Null);
        job.write("registry.yaml", "x: bad\n");
        let at = assert_refused(&wait_for_state(&job, "rejected"), by, why);

        // The next task of the target knows it from the record.
        let before = format!("the process refused these files before, at {at}Z: ");
        job.write("liveconf.yaml", config(&format!("{settings}\n    splay: 1ms")));
        hang_up(&mut daemon);
        let line = daemon.wait_for_log("these files before");
        assert!(line.contains(&before) && line.contains(why), "{line}");
        assert_eq!(assert_refused(&wait_for_state(&job, "rejected"), by, why), at);
        daemon.stop();

        let mut daemon = job.start(&["run"]);
        let line = daemon.wait_for_log("these files before");
        assert!(line.contains(&before) && line.contains(why) && !line.contains("bad"), "{line}");
        assert_eq!(assert_refused(&wait_for_state(&job, "rejected"), by, why), at);
        let explained = job.run(&["explain", "web"]).assert_code(0).stdout.clone();
        assert!(
            explained.contains("newest files refused: ") && explained.contains(&format!("by its {by}")),
            "{explained}"
        );
        let record = job.read("state/web.json").unwrap();
        assert!(record.contains(why) && !record.contains("bad\n"), "{record}");
        job.write("registry.yaml", "x: C\n");
        job.wait_for("out.conf", "C");
        assert_eq!(wait_for_state(&job, "settled")["rejected"], Value::Null);
        assert_eq!(asked(&job, &["explain", "web"]).0["target"]["rejected"], Value::Null);
        daemon.stop();
    }
}

#[test]
fn of_many_refusals_the_log_says_why_of_each() {
    const TIMES: usize = 7;
    let job = job(REFUSES);
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    let back = |daemon: &crate::support::liveconf::Daemon| daemon.logged("the last confirmed version is back");
    for time in 1..=TIMES {
        job.write("registry.yaml", format!("x: bad{time}\n"));
        poll_until(crate::support::SOON, || match back(&daemon).len() {
            lines if lines == time => Ok(()),
            lines => Err(format!("{lines} of {time}")),
        });
    }
    let unexplained: Vec<_> = back(&daemon).into_iter().filter(|line| !line.contains("exited with 65")).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(daemon.logged("the process refuses the new files").len() < TIMES, "the log is bounded still");
    daemon.stop();
}
