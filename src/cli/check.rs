//! `check`: what is wrong with configuration and templates, without side effects.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::args::{Check, Common};
use super::ready::Patience;
use super::{load, say};
use crate::daemon::count;
use crate::exit::Exit;
use crate::registries::Registries;
use crate::registry::{Asked, Path, Query};
use crate::store::Store;
use crate::target::Waiting;

pub(super) async fn run(common: &Common, options: &Check) -> Exit {
    let plan = match load::plan(common, &load::variables()) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let (targets, registries) = (plan.targets.len(), plan.config.registries.len());
    if options.connect {
        let store = Store::new();
        let _registries = Registries::start(&plan.config.registries, &store).await;
        // Any answer will do, also that there is no such key.
        let probes: BTreeSet<Asked> = plan.config.registries.keys().map(probe).collect();
        let reader = store.reader();
        reader.has_read(&reader.view(), probes.clone());
        let (patience, probes) = (Patience::new(options.timeout), Waiting::for_all(probes));
        let answered = tokio::select! {
            answered = patience.arrival("`check --connect`", &reader, &probes) => answered,
            () = patience.draw() => false,
        };
        if !answered {
            patience.report();
            return Exit::NotReady;
        }
    }
    let connected = if options.connect { ", and every registry answers" } else { "" };
    let (targets, registries) = (count(targets, "target", "targets"), count(registries, "registry", "registries"));
    say::well(format_args!("ok: {targets}, {registries}{connected}"));
    Exit::Done
}

fn probe(registry: &Arc<str>) -> Asked {
    let path = Path::parse("liveconf/probe").unwrap_or_else(|_| Path::root());
    Asked { registry: registry.clone(), query: Query::Exists(path) }
}
