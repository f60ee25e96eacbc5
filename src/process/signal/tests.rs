use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

use super::*;

/// A process that waits, ended with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn id(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct PidFile {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl PidFile {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    fn written(self, ago: Duration) -> Self {
        File::options().write(true).open(&self.path).unwrap().set_modified(SystemTime::now() - ago).unwrap();
        self
    }
}

#[test]
fn a_running_process_is_found_and_signalled() {
    let mut sleeper = Sleeper::start();
    let file = PidFile::new("any.pid", format!("{}\n", sleeper.id()));
    let found = find(&file.path).unwrap();
    assert_eq!(found.id(), sleeper.id());
    assert!(!found.started_after(BootTime::now()));
    assert!(found.started_after(BootTime::boot()));
    found.send(&file.path, Signal::SIGUSR1).unwrap();
    assert_eq!(sleeper.0.wait().unwrap().signal(), Some(Signal::SIGUSR1 as i32));
    assert!(matches!(found.send(&file.path, Signal::SIGUSR1), Err(SignalError::Absent(Absent::Ended { .. }))));
    assert!(matches!(find(&file.path), Err(SignalError::Absent(Absent::Ended { .. }))));
}

#[test]
fn without_a_pidfd_the_number_is_used_and_looked_at_again() {
    let mut sleeper = Sleeper::start();
    let file = PidFile::new("any.pid", sleeper.id().to_string());
    let mut found = find(&file.path).unwrap();
    found.handle = None;
    let other = Process { started: found.started.after(SLACK), pid: found.pid, handle: None };
    assert!(matches!(other.send(&file.path, Signal::SIGUSR1), Err(SignalError::Absent(Absent::Ended { .. }))));
    found.send(&file.path, Signal::SIGUSR2).unwrap();
    assert_eq!(sleeper.0.wait().unwrap().signal(), Some(Signal::SIGUSR2 as i32));
}

#[test]
fn a_file_that_names_no_process_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(find(&folder.path().join("x")), Err(SignalError::Absent(Absent::NoPidFile(_)))));
    let own = std::process::id().to_string();
    for text in ["", "\n", "nginx", "-5", "0", "1", "12 34", "99999999999999", "\u{0}", &own] {
        let file = PidFile::new("any.pid", text);
        assert!(matches!(find(&file.path), Err(SignalError::Absent(Absent::NoPid(_)))), "{text:?}");
    }
    let folder_as_file = find(folder.path());
    assert!(matches!(folder_as_file, Err(SignalError::Unreadable { .. })), "{folder_as_file:?}");
}

#[test]
fn a_process_that_waits_to_be_reaped_has_ended() {
    let child = Sleeper::start();
    let file = PidFile::new("sleep.pid", child.id().to_string());
    rustix::process::kill_process(Pid::from_raw(child.id()).unwrap(), rustix::process::Signal::KILL).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while find(&file.path).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the process does not end");
        std::thread::yield_now();
    }
    assert!(matches!(find(&file.path), Err(SignalError::Absent(Absent::Ended { .. }))));
}

#[test]
fn a_process_younger_than_its_pid_file_is_another_one() {
    let sleeper = Sleeper::start();
    let id = sleeper.id().to_string();
    let old = Duration::from_secs(60);
    let reused = PidFile::new("nginx.pid", &id).written(old);
    let error = find(&reused.path).unwrap_err();
    assert!(matches!(&error, SignalError::Absent(Absent::Reused { name, .. }) if name == "sleep"), "{error}");
    let own_name = PidFile::new("sleep.pid", &id).written(old);
    assert_eq!(find(&own_name.path).unwrap().id(), sleeper.id());
    let fresh = PidFile::new("nginx.pid", &id).written(Duration::from_secs(1));
    assert_eq!(find(&fresh.path).unwrap().id(), sleeper.id());
}

#[test]
fn the_start_of_a_process_is_compared_with_a_moment() {
    let before = BootTime::now();
    std::thread::sleep(Duration::from_millis(30));
    let sleeper = Sleeper::start();
    let file = PidFile::new("sleep.pid", sleeper.id().to_string());
    let found = find(&file.path).unwrap();
    assert!(found.started_after(before));
    assert!(!found.started_after(BootTime::now()));
}

#[test]
fn a_name_may_hold_parentheses() {
    let line = "42 (a) b (c)) S 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
    let stat = Stat::parse(line).unwrap();
    assert_eq!((stat.name.as_str(), stat.started, stat.ended), ("a) b (c)", BootTime::from_ticks(777), false));
    assert!(Stat::parse(&line.replace(") S", ") Z")).unwrap().ended);
    assert!(Stat::parse("42 (x) S 1").is_none());
}
