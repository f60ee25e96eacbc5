use super::*;

const NGINX: Habits = Habits { name: "nginx", respawns: true, execs: false };
const HAPROXY: Habits = Habits { name: "haproxy", respawns: false, execs: true };

/// A moment, in milliseconds after the look before the reload.
fn at(ms: u64) -> BootTime {
    BootTime::boot().after(Duration::from_secs(3600) + Duration::from_millis(ms))
}

/// A worker that serves, and when it started; an old one started long before.
fn new(pid: i32, ms: u64) -> Worker {
    Worker { pid, started: at(ms), leaving: false }
}

fn old(pid: i32) -> Worker {
    Worker { pid, started: BootTime::boot().after(Duration::from_secs(60)), leaving: false }
}

fn leaving(pid: i32) -> Worker {
    Worker { leaving: true, ..old(pid) }
}

/// A look at the master 1, which is busy.
fn busy<const N: usize>(ms: u64, workers: [Worker; N]) -> Look {
    // Each look costs it some memory, and much where it loads its files.
    let faults = if ms == 0 { 1000 } else { 4000 };
    Look { at: at(ms), pid: 1, started: old(1).started, workers: workers.into(), unnamed: vec![], idle: false, faults }
}

fn idle<const N: usize>(ms: u64, workers: [Worker; N]) -> Look {
    Look { idle: true, ..busy(ms, workers) }
}

/// Two workers, 10 and 11, are there before a signal.
fn signalled(habits: Habits) -> Generations {
    Generations::new(habits, Some(idle(0, [old(10), old(11)])), at(0), Some(at(0)), true)
}

fn refusal(verdict: Option<Verdict>) -> bool {
    match verdict {
        Some(Verdict::Refused { took, .. }) => took,
        other => panic!("not refused: {other:?}"),
    }
}

const WITHIN: Duration = Duration::from_secs(10);

#[test]
fn a_generation_beside_the_old_one_is_believed_once_it_is_up() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(busy(20, [old(10), old(11)])), None);
    assert_eq!(nginx.see(busy(70, [old(10), old(11), new(20, 50)])), None, "the first of a generation");
    assert_eq!(nginx.see(busy(120, [old(10), old(11), new(20, 50), new(21, 60)])), None);
    assert_eq!(nginx.see(idle(220, [leaving(10), new(20, 50), new(21, 60)])), Some(Verdict::Confirmed));
}

#[test]
fn old_workers_that_linger_do_not_hold_it_up() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(busy(70, [leaving(10), leaving(11), new(20, 50)])), None);
    assert_eq!(nginx.see(idle(250, [leaving(10), leaving(11), new(20, 50)])), Some(Verdict::Confirmed));
}

#[test]
fn fewer_workers_than_before_are_a_generation_too() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(busy(60, [old(10), old(11), new(20, 50)])), None);
    assert_eq!(nginx.see(idle(230, [new(20, 50)])), Some(Verdict::Confirmed));
}

#[test]
fn a_master_that_is_done_and_kept_its_workers_has_refused() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(idle(5, [old(10), old(11)])), None, "one look may fall between two states");
    assert!(!refusal(nginx.see(idle(55, [old(10), old(11)]))));
}

#[test]
fn a_command_may_leave_the_signal_for_later() {
    let before = Some(idle(0, [old(10)]));
    let mut nginx = Generations::new(NGINX, before, at(0), Some(at(0)), false);
    for ms in (5..5000).step_by(50) {
        assert_eq!(nginx.see(idle(ms, [old(10)])), None);
    }
    assert!(!refusal(Some(nginx.over(WITHIN))));
}

