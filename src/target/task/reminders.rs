//! What the log is told now and then of what lasts.

use std::time::{Duration, Instant};

use tracing::warn;

use super::{REMIND, SAY_PAUSED, Task, waiting_for};
use crate::log::{Line, listed, rounded};
use crate::target::state::Phase;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Apply,
    Reload,
}

impl Task {
    pub(super) fn write_paused(&mut self) {
        let since = self.desk.paused().and_then(|since| since.elapsed().ok()).unwrap_or_default();
        let changed = if self.schedule.due().is_some() { "; there is something new" } else { "" };
        warn!(target = self.name(), "still paused, for {} now{changed}", rounded(since));
        self.say_paused = Some(Instant::now() + SAY_PAUSED);
    }

    /// What is to be said of what lasts and only a change can mend.
    pub(super) fn reminder(&mut self, now: Instant) -> Option<String> {
        let (_, step) = self.remind.take()?;
        let reason = match &self.desk.state().borrow().phase {
            Phase::Failed(reason) | Phase::Rejected(reason) => reason.clone(),
            _ => return None,
        };
        self.remind = Some((now + REMIND, step));
        let retries = if step == Step::Apply { &mut self.apply } else { &mut self.reload };
        match retries.repeats.failed(now, &reason) {
            Line::First => Some(format!("not applied: {reason}")),
            Line::Still(lasted) => Some(format!("not applied for {}: {reason}", rounded(lasted))),
            Line::Silent => None,
        }
        .filter(|_| !self.paused)
    }

    pub(super) fn write_waiting(&mut self) {
        let view = self.reader.view();
        let missing = self.waiting.iter().flat_map(|waiting| &waiting.missing);
        let absent = missing.filter(|asked| view.answer(asked).is_none());
        let mut waiting: Vec<String> = absent.map(|asked| waiting_for(asked, &self.reader)).collect();
        waiting.extend(self.waiting.as_ref().and_then(|waiting| waiting.not_yet.clone()));
        warn!(target = self.name(), "still waits for {}", listed(&waiting));
        self.say_waiting = Some(Instant::now() + Duration::from_secs(60));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::target::{Desk, Failure};

    #[tokio::test]
    async fn what_only_a_change_can_mend_is_told_again_with_its_age() {
        let folder = tempfile::tempdir().unwrap();
        let (store, desk) = (crate::store::Store::new(), Arc::new(Desk::new()));
        let _wanted = store.add_registry(&"main".into());
        let mut task = crate::target::tests::listing(folder.path(), crate::config::Guard::default(), &store, &desk);
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(task.reminder(at(0)), None);
        task.note_failure(&Failure::Refused("refused before".to_owned()));
        let (due, _) = task.remind.unwrap();
        assert!(due > at(58) && due <= at(60));
        assert_eq!(task.reminder(due).as_deref(), Some("not applied for 1m: refused before"));
        assert_eq!(task.reminder(due + Duration::from_secs(1)), None, "once a minute");
        task.paused = true;
        assert_eq!(task.reminder(at(200)), None);
        task.paused = false;
        assert!(task.reminder(at(300)).is_some_and(|line| line.starts_with("not applied for 5m")));
        task.note_settled();
        assert_eq!((task.reminder(at(400)), task.remind), (None, None));
        // The next task knows for how long it lasted.
        let (stop, outage) = (CancellationToken::new(), Instant::now());
        stop.cancel();
        task.note_failure(&Failure::Refused("refused before".to_owned()));
        task.run(stop).await;
        let mut task = crate::target::tests::listing(folder.path(), crate::config::Guard::default(), &store, &desk);
        assert!(task.apply.succeeded().is_some_and(|lasted| lasted <= outage.elapsed() + Duration::from_secs(1)));
    }
}
