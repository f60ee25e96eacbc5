//! The registries at work: one driver task each, kept over a reload of the configuration where nothing changed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::registry::{Registry, driver, local};
use crate::store::Store;
use crate::template::LOCAL_FILES;

/// Driver tasks by the name of their registry. Dropping it ends them.
#[derive(Debug)]
pub struct Registries {
    store: Arc<Store>,
    running: HashMap<Arc<str>, Running>,
    _local_files: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Running {
    fingerprint: [u8; 32],
    _driver: AbortOnDropHandle<()>,
}

impl Registries {
    /// Starts a driver for each registry of `config`, and one for the files that templates read.
    pub fn start(config: &Config, store: &Arc<Store>) -> Self {
        let local_files = drive(&LOCAL_FILES.into(), Arc::new(local::LocalFiles::default()), store);
        let mut registries = Self { store: store.clone(), running: HashMap::new(), _local_files: local_files };
        registries.follow(config);
        registries
    }

    /// Makes the running drivers those of `config`. A registry that is configured as before keeps its connection and
    /// its answers; the answers of one that is configured differently are forgotten, since they are another's.
    pub fn follow(&mut self, config: &Config) {
        self.running.retain(|name, running| {
            let same = config.registries.get(name).is_some_and(|registry| registry.fingerprint == running.fingerprint);
            if !same {
                self.store.remove_registry(name);
            }
            same
        });
        for (name, configured) in &config.registries {
            self.running.entry(name.clone()).or_insert_with(|| Running {
                fingerprint: configured.fingerprint,
                _driver: drive(name, configured.registry.clone(), &self.store),
            });
        }
    }
}

fn drive(name: &Arc<str>, registry: Arc<dyn Registry>, store: &Arc<Store>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(driver::drive(name.clone(), registry, store.clone())))
}
