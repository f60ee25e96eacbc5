//! The signals that we are sent.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal as Name;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that follows this soon is the same one, sent to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// The signals that are listened for from the start, so that none ends anything in the middle.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    user1: Signal,
    user2: Signal,
    window: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            window: signal(SignalKind::window_change())?,
        })
    }

    /// Waits for a signal. Safe to cancel.
    pub(super) async fn next(&mut self) -> Name {
        tokio::select! {
            _ = self.terminate.recv() => Name::SIGTERM,
            _ = self.interrupt.recv() => Name::SIGINT,
            _ = self.quit.recv() => Name::SIGQUIT,
            _ = self.hangup.recv() => Name::SIGHUP,
            _ = self.user1.recv() => Name::SIGUSR1,
            _ = self.user2.recv() => Name::SIGUSR2,
            _ = self.window.recv() => Name::SIGWINCH,
        }
    }

    /// Waits for one that has nothing read anew. Safe to cancel.
    pub(super) async fn but_hangup(&mut self) -> Name {
        tokio::select! {
            _ = self.terminate.recv() => Name::SIGTERM,
            _ = self.interrupt.recv() => Name::SIGINT,
            _ = self.quit.recv() => Name::SIGQUIT,
            _ = self.user1.recv() => Name::SIGUSR1,
            _ = self.user2.recv() => Name::SIGUSR2,
            _ = self.window.recv() => Name::SIGWINCH,
        }
    }

    /// Waits for one that asks to stop.
    pub(super) async fn stop(&mut self) -> Name {
        tokio::select! {
            _ = self.terminate.recv() => Name::SIGTERM,
            _ = self.interrupt.recv() => Name::SIGINT,
            _ = self.quit.recv() => Name::SIGQUIT,
        }
    }

    /// Waits for another one than that which came at `first`.
    pub(super) async fn stop_again(&mut self, first: Instant) {
        loop {
            self.stop().await;
            if first.elapsed() >= SAME_SIGNAL {
                return;
            }
        }
    }
}
