//! Changes the servers of a HAProxy while it runs, and looks whether it runs those that are wanted.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::difference::{Difference, difference};
use super::plan::{Plan, Removed, Step, Unplanned, plan};
use super::presence::without_runtime;
use super::sections::{self, Section};
use super::socket::ask;
use super::table::Table;
use super::word::Word;
use crate::config::Haproxy;

/// How soon it is looked again whether servers that are not wanted may be deleted, and the longest pause until then.
const SWEEP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What HAProxy says where a server was added.
const ADDED: &str = "New server registered.";

/// A change of files that a HAProxy takes without a reload.
#[derive(Debug, Clone)]
pub struct Change(Difference);

/// What is to be said to a HAProxy for a change.
#[derive(Debug)]
pub struct Prepared(Vec<Plan>);

/// The runtime side of a HAProxy: it remembers which servers wait for their last sessions to end.
#[derive(Debug, Default)]
pub struct Runtime {
    removed: Removed,
    /// When it is looked for these next, and after which pause.
    sweep: Option<(Instant, Duration)>,
}

/// What was found of a HAProxy that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Running {
    /// How many servers are not as the files say.
    pub wrong: usize,
    /// How many are not wanted, and wait for their last sessions to end.
    pub leftover: usize,
}

impl Change {
    /// What is between two versions of files, each with its destination, where a HAProxy can take it while it runs; why not
    /// otherwise.
    pub fn between<'a>(files: impl IntoIterator<Item = (&'a Path, &'a [u8], &'a [u8])>) -> Result<Self, String> {
        difference(files).map(Self).map_err(|why| why.to_string())
    }

    /// The way back.
    #[must_use]
    pub fn reversed(self) -> Self {
        let sections = self.0.sections.into_iter().map(|(old, new)| (new, old)).collect();
        Self(Difference { sections })
    }
}

impl Runtime {
    /// Finds out what is to be said to HAProxy for a change. Nothing is said yet.
    pub async fn prepare(&mut self, haproxy: &Haproxy, change: &Change) -> Result<Prepared, String> {
        let sections: Vec<&Section> = change.0.sections.iter().map(|(_, new)| new).collect();
        let table = within(haproxy, table(haproxy, &sections)).await?;
        let plan = |(old, new): &(Section, Section)| self.plan(new, &table, |name| !old.servers.contains_key(name));
        let plans: Result<_, Unplanned> = change.0.sections.iter().map(plan).collect();
        let plans = plans.map_err(|Unplanned| NOT_ADDABLE.to_owned())?;
        for (old, new) in &change.0.sections {
            for (name, server) in old.servers.iter().filter(|(name, _)| !new.servers.contains_key(*name)) {
                if let Some(known) = server.options.known() {
                    self.removed.insert((old.name.clone(), name.clone()), known.clone());
                }
            }
        }
        Ok(Prepared(plans))
    }

    /// Says it. How many servers were changed; or why HAProxy may have taken only some of the change.
    pub async fn carry_out(&mut self, haproxy: &Haproxy, prepared: &Prepared) -> Result<usize, String> {
        within(haproxy, take(haproxy, prepared.0.iter().flat_map(Plan::steps).collect())).await?;
        Ok(prepared.0.iter().map(Plan::size).sum())
    }

    /// Looks whether HAProxy runs what a change has made; why not, where it does not.
    pub async fn confirm(&mut self, haproxy: &Haproxy, change: &Change) -> Result<(), String> {
        let sections: Vec<&Section> = change.0.sections.iter().map(|(_, new)| new).collect();
        match within(haproxy, self.look_at(haproxy, &sections)).await?.1.wrong {
            0 => Ok(()),
            wrong => Err(not_as_wanted(wrong)),
        }
    }

    /// Looks whether HAProxy runs the servers that these files say. Those that are not wanted and serve nobody any more are
    /// deleted.
    pub async fn look(&mut self, haproxy: &Haproxy, files: &[Bytes]) -> Result<Running, String> {
        let sections = changeable(files);
        let sections: Vec<&Section> = sections.iter().collect();
        let found = within(haproxy, async {
            let (plans, running) = self.look_at(haproxy, &sections).await?;
            for plan in plans.iter().flatten() {
                take(haproxy, plan.leftover.iter().collect()).await?;
            }
            Ok(running)
        })
        .await;
        if found.is_err() {
            self.postpone();
        }
        found
    }

    /// Nothing can be found out now.
    pub fn postpone(&mut self) {
        self.sweep = self.sweep.map(|_| (Instant::now() + SWEEP.1, SWEEP.1));
    }

    /// Makes HAProxy run the servers that these files say, and looks whether it does. How many were changed.
    pub async fn put_right(&mut self, haproxy: &Haproxy, files: &[Bytes]) -> Result<usize, String> {
        let sections = changeable(files);
        let sections: Vec<&Section> = sections.iter().collect();
        within(haproxy, async {
            let (plans, before) = self.look_at(haproxy, &sections).await?;
            for plan in plans {
                let plan = plan.map_err(|Unplanned| NOT_ADDABLE.to_owned())?;
                take(haproxy, plan.steps().collect()).await?;
            }
            match self.look_at(haproxy, &sections).await?.1.wrong {
                0 => Ok(before.wrong),
                wrong => Err(not_as_wanted(wrong)),
            }
        })
        .await
    }

