use proptest::prelude::*;

use super::super::sections::read;
use super::super::table::tests::table;
use super::*;

fn section(servers: &str) -> Section {
    let text = format!("defaults\n  default-server check inter 2s\nbackend a\n{servers}");
    read(text.as_bytes()).unwrap().sections.remove(0)
}

fn row(name: &str, host: &str, port: u16, (admin, weight, checks): (u32, u16, u32)) -> String {
    format!("3 a 1 {name} {host} 2 {admin} {weight} 1 0 6 3 4 {checks} 0 0 0 - {port} - 0 0 - - 0\n")
}

fn lines(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.line.as_str()).collect()
}

/// The plan where these names are new.
fn planned(servers: &str, rows: &[String], new: &[&str], removed: &Removed) -> Plan {
    let table = table(&rows.concat());
    plan(&section(servers), table.rows.iter(), |name| new.contains(&name), removed).unwrap()
}

/// Checks are on, nothing forced.
const WELL: (u32, u16, u32) = (0, 1, 6);

#[test]
fn what_runs_as_it_is_wanted_is_left_alone() {
    let rows = [row("x", "10.0.0.1", 80, WELL), row("y", "::1", 81, (8, 5, 6)), row("z", "10.0.0.3", 80, (5, 1, 10))];
    let servers = "server x 10.0.0.1:80\nserver y [::1]:81 weight 5\nserver z 10.0.0.3:80 disabled\n";
    assert_eq!(planned(servers, &rows, &[], &Removed::new()), Plan::default(), "`y` drains because somebody said so");
}

#[test]
fn a_server_is_added_checked_and_then_let_in() {
    let plan = planned(
        "server x 10.0.0.1:80 weight 7\nserver y [::1]:80 disabled no-check\n",
        &[],
        &["x", "y"],
        &Removed::new(),
    );
    assert_eq!(
        lines(&plan.wanted),
        [
            "add server a/x 10.0.0.1:80 weight 7 check inter 2s;enable health a/x;enable server a/x",
            "add server a/y [::1]:80 weight 1 inter 2s",
        ]
    );
    assert!(plan.wanted.iter().all(|step| step.adds) && plan.size() == 2);
}

#[test]
fn where_cookies_are_made_of_addresses_a_server_has_one_before_it_is_let_in() {
    let text = "defaults\nbackend a\ncookie S insert dynamic\nserver x 10.0.0.1:80\n";
    let section = read(text.as_bytes()).unwrap().sections.remove(0);
    let plan = plan(&section, std::iter::empty(), |_| true, &Removed::new()).unwrap();
    let line = "add server a/x 10.0.0.1:80 weight 1;enable dynamic-cookie backend a;enable server a/x";
    assert_eq!(lines(&plan.wanted), [line]);
}

#[test]
fn only_what_differs_of_a_server_is_changed() {
    let changed = |wanted: &str, admin, weight, checks| {
        let plan = planned(
            &format!("server x {wanted}\n"),
            &[row("x", "10.0.0.1", 80, (admin, weight, checks))],
            &[],
            &Removed::new(),
        );
        lines(&plan.wanted).join("|")
    };
    assert_eq!(changed("10.0.0.1:81", 0, 1, 6), "set server a/x addr 10.0.0.1 port 81");
    assert_eq!(changed("10.0.0.1:80 weight 0", 0, 1, 6), "set server a/x weight 0");
    assert_eq!(changed("10.0.0.1:80 disabled", 0, 1, 6), "set server a/x state maint");
    assert_eq!(changed("10.0.0.1:80", 1, 1, 6), "set server a/x state ready");
    assert_eq!(changed("10.0.0.1:80", 1, 1, 10), "enable health a/x;set server a/x state ready");
    assert_eq!(changed("10.0.0.1:80 agent-check", 1, 99, 6), "", "that is what the agent says");
    assert_eq!(changed("name.example:80", 0, 1, 6), "", "what a name means is for haproxy to say");
}

#[test]
fn a_server_that_is_not_wanted_takes_nobody_new_and_goes_when_nobody_is_left() {
    let rows = [row("x", "10.0.0.1", 80, WELL), row("y", "10.0.0.2", 80, (1, 1, 6))];
    let plan = planned("", &rows, &[], &Removed::new());
    assert_eq!(lines(&plan.unwanted), ["set server a/x state maint;del server a/x"]);
    assert_eq!(lines(&plan.leftover), ["del server a/y"]);
    assert_eq!(plan.size(), 1, "one that only serves whom it has is as it should be");
}

#[test]
fn a_server_that_comes_back_before_it_is_gone_goes_on_where_it_is_alike() {
    let rows = [row("x", "10.0.0.1", 80, (1, 1, 6))];
    let wanted = "server x 10.0.0.1:80 weight 3\n";
    let removed = |options: &str| {
        let section = section(&format!("server x 10.0.0.9:90 weight 9 {options}\n"));
        let known = section.servers["x"].options.known().unwrap().clone();
        Removed::from([(("a".to_owned(), "x".to_owned()), known)])
    };
    let alike = planned(wanted, &rows, &["x"], &removed(""));
    assert_eq!(lines(&alike.wanted), ["set server a/x weight 3;set server a/x state ready"]);
    for removed in [Removed::new(), removed("maxconn 5")] {
        let other = planned(wanted, &rows, &["x"], &removed);
        assert_eq!(
            lines(&other.wanted),
            ["set server a/x state maint;del server a/x;add server a/x 10.0.0.1:80 weight 3 check inter 2s;\
              enable health a/x;enable server a/x"]
        );
        assert!(other.wanted[0].adds, "where it does not go, the other cannot come");
    }
}

