//! What goes to the process ahead of its files: a change that it takes while it runs (`reload: {haproxy: ...}`).
//!
//! The record says *unsettled* before the first command, as before a reload. So whatever comes between the socket and the
//! end of the commit, a crash too, leaves a reload owed, which makes the process true to its files again.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tracing::{info, warn};

use super::{Applier, Failure, InPlace, patience};
use crate::apply::Process;
use crate::apply::reload::haproxy::{Change, Running};
use crate::config::{Haproxy, Reload, Writes};
use crate::process::BootTime;
use crate::target::files::{Files, InForce};

/// A change that was brought to the process before its files were in place.
pub(super) struct Ahead {
    change: Change,
    /// The files that it ran until then.
    old: InForce,
    /// What its files are to hold.
    new: Vec<Bytes>,
    /// What the record said of it until then.
    before: Process,
    /// How many servers are others now; why the process may have taken only some of it.
    taken: Result<usize, String>,
}

/// How the process was told last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// While it ran: so many servers were changed.
    Runtime(usize),
    /// By a reload; for this reason, where it could have been told while it ran.
    Reload(Option<String>),
}

impl Applier {
    /// The HAProxy that takes changes while it runs, where the target is one.
    fn haproxy(&self) -> Option<Haproxy> {
        match &self.target().reload {
            Reload::Haproxy(haproxy) => Some(haproxy.clone()),
            _ => None,
        }
    }

    /// Brings the process what is new in these files, where it can take that while it runs. Where it cannot, a reload comes
    /// after the commit, and it is noted why.
    pub(super) async fn go_ahead(&mut self, rendered: &[Bytes]) -> Result<(), Failure> {
        let Some(haproxy) = self.haproxy().filter(|_| !self.no_reload) else { return Ok(()) };
        self.by_reload = None;
        let in_force = self.on_thread(Files::that_run).await?;
        let Some(old) = in_force.filter(|_| !self.owed && !self.is_going_back) else {
            let new = self.on_thread(Files::first_missing).await?;
            let unknown = || "it is not known to run the files that were in place".to_owned();
            self.by_reload = Some(new.map_or_else(unknown, |file| format!("`{}` is a new file", file.display())));
            return Ok(());
        };
        let (was, new) = (old.bytes.clone(), rendered.to_vec());
        let between = move |files: &Files| {
            let templates = &files.target.templates;
            if let Some(gone) = templates.iter().find(|template| template.writes == Writes::Gone) {
                return Err(format!("`{}` goes", gone.dest.display()));
            }
            let files = templates.iter().zip(&was).zip(&new).filter(|((file, _), _)| file.writes != Writes::Kept);
            Change::between(files.map(|((file, old), new)| (file.dest.as_path(), &**old, &**new)))
        };
        let prepared = match self.on_thread(between).await? {
            Ok(change) => self
                .pulse
                .outside(patience::runtime(&haproxy), self.runtime.prepare(&haproxy, &change))
                .await
                .map(|prepared| (change, prepared)),
            Err(reason) => Err(reason),
        };
        let (change, prepared) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                self.by_reload = Some(reason);
                return Ok(());
            }
        };
        let before = self.on_thread(Files::begin).await?;
        let taken = self.pulse.outside(patience::runtime(&haproxy), self.runtime.carry_out(&haproxy, &prepared)).await;
        self.ahead = Some(Ahead { change, old, new: rendered.to_vec(), before, taken });
        Ok(())
    }

    /// Whether this was brought to the process before, and taken back. It goes there once more only when its check has agreed:
    /// a check that cannot be run would have servers come and go with each try.
    pub(super) fn was_turned_back(&self, rendered: &[Bytes]) -> bool {
        self.turned_back.as_deref() == Some(rendered)
    }

    /// Takes back what was brought to the process: its files do not come into place. What it may still run of it is owed.
    pub(super) async fn turn_back(&mut self) -> Result<(), Failure> {
        let (Some(Ahead { change, old, new, before, .. }), Some(haproxy)) = (self.ahead.take(), self.haproxy()) else {
            return Ok(());
        };
        self.turned_back = Some(new);
        let back = change.reversed();
        match self.bring_back(&haproxy, &back).await {
            Ok(()) => {
                info!(target = &*self.target().name, "haproxy runs its servers of before again");
                self.on_thread(move |files| files.records.take_back(&files.target.name, before)).await
            }
            Err(reason) => {
                warn!(target = &*self.target().name, "haproxy may run servers of files that are refused: {reason}");
                let InForce { hashes, bytes } = old;
                let (at, bytes) = (BootTime::now(), Some(bytes));
                self.committed =
                    Some(InPlace { hashes, at, is_verified: true, earlier: None, asks_record: false, bytes });
                self.owed = true;
                Ok(())
            }
        }
    }

    /// A reload comes. Where the process could have been told while it runs, it is said once why it was not.
    pub(super) fn note_reload(&mut self) {
        if self.haproxy().is_none() {
            return;
        }
        let reason = self.by_reload.take();
        if let Some(reason) = &reason {
            info!(target = &*self.target().name, "haproxy needs a reload: {reason}");
        }
        if reason.is_some() || !matches!(self.journal.way, Some(Way::Reload(_))) {
            self.journal.way = Some(Way::Reload(reason));
        }
    }

    async fn bring_back(&mut self, haproxy: &Haproxy, back: &Change) -> Result<(), String> {
        let prepared = self.pulse.outside(patience::runtime(haproxy), self.runtime.prepare(haproxy, back)).await?;
        self.pulse.outside(patience::runtime(haproxy), self.runtime.carry_out(haproxy, &prepared)).await?;
        self.pulse.outside(patience::runtime(haproxy), self.runtime.confirm(haproxy, back)).await
    }

    /// Whether the process runs what was brought to it ahead of its files, which are in place by now. Otherwise a reload is to
    /// come.
    pub(super) async fn runs_ahead(&mut self) -> bool {
        let (Some(ahead), Some(haproxy)) = (self.ahead.take(), self.haproxy()) else { return false };
        self.turned_back = None;
        let runs = match ahead.taken {
            Ok(count) => self
                .pulse
                .outside(patience::runtime(&haproxy), self.runtime.confirm(&haproxy, &ahead.change))
                .await
                .map(|()| count),
            Err(reason) => Err(reason),
        };
        match runs {
            Ok(count) => {
                self.journal.way = Some(Way::Runtime(count));
                true
            }
            Err(reason) => {
                self.by_reload = Some(reason);
                false
            }
        }
    }
}

