//! The questions that are wanted: when each is asked, and what their answers say of the servers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::JoinMap;

use super::Config;
use super::records::Found;
use super::resolver::Failure;
use crate::backoff::Backoff;
use crate::registry::{Answer, LookupQuery, Outage, Publication, Query, QueryError, Reply, Wanted};

/// After so many questions in a row to which no server said anything it may be that nobody is there.
const SILENT: usize = 8;

/// How many of those that have an answer are asked to find out whether anybody is there.
const PROBES: usize = 2;

/// The pauses before a question is asked again that has no answer, while others have.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const JITTER: f64 = 0.25;

/// What came of a question.
pub(super) type Outcome = Result<Found, Failure>;

/// The questions that are wanted.
#[derive(Debug, Default)]
pub(super) struct Questions {
    each: BTreeMap<Query, Question>,
    /// How many had no answer in a row, since a server last said anything.
    silent: usize,
    /// How many of these were asked to find out whether anybody is there.
    silent_probes: usize,
    /// Whether a server has said anything since we began to ask.
    heard: bool,
    /// Counts publications: the revision of answers.
    generation: u64,
}

/// How one question stands.
#[derive(Debug)]
struct Question {
    /// The number under which it is wanted.
    number: u64,
    /// When it is to be asked again.
    due: Instant,
    under_way: bool,
    /// It is asked before its time, to find out whether anybody is there.
    is_probe: bool,
    /// When it last had an answer.
    answered: Option<Instant>,
    /// Why it has no answer, since it last had one.
    failure: Option<Failure>,
    backoff: Backoff,
}

impl Questions {
    /// What had no answer is asked again, since the pause after an outage is over.
    pub(super) fn begin(&mut self) {
        (self.silent, self.silent_probes, self.heard) = (0, 0, false);
        self.hurry(|question| question.failure.is_some());
    }

    /// Whatever was answered may no longer be so.
    pub(super) fn ask_all_again(&mut self) {
        self.hurry(|_| true);
    }

    /// Whatever was under way was given up.
    pub(super) fn nothing_is_under_way(&mut self) {
        for question in self.each.values_mut() {
            question.under_way = false;
        }
    }

    /// Follows what is wanted, and nothing else. What is wanted under another number is asked anew.
    pub(super) fn want(&mut self, wanted: &Wanted, jobs: &mut JoinMap<Query, Outcome>, config: &Config) {
        self.each.retain(|query, question| {
            let stays = wanted.get(query) == Some(&question.number);
            if !stays {
                jobs.abort(query);
            }
            stays
        });
        for (query, number) in wanted.iter() {
            self.each.entry(query.clone()).or_insert_with(|| Question::new(*number, config.retry_interval));
        }
    }

    /// Has these asked at once.
    fn hurry(&mut self, which: impl Fn(&Question) -> bool) {
        let now = Instant::now();
        for question in self.each.values_mut().filter(|question| which(question)) {
            question.due = question.due.min(now);
        }
    }

    /// The questions to ask now, which then count as under way. First those that tell whether anybody is there, then
    /// those that do not wait in vain as a rule, the longest due first, so that names nobody can tell of delay no others.
    pub(super) fn take_due(&mut self, most: usize) -> Vec<(Query, LookupQuery)> {
        let now = Instant::now();
        let mut due: Vec<_> =
            self.each.iter_mut().filter(|(_, question)| !question.under_way && question.due <= now).collect();
        due.sort_by_key(|(_, question)| (!question.is_probe, question.failure.is_some(), question.due));
        let ask = |(query, question): (&Query, &mut Question)| {
            let Query::Lookup(lookup) = query else { return None };
            question.under_way = true;
            Some((query.clone(), lookup.clone()))
        };
        due.into_iter().take(most).filter_map(ask).collect()
    }

