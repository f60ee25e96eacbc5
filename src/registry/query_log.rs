//! What the log says of single queries while their registry is well: those that get no new answer, and services that
//! are in no catalog. One way for all kinds, so that each is named once, in few lines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Publication, Query, Wanted};
use crate::log::Budget;

/// The lines that may be written in a minute. What is over waits, and is told together.
const LINES: usize = 10;

/// How long what follows upon a line of its sort is gathered: answers to many questions come one after the other.
pub(super) const GATHER: Duration = Duration::from_secs(1);

/// How long it is waited whether a service that was there and is in no catalog any more is still asked for: with what lists
/// services it goes out of the templates at the next render, and nobody has to be told.
const LEAVING: Duration = Duration::from_secs(5);

/// What there is to say of the queries of one registry.
#[derive(Debug)]
pub(super) struct QueryLog {
    /// Queries that have no new answer.
    failing: BTreeMap<Query, Failing>,
    /// Queries that have an answer, be it an old one.
    answered: BTreeSet<Query>,
    /// Services that are in no catalog.
    absent: BTreeMap<Service, Absent>,
    /// What was said to fail and does so no more: the reason, and since when it was so.
    ended: BTreeMap<String, Instant>,
    /// When a line about this reason was last written; about services in no catalog for none.
    said: BTreeMap<Option<String>, Instant>,
    budget: Budget,
}

/// Why a query has no new answer.
#[derive(Debug)]
struct Failing {
    reason: String,
    since: Instant,
    is_said: bool,
}

/// The name of a service, and the datacenter where that is not the registry's own.
type Service = (String, Option<String>);

#[derive(Debug)]
struct Absent {
    /// As it may be shown.
    name: String,
    /// As it may be shown.
    datacenter: Option<String>,
    hint: Option<String>,
    is_said: bool,
    /// It is not said before.
    from: Instant,
}

impl Absent {
    fn is_due(&self, now: Instant) -> bool {
        !self.is_said && now >= self.from
    }
}

/// One line of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// These queries get no new answer. If `stays`, all of them keep the one before.
    NotAnswered { reason: String, queries: Vec<String>, stays: bool },
    /// Nothing fails for this reason any more.
    AnsweredAgain { reason: String, lasted: Duration },
    /// These services are in no catalog.
    NoSuchService { names: Vec<String> },
}

impl QueryLog {
    /// Nothing to say.
    pub(super) fn new() -> Self {
        Self {
            failing: BTreeMap::new(),
            answered: BTreeSet::new(),
            absent: BTreeMap::new(),
            ended: BTreeMap::new(),
            said: BTreeMap::new(),
            budget: Budget::new(LINES),
        }
    }

    /// Notes what was published.
    pub(super) fn note(&mut self, publication: &Publication, now: Instant) {
        for reply in publication {
            let query = &reply.query;
            match &reply.result {
                Err(error) => match self.failing.get_mut(query) {
                    Some(failing) if failing.reason == error.reason => {}
                    before => {
                        let since = before.map_or(now, |failing| failing.since);
                        let failing = Failing { reason: error.reason.clone(), since, is_said: false };
                        self.failing.insert(query.clone(), failing);
                    }
                },
                Ok(answer) => {
                    if let Some(failing) = self.failing.remove(query).filter(|failing| failing.is_said) {
                        let since = self.ended.entry(failing.reason).or_insert(failing.since);
                        *since = failing.since.min(*since);
                    }
                    let is_first = !self.answered.contains(query);
                    if is_first {
                        self.answered.insert(query.clone());
                    }
                    let Query::Service(service) = query else { continue };
                    let key = (service.name.clone(), service.datacenter.clone());
                    match &answer.unknown {
                        None => drop(self.absent.remove(&key)),
                        Some(unknown) => {
                            let absent = || Absent {
                                name: service.shown_name().to_owned(),
                                datacenter: service.shown_datacenter().map(str::to_owned),
                                hint: unknown.hint.clone(),
                                is_said: false,
                                from: if is_first { now } else { now + LEAVING },
                            };
                            self.absent.entry(key).or_insert_with(absent);
                        }
                    }
                }
            }
        }
    }

