//! `render`: every file to standard output, nothing touched.

use std::io::Write;
use std::sync::Arc;

use futures_util::future::join_all;

use super::args::{Common, Ready};
use super::ready::{Patience, quoted};
use super::{load, say};
use crate::exit::Exit;
use crate::plan::Plan;
use crate::registries::Registries;
use crate::store::{Reader, Store};
use crate::target::{Complete, Render, Renderer};

pub(super) async fn run(common: &Common, options: &Ready) -> Exit {
    match rendered(common, options).await {
        Ok((_, rendered)) => print(&rendered),
        Err(exit) => exit,
    }
}

/// Every file of the targets of the command line, once all answers are there, with their plan.
pub(super) async fn rendered(common: &Common, options: &Ready) -> Result<(Plan, Vec<Complete>), Exit> {
    let plan = plan(common, options)?;
    let store = Store::new();
    let _registries = Registries::start_briefly(&plan.config.registries, &store).await;
    let patience = Patience::of(options);
    let done = complete_all(&plan, &store, &patience, options.wait_for_keys).await?;
    Ok((plan, done.into_iter().map(|done| done.complete).collect()))
}

/// The plan of the command line with the targets that it names.
pub(super) fn plan(common: &Common, options: &Ready) -> Result<Plan, Exit> {
    let mut plan = load::plan_from(common, &load::variables(), options.fixture.as_deref())?;
    load::only(&mut plan, &options.targets)?;
    Ok(plan)
}

/// A target that was rendered from complete answers.
pub(super) struct Done {
    /// Its files.
    pub(super) complete: Complete,
    /// What rendered them.
    pub(super) renderer: Renderer,
    /// Keeps what it asks followed.
    _reader: Reader,
}

/// Renders every target of a plan once all answers are there.
pub(super) async fn complete_all(
    plan: &Plan,
    store: &Arc<Store>,
    patience: &Patience,
    wait_for_keys: bool,
) -> Result<Vec<Done>, Exit> {
    let all = join_all(plan.targets.iter().map(|(target, templates)| {
        let mut renderer = Renderer::new(target.clone(), templates.clone(), plan.turns.clone());
        let (reader, name) = (store.reader(), target.name.clone());
        async move {
            let complete = complete(&mut renderer, &name, &reader, patience, wait_for_keys).await?;
            Ok(Done { complete, renderer, _reader: reader })
        }
    }));
    let results = tokio::select! {
        results = all => results,
        () = patience.draw() => Vec::new(),
    };
    if results.iter().any(|result| matches!(result, Err(Exit::NotReady))) {
        patience.report();
    }
    let mut all = Vec::with_capacity(results.len());
    let mut exit = Exit::Done;
    for result in results {
        match result {
            Ok(done) => all.push(done),
            Err(failed) => exit = exit.and(failed),
        }
    }
    if exit == Exit::Done { Ok(all) } else { Err(exit) }
}

/// Renders one target once all its answers are there.
async fn complete(
    renderer: &mut Renderer,
    target: &str,
    reader: &Reader,
    patience: &Patience,
    wait_for_keys: bool,
) -> Result<Complete, Exit> {
    loop {
        let go_on = match renderer.render(reader).await {
            Render::Complete(complete) => return Ok(complete),
            Render::Waiting(waiting) => patience.arrival(&quoted(target), reader, &waiting).await,
            Render::Failed(failure) if wait_for_keys && failure.is_absent_key() => {
                patience.change(&quoted(target), reader, &failure.to_string()).await
            }
            Render::Failed(failure) => {
                say::error_of(target, format_args!("{failure}"));
                return Err(Exit::Failed);
            }
        };
        if !go_on {
            return Err(Exit::NotReady);
        }
    }
}

fn print(rendered: &[Complete]) -> Exit {
    let files: Vec<_> = rendered.iter().flat_map(Complete::by_template).collect();
    let several = files.len() > 1;
    let mut out = std::io::stdout().lock();
    for (index, (template, bytes)) in files.into_iter().enumerate() {
        let heading = match (several, index) {
            (false, _) => String::new(),
            (true, 0) => format!("==> {} <==\n", template.dest.display()),
            (true, _) => format!("\n==> {} <==\n", template.dest.display()),
        };
        if let Err(error) = out.write_all(heading.as_bytes()).and_then(|()| out.write_all(bytes)) {
            // A reader that has seen enough, such as `head`, is no failure.
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Exit::Done;
            }
            say::error(format_args!("failed to write to standard output: {error}"));
            return Exit::Failed;
        }
    }
    Exit::Done
}
