//! What the daemon shows of itself: its targets, its registries, and what is loaded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::apply::Records;
use crate::process::supervise;
use crate::registry::driver::Standing;
use crate::store::Store;
use crate::target::Desk;

/// What there is to tell of and to command. The daemon replaces it whenever it loads something.
#[derive(Debug, Clone)]
pub struct Roster {
    /// When the program started.
    pub started: SystemTime,
    /// The main file of the configuration; none for a job.
    pub config: Option<PathBuf>,
    /// When configuration and templates were last loaded.
    pub loaded: SystemTime,
    /// When a newer configuration was found wrong, if one was.
    pub refused_configuration: Option<SystemTime>,
    /// When edited templates were found wrong, if they are.
    pub refused_templates: Option<SystemTime>,
    /// A stop was asked for: nothing is begun any more.
    pub stopping: bool,
    /// Each registry: the name of its kind, and how it stands.
    pub registries: BTreeMap<Arc<str>, (&'static str, watch::Receiver<Standing>)>,
    /// The targets, in the order of the configuration.
    pub targets: Vec<Posted>,
    /// Where the answers are.
    pub store: Arc<Store>,
    /// Where it is remembered how the targets stand.
    pub records: Arc<Records>,
}

/// One target.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its name.
    pub name: Arc<str>,
    /// The files that it writes.
    pub files: Vec<PathBuf>,
    /// Where its state stands and orders go.
    pub desk: Arc<Desk>,
    /// How the program stands that reads the files, where we run it.
    pub process: Option<watch::Receiver<supervise::State>>,
}

impl Roster {
    /// When something newer than what is loaded was found wrong, if it was.
    pub fn refused(&self) -> Option<SystemTime> {
        self.refused_configuration.or(self.refused_templates)
    }

    /// The target of this name.
    pub fn target(&self, name: &str) -> Option<&Posted> {
        self.targets.iter().find(|target| *target.name == *name)
    }
}
