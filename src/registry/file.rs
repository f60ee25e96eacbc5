//! The static-file registry: keys, services and nodes from YAML, JSON or TOML, one file or a folder of them.
//!
//! ```yaml
//! app:                       # nested keys are paths: key(path="app/port") is the text `8080`
//!   port: 8080
//! services:                  # service(name="web")
//!   web:
//!     - {address: 10.0.0.1, port: 80, tags: [blue]}
//!     - 10.0.0.2:80
//! nodes:                     # nodes()
//!   - {name: one, address: 10.0.0.1}
//! ```
//!
//! Nothing there is an empty answer, not knowing is an error: a file that is missing, empty or wrong is an outage that
//! names its place and keeps the last good answers, and it is read again as soon as it changes. A change of the files
//! is one publication.

mod content;
mod fixture;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod snapshot;
mod source;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{
    Answer, Data, Entry, Feed, Kind, NodeQuery, Outage, Path, Query, Registry, Reply, ServiceQuery, Wanted, Watch,
};
use crate::config::{Limits, Section};
use crate::file_watch::{FileWatch, POLL_INTERVAL};
use content::{Content, Folders, LeftOut};
pub use fixture::Fixture;
pub use snapshot::{Saved, Snapshot};
pub(super) use source::read_bounded;

/// This kind.
pub const KIND: Kind = Kind {
    name: "file",
    decode,
    // A JSON string is a YAML string as well.
    from_address: |address| format!("{{path: {}}}", serde_json::Value::from(address)),
};

fn decode(section: &mut Section<'_>) -> Option<Arc<dyn Registry>> {
    let path = section.path("path");
    if path.is_none() && !section.has("path") {
        section.problem("path", "`path` is missing", Some("name a file or a folder: `path: registry.yaml`".into()));
    }
    let prefix = section.text("prefix").map(|prefix| Path::parse(&prefix));
    if let Some(Err(error)) = &prefix {
        section.problem("prefix", error.to_string(), None);
    }
    let poll_interval = section.duration("poll_interval").unwrap_or(POLL_INTERVAL);
    if poll_interval.is_zero() {
        section.problem("poll_interval", "`poll_interval` must be more than 0", Some("such as `10s`".into()));
    }
    let strict = section.flag("strict").unwrap_or(false);
    let prefix = prefix.transpose().ok()?.unwrap_or_else(Path::root);
    Some(Arc::new(FileRegistry { path: path?, prefix, strict, poll_interval }))
}

/// A file registry as it is configured.
#[derive(Debug, Clone)]
pub struct FileRegistry {
    /// The file, or the folder whose `*.yaml`, `*.yml`, `*.json` and `*.toml` are read.
    pub path: PathBuf,
    /// Put before the path of every key.
    pub prefix: Path,
    /// Whether a service instance that cannot be read is an error; otherwise it is left out.
    pub strict: bool,
    /// How often the files are looked at, beside what the kernel tells.
    pub poll_interval: Duration,
}

impl FileRegistry {
    /// A file or folder with the defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), prefix: Path::root(), strict: false, poll_interval: POLL_INTERVAL }
    }
}

impl Registry for FileRegistry {
    fn supports(&self, query: &Query) -> Result<(), String> {
        match query {
            Query::File(_) => Err("does not read files for `file()`".into()),
            Query::Time { .. } => Err("has no clock".into()),
            Query::Lookup(_) => Err("does no DNS look-ups: a registry of kind `dns` does".into()),
            Query::Service(service) if service.near.is_some() => Err("has no `near=`".into()),
            Query::Service(service) if service.datacenter.is_some() => Err("has no `datacenter=`".into()),
            Query::Service(service) if service.filter.is_some() => Err("has no `filter=`".into()),
            Query::Nodes { datacenter: Some(_) } | Query::Node(NodeQuery { datacenter: Some(_), .. }) => {
                Err("has no `datacenter=`".into())
            }
            _ => Ok(()),
        }
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(FileRegistryWatch {
            files: FileWatch::new(self.poll_interval).only(source::is_read_in_folders),
            registry: self.clone(),
            paths: vec![self.path.clone()],
            generation: 0,
            entries: HashMap::new(),
            failed: None,
            stale: true,
            left_out: LeftOut::default(),
        })
    }

