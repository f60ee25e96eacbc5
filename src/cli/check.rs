//! `check`: what is wrong with configuration and templates, without side effects.

use std::collections::BTreeSet;
use std::time::Duration;

use super::args::{Check, Common};
use super::ready::Patience;
use super::{load, say, surroundings};
use crate::config::NamedRegistry;
use crate::daemon::count;
use crate::exit::Exit;
use crate::log::rounded;
use crate::plan::Plan;
use crate::registries::Registries;
use crate::registry::Asked;
use crate::store::{Reader, Store};
use crate::target::waiting_for;

pub(super) async fn run(common: &Common, options: &Check) -> Exit {
    let variables = load::variables();
    let plan = match &*options.command {
        [] => load::plan(common, &variables),
        command => load::plan_of_run(common, &variables, command),
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    for missing in surroundings::missing(&plan) {
        say::warning(format_args!("{missing}"));
    }
    for doubt in plan.targets.iter().flat_map(|(_, templates)| templates.doubts()) {
        say::warning(format_args!("{doubt}"));
    }
    let (targets, registries) = (plan.targets.len(), plan.config.registries.len());
    if options.connect && !connect(&plan, options.timeout).await {
        return Exit::NotReady;
    }
    let connected = if options.connect { connected(&plan) } else { String::new() };
    let (targets, registries) = (count(targets, "target", "targets"), count(registries, "registry", "registries"));
    say::well(format_args!("ok: {targets}, {registries}{connected}"));
    Exit::Done
}

/// What a registry says that no waiting mends: the operator has to. They are words of ours and of TLS.
const LASTING: &[&str] = &[
    "does not know the token",
    "is unknown to Consul",
    "refused: ",
    "this is no Consul",
    "speaks no TLS",
    "not speak TLS",
    "certificate",
    "`ca_file`",
    "`cert_file`",
    "`key_file`",
    "cannot be read",
    "cannot read",
    "user name is empty",
    "authentication failed",
];

/// How often it is looked why a registry does not answer.
const LOOK: Duration = Duration::from_millis(100);

/// How a registry stands.
enum Standing {
    Answers,
    /// For this reason; whether only the operator can help.
    Fails(String, bool),
}

/// Asks every registry something; whether all of them answered in time. Those that did not are named, as soon as no
/// waiting helps.
async fn connect(plan: &Plan, timeout: Duration) -> bool {
    let store = Store::new();
    let _registries = Registries::start_briefly(&plan.config.registries, &store).await;
    // Any answer will do, also that there is no such key.
    let probes: BTreeSet<Asked> = plan.config.registries.values().filter_map(probe).collect();
    let reader = store.reader();
    reader.has_read(&reader.view(), probes.clone());
    let patience = Patience::new(timeout);
    let may_heal = |asked: &&Asked| matches!(standing(asked, &reader), Standing::Fails(_, false));
    let settled = async {
        loop {
            let open: BTreeSet<String> =
                probes.iter().filter(may_heal).map(|asked| waiting_for(asked, &reader)).collect();
            let is_over = open.is_empty();
            patience.note("`check --connect`", open);
            if is_over {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = settled => {}
        () = tokio::time::sleep_until(patience.deadline()) => {}
        () = patience.draw() => {}
    }
    let mut answered = true;
    for asked in &probes {
        let (name, waited) = (&asked.registry, rounded(timeout));
        match standing(asked, &reader) {
            Standing::Answers => continue,
            Standing::Fails(reason, true) => {
                say::error(format_args!("registry `{name}` gives no answer, and waiting will not help: {reason}"));
            }
            Standing::Fails(reason, false) => {
                say::error(format_args!("registry `{name}` has not answered after {waited}: {reason}"));
            }
        }
        answered = false;
    }
    answered
}

/// What `--connect` found when nothing was wrong: of some registries nothing can be asked but what a template asks.
fn connected(plan: &Plan) -> String {
    let (asked, silent): (Vec<_>, Vec<_>) =
        plan.config.registries.values().partition(|named| named.registry.probe().is_some());
    let silent: Vec<String> = silent.iter().map(|named| format!("`{}` ({})", named.name, named.kind)).collect();
    match (&*asked, &*silent) {
        (_, []) => ", and every registry answers".to_owned(),
        ([], silent) => format!("; not asked: {}", silent.join(", ")),
        (_, silent) => format!(", and every registry that is asked answers; not asked: {}", silent.join(", ")),
    }
}

/// How the registry stands that was asked this. That it does not allow the question is an answer.
fn standing(asked: &Asked, reader: &Reader) -> Standing {
    let view = reader.view();
    let fails = |reason: String| {
        let is_lasting = LASTING.iter().any(|lasting| reason.contains(lasting));
        Standing::Fails(reason, is_lasting)
    };
    match (view.answer(asked), view.error(asked)) {
        (Some(_), _) => Standing::Answers,
        (None, Some(error)) => match fails(error.reason.clone()) {
            Standing::Fails(_, false) if error.denied => Standing::Answers,
            fails => fails,
        },
        (None, None) => fails(reader.reason(asked).unwrap_or_else(|| "nothing came back".to_owned())),
    }
}

fn probe(named: &NamedRegistry) -> Option<Asked> {
    Some(Asked { registry: named.name.clone(), query: named.registry.probe()? })
}
