//! Supervision: a program that runs as long as we do, beside the files that it reads.
//!
//! One supervisor task owns one program: it starts it once the files of its targets are in place, starts it anew when it
//! ends, stops it at the end, and is the only one that signals it. Targets reach it through a [`Handle`]; how it stands is
//! a [`State`] that everybody may read.

mod attend;
mod environment;
mod group;
mod handle;
mod launch;
mod leftover;
mod run;
mod state;
mod stop;
mod stray;
mod supervised;
mod supervisor;

pub use environment::look_up_identity;
pub use handle::{Handle, Mark, Ran, Survival};
pub use launch::stand_in;
pub use state::{Ended, Phase, Run, State};
pub use stop::Stop;
pub use supervised::{Supervised, start};

#[cfg(test)]
mod tests;