    /// Forgets what nobody asks any more.
    pub(super) fn keep(&mut self, wanted: &Wanted) {
        self.failing.retain(|query, _| wanted.contains_key(query));
        self.answered.retain(|query| wanted.contains_key(query));
        let services: BTreeSet<(&str, Option<&str>)> = wanted
            .keys()
            .filter_map(|query| match query {
                Query::Service(service) => Some((service.name.as_str(), service.datacenter.as_deref())),
                _ => None,
            })
            .collect();
        self.absent.retain(|(name, datacenter), _| services.contains(&(name, datacenter.as_deref())));
    }

    /// Whether there is more to say than [`QueryLog::due`] gave.
    pub(super) fn is_waiting(&self) -> bool {
        self.failing.values().any(|failing| !failing.is_said) || self.absent.values().any(|absent| !absent.is_said)
    }

    /// Whether a line of this sort may be written now; then it is.
    fn may_say(&mut self, sort: Option<&str>, now: Instant) -> bool {
        self.said.retain(|_, at| now.duration_since(*at) < GATHER);
        let sort = sort.map(str::to_owned);
        if self.said.contains_key(&sort) || !self.budget.has_room(now) {
            return false;
        }
        self.budget.spend(now);
        self.said.insert(sort, now);
        true
    }

    /// What is to be written now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let unsaid = self.failing.values().filter(|failing| !failing.is_said);
        let reasons: BTreeSet<String> = unsaid.map(|failing| failing.reason.clone()).collect();
        for reason in reasons {
            if !self.may_say(Some(&reason), now) {
                continue;
            }
            let mut queries = Vec::new();
            let mut stays = true;
            let unsaid = self.failing.iter_mut().filter(|(_, failing)| !failing.is_said && failing.reason == reason);
            for (query, failing) in unsaid {
                failing.is_said = true;
                queries.push(query.to_string());
                stays &= self.answered.contains(query);
            }
            // The same service may be asked for in several ways.
            queries.dedup();
            remarks.push(Remark::NotAnswered { reason, queries, stays });
        }
        for (reason, since) in std::mem::take(&mut self.ended) {
            if self.failing.values().any(|failing| failing.reason == reason) {
                self.ended.insert(reason, since);
            } else {
                remarks.push(Remark::AnsweredAgain { reason, lasted: now.duration_since(since) });
            }
        }
        if self.absent.values().any(|absent| absent.is_due(now)) && self.may_say(None, now) {
            let unsaid = self.absent.iter_mut().filter(|(_, absent)| absent.is_due(now));
            let names = unsaid.map(|(_, absent)| {
                absent.is_said = true;
                let name = &absent.name;
                let datacenter =
                    absent.datacenter.as_ref().map(|name| format!(" in datacenter `{name}`")).unwrap_or_default();
                let hint = absent.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("`{name}`{datacenter}{hint}")
            });
            remarks.push(Remark::NoSuchService { names: names.collect() });
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Answer, Data, Path, QueryError, Reply, ServiceQuery, UnknownService};

    fn key(path: &str) -> Query {
        Query::Key(Path::parse(path).unwrap())
    }

    fn failed(path: &str, reason: &str) -> Reply {
        Reply { query: key(path), result: Err(QueryError::new(reason)) }
    }

    fn answered(path: &str) -> Reply {
        Reply { query: key(path), result: Ok(Answer::new(Data::Key(None), 1)) }
    }

    fn known(name: &str) -> Reply {
        let query = Query::Service(ServiceQuery::passing(name));
        Reply { query, result: Ok(Answer::new(Data::Service(Vec::new()), 1)) }
    }

    fn unknown(name: &str, hint: Option<&str>) -> Reply {
        let unknown = Some(UnknownService { hint: hint.map(str::to_owned) });
        let answer = Answer { unknown, ..Answer::new(Data::Service(Vec::new()), 1) };
        Reply { result: Ok(answer), ..known(name) }
    }