    /// When the next is due.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.each.values().filter(|question| !question.under_way).map(|question| question.due).min()
    }

    /// Takes what came of questions, and says what is to be published of it, and whether nobody is there to ask any more.
    pub(super) fn settle(&mut self, outcomes: Vec<(Query, Outcome)>, config: &Config) -> (Publication, Option<Outage>) {
        self.generation += 1;
        let mut publication = Publication::new();
        for (query, outcome) in outcomes {
            if let Some(result) = self.settle_one(&query, outcome, config) {
                publication.push(Reply { query, result });
            }
        }
        let outage = self.outage();
        if outage.is_some() {
            // That is one outage, and no error of each question.
            publication.retain(|reply| reply.result.is_ok());
        }
        (publication, outage)
    }

    fn settle_one(&mut self, query: &Query, outcome: Outcome, config: &Config) -> Option<Result<Answer, QueryError>> {
        let question = self.each.get_mut(query)?;
        question.under_way = false;
        let was_probe = std::mem::take(&mut question.is_probe);
        match outcome {
            Ok(Found { data, ttl }) => {
                let now = Instant::now();
                question.failure = None;
                question.answered = Some(now);
                question.backoff.reset();
                // Where nobody says how long, it may change at any time.
                question.due = now + ttl.unwrap_or_default().clamp(config.min_interval, config.max_interval);
                self.hear();
                Some(Ok(Answer::new(data, self.generation)))
            }
            Err(failure) => {
                let is_silence = matches!(failure, Failure::Silence(_));
                let is_new = question.failure.is_none();
                let error = QueryError::new(failure.reason());
                question.failure = Some(failure);
                question.due = Instant::now() + question.backoff.next_pause();
                if is_silence {
                    self.silent += 1;
                    self.silent_probes += usize::from(was_probe);
                    // Whether that is about this name or about the servers, others tell.
                    if is_new || self.silent >= SILENT {
                        self.probe(config.min_interval);
                    }
                } else {
                    self.hear();
                }
                self.heard.then_some(Err(error))
            }
        }
    }

    /// A server has said something.
    fn hear(&mut self) {
        (self.silent, self.silent_probes, self.heard) = (0, 0, true);
    }

    /// Has a few that have an answer asked before their time: of those that may be asked now the last answered, which
    /// tells most of the servers, else those that may be asked first.
    fn probe(&mut self, min_interval: Duration) {
        let now = Instant::now();
        let pending = self.each.values().filter(|question| question.is_probe).count();
        let mut others: Vec<(Instant, &mut Question)> = self
            .each
            .values_mut()
            .filter(|question| question.is_well() && !question.is_probe && !question.under_way && question.due > now)
            .filter_map(|question| Some((question.answered? + min_interval, question)))
            .collect();
        others.sort_by_key(|(from, _)| (*from > now, from.max(&now).duration_since(*from.min(&now))));
        for (from, question) in others.into_iter().take(PROBES.saturating_sub(pending)) {
            question.is_probe = true;
            question.due = question.due.min(from.max(now));
        }
    }

    /// Whether there is nobody to ask: nothing that is wanted has an answer, or many in a row had none, and among them
    /// what was asked to find that out, as far as there is anything that could tell.
    fn outage(&self) -> Option<Outage> {
        let is_silent =
            self.silent >= SILENT && (self.silent_probes >= PROBES || !self.each.values().any(Question::is_well));
        let mut reasons = self.each.values().map(|question| question.failure.as_ref());
        let first = reasons.clone().flatten().next()?;
        let all_fail = reasons.all(|failure| failure.is_some());
        (all_fail || is_silent).then(|| Outage(first.reason().to_owned()))
    }
}

