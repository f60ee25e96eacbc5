//! What it means that nothing was found.
//!
//! Consul answers alike where there is nothing and where the token may not look: 404 for a folder of keys, an empty
//! list of services, instances and nodes; from 1.11 a header tells, before that nothing does (measured with 1.8.7).
//! There are other reads that need the same right and that it does refuse: a key by its own name, the defaults of a
//! service, the coordinates of a node. They are sent where nothing was found. What a token sees only in part cannot be
//! told from the whole in this way.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::catalog;
use super::client::Client;
use super::config::Config;
use super::failure::{Failure, judge};
use super::fetch::{self, Context};
use super::kv;
use super::request::{Ask, Contents, Form, Request, encode};
use super::token::Token;
use crate::config::Limits;
use crate::registry::{Outage, UnknownService};
use crate::template::did_you_mean;

/// A name that stands for all there are, where the right to them is asked for. Nobody need have it.
const ANY: &str = "liveconf";

/// Consul's own service, which every catalog has.
const OWN: &str = "consul";

/// How long the names of all services may be used for hints.
const FRESH: Duration = Duration::from_secs(5);

/// The names of all services by datacenter, and when they were read.
pub(super) type Names = Arc<Mutex<BTreeMap<Option<String>, (Instant, Arc<[String]>)>>>;

/// Whether this is what a token without rights would get too.
pub(super) fn is_nothing(request: &Request, contents: &Contents) -> bool {
    match (request, contents) {
        (Request::Below(_), Contents::Below(keys)) => keys.is_empty(),
        (Request::Names(start), Contents::Names(names)) if is_folder(start) => names.is_empty(),
        (Request::Names(start), Contents::Names(names)) => !kv::exists(names, start),
        (Request::Service { .. }, Contents::Instances(instances)) => instances.is_empty(),
        (Request::Services { .. }, Contents::Services(services)) => services.is_empty(),
        (Request::Nodes { .. }, Contents::Nodes(nodes)) => nodes.is_empty(),
        (Request::NodeServices { .. }, Contents::Node(node)) => node.is_none(),
        _ => false,
    }
}

/// Whether the contents of one read show that another, which reads keys below it, finds nothing any more.
///
/// Whoever polls a folder is not told when one above it is deleted as a whole, if ever a key was deleted in it: the index
/// of an empty folder is that of the last deletion in it, and one above is none (measured with 1.8.7; after 15 minutes
/// Consul forgets deletions). Then the poll is blind until its wait is over, and a read of the folder above knows better.
pub(super) fn shows_nothing_of(below: &Request, request: &Request, contents: &Contents, config: &Config) -> bool {
    let start = |request: &Request| match request {
        Request::Below(start) | Request::Names(start) => Some(start.clone()),
        _ => None,
    };
    let (Some(start), Some(below)) = (start(request), start(below)) else { return false };
    if below == start || !below.starts_with(&start) {
        return false;
    }
    match contents {
        // Paths are told without what stands before all of them.
        Contents::Below(keys) => {
            let stands_before = if config.prefix.is_root() { String::new() } else { format!("{}/", config.prefix) };
            below.strip_prefix(&stands_before).is_some_and(|below| !keys.has_any(below))
        }
        Contents::Names(names) => !names.iter().any(|name| name.starts_with(&below) || below.starts_with(name)),
        _ => false,
    }
}

