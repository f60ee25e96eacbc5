//! What the log is told of holds: one line when one begins, one when it ends.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{End, Event, GuardedQuery, Loss, Reason, Rule};
use crate::log::rounded;
use crate::registry::{Asked, Registry};

/// How many holds are named within a minute. A right that is taken away may empty thousands of services at once.
const MOST: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// How long a line waits for what the registry says of our rights.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many registries are asked at a time.
const AT_A_TIME: usize = 4;

/// What was told about one target.
#[derive(Debug)]
pub(super) struct Notices {
    target: Arc<str>,
    /// The holds whose beginning was told, and whose end therefore is, each with where that line went.
    told: BTreeMap<Asked, Way>,
    /// When it was last begun to name holds, and how many there were since.
    named: Option<(Instant, usize)>,
    /// Who is asked what we may read, by the name of the registry.
    registries: BTreeMap<Arc<str>, Arc<dyn Registry>>,
    /// Lines that wait for an answer to that; made with the first.
    waiting: Option<mpsc::UnboundedSender<Line>>,
}

/// How a line gets into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// At once.
    Straight,
    /// Behind those that wait for an answer.
    Waiting,
}

/// A line that waits: for what, and what writes it.
type Line = (Option<BoxFuture<'static, String>>, Box<dyn FnOnce(Option<String>) + Send>);

impl Notices {
    /// About `target`, of which these holds are known.
    pub(super) fn new(target: Arc<str>, told: impl Iterator<Item = Asked>) -> Self {
        let told = told.map(|asked| (asked, Way::Straight)).collect();
        Self { target, told, named: None, registries: BTreeMap::new(), waiting: None }
    }

    /// Has these registries asked what we may read.
    pub(super) fn ask(&mut self, registries: BTreeMap<Arc<str>, Arc<dyn Registry>>) {
        self.registries = registries;
    }

    /// Tells what became of a query, if that was not told yet.
    pub(super) fn tell(&mut self, asked: &Asked, query: &GuardedQuery, rule: &Rule, event: Event, now: Instant) {
        match event {
            Event::Begun => {
                if let Some(loss) = query.loss(rule).filter(|_| !self.told.contains_key(asked))
                    && self.has_room(now)
                {
                    self.tell_begun(asked, &loss, rule);
                }
            }
            Event::Ended(end, lasted) => {
                if let Some(way) = self.told.remove(asked) {
                    let why = match end {
                        End::Returned => "enough is there again",
                        End::Confirmed => "a consistent read shows the same",
                        End::Released => "the operator released it",
                    };
                    let (target, query, lasted) = (self.target.clone(), asked.to_string(), rounded(lasted));
                    let write =
                        move || info!(target = &*target, %query, "the newest answer passes after {lasted}: {why}");
                    self.write(way, None, move |_| write());
                }
            }
        }
    }

    /// No template asks a query any more.
    pub(super) fn forget(&mut self, asked: &Asked) {
        if let Some(way) = self.told.remove(asked) {
            let (target, query) = (self.target.clone(), asked.to_string());
            let write = move || info!(target = &*target, %query, "no template asks any more what was held back");
            self.write(way, None, move |_| write());
        }
    }

    /// Whether one more hold may be named.
    fn has_room(&mut self, now: Instant) -> bool {
        let (begin, count) = self.named.get_or_insert((now, 0));
        if now.saturating_duration_since(*begin) >= MINUTE {
            (*begin, *count) = (now, 0);
        }
        *count += 1;
        if *count == MOST + 1 {
            warn!(target = &*self.target, "more answers are held back, which are not named for a minute");
        }
        *count <= MOST
    }

    fn tell_begun(&mut self, asked: &Asked, loss: &Loss, rule: &Rule) {
        let rights = self.registries.get(&asked.registry).and_then(|registry| {
            let rights = registry.rights(&asked.query, &asked.registry)?;
            Handle::try_current().is_ok().then_some(rights)
        });
        let way = if rights.is_some() { Way::Waiting } else { Way::Straight };
        self.told.insert(asked.clone(), way);
        let (target, query, until) = (self.target.clone(), asked.to_string(), until(loss, rule));
        let Loss { before, after, .. } = *loss;
        self.write(way, rights, move |rights| {
            let (target, rights) = (&*target, rights.as_deref());
            if let Some(before) = before {
                warn!(target, %query, before, after, rights, "the last accepted answer stays {until}");
            } else {
                warn!(target, %query, after, rights, "the existing files stay {until}");
            }
        });
    }

    /// Writes a line, at once or in its turn.
    fn write(
        &mut self,
        way: Way,
        rights: Option<BoxFuture<'static, String>>,
        write: impl FnOnce(Option<String>) + Send + 'static,
    ) {
        match way {
            Way::Straight => write(None),
            // The task ends with its sender, and with the program.
            Way::Waiting => drop(self.waiting.get_or_insert_with(write_in_turn).send((rights, Box::new(write)))),
        }
    }
}

/// Starts a task that writes lines in their order, each when what it waits for is known or takes too long.
fn write_in_turn() -> mpsc::UnboundedSender<Line> {
    let (sender, receiver) = mpsc::unbounded_channel::<Line>();
    let lines = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let answered = lines.map(async |(rights, write)| {
        let Some(rights) = rights else { return (None, write) };
        let rights = timeout(PATIENCE, rights).await;
        (Some(rights.unwrap_or_else(|_| "the registry does not say in time what we may read".to_owned())), write)
    });
    tokio::spawn(answered.buffered(AT_A_TIME).for_each(|(rights, write)| {
        write(rights);
        ready(())
    }));
    sender
}

/// What ends a hold.
fn until(loss: &Loss, rule: &Rule) -> String {
    match (loss.reason, loss.limit) {
        (Reason::TooFew, _) => format!("until there are {} or more", rule.min),
        (_, Some(limit)) => {
            format!("until enough is there again, or for {} and until a consistent read shows the same", rounded(limit))
        }
        (_, None) => "until something is there again; `liveconf release` lets it pass".to_owned(),
    }
}
