//! From the keys that are held to the answers of queries.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::config::{Format, Services};
use super::held::{Held, Item};
use super::keys::{KeyRange, Layout};
use crate::registry::instance::{self, Place};
use crate::registry::{Data, Entry, Instance, Names, Path, Query, QueryError, ServiceName, ServiceQuery};

/// How the queries of one registry are answered from its keys.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    /// Where paths stand in etcd.
    pub(super) layout: Layout,
    /// Where services stand, and how.
    pub(super) services: Services,
}

/// What is left out of answers, each named once in the log. Values are never shown.
#[derive(Debug)]
pub(super) struct LeftOut {
    registry: Arc<str>,
    keys: HashSet<Vec<u8>>,
}

impl LeftOut {
    /// More names than this are not logged: a wrong `prefix` would name every key of the cluster.
    const MOST: usize = 100;

    pub(super) fn new(registry: Arc<str>) -> Self {
        Self { registry, keys: HashSet::new() }
    }

    /// The configured name of the registry, for log lines.
    pub(super) fn registry(&self) -> &Arc<str> {
        &self.registry
    }

    fn note(&mut self, key: &[u8], why: &dyn std::fmt::Display) {
        if self.keys.len() > Self::MOST || !self.keys.insert(key.to_vec()) {
            return;
        }
        let (registry, number) = (&self.registry, self.keys.len());
        if number > Self::MOST {
            tracing::warn!(%registry, number, "more keys are left out and no longer named");
        } else {
            tracing::warn!(%registry, key = %key.escape_ascii(), %why, number, "key is left out");
        }
    }
}

impl Answers {
    /// The ranges that a query is answered from, in the order in which [`Answers::answer`] takes them.
    pub(super) fn ranges(&self, query: &Query) -> Vec<KeyRange> {
        match query {
            Query::Key(path) => self.layout.key(path).into_iter().collect(),
            Query::Exists(path) => self.layout.key(path).into_iter().chain([self.layout.folder(path)]).collect(),
            Query::Prefix(path) | Query::Listing(path) => vec![self.layout.folder(path)],
            Query::Services { .. } => vec![self.layout.folder(&self.services.folder)],
            Query::Service(query) => match self.service_path(&query.name) {
                // A SkyDNS name is answered by the record of the name itself and by those below it.
                Ok(path) if self.services.format == Format::SkyDns => {
                    self.layout.key(&path).into_iter().chain([self.layout.folder(&path)]).collect()
                }
                Ok(path) => vec![self.layout.folder(&path)],
                Err(_) => Vec::new(),
            },
            Query::Nodes { .. } | Query::File(_) => Vec::new(),
        }
    }

    /// What this kind cannot do, as a fragment after "registry `NAME` (etcd) ".
    pub(super) fn supports(&self, query: &Query) -> Result<(), String> {
        match query {
            Query::Nodes { .. } => Err("has no nodes".to_owned()),
            Query::File(_) => Err("has no files".to_owned()),
            Query::Service(ServiceQuery { near: Some(_), .. }) => Err("has no `near=`".to_owned()),
            Query::Service(ServiceQuery { datacenter: Some(_), .. }) => Err("has no `datacenter=`".to_owned()),
            Query::Service(ServiceQuery { filter: Some(_), .. }) => Err("has no `filter=`".to_owned()),
            Query::Service(query) => self.service_path(&query.name).map(drop),
            _ => Ok(()),
        }
    }

    /// The answer to a query from its ranges, given in the order of [`Answers::ranges`].
    pub(super) fn answer(&self, query: &Query, held: &[&Held], left_out: &mut LeftOut) -> Result<Data, QueryError> {
        match (query, held) {
            (Query::Key(_), held) => {
                Ok(Data::Key(held.iter().flat_map(|held| held.iter()).next().map(|(_, item)| item.value.clone())))
            }
            (Query::Exists(_), held) => {
                let mut keys = held.iter().flat_map(|held| held.iter());
                Ok(Data::Exists(keys.any(|(key, _)| self.layout.path(key).is_ok())))
            }
            (Query::Prefix(folder), [held]) => Ok(Data::Prefix(
                held.iter().filter_map(|(key, item)| self.entry(folder, key, item, left_out)).collect(),
            )),
            (Query::Listing(folder), [held]) => Ok(Data::Listing(self.names(folder, held, left_out))),
            (Query::Services { tag }, [held]) => self.list_services(tag.as_deref(), held, left_out),
            (Query::Service(query), held) => {
                let mut instances = Vec::new();
                for (key, item) in held.iter().flat_map(|held| held.iter()) {
                    instances.extend(self.instance(key, item, left_out)?);
                }
                Ok(Data::Service(instance::select(&instances, query)))
            }
            // What is not supported is refused before it comes here.
            _ => Err(QueryError("is not supported by etcd".to_owned())),
        }
    }

