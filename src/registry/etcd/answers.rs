//! From the keys that are held to the answers of queries.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::config::{Format, Services};
use super::held::{Held, Item, ServiceEntry};
use super::keys::{KeyRange, Layout};
use crate::registry::instance::{self, Place};
use crate::registry::keyspace;
use crate::registry::{Data, Entry, Path, Query, QueryError, ServiceName, ServiceQuery, limit};

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
        let (registry, number) = (&*self.registry, self.keys.len());
        if number > Self::MOST {
            tracing::warn!(registry, number, "more keys are left out and no longer named");
        } else {
            let key = limit::shortened(&key.escape_ascii().to_string());
            tracing::warn!(registry, key, %why, number, "key is left out");
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
            Query::Service(query) => match self.service_path(query) {
                // A SkyDNS name is answered by the record of the name itself and by those below it.
                Ok(path) if self.services.format == Format::SkyDns => {
                    self.layout.key(&path).into_iter().chain([self.layout.folder(&path)]).collect()
                }
                Ok(path) => vec![self.layout.folder(&path)],
                Err(_) => Vec::new(),
            },
            Query::Nodes { .. }
            | Query::Node(_)
            | Query::Datacenters
            | Query::Lookup(_)
            | Query::File(_)
            | Query::Time { .. } => Vec::new(),
        }
    }

    /// What this kind cannot do, as a fragment after "registry `NAME` (etcd) ".
    pub(super) fn supports(&self, query: &Query) -> Result<(), String> {
        match query {
            Query::Nodes { .. } | Query::Node(_) => Err("has no nodes".to_owned()),
            Query::Datacenters => Err("has no datacenters".to_owned()),
            Query::Lookup(_) => Err("does no DNS look-ups: a registry of kind `dns` does".to_owned()),
            Query::File(_) => Err("has no files".to_owned()),
            Query::Time { .. } => Err("has no clock".to_owned()),
            Query::Service(ServiceQuery { near: Some(_), .. }) => Err("has no `near=`".to_owned()),
            Query::Service(ServiceQuery { datacenter: Some(_), .. }) => Err("has no `datacenter=`".to_owned()),
            Query::Service(ServiceQuery { filter: Some(_), .. }) => Err("has no `filter=`".to_owned()),
            Query::Service(query) => self.service_path(query).map(drop),
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
            (Query::Listing(folder), [held]) => {
                let entries: Vec<_> =
                    held.iter().filter_map(|(key, item)| self.entry(folder, key, item, left_out)).collect();
                Ok(Data::Listing(keyspace::names(entries.iter().map(|entry| entry.key.as_str()))))
            }
            (Query::Services { tag }, [held]) => self.list_services(tag.as_deref(), held, left_out),
            (Query::Service(query), held) => {
                let mut instances = Vec::new();
                for (key, item) in held.iter().flat_map(|held| held.iter()) {
                    instances.extend(self.service_entry(key, item, left_out)?.map(|entry| &entry.instance));
                }
                Ok(Data::Service(instance::select(instances, query)))
            }
            // What is not supported is refused before it comes here.
            _ => Err(QueryError::new("is not supported by etcd".to_owned())),
        }
    }

    /// Where the entries of a service stand: `services/NAME`, or the reversed domain of a `SkyDNS` name.
    fn service_path(&self, query: &ServiceQuery) -> Result<Path, String> {
        let refused = |why: &str| {
            let shown = query.shown_name().escape_debug();
            format!("cannot have a service called `{shown}`: {why}")
        };
        let name = query.name.as_str();
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
        let path =
            Path::parse(&format!("{}/{name}", self.services.folder)).map_err(|error| refused(&error.to_string()))?;
        let folder: Vec<&str> = self.services.folder.segments().collect();
        Ok(path.showing(|segment| !query.computed.0.name || folder.contains(&segment)))
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

    fn list_services(&self, tag: Option<&str>, held: &Held, left_out: &mut LeftOut) -> Result<Data, QueryError> {
        let mut services: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (key, item) in held.iter() {
            if let Some(ServiceEntry { service, instance }) = self.service_entry(key, item, left_out)? {
                services.entry(service).or_default().extend(instance.tags.iter().map(String::as_str));
            }
        }
        let services = services
            .into_iter()
            .filter(|(_, tags)| tag.is_none_or(|tag| tags.contains(tag)))
            .map(|(name, tags)| ServiceName {
                name: name.to_owned(),
                tags: tags.into_iter().map(str::to_owned).collect(),
            })
            .collect();
        Ok(Data::Services(services))
    }

    /// The entry of a service that a key holds; none if it is no such entry or is left out.
    fn service_entry<'h>(
        &self,
        key: &[u8],
        item: &'h Item,
        left_out: &mut LeftOut,
    ) -> Result<Option<&'h ServiceEntry>, QueryError> {
        let read = item.instance.get_or_init(|| {
            let read = self.read_service_entry(key, item, left_out.registry());
            if let Err(why) = &read {
                left_out.note(key, why);
            }
            read
        });
        match read {
            Ok(entry) => Ok(entry.as_ref()),
            Err(why) if self.services.strict => Err(QueryError::new(format!("`{}`: {why}", key.escape_ascii()))),
            Err(_) => Ok(None),
        }
    }

    fn read_service_entry(&self, key: &[u8], item: &Item, registry: &Arc<str>) -> Result<Option<ServiceEntry>, String> {
        let path = self.layout.path(key).map_err(|why| why.to_string())?;
        let name = self.services.folder.relative(path).unwrap_or(path);
        let Some((service, id)) = self.place(name) else {
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
        let instance = instance::parse(&item.value.0, &Place { service: &service, id, registry })?;
        Ok(Some(ServiceEntry { service: service.into(), instance: Arc::new(instance) }))
    }

    /// The service and the id that a path below the folder of services stands for; none if it is no entry of one.
    fn place<'a>(&self, path: &'a str) -> Option<(String, &'a str)> {
        if self.services.format == Format::SkyDns {
            let (folder, id) = path.rsplit_once('/').unwrap_or(("", path));
            // A record directly below the root of the domain is a service of its own.
            let domain = if folder.is_empty() { path } else { folder };
            return Some((domain.rsplit('/').collect::<Vec<_>>().join("."), id));
        }
        let (service, id) = path.split_once('/')?;
        (!id.contains('/')).then(|| (service.to_owned(), id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::KeyValue;
    use super::*;
    use crate::registry::NodeQuery;

    fn answers(format: Format, strict: bool) -> Answers {
        let folder = Path::parse("services").unwrap();
        Answers { layout: Layout::new("/"), services: Services { folder, format, strict } }
    }

    fn held(keys: &[(&str, &str)]) -> Held {
        let kv = |(key, value): &(&str, &str)| KeyValue { key: (*key).into(), mod_revision: 1, value: (*value).into() };
        let mut held = Held::default();
        held.replace(keys.iter().map(kv).collect(), 1);
        held
    }

    #[test]
    fn ranges_of_queries() {
        let path = |text| Path::parse(text).unwrap();
        let named = |name: &str| Query::Service(ServiceQuery::passing(name));
        let (auto, skydns) = (answers(Format::Auto, false), answers(Format::SkyDns, false));
        for (answers, query, expected) in [
            (&auto, Query::Key(path("a/b")), "key `/a/b`"),
            (&auto, Query::Exists(path("a")), "key `/a`, keys below `/a/`"),
            (&auto, Query::Prefix(path("a")), "keys below `/a/`"),
            (&auto, Query::Listing(Path::root()), "keys below `/`"),
            (&auto, Query::Services { tag: None }, "keys below `/services/`"),
            (&auto, named("web.v2"), "keys below `/services/web.v2/`"),
            (&skydns, named("web.local."), "key `/services/local/web`, keys below `/services/local/web/`"),
            (&auto, Query::Key(Path::root()), ""),
            (&auto, named("a/b"), ""),
        ] {
            let ranges: Vec<_> = answers.ranges(&query).iter().map(ToString::to_string).collect();
            assert_eq!(ranges.join(", "), expected, "{query}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let auto = answers(Format::Auto, false);
        let query = ServiceQuery::passing("web");
        for (query, expected) in [
            (Query::Nodes { datacenter: None }, "nodes"),
            (Query::Node(NodeQuery::named("n1")), "nodes"),
            (Query::Datacenters, "datacenters"),
            (Query::File("x".into()), "files"),
            (Query::Service(ServiceQuery { near: Some("n".into()), ..query.clone() }), "`near=`"),
            (Query::Service(ServiceQuery { datacenter: Some("n".into()), ..query.clone() }), "`datacenter=`"),
            (Query::Service(ServiceQuery { filter: Some("n".into()), ..query.clone() }), "`filter=`"),
            (Query::Service(ServiceQuery::passing("../x")), "`../x`"),
            (Query::Service(ServiceQuery::passing("..")), "`..`"),
            (Query::Service(ServiceQuery::passing("")), "empty"),
        ] {
            let refusal = auto.supports(&query).unwrap_err();
            assert!(refusal.contains(expected), "{refusal}");
        }
        assert_eq!(auto.supports(&Query::Service(query)), Ok(()));
    }

    #[test]
    fn places_of_instances() {
        for (format, path, expected) in [
            (Format::Auto, "web/1", Some(("web", "1"))),
            (Format::Auto, "web", None),
            (Format::Auto, "web/1/x", None),
            (Format::SkyDns, "local/skydns/web/1", Some(("web.skydns.local", "1"))),
            (Format::SkyDns, "web", Some(("web", "web"))),
        ] {
            let found = answers(format, false).place(path).map(|(service, id)| (service, id.to_owned()));
            assert_eq!(found, expected.map(|(service, id)| (service.to_owned(), id.to_owned())), "{path}");
        }
    }

    #[test]
    fn formats_are_kept_to_and_strict_is_an_error() {
        let held =
            || held(&[("/services/web/1", "a:1"), ("/services/web/2", r#"{"host":"b"}"#), ("/services/web", "")]);
        let query = Query::Service(ServiceQuery::passing("web"));
        for (format, strict, expected) in [
            (Format::Auto, true, "a:1 b"),
            (Format::Json, false, "b"),
            (Format::HostPort, false, "a:1"),
            (Format::Json, true, "`/services/web/1`: the value is no JSON object"),
        ] {
            let mut left_out = LeftOut::new("main".into());
            let shown = match answers(format, strict).answer(&query, &[&held()], &mut left_out) {
                Ok(Data::Service(found)) => found.iter().map(|found| found.endpoint()).collect::<Vec<_>>().join(" "),
                Ok(_) => unreachable!(),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{format:?}");
        }
    }
}
