//! Follows all that is wanted of one Consul and publishes it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::JoinMap;
use tracing::{debug, info, warn};

use super::client::Client;
use super::config::Config;
use super::cursor::{Cursor, Step, jittered};
use super::failure::Failure;
use super::fetch::{Body, Context, Fetch, Fetched};
use super::plan::Plan;
use super::request::{Contents, Request};
use super::scout::{Found, Seen};
use super::sweep::{Group, Sweep};
use super::token::Token;
use crate::registry::{Answer, Feed, Outage, Publication, Query, QueryError, Reply, Watch};

/// The most entries whose names are kept so that each is told once.
const MOST_TOLD: usize = 1000;

/// A watch of one Consul; what is in it outlives an outage.
pub(super) struct ConsulWatch {
    config: Arc<Config>,
    cursors: BTreeMap<Request, Cursor>,
    /// When Consul wants to be asked again.
    not_before: Option<Instant>,
    /// Entries of which it was said that they cannot be read.
    told: HashSet<String>,
    hasher: RandomState,
}

impl ConsulWatch {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config, cursors: BTreeMap::new(), not_before: None, told: HashSet::new(), hasher: RandomState::new() }
    }

    async fn follow(&mut self, feed: &mut Feed) -> Outage {
        if let Some(at) = self.not_before.take() {
            sleep_until(at).await;
        }
        let address = self.config.address.clone();
        let away = |failure: Failure| Outage(format!("`{address}`: {failure}"));
        let mut token = match Token::open(&self.config).await {
            Ok(token) => token,
            Err(outage) => return outage,
        };
        let client = match Client::new(&self.config, token.follow()) {
            Ok(client) => client,
            Err(reason) => return Outage(format!("`{address}`: {reason}")),
        };
        if let Err(failure) = client.probe().await {
            self.rest(&failure);
            return away(failure);
        }
        let mut changes = token.follow();
        let mut session = Session::new(self, client.clone(), feed);
        let mut probing = std::pin::pin!(client.watch_over());
        session.replan(feed);
        loop {
            session.send();
            let wake = session.sweep.wake_at();
            tokio::select! {
                biased;
                () = feed.changed() => session.replan(feed),
                Some(joined) = session.jobs.join_next(), if !session.jobs.is_empty() => {
                    if let Err(failure) = session.settle_all(joined, feed) {
                        session.watch.rest(&failure);
                        return away(failure);
                    }
                }
                failure = &mut probing => {
                    session.watch.rest(&failure);
                    return away(failure);
                }
                Ok(()) = changes.changed() => session.sweep.retry_all(),
                () = token.keep() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Gives Consul the pause that it asked for.
    fn rest(&mut self, failure: &Failure) {
        if let Failure::Busy { after: Some(after), .. } = failure {
            self.not_before = Some(Instant::now() + jittered(*after));
        }
    }

    /// Names entries that cannot be read, each once.
    fn tell(&mut self, registry: &str, left_out: &[String]) {
        for entry in left_out {
            if self.told.len() < MOST_TOLD && self.told.insert(entry.clone()) {
                warn!(registry, "an entry is left out: {entry}");
            }
        }
    }
}

impl Watch for ConsulWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        self.follow(feed).boxed()
    }
}

/// One time of being connected.
struct Session<'a> {
    watch: &'a mut ConsulWatch,
    context: Context,
    plan: Plan,
    sweep: Sweep,
    /// The reads under way or in a pause before.
    jobs: JoinMap<Request, Fetched>,
    /// Scouts that have not come back yet: what is read before them may change unseen.
    scouting: BTreeSet<Request>,
    /// Whether a read has been answered: then what answers is a Consul.
    answered: bool,
}

impl<'a> Session<'a> {
    fn new(watch: &'a mut ConsulWatch, client: Arc<Client>, feed: &Feed) -> Self {
        for cursor in watch.cursors.values_mut() {
            cursor.unsure = true;
            cursor.failures = 0;
        }
        let context = Context {
            token: client.token(),
            client,
            config: watch.config.clone(),
            registry: feed.registry().clone(),
            hasher: watch.hasher.clone(),
        };
        let clocks = &watch.config.clocks;
        Self {
            sweep: Sweep::new(Instant::now(), clocks),
            watch,
            context,
            plan: Plan::default(),
            jobs: JoinMap::new(),
            scouting: BTreeSet::new(),
            answered: false,
        }
    }

