//! Tests that put a fault in force which must not reach anybody else: mounts, process ids, the network.

use std::process::Command;
use std::thread;

/// A namespace of its own for a test, as unshare(1) makes it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Namespace {
    /// Mounts are not seen outside, and end with the test.
    Mount,
    /// Process ids begin anew, and the next one can be chosen. All processes end with the test.
    Pid,
    /// There is nothing but a loopback, which is down.
    Network,
}

/// Runs the test that calls it once more, alone, in a process with namespaces of its own. Says whether this is that
/// process; the outer one has the result of the inner one asserted and is to return.
#[track_caller]
pub(crate) fn is_alone(namespaces: &[Namespace]) -> bool {
    const INNER: &str = "LIVECONF_TEST_ALONE";
    let thread = thread::current();
    let test = thread.name().unwrap();
    if std::env::var(INNER).as_deref() == Ok(test) {
        return true;
    }
    let mut command = Command::new("unshare");
    // Who is not root is root in a namespace of his own, which is enough for most of it.
    if !is_root() {
        command.arg("--map-root-user");
    }
    for namespace in namespaces {
        command.args(match namespace {
            Namespace::Mount => &["--mount"][..],
            Namespace::Pid => &["--pid", "--fork", "--kill-child", "--mount-proc"],
            Namespace::Network => &["--net"],
        });
    }
    command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    let output = command.env(INNER, test).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} with {namespaces:?} of its own: {}\n{errors}",
        output.status
    );
    false
}

/// Whether this is the root of the machine, or of a namespace.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Some faults are for root alone to put in force.
#[track_caller]
pub(crate) fn needs_root(what: &str) {
    assert!(is_root(), "{what}: run this test as root");
}

/// Runs a program that must succeed; what it wrote.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let path = crate::support::process::search_path();
    let output = Command::new(program).args(arguments).env("PATH", path).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
