//! The signals that we are sent.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal as Name;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that follows this soon is the same one, sent to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Those that ask to stop.
const STOPS: [Name; 3] = [Name::SIGTERM, Name::SIGINT, Name::SIGQUIT];

/// The others.
const OTHERS: [Name; 4] = [Name::SIGHUP, Name::SIGUSR1, Name::SIGUSR2, Name::SIGWINCH];

/// Whether a signal asks to stop.
pub(super) fn stops(signal: Name) -> bool {
    STOPS.contains(&signal)
}

/// The signals that are listened for from the start, so that none ends anything in the middle.
pub(super) struct Signals(Vec<(Name, Signal)>);

impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        let listen = |name: Name| Ok((name, signal(SignalKind::from_raw(name as i32))?));
        STOPS.into_iter().chain(OTHERS).map(listen).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for a signal. Safe to cancel.
    pub(super) async fn next(&mut self) -> Name {
        self.first(|_| true).await
    }

    /// Waits for one that has nothing read anew. Safe to cancel.
    pub(super) async fn but_hangup(&mut self) -> Name {
        self.first(|name| name != Name::SIGHUP).await
    }

    /// Waits for another one that asks to stop than that which came at `first`.
    pub(super) async fn stop_again(&mut self, first: Instant) {
        loop {
            self.first(stops).await;
            if first.elapsed() >= SAME_SIGNAL {
                return;
            }
        }
    }

    /// Waits for the first of these. Safe to cancel.
    async fn first(&mut self, is_meant: impl Fn(Name) -> bool) -> Name {
        poll_fn(|context| {
            let mut meant = self.0.iter_mut().filter(|(name, _)| is_meant(*name));
            let came = meant.find_map(|(name, signal)| signal.poll_recv(context).is_ready().then_some(*name));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