#[test]
fn workers_that_crash_and_come_again_are_no_generation() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(busy(10, [old(10), old(11)])), None);
    assert_eq!(nginx.see(busy(60, [old(11), new(20, 50)])), None, "10 crashed");
    assert_eq!(nginx.see(busy(110, [new(20, 50), new(21, 100)])), None, "and so did 11");
    assert_eq!(nginx.see(idle(160, [new(20, 50), new(21, 100)])), None);
    assert_eq!(nginx.see(idle(500, [new(20, 50), new(21, 100)])), None, "however late it is looked again");
    assert!(!refusal(Some(nginx.over(WITHIN))));
}

#[test]
fn after_a_command_a_crash_is_waited_out() {
    let mut nginx = Generations::new(NGINX, Some(idle(0, [old(10)])), at(0), Some(at(0)), false);
    assert_eq!(nginx.see(busy(10, [old(10)])), None);
    for ms in (60..10_000).step_by(50) {
        assert_eq!(nginx.see(idle(ms, [new(20, 50)])), None);
    }
    assert!(!refusal(Some(nginx.over(WITHIN))));

    let mut nginx = Generations::new(NGINX, Some(idle(0, [old(10)])), at(0), Some(at(0)), false);
    assert_eq!(nginx.see(idle(60, [])), None);
    assert!(refusal(Some(nginx.over(WITHIN))), "nobody serves, so it is to be told of the old files");
}

#[test]
fn a_generation_after_a_crash_is_seen() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(busy(60, [old(11), new(20, 50)])), None);
    assert_eq!(nginx.see(busy(110, [old(11), new(20, 50), new(30, 105), new(31, 105)])), None);
    assert_eq!(nginx.see(idle(300, [new(30, 105), new(31, 105)])), Some(Verdict::Confirmed));
}

#[test]
fn a_generation_that_could_not_say_so_yet_was_beside_the_old_one() {
    let mut nginx = signalled(NGINX);
    let forked = Look { unnamed: vec![20, 21], ..busy(120, [old(10), old(11)]) };
    assert_eq!(nginx.see(forked), None);
    assert_eq!(nginx.see(idle(170, [new(20, 60), new(21, 60)])), None);
    assert_eq!(nginx.see(idle(220, [new(20, 60), new(21, 60)])), Some(Verdict::Confirmed));
}

#[test]
fn what_a_long_pause_hid_counts_as_a_generation() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(busy(10, [old(10), old(11)])), None);
    assert_eq!(nginx.see(idle(400, [new(20, 120), new(21, 120)])), None, "it was not there at the last look");
    assert_eq!(nginx.see(idle(450, [new(20, 120), new(21, 120)])), Some(Verdict::Confirmed));
    // And we may be stopped from the signal until long after the end of the time.
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(idle(600_000, [new(20, 120), new(21, 120)])), None);
    assert!(nginx.just_came());
    assert_eq!(nginx.see(idle(600_050, [new(20, 120), new(21, 120)])), Some(Verdict::Confirmed));
}

#[test]
fn a_generation_that_dies_at_once_is_refused_and_was_taken() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(busy(60, [old(10), old(11), new(20, 50)])), None);
    for ms in (110..10_000).step_by(50) {
        let pid = i32::try_from(ms).unwrap();
        assert_eq!(nginx.see(idle(ms, [new(pid, ms - 10)])), None, "always another");
    }
    assert!(refusal(Some(nginx.over(WITHIN))));
}

#[test]
fn a_master_that_is_busy_to_the_end_has_refused_nothing() {
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(busy(50, [old(10), old(11)])), None);
    assert_eq!(nginx.see(busy(9990, [old(10), old(11)])), None);
    assert!(matches!(nginx.over(WITHIN), Verdict::Unseen(_)));
}

