//! What becomes of what reads bring: answers, errors, and when they are sent again.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info};

use super::{Joined, Session};
use crate::registry::consul::cursor::{Cursor, Step, jittered};
use crate::registry::consul::failure::{Circumstances, Consequence, Failure};
use crate::registry::consul::fetch::{Body, Fetched, Reading, Until};
use crate::registry::consul::nothing;
use crate::registry::consul::request::{Ask, Contents, Request};
use crate::registry::consul::sweep::Group;
use crate::registry::{Answer, Feed, Publication, Query, QueryError, Reply};

/// After this a read that Consul did not serve is sent again though no other was served in between.
const UNLESS_SERVED: Duration = Duration::from_secs(60);

impl Session<'_> {
    /// Takes what one read brought, and what others brought meanwhile, and publishes it together. An error is about
    /// Consul, not about the read.
    pub(in super::super) fn settle(&mut self, first: Joined, feed: &Feed) -> Result<(), Failure> {
        let mut publication = Publication::new();
        let mut next = Some(first);
        let mut result = Ok(());
        while let Some((request, joined)) = next.filter(|_| result.is_ok()) {
            result = match joined {
                Ok(fetched) => {
                    self.live.remove(&request);
                    self.settle_one(&request, fetched, &mut publication)
                }
                // Ended by us, or by the end of the program.
                Err(error) if error.is_cancelled() => Ok(()),
                Err(_) => Err(Failure::Broken("internal error: a read panicked; please report this".to_owned())),
            };
            next = self.jobs.try_join_next();
        }
        if !publication.is_empty() {
            feed.publish(publication);
        } else if result.is_ok() && self.answered {
            feed.recovered();
        }
        result
    }

    fn settle_one(
        &mut self,
        request: &Request,
        fetched: Fetched,
        publication: &mut Publication,
    ) -> Result<(), Failure> {
        let config = self.watch.config.clone();
        self.scouting.remove(request);
        if !matches!(fetched.result, Err(Failure::Busy { .. })) {
            self.unserved.remove(request);
            self.let_next_try();
        }
        let Some(cursor) = self.watch.cursors.get_mut(request) else { return Ok(()) };
        let (good, body) = match fetched.result {
            Ok(answer) => answer,
            Err(failure) => return self.fail(request, &failure, publication),
        };
        self.answered = true;
        self.watch.blindness.remove(request);
        cursor.failures.clear();
        if !cursor.sure && fetched.ask != Ask::Consistent {
            // A read of the sweep that was sent before its queries were asked anew.
            self.again(request, Duration::ZERO, Until::Over);
            return Ok(());
        }
        let last = cursor.index;
        let step = cursor.step(fetched.ask, good.index, fetched.took, &config.clocks);
        let pause = cursor.pause(Instant::now(), fetched.cost, &config.clocks);
        if step == Step::Confirm {
            let read = cursor.queries.keys().next().map_or_else(|| request.name(), ToString::to_string);
            debug!(read, index = good.index, last, "the index does not go on: reading consistently");
            self.again(request, pause, Until::Over);
            self.doubt();
            return Ok(());
        }
        let filtered = good.filtered && !config.allow_filtered && !cursor.queries.is_empty();
        let is_scout = self.plan.scouts.contains(request);
        if filtered && !is_scout {
            return self.fail(request, &Failure::Filtered, publication);
        }
        match body {
            Body::New { print, mut reading } => {
                cursor.print = Some(print);
                cursor.found = !nothing::is_nothing(request, &reading.contents);
                if filtered {
                    // It tells a scout enough.
                    self.refuse(request, &Failure::Filtered, publication);
                } else {
                    self.watch.tell(&self.context.registry, &reading.left_out);
                    self.answer(request, good.index, &mut reading, publication);
                }
                self.look_below(request, &reading.contents);
                self.heed(request, reading.contents);
            }
            // Names stay the same when what they stand for changes.
            Body::Same if last != Some(good.index) && is_scout && request.only_names() => self.look_around(request),
            Body::Same => {}
        }
        self.sweep.done(request, Instant::now(), None);
        if !self.sweep.holds(request) {
            let found = self.watch.cursors.get(request).is_some_and(|cursor| cursor.found);
            let rhythm = request.rhythm(found, &config.clocks).map(jittered).unwrap_or_default();
            self.poll(request, pause.max(rhythm), Until::Over);
        }
        Ok(())
    }

    /// Answers the queries of a read.
    fn answer(&mut self, request: &Request, index: u64, reading: &mut Reading, publication: &mut Publication) {
        let Reading { contents, left_out, unknown } = reading;
        let Some(cursor) = self.watch.cursors.get_mut(request) else { return };
        cursor.share(contents);
        for query in cursor.queries.keys().cloned().collect::<Vec<_>>() {
            let result = match left_out.first() {
                Some(first) if self.watch.config.strict => {
                    cursor.print = None;
                    Err(QueryError::new(format!("{} entries cannot be read, the first is {first}", left_out.len())))
                }
                _ => match request.answer(contents, &query, cursor.entries()) {
                    Some(data) => {
                        cursor.keep(&data);
                        Ok(Answer { unknown: unknown.clone(), ..Answer::new(data, index) })
                    }
                    None => continue,
                },
            };
            publication.push(Reply { query, result });
        }
    }

    /// Reads again the folders that this read of one above shows to be empty, whose polls Consul may not have told.
    fn look_below(&mut self, request: &Request, contents: &Contents) {
        let config = &self.watch.config;
        let is_emptied = |below: &Request, cursor: &Cursor| {
            cursor.found && nothing::shows_nothing_of(below, request, contents, config)
        };
        let cursors = self.watch.cursors.iter_mut();
        let emptied: Vec<Request> = cursors
            .filter(|(below, cursor)| is_emptied(below, cursor))
            .map(|(below, cursor)| {
                cursor.sure = false;
                below.clone()
            })
            .collect();
        for below in emptied {
            debug!(read = below.name(), "a folder above it was emptied: reading consistently");
            if self.sweep.holds(&below) {
                self.sweep.hurry(&below);
            } else {
                self.poll(&below, Duration::ZERO, Until::Over);
            }
        }
    }

    /// Judges a failure of one read: what its queries are told, and when it is sent again.
    fn fail(&mut self, request: &Request, failure: &Failure, publication: &mut Publication) -> Result<(), Failure> {
        let failing = self.watch.cursors.values().filter(|cursor| cursor.failures.are_some()).count();
        let Some(cursor) = self.watch.cursors.get_mut(request) else { return Ok(()) };
        let circumstances = Circumstances {
            failures: cursor.failures.count(failure),
            failing: u32::try_from(failing).unwrap_or(u32::MAX),
            answered: self.answered,
            elsewhere: request.datacenter().is_some(),
        };
        let Consequence::Again { told, pause } = failure.consequence(circumstances, &self.watch.config.clocks) else {
            return Err(failure.clone());
        };
        if matches!(failure, Failure::Away(_)) {
            self.context.client.forget();
        }
        // Being asked to slow down says nothing about the data; but a read that need not wait for news tells sooner that
        // Consul serves again.
        cursor.sure &= matches!(failure, Failure::Busy { .. }) && !told;
        if told {
            self.refuse(request, failure, publication);
            // Whatever it would have told has to be found without it.
            match Group::of(request) {
                Group::Nodes(datacenter) => self.sweep.changed(Group::Services(datacenter)),
                group if self.plan.scouts.contains(request) => {
                    self.watch.tell_blindness(&self.context.registry, request, failure);
                    self.sweep.changed(group);
                }
                _ => {}
            }
        }
        let (pause, until) = match failure {
            Failure::Denied(_) | Failure::Filtered => (pause, Until::Token),
            Failure::Busy { after: None, .. } => {
                self.unserved.insert(request.clone());
                // However many there are, Consul is asked by one of them, and the others follow as soon as it serves.
                let tries_for_all = !told || self.unserved.first() == Some(request);
                // Sooner than Consul is asked whether it is there, which would be a request more.
                let sooner = pause.mul_f64(0.8);
                if tries_for_all { (sooner, Until::Over) } else { (pause.max(UNLESS_SERVED), Until::Served) }
            }
            _ => (pause, Until::Over),
        };
        self.again(request, pause, until);
        Ok(())
    }

    /// Tells the queries of a read why they are not answered.
    fn refuse(&mut self, request: &Request, failure: &Failure, publication: &mut Publication) {
        let Some(cursor) = self.watch.cursors.get_mut(request) else { return };
        cursor.print = None;
        let is_computed = cursor.queries.keys().any(Query::is_computed);
        let reason = request.explain(failure, is_computed, &self.watch.config);
        let error = match failure {
            Failure::Denied(_) => QueryError::denied(reason),
            _ => QueryError::new(reason),
        };
        let replies = cursor.queries.keys().map(|query| Reply { query: query.clone(), result: Err(error.clone()) });
        publication.extend(replies);
    }

    /// Has the next of the reads that were not served try again.
    pub(super) fn let_next_try(&mut self) {
        match self.unserved.first() {
            Some(request) if self.sweep.holds(request) => self.sweep.retry_one(),
            Some(_) => self.context.served.notify_one(),
            None => {}
        }
    }

    /// Sends a read again after a pause, whichever way it is sent.
    fn again(&mut self, request: &Request, pause: Duration, until: Until) {
        if self.sweep.holds(request) {
            let now = Instant::now();
            self.sweep.done(request, now, Some(now + pause));
        } else {
            self.poll(request, pause, until);
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
}
