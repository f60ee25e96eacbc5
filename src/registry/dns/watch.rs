//! Asks again when the time of an answer is over, and publishes what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::JoinMap;

use super::Config;
use super::records::Found;
use super::resolver::{Failure, Resolver};
use crate::backoff::Backoff;
use crate::file_watch::{FileWatch, POLL_INTERVAL};
use crate::registry::{Answer, Feed, LookupQuery, Outage, Publication, Query, QueryError, Reply, Wanted, Watch};

/// How many questions may be under way at a time.
const AT_A_TIME: usize = 16;

/// After so many questions in a row to which no server said anything, the others need not be tried: nobody is there.
const SILENT: usize = 8;

/// The pauses before a question is asked again that has no answer, while others have.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const JITTER: f64 = 0.25;

/// Follows names; what is in it outlives an outage.
pub(super) struct DnsWatch {
    config: Arc<Config>,
    files: FileWatch,
    asked: Questions,
}

/// The questions that are wanted.
#[derive(Debug, Default)]
struct Questions {
    each: BTreeMap<Query, Question>,
    /// How many had no answer in a row, since a server last said anything.
    silent: usize,
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
    /// Why it has no answer, since it last had one.
    failure: Option<Failure>,
    backoff: Backoff,
}

/// What came of a question.
type Outcome = Result<Found, Failure>;

impl DnsWatch {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config, files: FileWatch::new(POLL_INTERVAL), asked: Questions::default() }
    }

    async fn follow(&mut self, feed: &mut Feed) -> Outage {
        self.asked.begin();
        loop {
            let resolver = match self.resolver().await {
                Ok(resolver) => resolver,
                Err(reason) => return Outage(reason),
            };
            if let Err(outage) = self.ask(&resolver, feed).await {
                return outage;
            }
            // Other servers may say otherwise.
            self.asked.hurry(|_| true);
        }
    }

    /// Whom to ask. Where that stands in a file, the file is followed.
    async fn resolver(&mut self) -> Result<Resolver, String> {
        let Config { servers, resolv_conf, request_timeout, .. } = &*self.config;
        if !servers.is_empty() {
            return Resolver::of_servers(servers, *request_timeout);
        }
        self.files.follow([resolv_conf.clone()]).await;
        let path = resolv_conf.clone();
        let text = self.files.read(move || std::fs::read(path)).await;
        let text = text.map_err(|error| format!("`{}` cannot be read: {error}", resolv_conf.display()))?;
        Resolver::of_system(resolv_conf, &text, *request_timeout)
    }

    /// Asks until the servers are others, or none answers.
    async fn ask(&mut self, resolver: &Resolver, feed: &mut Feed) -> Result<(), Outage> {
        let registry = feed.registry().clone();
        let is_followed = self.config.servers.is_empty();
        let mut jobs: JoinMap<Query, Outcome> = JoinMap::new();
        self.asked.nothing_is_under_way();
        self.asked.want(&feed.wanted(), &mut jobs, &self.config);
        loop {
            for (query, lookup) in self.asked.take_due(AT_A_TIME.saturating_sub(jobs.len())) {
                jobs.spawn(query, resolver.clone().ask(lookup, registry.clone()));
            }
            let wake = self.asked.wake_at().filter(|_| jobs.len() < AT_A_TIME);
            tokio::select! {
                () = feed.changed() => self.asked.want(&feed.wanted(), &mut jobs, &self.config),
                Some(first) = jobs.join_next() => {
                    let publication = self.asked.settle(first, &mut jobs, &self.config);
                    if let Some(outage) = self.asked.outage() {
                        return Err(outage);
                    }
                    if !publication.is_empty() {
                        feed.publish(publication);
                    }
                }
                () = self.files.changed(), if is_followed => return Ok(()),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }
}

impl Watch for DnsWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        Box::pin(self.follow(feed))
    }
}

impl Questions {
    /// What had no answer is asked again, since the pause after an outage is over.
    fn begin(&mut self) {
        (self.silent, self.heard) = (0, false);
        self.hurry(|question| question.failure.is_some());
    }

    /// Whatever was under way was given up.
    fn nothing_is_under_way(&mut self) {
        for question in self.each.values_mut() {
            question.under_way = false;
        }
    }