    /// Where the entries of a service stand: `services/NAME`, or the reversed domain of a `SkyDNS` name.
    fn service_path(&self, name: &str) -> Result<Path, String> {
        let refused = |why: &str| format!("cannot have a service called `{}`: {why}", name.escape_debug());
        if name.contains('/') {
            return Err(refused("a name has no `/`"));
        }
        let name = match self.services.format {
            Format::SkyDns => name.trim_end_matches('.').rsplit('.').collect::<Vec<_>>().join("/"),
            _ => name.to_owned(),
        };
        if name.split('/').any(str::is_empty) {
            return Err(refused("it is empty or has an empty part"));
        }
        Path::parse(&format!("{}/{name}", self.services.folder)).map_err(|error| refused(&error.to_string()))
    }

    /// The path of a key; a key that is no path is left out and named.
    fn path<'a>(&self, key: &'a [u8], left_out: &mut LeftOut) -> Option<&'a str> {
        self.layout.path(key).inspect_err(|why| left_out.note(key, why)).ok()
    }

    fn entry(&self, folder: &Path, key: &[u8], item: &Item, left_out: &mut LeftOut) -> Option<Arc<Entry>> {
        item.entry
            .get_or_init(|| {
                let path = self.path(key, left_out)?;
                let name = folder.relative(path)?;
                Some(Arc::new(Entry::new(name, path, item.value.clone())))
            })
            .clone()
    }

    fn names(&self, folder: &Path, held: &Held, left_out: &mut LeftOut) -> Names {
        let mut names = Names::default();
        for (key, _) in held.iter() {
            let Some(name) = self.path(key, left_out).and_then(|path| folder.relative(path)) else { continue };
            match name.split_once('/') {
                None => names.keys.push(name.to_owned()),
                Some((name, _)) if names.folders.last().is_none_or(|last| last != name) => {
                    names.folders.push(name.to_owned());
                }
                Some(_) => {}
            }
        }
        // Full paths sort `a-b/x` before `a/x`; names alone sort the other way.
        names.keys.sort_unstable();
        names.folders.sort_unstable();
        names.folders.dedup();
        names
    }

    fn list_services(&self, tag: Option<&str>, held: &Held, left_out: &mut LeftOut) -> Result<Data, QueryError> {
        let mut services: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        let mut instances = Vec::new();
        for (key, item) in held.iter() {
            if let (Some(instance), Some((name, _))) = (self.instance(key, item, left_out)?, self.place(key)) {
                instances.push((name, instance));
            }
        }
        for (name, instance) in &instances {
            // Looked up before it is made: a service has many instances.
            let tags = match services.get_mut(name) {
                Some(tags) => tags,
                None => services.entry(name.clone()).or_default(),
            };
            tags.extend(instance.tags.iter().map(String::as_str));
        }
        let services = services
            .into_iter()
            .filter(|(_, tags)| tag.is_none_or(|tag| tags.contains(tag)))
            .map(|(name, tags)| ServiceName { name, tags: tags.into_iter().map(str::to_owned).collect() })
            .collect();
        Ok(Data::Services(services))
    }

    /// The service and the id that a key stands for; none if it is no entry of a service.
    fn place(&self, key: &[u8]) -> Option<(String, String)> {
        let path = self.services.folder.relative(self.layout.path(key).ok()?)?;
        if self.services.format == Format::SkyDns {
            let mut labels: Vec<&str> = path.rsplit('/').collect();
            let id = labels[0].to_owned();
            // A record directly below the root of the domain is a service of its own.
            if labels.len() > 1 {
                labels.remove(0);
            }
            return Some((labels.join("."), id));
        }
        let (service, id) = path.split_once('/')?;
        (!id.contains('/')).then(|| (service.to_owned(), id.to_owned()))
    }

    /// The instance that a key holds; none if it is no entry of a service or is left out.
    fn instance(&self, key: &[u8], item: &Item, left_out: &mut LeftOut) -> Result<Option<Arc<Instance>>, QueryError> {
        let read = item.instance.get_or_init(|| {
            let read = self.read_instance(key, item, &left_out.registry);
            if let Err(why) = &read {
                left_out.note(key, why);
            }
            read
        });
        match read {
            Ok(instance) => Ok(instance.clone()),
            Err(why) if self.services.strict => Err(QueryError(format!("`{}`: {why}", key.escape_ascii()))),
            Err(_) => Ok(None),
        }
    }

    fn read_instance(&self, key: &[u8], item: &Item, registry: &Arc<str>) -> Result<Option<Arc<Instance>>, String> {
        let path = self.layout.path(key).map_err(|why| why.to_string())?;
        let Some((service, id)) = self.place(key) else {
            let name = self.services.folder.relative(path).unwrap_or(path);
            // An empty value at the name of a service is how some tools write a folder.
            return if item.value.0.is_empty() && !name.contains('/') {
                Ok(None)
            } else {
                Err(format!("an instance is a key `{}/SERVICE/ID`", self.services.folder))
            };
        };
        let json = item.value.0.trim_ascii_start().first() == Some(&b'{');
        match self.services.format {
            Format::Json | Format::SkyDns if !json => return Err("the value is no JSON object".to_owned()),
            Format::HostPort if json => return Err("the value is not `host:port`".to_owned()),
            _ => {}
        }
        let place = Place { service: &service, id: &id, registry };
        instance::parse(&item.value.0, &place).map(|instance| Some(Arc::new(instance)))
    }
}