    /// Follows what is wanted now, and nothing else.
    fn replan(&mut self, feed: &mut Feed) {
        let config = self.watch.config.clone();
        let mut wanted: BTreeMap<Request, BTreeSet<Query>> = BTreeMap::new();
        let mut refused = Publication::new();
        for query in feed.wanted().iter() {
            match Request::of(query, &config) {
                Ok(request) => drop(wanted.entry(request).or_default().insert(query.clone())),
                Err(reason) => {
                    refused.push(Reply { query: query.clone(), result: Err(QueryError(format!("consul {reason}"))) });
                }
            }
        }
        if !refused.is_empty() {
            feed.publish(refused);
        }
        let plan = Plan::of(wanted.keys(), self.context.client.capacity(), &config);
        let mut restart = Vec::new();
        for request in plan.all() {
            let queries = wanted.remove(request).unwrap_or_default();
            let cursor = self.watch.cursors.entry(request.clone()).or_insert_with(Cursor::new);
            if !queries.is_subset(&cursor.queries) {
                // The last answer is not kept, so it is read again for the new ones.
                cursor.print = None;
                cursor.unsure = true;
                restart.push(request.clone());
                self.sweep.hurry(request);
            }
            cursor.queries = queries;
        }
        // Nodes are looked after by whoever knows which there are.
        let holds = |request: &Request| plan.holds(request) || matches!(request, Request::Node { .. });
        self.watch.cursors.retain(|request, _| holds(request));
        let unwanted: Vec<Request> = self.jobs.keys().filter(|request| !holds(request)).cloned().collect();
        for request in unwanted {
            self.jobs.abort(&request);
        }
        // A long poll that is now left to the sweep ends; a read of the sweep that now polls goes on to do so.
        for request in plan.swept.iter().filter(|request| !self.sweep.holds(request)) {
            self.jobs.abort(request);
        }
        self.scouting.extend(plan.scouts.iter().filter(|scout| !self.plan.scouts.contains(*scout)).cloned());
        self.scouting.retain(|scout| plan.scouts.contains(scout));
        if plan.swept.is_empty() != self.plan.swept.is_empty() {
            debug!(reads = plan.swept.len(), "reads that are swept, since there are too many for a long poll each");
        }
        self.plan = plan;
        self.visit_nodes();
        for request in self.plan.polled.union(&self.plan.scouts).cloned().collect::<Vec<_>>() {
            if !self.jobs.contains_key(&request) || restart.contains(&request) {
                self.poll(&request, Duration::ZERO, false);
            }
        }
    }

    /// Has the sweep look at the nodes too, where there are fewer than services: that tells sooner, and for less, whose
    /// registration changed.
    fn visit_nodes(&mut self) {
        let mut services: BTreeMap<Group, usize> = BTreeMap::new();
        for request in &self.plan.swept {
            *services.entry(Group::of(request)).or_default() += 1;
        }
        let mut nodes = BTreeSet::new();
        for (group, count) in services {
            let Group::Services(datacenter) = group else { continue };
            let scout = Request::Nodes { datacenter: datacenter.clone() };
            let Some(Seen::Nodes(seen)) = self.watch.cursors.get(&scout).and_then(|cursor| cursor.seen.as_ref()) else {
                continue;
            };
            if seen.len() < count {
                let node = |name: &String| Request::Node { name: name.clone(), datacenter: datacenter.clone() };
                nodes.extend(seen.keys().map(node));
            }
        }
        self.watch.cursors.retain(|request, _| !matches!(request, Request::Node { .. }) || nodes.contains(request));
        for node in &nodes {
            self.watch.cursors.entry(node.clone()).or_insert_with(Cursor::new);
        }
        self.sweep.set_members(self.plan.swept.iter().cloned().chain(nodes).collect());
    }

    /// Sends what the sweep has to send.
    fn send(&mut self) {
        if !self.scouting.is_empty() {
            return;
        }
        while self.sweep.running() < self.plan.sweepers {
            let Some(request) = self.sweep.take(Instant::now(), &self.watch.config.clocks) else { return };
            let Some(cursor) = self.watch.cursors.get(&request) else { continue };
            let ask = cursor.read();
            self.spawn(Fetch { ask, print: cursor.print, pause: Duration::ZERO, denied: false, request });
        }
    }

    fn poll(&mut self, request: &Request, pause: Duration, denied: bool) {
        if let Some(cursor) = self.watch.cursors.get(request) {
            let (ask, print) = (cursor.poll(), cursor.print);
            self.spawn(Fetch { request: request.clone(), ask, print, pause, denied });
        }
    }

