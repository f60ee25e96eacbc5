//! What name servers said, as an answer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::proto::rr::{RData, Record};

use super::names;
use crate::registry::{Data, Instance, LookupQuery, RecordType, Status};

/// What there is of one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// In an order that does not change with that of the reply; empty where nothing is there.
    pub(super) data: Data,
    /// How long that is so, as the servers say; none where they do not.
    pub(super) ttl: Option<Duration>,
}

/// What these records say to a question; records of other types, such as the aliases on the way, count for their time only.
pub(super) fn found(query: &LookupQuery, records: &[Record], registry: &Arc<str>) -> Result<Found, String> {
    let ttl = records.iter().map(|record| record.ttl).min().map(|seconds| Duration::from_secs(seconds.into()));
    let data = records.iter().map(|record| &record.data);
    let data = match query.record {
        RecordType::A | RecordType::Aaaa | RecordType::Ip => {
            addresses(data.filter_map(RData::ip_addr).filter(|address| is_asked_for(*address, query.record)))
        }
        RecordType::Cname => {
            let name = |data: &RData| if let RData::CNAME(name) = data { Some(names::shown(&name.0)) } else { None };
            let name = |data| name(data).map(|name| name.ok_or("an alias in the answer is no host name"));
            texts(data.filter_map(name).collect::<Result<_, _>>()?)
        }
        RecordType::Txt => {
            let text = |data: &RData| if let RData::TXT(text) = data { Some(text.txt_data.concat()) } else { None };
            let text =
                |data| text(data).map(|text| String::from_utf8(text).map_err(|_| "a text in the answer is not UTF-8"));
            texts(data.filter_map(text).collect::<Result<_, _>>()?)
        }
        RecordType::Srv => Data::Service(instances(query, data, registry)?),
    };
    Ok(Found { data, ttl })
}

/// Nothing, for as long as the servers say.
pub(super) fn nothing(query: &LookupQuery, ttl: Option<Duration>) -> Found {
    let data = if query.record == RecordType::Srv { Data::Service(Vec::new()) } else { Data::Records(Vec::new()) };
    Found { data, ttl }
}

/// What there is of an address that is asked for as if it were a name: itself.
pub(super) fn of_address(query: &LookupQuery, address: IpAddr) -> Found {
    if is_asked_for(address, query.record) {
        Found { data: addresses([address].into_iter()), ttl: None }
    } else {
        nothing(query, None)
    }
}

/// Puts together what was asked for under two types.
pub(super) fn both(one: Found, other: Found) -> Found {
    let ttl = one.ttl.into_iter().chain(other.ttl).min();
    let data = match (one.data, other.data) {
        (Data::Records(one), Data::Records(other)) => Data::Records(one.into_iter().chain(other).collect()),
        (one, _) => one,
    };
    Found { data, ttl }
}

fn is_asked_for(address: IpAddr, record: RecordType) -> bool {
    match record {
        RecordType::A => address.is_ipv4(),
        RecordType::Aaaa => address.is_ipv6(),
        RecordType::Ip => true,
        RecordType::Cname | RecordType::Srv | RecordType::Txt => false,
    }
}

/// IPv4 first, each by its number.
fn addresses(addresses: impl Iterator<Item = IpAddr>) -> Data {
    let mut addresses: Vec<IpAddr> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    Data::Records(addresses.iter().map(ToString::to_string).collect())
}

fn texts(mut texts: Vec<String>) -> Data {
    texts.sort_unstable();
    texts.dedup();
    Data::Records(texts)
}

