//! Asks name servers for one name.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::rr::{Name, RecordType as WireType};
use hickory_resolver::system_conf::parse_resolv_conf;

use super::names;
use super::records::{self, Found};
use crate::log::listed;
use crate::registry::{LookupQuery, RecordType};

/// How often a server is asked again that does not answer.
const RETRIES: usize = 1;

/// However many servers and names there are, a question has its answer by then or it has none.
const LONGEST: Duration = Duration::from_secs(30);

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No server says anything.
    Silence(String),
    /// A server says that it cannot tell, or what it says cannot be used.
    Refusal(String),
}

impl Failure {
    /// Why, as a fragment.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Silence(reason) | Self::Refusal(reason) => reason,
        }
    }
}

/// The servers to ask, and what stands behind a short name.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    client: TokioResolver,
    /// Whom it asks, for people.
    servers: Arc<str>,
    search: Arc<[Name]>,
    ndots: usize,
}

impl Resolver {
    /// Asks these servers for names as they are.
    pub(super) fn of_servers(servers: &[SocketAddr], timeout: Duration) -> Result<Self, String> {
        let server = |server: &SocketAddr| {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut config.connections {
                connection.port = server.port();
            }
            config
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
        Self::new(config, ResolverOpts::default(), timeout)
    }

    /// Asks the servers that `text` names, the content of the resolv.conf(5) at `path`, for names as it says.
    pub(super) fn of_system(path: &Path, text: &[u8], timeout: Duration) -> Result<Self, String> {
        let wrong = |error| format!("`{}`: {error}", path.display());
        let (config, options) = parse_resolv_conf(text).map_err(wrong)?;
        Self::new(config, options, timeout)
    }

    fn new(mut config: ResolverConfig, written: ResolverOpts, timeout: Duration) -> Result<Self, String> {
        // Whoever is asked for a long answer by UDP says so, and is asked again by TCP.
        for server in &mut config.name_servers {
            if server.connections.is_empty() {
                server.connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            }
        }
        let search = std::mem::take(&mut config.search).into();
        config.domain = None;
        let mut options = written;
        options.timeout = timeout;
        options.attempts = RETRIES;
        // We ask when the time of an answer is over, and for nothing in between.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let ndots = options.ndots;
        let addresses = config.name_servers.iter().filter_map(|server| {
            let port = server.connections.first()?.port;
            Some(SocketAddr::new(server.ip, port).to_string())
        });
        let servers = listed(&addresses.collect::<Vec<_>>()).into();
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { client, servers, search, ndots })
    }

    /// What there is of the name. Where it may stand for several, the first that is there counts, and none after one of
    /// which that is not known.
    pub(super) async fn ask(self, query: LookupQuery, registry: Arc<str>) -> Result<Found, Failure> {
        if let Ok(address) = query.name.parse::<IpAddr>() {
            return Ok(records::of_address(&query, address));
        }
        let asked = tokio::time::timeout(LONGEST, self.ask_all(&query, &registry));
        asked.await.unwrap_or_else(|_| {
            Err(Failure::Silence(format!("no answer in {} s from {}", LONGEST.as_secs(), self.servers)))
        })
    }

    async fn ask_all(&self, query: &LookupQuery, registry: &Arc<str>) -> Result<Found, Failure> {
        let mut shortest = None;
        for name in names::candidates(&query.name, &self.search, self.ndots) {
            let found = match query.record {
                RecordType::Ip => {
                    let (four, six) = tokio::try_join!(
                        self.ask_one(&name, WireType::A, query, registry),
                        self.ask_one(&name, WireType::AAAA, query, registry)
                    )?;
                    records::both(four, six)
                }
                RecordType::A => self.ask_one(&name, WireType::A, query, registry).await?,
                RecordType::Aaaa => self.ask_one(&name, WireType::AAAA, query, registry).await?,
                RecordType::Cname => self.ask_one(&name, WireType::CNAME, query, registry).await?,
                RecordType::Srv => self.ask_one(&name, WireType::SRV, query, registry).await?,
                RecordType::Txt => self.ask_one(&name, WireType::TXT, query, registry).await?,
            };
            shortest = [shortest, found.ttl].into_iter().flatten().min();
            if found.data != records::nothing(query, None).data {
                // One that was not there and comes goes before it.
                return Ok(Found { ttl: shortest, ..found });
            }
        }
        Ok(records::nothing(query, shortest))
    }

    async fn ask_one(
        &self,
        name: &Name,
        record: WireType,
        query: &LookupQuery,
        registry: &Arc<str>,
    ) -> Result<Found, Failure> {
        match self.client.lookup(name.clone(), record).await {
            Ok(lookup) => records::found(query, lookup.answers(), registry).map_err(Failure::Refusal),
            Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { negative_ttl, .. }))) => {
                Ok(records::nothing(query, negative_ttl.map(|seconds| Duration::from_secs(seconds.into()))))
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// What went wrong, and with whom. The library repeats the name that was asked for, which may be a value, where it says
    /// more.
    fn failure(&self, error: &NetError) -> Failure {
        let servers = &self.servers;
        match error {
            NetError::Dns(DnsError::ResponseCode(code)) => Failure::Refusal(format!("the servers answer `{code}`")),
            NetError::Dns(_) | NetError::Proto(_) => Failure::Refusal("the answer cannot be read".to_owned()),
            NetError::Timeout => Failure::Silence(format!("no server answers in time: {servers}")),
            NetError::Io(error) => Failure::Silence(format!("no server can be reached: {servers}: {error}")),
            _ => Failure::Silence(format!("no server can be reached: {servers}")),
        }
    }
}
