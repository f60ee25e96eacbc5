//! What a load depends on beside the files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What a load depends on beside the files; handed in, so that nothing below reads the process's own state.
#[derive(Clone)]
pub struct LoadOptions {
    /// The file given by `--config`; else `LIVECONF_CONFIG` of the environment and the usual places are asked.
    pub config: Option<PathBuf>,
    /// The folder given by `--state-dir`; else `LIVECONF_STATE_DIR` of the environment, then the file, is asked.
    pub state_dir: Option<PathBuf>,
    /// The environment, without variables that are not UTF-8.
    pub environment: BTreeMap<String, String>,
    /// The working folder, absolute.
    pub working_folder: PathBuf,
    /// The effective user id.
    pub uid: u32,
    /// The program that `run` supervises, with its arguments; empty where it is given none. None for other commands.
    pub command: Option<Vec<String>>,
}

/// The variables may hold secrets: only their names are shown.
impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("config", &self.config)
            .field("state_dir", &self.state_dir)
            .field("environment", &self.environment.keys())
            .field("working_folder", &self.working_folder)
            .field("uid", &self.uid)
            .field("command", &self.command)
            .finish()
    }
}

impl LoadOptions {
    /// A variable of the environment that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