    /// Follows what is wanted, and nothing else. What is wanted under another number is asked anew.
    fn want(&mut self, wanted: &Wanted, jobs: &mut JoinMap<Query, Outcome>, config: &Config) {
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

    /// The questions to ask now, the longest due first, which then count as under way.
    fn take_due(&mut self, most: usize) -> Vec<(Query, LookupQuery)> {
        let now = Instant::now();
        let mut due: Vec<_> =
            self.each.iter_mut().filter(|(_, question)| !question.under_way && question.due <= now).collect();
        due.sort_by_key(|(_, question)| question.due);
        let ask = |(query, question): (&Query, &mut Question)| {
            let Query::Lookup(lookup) = query else { return None };
            question.under_way = true;
            Some((query.clone(), lookup.clone()))
        };
        due.into_iter().take(most).filter_map(ask).collect()
    }

    /// When the next is due.
    fn wake_at(&self) -> Option<Instant> {
        self.each.values().filter(|question| !question.under_way).map(|question| question.due).min()
    }

    /// Takes what came of one question, and of others meanwhile, to be published together.
    fn settle(
        &mut self,
        first: (Query, Result<Outcome, JoinError>),
        jobs: &mut JoinMap<Query, Outcome>,
        config: &Config,
    ) -> Publication {
        self.generation += 1;
        let mut publication = Publication::new();
        let mut next = Some(first);
        while let Some((query, joined)) = next {
            let outcome = match joined {
                Ok(outcome) => Some(outcome),
                // It is no longer wanted, or wanted anew.
                Err(error) if error.is_cancelled() => None,
                Err(_) => {
                    Some(Err(Failure::Refusal("internal error: a look-up panicked; please report this".to_owned())))
                }
            };
            if let Some(outcome) = outcome
                && let Some(result) = self.settle_one(&query, outcome, config)
            {
                publication.push(Reply { query, result });
            }
            next = jobs.try_join_next();
        }
        publication
    }

    fn settle_one(&mut self, query: &Query, outcome: Outcome, config: &Config) -> Option<Result<Answer, QueryError>> {
        let question = self.each.get_mut(query)?;
        question.under_way = false;
        match outcome {
            Ok(Found { data, ttl }) => {
                question.failure = None;
                question.backoff.reset();
                // Where nobody says how long, it may change at any time.
                let pause = ttl.unwrap_or_default().clamp(config.min_interval, config.max_interval);
                question.due = Instant::now() + pause;
                (self.silent, self.heard) = (0, true);
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
                } else {
                    (self.silent, self.heard) = (0, true);
                }
                if is_silence && is_new {
                    // Whether that is about this name or about the servers, the others tell.
                    self.hurry(|question| question.failure.is_none());
                }
                self.heard.then_some(Err(error))
            }
        }
    }