    /// What is written after these replies, each a publication.
    fn said(log: &mut QueryLog, at: Instant, replies: impl IntoIterator<Item = Reply>) -> String {
        let mut said = Vec::new();
        for reply in replies {
            log.note(&vec![reply], at);
            said.extend(log.due(at).into_iter().map(|remark| match remark {
                Remark::NotAnswered { reason, queries, stays } => format!("{} {reason} {stays}", queries.join("+")),
                Remark::AnsweredAgain { reason, lasted } => format!("no more {reason} after {}s", lasted.as_secs()),
                Remark::NoSuchService { names } => format!("no {}", names.join("+")),
            }));
        }
        said.join("; ")
    }

    #[test]
    fn each_failure_is_said_once_and_its_end_once() {
        let start = Instant::now();
        let (soon, later) = (start + GATHER, start + Duration::from_secs(30));
        let mut log = QueryLog::new();
        assert_eq!(said(&mut log, start, [answered("a"), failed("a", "x"), failed("a", "x")]), "key `a` x true");
        assert_eq!(said(&mut log, start, [failed("b", "x"), failed("c", "x")]), "", "more of the same is gathered");
        assert!(log.is_waiting());
        assert_eq!(said(&mut log, soon, [answered("c")]), "key `b` x false", "and nobody wants to know of `c`");
        assert!(!log.is_waiting());
        assert_eq!(said(&mut log, soon, [failed("a", "y"), failed("a", "y")]), "key `a` y true", "it changed");
        assert_eq!(said(&mut log, later, [answered("a"), answered("a")]), "no more y after 30s");
        assert_eq!(said(&mut log, later, [answered("b")]), "no more x after 30s");
        assert_eq!(said(&mut log, later, [failed("a", "x")]), "key `a` x true", "it is new again");
        log.note(&vec![failed("a", "z"), failed("c", "z")], later);
        log.keep(&Wanted::new([(key("c"), 1)].into()));
        assert_eq!(said(&mut log, later, [answered("d")]), "key `c` z true", "nobody asks for `a` any more");
    }

    #[test]
    fn what_is_too_much_is_said_together_a_minute_later() {
        let start = Instant::now();
        let mut log = QueryLog::new();
        let many = (0..15).map(|number| failed(&format!("k{number}"), &format!("reason {number}")));
        assert_eq!(said(&mut log, start, many).matches("reason").count(), LINES);
        assert_eq!(said(&mut log, start + Duration::from_secs(59), [answered("a")]), "");
        assert!(log.is_waiting());
        let rest = said(&mut log, start + Duration::from_secs(60), [answered("a")]);
        assert_eq!(rest.matches("reason").count(), 15 - LINES, "{rest}");
    }

    #[test]
    fn a_service_in_no_catalog_is_named_once_until_it_was_there() {
        let start = Instant::now();
        let at = |round| start + round * GATHER;
        let mut log = QueryLog::new();
        let absent = || unknown("web_api", Some("did you mean `web-api`?"));
        assert_eq!(said(&mut log, at(0), [absent(), absent()]), "no `web_api` (did you mean `web-api`?)");
        assert_eq!(said(&mut log, at(1), [known("web"), known("web_api")]), "", "be it without an instance to list");
        assert_eq!(said(&mut log, at(2), [unknown("c", None), unknown("c", None)]), "no `c`");
        assert_eq!(said(&mut log, at(2), [unknown("b", None), unknown("a", None)]), "");
        assert_eq!(said(&mut log, at(3), [known("web"), unknown("web", None)]), "no `a`+`b`");
    }

    #[test]
    fn a_service_that_leaves_is_named_if_it_is_still_asked_for_later() {
        let start = Instant::now();
        let mut log = QueryLog::new();
        assert_eq!(said(&mut log, start, [known("web"), known("api")]), "");
        assert_eq!(said(&mut log, start, [unknown("web", None), unknown("api", None)]), "");
        assert!(log.is_waiting());
        let asked = Query::Service(ServiceQuery::passing("api"));
        log.keep(&Wanted::new([(asked, 1)].into()));
        assert_eq!(said(&mut log, start + GATHER, [known("other")]), "");
        assert_eq!(said(&mut log, start + LEAVING, [known("other")]), "no `api`", "nobody asks for `web` any more");
        assert!(!log.is_waiting());
    }
}
