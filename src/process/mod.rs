//! Child processes and signals: how a program is run with a bound, or for as long as we run, and how another one is told
//! something.

mod boot_time;
pub mod children;
pub mod command;
mod environment;
mod open_files;
mod output;
mod remains;
pub mod signal;
pub mod supervise;
pub mod tree;
mod wall_clock;

pub use boot_time::BootTime;
pub use command::{Context, End, Finished, Invocation};
pub use environment::find_program;
pub use open_files::make_room;
pub use output::Output;
pub use remains::Leavings;
pub use wall_clock::note_wall_clock;
