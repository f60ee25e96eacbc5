//! The static file: each commit writes it anew, the way an editor or a deployment does.

use std::fs;

use serde_json::{Map, Value, json};

use super::Origin;
use super::model::{Change, Model};
use crate::support::folder::Folder;

/// A registry file.
pub struct FileOrigin {
    folder: Folder,
    /// Commits are written in turn by rename and in place.
    commits: usize,
}

impl FileOrigin {
    const FILE: &str = "registry.yaml";

    fn text(model: &Model) -> String {
        let mut root = Map::new();
        for (key, value) in &model.keys {
            let mut folder = &mut root;
            let mut segments: Vec<_> = key.split('/').collect();
            let name = segments.pop().unwrap();
            for segment in segments {
                let entry = folder.entry(segment).or_insert_with(|| json!({}));
                folder = entry.as_object_mut().unwrap();
            }
            folder.insert(name.into(), json!(value));
        }
        if !model.instances.is_empty() {
            let mut services = Map::new();
            for ((service, id), port) in &model.instances {
                let instance = json!({"id": id, "address": "10.0.0.1", "port": port});
                let instances = services.entry(service.as_str()).or_insert_with(|| json!([]));
                instances.as_array_mut().unwrap().push(instance);
            }
            root.insert("services".into(), Value::Object(services));
        }
        // JSON is YAML.
        serde_json::to_string_pretty(&root).unwrap()
    }
}

impl Origin for FileOrigin {
    fn start() -> Self {
        let folder = Folder::new();
        folder.write(Self::FILE, "");
        Self { folder, commits: 0 }
    }

    fn section(&self) -> String {
        format!("file: {{path: {}}}", self.folder.path(Self::FILE).display())
    }

    fn commit(&mut self, _changes: &[Change], after: &Model) {
        self.commits += 1;
        if self.commits.is_multiple_of(2) {
            self.folder.write(Self::FILE, Self::text(after));
        } else {
            fs::write(self.folder.path(Self::FILE), Self::text(after)).unwrap();
        }
    }

    fn cut(&mut self) {
        self.folder.write(Self::FILE, "app: [never closed");
    }

    fn mend(&mut self, model: &Model) {
        self.folder.write(Self::FILE, Self::text(model));
    }
}
