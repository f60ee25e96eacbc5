//! When it is looked whether somebody else changed the files of a target, and what is said of it (SEMANTICS 10).

use std::time::{Duration, Instant};

use rand::Rng as _;
use tracing::{error, info, warn};

use crate::apply::reload::haproxy::Running;
use crate::apply::{Drifted, Wrong};
use crate::config::{Drift, Target};
use crate::log::{Line, Repeats, listed};

/// The clock of a target for this, and what it found last.
#[derive(Debug)]
pub(super) struct DriftWatch {
    policy: Drift,
    interval: Duration,
    due: Instant,
    repeats: Repeats,
    /// What the log was told of the process.
    process: Repeats,
    /// What is wrong with the files now, for people.
    found: Vec<String>,
}

impl DriftWatch {
    pub(super) fn new(target: &Target) -> Self {
        let (policy, interval) = (target.drift, target.drift_interval);
        let due = Instant::now() + pause(interval);
        Self { policy, interval, due, repeats: Repeats::default(), process: Repeats::default(), found: Vec::new() }
    }

    /// When it is looked next; none where nobody wants to know.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.policy != Drift::Ignore).then_some(self.due)
    }

    /// What is wrong with the files, as far as it was seen last.
    pub(super) fn found(&self) -> &[String] {
        &self.found
    }

    /// The files were written anew.
    pub(super) fn written(&mut self) {
        self.found.clear();
    }

    /// It was looked, and this was found. Whether it is to be put right.
    pub(super) fn looked(&mut self, drifted: &[Drifted], name: &str, now: Instant) -> bool {
        self.due = now + pause(self.interval);
        self.found = drifted.iter().map(ToString::to_string).collect();
        if drifted.is_empty() {
            if self.repeats.recovered(now).is_some() {
                info!(target = name, "the files are what was put there again");
            }
            return false;
        }
        let is_fit = !drifted.iter().any(|drifted| matches!(drifted.wrong, Wrong::Unfit(_)));
        let found = listed(&self.found);
        if self.repeats.failed(now, &found) != Line::Silent {
            let said = match (self.policy, is_fit) {
                (Drift::Repair, true) => "somebody changed the files, which are put back",
                (Drift::Repair, false) => "somebody changed the files, which cannot be put back",
                (Drift::Report | Drift::Ignore, _) => "somebody changed the files, which stay so",
            };
            if is_fit {
                warn!(target = name, "{said}: {found}");
            } else {
                error!(target = name, "{said}: {found}");
            }
        }
        self.policy == Drift::Repair && is_fit
    }

    /// Something newer took the place of files that somebody had changed, before it was looked for that.
    pub(super) fn replaced(&mut self, drifted: &[Drifted], name: &str, now: Instant) {
        let found: Vec<String> = drifted.iter().map(ToString::to_string).collect();
        let found = listed(&found);
        if !drifted.is_empty() && self.policy != Drift::Ignore && self.repeats.failed(now, &found) != Line::Silent {
            warn!(target = name, "somebody changed the files, which are replaced by newer ones: {found}");
        }
    }

    /// It was looked what the process runs. Whether that is to be put right.
    pub(super) fn ran(&mut self, found: &Result<Running, String>, name: &str, now: Instant) -> bool {
        let wrong = match found {
            Ok(Running { wrong: 0, .. }) => {
                if self.process.recovered(now).is_some() {
                    info!(target = name, "haproxy runs what its files say again");
                }
                return false;
            }
            Ok(running) => format!("haproxy runs {}", servers(running.wrong)),
            Err(reason) => format!("it cannot be looked at what haproxy runs: {reason}"),
        };
        let repairs = self.policy == Drift::Repair && found.is_ok();
        if self.process.failed(now, &wrong) != Line::Silent {
            warn!(target = name, "{wrong}{}", if repairs { ", which is put right" } else { "" });
        }
        self.found = vec![wrong];
        repairs
    }
}

fn servers(wrong: usize) -> String {
    let plural = if wrong == 1 { "" } else { "s" };
    format!("{wrong} server{plural} otherwise than its files say")
}

/// Up to a tenth shorter, so that the targets of a machine do not look all at once.
fn pause(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - 0.1 * rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(policy: Drift) -> DriftWatch {
        let (now, interval) = (Instant::now(), Duration::from_secs(30));
        DriftWatch {
            policy,
            interval,
            due: now,
            repeats: Repeats::default(),
            process: Repeats::default(),
            found: Vec::new(),
        }
    }

    fn drifted(wrong: Wrong) -> [Drifted; 1] {
        [Drifted { file: "/etc/x".into(), wrong }]
    }

    #[test]
    fn only_what_can_be_put_right_is_repaired_and_only_where_that_is_wanted() {
        let now = Instant::now();
        assert!(watch(Drift::Repair).looked(&drifted(Wrong::Edited), "web", now));
        assert!(watch(Drift::Repair).looked(&drifted(Wrong::Gone), "web", now));
        assert!(!watch(Drift::Repair).looked(&drifted(Wrong::Unfit("a folder".into())), "web", now));
        assert!(!watch(Drift::Repair).looked(&[], "web", now));
        assert!(!watch(Drift::Report).looked(&drifted(Wrong::Edited), "web", now));
        assert_eq!(watch(Drift::Ignore).due(), None);
    }

    #[test]
    fn it_looks_within_its_interval_and_remembers_what_it_saw() {
        let mut watch = watch(Drift::Report);
        let now = Instant::now();
        watch.looked(&drifted(Wrong::Edited), "web", now);
        let due = watch.due().unwrap();
        assert!(due > now + Duration::from_secs(26) && due <= now + Duration::from_secs(30));
        assert_eq!(watch.found(), ["`/etc/x` was edited"]);
        watch.looked(&[], "web", due);
        assert!(watch.found().is_empty());
    }
}