    fn spawn(&mut self, fetch: Fetch) {
        let request = fetch.request.clone();
        self.jobs.spawn(request, fetch.run(self.context.clone()));
    }

    /// Takes what one read brought, and what others brought meanwhile, and publishes it together.
    fn settle_all(&mut self, first: Joined, feed: &Feed) -> Result<(), Failure> {
        let mut publication = Publication::new();
        let mut next = Some(first);
        let mut result = Ok(());
        while let Some((request, joined)) = next {
            let settled = match joined {
                Ok(fetched) => self.settle(&request, fetched, &mut publication),
                Err(error) if error.is_cancelled() => {
                    // Ended because nobody wanted it; somebody may by now.
                    if self.plan.holds(&request) {
                        self.go_on(&request, Duration::ZERO, false);
                    }
                    Ok(())
                }
                Err(_) => Err(Failure::Broken("internal error: a read panicked; please report this".to_owned())),
            };
            if settled.is_err() {
                result = settled;
                break;
            }
            next = self.jobs.try_join_next();
        }
        if !publication.is_empty() {
            feed.publish(publication);
        } else if result.is_ok() && self.answered {
            feed.recovered();
        }
        result
    }

    /// Takes what one read brought. An error is about Consul, not about the read.
    fn settle(&mut self, request: &Request, fetched: Fetched, publication: &mut Publication) -> Result<(), Failure> {
        let config = self.watch.config.clone();
        let clocks = &config.clocks;
        self.scouting.remove(request);
        let Some(cursor) = self.watch.cursors.get_mut(request) else { return Ok(()) };
        let (good, body) = match fetched.result {
            Ok(answer) => answer,
            Err(failure) => return self.fail(request, failure, publication),
        };
        self.answered = true;
        cursor.failures = 0;
        let last = cursor.index;
        if cursor.step(fetched.ask, good.index, fetched.took, clocks) == Step::Confirm {
            info!(read = request.name(), index = good.index, last, "the index does not go on: reading consistently");
            let pause = cursor.pause(Instant::now(), fetched.cost, clocks);
            self.go_on(request, pause, false);
            return Ok(());
        }
        if good.filtered && !config.allow_filtered && !cursor.queries.is_empty() && !self.plan.scouts.contains(request)
        {
            let reason = "the token may not read all of it (`X-Consul-Results-Filtered-By-ACLs`); `allow_filtered: true` \
                          takes what is left";
            return self.fail(request, Failure::Denied(reason.to_owned()), publication);
        }
        let pause = cursor.pause(Instant::now(), fetched.cost, clocks);
        match body {
            Body::New { print, contents, left_out } => {
                cursor.print = Some(print);
                self.take(request, good.index, contents, &left_out, publication);
            }
            // Names stay the same when what they stand for changes.
            Body::Same if last != Some(good.index) && self.plan.scouts.contains(request) && request.only_names() => {
                self.look_around(request);
            }
            Body::Same => {}
        }
        self.sweep.done(request, Instant::now(), None);
        if !self.sweep.holds(request) {
            self.poll(request, pause, false);
        }
        Ok(())
    }

    /// Answers the queries of a read, and looks at what it says to a scout.
    fn take(
        &mut self,
        request: &Request,
        index: u64,
        mut contents: Contents,
        left_out: &[String],
        publication: &mut Publication,
    ) {
        self.watch.tell(&self.context.registry, left_out);
        let Some(cursor) = self.watch.cursors.get_mut(request) else { return };
        cursor.share(&mut contents);
        if let (Request::Service { name, filter: None, .. }, Contents::Instances(instances)) = (request, &contents) {
            if instances.is_empty() && !cursor.absent {
                let registry = &*self.context.registry;
                warn!(registry, "service `{name}` is in no catalog: nobody registered it, or the token may not see it");
            }
            cursor.absent = instances.is_empty();
        }
        for query in cursor.queries.clone() {
            let result = match left_out.first() {
                Some(first) if self.watch.config.strict => {
                    cursor.print = None;
                    Err(QueryError(format!("{} entries cannot be read, the first is {first}", left_out.len())))
                }
                _ => match request.answer(&contents, &query, cursor.entries()) {
                    Some(data) => {
                        cursor.keep(&data);
                        Ok(Answer::new(data, index))
                    }
                    None => continue,
                },
            };
            publication.push(Reply { query, result });
        }
        if self.plan.scouts.contains(request) || matches!(request, Request::Node { .. }) {
            let seen = Seen::of(contents);
            let found = seen.since(cursor.seen.as_ref());
            cursor.seen = Some(seen);
            self.hurry(request, &found);
        }
    }

