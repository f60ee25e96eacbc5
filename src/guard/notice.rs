//! What the log is told of holds: one line when one begins, one when it ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{End, Event, GuardedQuery, Loss, Reason, Rule};
use crate::log::rounded;
use crate::registry::Asked;

/// How many holds are named within a minute. A right that is taken away may empty thousands of services at once.
const MOST: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// What was told about one target.
#[derive(Debug)]
pub(super) struct Notices {
    target: Arc<str>,
    /// The holds whose beginning was told, and whose end therefore is.
    told: BTreeSet<Asked>,
    /// When it was last begun to name holds, and how many there were since.
    named: Option<(Instant, usize)>,
}

impl Notices {
    /// About `target`, of which these holds are known.
    pub(super) fn new(target: Arc<str>, told: BTreeSet<Asked>) -> Self {
        Self { target, told, named: None }
    }

    /// Tells what became of a query, if that was not told yet.
    pub(super) fn tell(&mut self, asked: &Asked, query: &GuardedQuery, rule: &Rule, event: Event, now: Instant) {
        let target = &*self.target;
        match event {
            Event::Begun => {
                let Some(loss) = query.loss(rule).filter(|_| !self.told.contains(asked)) else { return };
                let (begin, count) = self.named.get_or_insert((now, 0));
                if now.saturating_duration_since(*begin) >= MINUTE {
                    (*begin, *count) = (now, 0);
                }
                *count += 1;
                if *count > MOST {
                    if *count == MOST + 1 {
                        warn!(target, "more answers are held back, which are not named for a minute");
                    }
                    return;
                }
                self.told.insert(asked.clone());
                let Loss { before, after, .. } = loss;
                let until = until(&loss, rule);
                if let Some(before) = before {
                    warn!(target, query = %asked, before, after, "the last accepted answer stays {until}");
                } else {
                    warn!(target, query = %asked, after, "the existing files stay {until}");
                }
            }
            Event::Ended(end, lasted) => {
                if self.told.remove(asked) {
                    let why = match end {
                        End::Returned => "enough is there again",
                        End::Confirmed => "a consistent read shows the same",
                        End::Released => "the operator released it",
                    };
                    info!(target, query = %asked, "the newest answer passes after {}: {why}", rounded(lasted));
                }
            }
        }
    }

    /// No template asks a query any more.
    pub(super) fn forget(&mut self, asked: &Asked) {
        if self.told.remove(asked) {
            info!(target = &*self.target, query = %asked, "no template asks any more what was held back");
        }
    }
}

/// What ends a hold.
fn until(loss: &Loss, rule: &Rule) -> String {
    match (loss.reason, loss.limit) {
        (Reason::TooFew, _) => format!("until there are {} or more", rule.min),
        (_, Some(limit)) => {
            format!("until enough is there again, or for {} and until a consistent read shows the same", rounded(limit))
        }
        (_, None) => "until something is there again; `guard: {empty_after: 0s}` and a reload let it pass".to_owned(),
    }
}
