//! Waiting for answers: a line on a terminal while it lasts, and the names of what was missing when it is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::args::Ready;
use super::say;
use crate::log::rounded;
use crate::store::{Reader, View};
use crate::target::{Waiting, waiting_for};

/// How often the line on a terminal is drawn, and how long nothing is drawn at first.
const DRAW: Duration = Duration::from_secs(1);

/// How often it is looked why something is not there, beside when something comes.
const LOOK: Duration = Duration::from_millis(250);

/// What targets wait for, and until when they may.
pub(super) struct Patience {
    started: Instant,
    deadline: Instant,
    /// Whether a fixture answers, which never changes.
    is_fixture: bool,
    missing: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Patience {
    /// Waits at most for `timeout` from now.
    pub(super) fn new(timeout: Duration) -> Self {
        Self::with(timeout, false)
    }

    /// The same for what waits as these options say.
    pub(super) fn of(options: &Ready) -> Self {
        Self::with(options.timeout, options.fixture.is_some())
    }

    fn with(timeout: Duration, is_fixture: bool) -> Self {
        let started = Instant::now();
        // A timeout of centuries is no timeout.
        let deadline = started.checked_add(timeout).unwrap_or(started + Duration::from_secs(100 * 365 * 86400));
        Self { started, deadline, is_fixture, missing: Mutex::default() }
    }

    /// The end of all waiting.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits until another render of a target may come further; gives false when the deadline comes before.
    pub(super) async fn arrival(&self, target: &str, reader: &Reader, waiting: &Waiting) -> bool {
        loop {
            let view = reader.view();
            if waiting.is_over(&view) {
                self.note(target, BTreeSet::new());
                return true;
            }
            let absent = waiting.missing.iter().filter(|asked| view.answer(asked).is_none());
            let absent = absent.map(|asked| waiting_for(asked, reader));
            self.note(target, absent.chain(waiting.not_yet.clone()).collect());
            if self.is_fixture && is_refused(waiting, &view) {
                return false;
            }
            tokio::select! {
                _ = reader.changed() => {}
                // The reason may have changed, such as an outage that was found meanwhile.
                () = tokio::time::sleep(LOOK) => {}
                () = tokio::time::sleep_until(self.deadline) => return false,
            }
        }
    }

    /// Waits for any change of what a target has read; gives false when the deadline comes before.
    pub(super) async fn change(&self, target: &str, reader: &Reader, reason: &str) -> bool {
        self.note(target, [reason.lines().next().unwrap_or(reason).to_owned()].into());
        tokio::select! {
            _ = reader.changed() => {
                self.note(target, BTreeSet::new());
                true
            }
            () = tokio::time::sleep_until(self.deadline) => false,
        }
    }

    /// Writes what is still missing, a line each.
    pub(super) fn report(&self) {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        for (target, names) in missing.iter().filter(|(_, names)| !names.is_empty()) {
            let waited = rounded(self.started.elapsed());
            let names: Vec<String> = names.iter().cloned().collect();
            say::error_with(format_args!("{target} is not ready after {waited}; it waits for"), &names);
        }
    }

    /// Draws what is waited for on the terminal, if standard error is one. Never ends; drop it.
    pub(super) async fn draw(&self) {
        if !std::io::stderr().is_terminal() {
            return std::future::pending().await;
        }
        let _clear = ClearLine;
        loop {
            tokio::time::sleep(DRAW).await;
            if let Some(line) = self.line() {
                let mut terminal = std::io::stderr();
                // A terminal that went away needs no progress.
                let _ = write!(terminal, "\r\x1b[2K{line}").and_then(|()| terminal.flush());
            }
        }
    }

    fn line(&self) -> Option<String> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let count = missing.values().map(BTreeSet::len).sum::<usize>();
        let first = missing.values().flatten().next()?;
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let line = format!("waiting {} s for {first}{more}", self.started.elapsed().as_secs());
        // A line that wraps could not be drawn over.
        Some(line.chars().take(width().saturating_sub(1)).collect())
    }

    /// What a target waits for by now.
    pub(super) fn note(&self, target: &str, names: BTreeSet<String>) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.insert(target.to_owned(), names);
    }
}

/// Whether all that is still missing was asked, and is not allowed.
fn is_refused(waiting: &Waiting, view: &View) -> bool {
    let mut absent = waiting.missing.iter().filter(|asked| view.answer(asked).is_none()).peekable();
    absent.peek().is_some() && absent.all(|asked| view.error(asked).is_some_and(|error| error.denied))
}

/// How a target is called in messages.
pub(super) fn quoted(target: &str) -> String {
    format!("target `{target}`")
}

/// The columns of the terminal.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col).max(20))
}

/// Takes the line off the terminal again.
struct ClearLine;

impl Drop for ClearLine {
    fn drop(&mut self) {
        let mut terminal = std::io::stderr();
        let _ = write!(terminal, "\r\x1b[2K").and_then(|()| terminal.flush());
    }
}
