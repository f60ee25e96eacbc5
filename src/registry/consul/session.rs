//! One time of being connected: which reads are sent when, and what becomes of what they bring.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::task::JoinMap;
use tracing::{debug, info, warn};

use super::client::{Client, TOO_MANY};
use super::cursor::{Cursor, Step};
use super::failure::{Circumstances, Consequence, Failure};
use super::fetch::{Body, Context, Fetch, Fetched};
use super::plan::Plan;
use super::request::{Contents, Request};
use super::scout::{Found, Seen};
use super::sweep::{Group, Sweep};
use super::watch::{ConsulWatch, listed};
use crate::registry::{Answer, Feed, Publication, Query, QueryError, Reply};

/// One time of being connected.
pub(super) struct Session<'a> {
    watch: &'a mut ConsulWatch,
    context: Context,
    plan: Plan,
    sweep: Sweep,
    /// The reads under way or in a pause before.
    jobs: JoinMap<Request, Fetched>,
    /// Those of the jobs that were not ended by us.
    live: HashSet<Request>,
    /// Scouts that have not come back yet: what is read before them may change unseen.
    scouting: BTreeSet<Request>,
    /// Whether a read has been answered: then what answers is a Consul.
    answered: bool,
}

impl<'a> Session<'a> {
    /// Nothing is followed yet.
    pub(super) fn new(watch: &'a mut ConsulWatch, client: Arc<Client>, feed: &Feed) -> Self {
        for cursor in watch.cursors.values_mut() {
            cursor.sure = false;
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
            live: HashSet::new(),
            scouting: BTreeSet::new(),
            answered: false,
        }
    }

