//! Targets: one process and the files it reads. A target task decides when to apply, and an applier does one apply.

mod applier;
mod desk;
mod drift;
mod files;
mod gate;
mod left;
mod lock;
#[cfg(test)]
mod random;
mod render;
mod schedule;
mod state;
mod task;
#[cfg(test)]
mod tests;
mod turn;

pub use applier::{Applied, Applier, Attempt, Failure, Legacy, Options, Recalled, Retry, Way};
pub use desk::{Desk, Done, Order, OrderTask};
pub use left::Left;
pub use lock::Lock;
pub use render::{Complete, Render, RenderFailure, Renderer, Waiting};
pub use schedule::Schedule;
pub use state::{Cause, Commit, Delay, Delayed, Journal, LockSeen, Phase, State};
pub use task::{RETRY_JITTER, Task, waiting_for};
pub use turn::{Turns, Work};
