//! What is in a registry, and what the template of the contract makes of it, worked out without liveconf.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Asks every kind of question that every kind of registry answers.
pub const TEMPLATE: &str = r#"one={{ key(path="one", default="-") }} {{ exists(path="app/deep") }}
{% for entry in prefix(path="app") %}
app {{ entry.path }} {{ entry.key }}={{ entry.value }}
{% endfor %}
{% for entry in prefix(path="/app/deep/") %}
deep {{ entry.key }}={{ entry.value }}
{% endfor %}
{% for name in ls(path="app") %}
ls {{ name }}
{% endfor %}
{% for known in services() %}
service {{ known.name }}
{% endfor %}
{% for instance in service(name="web") %}
web {{ instance.id }} {{ instance.endpoint }} {{ instance.weight }} {{ instance.status }}
{% endfor %}
"#;

/// One change, made from outside.
#[derive(Debug, Clone)]
pub enum Change {
    Put { key: String, value: String },
    Delete { key: String },
    DeleteFolder { folder: String },
    Register { service: String, id: String, port: u16 },
    Deregister { service: String, id: String },
}

impl Change {
    pub fn put(key: &str, value: &str) -> Self {
        Self::Put { key: key.into(), value: value.into() }
    }

    pub fn delete(key: &str) -> Self {
        Self::Delete { key: key.into() }
    }

    pub fn delete_folder(folder: &str) -> Self {
        Self::DeleteFolder { folder: folder.into() }
    }

    pub fn instance(service: &str, id: &str, port: u16) -> Self {
        Self::Register { service: service.into(), id: id.into(), port }
    }

    pub fn delete_instance(service: &str, id: &str) -> Self {
        Self::Deregister { service: service.into(), id: id.into() }
    }

    /// The change after which what this one brought is gone.
    pub fn undone(&self) -> Self {
        match self {
            Self::Put { key, .. } => Self::delete(key),
            Self::Register { service, id, .. } => Self::delete_instance(service, id),
            other => panic!("{other:?} brings nothing"),
        }
    }

    /// Whether both touch a key.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (one, two) = (self.touched(), other.touched());
        let below = |folder: &str, key: &str| folder.ends_with('/') && key.starts_with(folder);
        one == two || below(&one, &two) || below(&two, &one)
    }

    fn touched(&self) -> String {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key.clone(),
            Self::DeleteFolder { folder } => format!("{folder}/"),
            Self::Register { service, id, .. } | Self::Deregister { service, id } => format!("services/{service}/{id}"),
        }
    }
}

/// All that is in a registry.
#[derive(Debug, Default, PartialEq)]
pub struct Model {
    /// Values by path.
    pub keys: BTreeMap<String, String>,
    /// Ports by service and id.
    pub instances: BTreeMap<(String, String), u16>,
}

impl Model {
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change.clone() {
                Change::Put { key, value } => _ = self.keys.insert(key, value),
                Change::Delete { key } => _ = self.keys.remove(&key),
                Change::DeleteFolder { folder } => self.keys.retain(|key, _| !key.starts_with(&format!("{folder}/"))),
                Change::Register { service, id, port } => _ = self.instances.insert((service, id), port),
                Change::Deregister { service, id } => _ = self.instances.remove(&(service, id)),
            }
        }
    }

    /// What [`TEMPLATE`] gives where the registry itself brings these services.
    pub fn rendered(&self, own_services: &[&str]) -> String {
        let below = |folder: &'static str| {
            self.keys.iter().filter_map(move |(key, value)| Some((key.strip_prefix(folder)?, value)))
        };
        let one = self.keys.get("one").map_or("-", String::as_str);
        let mut text = format!("one={one} {}\n", below("app/deep/").next().is_some());
        for (key, value) in below("app/") {
            writeln!(text, "app app/{key} {key}={value}").unwrap();
        }
        for (key, value) in below("app/deep/") {
            writeln!(text, "deep {key}={value}").unwrap();
        }
        let names: BTreeSet<_> = below("app/").filter_map(|(key, _)| key.split('/').next()).collect();
        for name in names {
            writeln!(text, "ls {name}").unwrap();
        }
        let services: BTreeSet<_> =
            self.instances.keys().map(|(service, _)| service.as_str()).chain(own_services.iter().copied()).collect();
        for service in services {
            writeln!(text, "service {service}").unwrap();
        }
        for ((_, id), port) in self.instances.iter().filter(|((service, _), _)| service == "web") {
            writeln!(text, "web {id} 10.0.0.1:{port} 1 passing").unwrap();
        }
        text
    }
}