#[test]
fn what_add_server_does_not_take_is_not_planned() {
    let section = section("server x 10.0.0.1:80 cookie x\n");
    assert_eq!(plan(&section, std::iter::empty(), |_| true, &Removed::new()), Err(Unplanned));
}

/// A command of which HAProxy is told, as far as it can be wrong.
fn is_one_command(command: &str) -> bool {
    const BEGINNINGS: [&str; 6] = [
        "add server a",
        "del server a/",
        "set server a/",
        "enable health a/",
        "enable server a/",
        "enable dynamic-cookie backend a",
    ];
    BEGINNINGS.iter().any(|beginning| command.starts_with(beginning))
        && command.chars().all(|c| c.is_ascii_alphanumeric() || " _.:,/%@+=-[]".contains(c))
}

proptest! {
    /// Whatever a registry puts into a `server` line, each command stays one.
    #[test]
    fn no_value_ends_a_command(
        name in "[a-z;\\\\ \\n\"'#<$é]{1,6}|\\PC{1,6}",
        host in "10\\.0\\.0\\.[0-9]|\\PC{1,12}",
        value in "[a-z;\\\\ <\\n]{1,6}|\\PC{1,8}",
        running in any::<bool>(),
    ) {
        let text = format!("defaults\nbackend a\nserver {name} {host}:80 maxconn {value}\nserver {name} 10.0.0.1:80\n");
        let rows = if running { vec![row(&name.replace(char::is_whitespace, "_"), "10.0.0.7", 80, WELL)] } else { Vec::new() };
        let table = super::super::table::Table::parse(&format!("{}{}", super::super::table::tests::HEAD, rows.concat()));
        let Ok(file) = read(text.as_bytes()) else { return Ok(()) };
        let Some(table) = table else { return Ok(()) };
        for section in file.sections {
            if let Ok(plan) = plan(&section, table.rows.iter(), |_| false, &Removed::new()) {
                for step in plan.steps() {
                    prop_assert!(step.line.split(';').all(is_one_command), "{:?}", step.line);
                }
            }
        }
    }

    /// Once HAProxy runs what is planned, nothing is left to plan.
    #[test]
    fn a_plan_that_is_carried_out_is_done(
        wanted in prop::collection::btree_map("[a-d]", (1..4u8, 80..83u16, 0..3u16, any::<bool>()), 0..4),
        running in prop::collection::btree_map("[a-d]", (1..4u8, 80..83u16, 0..3u16, 0..2u32), 0..4),
    ) {
        let line = |(name, (host, port, weight, disabled)): (&String, &(u8, u16, u16, bool))| {
            format!("server {name} 10.0.0.{host}:{port} weight {weight}{}\n", if *disabled { " disabled" } else { "" })
        };
        let section = section(&wanted.iter().map(line).collect::<String>());
        let mut servers: std::collections::BTreeMap<String, (String, u16, u32, u16, u32)> = running
            .iter()
            .map(|(name, (host, port, weight, admin))| (name.clone(), (format!("10.0.0.{host}"), *port, *admin, *weight, 6)))
            .collect();
        for round in 0..2 {
            let rows: String =
                servers.iter().map(|(name, (host, port, admin, weight, checks))| row(name, host, *port, (*admin, *weight, *checks))).collect();
            let plan = plan(&section, table(&rows).rows.iter(), |_| false, &Removed::new()).unwrap();
            prop_assert!(round == 0 || plan == Plan::default(), "{plan:?}");
            for command in plan.steps().flat_map(|step| step.line.split(';')) {
                obey(&mut servers, command);
            }
        }
        prop_assert!(servers.keys().eq(wanted.keys()));
    }
}

/// What HAProxy makes of a command, where nobody is connected.
fn obey(servers: &mut std::collections::BTreeMap<String, (String, u16, u32, u16, u32)>, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let name = words[2].trim_start_matches("a/").to_owned();
    match (words[0], words[1], words.get(3).copied()) {
        ("add", _, Some(address)) => {
            let (host, port) = address.rsplit_once(':').unwrap();
            servers.insert(name, (host.to_owned(), port.parse().unwrap(), 1, words[5].parse().unwrap(), 2));
        }
        ("del", ..) => drop(servers.remove(&name)),
        (_, "health", _) => servers.get_mut(&name).unwrap().4 = 6,
        ("enable", ..) => servers.get_mut(&name).unwrap().2 = 0,
        (.., Some("addr")) => {
            let server = servers.get_mut(&name).unwrap();
            (server.0, server.1) = (words[4].to_owned(), words[6].parse().unwrap());
        }
        (.., Some("weight")) => servers.get_mut(&name).unwrap().3 = words[4].parse().unwrap(),
        (.., Some("state")) => servers.get_mut(&name).unwrap().2 = u32::from(words[4] == "maint"),
        _ => panic!("{command}"),
    }
}
