//! `run`: follow the registries and keep the files true until stopped.

use super::args::{Common, Run};
use super::load;
use crate::daemon::Daemon;
use crate::exit::Exit;

pub(super) async fn run(common: &Common, _options: &Run) -> Exit {
    let variables = load::variables();
    let plan = match load::plan(common, &variables) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let (records, _lock) = match load::records(&plan) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    let (again, environment) = (common.clone(), variables.clone());
    let reread = Box::new(move || load::reread(&again, &environment));
    match Daemon::start(plan, reread, records).await.run().await {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("error: failed to listen for signals: {error}");
            Exit::Failed
        }
    }
}
