//! One service instance, read from a value: JSON or `host:port`, with the same fields in every kind of registry.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::document::{self, Content, Member, Mistake, Node};
use super::{Instance, ServiceQuery, Status};

/// Where an instance was found, for what its value does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The name of its service, such as the segment before the last of its key.
    pub(crate) service: &'a str,
    /// Its id, such as the last segment of its key; empty: `address:port` is.
    pub(crate) id: &'a str,
    /// The configured name of the registry.
    pub(crate) registry: &'a Arc<str>,
}

/// Reads an instance from a JSON object or from `host:port`, as key-value stores hold them. The error says what is wrong, never with the value.
#[cfg(any(feature = "etcd", test))]
pub(crate) fn parse(text: &[u8], place: &Place<'_>) -> Result<Instance, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the value is not UTF-8".to_owned())?.trim();
    if text.starts_with(['{', '"']) {
        let node = document::json(text).map_err(|mistake| {
            let (line, column) = mistake.place.line_and_column(text);
            format!("the JSON is wrong at line {line}, column {column}: {}", mistake.message)
        })?;
        from_node(node, place).map_err(|mistake| mistake.message)
    } else {
        from_endpoint(text, place)
    }
}

/// Reads an instance from a map of its fields or from a scalar that is `host:port`.
pub(crate) fn from_node(node: Node, place: &Place<'_>) -> Result<Instance, Mistake> {
    let at = node.place;
    match node.content {
        Content::Map(members) => Fields::new(members, at).into_instance(place),
        Content::Bare(text) | Content::Quoted(text) => {
            from_endpoint(&text, place).map_err(|reason| Mistake::new(at, reason))
        }
        Content::Null | Content::List(_) => {
            Err(Mistake::new(at, "an instance is a map of its fields, or text such as `host:port`"))
        }
    }
}

/// The instances that a query lets through, in the order that templates see.
pub(crate) fn select<'a>(
    instances: impl IntoIterator<Item = &'a Arc<Instance>>,
    query: &ServiceQuery,
) -> Vec<Arc<Instance>> {
    let mut selected: Vec<_> = instances
        .into_iter()
        .filter(|instance| query.status.admits(instance.status))
        .filter(|instance| query.tags.iter().all(|tag| instance.tags.binary_search(tag).is_ok()))
        .cloned()
        .collect();
    sort(&mut selected);
    selected
}

/// Puts instances into the order that templates see: by id, node, address and port.
pub(crate) fn sort(instances: &mut [Arc<Instance>]) {
    instances.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
}

/// Puts instances of several services that run on one node into the order that templates see: by name, id, address and
/// port.
pub(crate) fn sort_by_service(instances: &mut [Arc<Instance>]) {
    instances.sort_by(|a, b| (&a.name, a.sort_key()).cmp(&(&b.name, b.sort_key())));
}

fn from_endpoint(text: &str, place: &Place<'_>) -> Result<Instance, String> {
    let (address, port) = text.rsplit_once(':').ok_or("the value is neither a map of fields nor `host:port`")?;
    if address.contains(':') && !address.starts_with('[') {
        return Err("an IPv6 address needs brackets: `[address]:port`".to_owned());
    }
    let address = read_address(address).ok_or("what stands before the `:` is no host or address")?;
    let port = read_port(port).ok_or("what stands after the last `:` is no port")?;
    Ok(finish(Instance {
        id: place.id.to_owned(),
        name: place.service.to_owned(),
        node: String::new(),
        address,
        port,
        tags: Vec::new(),
        meta: BTreeMap::new(),
        weight: 1,
        status: Status::Passing,
        zone: String::new(),
        registry: place.registry.clone(),
        view: OnceLock::new(),
    }))
}

fn finish(mut instance: Instance) -> Instance {
    if instance.id.is_empty() {
        instance.id = instance.endpoint();
    }
    instance
}

/// The address without the brackets of IPv6. No address holds white space or control characters, and one that does
/// would break the line of a configuration file that it is written into.
pub(crate) fn read_address(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').map_or(Some(text), |rest| rest.strip_suffix(']'))?;
    let wrong = |character: char| character.is_whitespace() || character.is_control() || "[]".contains(character);
    (!bare.is_empty() && !bare.contains(wrong)).then(|| bare.to_owned())
}

fn read_port(text: &str) -> Option<u16> {
    read_digits(text)?.parse().ok()
}

fn read_digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// The fields of one instance or node. Each is taken once; those that nobody takes are ignored, such as the time stamp of a
/// heartbeat.
pub(crate) struct Fields {
    members: Vec<Member>,
    at: document::Place,
}

impl Fields {
    /// The members of a map that begins at `at`.
    pub(crate) fn new(members: Vec<Member>, at: document::Place) -> Self {
        Self { members, at }
    }