    /// When it is to be looked again because of servers that wait for their last sessions to end.
    pub fn due(&self) -> Option<Instant> {
        self.sweep.map(|(at, _)| at)
    }

    /// HAProxy was loaded anew: what waited for its sessions is gone with the old process.
    pub fn reloaded(&mut self) {
        *self = Self::default();
    }

    /// What makes each of these sections true, and how far HAProxy is from them.
    async fn look_at(
        &mut self,
        haproxy: &Haproxy,
        sections: &[&Section],
    ) -> Result<(Vec<Result<Plan, Unplanned>>, Running), String> {
        let table = table(haproxy, sections).await?;
        let looked: HashSet<&str> = sections.iter().map(|section| section.name.as_str()).collect();
        let there: HashSet<(&str, &str)> =
            table.rows.iter().map(|row| (row.section.as_str(), row.name.as_str())).collect();
        self.removed
            .retain(|(section, name), _| !looked.contains(&**section) || there.contains(&(&**section, &**name)));
        let plans: Vec<_> = sections.iter().map(|section| self.plan(section, &table, |_| false)).collect();
        let wrong = plans.iter().map(|plan| plan.as_ref().map_or(1, Plan::size)).sum();
        let leftover = plans.iter().flatten().map(|plan| plan.leftover.len()).sum();
        self.note(leftover);
        Ok((plans, Running { wrong, leftover }))
    }

    fn plan(&self, section: &Section, table: &Table, is_new: impl Fn(&str) -> bool) -> Result<Plan, Unplanned> {
        plan(section, table.rows.iter().filter(|row| row.section == section.name), is_new, &self.removed)
    }

    /// So many servers wait for their last sessions to end.
    fn note(&mut self, leftover: usize) {
        let now = Instant::now();
        self.sweep = match self.sweep {
            _ if leftover == 0 => None,
            Some((at, pause)) if at > now => Some((at, pause)),
            Some((_, pause)) => Some((pause * 2).min(SWEEP.1)).map(|pause| (now + pause, pause)),
            None => Some((now + SWEEP.0, SWEEP.0)),
        };
    }
}

/// The sections of files whose servers can be looked at one by one.
fn changeable(files: &[Bytes]) -> Vec<Section> {
    let files = files.iter().filter_map(|file| sections::read(file).ok());
    files.flat_map(|file| file.sections).filter(|section| section.obstacle.is_none()).collect()
}

/// The state of the servers of HAProxy; of one section alone where only that counts.
pub(super) async fn table(haproxy: &Haproxy, sections: &[&Section]) -> Result<Table, String> {
    let name = match sections {
        [section] => Word::name(&section.name),
        _ => None,
    };
    let line = name.map_or_else(|| "show servers state".to_owned(), |name| format!("show servers state {name}"));
    let answer = tell(haproxy, &line).await?;
    let socket = haproxy.socket.display();
    Table::parse(&answer).ok_or_else(|| {
        if is_denied(&answer) {
            denied(haproxy)
        } else {
            format!("what listens on `{socket}` does not say how the servers of haproxy are")
        }
    })
}

/// Says to HAProxy what these steps say, one after the other.
async fn take(haproxy: &Haproxy, steps: Vec<&Step>) -> Result<(), String> {
    for step in steps {
        let answer = tell(haproxy, &step.line).await?;
        if is_denied(&answer) {
            return Err(denied(haproxy));
        }
        if step.adds && !answer.contains(ADDED) {
            return Err("haproxy does not add a server while it runs that it is given".to_owned());
        }
    }
    Ok(())
}

/// One line for HAProxy, and its answer.
async fn tell(haproxy: &Haproxy, line: &str) -> Result<String, String> {
    match ask(&haproxy.socket, line).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(without_runtime(haproxy, &error).await),
    }
}

fn is_denied(answer: &str) -> bool {
    answer.contains("Permission denied")
}

fn denied(haproxy: &Haproxy) -> String {
    format!("haproxy allows no changes on `{}`: give its `stats socket` line `level admin`", haproxy.socket.display())
}

const NOT_ADDABLE: &str = "a server is missing in haproxy that cannot be added while it runs";

fn not_as_wanted(count: usize) -> String {
    let servers = if count == 1 { "server that is" } else { "servers that are" };
    format!("haproxy runs {count} {servers} not as the files say")
}

/// Does something about a HAProxy within the time that is configured for it.
async fn within<T>(haproxy: &Haproxy, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(haproxy.timeout, work).await.unwrap_or_else(|_| {
        let time = humantime::format_duration(haproxy.timeout);
        Err(format!("haproxy was not done with what it was told on `{}` within {time}", haproxy.socket.display()))
    })
}
