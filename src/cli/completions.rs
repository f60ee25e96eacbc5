//! `completions`: commands and flags, for a shell that completes them.

use super::args::{Args, Completions};
use super::ask::print;
use crate::exit::Exit;

pub(super) fn run(options: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Args::shown(), "liveconf", &mut script);
    print(&String::from_utf8_lossy(&script)).err().unwrap_or(Exit::Done)
}