impl Applier {
    /// Looks whether the process runs what its files say, where that can be told; nothing where it is about to be told anyway,
    /// or where the files are not what was put there. Servers whose last session has ended are deleted.
    pub async fn look_at_process(&mut self) -> Option<Result<Running, String>> {
        let Some((haproxy, files)) = self.settled_haproxy().await else {
            self.runtime.postpone();
            return None;
        };
        let found = self.pulse.outside(patience::runtime(&haproxy), self.runtime.look(&haproxy, &files)).await;
        self.journal.leaving = found.as_ref().map_or(0, |running| running.leftover);
        Some(found)
    }

    /// Makes the process run what its files say, while it runs; whether it does. Where that does not help a reload is owed.
    pub async fn put_process_right(&mut self) -> bool {
        let Some((haproxy, files)) = self.settled_haproxy().await else { return false };
        self.journal.told = Some(SystemTime::now());
        match self.pulse.outside(patience::runtime(&haproxy), self.runtime.put_right(&haproxy, &files)).await {
            Ok(count) => {
                self.journal.way = Some(Way::Runtime(count));
                true
            }
            Err(reason) => {
                // A reload comes when it may.
                self.by_reload = Some(reason);
                self.owed = true;
                false
            }
        }
    }

    /// When the process is to be looked at because of servers that wait for their last sessions to end.
    pub fn leaving_due(&self) -> Option<Instant> {
        self.runtime.due()
    }

    /// The HAProxy and its files, where it has taken them and they are what was put there.
    async fn settled_haproxy(&mut self) -> Option<(Haproxy, Vec<Bytes>)> {
        let haproxy = self.haproxy().filter(|_| !self.owes())?;
        let put = self.committed.as_ref()?.hashes.clone();
        let in_force = self.on_thread(Files::that_run).await.ok()??;
        (in_force.hashes == put).then_some((haproxy, in_force.bytes))
    }
}