    /// Follows what is wanted now, and nothing else.
    pub(super) async fn replan(&mut self, feed: &mut Feed) -> Result<(), Failure> {
        let config = self.watch.config.clone();
        let mut wanted: BTreeMap<Request, BTreeMap<Query, u64>> = BTreeMap::new();
        let mut refused = Publication::new();
        for (query, number) in feed.wanted().iter() {
            match Request::of(query, &config) {
                Ok(request) => drop(wanted.entry(request).or_default().insert(query.clone(), *number)),
                Err(reason) => {
                    refused
                        .push(Reply { query: query.clone(), result: Err(QueryError::new(format!("consul {reason}"))) });
                }
            }
        }
        if !refused.is_empty() {
            feed.publish(refused);
        }
        let client = self.context.client.clone();
        if let Some(connections) = client.widen(Plan::of(wanted.keys(), client.capacity()).at_a_time() + 1).await {
            let registry = &*self.context.registry;
            warn!(registry, connections, "going on with fewer connections: {TOO_MANY}");
        }
        let plan = Plan::of(wanted.keys(), client.capacity());
        if plan.at_a_time() > client.capacity() {
            return Err(Failure::Away(format!("only {} reads at a time are taken: {TOO_MANY}", client.capacity())));
        }
        client.trim(plan.at_a_time() + 1);
        let mut restart = Vec::new();
        for request in plan.all() {
            let queries = wanted.remove(request).unwrap_or_default();
            let cursor = self.watch.cursors.entry(request.clone()).or_default();
            let asked_anew = queries.iter().any(|(query, number)| cursor.queries.get(query) != Some(number));
            let new_scout = plan.scouts.contains(request) && !self.plan.scouts.contains(request);
            if asked_anew || new_scout {
                // The last answer is not kept, so it is read again for those who do not know it.
                cursor.print = None;
                cursor.sure = false;
                restart.push(request.clone());
                self.sweep.hurry(request);
            }
            cursor.queries = queries;
        }
        // Nodes are looked after by whoever knows which there are.
        let holds = |request: &Request| plan.holds(request) || matches!(request, Request::Node { .. });
        self.watch.cursors.retain(|request, _| holds(request));
        // A long poll that is now left to the sweep ends; a read of the sweep that now polls goes on to do so.
        let ends = |request: &Request| !holds(request) || (plan.swept.contains(request) && !self.sweep.holds(request));
        for request in self.live.extract_if(|request| ends(request)) {
            self.jobs.abort(&request);
        }
        self.scouting.extend(plan.scouts.difference(&self.plan.scouts).cloned());
        self.scouting.retain(|scout| plan.scouts.contains(scout));
        if plan.swept.is_empty() != self.plan.swept.is_empty() {
            debug!(reads = plan.swept.len(), "reads that are swept, since there are too many for a long poll each");
        }
        self.plan = plan;
        self.visit_nodes();
        for request in self.plan.polled.union(&self.plan.scouts).cloned().collect::<Vec<_>>() {
            if !self.live.contains(&request) || restart.contains(&request) {
                self.poll(&request, Duration::ZERO, false);
            }
        }
        Ok(())
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
            self.watch.cursors.entry(node.clone()).or_default();
        }
        self.sweep.set_members(self.plan.swept.iter().cloned().chain(nodes).collect());
    }

    /// Sends what the sweep has to send; gives when it may have more.
    pub(super) fn send(&mut self) -> Option<Instant> {
        if !self.scouting.is_empty() {
            return None;
        }
        while self.sweep.running() < self.plan.sweepers {
            let Some(request) = self.sweep.take(Instant::now(), &self.watch.config.clocks) else { break };
            let Some(cursor) = self.watch.cursors.get(&request) else { continue };
            let ask = cursor.read();
            self.spawn(Fetch { ask, print: cursor.print, pause: Duration::ZERO, denied: false, request });
        }
        self.sweep.wake_at().filter(|_| self.sweep.running() < self.plan.sweepers)
    }

    /// The token is another: what was refused may be sent again.
    pub(super) fn retry(&mut self) {
        self.sweep.retry_all();
    }

    fn poll(&mut self, request: &Request, pause: Duration, denied: bool) {
        if let Some(cursor) = self.watch.cursors.get(request) {
            let (ask, print) = (cursor.poll(), cursor.print);
            self.spawn(Fetch { request: request.clone(), ask, print, pause, denied });
        }
    }

    fn spawn(&mut self, fetch: Fetch) {
        self.live.insert(fetch.request.clone());
        self.jobs.spawn(fetch.request.clone(), fetch.run(self.context.clone()));
    }

    /// Waits until a read is over. Safe to cancel.
    pub(super) async fn joined(&mut self) -> Joined {
        match self.jobs.join_next().await {
            Some(joined) => joined,
            None => std::future::pending().await,
        }
    }

    /// Takes what one read brought, and what others brought meanwhile, and publishes it together. An error is about
    /// Consul, not about the read.
    pub(super) fn settle(&mut self, first: Joined, feed: &Feed) -> Result<(), Failure> {
        let mut publication = Publication::new();
        let mut absent = Vec::new();
        let mut next = Some(first);
        let mut result = Ok(());
        while let Some((request, joined)) = next.filter(|_| result.is_ok()) {
            result = match joined {
                Ok(fetched) => {
                    self.live.remove(&request);
                    self.settle_one(&request, fetched, &mut publication, &mut absent)
                }
                // Ended by us, or by the end of the program.
                Err(error) if error.is_cancelled() => Ok(()),
                Err(_) => Err(Failure::Broken("internal error: a read panicked; please report this".to_owned())),
            };
            next = self.jobs.try_join_next();
        }
        if !absent.is_empty() {
            let registry = &*self.context.registry;
            let names = listed(&absent);
            warn!(registry, service = names, "no such service, or the token may not see it");
        }
        if !publication.is_empty() {
            feed.publish(publication);
        } else if result.is_ok() && self.answered {
            feed.recovered();
        }
        result
    }

    /// Takes what one read brought. Services that nobody registered go to `absent`.
    fn settle_one(
        &mut self,
        request: &Request,
        fetched: Fetched,
        publication: &mut Publication,
        absent: &mut Vec<String>,
    ) -> Result<(), Failure> {
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
            debug!(read = request.name(), index = good.index, last, "the index does not go on: reading consistently");
            let pause = cursor.pause(Instant::now(), fetched.cost, clocks);
            self.go_on(request, pause, false);
            self.doubt();
            return Ok(());
        }
        if good.filtered && !config.allow_filtered && !cursor.queries.is_empty() && !self.plan.scouts.contains(request)
        {
            return self.fail(request, Failure::Filtered, publication);
        }
        cursor.refusal = None;
        let pause = cursor.pause(Instant::now(), fetched.cost, clocks);
        match body {
            Body::New { print, contents, left_out } => {
                cursor.print = Some(print);
                if let (Request::Service { name, filter: None, .. }, Contents::Instances(instances)) =
                    (request, &contents)
                {
                    if instances.is_empty() && !cursor.absent {
                        absent.push(name.clone());
                    }
                    cursor.absent = instances.is_empty();
                }
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
        for query in cursor.queries.keys().cloned().collect::<Vec<_>>() {
            let result = match left_out.first() {
                Some(first) if self.watch.config.strict => {
                    cursor.print = None;
                    Err(QueryError::new(format!("{} entries cannot be read, the first is {first}", left_out.len())))
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

    /// Says now and then that an index did not go on.
    fn doubt(&mut self) {
        const SELDOM: Duration = Duration::from_secs(60);
        let now = Instant::now();
        if self.watch.doubted.is_none_or(|last| now - last > SELDOM) {
            self.watch.doubted = Some(now);
            let registry = &*self.context.registry;
            info!(registry, "an index of Consul did not go on, as after a restored snapshot: reading consistently");
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
        cursor.failures += 1;
        let circumstances = Circumstances {
            failures: cursor.failures,
            answered: self.answered,
            elsewhere: request.datacenter().is_some(),
        };
        let Consequence::Again { told, pause } = failure.consequence(circumstances, &self.watch.config.clocks) else {
            return Err(failure);
        };
        if matches!(failure, Failure::Away(_)) {
            self.context.client.forget();
        }
        // Being asked to slow down says nothing about the data.
        cursor.sure &= matches!(failure, Failure::Busy { .. });
        if told {
            cursor.print = None;
            let reason = request.explain(&failure);
            let error = match failure {
                Failure::Denied(_) => QueryError::denied(reason),
                _ => QueryError::new(reason),
            };
            let replies = cursor.queries.keys().map(|query| Reply { query: query.clone(), result: Err(error.clone()) });
            publication.extend(replies);
            let is_scout = self.plan.scouts.contains(request);
            if cursor.refusal.as_ref() != Some(&error.reason) {
                cursor.refusal = Some(error.reason.clone());
                self.watch.tell_refusal(&self.context.registry, request, &error.reason);
            }
            // Whatever it would have told has to be found without it.
            match Group::of(request) {
                Group::Nodes(datacenter) => self.sweep.changed(Group::Services(datacenter)),
                group if is_scout => self.sweep.changed(group),
                _ => {}
            }
        }
        self.go_on(request, pause, matches!(failure, Failure::Denied(_) | Failure::Filtered));
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

/// A read that is over.
pub(super) type Joined = (Request, Result<Fetched, JoinError>);
