//! Asks again when the time of an answer is over, and publishes what came of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::JoinMap;

use super::Config;
use super::questions::{Outcome, Questions};
use super::resolver::{Failure, Resolver};
use crate::file_watch::{FileWatch, POLL_INTERVAL};
use crate::registry::{Feed, Outage, Query, Watch};

/// How many questions may be under way at a time.
const AT_A_TIME: usize = 16;

/// Follows names; what is in it outlives an outage.
pub(super) struct DnsWatch {
    config: Arc<Config>,
    files: FileWatch,
    asked: Questions,
}

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
            self.asked.ask_all_again();
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
                    let (publication, outage) = self.asked.settle(ended(first, &mut jobs), &self.config);
                    // What was said before everything fell silent is as true as ever.
                    if !publication.is_empty() {
                        feed.publish(publication);
                    }
                    if let Some(outage) = outage {
                        return Err(outage);
                    }
                }
                () = self.files.changed(), if is_followed => return Ok(()),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }
}

/// What came of one question, and of others meanwhile.
fn ended(first: (Query, Result<Outcome, JoinError>), jobs: &mut JoinMap<Query, Outcome>) -> Vec<(Query, Outcome)> {
    let more = std::iter::from_fn(|| jobs.try_join_next());
    let all = std::iter::once(first).chain(more);
    all.filter_map(|(query, joined)| match joined {
        Ok(outcome) => Some((query, outcome)),
        // It is no longer wanted, or wanted anew.
        Err(error) if error.is_cancelled() => None,
        Err(_) => {
            let reason = "internal error: a look-up panicked; please report this".to_owned();
            Some((query, Err(Failure::Refusal(reason))))
        }
    })
    .collect()
}

impl Watch for DnsWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        Box::pin(self.follow(feed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_resolver::proto::op::ResponseCode;

    use super::*;
    use crate::registry::dns::Dns;
    use crate::registry::dns::stub::{Says, Server};
    use crate::registry::recorder::Running;
    use crate::registry::{Data, LookupQuery, RecordType};

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

    /// Whether the next thing that happens is this answer.
    async fn said(running: &mut Running, query: &Query, expected: &Result<Data, String>) -> bool {
        let publication = running.publication_or_outage().await.unwrap_or_default();
        publication.into_iter().any(|reply| {
            let result = reply.result.map(|answer| answer.data).map_err(|error| error.reason);
            reply.query == *query && result == *expected
        })
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
    async fn dead_names_leave_what_others_say_in_time() {
        let server = Server::start().await;
        let dead: Vec<String> = (0..12).map(|number| format!("n{number}.example")).collect();
        let steady = addresses_of("steady.example");
        server.says("steady.example", Says::addresses(3600, &[[10, 0, 0, 1]]));
        for name in &dead {
            server.says(name, Says::Nothing);
        }
        let wanted = dead.iter().map(|name| addresses_of(name)).chain([steady.clone()]);
        let mut running = Running::new(&dns(&[&server]), wanted);
        let one = async { while !said(&mut running, &steady, &Ok(records(&["10.0.0.1"]))).await {} };
        tokio::time::timeout(LONG, one).await.expect("the one that is well has its turn");
        // Only that it is asked whether anybody is there tells of it before its hour is over.
        for last in 2..5 {
            server.says("steady.example", Says::addresses(3600, &[[10, 0, 0, last]]));
            let expected = format!("10.0.0.{last}");
            wait_for(&mut running, &steady, &Ok(records(&[&expected]))).await;
        }
        server.says("steady.example", Says::Nothing);
        let away = async { while running.publication_or_outage().await.is_some() {} };
        tokio::time::timeout(LONG, away).await.expect("nobody says anything");
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
