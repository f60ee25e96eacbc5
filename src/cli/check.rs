//! `check`: what is wrong with configuration and templates, without side effects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::args::{Check, Common};
use super::ready::Patience;
use super::{load, say, surroundings};
use crate::daemon::count;
use crate::exit::Exit;
use crate::heartbeat::Heart;
use crate::log::rounded;
use crate::plan::Plan;
use crate::registries::Registries;
use crate::registry::{Asked, Path, Query};
use crate::store::Store;
use crate::target::Waiting;

pub(super) async fn run(common: &Common, options: &Check) -> Exit {
    let plan = match load::plan(common, &load::variables()) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    for missing in surroundings::missing(&plan) {
        say::warning(format_args!("{missing}"));
    }
    let (targets, registries) = (plan.targets.len(), plan.config.registries.len());
    if options.connect && !connect(&plan, options.timeout).await {
        return Exit::NotReady;
    }
    let connected = if options.connect { ", and every registry answers" } else { "" };
    let (targets, registries) = (count(targets, "target", "targets"), count(registries, "registry", "registries"));
    say::well(format_args!("ok: {targets}, {registries}{connected}"));
    Exit::Done
}

/// Asks every registry something; whether all of them answered in time. Those that did not are named.
async fn connect(plan: &Plan, timeout: Duration) -> bool {
    let store = Store::new();
    let _registries = Registries::start(&plan.config.registries, &store, &Heart::default()).await;
    // Any answer will do, also that there is no such key.
    let probes: BTreeSet<Asked> = plan.config.registries.keys().map(probe).collect();
    let reader = store.reader();
    reader.has_read(&reader.view(), probes.clone());
    let patience = Patience::new(timeout);
    let all = Waiting::for_all(probes.clone());
    let answered = tokio::select! {
        answered = patience.arrival("`check --connect`", &reader, &all) => answered,
        () = patience.draw() => false,
    };
    if !answered {
        let view = reader.view();
        let is_away = |asked: &&Asked| view.answer(asked).is_none() && view.error(asked).is_none();
        for asked in probes.iter().filter(is_away) {
            let reason = reader.reason(asked).unwrap_or_else(|| "nothing came back".to_owned());
            let (name, waited) = (&asked.registry, rounded(timeout));
            say::error(format_args!("registry `{name}` has not answered after {waited}: {reason}"));
        }
    }
    answered
}

fn probe(registry: &Arc<str>) -> Asked {
    let path = Path::parse("liveconf/probe").unwrap_or_else(|_| Path::root());
    Asked { registry: registry.clone(), query: Query::Exists(path) }
}