    /// Has the sweep read what a scout found.
    fn hurry(&mut self, scout: &Request, found: &Found) {
        let datacenter = scout.datacenter();
        let on_found = |request: &Request| {
            let on_one = |cursor: &Cursor| found.nodes.iter().any(|node| cursor.nodes.contains(node));
            !found.nodes.is_empty() && self.watch.cursors.get(request).is_some_and(on_one)
        };
        let named: Vec<Request> = self
            .plan
            .swept
            .iter()
            .filter(|request| match request {
                Request::Service { name, datacenter: of, filter, .. } if of.as_deref() == datacenter => {
                    found.services.binary_search(name).is_ok()
                        // A filter hides the nodes of those that it leaves out.
                        || (filter.is_some() && !found.nodes.is_empty())
                        || on_found(request)
                }
                _ => false,
            })
            .cloned()
            .collect();
        for request in &named {
            self.sweep.hurry(request);
        }
        if found.anything {
            self.look_around(scout);
        }
        if matches!(scout, Request::Nodes { .. }) {
            self.visit_nodes();
        }
    }

    /// Has the sweep find out what made a scout come back, which only says that there is something.
    fn look_around(&mut self, scout: &Request) {
        let group = match Group::of(scout) {
            Group::Services(datacenter) => {
                let nodes = Group::Nodes(datacenter.clone());
                if self.sweep.has(&nodes) { nodes } else { Group::Services(datacenter) }
            }
            group => group,
        };
        self.sweep.changed(group);
    }

    /// Judges a failure of one read: what its queries are told, and when it is sent again.
    fn fail(&mut self, request: &Request, failure: Failure, publication: &mut Publication) -> Result<(), Failure> {
        let Some(cursor) = self.watch.cursors.get_mut(request) else { return Ok(()) };
        let clocks = &self.watch.config.clocks;
        cursor.failures += 1;
        let failures = cursor.failures;
        let backoff = |first: Duration| jittered(first * (1 << failures.min(10))).min(jittered(clocks.denied_interval));
        let (told, pause) = match &failure {
            // One connection may be lost alone; if the next is lost too, it is Consul.
            Failure::Away(_) if failures == 1 => {
                self.context.client.forget();
                (false, jittered(Duration::from_millis(10)))
            }
            // Another datacenter may be away while ours is well.
            Failure::Leaderless(_) if request.datacenter().is_some() => (true, backoff(Duration::from_millis(100))),
            Failure::NotConsul(_) if self.answered => (true, jittered(clocks.denied_interval)),
            Failure::Away(_) | Failure::Leaderless(_) | Failure::NotConsul(_) => return Err(failure),
            Failure::Busy { everywhere: true, .. } => return Err(failure),
            Failure::Busy { after, everywhere: false } => {
                (true, after.map_or_else(|| backoff(Duration::from_millis(500)), jittered))
            }
            Failure::Denied(_) | Failure::Refused(_) => (true, jittered(clocks.denied_interval)),
            Failure::Broken(_) => (failures > 1, backoff(Duration::from_millis(100))),
            Failure::Unreadable(_) => (true, backoff(Duration::from_millis(100))),
        };
        // Being asked to slow down says nothing about the data.
        cursor.unsure |= !matches!(failure, Failure::Busy { .. });
        if told {
            cursor.print = None;
            let error = QueryError(request.explain(&failure));
            if self.plan.scouts.contains(request) && cursor.queries.is_empty() && failures == 1 {
                let registry = &*self.context.registry;
                warn!(registry, "changes are found late, since {} cannot be followed: {error}", request.name());
            }
            let replies = cursor.queries.iter().map(|query| Reply { query: query.clone(), result: Err(error.clone()) });
            publication.extend(replies);
            match Group::of(request) {
                // Whatever it would have told has to be found without it.
                Group::Nodes(datacenter) => self.sweep.changed(Group::Services(datacenter)),
                group if self.plan.scouts.contains(request) => self.sweep.changed(group),
                _ => {}
            }
        }
        self.go_on(request, pause, matches!(failure, Failure::Denied(_)));
        Ok(())
    }

    /// Sends a read again after a pause, whichever way it is sent.
    fn go_on(&mut self, request: &Request, pause: Duration, denied: bool) {
        if self.sweep.holds(request) {
            let now = Instant::now();
            self.sweep.done(request, now, Some(now + pause));
        } else {
            self.poll(request, pause, denied);
        }
    }
}

type Joined = (Request, Result<Fetched, tokio::task::JoinError>);
