//! The filters of numbers, durations, dates, addresses, versions and URLs: what they give, and what they refuse.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn output(source: &str) -> String {
    let output = Bench::new().render(&format!("{{{{ {source} }}}}")).output;
    output.map_or_else(|error| error.to_string(), |bytes| String::from_utf8(bytes).unwrap())
}

/// The message of the error, which says why, and never what was given.
fn refusal(source: &str) -> String {
    match Bench::new().render(&format!("\n{{{{ {source} }}}}")).output {
        Ok(bytes) => String::from_utf8(bytes).unwrap(),
        Err(error) if error.line == 2 => error.message,
        Err(error) => error.to_string(),
    }
}

fn gives(table: &[(&str, &str)]) {
    let outputs = table.iter().map(|(source, expected)| (*source, *expected, output(source)));
    let wrong: Vec<_> = outputs.filter(|(_, expected, output)| output != expected).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn refuses(table: &[(&str, &str)]) {
    let messages = table.iter().map(|(source, expected)| (*source, *expected, refusal(source)));
    let wrong: Vec<_> = messages.filter(|(_, expected, message)| !message.contains(expected)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn sums_extremes_and_rounding() {
    gives(&[
        (r#"[1, 2, "3", " 4\n"] | sum"#, "10"),
        ("[] | sum", "0"),
        ("[0.5, 1] | sum", "1.5"),
        ("[9007199254740993, 1] | sum", "9007199254740994"),
        (r#"["170141183460469231731687303715884105726", 1] | sum"#, "170141183460469231731687303715884105727"),
        (r#"[{"w": 1}, {"w": 2}] | sum(attribute="w")"#, "3"),
        (r#"[{"m": {"w": "7"} }] | sum(attribute="m.w")"#, "7"),
        (r#"[3, "10", 2] | max"#, "10"),
        (r#"[3, "10", 2] | min"#, "2"),
        ("[1, 1.5, 9007199254740993] | max", "9007199254740993"),
        ("[] | max | default(value=0)", "0"),
        ("[] | min | default(value=0)", "0"),
        (r#"[{"w": 1}, {"w": 2}] | max(attribute="w")"#, "2"),
        ("5 | clamp(min=1, max=3)", "3"),
        ("0 | clamp(min=1, max=3)", "1"),
        (r#""2" | clamp(min=1, max=3)"#, "2"),
        ("0.5 | clamp(max=0.25)", "0.25"),
        ("5 | clamp", "5"),
        ("7 | round_to(multiple=10)", "10"),
        ("4 | round_to(multiple=10)", "0"),
        ("5 | round_to(multiple=10)", "10"),
        ("-5 | round_to(multiple=10)", "-10"),
        ("-4 | round_to(multiple=10)", "0"),
        (r#"1 | round_to(multiple=10, method="ceil")"#, "10"),
        (r#"10 | round_to(multiple=10, method="ceil")"#, "10"),
        (r#"-1 | round_to(multiple=10, method="ceil")"#, "0"),
        (r#""19" | round_to(multiple=10, method="floor")"#, "10"),
        (r#"-1 | round_to(multiple=10, method="floor")"#, "-10"),
        ("(14 / 2) | round_to(multiple=5)", "5"),
        ("7 // 2", "3"),
        ("7 % 3", "1"),
        ("range(start=1, end=4)", "[1, 2, 3]"),
        ("range(start=3, end=0, step_by=-1)", "[3, 2, 1]"),
    ]);
    refuses(&[
        ("[1, \"x\"] | sum", "item 2 of the list: it is no number"),
        ("[\"inf\"] | sum", "item 1 of the list: it is no number"),
        ("[true] | sum", "item 1 of the list: it is no number"),
        ("[\"\"] | max", "item 1 of the list: it is no number"),
        ("[\"1e308\", \"1e308\"] | sum", "the sum is too large"),
        ("[\"170141183460469231731687303715884105727\", 1] | sum", "the sum is too large"),
        ("1 | sum", "`sum` takes a list, not a number"),
        ("[{}] | max(attribute=\"w\")", "item 1 of the list for `max` does not have the attribute"),
        ("[nothing] | sum", "undefined"),
        ("[] | max", "undefined"),
        ("\"x\" | clamp(min=1)", "it is no number"),
        ("[1] | clamp(min=1)", "`clamp` takes a number, or text that is one, not a list"),
        ("1 | clamp(min=2, max=1)", "`min` of `clamp` is refused: it is larger than `max`"),
        ("1 | clamp(min=\"x\")", "`min` of `clamp` is refused: it is no number"),
        ("1.5 | round_to(multiple=2)", "it is no whole number"),
        ("1 | round_to(multiple=0)", "`multiple` of `round_to` is refused"),
        ("1 | round_to(multiple=\"2\")", "`multiple` of `round_to` is refused"),
        ("1 | round_to(multiple=2, method=\"up\")", "`method` of `round_to` is none of the names it may be"),
        ("\"170141183460469231731687303715884105727\" | round_to(multiple=10)", "it is too large"),
    ]);
}

#[test]
fn durations_and_sizes() {
    gives(&[
        (r#""1h30m" | from_duration"#, "5400"),
        (r#""1h 30m\n" | from_duration(unit="m")"#, "90"),
        (r#""1500ms" | from_duration(unit="ms")"#, "1500"),
        (r#""0" | from_duration"#, "0"),
        (r#""10y" | from_duration > 300000000"#, "true"),
        (r#""x" | from_duration(default=30)"#, "30"),
        ("5400 | to_duration", "90m"),
        (r#""7200" | to_duration"#, "2h"),
        ("95 | to_duration", "95s"),
        ("(7200 / 2) | to_duration", "1h"),
        ("0 | to_duration", "0s"),
        (r#"1500 | to_duration(unit="ms")"#, "1500ms"),
        (r#"2 | to_duration(unit="d")"#, "48h"),
        (r#""18446744073709551615" | to_duration"#, "18446744073709551615s"),
        (r#""10MiB" | from_size"#, "10485760"),
        (r#""10 mb" | from_size"#, "10000000"),
        (r#""512Mi" | from_size"#, "536870912"),
        (r#""512" | from_size"#, "512"),
        ("512 | from_size", "512"),
        ("(1024 / 2) | from_size", "512"),
        (r#""1k" | from_size(base=1024)"#, "1024"),
        (r#""1G" | from_size(base=1000)"#, "1000000000"),
        (r#""x" | from_size(default=0)"#, "0"),
    ]);
    refuses(&[
        (r#""90" | from_duration"#, "its unit is missing"),
        (r#""" | from_duration"#, "it is no duration such as `1h30m`"),
        (r#""5x" | from_duration"#, "there is no such unit as at byte 1"),
        (r#""5M" | from_duration"#, "it has an `M` at byte 1; a minute is `m`"),
        (r#""-5m" | from_duration"#, "from byte 0 on"),
        (r#""1500ms" | from_duration"#, "it is no whole number of this `unit`"),
        (r#""99999999999999999999s" | from_duration"#, "it is too large"),
        ("90 | from_duration", "`from_duration` takes text, not a number"),
        (r#""5m" | from_duration(unit="min")"#, "`unit` of `from_duration` is none"),
        ("-1 | to_duration", "it is no whole number from 0"),
        ("1.5 | to_duration", "it is no whole number from 0"),
        (r#""5m" | to_duration"#, "it is no whole number from 0"),
        (r#"1 | to_duration(unit="us")"#, "it is no whole number of milliseconds"),
        ("[1] | to_duration", "`to_duration` takes a number, or text that is one, not a list"),
        (r#""8m" | from_size"#, "`base=` says which"),
        (r#""8q" | from_size"#, "there is no such unit as at byte 1"),
        (r#""MiB" | from_size"#, "it does not begin with a digit"),
        (r#""" | from_size"#, "it does not begin with a digit"),
        (r#""-1" | from_size"#, "it does not begin with a digit"),
        (r#""99999999999999999999TiB" | from_size"#, "it is too large"),
        (r#""9999999999999999999999999999999999999999999" | from_size"#, "it is too large"),
        ("-1 | from_size", "it is no whole number from 0"),
        (r#""1k" | from_size(base=10)"#, "`base` of `from_size` is refused: it is 1000 or 1024"),
    ]);
}

#[test]
fn dates() {
    gives(&[
        (r#""2026-01-31T08:00:00Z" | from_date"#, "1769846400"),
        (r#""2026-01-31T09:00:00+01:00\n" | from_date"#, "1769846400"),
        (r#""2026-01-31T08:00:00.999Z" | from_date"#, "1769846400"),
        (r#""1969-12-31T23:59:59.5Z" | from_date"#, "-1"),
        (r#""2026-01-31T08:00:00.25Z" | from_date(unit="ms")"#, "1769846400250"),
        (r#""2026-01-31T09:00:00" | from_date(timezone="Europe/Berlin")"#, "1769846400"),
        (r#""2026-01-31" | from_date(timezone="UTC")"#, "1769817600"),
        (r#""31.01.2026 09:00" | from_date(format="%d.%m.%Y %H:%M", timezone="europe/berlin")"#, "1769846400"),
        (r#""31.01.2026" | from_date(format="%d.%m.%Y", timezone="UTC")"#, "1769817600"),
        (r#""Sat, 31 Jan 2026 08:00:00 +0000" | from_date(format="%a, %d %b %Y %H:%M:%S %z")"#, "1769846400"),
        (r#""2026-01-31 09:00 Europe/Berlin" | from_date(format="%Y-%m-%d %H:%M %Q")"#, "1769846400"),
        (r#""1769846400" | from_date(format="%s")"#, "1769846400"),
        // The clock is put forward from 2 to 3, and back from 3 to 2.
        (r#""2026-03-29T02:30:00" | from_date(timezone="Europe/Berlin") | to_date"#, "2026-03-29T01:30:00Z"),
        (r#""2026-10-25T02:30:00" | from_date(timezone="Europe/Berlin") | to_date"#, "2026-10-25T00:30:00Z"),
        (r#""x" | from_date(default=0)"#, "0"),
        ("1769846400 | to_date", "2026-01-31T08:00:00Z"),
        (r#""1769846400" | to_date(timezone="Europe/Berlin")"#, "2026-01-31T09:00:00+01:00"),
        (r#"1769846400250 | to_date(unit="ms", timezone="+00:00")"#, "2026-01-31T08:00:00.25Z"),
        (
            r#"1769846400 | to_date(format="%a %d %b %Y %H:%M %Z", timezone="America/New_York")"#,
            "Sat 31 Jan 2026 03:00 EST",
        ),
        (r#"1769846400 | to_date(timezone="-03:30")"#, "2026-01-31T04:30:00-03:30"),
        ("-1 | to_date", "1969-12-31T23:59:59Z"),
        (r#"("2026-01-31T08:00:00Z" | from_date + "30d" | from_duration) | to_date"#, "2026-03-02T08:00:00Z"),
    ]);
    refuses(&[
        (r#""2026-01-31T08:00:00" | from_date"#, "so `timezone=` is needed"),
        (r#""2026-01-31" | from_date"#, "so `timezone=` is needed"),
        (r#""31.01.2026" | from_date(format="%d.%m.%Y")"#, "so `timezone=` is needed"),
        (r#""2026-02-30T08:00:00Z" | from_date"#, "it is no time such as"),
        (r#""" | from_date"#, "it is no time such as"),
        (r#""2026-01-31T08:00:00+01:00[America/New_York]" | from_date"#, "it is no time such as"),
        (r#""2026-01-31T08:00:00[Asia/Tokyo]" | from_date(timezone="UTC")"#, "it is no time such as"),
        (r#""2026-01-31T08:00:00+99:00" | from_date(timezone="UTC")"#, "it is no time such as"),
        (r#""1769846400" | from_date"#, "it is no time such as"),
        ("1769846400 | from_date", "`from_date` takes text, not a number"),
        (r#""x" | from_date(format="%Y", timezone="UTC")"#, "it does not have the format"),
        (r#""08" | from_date(format="%H", timezone="UTC")"#, "its format gives no date"),
        (r#""2026 Moon/Base" | from_date(format="%Y %Q")"#, "it names a time zone that there is not"),
        (r#""x" | from_date(format="%!", timezone="UTC")"#, "`format` of `from_date` is refused"),
        (
            r#""2026-01-31" | from_date(timezone="Moon/Base")"#,
            "`timezone` of `from_date` is refused: there is no time zone",
        ),
        (r#""2026-01-31" | from_date(timezone="../../etc/passwd")"#, "there is no time zone of this name"),
        (r#"1 | to_date(timezone="+99:00")"#, "it is no offset such as `+02:00`"),
        (r#"1 | to_date(timezone="+2")"#, "it is no offset such as `+02:00`"),
        (r#"1 | to_date(format="%!")"#, "`format` of `to_date` is refused"),
        (r#"1 | to_date(unit="h")"#, "`unit` of `to_date` is none"),
        (r#""2026-01-31T08:00:00Z" | to_date"#, "it is no whole number"),
        ("1.5 | to_date", "it is no whole number"),
        ("99999999999999 | to_date", "it is too far away"),
        (r#""170141183460469231731687303715884105727" | to_date"#, "it is too far away"),
        ("[1] | to_date", "`to_date` takes a number, or text that is one, not a list"),
    ]);
}

#[test]
fn addresses_and_networks() {
    gives(&[
        (r#""10.0.0.1" | ip_version"#, "4"),
        (r#""fd00::1" | ip_version"#, "6"),
        (r#""web" | ip_version(default=0)"#, "0"),
        (r#""10.0.0.255" | ip_add(n=1)"#, "10.0.1.0"),
        (r#""10.0.0.0" | ip_add(n=-1)"#, "9.255.255.255"),
        (r#""fd00::ffff" | ip_add(n=1)"#, "fd00::1:0"),
        (
            r#"["10.0.0.10", "fd00::1", "10.0.0.9", "10.0.0.0/8", "10.0.0.0"] | ip_sort | join(sep=" ")"#,
            "10.0.0.0/8 10.0.0.0 10.0.0.9 10.0.0.10 fd00::1",
        ),
        (r#"["10.0.0.9", "10.0.0.10"] | ip_sort(reverse=true) | first"#, "10.0.0.10"),
        (r#"[{"a": "10.0.0.10"}, {"a": "10.0.0.9"}] | ip_sort(attribute="a") | first"#, r#"{"a": "10.0.0.9"}"#),
        ("[] | ip_sort", "[]"),
        (r#""10.1.2.3" | in_network(network="10.0.0.0/8")"#, "true"),
        (r#""10.1.2.3" | in_network(network="10.9.9.9/8")"#, "true"),
        (r#""11.0.0.1" | in_network(network="10.0.0.0/8")"#, "false"),
        (r#""10.1.0.0/16" | in_network(network="10.0.0.0/8")"#, "true"),
        (r#""10.0.0.0/8" | in_network(network="10.1.0.0/16")"#, "false"),
        (r#""10.0.0.1" | in_network(network="10.0.0.1")"#, "true"),
        (r#""::ffff:10.0.0.1" | in_network(network="10.0.0.0/8")"#, "true"),
        (r#""10.0.0.1" | in_network(network="::ffff:10.0.0.0/104")"#, "true"),
        (r#""::ffff:10.0.0.1" | in_network(network="::/0")"#, "true"),
        (r#""fd00::1" | in_network(network="10.0.0.0/8")"#, "false"),
        (r#""::1" | in_network(network="0.0.0.0/0")"#, "false"),
        (r#""192.168.1.1" | in_network(network="private")"#, "true"),
        (r#""172.32.0.1" | in_network(network=["private", "loopback"])"#, "false"),
        (r#""127.0.0.2" | in_network(network=["private", "loopback"])"#, "true"),
        (r#""fe80::1" | in_network(network="link_local")"#, "true"),
        (r#""224.0.0.1" | in_network(network="multicast")"#, "true"),
        (r#""web" | in_network(network="private", default=false)"#, "false"),
        (
            r#""10.1.2.3/20" | from_cidr | to_json"#,
            r#"{"cidr":"10.1.0.0/20","version":4,"address":"10.1.2.3","prefix":20,"network":"10.1.0.0","netmask":"255.255.240.0","broadcast":"10.1.15.255","first":"10.1.0.1","last":"10.1.15.254","hosts":4094}"#,
        ),
        (
            r#""fd00::5/64" | from_cidr | to_json"#,
            r#"{"cidr":"fd00::/64","version":6,"address":"fd00::5","prefix":64,"network":"fd00::","netmask":"ffff:ffff:ffff:ffff::","first":"fd00::1","last":"fd00::ffff:ffff:ffff:ffff","hosts":18446744073709551615}"#,
        ),
        (r#""::/0" | from_cidr | get(key="hosts")"#, "340282366920938463463374607431768211455"),
        (r#""10.0.0.0/31" | from_cidr | get(key="hosts")"#, "2"),
        (r#""10.0.0.4/32" | from_cidr | get(key="first")"#, "10.0.0.4"),
        (r#""10.0.0.4/32" | from_cidr | get(key="broadcast", default="none")"#, "none"),
        (r#""10.0.0.0/8" | cidr_host(n=0)"#, "10.0.0.0"),
        (r#""10.0.0.0/8" | cidr_host(n=258)"#, "10.0.1.2"),
        (r#""10.0.0.0/8" | cidr_host(n=-1)"#, "10.255.255.255"),
        (r#""fd00::/64" | cidr_host(n=10)"#, "fd00::a"),
        (r#""10.0.0.9/30" | cidr_hosts"#, r#"["10.0.0.9", "10.0.0.10"]"#),
        (r#""10.0.0.0/31" | cidr_hosts"#, r#"["10.0.0.0", "10.0.0.1"]"#),
        (r#""10.0.0.1" | cidr_hosts"#, r#"["10.0.0.1"]"#),
        (r#""255.255.255.254/31" | cidr_hosts | last"#, "255.255.255.255"),
        (r#""10.0.0.0/24" | cidr_hosts | length"#, "254"),
        (r#""10.0.0.0/16" | cidr_hosts(limit=65536) | length"#, "65534"),
        (r#""fd00::/126" | cidr_hosts | length"#, "3"),
    ]);
    refuses(&[
        (r#""web" | ip_version"#, "it is no IP address"),
        (r#""010.0.0.1" | ip_version"#, "it is no IP address"),
        (r#""10.0.0.1\n" | ip_version"#, "it is no IP address"),
        ("1 | ip_version", "`ip_version` takes text, not a number"),
        (r#""255.255.255.255" | ip_add(n=1)"#, "there is no address so far from it"),
        (r#""::" | ip_add(n=-1)"#, "there is no address so far from it"),
        (r#""10.0.0.1" | ip_add(n="1")"#, "`n` of `ip_add` is refused: it is no whole number"),
        (r#"["10.0.0.1", "web"] | ip_sort"#, "item 2 of the list: it is no IP address or network"),
        ("[1] | ip_sort", "item 1 of the list: it is no text"),
        (
            r#""10.0.0.1" | in_network(network="privat")"#,
            "`network` of `in_network` is refused: it is no IP address or network",
        ),
        (r#""10.0.0.1" | in_network(network="10.0.0.0/33")"#, "there is no number from 0 to 32 behind its `/`"),
        (r#""web" | in_network(network="private")"#, "it is no IP address or network"),
        (r#""10.0.0.0/08" | from_cidr"#, "there is no number from 0 to 32 behind its `/`"),
        (r#""10.0.0.0/+8" | from_cidr"#, "there is no number from 0 to 32 behind its `/`"),
        (r#""10.0.0.0/" | from_cidr"#, "there is no number from 0 to 32 behind its `/`"),
        (r#""10.0.0.0/255.0.0.0" | from_cidr"#, "there is no number from 0 to 32 behind its `/`"),
        (r#""fd00::/129" | from_cidr"#, "there is no number from 0 to 128 behind its `/`"),
        (r#""/8" | from_cidr"#, "there is no IP address before its `/`"),
        (r#""" | from_cidr"#, "it is no IP address or network"),
        (
            r#""fd00::/64" | from_cidr | get(key="broadcast")"#,
            "the map has no entry `broadcast`, and `get` has no `default=`",
        ),
        (r#""10.0.0.0/24" | cidr_host(n=256)"#, "it has no address at this `n`"),
        (r#""10.0.0.0/24" | cidr_host(n=-257)"#, "it has no address at this `n`"),
        (r#""10.0.0.0/8" | cidr_hosts"#, "`cidr_hosts` would give more than 256"),
        (r#""::/0" | cidr_hosts(limit=65536)"#, "`cidr_hosts` would give more than 65536"),
        (r#""10.0.0.0/8" | cidr_hosts(limit=65537)"#, "`limit` of `cidr_hosts` is refused: 65536 is the most"),
        (r#""10.0.0.0/30" | cidr_hosts(limit=1)"#, "`cidr_hosts` would give more than 1"),
        (r#""10.0.0.1" | cidr_hosts(limit=0)"#, "`cidr_hosts` would give more than 0"),
    ]);
}

#[test]
fn versions() {
    gives(&[
        (
            r#""v1.2.3-rc.1+b5" | from_semver | to_json"#,
            r#"{"version":"1.2.3-rc.1+b5","major":1,"minor":2,"patch":3,"pre":"rc.1","build":"b5"}"#,
        ),
        (r#""1.10\n" | from_semver | get(key="version")"#, "1.10.0"),
        (r#""2" | from_semver | get(key="major")"#, "2"),
        (r#""2-beta" | from_semver | get(key="version")"#, "2.0.0-beta"),
        (r#""x" | from_semver(default={"major": 0}) | get(key="major")"#, "0"),
        (r#""1.2" | semver_compare(with="1.10")"#, "-1"),
        (r#""1.2.0+a" | semver_compare(with="1.2+b")"#, "0"),
        (r#""1.0.0" | semver_compare(with="1.0.0-rc.1")"#, "1"),
        (r#""1.5.2" | semver_matches(requirement=">=1.2, <2")"#, "true"),
        (r#""2.0" | semver_matches(requirement=">=1.2, <2")"#, "false"),
        (r#""2.1" | semver_matches(requirement="~1.2 || ^2")"#, "true"),
        (r#""1.2.9" | semver_matches(requirement="1.2.*")"#, "true"),
        (r#""1.2.9" | semver_matches(requirement="*")"#, "true"),
        (r#""1.2.9" | semver_matches(requirement="=1.2.8")"#, "false"),
        (r#""1.3.0-rc.1" | semver_matches(requirement=">=1.2")"#, "false"),
        (r#""1.3.0-rc.1" | semver_matches(requirement=">=1.3.0-rc.0")"#, "true"),
        (r#""latest" | semver_matches(requirement=">=1", default=false)"#, "false"),
        (r#"["1.10", "v1.9", "1.10.0-rc.1"] | semver_sort"#, r#"["v1.9", "1.10.0-rc.1", "1.10"]"#),
        (r#"["1.0+b", "1.0+a"] | semver_sort"#, r#"["1.0+b", "1.0+a"]"#),
        (r#"["1.9", "1.10"] | semver_sort(reverse=true) | first"#, "1.10"),
        (r#"[{"m": {"v": "2"} }, {"m": {"v": "1"} }] | semver_sort(attribute="m.v") | first"#, r#"{"m": {"v": "1"}}"#),
        ("[] | semver_sort", "[]"),
    ]);
    refuses(&[
        (r#""latest" | from_semver"#, "its major number has other characters than digits"),
        (r#""" | from_semver"#, "its major number is missing"),
        (r#""1..2" | from_semver"#, "its minor number is missing"),
        (r#""1.02" | from_semver"#, "its minor number has a zero ahead of it"),
        (r#""1.2.3.4" | from_semver"#, "it has more than three numbers"),
        (r#""1.2.99999999999999999999" | from_semver"#, "its patch number is too large"),
        (r#""1.2.3-" | from_semver"#, "what follows its numbers is no pre-release or build"),
        (r#""1.2.3-ä" | from_semver"#, "what follows its numbers is no pre-release or build"),
        ("1.2 | from_semver", "`from_semver` takes text, not a number"),
        (r#""1" | semver_compare(with="x")"#, "`with` of `semver_compare` is refused: its major number"),
        (r#""x" | semver_compare(with="1")"#, "its major number"),
        (r#""1" | semver_matches(requirement="1.2.3")"#, "an operator is missing, one of `=`"),
        (r#""1" | semver_matches(requirement=">=1 || 2")"#, "alternative 2: an operator is missing"),
        (r#""1" | semver_matches(requirement="")"#, "an operator is missing"),
        (r#""1" | semver_matches(requirement=">=1 <2")"#, "it is no requirement such as"),
        (r#""1" | semver_matches(requirement="1.2.3-x")"#, "an operator is missing"),
        (r#"["1", "x"] | semver_sort"#, "item 2 of the list: its major number"),
        ("[1] | semver_sort", "item 1 of the list: it is no text"),
    ]);
}

#[test]
fn urls() {
    gives(&[
        (
            r#""https://u%40x:p%3Aw@Example.com:8443/a%20b?q=1&r=2#top" | from_url | to_json"#,
            r#"{"scheme":"https","username":"u@x","password":"p:w","host":"example.com","port":8443,"endpoint":"example.com:8443","path":"/a%20b","query":"q=1&r=2","fragment":"top"}"#,
        ),
        (
            r#""postgres://app@[fd00::1]/db" | from_url | to_json"#,
            r#"{"scheme":"postgres","username":"app","password":"","host":"fd00::1","port":0,"endpoint":"[fd00::1]","path":"/db","query":"","fragment":""}"#,
        ),
        (r#""http://a" | from_url | get(key="endpoint")"#, "a:80"),
        (r#""redis://10.0.0.1:6379" | from_url | get(key="endpoint")"#, "10.0.0.1:6379"),
        (r#""unix:///run/a.sock" | from_url | get(key="path")"#, "/run/a.sock"),
        (r#""HTTPS://A/../b" | from_url | get(key="path")"#, "/b"),
        (r#""http://0x7f.1" | from_url | get(key="host")"#, "127.0.0.1"),
        (r#""x" | from_url(default={"host": "d"}) | get(key="host")"#, "d"),
        (r#""b=2&a=x%20y+z&c" | from_query | to_json"#, r#"{"a":"x y z","b":"2","c":""}"#),
        (r#""?a=1&a=2" | from_query(lists=true) | to_json"#, r#"{"a":["1","2"]}"#),
        (r#""" | from_query"#, "{}"),
        (r#"{"b": [1, "x y"], "a": "&=+"} | to_query"#, "a=%26%3D%2B&b=1&b=x%20y"),
        ("{} | to_query", ""),
        (r#""a b/ü~-._+%" | url_encode"#, "a%20b%2F%C3%BC~-._%2B%25"),
        (r#""a/ü" | url_encode(extra="/ü")"#, "a/ü"),
        ("5 | url_encode", "5"),
        (r#""a%20b+c%2F%C3%BC" | url_decode"#, "a b+c/ü"),
        (r#""a+b" | url_decode(plus=true)"#, "a b"),
    ]);
    refuses(&[
        (r#""db:5432" | from_url"#, "there is no `://` behind its scheme"),
        (r#""" | from_url"#, "there is no `://` behind its scheme"),
        (r#""://a" | from_url"#, "it does not begin with a scheme"),
        (r#""http://" | from_url"#, "it has no host"),
        (r#""http://a:99999" | from_url"#, "its port is none"),
        (r#""http://a<b" | from_url"#, "its host is none"),
        (r#""http://a\nb" | from_url"#, "a control character at byte 8"),
        (r#"" http://a" | from_url"#, "a control character at byte 0"),
        (r#""http://a\\b" | from_url"#, "a backslash or a control character at byte 8"),
        (r#""http://bücher.example" | from_url"#, "its host is none"),
        (r#""postgres://a:1,b:2/db" | from_url"#, "its port is none"),
        (r#""http://a%zz:b@c" | from_url"#, "its user name has a `%` that encodes nothing"),
        ("1 | from_url", "`from_url` takes text, not a number"),
        (r#""a=1&a=2" | from_query"#, "pair 2 has a name that was there before"),
        (r#""a=1&b=%g" | from_query"#, "pair 2: there are no two hexadecimal digits behind the `%` at byte 0"),
        ("[1] | to_query", "`to_query` takes a map, not a list"),
        (r#"{"a": {} } | to_query"#, "the value of a name is text"),
        (r#"{"a": nothing} | to_query"#, "undefined"),
        ("[1] | url_encode", "`url_encode` takes text or a number, not a list"),
        (r#""ab%4" | url_decode"#, "there are no two hexadecimal digits behind the `%` at byte 2"),
        (r#""%FF" | url_decode"#, "what it encodes is not UTF-8"),
    ]);
}

/// Where something is asked for that is not there yet, the template goes on asking, whatever it does with it.
#[test]
fn what_is_missing_stops_nothing() {
    for filter in ["sum", "max", "ip_sort", "semver_sort"] {
        let rendering =
            Bench::new().render(&format!("{{{{ [key(path=\"a\")] | {filter} }}}}{{{{ key(path=\"b\") }}}}"));
        assert_eq!(rendering.missing.len(), 2, "{filter}");
    }
    for filter in [
        "from_cidr",
        "from_date",
        "from_duration",
        "from_query",
        "from_semver",
        "from_size",
        "from_url",
        "in_network(network=\"private\")",
        "url_decode",
    ] {
        let rendering = Bench::new().render(&format!("{{{{ key(path=\"a\") | {filter} }}}}{{{{ key(path=\"b\") }}}}"));
        assert_eq!(rendering.missing.len(), 2, "{filter}");
    }
}

/// What reads text, with what a message of it may never hold.
const READERS: &[&str] = &[
    "cidr_host(n=1)",
    "cidr_hosts",
    "clamp(min=1)",
    "from_cidr",
    "from_date",
    "from_date(format=\"%Y-%m-%d\", timezone=\"UTC\")",
    "from_duration",
    "from_query",
    "from_semver",
    "from_size",
    "from_url",
    "in_network(network=\"private\")",
    "ip_add(n=1)",
    "ip_version",
    "round_to(multiple=3)",
    "semver_compare(with=\"1\")",
    "semver_matches(requirement=\"*\")",
    "to_date",
    "to_duration",
    "url_decode",
];

/// Texts that are nearly what the filters read.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[0-9a-f:./]{0,40}",
        "[0-9]{1,40}[a-zA-Z µ]{0,4}",
        "v?[0-9.]{0,30}[-+a-z0-9.]{0,10}",
        "[a-z]{1,6}://[^\\n]{0,30}",
        "[-0-9]{1,12}T[:0-9]{1,12}[-+Z0-9:.\\[\\]/A-Za-z]{0,20}",
        "[%&=+a-f0-9]{0,30}",
    ]
}

#[test]
fn whatever_is_read_gives_a_value_or_says_why() {
    let load = |filter: &&'static str| {
        let source = format!("{{{{ key(path=\"v\") | {filter} | to_json }}}}");
        (*filter, Bench::new().load(&[inline(&source)]).unwrap_or_else(|errors| panic!("{}", errors[0])))
    };
    let templates: Vec<_> = READERS.iter().map(load).collect();
    let mut runner = TestRunner::default();
    let read = |text: String| {
        let view = Bench::new().key("v", &text).view();
        for (filter, template) in &templates {
            if let Err(error) = template.render(0, &view).output {
                // Shorter ones are parts of the messages by chance.
                prop_assert!(text.len() < 12 || !error.to_string().contains(&text), "{}: {}", filter, error);
            }
        }
        Ok(())
    };
    runner.run(&hostile(), read).unwrap_or_else(|error| panic!("{error}"));
}

proptest! {
    #[test]
    fn whatever_is_encoded_is_decoded(text in "[\\PC\\t]{0,40}") {
        let source = "{{ key(path=\"v\") | url_encode | url_decode == key(path=\"v\") }}";
        prop_assert_eq!(Bench::new().key("v", &text).output(source), "true");
        let source = "{{ ({\"a b\": key(path=\"v\")} | to_query | from_query)[\"a b\"] == key(path=\"v\") }}";
        prop_assert_eq!(Bench::new().key("v", &text).output(source), "true");
    }

    #[test]
    fn hosts_are_in_their_network(address: u32, prefix in 24_u8..=32) {
        let text = format!("{}/{prefix}", std::net::Ipv4Addr::from(address));
        let source = "{% for host in key(path=\"v\") | cidr_hosts %}\
            {{ host | in_network(network=key(path=\"v\")) }} {% endfor %}{{ key(path=\"v\") | from_cidr | get(key=\"hosts\") }}";
        let output = Bench::new().key("v", &text).output(source);
        let words: Vec<&str> = output.split_whitespace().collect();
        let (count, within) = words.split_last().unwrap();
        prop_assert!(within.iter().all(|word| *word == "true"));
        prop_assert_eq!(count.parse::<usize>().unwrap(), within.len());
    }

    #[test]
    fn times_come_back(time in -60_000_000_000_i64..=200_000_000_000) {
        let output = Bench::new().key("v", &time.to_string()).output(
            "{{ key(path=\"v\") | to_date | from_date }} {{ key(path=\"v\") | to_date(timezone=\"Asia/Kolkata\") | from_date }}",
        );
        prop_assert_eq!(output, format!("{time} {time}"));
    }

    #[test]
    fn durations_come_back(seconds: u32) {
        let output = Bench::new().key("v", &seconds.to_string()).output("{{ key(path=\"v\") | to_duration | from_duration }}");
        prop_assert_eq!(output, seconds.to_string());
    }
}
