//! The command line: arguments in, exit code out. Data go to standard output, words for people to standard error.

mod args;
mod ask;
mod capture;
mod check;
mod completions;
mod diff;
mod explain;
mod functions;
mod init;
mod load;
mod once;
mod order;
mod ready;
mod render;
mod replace;
mod run;
mod say;
mod schema;
mod status;
mod surroundings;
mod test;

use std::ffi::OsString;

use crate::config::LogConfig;
use crate::exit::Exit;
use crate::log;
use crate::process::supervise::stand_in;
use crate::secret::hide_memory;
use args::{Args, Verb};

/// Threads that wait for registries and clocks. Renders and file work have threads of their own, so more of these would
/// only take memory, and by default there is one for each core.
const WORKERS: usize = 2;

/// Runs the program with these arguments, the first of them its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some((code, why)) = stand_in(&arguments) {
        say::error(format_args!("{why}"));
        return Exit::Process(code);
    }
    let args = match Args::read(arguments) {
        Ok(args) => args,
        Err(error) => {
            let usage = error.use_stderr();
            // Nothing can be said where even this fails.
            let _ = error.print();
            return if usage { Exit::Usage } else { Exit::Done };
        }
    };
    // Whoever runs a build with debug assertions wants to look into it.
    if !cfg!(debug_assertions) {
        hide_memory();
    }
    // So that an error of the configuration itself is written as asked for.
    log::follow(&args.common.log(LogConfig::default()));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say::error(format_args!("failed to start: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(async {
        match &args.verb {
            Verb::Run(options) => run::run(&args.common, options).await,
            Verb::Once(options) => once::run(&args.common, options).await,
            Verb::Render(options) => render::run(&args.common, options).await,
            Verb::Diff(options) => diff::run(&args.common, options).await,
            Verb::Capture(options) => capture::run(&args.common, options).await,
            Verb::Test(options) => test::run(&args.common, options).await,
            Verb::Check(options) => check::run(&args.common, options).await,
            Verb::Status(options) => status::run(&args.common, options).await,
            Verb::Explain(options) => explain::run(&args.common, options).await,
            Verb::Release(options) => order::release(&args.common, options).await,
            Verb::Pause(options) => order::pause(&args.common, options).await,
            Verb::Resume(options) => order::resume(&args.common, options).await,
            Verb::Apply(options) => order::apply(&args.common, options).await,
            Verb::Init(options) => init::run(&args.common, options),
            Verb::Schema(options) => schema::run(options),
            Verb::Completions(options) => completions::run(options),
            Verb::Functions(options) => functions::run(options),
        }
    });
    // A render that hangs must not keep the program from ending.
    runtime.shutdown_background();
    exit
}