    /// Whether there is nobody to ask: nothing that is wanted has an answer, or many in a row had none.
    fn outage(&self) -> Option<Outage> {
        let is_silent = self.silent >= SILENT;
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
        Self { number, due: Instant::now(), under_way: false, failure: None, backoff }
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::ResponseCode;

    use super::*;
    use crate::registry::dns::Dns;
    use crate::registry::dns::stub::{Says, Server};
    use crate::registry::recorder::Running;
    use crate::registry::{Data, RecordType};

    const SOON: Duration = Duration::from_millis(50);
    /// Only what never comes takes so long.
    const LONG: Duration = Duration::from_secs(30);

    fn dns(servers: &[&Server]) -> Dns {
        let config = Config {
            servers: servers.iter().map(|server| server.address).collect(),
            request_timeout: Duration::from_millis(200),
            min_interval: SOON,
            max_interval: Duration::from_secs(3600),
            retry_interval: SOON,
            ..Config::default()
        };
        Dns { config: Arc::new(config) }
    }

    fn addresses_of(name: &str) -> Query {
        Query::Lookup(LookupQuery::addresses(name))
    }

    fn records(texts: &[&str]) -> Data {
        Data::Records(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    /// Waits for this answer to one of several questions.
    async fn wait_for(running: &mut Running, query: &Query, expected: &Result<Data, String>) {
        loop {
            for reply in running.publication().await {
                let result = reply.result.map(|answer| answer.data).map_err(|error| error.reason);
                if reply.query == *query && result == *expected {
                    return;
                }
            }
        }
    }

    /// Outages one after the other, until one is for this reason.
    async fn wait_for_outage(running: &mut Running, reason: &str) {
        let found = async { while !running.outage().await.contains(reason) {} };
        tokio::time::timeout(LONG, found).await.expect(reason);
    }

    /// Outages one after the other, until there is an answer.
    async fn wait_for_publication(running: &mut Running) {
        let found = async { while running.publication_or_outage().await.is_none() {} };
        tokio::time::timeout(LONG, found).await.expect("an answer");
    }

    #[tokio::test]
    async fn an_answer_is_asked_for_again_when_its_time_is_over() {
        let server = Server::start().await;
        server.says("a.example", Says::addresses(0, &[[10, 0, 0, 2], [10, 0, 0, 1]]));
        server.says("steady.example", Says::addresses(600, &[[10, 0, 0, 9]]));
        let mut running = Running::new(&dns(&[&server]), [addresses_of("a.example"), addresses_of("steady.example")]);
        wait_for(&mut running, &addresses_of("a.example"), &Ok(records(&["10.0.0.1", "10.0.0.2"]))).await;
        server.says("a.example", Says::addresses(0, &[[10, 0, 0, 3]]));
        wait_for(&mut running, &addresses_of("a.example"), &Ok(records(&["10.0.0.3"]))).await;
        server.says("a.example", Says::Code(ResponseCode::NXDomain));
        wait_for(&mut running, &addresses_of("a.example"), &Ok(records(&[]))).await;
        // It is there, and has no such records.
        server.says("a.example", Says::Records(0, Vec::new()));
        wait_for(&mut running, &addresses_of("a.example"), &Ok(records(&[]))).await;
        server.says("a.example", Says::addresses(0, &[[10, 0, 0, 4]]));
        wait_for(&mut running, &addresses_of("a.example"), &Ok(records(&["10.0.0.4"]))).await;
        assert_eq!(server.asked("steady.example"), 1, "its time is not over");
    }

    #[tokio::test]
    async fn a_server_that_cannot_tell_of_the_only_name_is_away() {
        let server = Server::start().await;
        let mut running = Running::new(&dns(&[&server]), [addresses_of("a.example")]);
        assert_eq!(running.answer().await, Ok(records(&[])));
        server.says("a.example", Says::Code(ResponseCode::ServFail));
        assert!(running.outage().await.contains("the servers answer `Server Failure"));
        server.says("a.example", Says::Nothing);
        wait_for_outage(&mut running, "no server answers in time").await;
        server.says("a.example", Says::addresses(0, &[[10, 0, 0, 1]]));
        wait_for_publication(&mut running).await;
    }

    #[tokio::test]
    async fn a_name_that_nobody_can_tell_of_leaves_the_others_well() {
        let server = Server::start().await;
        server.says("good.example", Says::addresses(0, &[[10, 0, 0, 1]]));
        server.says("bad.example", Says::addresses(0, &[[10, 0, 0, 2]]));
        let (good, bad) = (addresses_of("good.example"), addresses_of("bad.example"));
        let mut running = Running::new(&dns(&[&server]), [good.clone(), bad.clone()]);
        wait_for(&mut running, &bad, &Ok(records(&["10.0.0.2"]))).await;
        for (says, expected) in [
            (Says::Code(ResponseCode::ServFail), "the servers answer `Server Failure`".to_owned()),
            (Says::Nothing, format!("no server answers in time: {}", server.address)),
        ] {
            server.says("bad.example", says);
            wait_for(&mut running, &bad, &Err(expected)).await;
            wait_for(&mut running, &good, &Ok(records(&["10.0.0.1"]))).await;
        }
        server.says("bad.example", Says::addresses(0, &[[10, 0, 0, 3]]));
        wait_for(&mut running, &bad, &Ok(records(&["10.0.0.3"]))).await;
    }

    #[tokio::test]
    async fn many_names_find_out_soon_that_nobody_is_there() {
        let server = Server::start().await;
        let names: Vec<String> = (0..100).map(|number| format!("n{number}.example")).collect();
        for name in &names {
            server.says(name, Says::Nothing);
        }
        let mut running = Running::new(&dns(&[&server]), names.iter().map(|name| addresses_of(name)));
        assert!(running.outage().await.contains("no server answers in time"));
        let asked = names.iter().filter(|name| server.asked(name) > 0).count();
        assert!(asked <= 2 * AT_A_TIME, "{asked} of {}", names.len());
        for name in &names {
            server.says(name, Says::addresses(600, &[[10, 0, 0, 1]]));
        }
        let mut answered = 0;
        while answered < names.len() {
            answered += running.publication_or_outage().await.map_or(0, |publication| publication.len());
        }
    }

    #[tokio::test]
    async fn one_server_stands_in_for_another() {
        let (silent, server) = (Server::start().await, Server::start().await);
        silent.says("a.example", Says::Nothing);
        server.says("a.example", Says::addresses(600, &[[10, 0, 0, 1]]));
        let mut running = Running::new(&dns(&[&silent, &server]), [addresses_of("a.example")]);
        assert_eq!(running.answer().await, Ok(records(&["10.0.0.1"])));
    }

    #[tokio::test]
    async fn the_file_of_the_system_is_followed_with_what_it_says_of_short_names() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("resolv.conf");
        let config =
            Config { resolv_conf: path.clone(), min_interval: SOON, retry_interval: SOON, ..Config::default() };
        let mut running = Running::new(&Dns { config: Arc::new(config) }, [addresses_of("localhost")]);
        assert!(running.outage().await.contains("resolv.conf` cannot be read"));
        std::fs::write(&path, "# nothing\n").unwrap();
        wait_for_outage(&mut running, "no nameservers").await;
        // A loopback name has an answer that no server is asked for.
        std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        wait_for_publication(&mut running).await;
    }

    #[tokio::test]
    async fn both_kinds_of_addresses_are_one_answer() {
        let server = Server::start().await;
        let six = hickory_resolver::proto::rr::RData::from("fd00::1".parse::<std::net::IpAddr>().unwrap());
        let Says::Records(_, mut data) = Says::addresses(0, &[[10, 0, 0, 1]]) else { unreachable!() };
        data.push(six);
        server.says("a.example", Says::Records(600, data));
        let both = Query::Lookup(LookupQuery { record: RecordType::Ip, ..LookupQuery::addresses("a.example") });
        let mut running = Running::new(&dns(&[&server]), [both]);
        assert_eq!(running.answer().await, Ok(records(&["10.0.0.1", "fd00::1"])));
    }
}
