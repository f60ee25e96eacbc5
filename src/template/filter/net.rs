//! IP addresses and networks (CIDR).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use tera::{Map, Value};

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::error::Failure;
use super::super::record::{Render, Stop};
use super::input::{self, Why, read_or_default};
use super::{Filter, place, text_of};

/// Addresses and networks.
pub(super) const NETWORKS: Group<Filter> = Group {
    name: "Addresses and networks",
    entries: &[
        Filter::new(
            in_network,
            Entry {
                name: "in_network",
                arguments: &[required("network"), optional("default")],
                takes: "text",
                gives: "whether an address, or all of a network, is in `network`; that is one or a list of networks, addresses, and the names `private`, `loopback`, `link_local`, `multicast`",
                empty: "`default`, else fails",
                example: r#"{{ "10.1.2.3" | in_network(network=["10.0.0.0/8", "loopback"]) }}"#,
                output: "true",
            },
        ),
        Filter::new(
            ip_version,
            Entry {
                name: "ip_version",
                arguments: &[optional("default")],
                takes: "text",
                gives: "4 or 6",
                empty: "`default`, else fails",
                example: r#"{{ "fd00::1" | ip_version }}"#,
                output: "6",
            },
        ),
        Filter::new(
            ip_add,
            Entry {
                name: "ip_add",
                arguments: &[required("n")],
                takes: "text",
                gives: "the address `n` further on; further back for a negative one",
                empty: "fails",
                example: r#"{{ "10.0.0.255" | ip_add(n=1) }}"#,
                output: "10.0.1.0",
            },
        ),
        Filter::new(
            ip_sort,
            Entry {
                name: "ip_sort",
                arguments: &[optional("attribute"), or("reverse", "false")],
                takes: "list",
                gives: "addresses and networks, or what has one as an attribute, by their numbers; IPv4 comes first",
                empty: "`[]`",
                example: r#"{{ ["10.0.0.10", "10.0.0.9"] | ip_sort }}"#,
                output: r#"["10.0.0.9", "10.0.0.10"]"#,
            },
        ),
        Filter::new(
            from_cidr,
            Entry {
                name: "from_cidr",
                arguments: &[optional("default")],
                takes: "text",
                gives: "map of the parts of a network; `cidr`, `version`, `address` (as it was written), `prefix`, `network`, `netmask`, `broadcast` (IPv6, `/31` and `/32` have none), `first` and `last` of its hosts, and `hosts`, their number",
                empty: "`default`, else fails",
                example: r#"{% set net = "10.1.2.3/24" | from_cidr %}{{ net.cidr }} {{ net.netmask }} {{ net.first }} {{ net.hosts }}"#,
                output: "10.1.2.0/24 255.255.255.0 10.1.2.1 254",
            },
        ),
        Filter::new(
            cidr_host,
            Entry {
                name: "cidr_host",
                arguments: &[required("n")],
                takes: "text",
                gives: "the address at `n` in a network; 0 is that of the network, -1 the last",
                empty: "fails",
                example: r#"{{ "10.0.0.0/24" | cidr_host(n=10) }}"#,
                output: "10.0.0.10",
            },
        ),
        Filter::new(
            cidr_hosts,
            Entry {
                name: "cidr_hosts",
                arguments: &[or("limit", "256")],
                takes: "text",
                gives: "list of the addresses that hosts can have in a network; more than `limit`, which is 65536 at most, fail",
                empty: "fails",
                example: r#"{{ "10.0.0.0/30" | cidr_hosts }}"#,
                output: r#"["10.0.0.1", "10.0.0.2"]"#,
            },
        ),
    ],
};

/// How many addresses `cidr_hosts` gives when nothing else is said, and how many at most.
const HOSTS: (u64, u64) = (256, 65_536);

