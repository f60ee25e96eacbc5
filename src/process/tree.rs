//! What a process that has children is doing, as far as `/proc` tells everybody (proc(5)).

use std::fs;
use std::io;

use nix::sys::signal::Signal;

use super::BootTime;
use super::signal::Stat;

/// A child of a process, alive when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its id.
    pub pid: i32,
    /// When it was forked, to the hundredth of a second, rounded down.
    pub started: BootTime,
    /// The name of its program, as far as the kernel keeps it: 15 bytes.
    pub name: String,
    /// Its command line, which programs such as nginx replace by what they are doing.
    pub title: String,
}

/// The children of the main thread of `pid`. One that ends meanwhile may be missing.
pub fn children(pid: i32) -> io::Result<Vec<Child>> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(list.split_ascii_whitespace().filter_map(|number| child(number.parse().ok()?)).collect())
}

fn child(pid: i32) -> Option<Child> {
    let stat = Stat::read(pid).ok().filter(|stat| !stat.ended)?;
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title).replace('\0', " ").trim_end().to_owned();
    Some(Child { pid, started: stat.started, name: stat.name, title })
}

/// The name of the program of `pid`.
pub fn name(pid: i32) -> io::Result<String> {
    Stat::read(pid).map(|stat| stat.name)
}

/// How often `pid` touched memory that it had to be given first, which a program does when it starts: a measure of how
/// much it has done.
pub fn faults(pid: i32) -> io::Result<u64> {
    Stat::read(pid).map(|stat| stat.faults)
}

/// Whether `pid` sleeps and would be woken by each of `signals`, with none of them on its way to it.
///
/// A program that blocks its signals while it works and lets them in only while it waits is done with its work then.
pub fn waits_for(pid: i32, signals: &[Signal]) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(waits(&status, signals))
}

/// Whether `pid` has said what it does about a signal (a handler, or that it ignores it), so that the signal does not just
/// end it.
pub fn handles(pid: i32, signal: Signal) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bit = 1u64 << (signal as i32 - 1);
    Ok([mask(&status, "SigCgt"), mask(&status, "SigIgn")].into_iter().flatten().any(|mask| mask & bit != 0))
}

/// Whether `pid` handles a signal, or ignores it, and does not block it: one that is sent now is heard.
pub fn takes(pid: i32, signal: Signal) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let is_blocked = mask(&status, "SigBlk").is_none_or(|mask| mask & (1 << (signal as i32 - 1)) != 0);
    Ok(!is_blocked && handles(pid, signal)?)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

fn mask(status: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(field(status, name)?, 16).ok()
}

fn waits(status: &str, signals: &[Signal]) -> bool {
    let ours = signals.iter().fold(0, |mask, signal| mask | 1 << (*signal as i32 - 1));
    let masks = ["SigPnd", "ShdPnd", "SigBlk"].map(|name| mask(status, name));
    field(status, "State").is_some_and(|state| state.starts_with('S'))
        && masks.iter().all(|mask| mask.is_some_and(|mask| mask & ours == 0))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn children_are_found_by_name_and_title() {
        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(sleeper.id()).unwrap();
        // A test runs on a thread of its own, whose children are not those of the main thread. While a program is about
        // to replace another it has the name, and no title yet.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let own = loop {
            let own = child(pid).unwrap();
            if !own.title.is_empty() || std::time::Instant::now() > deadline {
                break own;
            }
        };
        assert_eq!((own.name.as_str(), own.title.as_str()), ("sleep", "sleep 60"));
        assert!(own.started <= BootTime::now());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(child(pid), None);
        assert!(children(pid).is_err());
    }

    #[test]
    fn the_children_of_a_shell_are_listed() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & sleep 61 & wait"]).spawn().unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let found = loop {
            let found = children(pid).unwrap();
            if found.iter().filter(|child| child.name == "sleep" && !child.title.is_empty()).count() == 2 {
                break found;
            }
            assert!(std::time::Instant::now() < deadline, "{found:?}");
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        let titles: Vec<_> = found.iter().map(|child| child.title.as_str()).collect();
        assert_eq!(titles, ["sleep 60", "sleep 61"]);
        for child in found {
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(child.pid).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        }
        shell.wait().unwrap();
    }

    #[test]
    fn a_process_waits_when_it_sleeps_and_lets_the_signal_in() {
        let status = |state: &str, pending: &str, blocked: &str| {
            format!("Name:\tnginx\nState:\t{state}\nSigPnd:\t0\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\n")
        };
        let hup = [Signal::SIGHUP];
        assert!(waits(&status("S (sleeping)", "0000000000000000", "0000000000000000"), &hup));
        assert!(waits(&status("S (sleeping)", "0000000000000002", "0000000000000000"), &hup), "another signal");
        // As nginx 1.22 shows itself while it reads its configuration, and HAProxy 2.6.
        assert!(!waits(&status("S (sleeping)", "0000000000000000", "0000000018016a07"), &hup));
        assert!(!waits(&status("S (sleeping)", "0000000000000000", "0000000000310a01"), &[Signal::SIGUSR2]));
        assert!(!waits(&status("S (sleeping)", "0000000000000001", "0000000000000000"), &hup), "on its way");
        assert!(!waits(&status("R (running)", "0000000000000000", "0000000000000000"), &hup));
        assert!(!waits("State:\tS (sleeping)\n", &hup), "nothing is known");
    }
}