impl Question {
    /// One that is to be asked at once.
    fn new(number: u64, longest_pause: Duration) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE.min(longest_pause), longest_pause, JITTER);
        Self { number, due: Instant::now(), under_way: false, is_probe: false, answered: None, failure: None, backoff }
    }

    /// Whether it had an answer when it was last asked.
    fn is_well(&self) -> bool {
        self.answered.is_some() && self.failure.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::Data;

    const HOUR: Duration = Duration::from_secs(3600);

    fn query(name: &str) -> Query {
        Query::Lookup(LookupQuery::addresses(name))
    }

    fn answered(name: &str) -> (Query, Outcome) {
        (query(name), Ok(Found { data: Data::Records(Vec::new()), ttl: Some(HOUR) }))
    }

    fn silent(name: &str) -> (Query, Outcome) {
        (query(name), Err(Failure::Silence("nobody".to_owned())))
    }

    /// The least time is so long that nothing is asked twice in a test, or none at all.
    fn config(min_interval: Duration) -> Config {
        Config { min_interval, max_interval: 2 * HOUR, ..Config::default() }
    }

    /// These names, asked and answered.
    fn well(names: &[String], config: &Config) -> Questions {
        let mut questions = Questions::default();
        let wanted: Wanted = Arc::new(names.iter().map(|name| (query(name), 0)).collect());
        questions.want(&wanted, &mut JoinMap::new(), config);
        assert_eq!(questions.take_due(usize::MAX).len(), names.len());
        let (publication, outage) = questions.settle(names.iter().map(|name| answered(name)).collect(), config);
        assert_eq!((publication.len(), outage), (names.len(), None));
        questions
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("n{number}.example")).collect()
    }

    /// These names are asked in their time.
    fn ask(questions: &mut Questions, names: &[String]) {
        for name in names {
            questions.each.get_mut(&query(name)).unwrap().under_way = true;
        }
    }

    /// The names that are asked now.
    fn asked(questions: &mut Questions) -> Vec<String> {
        questions.take_due(usize::MAX).into_iter().map(|(_, lookup)| lookup.name).collect()
    }

    #[test]
    fn a_name_that_falls_silent_has_few_others_asked_and_none_too_soon() {
        let names = names(16);
        for (min_interval, expected) in [(Duration::ZERO, PROBES), (HOUR, 0)] {
            let config = config(min_interval);
            let mut questions = well(&names, &config);
            ask(&mut questions, &names[..8]);
            for name in &names[..8] {
                let (publication, outage) = questions.settle(vec![silent(name)], &config);
                assert_eq!((publication.len(), outage), (1, None));
            }
            let others = asked(&mut questions);
            assert_eq!(others.len(), expected, "{others:?}");
            assert!(others.iter().all(|name| names[8..].contains(name)), "{others:?}");
            // Those under way are enough.
            questions.settle(vec![silent(&names[0])], &config);
            assert_eq!(asked(&mut questions), [""; 0]);
        }
    }

    #[test]
    fn silent_names_are_an_outage_only_where_one_that_was_well_is_silent_too() {
        let config = config(Duration::ZERO);
        let names = names(12);
        let mut questions = well(&names, &config);
        for round in 0..5 {
            ask(&mut questions, &names[..9]);
            let outcomes = names[..9].iter().map(|name| silent(name)).collect();
            assert_eq!(questions.settle(outcomes, &config).1, None, "{round}");
            let probes = asked(&mut questions);
            assert_eq!(probes.len(), PROBES);
            assert_eq!(questions.settle(vec![answered(&probes[0])], &config).1, None);
            assert_eq!(questions.settle(vec![answered(&probes[1])], &config).1, None);
        }
        ask(&mut questions, &names[..9]);
        questions.settle(names[..9].iter().map(|name| silent(name)).collect(), &config);
        let probes = asked(&mut questions);
        assert_eq!(questions.settle(vec![silent(&probes[0])], &config).1, None, "there is another");
        let (publication, outage) = questions.settle(vec![silent(&probes[1])], &config);
        assert_eq!(outage, Some(Outage("nobody".to_owned())));
        assert!(publication.is_empty(), "an outage is told once: {publication:?}");
        // It is over as soon as anybody says anything.
        questions.begin();
        assert_eq!(questions.settle(vec![answered(&names[0])], &config).1, None);
    }

    #[test]
    fn silent_names_are_an_outage_where_nothing_was_well() {
        let config = config(Duration::ZERO);
        let names = names(20);
        let mut questions = Questions::default();
        let wanted: Wanted = Arc::new(names.iter().map(|name| (query(name), 0)).collect());
        questions.want(&wanted, &mut JoinMap::new(), &config);
        for (at, name) in names[..SILENT].iter().enumerate() {
            let outage = questions.settle(vec![silent(name)], &config).1;
            assert_eq!(outage.is_some(), at + 1 == SILENT, "{at}");
        }
        // Those that were not asked yet go first then.
        questions.begin();
        let first: Vec<_> = questions.take_due(12).into_iter().map(|(_, lookup)| lookup.name).collect();
        assert!(first.iter().all(|name| names[SILENT..].contains(name)), "{first:?}");
    }

    #[test]
    fn an_answer_is_published_that_comes_with_an_outage() {
        let config = config(Duration::ZERO);
        let names = names(12);
        let mut questions = well(&names, &config);
        questions.settle(vec![silent(&names[0])], &config);
        let probes = asked(&mut questions);
        assert_eq!(probes.len(), PROBES);
        ask(&mut questions, &names[1..]);
        let answers = names[1..].iter().find(|name| !probes.contains(name)).unwrap();
        let others = names[1..].iter().filter(|name| *name != answers);
        let outcomes = std::iter::once(answered(answers)).chain(others.map(|name| silent(name))).collect();
        let (publication, outage) = questions.settle(outcomes, &config);
        assert!(outage.is_some());
        let said: Vec<_> = publication.iter().map(|reply| (&reply.query, reply.result.is_ok())).collect();
        assert_eq!(said, [(&query(answers), true)]);
    }
}