/// Networks that have a name.
const NAMED: &[(&str, &[&str])] = &[
    // RFC 1918 and RFC 4193.
    ("private", &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
    // RFC 1122, 3.2.1.3, and RFC 4291, 2.5.3.
    ("loopback", &["127.0.0.0/8", "::1/128"]),
    // RFC 3927 and RFC 4291, 2.5.6.
    ("link_local", &["169.254.0.0/16", "fe80::/10"]),
    // RFC 5771 and RFC 4291, 2.7.
    ("multicast", &["224.0.0.0/4", "ff00::/8"]),
];

/// 4 or 6.
fn ip_version(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let version = address(text_of(value, "ip_version")?).map(|ip| Value::from(if ip.is_ipv4() { 4 } else { 6 }));
    read_or_default(version, value, "ip_version", arguments, render)
}

/// The address `n=` further on, or further back.
fn ip_add(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let n = input::whole_argument(arguments, "n")?;
    let text = text_of(value, "ip_add")?;
    let sum = address(text).and_then(|ip| moved(ip, n).ok_or_else(|| "there is no address so far from it".to_owned()));
    sum.map(|ip| Value::from(ip.to_string())).map_err(|why| place::refused("ip_add", &why, value, render))
}

/// Addresses and networks in the order of their numbers: IPv4 first, a network before what is in it.
fn ip_sort(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let read = |value: &Value| network(value.as_str().ok_or("it is no text")?);
    let key = |net: &IpNet| (net.addr(), net.prefix_len());
    input::sorted(value, "ip_sort", arguments, render, read, |left, right| key(left).cmp(&key(right)))
}

/// Whether an address, or all of a network, is in the network `network=`, or in one of several.
fn in_network(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "in_network")?;
    let networks: Vec<IpNet> = arguments
        .texts("network", render)?
        .into_iter()
        .map(|text| named(text).map_err(|why| arguments.refusal("network", &why).hint(names())))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let within = network(text).map(|inner| {
        let holds = |outer: &IpNet| outer.contains(&inner) || canonical(*outer).contains(&canonical(inner));
        Value::from(networks.iter().any(holds))
    });
    read_or_default(within, value, "in_network", arguments, render)
}

/// The parts of a network.
fn from_cidr(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    read_or_default(network(text_of(value, "from_cidr")?).map(parts), value, "from_cidr", arguments, render)
}

/// The address at `n=` of a network: the network's own is 0, the last one -1.
fn cidr_host(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let n = input::whole_argument(arguments, "n")?;
    let nth = network(text_of(value, "cidr_host")?).and_then(|net| {
        let host = if n < 0 { moved(net.broadcast(), n + 1) } else { moved(net.network(), n) };
        host.filter(|host| net.contains(host)).ok_or_else(|| "it has no address at this `n`".to_owned())
    });
    nth.map(|ip| Value::from(ip.to_string())).map_err(|why| place::refused("cidr_host", &why, value, render))
}

/// The addresses of a network that hosts can have, at most `limit=`.
fn cidr_hosts(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (default, most) = HOSTS;
    let limit = arguments.count("limit")?.unwrap_or(default);
    if limit > most {
        return Err(arguments.refused("limit", &format!("{most} is the most")));
    }
    let net =
        network(text_of(value, "cidr_hosts")?).map_err(|why| place::refused("cidr_hosts", &why, value, render))?;
    let (first, last) = hosts(net);
    let count = number(last) - number(first);
    if count >= u128::from(limit) {
        let hint = format!("`limit=` may be raised up to {most}; `cidr_host(n=...)` gives one address");
        return Err(Failure::new(format!("`cidr_hosts` would give more than {limit}")).hint(hint).into());
    }
    let addresses = (0..=count).map(|n| like(first, number(first) + n));
    Ok(Value::from(addresses.map(|ip| Value::from(ip.to_string())).collect::<Vec<_>>()))
}

/// An address, in the one way to write it: no zeros ahead, since some programs read them as octal.
fn address(text: &str) -> Result<IpAddr, Why> {
    text.parse().map_err(|_| "it is no IP address".to_owned())
}

