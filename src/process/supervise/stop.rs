//! How a program is stopped for good.

use nix::sys::signal::Signal;
use tokio::sync::watch;

/// Whether a program is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is to run.
    No,
    /// It is asked to end by this signal, and killed when it takes too long.
    Ask(Signal),
    /// It is killed.
    Now,
}

/// Waits until we stop. Safe to cancel.
pub(super) async fn stopping(stop: &mut watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop != Stop::No).await.is_err() {
        // Whoever held the other end is gone, and with it the orders.
        std::future::pending::<()>().await;
    }
}

/// Waits until there is no more time. Safe to cancel.
pub(super) async fn at_once(stop: &mut watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop == Stop::Now).await.is_err() {
        std::future::pending::<()>().await;
    }
}