#[test]
fn a_master_that_started_after_the_files_has_read_them() {
    let restarted = |ms, workers| Look { pid: 2, started: at(30), ..idle::<1>(ms, workers) };
    let mut nginx = signalled(NGINX);
    assert_eq!(nginx.see(restarted(60, [new(20, 40)])), None);
    assert_eq!(nginx.see(restarted(240, [new(20, 40)])), Some(Verdict::Confirmed));

    // Nothing was sent to it, since it started between the files and the reload.
    let look = |ms| Look { started: at(0), ..idle(ms, [new(10, 0)]) };
    let committed = BootTime::boot().after(Duration::from_secs(3500));
    let mut nginx = Generations::new(NGINX, Some(look(0)), at(0), Some(committed), true);
    assert_eq!(nginx.see(look(10)), None);
    assert_eq!(nginx.see(look(200)), Some(Verdict::Confirmed));
}

#[test]
fn without_a_look_before_the_start_of_the_workers_tells() {
    let mut nginx = Generations::new(NGINX, None, at(0), None, false);
    for ms in [10, 200] {
        assert_eq!(nginx.see(idle(ms, [old(10)])), None);
    }
    assert_eq!(nginx.see(idle(220, [old(10), new(20, 210)])), None);
    assert_eq!(nginx.see(idle(400, [leaving(10), new(20, 210)])), Some(Verdict::Confirmed));
}

#[test]
fn a_process_without_workers_is_no_master() {
    let mut nginx = Generations::new(NGINX, Some(idle(0, [])), at(0), Some(at(0)), true);
    assert_eq!(nginx.see(idle(10, [])), None);
    assert_eq!(nginx.see(idle(60, [])), None);
    assert!(matches!(nginx.over(WITHIN), Verdict::Unseen(_)));
    let nothing = signalled(NGINX);
    assert!(matches!(nothing.over(WITHIN), Verdict::Unseen(_)));
}

#[test]
fn every_new_worker_of_haproxy_is_a_generation() {
    let mut haproxy = Generations::new(HAPROXY, Some(idle(0, [old(10)])), at(0), Some(at(0)), true);
    assert_eq!(haproxy.see(idle(60, [new(20, 50)])), None, "the old one had no connections and is gone");
    assert_eq!(haproxy.see(idle(210, [new(20, 50)])), Some(Verdict::Confirmed));
    // Two seconds, in which it cannot bind.
    let mut haproxy = Generations::new(HAPROXY, Some(idle(0, [old(10)])), at(0), Some(at(0)), true);
    for ms in (10..2000).step_by(50) {
        assert_eq!(haproxy.see(busy(ms, [old(10)])), None);
    }
    assert_eq!(haproxy.see(idle(2010, [old(10)])), None);
    assert!(!refusal(haproxy.see(idle(2060, [old(10)]))));
}

#[test]
fn a_signal_that_haproxy_dropped_is_no_refusal() {
    let mut haproxy = Generations::new(HAPROXY, Some(idle(0, [old(10)])), at(0), Some(at(0)), true);
    for ms in (10..10_000).step_by(50) {
        assert_eq!(haproxy.see(Look { faults: 1020, ..idle(ms, [old(10)]) }), None);
    }
    assert!(matches!(haproxy.over(WITHIN), Verdict::Unseen(_)));
}

#[test]
fn a_child_that_has_not_said_what_it_is_may_be_a_worker() {
    let mut nginx = signalled(NGINX);
    let forked = |ms| Look { unnamed: vec![20, 21], ..idle(ms, [old(10), old(11)]) };
    for ms in [10, 60, 110, 160] {
        assert_eq!(nginx.see(forked(ms)), None);
    }
    assert_eq!(nginx.see(idle(210, [leaving(10), new(20, 5), new(21, 5)])), None);
    assert_eq!(nginx.see(idle(260, [new(20, 5), new(21, 5)])), Some(Verdict::Confirmed));
    // The other master of a binary upgrade was there before.
    let mut before = idle(0, [old(10)]);
    before.unnamed = vec![7];
    let mut nginx = Generations::new(NGINX, Some(before), at(0), Some(at(0)), true);
    let look = |ms| Look { unnamed: vec![7], ..idle(ms, [old(10)]) };
    assert_eq!(nginx.see(look(10)), None);
    assert!(!refusal(nginx.see(look(60))));
}