/// Fails if the token may not look at what this read found nothing of.
pub(super) async fn may_look(request: &Request, context: &Context) -> Result<(), Failure> {
    let may = async |target: String| may(&request.qualify(target, &context.config), context).await;
    let lacks = |right: &str| {
        let lacks = lacks(right, &context.config);
        Err(Failure::Denied(format!("{lacks}, and Consul answers as if nothing were there")))
    };
    match request {
        Request::Below(start) | Request::Names(start) => {
            let key = if start.is_empty() { ANY } else { start };
            // The key and the folder of that name are two, and whoever may look at one of them is told of it.
            if may(Request::Value(key.to_owned()).path()).await?
                || !is_folder(start) && may(Request::Value(format!("{key}/")).path()).await?
            {
                return Ok(());
            }
            lacks("key:read")
        }
        Request::Service { name, .. } => {
            if !may(defaults(name)).await? {
                return lacks("service:read");
            }
            // Without the right to all nodes there may be one to some. None to any hides every instance.
            if !may(coordinates()).await? && sees_no_node(request, context).await? {
                return lacks("node:read");
            }
            Ok(())
        }
        Request::Services { .. } if !may(defaults(OWN)).await? => lacks("service:read"),
        Request::Nodes { .. } if !may(coordinates()).await? => lacks("node:read"),
        Request::NodeServices { name, .. } if !may(coordinate(name)).await? => lacks("node:read"),
        // Its answer may be that of a proxy, or of a Consul that does not know the read.
        Request::NodeServices { name, datacenter } => {
            let node = Request::Node { name: name.clone(), datacenter: datacenter.clone() };
            let (_, reply) = fetch::send(&node, Ask::Now, context).await?;
            match catalog::datacenter(&reply.body) {
                Ok(datacenter) if datacenter.is_empty() => Ok(()),
                _ => Err(Failure::Broken("the catalog has the node, and `/v1/internal/ui/node` has not".to_owned())),
            }
        }
        _ => Ok(()),
    }
}

/// What the token may read of this, as a sentence. Asked over a connection of its own, since it is asked seldom and beside
/// whatever is followed.
pub(super) async fn rights(request: Request, config: Arc<Config>, registry: Arc<str>) -> String {
    match try_rights(&request, config, registry).await {
        Ok(rights) => rights,
        Err(Failure::Denied(reason)) => reason,
        Err(failure) => format!("Consul does not say what the token may read: {failure}"),
    }
}

async fn try_rights(request: &Request, config: Arc<Config>, registry: Arc<str>) -> Result<String, Failure> {
    let token = Token::open(&config).await.map_err(|Outage(reason)| Failure::Broken(reason))?;
    let limits = Limits::default();
    let client = Client::new(&config, token.follow(), Arc::new(Semaphore::new(1)), limits);
    let client = client.map_err(Failure::Broken)?;
    let (hasher, names) = (RandomState::new(), Names::default());
    let token = token.follow();
    let context = Context { client, config, limits, token, registry, hasher, names, served: Arc::default() };
    may_look(request, &context).await?;
    let (who, config) = (who(&context.config), &context.config);
    if matches!(request, Request::Service { .. }) && !may(&request.qualify(coordinates(), config), &context).await? {
        return Ok(format!("{who} may read it, but not every node: what is on the others cannot be seen"));
    }
    Ok(format!("{who} may read it"))
}

/// What to say of a service that has no instance at all, if that is because nobody registered it. With `hint` also what
/// may be meant instead.
pub(super) async fn unknown(
    request: &Request,
    hint: bool,
    context: &Context,
) -> Result<Option<UnknownService>, Failure> {
    let Request::Service { name, datacenter, filter, .. } = request else { return Ok(None) };
    if filter.is_some() {
        let all = Request::Service { name: name.clone(), near: None, datacenter: datacenter.clone(), filter: None };
        if !is_nothing(&all, &read(&all, context).await?) {
            return Ok(None);
        }
    }
    if !hint {
        return Ok(Some(UnknownService::default()));
    }
    let names = service_names(datacenter.clone(), context).await?;
    let others = names.iter().map(String::as_str).filter(|other| other != name);
    Ok(Some(UnknownService { hint: did_you_mean(name, others) }))
}

/// Who lacks a right.
pub(super) fn lacks(right: &str, config: &Config) -> String {
    format!("{} lacks `{right}`", who(config))
}

/// Whose rights they are.
fn who(config: &Config) -> &'static str {
    let has_token = config.token.is_some() || config.token_file.is_some();
    if has_token { "the token" } else { "whoever comes without a token" }
}

fn is_folder(start: &str) -> bool {
    start.is_empty() || start.ends_with('/')
}

fn defaults(service: &str) -> String {
    format!("config/service-defaults/{}?", encode(service))
}

fn coordinates() -> String {
    coordinate(ANY)
}

fn coordinate(node: &str) -> String {
    format!("coordinate/node/{}?", encode(node))
}

