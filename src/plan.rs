//! A plan: a configuration whose templates were read and found good. Nothing starts from anything less.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::apply::Records;
use crate::config::{Config, Target};
use crate::guard::{Guard, Memory};
use crate::process::{Context, Leavings};
use crate::target::{Applier, Lock, Options, Turns};
use crate::template::{Environment, TemplateError, Templates};

/// Variables that hold our own credentials. Templates see them only where `env: {allow: [..]}` lists them.
pub(crate) const CREDENTIALS: &[&str] =
    &["CONSUL_HTTP_AUTH", "CONSUL_HTTP_TOKEN", "ETCDCTL_PASSWORD", "ETCDCTL_USER", "VAULT_TOKEN"];

/// A configuration with its templates.
pub struct Plan {
    /// What was configured.
    pub config: Config,
    /// Each target with its templates, in the order of the configuration.
    pub targets: Vec<(Arc<Target>, Arc<Templates>)>,
    /// The turns in which they work.
    pub turns: Turns,
}

impl Plan {
    /// Reads every template; all that is wrong with them comes back at once. `variables` is our environment.
    pub fn load(config: Config, variables: &BTreeMap<String, String>) -> Result<Self, Vec<TemplateError>> {
        let environment = Environment {
            registries: config
                .registries
                .iter()
                .map(|(name, registry)| (name.clone(), registry.registry.clone()))
                .collect(),
            template_dirs: config.template_dirs.clone(),
            base: config.base.clone(),
            variables: variables
                .iter()
                .filter(|(name, _)| !CREDENTIALS.contains(&name.as_str()) || config.env_allow.contains(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            roots: config.files_allow.clone(),
            limits: config.limits,
        };
        let templates = Templates::load(&config.targets, environment)?;
        let targets = config.targets.iter().cloned().map(Arc::new).zip(templates.into_iter().map(Arc::new)).collect();
        Ok(Self { config, targets, turns: Turns::default() })
    }

    /// Every template file, for whoever watches for edits.
    pub fn sources(&self) -> BTreeSet<PathBuf> {
        self.targets.iter().flat_map(|(_, templates)| templates.sources().iter().cloned()).collect()
    }

    /// Every file that is written.
    pub fn destinations(&self) -> impl Iterator<Item = PathBuf> {
        self.targets.iter().flat_map(|(target, _)| &target.templates).map(|template| template.dest.clone())
    }

    /// The guard of the target at this index, unless it is turned off; `memory` is what is known of its queries.
    ///
    /// # Panics
    ///
    /// When there is no such target.
    pub fn guard(&self, index: usize, memory: &Memory) -> Option<Guard> {
        let (target, _) = &self.targets[index];
        if target.guard.is_off() {
            return None;
        }
        let guarded = self.config.registries.iter().filter(|(_, registry)| registry.registry.is_guarded());
        let guarded: BTreeMap<_, _> = guarded.map(|(name, named)| (name.clone(), named.registry.clone())).collect();
        let guard = Guard::new(target.name.clone(), target.guard.clone(), guarded.keys().cloned(), memory.clone());
        Some(guard.asking(guarded))
    }

    /// The lock of the target at this index, where it has one.
    ///
    /// # Panics
    ///
    /// When there is no such target.
    pub fn lock(&self, index: usize) -> Option<Lock> {
        let rule = self.targets[index].0.lock.clone()?;
        let registry = self.config.registries.get(&rule.registry)?;
        Some(Lock::new(rule, registry))
    }

    /// An applier for the target at this index.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn applier(&self, index: usize, records: &Arc<Records>, options: Options) -> Applier {
        let (target, templates) = &self.targets[index];
        let env_allow = self.config.env_allow.as_slice().into();
        let context = Context { target: target.name.clone(), env_allow, process: None, remains: Leavings::default() };
        let unremembered = self.config.registries.values().filter(|named| !named.remember);
        Applier::new(target.clone(), templates.clone(), records.clone(), self.turns.clone(), context, options)
            .forgetting(unremembered.map(|named| named.name.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::page::{TEMPLATES, rows};

    #[test]
    fn the_reference_names_the_credentials() {
        let rows = rows(TEMPLATES);
        let env = rows.iter().find(|row| row.table == "call" && row.cells[0].starts_with("`env(")).unwrap();
        for name in CREDENTIALS {
            assert!(env.codes(1).contains(name), "{name}");
        }
    }
}
