//! One time of being connected: which reads are sent when. What becomes of what they bring is for `settle`, and of what
//! scouts among them see for `lookout`.

mod lookout;
mod settle;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::task::JoinMap;
use tracing::{debug, warn};

use super::client::{Client, TOO_MANY};
use super::failure::Failure;
use super::fetch::{Context, Fetch, Fetched, Until};
use super::nothing::Names;
use super::plan::Plan;
use super::request::{Ask, Request};
use super::sweep::Sweep;
use super::watch::ConsulWatch;
use crate::log::Line;
use crate::registry::{Feed, Publication, Query, QueryError, Reply};

/// The most polls that are given up at once when the token changes; the others end when their wait is over. Over HTTP/1.1
/// each takes its connection with it, and Consul counts that until then: together with those that follow there must not
/// be more than it takes, which is 200.
const ENDED_AT_ONCE: usize = 50;

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
    /// Reads that Consul did not serve since it is asked too much of. The first of them tries for all.
    unserved: BTreeSet<Request>,
    /// Whether a read has been answered: then what answers is a Consul.
    answered: bool,
}

impl<'a> Session<'a> {
    /// Nothing is followed yet.
    pub(super) fn new(watch: &'a mut ConsulWatch, client: Arc<Client>, feed: &Feed) -> Self {
        for cursor in watch.cursors.values_mut() {
            cursor.sure = false;
            cursor.failures.clear();
        }
        let context = Context {
            token: client.token(),
            client,
            config: watch.config.clone(),
            registry: feed.registry().clone(),
            limits: feed.limits(),
            hasher: watch.hasher.clone(),
            names: Names::default(),
            served: Arc::default(),
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
            unserved: BTreeSet::new(),
            answered: false,
        }
    }

    /// Follows what is wanted now, and nothing else.
    pub(super) async fn replan(&mut self, feed: &mut Feed) -> Result<(), Failure> {
        let mut wanted = self.wanted(feed);
        let plan = self.plan(&wanted).await?;
        let mut anew = HashSet::new();
        for request in plan.all() {
            let queries = wanted.remove(request).unwrap_or_default();
            let cursor = self.watch.cursors.entry(request.clone()).or_default();
            let asked_anew = queries.iter().any(|(query, number)| cursor.queries.get(query) != Some(number));
            let new_scout = plan.scouts.contains(request) && !self.plan.scouts.contains(request);
            if asked_anew || new_scout {
                // The last answer is not kept, so it is read again for those who do not know it.
                cursor.print = None;
                cursor.sure = false;
                anew.insert(request.clone());
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
        let before = self.unserved.len();
        self.unserved.retain(|request| holds(request));
        if self.unserved.len() < before {
            // The one that tried for all may be gone.
            self.let_next_try();
        }
        self.scouting.extend(plan.scouts.difference(&self.plan.scouts).cloned());
        self.scouting.retain(|scout| plan.scouts.contains(scout));
        self.plan = plan;
        self.visit_nodes();
        for request in self.plan.polled.union(&self.plan.scouts).cloned().collect::<Vec<_>>() {
            if !self.live.contains(&request) || anew.contains(&request) {
                self.poll(&request, Duration::ZERO, Until::Over);
            }
        }
        Ok(())
    }

    /// The reads that answer what is wanted, with the numbered queries of each. What cannot be asked is refused.
    fn wanted(&self, feed: &mut Feed) -> BTreeMap<Request, BTreeMap<Query, u64>> {
        let mut wanted: BTreeMap<Request, BTreeMap<Query, u64>> = BTreeMap::new();
        let mut refused = Publication::new();
        for (query, number) in feed.wanted().iter() {
            match Request::of(query, &self.watch.config) {
                Ok(request) => drop(wanted.entry(request).or_default().insert(query.clone(), *number)),
                Err(reason) => {
                    let error = QueryError::new(format!("consul {reason}"));
                    refused.push(Reply { query: query.clone(), result: Err(error) });
                }
            }
        }
        if !refused.is_empty() {
            feed.publish(refused);
        }
        wanted
    }

    /// How to follow these reads with the connections that we may have and Consul takes, which are open then.
    async fn plan(&mut self, wanted: &BTreeMap<Request, BTreeMap<Query, u64>>) -> Result<Plan, Failure> {
        let (client, registry) = (&self.context.client, &*self.context.registry);
        let wide = Plan::of(wanted.keys(), client.capacity());
        if let Some(connections) = client.widen(wide.at_a_time() + 1).await
            && self.watch.narrowness.failed(Instant::now().into_std(), "connections") != Line::Silent
        {
            warn!(registry, connections, "going on with fewer connections: {TOO_MANY}");
        }
        let capacity = client.capacity();
        let plan = Plan::of(wanted.keys(), capacity);
        if plan.at_a_time() > capacity {
            return Err(Failure::Away(format!("too few connections for so many reads: {TOO_MANY}")));
        }
        client.trim(plan.at_a_time() + 1);
        if plan.swept.is_empty() != self.plan.swept.is_empty() {
            debug!(registry, reads = plan.swept.len(), "reads that are swept, being too many for a long poll each");
        }
        Ok(plan)
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
            self.spawn(request, ask, Duration::ZERO, Until::Over);
        }
        self.sweep.wake_at().filter(|_| self.sweep.running() < self.plan.sweepers)
    }

    /// The token is another: what was refused may be sent again. Open polls have the rights of the one before until they
    /// end, and an index says nothing of rights: what there is for the new one is read.
    pub(super) fn read_anew(&mut self) {
        self.sweep.retry_all();
        let most = if self.context.client.shares_connections() { usize::MAX } else { ENDED_AT_ONCE };
        let polled: Vec<Request> = self.plan.polled.union(&self.plan.scouts).take(most).cloned().collect();
        for request in polled {
            if let Some(cursor) = self.watch.cursors.get_mut(&request) {
                cursor.print = None;
                cursor.sure = false;
            }
            self.poll(&request, Duration::ZERO, Until::Over);
        }
        for request in self.plan.swept.clone() {
            if let Some(cursor) = self.watch.cursors.get_mut(&request) {
                cursor.print = None;
                cursor.sure = false;
                self.sweep.hurry(&request);
            }
        }
    }

    fn poll(&mut self, request: &Request, pause: Duration, until: Until) {
        if let Some(cursor) = self.watch.cursors.get(request) {
            let rhythm = request.rhythm(cursor.found, &self.watch.config.clocks);
            let ask = if rhythm.is_some() { cursor.read() } else { cursor.poll() };
            self.spawn(request.clone(), ask, pause, until);
        }
    }

    fn spawn(&mut self, request: Request, ask: Ask, pause: Duration, until: Until) {
        let Some(cursor) = self.watch.cursors.get(&request) else { return };
        let (print, asked, first) = (cursor.print, !cursor.queries.is_empty(), cursor.index.is_none());
        let fetch = Fetch { request: request.clone(), ask, print, pause, until, asked, first };
        self.live.insert(request.clone());
        self.jobs.spawn(request, fetch.run(self.context.clone()));
    }

    /// Waits until a read is over. Safe to cancel.
    pub(super) async fn joined(&mut self) -> Joined {
        match self.jobs.join_next().await {
            Some(joined) => joined,
            None => std::future::pending().await,
        }
    }
}

/// A read that is over.
pub(super) type Joined = (Request, Result<Fetched, JoinError>);