/// The instances that SRV records (RFC 2782) tell of, those to be tried first in front.
fn instances<'r>(
    query: &LookupQuery,
    data: impl Iterator<Item = &'r RData>,
    registry: &Arc<str>,
) -> Result<Vec<Arc<Instance>>, String> {
    let mut instances = Vec::new();
    for data in data {
        let RData::SRV(record) = data else { continue };
        // The service is decidedly not available.
        if record.target.is_root() {
            continue;
        }
        let address = names::shown(&record.target).ok_or("a target in the answer is no host name")?;
        let instance = Instance {
            id: format!("{address}:{}", record.port),
            name: query.name.clone(),
            node: String::new(),
            address,
            port: record.port,
            tags: Vec::new(),
            meta: BTreeMap::from([("priority".to_owned(), record.priority.to_string())]),
            // Servers that are not to be weighed have 0; beside others it is a very small chance, and never none.
            weight: i64::from(record.weight).max(1),
            status: Status::Passing,
            zone: String::new(),
            registry: registry.clone(),
            view: OnceLock::new(),
        };
        instances.push((record.priority, Arc::new(instance)));
    }
    instances.sort_by(|(a, one), (b, other)| {
        (a, &one.address, one.port, one.weight).cmp(&(b, &other.address, other.port, other.weight))
    });
    instances.dedup_by(|(_, one), (_, other)| one == other);
    Ok(instances.into_iter().map(|(_, instance)| instance).collect())
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;
    use hickory_resolver::proto::rr::rdata::{CNAME, SRV, TXT};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn say(record: RecordType, data: &[RData]) -> Result<String, String> {
        let query = LookupQuery { record, ..LookupQuery::addresses("x") };
        let ttls = [30, 20, 40].into_iter().cycle();
        let records: Vec<_> =
            data.iter().zip(ttls).map(|(data, ttl)| Record::from_rdata(name("x."), ttl, data.clone())).collect();
        let found = found(&query, &records, &"dns".into())?;
        assert_eq!(
            found.ttl.map(|ttl| ttl.as_secs()),
            (!data.is_empty()).then_some(if data.len() > 1 { 20 } else { 30 })
        );
        Ok(match found.data {
            Data::Records(texts) => texts.join(" "),
            Data::Service(instances) => {
                let show = |i: &Arc<Instance>| {
                    format!("{} {} {} {} {}", i.id, i.name, i.endpoint(), i.weight, i.meta["priority"])
                };
                instances.iter().map(show).collect::<Vec<_>>().join(", ")
            }
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn an_answer_does_not_follow_the_order_of_the_reply() {
        let ip = |text: &str| RData::from(text.parse::<IpAddr>().unwrap());
        let addresses =
            [ip("10.0.0.10"), ip("fd00::1"), ip("10.0.0.9"), ip("10.0.0.10"), RData::CNAME(CNAME(name("a.b.")))];
        let mut turned = addresses.clone();
        turned.reverse();
        for (record, expected) in [
            (RecordType::A, "10.0.0.9 10.0.0.10"),
            (RecordType::Aaaa, "fd00::1"),
            (RecordType::Ip, "10.0.0.9 10.0.0.10 fd00::1"),
            (RecordType::Cname, "a.b"),
            (RecordType::Txt, ""),
            (RecordType::Srv, ""),
        ] {
            assert_eq!(say(record, &addresses).as_deref(), Ok(expected), "{record:?}");
            assert_eq!(say(record, &turned).as_deref(), Ok(expected), "{record:?}");
        }
    }

    #[test]
    fn services_are_instances_by_priority() {
        let record = |priority, weight, port, target: &str| RData::SRV(SRV::new(priority, weight, port, name(target)));
        let records =
            [record(20, 5, 80, "a.x."), record(10, 0, 81, "b.x."), record(10, 3, 80, "b.x."), record(1, 1, 1, ".")];
        let expected = "b.x:80 x b.x:80 3 10, b.x:81 x b.x:81 1 10, a.x:80 x a.x:80 5 20";
        assert_eq!(say(RecordType::Srv, &records).as_deref(), Ok(expected));
        let evil = Name::from_labels([&b"evil server"[..], b"x"]).unwrap();
        let error = say(RecordType::Srv, &[RData::SRV(SRV::new(1, 1, 1, evil))]).unwrap_err();
        assert!(error.contains("no host name") && !error.contains("evil"), "{error}");
    }

    #[test]
    fn texts_are_whole_and_utf8() {
        let text = |parts: &[&[u8]]| RData::TXT(TXT::from_bytes(parts.to_vec()));
        let texts = [text(&[b"v=1 ", b"x"]), text(&[b"a"])];
        assert_eq!(say(RecordType::Txt, &texts).as_deref(), Ok("a v=1 x"));
        assert!(say(RecordType::Txt, &[text(&[b"\xff"])]).unwrap_err().contains("UTF-8"));
        let alias = RData::CNAME(CNAME(Name::from_labels([&b"a\0b"[..]]).unwrap()));
        assert!(say(RecordType::Cname, &[alias]).unwrap_err().contains("no host name"));
    }

    #[test]
    fn an_address_is_its_own_answer() {
        let of = |record, address: &str| {
            of_address(&LookupQuery { record, ..LookupQuery::addresses(address) }, address.parse().unwrap()).data
        };
        assert_eq!(of(RecordType::A, "10.0.0.1"), Data::Records(vec!["10.0.0.1".to_owned()]));
        assert_eq!(of(RecordType::Ip, "fd00::1"), Data::Records(vec!["fd00::1".to_owned()]));
        assert_eq!(of(RecordType::Aaaa, "10.0.0.1"), Data::Records(Vec::new()));
        assert_eq!(of(RecordType::Srv, "10.0.0.1"), Data::Service(Vec::new()));
    }
}