    fn is_guarded(&self) -> bool {
        false
    }
}

struct FileRegistryWatch {
    registry: FileRegistry,
    files: FileWatch,
    /// The files that are read: the path itself, or what is in the folder.
    paths: Vec<PathBuf>,
    /// How often the files were read with success: the revision of answers.
    generation: u64,
    /// The last answer to each prefix, for what stays the same in the next.
    entries: HashMap<Path, Vec<Arc<Entry>>>,
    /// The outage that was reported last, while it lasts.
    failed: Option<String>,
    /// Whether the files may differ from what was read last.
    stale: bool,
    /// What was left out of the last content, so that it is logged once.
    left_out: LeftOut,
}

impl Watch for FileRegistryWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        Box::pin(async move {
            loop {
                if self.failed.is_some() {
                    self.wait_for_a_cure().await;
                }
                match self.read(feed.registry(), feed.limits()).await {
                    Ok(content) => {
                        self.failed = None;
                        self.serve(content, feed).await;
                    }
                    // Reported already: the pause of the driver would only delay the cure.
                    Err(reason) if self.failed.as_ref() == Some(&reason) => self.stale = false,
                    Err(reason) => {
                        self.failed = Some(reason.clone());
                        self.stale = false;
                        return Outage(reason);
                    }
                }
            }
        })
    }
}

impl FileRegistryWatch {
    /// What is wrong with a file stays so until it changes; but for an error of the system that may pass by itself.
    async fn wait_for_a_cure(&mut self) {
        if !self.stale {
            let _ = tokio::time::timeout(self.registry.poll_interval, self.files.changed()).await;
            self.stale = true;
        }
    }

    /// Answers from one content until the files change.
    async fn serve(&mut self, content: Content, feed: &mut Feed) {
        self.generation += 1;
        self.stale = true;
        let mut answered = Wanted::default();
        let mut folders = Folders::new();
        loop {
            let wanted = feed.wanted();
            let new = wanted.iter().filter(|(query, serial)| answered.get(query) != Some(serial));
            feed.publish(new.map(|(query, _)| self.reply(&content, query, &mut folders)).collect());
            answered.clone_from(&wanted);
            self.entries.retain(|folder, _| wanted.contains_key(&Query::Prefix(folder.clone())));
            tokio::select! {
                () = feed.changed() => {}
                () = self.files.changed() => return,
            }
        }
    }

    fn reply(&mut self, content: &Content, query: &Query, folders: &mut Folders) -> Reply {
        let data = match query {
            Query::Prefix(folder) => {
                let entries = self.entries.entry(folder.clone()).or_default();
                let data = content.answer(query, entries);
                if let Data::Prefix(now) = &data {
                    entries.clone_from(now);
                }
                data
            }
            _ => content.answer(query, &[]),
        };
        let unknown = match query {
            Query::Service(ServiceQuery { name, .. }) => content.unknown(name),
            _ => None,
        };
        let beside = content.beside(query, &data, folders);
        Reply { query: query.clone(), result: Ok(Answer { unknown, beside, ..Answer::new(data, self.generation) }) }
    }

    /// Reads the files, and once more when there are others than those that are followed.
    async fn read(&mut self, name: &Arc<str>, limits: Limits) -> Result<Content, String> {
        let (content, left_out) = loop {
            // Followed before they are read, so that no change is missed in between.
            let path = &self.registry.path;
            self.files.follow(self.paths.iter().chain([path]).cloned()).await;
            let (registry, name) = (self.registry.clone(), name.clone());
            let read = move || {
                let paths = source::files(&registry.path)?;
                let content = source::documents(&paths, limits.response)
                    .and_then(|documents| content::read(documents, &registry, limits, &name));
                Ok::<_, String>((content, paths))
            };
            let (result, paths) = self.files.read(read).await?;
            if paths == self.paths {
                break result?;
            }
            self.paths = paths;
        };
        if left_out != self.left_out && left_out.count > 0 {
            let (count, first) = (left_out.count, left_out.first.join("; "));
            tracing::warn!(registry = &**name, count, first, "left out service instances that cannot be read");
        }
        self.left_out = left_out;
        Ok(content)
    }
}

#[cfg(test)]
mod tests;
