//! Many servers and many changes, under requests. `LIVECONF_HAPROXY=full` asks for 500 changes with 1,000 servers.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{CHECK, MASTER, Server, WITHOUT, Web, wait_for_logged};
use crate::scenarios::backend::Backend;
use crate::scenarios::traffic::Traffic;
use crate::support::haproxy::worker;

/// One of the addresses of the loopback, which are servers of their own.
fn address(number: u32) -> String {
    format!("127.{}.{}.{}", 1 + number / 40_000, number / 200 % 200, 1 + number % 200)
}

#[test]
fn changes_under_requests_cause_no_reload_and_fail_none() {
    let is_full = std::env::var("LIVECONF_HAPROXY").is_ok_and(|run| run == "full");
    let (count, changes) = if is_full { (1000, 500) } else { (100, 30) };
    let first: u64 = rand::random();
    println!("seed {first}");
    let mut random = StdRng::seed_from_u64(first);
    let backend = Backend::start_everywhere("here");
    let mut next = count;
    let new = |next: &mut u32| {
        *next += 1;
        let address = address(*next);
        (format!("{address}:{}", backend.port()), address, backend.port(), 1, false)
    };
    let mut servers: Vec<Server> = (0..count).map(|number| new(&mut number.clone())).collect();
    let web = Web::start(&format!("{MASTER}{CHECK}"), &servers);
    let daemon = web.follow();
    let before = worker(&web.socket());
    let started = Instant::now();
    let traffic = Traffic::start(web.port);
    for change in 0..changes {
        let index = random.random_range(0..servers.len());
        match random.random_range(0..6) {
            0 => servers.push(new(&mut next)),
            1 => drop(servers.remove(index)),
            2 => servers[index].3 = 1 + (servers[index].3 + random.random_range(0..200)) % 256,
            3 => servers[index].4 = !servers[index].4,
            4 => {
                // Another machine takes the name.
                next += 1;
                servers[index].1 = address(next);
            }
            _ => servers[index] = new(&mut next),
        }
        web.set(&servers, "");
        wait_for_logged(&daemon, WITHOUT, change + 1);
    }
    let took = started.elapsed();
    let seen = traffic.stop();
    let after = worker(&web.socket());
    println!(
        "{changes} changes with {count} servers in {took:.1?}, of which HAProxy was up for {} s and more: {} requests, {} \
         failed, {} sent again",
        after.1 - before.1,
        seen.total(),
        seen.failures.len(),
        seen.sent_again
    );
    web.wait_for(&servers);
    assert_eq!(seen.failures, [""; 0]);
    assert!(seen.total() > changes, "{seen:?}");
    assert_eq!(after.0, before.0, "another process is a reload");
    assert!(after.1 >= before.1 && daemon.logged("haproxy needs a reload").is_empty());
    daemon.stop();
}