    fn into_instance(mut self, place: &Place<'_>) -> Result<Instance, Mistake> {
        let mut meta = self.meta()?;
        let from_host = !self.has("address");
        let address = self.address()?;
        if from_host {
            // A SkyDNS record: what the other kinds do not know stays reachable.
            for name in ["priority", "ttl"] {
                if let Some(value) = self.text(name)? {
                    meta.entry(name.to_owned()).or_insert(value);
                }
            }
        }
        let zone = self.text("zone")?.or_else(|| meta.get("zone").cloned()).unwrap_or_default();
        Ok(finish(Instance {
            id: self.text("id")?.unwrap_or_else(|| place.id.to_owned()),
            name: self.text("name")?.unwrap_or_else(|| place.service.to_owned()),
            node: self.text("node")?.unwrap_or_default(),
            address,
            port: self.port()?,
            tags: self.tags()?,
            meta,
            weight: self.weight()?,
            status: self.status()?,
            zone,
            registry: place.registry.clone(),
            view: OnceLock::new(),
        }))
    }

    /// Whether a field is there with something in it: `null` and empty text stand for "not given".
    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.key == name && member.node.text() != Some(""))
    }

    fn take(&mut self, name: &str) -> Option<Node> {
        if !self.has(name) {
            return None;
        }
        let index = self.members.iter().position(|member| member.key == name)?;
        Some(self.members.swap_remove(index).node)
    }

    /// The text of a scalar, with its place for what may be wrong with it.
    fn scalar(&mut self, name: &str) -> Result<Option<(String, document::Place)>, Mistake> {
        let Some(node) = self.take(name) else { return Ok(None) };
        match node.text() {
            Some(text) => Ok(Some((text.to_owned(), node.place))),
            None => Err(Mistake::new(node.place, format!("`{name}` must be text or a number"))),
        }
    }

    /// The text of a scalar; nothing when the field is not given.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Mistake> {
        Ok(self.scalar(name)?.map(|(text, _)| text))
    }

    fn address(&mut self) -> Result<String, Mistake> {
        for name in ["address", "host"] {
            if let Some((text, at)) = self.scalar(name)? {
                return read_address(&text)
                    .ok_or_else(|| Mistake::new(at, format!("`{name}` is no host name or address")));
            }
        }
        Err(Mistake::new(self.at, "an instance needs an `address` or a `host`"))
    }

    fn port(&mut self) -> Result<u16, Mistake> {
        let Some((text, at)) = self.scalar("port")? else { return Ok(0) };
        read_port(&text).ok_or_else(|| Mistake::new(at, "`port` must be a whole number from 0 to 65535"))
    }

    fn weight(&mut self) -> Result<i64, Mistake> {
        let Some((text, at)) = self.scalar("weight")? else { return Ok(1) };
        read_digits(&text)
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Mistake::new(at, "`weight` must be a whole number that is not negative"))
    }

    fn status(&mut self) -> Result<Status, Mistake> {
        let Some((text, at)) = self.scalar("status")? else { return Ok(Status::Passing) };
        match text.as_str() {
            "healthy" => Ok(Status::Passing),
            "unhealthy" => Ok(Status::Critical),
            name => {
                Status::NAMES.iter().find(|(known, _)| *known == name).map(|(_, status)| *status).ok_or_else(|| {
                    let known = Status::NAMES.map(|(name, _)| format!("`{name}`")).join(", ");
                    Mistake::new(at, format!("`status` must be one of {known}, `healthy`, `unhealthy`"))
                })
            }
        }
    }

    fn tags(&mut self) -> Result<Vec<String>, Mistake> {
        let Some(node) = self.take("tags") else { return Ok(Vec::new()) };
        let wrong = |at| Mistake::new(at, "`tags` must be a list of texts, or text with commas");
        let mut tags: Vec<String> = match node.content {
            Content::List(items) => items
                .iter()
                .map(|item| item.text().map(str::to_owned).ok_or_else(|| wrong(item.place)))
                .collect::<Result<_, _>>()?,
            Content::Bare(text) | Content::Quoted(text) => text.split(',').map(|tag| tag.trim().to_owned()).collect(),
            Content::Null | Content::Map(_) => return Err(wrong(node.place)),
        };
        tags.retain(|tag| !tag.is_empty());
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }

    /// Free values under `meta` or `metadata`.
    pub(crate) fn meta(&mut self) -> Result<BTreeMap<String, String>, Mistake> {
        let Some(node) = self.take("meta").or_else(|| self.take("metadata")) else { return Ok(BTreeMap::new()) };
        match node.content {
            Content::Map(members) => {
                Ok(members.into_iter().map(|member| (member.key, member.node.into_text())).collect())
            }
            _ => Err(Mistake::new(node.place, "`meta` must be a map")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::StatusFilter;

    fn read(text: &str) -> Result<Instance, String> {
        parse(text.as_bytes(), &Place { service: "web", id: "a", registry: &"main".into() })
    }

    /// The fields in the order of the reference, joined.
    fn shown(text: &str) -> String {
        let i = read(text).unwrap();
        format!(
            "{} {} {} {} {} {:?} {:?} {} {} {}",
            i.id,
            i.name,
            i.node,
            i.address,
            i.port,
            i.tags,
            i.meta,
            i.weight,
            i.status.as_str(),
            i.zone
        )
    }

    #[test]
    fn forms_of_an_instance() {
        for (text, expected) in [
            ("10.0.0.1:80", "a web  10.0.0.1 80 [] {} 1 passing "),
            (" db.local:5432\n", "a web  db.local 5432 [] {} 1 passing "),
            ("[::1]:80", "a web  ::1 80 [] {} 1 passing "),
            (r#""10.0.0.1:80""#, "a web  10.0.0.1 80 [] {} 1 passing "),
            (r#"{"address": "10.0.0.1"}"#, "a web  10.0.0.1 0 [] {} 1 passing "),
            (
                r#"{"id": "x", "name": "api", "node": "n1", "address": "[fd00::1]", "host": "no", "port": "8080",
                    "tags": ["b", "a", "b"], "meta": {"zone": "z", "n": 1.10, "l": [1, "x"], "e": null}, "weight": "7",
                    "status": "unhealthy", "heartbeat": 1700000000}"#,
                concat!(
                    r#"x api n1 fd00::1 8080 ["a", "b"] {"e": "", "l": "[1,\"x\"]", "n": "1.10", "zone": "z"} "#,
                    "7 critical z"
                ),
            ),
            (
                r#"{"host": "h", "port": 1, "priority": 10, "ttl": 60, "weight": 0, "tags": "b, a,", "zone": "q"}"#,
                r#"a web  h 1 ["a", "b"] {"priority": "10", "ttl": "60"} 0 passing q"#,
            ),
            (
                r#"{"address": "h", "priority": 10, "metadata": {"v": true}, "id": "", "node": null, "status": "maintenance"}"#,
                r#"a web  h 0 [] {"v": "true"} 1 maintenance "#,
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (text, reason) in [
            ("secretvalue", "neither"),
            ("secretvalue:port", "after the last `:`"),
            (":80", "before the `:`"),
            ("fe80::1", "brackets"),
            ("[fe80::1:80", "before the `:`"),
            ("{}", "needs an `address`"),
            (r#"["secretvalue"]"#, "neither"),
            (r#"{"address": "secretvalue""#, "line 1, column"),
            (r#"{"address": "secret value"}"#, "`address`"),
            (r#"{"address": ["secretvalue"]}"#, "`address`"),
            (r#"{"address": "h", "port": 65536}"#, "`port`"),
            (r#"{"address": "h", "port": "secretvalue"}"#, "`port`"),
            (r#"{"address": "h", "port": -1}"#, "`port`"),
            (r#"{"address": "h", "weight": 1.5}"#, "`weight`"),
            (r#"{"address": "h", "status": "secretvalue"}"#, "`status`"),
            (r#"{"address": "h", "tags": {"secretvalue": 1}}"#, "`tags`"),
            (r#"{"address": "h", "meta": "secretvalue"}"#, "`meta`"),
            (r#"{"address": "h", "address": "secretvalue"}"#, "`address` is given twice"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("secret"), "{text}: {error}");
        }
        let error = parse(b"\xff", &Place { service: "", id: "", registry: &"".into() }).unwrap_err();
        assert!(error.contains("UTF-8"));
    }

    #[test]
    fn without_an_id_the_endpoint_is_one() {
        let place = Place { service: "web", id: "", registry: &"main".into() };
        assert_eq!(parse(b"[::1]:80", &place).unwrap().id, "[::1]:80");
        assert_eq!(parse(br#"{"host": "h"}"#, &place).unwrap().id, "h");
    }

    #[test]
    fn a_query_selects_and_sorts() {
        let instances: Vec<_> = [
            r#"{"id": "c", "address": "h", "tags": ["x", "y"]}"#,
            r#"{"id": "b", "address": "h", "tags": ["x"], "status": "warning"}"#,
            r#"{"id": "a", "address": "h", "port": 2}"#,
            r#"{"id": "a", "address": "h", "port": 1}"#,
        ]
        .map(|text| Arc::new(read(text).unwrap()))
        .into();
        let ids = |query: &ServiceQuery| -> Vec<String> {
            select(&instances, query).iter().map(|instance| format!("{}{}", instance.id, instance.port)).collect()
        };
        let passing = ServiceQuery::passing("web");
        assert_eq!(ids(&passing), ["a1", "a2", "c0"]);
        assert_eq!(ids(&ServiceQuery { status: StatusFilter::All, ..passing.clone() }), ["a1", "a2", "b0", "c0"]);
        assert_eq!(ids(&ServiceQuery { tags: ["x".into()].into(), ..passing.clone() }), ["c0"]);
        assert_eq!(ids(&ServiceQuery { tags: ["x".into(), "z".into()].into(), ..passing }), [""; 0]);
    }
}