/// A network such as `10.0.0.0/8`, or an address, which is a network of its own. Bits beyond the length stay.
fn network(text: &str) -> Result<IpNet, Why> {
    let (ip, length) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
    let ip: IpAddr = ip.parse().map_err(|_| {
        if length.is_some() { "there is no IP address before its `/`" } else { "it is no IP address or network" }
            .to_owned()
    })?;
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let plain =
        |length: &str| length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let length = match length {
        None => Some(bits),
        Some(length) => Some(length).filter(|length| plain(length)).and_then(|length| length.parse().ok()),
    };
    let net = length.and_then(|length| IpNet::new(ip, length).ok());
    net.ok_or_else(|| format!("there is no number from 0 to {bits} behind its `/`"))
}

/// A network, or those of a name.
fn named(text: &str) -> Result<Vec<IpNet>, Why> {
    match NAMED.iter().find(|(name, _)| *name == text) {
        Some((_, networks)) => networks.iter().map(|text| network(text)).collect(),
        None => network(text).map(|net| vec![net]),
    }
}

/// What a network can be, for whoever wrote something else.
fn names() -> String {
    let names = NAMED.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    format!("it is a network such as `10.0.0.0/8`, an address, or one of {names}")
}

/// IPv4 in the clothes of IPv6 (`::ffff:10.0.0.1`) as what it is, so that it is not outside of every IPv4 network.
fn canonical(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_canonical() {
            ip @ IpAddr::V4(_) => IpNet::new(ip, v6.prefix_len() - 96).unwrap_or(net),
            IpAddr::V6(_) => net,
        },
        _ => net,
    }
}

fn parts(net: IpNet) -> Value {
    let (first, last) = hosts(net);
    let is_v4 = net.addr().is_ipv4();
    let broadcast = (is_v4 && net.prefix_len() < 31).then(|| Value::from(net.broadcast().to_string()));
    // The whole of IPv6 has one more than there are numbers, but its first address is no host.
    let count = number(last) - number(first) + 1;
    let count = u64::try_from(count).map_or_else(|_| Value::from(count), Value::from);
    let parts = [
        ("cidr", Some(Value::from(net.trunc().to_string()))),
        ("version", Some(Value::from(if is_v4 { 4 } else { 6 }))),
        ("address", Some(Value::from(net.addr().to_string()))),
        ("prefix", Some(Value::from(net.prefix_len()))),
        ("network", Some(Value::from(net.network().to_string()))),
        ("netmask", Some(Value::from(net.netmask().to_string()))),
        ("broadcast", broadcast),
        ("first", Some(Value::from(first.to_string()))),
        ("last", Some(Value::from(last.to_string()))),
        ("hosts", Some(count)),
    ];
    let parts = parts.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
    Value::from(parts.collect::<Map>())
}

/// The first and the last address that a host can have. IPv4 keeps one for the network and one for broadcasts, but for
/// links between two (RFC 3021); IPv6 keeps the first for routers (RFC 4291, 2.6.1), with the same exception (RFC 6164).
fn hosts(net: IpNet) -> (IpAddr, IpAddr) {
    let (network, last) = (net.network(), net.broadcast());
    let host_bits = net.max_prefix_len() - net.prefix_len();
    if host_bits < 2 {
        return (network, last);
    }
    let last = if net.addr().is_ipv4() { number(last) - 1 } else { number(last) };
    (like(network, number(network) + 1), like(network, last))
}

/// The address `n` further on, if there is one.
fn moved(ip: IpAddr, n: i128) -> Option<IpAddr> {
    let sum = number(ip).checked_add_signed(n)?;
    (ip.is_ipv6() || sum <= u32::MAX.into()).then(|| like(ip, sum))
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of a number, of the same version as `ip`.
fn like(ip: IpAddr, number: u128) -> IpAddr {
    match (ip, u32::try_from(number)) {
        (IpAddr::V4(_), Ok(number)) => Ipv4Addr::from_bits(number).into(),
        _ => Ipv6Addr::from_bits(number).into(),
    }
}
