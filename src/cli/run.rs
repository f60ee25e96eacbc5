//! `run`: follow the registries and keep the files true until stopped.

use super::args::{Common, Run};
use super::{load, say};
use crate::daemon::{Daemon, Reread};
use crate::exit::Exit;
use crate::process::note_wall_clock;

pub(super) async fn run(common: &Common, options: &Run) -> Exit {
    note_wall_clock();
    let variables = load::variables();
    let command = options.command.clone();
    let plan = match load::plan_of_run(common, &variables, &command) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let (records, claims, _lock) = match load::records(&plan) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    // The file that was found at the start is the one that is read again, whatever else comes to lie about.
    let mut again = common.clone();
    again.config = plan.config.file.clone().or(again.config);
    let environment = variables.clone();
    let reread = Reread {
        everything: Box::new(move || load::reread(&again, &variables, &command)),
        templates: Box::new(move |plan| load::reread_templates(plan, &environment)),
    };
    match Daemon::start(plan, reread, records, claims).await {
        Ok(daemon) => daemon.run().await.map_or(Exit::Done, Exit::Process),
        Err(error) => {
            say::error(format_args!("failed to listen for signals: {error}"));
            Exit::Failed
        }
    }
}