async fn sees_no_node(request: &Request, context: &Context) -> Result<bool, Failure> {
    let nodes = Request::Nodes { datacenter: request.datacenter().map(str::to_owned) };
    Ok(is_nothing(&nodes, &read(&nodes, context).await?))
}

async fn service_names(datacenter: Option<String>, context: &Context) -> Result<Arc<[String]>, Failure> {
    let known = context.names.lock().unwrap_or_else(PoisonError::into_inner).get(&datacenter).cloned();
    if let Some((_, names)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
        return Ok(names);
    }
    let Contents::Services(services) = read(&Request::Services { datacenter: datacenter.clone() }, context).await?
    else {
        return Ok(Arc::default());
    };
    let names: Arc<[String]> = services.into_iter().map(|service| service.name).collect();
    let mut known = context.names.lock().unwrap_or_else(PoisonError::into_inner);
    known.insert(datacenter, (Instant::now(), names.clone()));
    Ok(names)
}

/// Whether Consul does not refuse a read for want of a right. Whatever else it says tells nothing of rights, and a proxy
/// may refuse it for reasons of its own.
async fn may(target: &str, context: &Context) -> Result<bool, Failure> {
    let reply = context.client.get(target, context.config.clocks.request_timeout).await?;
    match judge(reply.status, &reply.headers, &reply.body, Form::OrMissing) {
        Err(Failure::Denied(said)) if said.contains("Permission denied") => Ok(false),
        Err(failure @ Failure::Denied(_)) if failure.to_string().contains("ACL not found") => Err(failure),
        Err(failure @ (Failure::Away(_) | Failure::Leaderless(_) | Failure::Busy { .. })) => Err(failure),
        _ => Ok(true),
    }
}

/// Reads without waiting and without a trace in what is followed.
async fn read(request: &Request, context: &Context) -> Result<Contents, Failure> {
    let (good, reply) = fetch::send(request, Ask::Now, context).await?;
    Ok(fetch::parse(request, good, &reply, context)?.contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Path;
    use crate::registry::consul::Address;

    #[test]
    fn a_folder_above_shows_that_one_is_empty() {
        let mut config = Config::new(Address::parse("127.0.0.1:8500", false).unwrap());
        let below = |keys: &[&str]| Request::Below(keys.concat());
        let pairs = |keys: &[&str], prefix: &Path| {
            let pairs: Vec<_> = keys.iter().map(|key| serde_json::json!({"Key": key, "Value": ""})).collect();
            let body = serde_json::Value::from(pairs).to_string();
            Contents::Below(kv::below(body.as_bytes(), prefix, &mut Vec::new()).unwrap())
        };
        let names = |names: &[&str]| Contents::Names(names.iter().map(|name| (*name).to_owned()).collect());
        for prefix in ["", "team"] {
            config.prefix = Path::parse(prefix).unwrap();
            let stand = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
            for (keys, is_empty) in
                [(&["app/c"][..], true), (&[], true), (&["app/deeper/x"], true), (&["app/deep/x"], false)]
            {
                let keys: Vec<String> = keys.iter().map(|key| stand(key)).collect();
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                let contents = pairs(&keys, &config.prefix);
                let (deep, app) = (below(&[&stand("app/deep/")]), below(&[&stand("app/")]));
                assert_eq!(shows_nothing_of(&deep, &app, &contents, &config), is_empty, "{keys:?}");
                assert!(!shows_nothing_of(&app, &deep, &contents, &config), "one below says nothing of one above");
                assert!(!shows_nothing_of(&app, &app, &contents, &config));
                assert!(!shows_nothing_of(&Request::Value(stand("app/a")), &app, &contents, &config), "those are told");
            }
        }
        let app = Request::Names("app/".to_owned());
        for (found, is_empty) in [(&["app/c"][..], true), (&["app/deeper/"], true), (&["app/deep/"], false)] {
            let deep = |more: &str| Request::Names(format!("app/deep/{more}"));
            assert_eq!(shows_nothing_of(&deep(""), &app, &names(found), &config), is_empty, "{found:?}");
            assert_eq!(
                shows_nothing_of(&deep("er/"), &app, &names(found), &config),
                is_empty,
                "{found:?}: cannot know"
            );
        }
    }
}
