//! The `liveconf` program: a thin shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    liveconf::run(std::env::args_os()).into()
}
